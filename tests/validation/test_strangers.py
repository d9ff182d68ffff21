"""A folder of notebooks that is not ours: its clean copy passes, and each of twelve planted faults is found."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from xml.etree import ElementTree as xml

import pytest
from nbformat import NotebookNode, v4

from .conftest import Book, printed, raised, result

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def readings(book: Book) -> list[NotebookNode]:
    """A notebook about readings of a thermometer: data, a database, a picture, an error, a duration."""
    picture = v4.new_output("display_data", data={"image/png": PIXEL, "text/plain": "<a picture>"})
    return [
        book.text("# Readings\n\nWhat [the data](readings.csv) say."),
        book.code(
            "import csv, sqlite3, statistics, time\nrows = list(csv.DictReader(open('readings.csv')))\nbegan = 0"
        ),
        book.code("statistics.mean(float(row['degrees']) for row in rows)", result("20.5", 2)),
        book.code(f"display({{'image/png': {PIXEL!r}, 'text/plain': '<a picture>'}}, raw=True)", picture),
        book.code("float('warm')", raised("ValueError", "could not convert string to float: 'warm'")),
        book.code("with sqlite3.connect(':memory:') as memory:\n    print(memory.execute('select 6 * 7').fetchone())"),
        book.code("memory.close()\nstart = time.perf_counter()\nprint(f'{time.perf_counter() - start:.6f} s')"),
        book.code("len(rows)", result("3", 7)),
    ]


def clean(book: Book) -> list[NotebookNode]:
    cells = readings(book)
    cells[1].source = cells[1].source.replace(
        "rows = list(csv.DictReader(open('readings.csv')))",
        "with open('readings.csv') as file:\n    rows = list(csv.DictReader(file))",
    )
    cells[4].metadata.tags = ["raises-exception"]
    cells[5].outputs = [printed("(42,)\n")]
    cells[6].outputs = [printed("0.000123 s\n")]
    return cells


def _source(position: int, source: str) -> Callable[[list[NotebookNode]], None]:
    return lambda cells: cells[position].update(source=source)


def _before(position: int, source: str) -> Callable[[list[NotebookNode]], None]:
    return lambda cells: cells[position].update(source=f"{source}\n{cells[position].source}")


def _outputs(position: int, *outputs: NotebookNode) -> Callable[[list[NotebookNode]], None]:
    return lambda cells: cells[position].update(outputs=list(outputs))


def _never_run(cells: list[NotebookNode]) -> None:
    cells[7].update(execution_count=None, outputs=[])


LATE = (
    "import contextvars\nhere = contextvars.copy_context()\n"
    "get_ipython().events.register('pre_execute', lambda: here.run(print, 'saved'))"
)

FAULTS: dict[str, tuple[Callable[[list[NotebookNode]], None], str, str]] = {
    "digit": (_outputs(2, result("20.4", 2)), "compare: cell 2 (id id2)", "≠ 20.4"),
    "deleted": (_outputs(5), "compare: cell 5 (id id5)", "│ (42,)"),
    "never_run": (_never_run, "compare: cell 7 (id id7)", "stored without a run"),
    "calm": (_source(4, "float('20')"), "compare: cell 4 (id id4)", "tagged raises-exception, but it raised nothing"),
    "raises": (_source(5, "sqlite3.konnect(':memory:')"), "compare: cell 5 (id id5)", "raised AttributeError"),
    "picture": (_source(3, "display('<a picture>')"), "compare: cell 3 (id id3)", "≠ [image/png]"),
    "dead": (_source(5, "import os; os._exit(7)"), "compare: cell 5 (id id5)", "found it dead"),
    "endless": (_source(6, "while True:\n    time.sleep(0.01)"), "compare: cell 6 (id id6)", "within its time limit"),
    "late": (_before(2, LATE), "compare: cell 3 (id id3)", "expected each output from the cell that makes it"),
    "grows": (
        _source(7, "rows.append(0) if began else None\nbegan += 1\nlen(rows)"),
        "twice: cell 7 (id id7)",
        "≠ 3 ",
    ),
    "port": (
        _before(5, "import socket; taken = socket.create_server(('127.0.0.1', 0))"),
        "twice: ledger",
        "is still listening",
    ),
    "link": (_source(0, "# Readings\n\n[the data](reading.csv)"), "lint: markdown cell 1 (id id0)", "'reading.csv'"),
}


@pytest.fixture(scope="module")
def validated(shelf: Callable[[str], Book]) -> Callable[..., tuple[int, str, Path]]:
    """A function that runs the command over a folder of named notebooks, and returns its status, words and report."""

    def run(folder: str, *names: str, more: Sequence[str] = ()) -> tuple[int, str, Path]:
        book = shelf(folder)
        (book.folder / "readings.csv").write_text("degrees\n20\n20.5\n21\n", encoding="utf-8")
        (book.folder / "rules").write_text("A duration.\nregex: 0\\.\\d{6}\nreplace: TIME\n", encoding="utf-8")
        for name in names:
            cells = deepcopy(clean(book))
            change, *_ = FAULTS.get(name, (lambda cells: None,))
            change(cells)
            book.write(name, *cells)
        options = ["--timeout=6", "--sanitize=rules", "--junit=report.xml", *more]
        done = subprocess.run(
            [sys.executable, "-m", "labserver", "validate", ".", *options],
            cwd=book.folder,
            env=os.environ | {"LABSERVER_STATE": str(book.folder / "state"), "PYTHONUTF8": "1"},
            capture_output=True,
            encoding="utf-8",
            timeout=100,
        )
        return done.returncode, done.stdout + done.stderr, book.folder / "report.xml"

    return run


def test_the_clean_copy_passes(validated):
    """Also when all cells are sent at once; with a rule for the one thing that is another on each run."""
    status, words, _ = validated("clean", "readings", more=["--queued"])
    assert status == 0, words
    assert "note:" not in words and "1 of 1 notebooks passed" in words


@pytest.fixture(scope="module")
def faulty(validated) -> tuple[int, str, Path]:
    """One run over twelve copies with a fault each."""
    return validated("faults", *FAULTS)


def test_the_readme_shows_what_is_told(faulty):
    """Its example is the report of one of the faults, but for the folder and the seconds."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```text\n(FAIL.*?)```", readme, re.S)
    first, *lines = example.splitlines()
    assert re.sub(r"\d+\.\d s", "", first.replace("readings/", "")) in re.sub(r"\d+\.\d s", "", faulty[1])
    assert "\n".join(lines) in faulty[1]


@pytest.fixture(scope="module")
def found(faulty) -> dict[str, list[tuple[str, str]]]:
    """What that run finds: name and text of each failure, by notebook."""
    status, words, report = faulty
    assert status == 1 and "0 of 12 notebooks passed" in words, words
    return {
        suite.get("name"): [(case.get("name"), case[0].text) for case in suite if case.find("failure") is not None]
        for suite in xml.parse(report).getroot()
    }


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_where_it_is(found, fault):
    """In its notebook, by the phase that finds it, at its cell, with what was seen; and nothing else is."""
    _, where, words = FAULTS[fault]
    failures = found[f"{fault}.ipynb"]
    # what piles up is told of both runs in pass 2, and a cell that was not run fails the lint as well
    assert {name for name, _ in failures} <= {where, where.replace("compare", "lint")}
    assert any(name == where and words in text for name, text in failures), failures
