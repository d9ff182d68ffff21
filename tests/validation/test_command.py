"""The command, as its users see it."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree as xml

import psutil
import pytest

from labserver.validation import command, passed
from labserver.validation.book import Problem, Verdict, read
from labserver.validation.command import validate

from .conftest import printed, result


@pytest.fixture(autouse=True)
def here(book, monkeypatch):
    """Commands are given in the notebooks' folder; what has passed is remembered there."""
    monkeypatch.chdir(book.folder)
    monkeypatch.setenv("LABSERVER_STATE", str(book.folder / "state"))


@pytest.fixture
def told(monkeypatch):
    """A function that lets each run of notebooks find what it is given, by stem and phase, and returns what was run."""

    def tell(*problems):
        runs, answers = [], list(problems)

        def run(notebooks, way, report, progress):
            runs.append(sorted(path.stem for path in notebooks))
            found = answers.pop(0) if answers else {}
            for path in notebooks:
                for phase in way.phases:
                    report(Verdict(path, phase, 1.0, found.get((path.stem, phase), ())))

        monkeypatch.setattr(command, "run", run)
        return runs

    return tell


def test_right_notebooks_pass(book, capsys):
    """Each phase of each notebook has a line, and the exit status is 0; how long a lesson should be is not told."""
    book.write(
        "right", book.code("print('at localhost:8000')", printed("at localhost:1\n")), book.code("2", result("2", 2))
    )
    assert validate(["right.ipynb"], timeout=20, queued=True) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [" ".join(line.split()[:-2]) for line in lines[:3]] == [
        "ok lint right.ipynb",
        "ok compare right.ipynb",
        "ok twice right.ipynb",
    ]
    assert lines[3] == "" and lines[4].startswith("1 of 1 notebooks passed in ")


def test_wrong_notebooks_fail_by_name(book, capsys):
    """A changed digit and a broken link are told at once with notebook and cell, and at the end in a line each."""
    book.write("digit", book.code("6 * 7", result("43")))
    book.write("link", book.text("[x](nowhere.md)"), "pass")
    assert validate(["."], timeout=20, workers=2, once=True) == 1
    out = capsys.readouterr().out
    assert "\nok    compare  link.ipynb  " in out
    start = out.index("FAIL  compare  digit.ipynb")
    assert "      cell 1 (id id0): expected the outputs that are stored, but found others\n" in out[start:]
    assert "\n      ≠ 43 " in out[start:] and "│ 42\n" in out[start:]
    assert out.endswith(" s\n") and "twice" not in out
    *_, digit, link, last = out.splitlines()
    assert digit == (
        "FAIL  digit.ipynb cell 1 (id id0): [compare] expected the outputs that are stored, but found others"
    )
    assert link.startswith("FAIL  link.ipynb markdown cell 1 (id id0): [lint] expected a file at 'nowhere.md'")
    assert last.startswith("0 of 2 notebooks passed in ")


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


def test_the_measure_of_a_lesson_is_told_where_it_is_asked_for(book, told, capsys):
    """As notes, which do not fail."""
    told()
    book.write("short", "pass")
    assert validate(["short.ipynb"], style=True) == 0
    assert "      note: 1 cells (measure: 20–30)\n" in capsys.readouterr().out


def test_what_passed_here_is_passed_over(book, told, capsys):
    """With `fast` only what has changed since, or has failed, is run; without it everything is."""
    same, edited = book.write("same", "1;"), book.write("edited", "2;")
    runs = told({}, {("edited", "twice"): [Problem("cell 1", "differs")]})
    assert validate(["."]) == 0
    book.write("edited", "3;")
    assert validate(["."], fast=True) == 1
    assert validate(["."], fast=True) == 0
    assert validate(["."], fast=True) == 0
    assert validate(["."]) == 0
    assert runs == [["edited", "same"], ["edited"], ["edited"], [], ["edited", "same"]]
    out = capsys.readouterr().out
    assert "\n1 of 2 notebooks have changed since they passed here\n" in out
    known = passed.Passed(command.Way(30, 1))
    known.look([same, edited])
    assert same in known and edited in known


def test_new_outputs_are_stored_on_demand(book, capsys):
    """What differs is shown, stored and judged again; a notebook that cannot be run stays as it is, and fails."""
    stale = book.write("stale", book.code("6 * 7", result("43")))
    broken = book.write("broken", book.code("1 / 0", result("1")))
    before = broken.read_bytes()
    assert validate(["stale.ipynb", "broken.ipynb"], timeout=20, once=True, update=True) == 1
    out = capsys.readouterr().out
    assert "│ 42\n" in out
    assert "storing the outputs of 2 notebooks that differ\n" in out
    assert "\nok    compare  stale.ipynb" in out
    assert read(stale).cells[0].outputs[0].data == {"text/plain": "42"}
    assert broken.read_bytes() == before
    assert "1 of 2 notebooks passed" in out.splitlines()[-1]


def test_where_nothing_differs_nothing_is_stored(book, told, monkeypatch):
    """An update without a difference runs nothing again."""
    monkeypatch.setattr(command, "refresh", None)
    book.write("right", "1;")
    runs = told({("right", "twice"): [Problem("ledger", "a port")]})
    assert validate(["."], update=True) == 1
    assert len(runs) == 1


def test_the_verdicts_are_written_for_a_service(book, told):
    """As JUnit XML, where it is asked for."""
    book.write("right", "1;")
    told()
    assert validate(["."], junit_file="reports/junit.xml") == 0
    top = xml.parse(book.folder / "reports" / "junit.xml").getroot()
    assert [case.get("name") for case in top.iter("testcase")] == ["lint", "compare", "twice"]


def test_rules_are_judged_over_all_notebooks(book, told, monkeypatch, capsys):
    """A rule that hides too much fails the run, one that matched in no notebook is noted, unless some were not run."""
    (book.folder / "rules").write_text("regex: a\nreplace: b\nregex: c\nreplace: d\n", encoding="utf-8")
    for name in ("one", "two"):
        book.write(name, "1;")
    hits = iter([{"rules, line 1 (a)": [2, 0]}, {"rules, line 1 (a)": [1, 1]}, {}, {}])

    def run(notebooks, way, report, progress):
        for path in notebooks:
            report(Verdict(path, "compare", 0.0, hits=next(hits)))

    monkeypatch.setattr(command, "run", run)
    assert validate(["."], sanitize="rules", once=True) == 1
    out = capsys.readouterr().out
    assert "note: rules, line 3 (c) matches nothing; delete it\n" in out
    assert "\nFAIL  rules, line 1 (a) hides too much: 1 of its 3 matches" in out
    assert "2 of 2 notebooks passed" in out
    assert validate(["."], sanitize="rules", fast=True, once=True) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 of 2 notebooks have changed") and "matches nothing" not in out


def test_a_broken_rule_is_told_at_once(book, capsys):
    """Before anything is run."""
    book.write("one", "1;")
    assert validate(["."], sanitize="nowhere") == 2
    assert capsys.readouterr().err.startswith("expected a sanitize file")


def test_a_broken_file_fails_and_the_others_are_judged(book, told, capsys):
    """A conflict of a merge in one notebook hides nothing about the rest; it has its place in the report, too."""
    told()
    book.write("good", "1;")
    (book.folder / "conflict.ipynb").write_text("<<<<<<< ours\n{", encoding="utf-8")
    assert validate(["."], junit_file="junit.xml") == 1
    out = capsys.readouterr().out
    assert out.startswith("FAIL  read     conflict.ipynb  0.0 s\n      expected a notebook in JSON")
    assert "\nok    twice    good.ipynb" in out
    assert "\nFAIL  conflict.ipynb: [read] expected a notebook in JSON" in out
    assert "\n1 of 2 notebooks passed in " in out
    assert 'name="read"' in (book.folder / "junit.xml").read_text(encoding="utf-8")


def test_another_language_is_neither_run_nor_touched(book, capsys):
    """It has not passed and has not failed, and says so; no command writes Python's outputs into it."""
    path = book.write("other", book.code("1+1", result("[1] 2")))
    path.write_text(path.read_text().replace('"language": "python"', '"language": "R"'), encoding="utf-8")
    before = path.read_bytes()
    assert validate(["."], update=True) == 0
    out = capsys.readouterr().out
    assert "skip  compare  other.ipynb  0.0 s\n      note: its cells are in r, and only Python is run here\n" in out
    assert "\n0 of 1 notebooks passed, 1 not run in " in out
    assert command.refresh(["."]) == 1
    assert "FAIL       other.ipynb expected cells in Python, found r: it is left as it is" in capsys.readouterr().out
    assert path.read_bytes() == before


def test_an_interrupted_run_tells_what_it_knows(book, monkeypatch, capsys):
    """What has passed, what has failed, what was not run; in the file for a service as well."""
    for name in ("bad", "good", "later"):
        book.write(name, "1;")

    def run(notebooks, way, report, progress):
        bad, good, _ = notebooks
        report(Verdict(bad, "compare", 1.0, [Problem("cell 1", "differs")]))
        report(Verdict(good, "compare", 1.0))
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", run)
    assert validate(["."], once=True, junit_file="junit.xml") == 130
    out = capsys.readouterr().out
    assert "\nFAIL  bad.ipynb cell 1: [compare] differs\n" in out
    assert "\ninterrupted: 1 of 3 notebooks passed, 1 not run in " in out
    assert len(list(xml.parse(book.folder / "junit.xml").getroot().iter("failure"))) == 1


def test_in_a_thread_signals_are_left_alone(book, told):
    """Only a main thread may choose what a signal does."""
    told()
    book.write("good", "1;")
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(validate, ["."]).result() == 0


@pytest.mark.skipif(os.name == "nt", reason="expected POSIX signals, found Windows; nothing to install")
def test_a_service_that_ends_the_command_ends_its_kernels(book):
    """SIGTERM to the command alone: pytest and the kernels are gone when it has ended."""
    started = book.folder / "started"
    book.write("slow", "import pathlib, time; pathlib.Path('started').touch(); time.sleep(60)")
    arguments = [sys.executable, "-m", "labserver", "validate", "slow.ipynb", "--timeout=60"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, encoding="utf-8") as process:
        for _ in range(3000):
            if started.exists():
                break
            time.sleep(0.01)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    assert len(children) >= 2 and not psutil.wait_procs(children, timeout=10)[1]
    assert process.returncode == 130 and "interrupted: 0 of 1 notebooks passed, 1 not run" in out
