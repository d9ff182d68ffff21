"""`labserver validate PATH…`: lint, comparison with the stored outputs, run-twice; a line for each, and what failed.

Room: prints and decides the exit status; the other modules of the room do the work.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nbformat import NotebookNode

from labserver.errors import ValidationError

from . import junit, lint, passed
from .book import Problem, Verdict, find, read, shown
from .cells import COMPARE_PHASE
from .progress import Progress
from .refresh import refresh
from .rules import Rules
from .run import Way, run

TIMEOUT = 30.0
"""Seconds a cell may take, unless the user says otherwise."""


def validate(
    paths: Sequence[str],
    *,
    timeout: float = TIMEOUT,
    workers: int | None = None,
    once: bool = False,
    queued: bool = False,
    fast: bool = False,
    sanitize: str | None = None,
    update: bool = False,
    style: bool = False,
    junit_file: str | None = None,
) -> int:
    """Hold notebooks to what they claim; prints a line for each notebook and phase, and below it what is wrong.

    paths: notebooks, folders, globs. timeout: seconds a cell may take. workers: how many notebooks run side by side,
    by default two per processor, for they wait half of their time. once: only compare, do not run the cells again.
    queued: send all cells at once, as Run All does. fast: pass over notebooks that are as they were when they passed
    here. sanitize: a file with rules for what is not compared. update: store the outputs of notebooks that differ from
    what is stored, and judge them again. style: tell how a notebook differs from the measure of a lesson. junit_file:
    where to write the verdicts as JUnit XML.
    Returns the exit status: 0 if all pass, 1 if a notebook or a rule fails, 2 if the paths name no notebooks, or a file
    is not what it should be.
    """
    try:
        way = Way(timeout, workers or 2 * (os.cpu_count() or 1), not once, queued, sanitize)
        rules = Rules.read(sanitize)
        notebooks = {path: read(path) for path in find(paths)}
        known = passed.Passed(way)
        known.look(notebooks)
        if fast:
            notebooks = _changed(notebooks, known)
        start = time.monotonic()
        verdicts = [*_lint(notebooks, style), *_judge(notebooks, way)]
        if update and (stale := _stale(verdicts)):
            print(f"\nstoring the outputs of {len(stale)} notebooks that differ", flush=True)
            refresh([str(path) for path in stale], timeout=timeout, workers=workers)
            known.look(stale)
            verdicts = [verdict for verdict in verdicts if verdict.notebook not in stale]
            again = {path: read(path) for path in stale}
            verdicts += [*_lint(again, style), *_judge(again, way)]
    except ValidationError as error:
        print(error, file=sys.stderr)
        return 2
    hits = _hits(verdicts)
    if not fast:
        for text in rules.idle(hits):
            print(f"note: {text}")
    wrong_rules = rules.judged(hits)
    failed = {verdict.notebook for verdict in verdicts if verdict.problems}
    known.keep([path for path in notebooks if path not in failed and not wrong_rules])
    if junit_file:
        junit.write(Path(junit_file), verdicts, wrong_rules)
    _summary(notebooks, verdicts, wrong_rules, time.monotonic() - start)
    return 1 if failed or wrong_rules else 0


def _changed(notebooks: Mapping[Path, NotebookNode], known: passed.Passed) -> dict[Path, NotebookNode]:
    changed = {path: notebook for path, notebook in notebooks.items() if path not in known}
    print(f"{len(changed)} of {len(notebooks)} notebooks have changed since they passed here", flush=True)
    return changed


def _lint(notebooks: Mapping[Path, NotebookNode], style: bool) -> Iterator[Verdict]:
    for path, notebook in notebooks.items():
        start = time.monotonic()
        problems = lint.lint(notebook, path)
        notes = lint.style(notebook) if style else []
        verdict = Verdict(path, "lint", time.monotonic() - start, problems, notes)
        print(_told(verdict), flush=True)
        yield verdict


def _judge(notebooks: Mapping[Path, NotebookNode], way: Way) -> list[Verdict]:
    """Run the notebooks, with a line for each verdict as it comes."""
    verdicts: list[Verdict] = []
    with Progress(sys.stdout) as progress:

        def report(verdict: Verdict) -> None:
            verdicts.append(verdict)
            progress.print(_told(verdict))

        run(notebooks, way, report, progress.cells)
    return verdicts


def _told(verdict: Verdict) -> str:
    word = "FAIL" if verdict.problems else "skip" if verdict.skipped else "ok"
    lines = [f"{word:4}  {verdict.phase:7}  {shown(verdict.notebook)}  {verdict.seconds:.1f} s"]
    lines += [f"      {problem.where}: {problem.text}".replace("\n", "\n      ") for problem in verdict.problems]
    lines += [f"      note: {note}" for note in verdict.notes]
    return "\n".join(lines)


def _stale(verdicts: Sequence[Verdict]) -> list[Path]:
    return [verdict.notebook for verdict in verdicts if verdict.phase == COMPARE_PHASE and verdict.problems]


def _hits(verdicts: Sequence[Verdict]) -> dict[str, list[int]]:
    total: dict[str, list[int]] = {}
    for verdict in verdicts:
        for rule, hits in verdict.hits.items():
            total[rule] = [a + b for a, b in zip(total.get(rule, (0, 0)), hits, strict=True)]
    return total


def _summary(
    notebooks: Mapping[Path, NotebookNode], verdicts: Sequence[Verdict], rules: Sequence[Problem], seconds: float
) -> None:
    """Print each failure once more, in a line, and the count."""
    failures = [(path, v) for path in notebooks for v in verdicts if v.notebook == path and v.problems]
    print()
    for path, verdict in failures:
        for problem in verdict.problems:
            print(f"FAIL  {shown(path)} {problem.where}: [{verdict.phase}] {problem.text.splitlines()[0]}")
    for problem in rules:
        print(f"FAIL  {problem.text}")
    good = len(notebooks) - len({path for path, _ in failures})
    print(f"{good} of {len(notebooks)} notebooks passed in {seconds:.1f} s", flush=True)
