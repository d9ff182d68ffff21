"""Every notebook again, twice in one kernel, the second time each cell twice; with the ledger.

Room: kernels through `session`, notebooks through `book`. Learners run cells again; what they see must be the same,
and nothing may pile up.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nbformat import NotebookNode

from labserver.errors import ValidationError

from . import ledger
from .book import Problem, Verdict, difference, is_run, labels, marks
from .session import CellFailed, Kernel, together

LEDGER = "ledger"
"""Where the complaints belong that are about no cell, but about what is left after the last one."""


PHASE = "twice"


def rerun(
    notebooks: dict[Path, NotebookNode], *, timeout: float, workers: int, report: Callable[[Verdict], None]
) -> None:
    """Run each notebook twice, `workers` kernels at a time, and report each verdict as it comes.

    timeout: seconds a cell may take.
    """
    free = asyncio.Semaphore(workers)

    async def judge(path: Path, notebook: NotebookNode) -> None:
        async with free:
            start = time.monotonic()
            problems = await guarded(notebook, path.resolve().parent, timeout)
            report(Verdict(path, PHASE, time.monotonic() - start, problems))

    together(*(judge(path, notebook) for path, notebook in notebooks.items()))


async def guarded(notebook: NotebookNode, folder: Path, timeout: float) -> list[Problem]:
    """The problems that the runs find, the one that ends them included."""
    cells = [
        (label, cell)
        for label, cell in zip(labels(notebook.cells), notebook.cells, strict=True)
        if is_run(cell) and not marks(cell).skip
    ]
    try:
        async with Kernel(folder, timeout) as kernel:
            return await twice(kernel, cells)
    except CellFailed as failed:
        return [failed.problem]
    except ValidationError as error:
        return [Problem("", str(error))]


AT_ONCE = "its run again at once"
"""What the second run of a cell in pass 2 is called."""

Cells = Sequence[tuple[str, NotebookNode]]
"""The cells to run, each with its label."""


async def twice(kernel: Kernel, cells: Cells) -> list[Problem]:
    """All cells, then all cells once more, each of them twice in a row: one kernel's start finds what two would."""
    fresh, _ = await ledger.settled(kernel.evaluate)
    first = [await _run(kernel, *cell, "in pass 1") for cell in cells]
    after_first, leaks = await ledger.settled(kernel.evaluate, lambda now: ledger.left(fresh, now))
    second = [await _run(kernel, *cell, turn) for cell in cells for turn in ("in pass 2", f"in {AT_ONCE}")]
    problems = _differences(cells, first, second[::2], "pass 1", "pass 2")
    problems += _differences(cells, second[::2], second[1::2], "pass 2", AT_ONCE)
    problems += _leaks("the first run", leaks)
    _, leaks = await ledger.settled(
        kernel.evaluate, lambda now: ledger.left(fresh, now) + ledger.grown(after_first, now)
    )
    return problems + _leaks("the second run", leaks)


async def _run(kernel: Kernel, label: str, cell: NotebookNode, turn: str) -> NotebookNode:
    try:
        return await kernel.run_marked(label, cell)
    except CellFailed as failed:
        raise CellFailed(Problem(label, f"{turn}, {failed.problem.text}")) from failed


def _leaks(moment: str, leaks: Sequence[str]) -> list[Problem]:
    return [
        Problem(LEDGER, f"after {moment}, {leak}; end in the last cell what the notebook started") for leak in leaks
    ]


def _differences(
    cells: Cells, first: Sequence[NotebookNode], second: Sequence[NotebookNode], *names: str
) -> list[Problem]:
    problems = []
    for (label, cell), one, two in zip(cells, first, second, strict=True):
        diff = "" if marks(cell).ignore else difference(one.outputs, two.outputs, names)
        if diff:
            problems.append(Problem(label, f"the outputs of {' and '.join(names)} differ\n{diff}"))
    return problems
