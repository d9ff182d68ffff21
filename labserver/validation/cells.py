"""The cells of a notebook as pytest's items: each held to what is stored, then all once more, each twice in a row.

Room: nbval's two classes, made stricter; kernels through `kernel`, outputs through `book` and `difference`. One kernel
serves all passes, so that a notebook costs one start. `plugin` says which holes of nbval this closes.

    pass 1   each cell's outputs are those that are stored; with --labserver-queued all cells are sent at once
    ledger   what the first run has left behind
    pass 2   each cell twice in a row: its outputs are those of pass 1, and the same again
    ledger   what the second run has added
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from nbformat import NotebookNode
from nbval.kernel import CURRENT_ENV_KERNEL_NAME
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError

from labserver.errors import ValidationError

from . import ledger
from .book import Marks, is_run, labels, marks, not_run, read, shown
from .difference import difference
from .kernel import StrictKernel
from .rules import Rules
from .session import CellStopped, Outputs, unexpected

TWICE, QUEUED = "--labserver-twice", "--labserver-queued"
"""The options that add pass 2, and that send the cells of pass 1 at once."""

LEDGER = "ledger"
"""Where the complaints belong that are about no cell, but about what is left after the last one."""

COMPARE_PHASE, TWICE_PHASE = "compare", "twice"

_OUTPUTS = ("stream", "display_data", "execute_result", "error", "clear_output", "update_display_data")


class StrictNotebook(IPyNbFile):
    """One notebook: its items, its kernel, and which cell broke it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.broken = ""
        self.started: list[str] = []
        self.late: list[str] = []
        self.found = Outputs()
        self.rules = Rules.read(self.config.option.nbval_sanitize_with)
        self.fresh: ledger.Snapshot | None = None
        self.after_first: ledger.Snapshot | None = None

    def collect(self) -> Iterator[pytest.Item]:
        try:
            book = read(self.path)
        except ValidationError as error:
            raise self.CollectError(str(error)) from error
        names = labels(book.cells)
        code = [(name, cell) for name, cell in zip(names, book.cells, strict=True) if cell.cell_type == "code"]
        phases = {COMPARE_PHASE: self._first_pass(code)}
        if self.config.getoption(TWICE):
            phases[TWICE_PHASE] = self._second_pass(phases[COMPARE_PHASE])
        total = sum(map(len, phases.values()))
        place = 0
        for phase, items in phases.items():
            for item in items:
                place += 1
                item.last = item is items[-1]
                item.user_properties += [("notebook", str(self.path)), ("cell", item.label), ("phase", phase)]
                item.user_properties += [("last", item.last), ("place", [place, total])]
                yield item

    def _first_pass(self, code: Sequence[tuple[str, NotebookNode]]) -> list["StrictCell"]:
        return [
            StrictCell.from_parent(self, name=label, cell_num=item.cell_num, cell=cell, options=item.options)
            for item, (label, cell) in zip(super().collect(), code, strict=True)
        ]

    def _second_pass(self, cells: Sequence["StrictCell"]) -> list[pytest.Item]:
        items: list[pytest.Item] = [Ledger.from_parent(self, moment="the first run")]
        for cell in cells:
            if is_run(cell.cell) and not cell.options["skip"]:
                once = AgainCell.from_parent(self, before=cell, turn="in pass 2", sides=("pass 1", "pass 2"))
                sides = ("pass 2", "its run again at once")
                items += [once, AgainCell.from_parent(self, before=once, turn=f"in {sides[1]}", sides=sides)]
        return [*items, Ledger.from_parent(self, moment="the second run")]

    def setup(self) -> None:
        option = self.config.option
        name = option.nbval_kernel_name or self.nb.metadata.get("kernelspec", {}).get("name", "python3")
        if option.nbval_current_env:
            name = CURRENT_ENV_KERNEL_NAME
        self.kernel = StrictKernel(name, str(self.path.parent), option.nbval_kernel_startup_timeout)
        if self.config.getoption(TWICE):
            self.fresh, _ = self.settled()
        if self.config.getoption(QUEUED):
            code = [cell for cell in self.nb.cells if cell.cell_type == "code"]
            self.kernel.queue([cell.source for cell in code if not marks(cell).skip])

    def teardown(self) -> None:
        if self.kernel is not None:
            self.kernel.stop()

    def settled(self, complaints: Callable = lambda snapshot: []) -> tuple[ledger.Snapshot, list[str]]:
        """What the kernel holds now, and the complaints about it that last: see `ledger.settled`."""
        limit = self.config.option.nbval_cell_timeout
        return ledger.settled(lambda expression: self.kernel.evaluate(expression, limit), complaints)

    def get_kernel_message(self, timeout: float | None = None, stream: str = "iopub") -> dict[str, Any]:
        """The next message that nbval understands. On the way outputs are gathered, and late ones noted."""
        while True:
            message = self.kernel.get_message(stream, timeout=timeout)
            kind, parent = message["msg_type"], message["parent_header"].get("msg_id")
            *earlier, current = self.kernel.requests
            if parent == current:
                self.found.add(message)
            elif parent in earlier and kind in _OUTPUTS:
                text = message["content"].get("text", kind)
                self.late.append(f"{self.started[earlier.index(parent)]}: {text!r}")
            if kind not in ("clear_output", "update_display_data"):
                return message

    def drain(self) -> None:
        """Take in what the kernel has to say by now: one request that does nothing, there and back."""
        self.started.append("")
        request = self.kernel.execute_cell_input("pass")
        idle = False
        while not idle:
            message = self.get_kernel_message(timeout=self.config.option.nbval_cell_timeout)
            idle = (
                message["parent_header"].get("msg_id") == request
                and message["content"].get("execution_state") == "idle"
            )


class _Reported(pytest.Item):
    """An item whose failure is told with the notebook, and with the cell or the ledger."""

    label: str
    last = False

    @property
    def where(self) -> str:
        return f"{shown(self.path)} {self.label}"

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.where

    def repr_failure(self, excinfo: pytest.ExceptionInfo) -> str:
        error = excinfo.value
        if isinstance(error, ValidationError | NbCellError):
            return f"{self.where}: {error}"
        return f"{self.where}: {type(error).__name__}: {error}"

    def skip_if_broken(self) -> None:
        """End as skipped where an earlier cell has failed: what would follow is only its consequence."""
        if self.parent.broken:
            self.user_properties += [("broken", self.parent.broken)]
            pytest.skip(f"{self.parent.broken} failed")


class StrictCell(_Reported, IPyNbCell):
    """One code cell, held to its stored outputs."""

    def __init__(self, *, name: str, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.mark = mark = marks(self.cell)
        if mark.ignore:
            self.options["check"] = False
        self.options["skip"] = self.options["skip"] or mark.skip
        self.raises = bool(self.options["check_exception"] or mark.raises)
        self.options["check_exception"] = True  # nbval does not judge exceptions, `unexpected` does
        self.stored = deepcopy(self.cell.outputs)  # nbval joins the streams of the other in place
        self.found: Sequence[NotebookNode] = ()
        self.differs = ""
        self.label = name

    def setup(self) -> None:
        """Nothing: nbval would expect the cells after a time-out to fail, here they are skipped."""

    def runtest(self) -> None:
        self.skip_if_broken()
        try:
            self._run()
        except CellStopped as stopped:
            self.parent.broken = self.name
            self.raise_cell_error(str(stopped))
        except Exception:
            self.parent.broken = self.name
            raise
        self.judge_outputs()

    def judge_outputs(self) -> None:
        """Raises NbCellError if the outputs are not the stored ones; what follows would be told of twice."""
        if self.differs:
            self.parent.broken = self.name
            self.raise_cell_error(f"expected the outputs that are stored, but found others\n{self.differs}")

    def _run(self) -> None:
        compared = self.options["check"] and not self.options["skip"]
        if compared and self.cell.execution_count is None and self.cell.source.strip():
            self.raise_cell_error(
                "expected a cell that has been run, but it was stored without a run, so nothing would be compared; "
                "run `labserver refresh` on the notebook"
            )
        notebook = self.parent
        notebook.kernel.check_alive()
        notebook.found = Outputs()
        notebook.started += [] if self.options["skip"] else [self.label]
        try:
            super().runtest()
        finally:
            self.found = notebook.found.items
            why = not_run(self.found)
            self.user_properties += [("note", f"{self.label} was not run: {why}")] if why else []
        if notebook.timed_out:
            self.raise_cell_error(
                "expected the cell to end within its time limit, but it had to be interrupted; "
                "wait with a limit in the cell, or allow more with --timeout"
            )
        text = unexpected(notebook.kernel.reply, Marks(raises=self.raises))
        if text:
            self.raise_cell_error(text)
        self._check_late()

    def _check_late(self) -> None:
        notebook, moment = self.parent, "while this cell ran"
        if self.last and not notebook.late:
            notebook.drain()
            moment = "after the last cell had ended"
        if notebook.late:
            self.raise_cell_error(
                f"expected each output from the cell that makes it, but some arrived {moment}; let the cell that "
                "starts the work also await it:\n" + "\n".join(notebook.late)
            )

    def compare_outputs(self, test: Any, ref: Any, skip_compare: Any = None) -> bool:
        """Nbval's question whether the outputs are the stored ones; the answer is kept until the cell is judged."""
        rules = self.parent.rules
        self.differs = difference(self.stored, self.parent.found.items, ("stored", "found"), rules)
        self.user_properties += [("hits", hits)] if (hits := rules.taken()) else []
        return True


class AgainCell(StrictCell):
    """A cell that is run once more, held to the outputs of its run before.

    before: that run. turn: how the run is called, `in pass 2`. sides: how the two are called side by side.
    """

    def __init__(self, *, before: StrictCell, turn: str, sides: tuple[str, str], **kwargs: Any) -> None:
        cell = NotebookNode(before.cell, execution_count=1, outputs=[])  # nbval compares what has been run
        name = f"{before.label} {turn}"
        super().__init__(name=name, cell_num=before.cell_num, cell=cell, options=before.options.copy(), **kwargs)
        self.raises, self.label = before.raises, before.label
        self.before, self.turn, self.sides = before, turn, sides

    def raise_cell_error(self, message: str, *args: Any, **kwargs: Any) -> None:
        super().raise_cell_error(f"{self.turn}, {message}", *args, **kwargs)

    def judge_outputs(self) -> None:
        """Raises NbCellError if the outputs are not those of the run before; the next cells are judged, too."""
        if self.differs:
            text = f"the outputs of {' and '.join(self.sides)} differ\n{self.differs}"
            raise NbCellError(self.cell_num, text, self.cell.source)

    def compare_outputs(self, test: Any, ref: Any, skip_compare: Any = None) -> bool:
        self.differs = difference(self.before.found, self.parent.found.items, self.sides, self.parent.rules)
        self.parent.rules.taken()  # pass 1 has told of them
        return True


class Ledger(_Reported):
    """What a run of the whole notebook has left behind in its kernel: see `ledger`."""

    def __init__(self, *, moment: str, **kwargs: Any) -> None:
        super().__init__(name=f"{LEDGER} after {moment}", **kwargs)
        self.moment, self.label = moment, LEDGER

    def runtest(self) -> None:
        self.skip_if_broken()
        notebook, first = self.parent, self.parent.after_first
        now, found = notebook.settled(
            lambda now: ledger.left(notebook.fresh, now) + (ledger.grown(first, now) if first else [])
        )
        notebook.after_first = now
        if found:
            left = "\n- ".join(found)
            raise ValidationError(
                f"after {self.moment}, {left}\nexpected nothing left behind: end what you start in the last cell"
            )
