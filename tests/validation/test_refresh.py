"""Notebooks run again and stored."""

import argparse
import json
import os
import sys
from pathlib import Path

import pytest
from nbformat import v4

from labserver.validation import refresh as room
from labserver.validation.book import read
from labserver.validation.lint import lint
from labserver.validation.refresh import normalized, refresh, stable_traceback, store, stored

from .conftest import needy, printed, raised, result


def cells_of(path: Path) -> list:
    return read(path).cells


def test_two_refreshes_give_the_same_bytes(book, capsys):
    """What differs from run to run is not stored, the result is clean to the lint, and a second run changes nothing."""
    helper = book.folder / "helper.py"
    helper.write_text("def fail():\n    raise ValueError('http://127.0.0.1:%d' % (8000 + id([]) % 999))\n")
    path = book.write(
        "a",
        book.text("# Title"),
        book.code("import sys\nprint(1)\nprint(2, file=sys.stderr)\nprint(3)"),
        book.code("import os\nprint(f'ws://localhost:{8000 + os.getpid() % 999}/')\nos.getpid() > 0"),
        book.code("import helper\nhelper.fail()", tags=["raises-exception"]),
        book.code("1 + 1;", printed("of old")),
        book.code("# NBVAL_IGNORE_OUTPUT: the process\nos.getpid()", result("4711", 1)),
        "6 * 7",
        *["x = 1"] * 3,
        book.code(" "),
        book.code("# NBVAL_SKIP: it is long\n1 / 0", printed("kept")),
    )
    content = json.loads(path.read_text())
    content["nbformat_minor"] = 4
    content["metadata"] = {"widgets": {}, "title": "T", "language_info": {"name": "python", "version": "3.1"}}
    for cell in content["cells"]:
        del cell["id"]
        cell["metadata"]["execution"] = {"iopub.status.busy": "2001"}
    path.write_text(json.dumps(content))

    assert refresh([str(path)]) == 0
    first = path.read_bytes()
    assert refresh([str(path)]) == 0
    assert path.read_bytes() == first
    words = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert words == ["refreshed", "unchanged"]

    assert lint(read(path), path) == []
    _, streams, ports, error, quiet, ignored, last, *_, empty, skipped = cells_of(path)
    assert [output.text for output in streams.outputs] == ["1\n3\n", "2\n"]
    assert [ports.outputs[0].text, ports.outputs[1].data["text/plain"]] == ["ws://localhost:PORT/\n", "True"]
    assert error.outputs[0].evalue == "http://127.0.0.1:PORT"
    assert any(line.startswith("File helper.py:2, in fail()") for line in error.outputs[0].traceback)
    assert quiet.outputs == []
    assert ignored.outputs == [result("4711", 5)]
    assert (last.outputs, last.execution_count) == ([result("42", 6)], 6)
    assert (empty.execution_count, skipped.execution_count, skipped.outputs) == (None, None, [printed("kept")])
    assert read(path).metadata.title == "T"


def test_a_notebook_that_fails_is_left_alone(book, capsys):
    """The notebook, the cell and the traceback are told, the file keeps its bytes, and others are still stored."""
    wrong = book.write("wrong", "1 + 1;", "print('half')", "1 / 0")
    calm = book.write("calm", book.code("pass", tags=["raises-exception"]))
    right = book.write("right", "1 + 1")
    before = wrong.read_bytes(), calm.read_bytes()
    assert refresh([str(book.folder)], workers=2) == 1
    assert (wrong.read_bytes(), calm.read_bytes()) == before
    assert cells_of(right)[0].outputs == [result("2")]
    out = capsys.readouterr().out
    assert f"{wrong} cell 3 (id id2): expected no exception, but the cell raised ZeroDivisionError" in out
    assert "Cell In[3], line 1" in out
    assert f"{calm} cell 1 (id id0): expected the cell to raise" in out
    assert sorted(os.listdir(book.folder)) == ["calm.ipynb", "right.ipynb", "wrong.ipynb"]


def test_a_notebook_that_needs_what_is_not_here_is_left_alone(book, monkeypatch, capsys):
    """Outputs of cells that were not run are never stored, not even where the cell is to raise."""
    monkeypatch.setenv("LABSERVER_REQUIRE_ALL", "0")
    path = needy(book)
    raising = book.write("raising", "%load_ext labserver", cells_of(path)[2])
    before = path.read_bytes(), raising.read_bytes()
    assert refresh([str(book.folder)]) == 1
    assert (path.read_bytes(), raising.read_bytes()) == before
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert len(told) == 2
    for line in told:
        assert "cell 2 (id id1): expected no exception, but the cell raised CommandMissing: expected no-such" in line
        assert "To get no-such-program: install a program" in line


def test_paths_without_notebooks_are_told(tmp_path, capsys):
    """The exit status is 2, and the text says what was expected."""
    assert refresh([str(tmp_path)]) == 2
    assert "expected a notebook" in capsys.readouterr().err


def test_new_output_of_an_ignored_cell_is_stored_once(book):
    """An ignored output is stored when there is none yet, so that learners see one."""
    path = book.write("a", book.code("# NBVAL_IGNORE_OUTPUT: the process\nimport os; os.getpid()"))
    assert refresh([str(path)]) == 0
    assert int(cells_of(path)[0].outputs[0].data["text/plain"]) > 0


@pytest.mark.parametrize(
    ("line", "stable"),
    [
        ("\x1b[36mCell\x1b[39m In[3], line 1", "Cell In[3], line 1"),
        (f"File {json.__file__}:293, in load(fp)", "File json/__init__.py:293, in load(fp)"),
        (f'  File "{argparse.__file__}", line 7, in main', '  File "argparse.py", line 7, in main'),
        ('  File "/tmp/ipykernel_4711/123.py", line 1, in <module>', '  File "<cell>", line 1, in <module>'),
        ("File <string>:1", "File <string>:1"),
    ],
)
def test_tracebacks_name_files_from_their_package(line, stable):
    """Neither colours nor the folders of this machine are stored."""
    assert stable_traceback(line) == stable


def test_a_home_folder_is_taken_off_too(monkeypatch):
    """IPython writes ~ for the home folder."""
    monkeypatch.setattr(Path, "expanduser", lambda self: Path(str(self).replace("~", "/somewhere")))
    assert stable_traceback("File ~/lab/app.py:3, in f()") == "File app.py:3, in f()"


def test_an_error_is_stored_without_touching_the_other():
    """The output that was given stays as it was."""
    output = raised("E", "x")
    output.traceback = ["\x1b[31mE\x1b[0m"]
    assert stored(output).traceback == ["E"]
    assert output.traceback == ["\x1b[31mE\x1b[0m"]


def test_ids_are_the_same_each_time():
    """A notebook of an older format gets ids that depend on nothing but its cells."""
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell("a"), v4.new_markdown_cell("a")])
    for cell in notebook.cells:
        del cell["id"]
    one, two = normalized(notebook), normalized(notebook)
    assert [cell.id for cell in one.cells] == [cell.id for cell in two.cells]
    assert one.cells[0].id != one.cells[1].id


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows; nothing to install")
def test_a_link_stays_a_link_and_rights_stay(tmp_path):
    """The file behind a link is replaced, with its permissions."""
    target, link = tmp_path / "a.ipynb", tmp_path / "b.ipynb"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    assert store(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert not store(link, "new")


def test_a_failed_write_leaves_no_trace(tmp_path, monkeypatch):
    """If the last step fails, the notebook is whole and no other file is left."""
    path = tmp_path / "a.ipynb"
    path.write_text("old")

    def refuse(source, target):
        raise PermissionError("the file is open elsewhere")

    monkeypatch.setattr(room.os, "replace", refuse)
    with pytest.raises(PermissionError):
        store(path, "new")
    assert os.listdir(tmp_path) == ["a.ipynb"]
    assert path.read_text() == "old"
