"""`labserver validate PATH…`: lint, comparison with the stored outputs, run-twice; a line for each, then the failures.

Room: prints and decides the exit status; the other modules of the room do the work.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from nbformat import NotebookNode

from labserver.errors import ValidationError

from .book import Problem, Verdict, find, read, shown
from .compare import compare
from .lint import lint, style
from .rerun import rerun

TIMEOUT = 30.0
"""Seconds a cell may take, unless the user says otherwise."""


def validate(paths: Sequence[str], *, timeout: float = TIMEOUT, workers: int | None = None) -> int:
    """Hold notebooks to what they claim; prints a line for each notebook and phase, and at the end what failed.

    paths: notebooks, folders, globs. timeout: seconds a cell may take. workers: how many notebooks run side by side,
    by default two per processor, for they wait half of their time. Returns the exit status: 0 if all pass, 1 if a
    notebook fails, 2 if the paths name no notebooks, or a file that is none.
    """
    try:
        notebooks = {path: read(path) for path in find(paths)}
    except ValidationError as error:
        print(error, file=sys.stderr)
        return 2
    processes = workers or 2 * (os.cpu_count() or 1)
    verdicts: list[Verdict] = []

    def report(verdict: Verdict) -> None:
        verdicts.append(verdict)
        _print_line(verdict)

    start = time.monotonic()
    _lint_all(notebooks, report)
    compare(notebooks, timeout=timeout, workers=processes, report=report)
    took = {verdict.notebook: verdict.seconds for verdict in verdicts if verdict.phase == "compare"}
    slowest_first = dict(sorted(notebooks.items(), key=lambda item: -took.get(item[0], 0)))
    rerun(slowest_first, timeout=timeout, workers=processes, report=report)
    return _summary(notebooks, verdicts, time.monotonic() - start)


def _lint_all(notebooks: dict[Path, NotebookNode], report) -> None:
    for path, notebook in notebooks.items():
        start = time.monotonic()
        problems = lint(notebook, path)
        report(Verdict(path, "lint", time.monotonic() - start, problems, style(notebook)))


def _print_line(verdict: Verdict) -> None:
    word = "FAIL" if verdict.problems else "ok"
    print(f"{word:4}  {verdict.phase:11}  {shown(verdict.notebook)}  {verdict.seconds:.1f} s", flush=True)
    for note in verdict.notes:
        print(f"      note: {note}", flush=True)


def _summary(notebooks: dict[Path, NotebookNode], verdicts: Sequence[Verdict], seconds: float) -> int:
    """Print every problem below the name of its notebook and cell, then the count. Returns the exit status."""
    failed = {verdict.notebook for verdict in verdicts if verdict.problems}
    for path in notebooks:
        for verdict in verdicts:
            if verdict.notebook == path:
                for problem in verdict.problems:
                    print(f"\n{_place(path, problem)}: [{verdict.phase}] {_indented(problem.text)}")
    print(f"\n{len(notebooks) - len(failed)} of {len(notebooks)} notebooks passed in {seconds:.1f} s", flush=True)
    return 1 if failed else 0


def _place(path: Path, problem: Problem) -> str:
    return f"{shown(path)} {problem.where}".rstrip()


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")
