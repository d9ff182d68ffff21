"""The command, as its users see it."""

import pytest

from labserver.validation import command
from labserver.validation.command import validate

from .conftest import printed, result


def test_right_notebooks_pass(book, monkeypatch, capsys):
    """Each phase of each notebook has a line, notes do not fail, and the exit status is 0."""
    monkeypatch.chdir(book.folder)
    book.write(
        "right", book.code("print('at localhost:8000')", printed("at localhost:1\n")), book.code("2", result("2", 2))
    )
    assert validate(["right.ipynb"], timeout=20) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(" ".join(line.split()[:-2]) for line in lines if line.startswith("ok")) == [
        "ok compare right.ipynb",
        "ok lint right.ipynb",
        "ok twice right.ipynb",
    ]
    assert "      note: 2 cells (measure: 20–30)" in lines
    assert lines[-1].startswith("1 of 1 notebooks passed in ")


def test_wrong_notebooks_fail_by_name(book, monkeypatch, capsys):
    """One changed digit, one deleted output, one more word, one broken link: each is told with notebook and cell."""
    monkeypatch.chdir(book.folder)
    monkeypatch.setattr(command, "rerun", lambda *_, **__: None)  # it has nothing to do with stored outputs
    book.write("digit", book.code("6 * 7", result("43")))
    book.write("deleted", "pass", book.code("print('hello')"))
    book.write("word", book.code("print('one more', 'word')", printed("one more\n")))
    book.write("link", book.text("[x](nowhere.md)"), "pass")
    assert validate(["."], timeout=20, workers=2) == 1
    out = capsys.readouterr().out
    assert "\ndigit.ipynb cell 1 (id id0): [compare] Cell outputs differ\n" in out
    assert "\n    -43\n    +42\n" in out
    assert "\ndeleted.ipynb cell 2 (id id1): [compare] Cell outputs differ\n" in out
    assert "\nword.ipynb cell 1 (id id0): [compare] Cell outputs differ\n" in out
    assert "\nlink.ipynb markdown cell 1 (id id0): [lint] expected a file at 'nowhere.md'" in out
    assert out.splitlines()[-1].startswith("0 of 4 notebooks passed in ")


@pytest.mark.parametrize("content", [None, "{"])
def test_what_is_no_notebook_is_told_at_once(tmp_path, capsys, content):
    """A path that is missing or broken gives one clear text and the exit status 2, and nothing is run."""
    path = tmp_path / "a.ipynb"
    if content:
        path.write_text(content)
    assert validate([str(path)]) == 2
    captured = capsys.readouterr()
    assert "expected a notebook" in captured.err
    assert captured.out == ""
