"""The cells of notebooks run and judged: nbval with our plugin, in a pytest of its own.

Room: starts pytest as a process, so that neither the settings of a repository nor its plugins nor a running test
session reach the notebooks, and reads the report that the plugin writes there.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from nbformat import NotebookNode

from .book import Problem, Verdict, language
from .cells import COMPARE_PHASE, QUEUED, TWICE, TWICE_PHASE
from .plugin import REPORT

_PLUGINS = ("labserver.validation.plugin", "xdist.plugin", "nbval.plugin")  # ours first: see `labserver.validation`
_LAST_WORDS = 20
_PAUSE = 0.05
_FAREWELL = 5
"""Seconds that killed processes may take to be gone; where nobody reaps them, they are dead before that."""


@dataclass(frozen=True, slots=True)
class Way:
    """How notebooks are run.

    timeout: seconds a cell may take. workers: how many notebooks run side by side. twice: whether all cells are then
    run once more, each twice in a row. queued: whether the cells of the first run are sent at once, as Run All does.
    sanitize: the file with rules for what is not compared.
    """

    timeout: float
    workers: int
    twice: bool = True
    queued: bool = False
    sanitize: str | None = None

    @property
    def phases(self) -> Sequence[str]:
        """The phases of which a verdict is to come for each notebook."""
        return (COMPARE_PHASE, TWICE_PHASE) if self.twice else (COMPARE_PHASE,)


def run(
    notebooks: Mapping[Path, NotebookNode],
    way: Way,
    report: Callable[[Verdict], None],
    progress: Callable[[Path, int, int], None] = lambda path, done, of: None,
) -> None:
    """Run each notebook and report each verdict as it comes; `progress` hears how many cells of a notebook are done."""
    waiting = {}
    for path, notebook in notebooks.items():
        if language(notebook) != "python":
            notes = [f"its cells are in {language(notebook)}, and only Python is run here"]
            report(Verdict(path, COMPARE_PHASE, 0.0, notes=notes, skipped=True))
        elif any(cell.cell_type == "code" for cell in notebook.cells):
            waiting[str(path.resolve())] = path
        else:
            for phase in way.phases:
                report(Verdict(path, phase, 0.0))
    if waiting:
        _run_pytest(waiting, way, report, progress)


def _run_pytest(waiting: dict[str, Path], way: Way, report: Callable, progress: Callable) -> None:
    """Run pytest over the waiting notebooks, by their full paths; each leaves the dictionary with its last verdict."""
    stray = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings, results, log = home / "pytest.ini", home / "report.jsonl", home / "pytest.log"
        settings.write_text("[pytest]\n", encoding="utf-8")
        results.touch()
        command = _command(list(waiting), settings, results, way)
        with (
            log.open("wb") as output,
            subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=_environment()) as process,
        ):
            try:
                for line in _lines(process, results):
                    name = line["notebook"]
                    if not name:
                        stray += [text for _, text in line["problems"]]
                    elif "done" in line:
                        progress(waiting[name], line["done"], line["of"])
                    else:
                        report(_verdict(waiting[name], line))
                        if line["phase"] == way.phases[-1]:
                            del waiting[name]
            except BaseException:  # an interrupt, mostly: no kernel is to outlive it
                end(process)
                raise
        words = stray or log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_WORDS:]
    for path in waiting.values():
        text = f"expected pytest to finish this notebook, but it ended with status {process.returncode}; it said:"
        report(Verdict(path, way.phases[-1], 0.0, [Problem("", "\n".join([text, *words]))]))


def end(process: subprocess.Popen) -> None:
    """End a pytest and what it has started: kernels notice the death of the process that started them."""
    started = []
    with contextlib.suppress(psutil.NoSuchProcess):
        started = psutil.Process(process.pid).children(recursive=True)
    for each in [*started, process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()
    psutil.wait_procs(started, timeout=_FAREWELL)  # a signal is sent before it has arrived


def _verdict(path: Path, line: dict) -> Verdict:
    problems = [Problem(where, text) for where, text in line["problems"]]
    return Verdict(path, line["phase"], line["seconds"], problems, line["notes"], line["skipped"], line["hits"])


def _command(notebooks: Sequence[str], settings: Path, results: Path, way: Way) -> list[str]:
    processes = min(way.workers, len(notebooks))
    return [
        *(sys.executable, "-m", "pytest", "-q", "--tb=short", "--color=no", "--noconftest"),
        *(part for name in _PLUGINS for part in ("-p", name)),
        *("-p", "no:cacheprovider", "-c", str(settings), "--rootdir", _root(notebooks)),
        *("-n", str(processes if processes > 1 else 0), "--dist", "loadfile"),
        *("--nbval", "--nbval-current-env", f"--nbval-cell-timeout={way.timeout:g}", REPORT, str(results)),
        *([TWICE] if way.twice else []),
        *([QUEUED] if way.queued else []),
        *([f"--nbval-sanitize-with={Path(way.sanitize).resolve()}"] if way.sanitize else []),
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
