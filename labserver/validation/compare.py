"""Stored outputs against a fresh run: nbval with our plugin, in a pytest of its own.

Room: starts pytest as a process, so that neither the settings of a repository nor its plugins nor a running test
session reach the notebooks, and reads the report that the plugin writes there.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from nbformat import NotebookNode

from .book import Problem, Verdict
from .plugin import REPORT

PHASE = "compare"

_PLUGINS = ("xdist.plugin", "nbval.plugin", "labserver.validation.plugin")
_LAST_WORDS = 20
_PAUSE = 0.05


def compare(
    notebooks: Mapping[Path, NotebookNode], *, timeout: float, workers: int, report: Callable[[Verdict], None]
) -> None:
    """Compare each notebook with a fresh run of it and report each verdict as it comes.

    timeout: seconds a cell may take. workers: how many notebooks run side by side.
    """
    waiting = {}
    for path, notebook in notebooks.items():
        if any(cell.cell_type == "code" for cell in notebook.cells):
            waiting[str(path.resolve())] = path
        else:
            report(Verdict(path, PHASE, 0.0))
    if waiting:
        _run_pytest(waiting, timeout, workers, report)


def _run_pytest(waiting: dict[str, Path], timeout: float, workers: int, report: Callable[[Verdict], None]) -> None:
    """Run pytest over the waiting notebooks, by their full paths; each leaves the dictionary with its verdict."""
    stray = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings, results, log = home / "pytest.ini", home / "report.jsonl", home / "pytest.log"
        settings.write_text("[pytest]\n", encoding="utf-8")
        results.touch()
        command = _command(list(waiting), settings, results, timeout, workers)
        with (
            log.open("wb") as output,
            subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=_environment()) as process,
        ):
            for line in _lines(process, results):
                problems = [Problem(where, text) for where, text in line["problems"]]
                if line["notebook"]:
                    report(Verdict(waiting.pop(line["notebook"]), PHASE, line["seconds"], problems, line["notes"]))
                else:
                    stray += [problem.text for problem in problems]
        words = stray or log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_WORDS:]
    for path in waiting.values():
        text = f"expected pytest to finish this notebook, but it ended with status {process.returncode}; it said:"
        report(Verdict(path, PHASE, 0.0, [Problem("", "\n".join([text, *words]))]))


def _command(notebooks: Sequence[str], settings: Path, results: Path, timeout: float, workers: int) -> list[str]:
    processes = min(workers, len(notebooks))
    return [
        *(sys.executable, "-m", "pytest", "-q", "--tb=short", "--color=no", "--noconftest"),
        *(part for name in _PLUGINS for part in ("-p", name)),
        *("-p", "no:cacheprovider", "-c", str(settings), "--rootdir", _root(notebooks)),
        *("-n", str(processes if processes > 1 else 0), "--dist", "loadfile"),
        *("--nbval", "--nbval-current-env", f"--nbval-cell-timeout={timeout:g}", REPORT, str(results)),
        *notebooks,
    ]


def _environment() -> dict[str, str]:
    """The environment without what would change pytest's arguments or plugins."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")}
    return kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def _root(notebooks: Sequence[str]) -> str:
    """The folder below which all notebooks are, so that pytest gives each a name of its own."""
    folders = [os.path.dirname(notebook) for notebook in notebooks]
    try:
        return os.path.commonpath(folders)
    except ValueError:  # several drives of Windows
        return folders[0]


def _lines(process: subprocess.Popen, results: Path) -> Iterator[dict]:
    """The report's lines while they are being written."""
    with results.open(encoding="ascii") as file:
        ended, rest = False, ""
        while not ended:
            ended = process.poll() is not None  # asked before the last look, so that nothing is missed
            *whole, rest = (rest + file.read()).split("\n")
            yield from map(json.loads, whole)
            if not ended:
                time.sleep(_PAUSE)
