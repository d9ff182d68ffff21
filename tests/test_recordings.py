"""What the lessons' cells record becomes tests that pass on what was recorded, and fail on a version with a bug.

Each lesson runs in a kernel of its own; after each cell, `recordings.py` makes a test of what that cell has recorded.
"""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

HERE = Path(__file__).parent
LESSONS = sorted((HERE.parent / "notebooks").glob("0[0-7]_*.ipynb"))

OUTSIDE = {
    "02 first-door": "the application reads scope['raw_path'], which communicators do not give",
    "04 origins": "one of its applications allows one origin with its port, and a recording keeps no ports",
    "04 wild": "one consumer instance serves all: one client gets what another one has sent",
    "05 burst": "a cell opens a gate in the middle",
    "05 layers": "another process sends",
    "05 worker-talk": "another process answers",
    "05 restart-table": "a cell stops Redis in the middle",
    "06 clock": "a cell moves the clock",
    "06 reference": "a cell empties the cache in the middle",
    "07 stay": "a cell changes a user between two requests",
    "07 hello": "a cell changes users, and takes the database away",
    "07 table": "a cell moves the clock, and tickets are good once",
    "07 accidents": "a cell moves the clock, and changes users",
    "07 renewable-talk": "a cell moves the clock",
    "07 project": "a cell moves the clock, and changes users",
}
"""Recordings that cannot be all there is to a test, because something happened that no client and no layer has seen."""

JOINED = {"06 flood-talk", "07 stop"}
"""Cells that go on with connections of other cells: `to_test` says that their beginning is missing."""


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_what_a_lesson_records_becomes_tests(lesson, new_kernel, tmp_path):
    """The test of each recording passes on the application that was recorded, and fails on each planted bug."""
    kernel = new_kernel(lesson.parent)
    try:
        found = dict(recorded(kernel, lesson))
    finally:
        kernel.end()
    number = lesson.stem[:2]
    assert {cell for cell, told in found.items() if "left out" in told} == {
        each for each in JOINED if each[:2] == number
    }
    whole = {cell: told for cell, told in found.items() if "left out" not in told}
    assert {cell for cell in whole if cell in OUTSIDE} == {each for each in OUTSIDE if each[:2] == number}
    played = {cell: told for cell, told in whole.items() if cell not in OUTSIDE}
    assert played and {cell: told["errors"] for cell, told in played.items() if told["errors"]} == {}
    assert [cell for cell, told in played.items() if not told["caught"] or not all(told["caught"].values())] == []
    for cell, told in whole.items():
        (tmp_path / f"test_{cell.replace(' ', '_').replace('-', '_')}.py").write_text(told["source"], encoding="utf-8")
    lint = subprocess.run([sys.executable, "-m", "ruff", "check", "--isolated", "--ignore=I001", tmp_path], check=False)
    assert lint.returncode == 0


def recorded(kernel, lesson):
    """The name of each cell that talked to an application, and what came of the test of its recording."""
    kernel.run((HERE / "recordings.py").read_text(encoding="utf-8"))
    for cell in nbformat.read(lesson, 4).cells:
        if cell.cell_type == "code":
            kernel.run("Probe.begin()")
            kernel.wait(kernel.send(cell.source))  # some fail, and are to
            name = f"{lesson.stem[:2]} {cell.id}"
            told = kernel.run(f"await Probe.end({cell.id!r}, {name not in OUTSIDE})").strip()
            if told:
                yield name, json.loads(told.splitlines()[-1])
