"""nbval with our plugin, in a pytest of its own."""

import os
import subprocess
import sys

import psutil
import pytest

from labserver.validation import run as room
from labserver.validation.book import Problem, read
from labserver.validation.run import Way, run

from .conftest import needy, printed


def judged(paths, workers=2, **more):
    """The verdicts of notebooks, by path and phase, as they came; and what was heard of their cells."""
    found, heard = {}, []
    run(
        {path: read(path) for path in paths},
        Way(20, workers, **more),
        lambda verdict: found.update({(verdict.notebook, verdict.phase): verdict}),
        lambda *progress: heard.append(progress),
    )
    return found, heard


def test_each_notebook_gets_its_verdicts(book, monkeypatch):
    """Several notebooks run side by side, whatever the repository's own pytest settings and plugins are."""
    (book.folder / "conftest.py").write_text("raise RuntimeError('not for notebooks')")
    (book.folder / "pytest.ini").write_text("[pytest]\naddopts = --nothing-known\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--nothing-known")
    right = book.write("right", book.code("print(1)", printed("1\n")), "pass")
    wrong = book.write("wrong", "pass", book.code("print(2)", printed("1\n")), "1 / 0")
    words = book.write("words", book.text("# Only words"))
    found, heard = judged([right, wrong, words])
    assert found[right, "compare"].problems == found[right, "twice"].problems == []
    assert found[words, "compare"].problems == found[words, "twice"].problems == ()
    (problem,) = found[wrong, "compare"].problems
    assert problem.where == "cell 2 (id id1)"
    assert problem.text.startswith("expected the outputs that are stored, but found others\n")
    assert [found[path, "twice"].skipped for path in (right, wrong)] == [False, True]
    assert found[right, "compare"].seconds > 0
    # two cells, the ledger, each cell twice, the ledger
    assert [progress for progress in heard if progress[0] == right] == [(right, done, 8) for done in range(1, 9)]


def test_a_cell_that_cannot_be_run_here_is_a_note(book, monkeypatch):
    """Its notice is no difference, what it shows is what is stored, and the verdict says which cells and why."""
    monkeypatch.delenv("LABSERVER_REQUIRE_ALL", raising=False)
    found, _ = judged([needy(book)], twice=False)
    (verdict,) = found.values()
    assert verdict.problems == []
    assert verdict.notes == [
        f"cell {number} (id id{number - 1}) was not run: no-such-program is not installed here" for number in (2, 3, 5)
    ]


def test_where_all_is_demanded_such_a_cell_fails(book, monkeypatch):
    """As in the lab's own continuous integration."""
    monkeypatch.setenv("LABSERVER_REQUIRE_ALL", "1")
    found, _ = judged([needy(book)])
    ((problem,), _) = [verdict.problems for verdict in found.values()]
    assert problem.where == "cell 2 (id id1)"
    assert "expected no-such-program for this cell, found that no-such-program is not installed here" in problem.text
    assert [verdict.notes for verdict in found.values()] == [[], []]


def test_without_code_nothing_is_run(book, monkeypatch):
    """Where there is nothing to compare, no pytest is started."""
    monkeypatch.setattr(room.subprocess, "Popen", None)
    path = book.write("words", book.text("# Only words"))
    found, _ = judged([path])
    assert [(key, verdict.problems) for key, verdict in found.items()] == [
        ((path, "compare"), ()),
        ((path, "twice"), ()),
    ]


def test_a_notebook_is_run_as_it_is_asked(book, tmp_path):
    """Once only, its cells sent at once, with rules for what is not compared; the rules' matches are told."""
    rules = tmp_path / "rules"
    rules.write_text("regex: [0-9]\nreplace: N\n", encoding="utf-8")
    path = book.write("right", book.code("print('now', 7)", printed("now 3\n")), book.code("print(1)", printed("2\n")))
    found, _ = judged([path], twice=False, queued=True, sanitize=str(rules))
    ((key, verdict),) = found.items()
    assert (key, verdict.problems) == ((path, "compare"), [])
    ((rule, hits),) = verdict.hits.items()
    # of four matches, those of the second cell are its whole output
    assert rule.endswith("rules, line 1 ([0-9])") and hits == [4, 2]


def test_the_arguments_say_how(tmp_path):
    """One notebook needs no workers; what is asked for, and nothing else, is an option of the plugin."""
    command = room._command(["/a/b.ipynb"], tmp_path, tmp_path, Way(2.5, 4, queued=True))
    assert command[command.index("-n") + 1] == "0"
    assert "--nbval-cell-timeout=2.5" in command and room.QUEUED in command and room.TWICE in command
    command = room._command(["/a/b.ipynb", "/a/c.ipynb"], tmp_path, tmp_path, Way(1, 4, twice=False))
    assert command[command.index("-n") + 1] == "2"
    assert not [part for part in command if part in (room.QUEUED, room.TWICE) or part.startswith("--nbval-sanitize")]


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
    found, _ = judged([book.write("a", "1")])
    ((problem,),) = [verdict.problems for verdict in found.values()]
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


def test_an_interrupt_ends_pytest(book, monkeypatch):
    """And what it has started, before the interrupt goes on its way."""
    program = (
        "import json, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "line = {'notebook': sys.argv[2], 'done': child.pid, 'of': 9}\n"
        "open(sys.argv[1], 'a').write(json.dumps(line) + '\\n')\ntime.sleep(60)"
    )
    monkeypatch.setattr(
        room, "_command", lambda notebooks, settings, results, *_: [sys.executable, "-c", program, results, *notebooks]
    )
    path, pids = book.write("a", "1"), []

    def interrupt(path, done, of):
        pids.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run({path: read(path)}, Way(20, 1), lambda verdict: None, interrupt)
    (pid,) = pids
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
