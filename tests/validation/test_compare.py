"""nbval with our plugin, in a pytest of its own."""

import os
import subprocess
import sys

import pytest

from labserver.validation import compare as room
from labserver.validation.book import Problem, read
from labserver.validation.compare import compare

from .conftest import needy, printed


def test_each_notebook_gets_its_verdict(book, monkeypatch):
    """Several notebooks run side by side, whatever the repository's own pytest settings and plugins are."""
    (book.folder / "conftest.py").write_text("raise RuntimeError('not for notebooks')")
    (book.folder / "pytest.ini").write_text("[pytest]\naddopts = --nothing-known\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--nothing-known")
    right = book.write("right", book.code("print(1)", printed("1\n")), "pass")
    wrong = book.write("wrong", "pass", book.code("print(2)", printed("1\n")), "1 / 0")
    words = book.write("words", book.text("# Only words"))
    found = {}
    compare(
        {path: read(path) for path in (right, wrong, words)},
        timeout=20,
        workers=2,
        report=lambda verdict: found.update({verdict.notebook: verdict}),
    )
    assert found[right].problems == []
    assert found[words].problems == ()
    (problem,) = found[wrong].problems
    assert problem.where == "cell 2 (id id1)"
    assert "-1\n+2" in problem.text
    assert found[right].seconds > 0


def test_a_cell_that_cannot_be_run_here_is_a_note(book, monkeypatch):
    """Its notice is no difference, what it shows is what is stored, and the verdict says which cells and why."""
    monkeypatch.delenv("LABSERVER_REQUIRE_ALL", raising=False)
    path, found = needy(book), []
    compare({path: read(path)}, timeout=20, workers=1, report=found.append)
    ((problems, notes),) = [(verdict.problems, verdict.notes) for verdict in found]
    assert problems == []
    assert notes == [
        f"cell {number} (id id{number - 1}) was not run: no-such-program is not installed here" for number in (2, 3, 5)
    ]


def test_where_all_is_demanded_such_a_cell_fails(book, monkeypatch):
    """As in the lab's own continuous integration."""
    monkeypatch.setenv("LABSERVER_REQUIRE_ALL", "1")
    path, found = needy(book), []
    compare({path: read(path)}, timeout=20, workers=1, report=found.append)
    ((problem,),) = [verdict.problems for verdict in found]
    assert problem.where == "cell 2 (id id1)"
    assert "expected no-such-program for this cell, found that no-such-program is not installed here" in problem.text
    assert found[0].notes == []


def test_without_code_nothing_is_run(book, monkeypatch):
    """Where there is nothing to compare, no pytest is started."""
    monkeypatch.setattr(room.subprocess, "Popen", None)
    found = []
    path = book.write("words", book.text("# Only words"))
    compare({path: read(path)}, timeout=20, workers=2, report=found.append)
    assert [(verdict.notebook, verdict.problems) for verdict in found] == [(path, ())]


def test_one_notebook_needs_no_workers(book):
    """A single notebook runs in one process, with no time lost on others."""
    found = []
    path = book.write("right", "pass")
    compare({path: read(path)}, timeout=20, workers=2, report=found.append)
    assert [(verdict.notebook, verdict.problems) for verdict in found] == [(path, [])]


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; print('something broke'); sys.exit(3)", "something broke"),
        (
            'import sys; open(sys.argv[1], \'a\').write(\'{"notebook": "", "seconds": 0, "problems": '
            '[["", "worker crashed"]]}\\n\'); sys.exit(3)',
            "worker crashed",
        ),
    ],
)
def test_a_pytest_that_fails_fails_the_notebooks(book, monkeypatch, program, words):
    """A notebook of which nothing was heard has not passed; what pytest said is in the report."""
    monkeypatch.setattr(
        room, "_command", lambda notebooks, settings, results, *_: [sys.executable, "-c", program, str(results)]
    )
    found = []
    path = book.write("a", "1")
    compare({path: read(path)}, timeout=20, workers=1, report=found.append)
    ((problem,),) = [verdict.problems for verdict in found]
    assert problem == Problem(
        "", f"expected pytest to finish this notebook, but it ended with status 3; it said:\n{words}"
    )


def test_half_a_line_is_not_read(tmp_path):
    """The report is read while it is being written, a whole line at a time."""
    results = tmp_path / "report"
    results.touch()
    program = (
        "import sys, time\nfile = open(sys.argv[1], 'a')\nfor part in ('{\"a\":', ' 1}\\n{}', '\\n'):\n"
        "    file.write(part); file.flush(); time.sleep(0.12)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(results)]) as process:
        assert list(room._lines(process, results)) == [{"a": 1}, {}]


def test_notebooks_on_two_drives_have_a_root_too(monkeypatch):
    """Where there is no common folder, pytest starts from the first notebook's."""

    def refuse(paths):
        raise ValueError("Paths don't have the same drive")

    first, second = os.path.join("a", "1.ipynb"), os.path.join("b", "2.ipynb")
    assert room._root([os.path.join("x", first), os.path.join("x", second)]) == "x"
    monkeypatch.setattr(room.os.path, "commonpath", refuse)
    assert room._root([first, second]) == "a"
