"""Every notebook again in the same kernel: the whole of it twice, and each cell twice, with the ledger.

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


def rerun(
    notebooks: dict[Path, NotebookNode], *, timeout: float, workers: int, report: Callable[[Verdict], None]
) -> None:
    """Run each notebook twice both ways, `workers` kernels at a time, and report each verdict as it comes.

    timeout: seconds a cell may take. The phases are called `book twice` and `cells twice`.
    """
    free = asyncio.Semaphore(workers)

    async def judge(path: Path, notebook: NotebookNode, phase: str, run: Callable) -> None:
        async with free:
            start = time.monotonic()
            problems = await guarded(run, notebook, path.resolve().parent, timeout)
            report(Verdict(path, phase, time.monotonic() - start, problems))

    together(
        *(
            judge(path, notebook, phase, run)
            for path, notebook in notebooks.items()
            for phase, run in (("book twice", book_twice), ("cells twice", cells_twice))
        )
    )


async def guarded(run: Callable, notebook: NotebookNode, folder: Path, timeout: float) -> list[Problem]:
    """The problems that a run finds, the one that ends it included."""
    cells = [
        (label, cell)
        for label, cell in zip(labels(notebook.cells), notebook.cells, strict=True)
        if is_run(cell) and not marks(cell).skip
    ]
    try:
        async with Kernel(folder, timeout) as kernel:
            return await run(kernel, cells)
    except CellFailed as failed:
        return [failed.problem]
    except ValidationError as error:
        return [Problem("", str(error))]


Cells = Sequence[tuple[str, NotebookNode]]
"""The cells to run, each with its label."""


async def book_twice(kernel: Kernel, cells: Cells) -> list[Problem]:
    """All cells, then all cells again."""
    fresh, _ = await ledger.settled(kernel.evaluate)
    first = [await _run(kernel, *cell, 1) for cell in cells]
    after_first, leaks = await ledger.settled(kernel.evaluate, lambda now: ledger.left(fresh, now))
    second = [await _run(kernel, *cell, 2) for cell in cells]
    problems = _differences(cells, first, second) + _leaks("the first run", leaks)
    _, leaks = await ledger.settled(
        kernel.evaluate, lambda now: ledger.left(fresh, now) + ledger.grown(after_first, now)
    )
    return problems + _leaks("the second run", leaks)


async def cells_twice(kernel: Kernel, cells: Cells) -> list[Problem]:
    """Each cell, and at once again."""
    fresh, _ = await ledger.settled(kernel.evaluate)
    runs = [await _run(kernel, *cell, turn) for cell in cells for turn in (1, 2)]
    problems = _differences(cells, runs[::2], runs[1::2])
    _, leaks = await ledger.settled(kernel.evaluate, lambda now: ledger.left(fresh, now))
    return problems + _leaks("each cell was run twice", leaks)


async def _run(kernel: Kernel, label: str, cell: NotebookNode, turn: int) -> NotebookNode:
    try:
        return await kernel.run_marked(label, cell)
    except CellFailed as failed:
        raise CellFailed(Problem(label, f"in pass {turn}, {failed.problem.text}")) from failed


def _leaks(moment: str, leaks: Sequence[str]) -> list[Problem]:
    return [
        Problem(LEDGER, f"after {moment}, {leak}; end in the last cell what the notebook started") for leak in leaks
    ]


def _differences(cells: Cells, first: Sequence[NotebookNode], second: Sequence[NotebookNode]) -> list[Problem]:
    problems = []
    for (label, cell), one, two in zip(cells, first, second, strict=True):
        diff = "" if marks(cell).ignore else difference(one.outputs, two.outputs, ("pass 1", "pass 2"))
        if diff:
            problems.append(Problem(label, f"the outputs of pass 1 and pass 2 differ\n{diff}"))
    return problems
