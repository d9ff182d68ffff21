"""A pytest plugin that closes the holes of nbval 0.11: `pytest --nbval -p labserver.validation.plugin`.

Room: pytest's hooks and the report. nbval collects and runs the cells; `cells` puts stricter classes in place of its
two, and compares outputs by `difference`. Beyond nbval, a notebook fails if

- a cell that is to be compared was never run (nbval then compares nothing);
- a cell tagged `raises-exception` raises nothing;
- the MIME types of an output differ, or a picture is missing; the order of prints and displays counts as well;
- output of an earlier cell arrives while a later one runs, or after the last;
- the kernel dies: within seconds, with its last words, instead of after the cell's time limit.

After the first failing cell the rest of a notebook is skipped. Cells run with history, as in JupyterLab, so that `1+1;`
and `Out[1]` behave; `clear_output` and updates of a display within its cell are applied before comparing. An update of
an earlier cell's display is not, because that cell has been judged already: keep both in one cell. Loopback ports are
not compared, nor what the rules in nbval's `--nbval-sanitize-with` hide; `--nbdime` and coverage of kernels are not
used.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from nbval.plugin import IPyNbFile

from .book import shown
from .cells import QUEUED, TWICE, StrictNotebook

REPORT = "--labserver-report"
"""The option that names a file for lines of JSON: `Reporter` says what is in it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("nbval", "Jupyter Notebook validation")
    group.addoption(REPORT, metavar="FILE", help="write a line of JSON for each cell, and for each phase of a notebook")
    group.addoption(TWICE, action="store_true", help="then run all cells once more, each twice in a row")
    group.addoption(QUEUED, action="store_true", help="send all cells at once, as Run All does")


def pytest_configure(config: pytest.Config) -> None:
    found = version("nbval")
    if not found.startswith("0.11."):
        raise pytest.UsageError(
            f"labserver.validation.plugin expected nbval 0.11.*, whose classes it extends, but found {found}; "
            "pip install 'nbval==0.11.*'"
        )
    path = config.getoption(REPORT)
    if path and not hasattr(config, "workerinput"):  # under xdist, only the process that hears of all cells
        config.pluginmanager.register(Reporter(Path(path)))


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Iterator[None]:
    collectors = yield
    return [
        StrictNotebook.from_parent(parent, path=file_path) if type(collector) is IPyNbFile else collector
        for collector in collectors
    ]


@dataclass(slots=True)
class _Phase:
    """What has been heard so far of one phase of one notebook."""

    seconds: float = 0.0
    problems: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    hits: dict[str, list[int]] = field(default_factory=dict)
    skipped: bool = True


class Reporter:
    """Writes lines of JSON, each a dictionary, while pytest runs.

    After a cell: `{"notebook": path, "done": 3, "of": 12}`. After a phase of a notebook: its path, the `phase`
    (`compare` or `twice`), its `seconds`, its `problems` as `[[cell, text], …]`, its `notes`, for each rule of the
    sanitize file its `hits` (matches, and how many hid too much), and whether it was `skipped`, because the phase
    before had failed. A failure that belongs to no notebook has an empty path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.phases: dict[tuple[str, str], _Phase] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write({"notebook": "", "problems": [["", str(report.longrepr)]]})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        known = dict(report.user_properties)
        if "notebook" not in known:  # xdist's report of a worker that crashed
            self._write({"notebook": "", "problems": [["", str(report.longrepr)]]})
            return
        notebook, name = known["notebook"], known["phase"]
        phase = self.phases.setdefault((notebook, name), _Phase())
        phase.seconds += report.duration
        if report.when == "call":
            self._called(phase, known)
        if report.failed:
            where = f"{shown(Path(notebook))} {known['cell']}: "
            phase.skipped = False
            phase.problems.append([known["cell"], str(report.longrepr).removeprefix(where)])
        if known["last"] and report.when == "teardown":
            told = {name: getattr(phase, name) for name in _Phase.__slots__}
            self._write({"notebook": notebook, "phase": name} | told)

    def _called(self, phase: _Phase, known: dict[str, Any]) -> None:
        phase.skipped = phase.skipped and "broken" in known
        phase.notes += [known["note"]] if "note" in known else []
        for rule, hits in known.get("hits", {}).items():
            phase.hits[rule] = [a + b for a, b in zip(phase.hits.get(rule, (0, 0)), hits, strict=True)]
        self._write({"notebook": known["notebook"], "done": known["place"][0], "of": known["place"][1]})

    def _write(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
