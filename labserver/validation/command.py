"""`labserver validate PATH…`: lint, comparison with the stored outputs, run-twice; a line for each, and what failed.

Room: prints and decides the exit status; the other modules of the room do the work.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nbformat import NotebookNode

from labserver.errors import ValidationError

from . import junit, lint, passed
from .book import Problem, Verdict, find, read, shown
from .cells import COMPARE_PHASE, TWICE_PHASE
from .progress import Progress
from .refresh import refresh
from .rules import Rules
from .run import Way, run

INTERRUPTED = 130
"""The exit status of a run that was interrupted: 128 and the number of SIGINT, as in a shell."""

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
    Returns the exit status: 0 if all pass, 1 if a notebook or a rule fails, 2 if the paths name no notebook that can be
    read, or a file is not what it should be, 130 if it was interrupted; what it knows by then is told all the same.
    """
    start = time.monotonic()
    try:
        way = Way(timeout, workers or 2 * (os.cpu_count() or 1), not once, queued, sanitize)
        rules = Rules.read(sanitize)
        notebooks, verdicts = _readable(find(paths))
    except ValidationError as error:
        print(error, file=sys.stderr)
        return 2
    known = passed.Passed(way)
    known.look(notebooks)
    if fast:
        notebooks = _changed(notebooks, known)
    interrupted = False
    try:
        with _terminated_like_interrupted():
            _judge(notebooks, way, style, verdicts)
            if update:
                _update(way, style, verdicts, known)
    except KeyboardInterrupt:
        interrupted = True
    hits = _hits(verdicts)
    if not fast and not interrupted:
        for text in rules.idle(hits):
            print(f"note: {text}")
    wrong_rules = rules.judged(hits)
    good, unrun = _passed(notebooks, verdicts, way)
    known.keep(good if not wrong_rules else ())
    if junit_file:
        junit.write(Path(junit_file), verdicts, wrong_rules)
    _summary(verdicts, wrong_rules)
    total = len(notebooks.keys() | {verdict.notebook for verdict in verdicts})
    ending = "interrupted: " * interrupted, f", {len(unrun)} not run" * bool(unrun)
    print(
        f"{ending[0]}{len(good)} of {total} notebooks passed{ending[1]} in {time.monotonic() - start:.1f} s", flush=True
    )
    return INTERRUPTED if interrupted else int(len(good) + len(unrun) < total or bool(wrong_rules))


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Within, SIGTERM is a KeyboardInterrupt: a service that stops a job leaves no kernels behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _readable(paths: Sequence[Path]) -> tuple[dict[Path, NotebookNode], list[Verdict]]:
    """The notebooks, and a verdict for each file that is none. Raises ValidationError if all are none."""
    notebooks, verdicts, error = {}, [], None
    for path in paths:
        try:
            notebooks[path] = read(path)
        except ValidationError as broken:
            error = broken
            verdicts.append(Verdict(path, "read", 0.0, [Problem("", str(broken))]))
    if error and not notebooks:
        raise error
    for verdict in verdicts:
        print(_told(verdict), flush=True)
    return notebooks, verdicts


def _changed(notebooks: Mapping[Path, NotebookNode], known: passed.Passed) -> dict[Path, NotebookNode]:
    changed = {path: notebook for path, notebook in notebooks.items() if path not in known}
    print(f"{len(changed)} of {len(notebooks)} notebooks have changed since they passed here", flush=True)
    return changed


def _judge(notebooks: Mapping[Path, NotebookNode], way: Way, style: bool, verdicts: list[Verdict]) -> None:
    """Lint and run the notebooks, with a line for each verdict as it comes."""
    with Progress(sys.stdout) as progress:

        def report(verdict: Verdict) -> None:
            verdicts.append(verdict)
            progress.print(_told(verdict))

        for path, notebook in notebooks.items():
            start = time.monotonic()
            problems = lint.lint(notebook, path)
            notes = [*lint.untidy(notebook), *(lint.style(notebook) if style else [])]
            report(Verdict(path, "lint", time.monotonic() - start, problems, notes))
        run(notebooks, way, report, progress.cells)


def _update(way: Way, style: bool, verdicts: list[Verdict], known: passed.Passed) -> None:
    """Store the outputs of the notebooks that differ, and judge these again; their verdicts replace the first ones."""
    stale = [verdict.notebook for verdict in verdicts if verdict.phase == COMPARE_PHASE and verdict.problems]
    if not stale:
        return
    print(f"\nstoring the outputs of {len(stale)} notebooks that differ", flush=True)
    refresh([str(path) for path in stale], timeout=way.timeout, workers=way.workers)
    known.look(stale)
    verdicts[:] = [verdict for verdict in verdicts if verdict.notebook not in stale]
    _judge({path: read(path) for path in stale}, way, style, verdicts)


def _told(verdict: Verdict) -> str:
    word = "FAIL" if verdict.problems else "skip" if verdict.skipped else "ok"
    since = "  (compare has failed)" if verdict.skipped and verdict.phase == TWICE_PHASE else ""
    lines = [f"{word:4}  {verdict.phase:7}  {shown(verdict.notebook)}  {verdict.seconds:.1f} s{since}"]
    lines += [
        f"      {problem.where}: {problem.text}".replace("      : ", "      ").replace("\n", "\n      ")
        for problem in verdict.problems
    ]
    lines += [f"      note: {note}" for note in verdict.notes]
    return "\n".join(lines)


def _passed(
    notebooks: Mapping[Path, NotebookNode], verdicts: Sequence[Verdict], way: Way
) -> tuple[list[Path], list[Path]]:
    """The notebooks that passed all phases, and those that neither passed nor failed, since they were not run."""
    failed = {verdict.notebook for verdict in verdicts if verdict.problems}
    judged = {verdict.notebook for verdict in verdicts if verdict.phase == way.phases[-1] and not verdict.skipped}
    return (
        [path for path in notebooks if path in judged - failed],
        [path for path in notebooks if path not in judged | failed],
    )


def _hits(verdicts: Sequence[Verdict]) -> dict[str, list[int]]:
    total: dict[str, list[int]] = {}
    for verdict in verdicts:
        for rule, hits in verdict.hits.items():
            total[rule] = [a + b for a, b in zip(total.get(rule, (0, 0)), hits, strict=True)]
    return total


def _summary(verdicts: Sequence[Verdict], rules: Sequence[Problem]) -> None:
    """Print each failure once more, in a line, by notebook."""
    print()
    for verdict in sorted(verdicts, key=lambda verdict: verdict.notebook):
        for problem in verdict.problems:
            where = f"{shown(verdict.notebook)} {problem.where}".rstrip()
            print(f"FAIL  {where}: [{verdict.phase}] {problem.text.splitlines()[0]}")
    for problem in rules:
        print(f"FAIL  {problem.text}")
