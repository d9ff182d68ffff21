"""A pytest plugin that closes the holes of nbval 0.11: `pytest --nbval -p labserver.validation.plugin`.

Room: pytest, nbval and kernels. nbval collects and runs the cells; this plugin puts stricter classes in place of its
two, and compares outputs by `book.difference`. Beyond nbval, a notebook fails if

- a cell that is to be compared was never run (nbval then compares nothing);
- a cell tagged `raises-exception` raises nothing;
- the MIME types of an output differ, or a picture is missing; the order of prints and displays counts as well;
- output of an earlier cell arrives while a later one runs, or after the last;
- the kernel dies: within seconds, with its last words, instead of after the cell's time limit.

After the first failing cell the rest of a notebook is skipped. Cells run with history, as in JupyterLab, so that `1+1;`
and `Out[1]` behave; `clear_output` and updates of a display within its cell are applied before comparing. An update of
an earlier cell's display is not, because that cell has been judged already: keep both in one cell. Loopback ports are
the one thing that is not compared; nbval's own sanitizing files, `--nbdime` and coverage of kernels are not used.
"""

import json
import math
import time
from collections.abc import Iterator
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from jupyter_client.manager import KernelManager
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, NbvalKernelspecManager, RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError

from labserver.errors import ValidationError

from .book import Marks, difference, labels, marks, not_run, plain, read, shown
from .session import CellStopped, KernelHome, Outputs, died, unexpected

REPORT = "--labserver-report"
"""The option that names a file for one line of JSON per notebook: `Reporter` says what is in it."""

_OUTPUTS = ("stream", "display_data", "execute_result", "error", "clear_output", "update_display_data")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("nbval", "Jupyter Notebook validation")
    group.addoption(REPORT, metavar="FILE", help="write one line of JSON per notebook that has been compared")


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


class StrictKernel(RunningKernel):
    """nbval's kernel, with its last words kept and its death noticed."""

    def __init__(self, kernel_name: str, cwd: str, startup_timeout: float) -> None:
        self.home = KernelHome()
        self.requests: list[str] = []
        self.reply: dict[str, Any] = {}
        specs = NbvalKernelspecManager()
        self.km = KernelManager(kernel_name=kernel_name, kernel_spec_manager=specs, **self.home.connection)
        self.km.start_kernel(cwd=cwd, **self.home.launch)
        self.kc = self.km.client()
        self.kc.start_channels()
        try:
            self.kc.wait_for_ready(timeout=startup_timeout)
            self._ensure_iopub_up()
        except RuntimeError as error:
            words = self.home.tail()
            self.stop()
            pytest.fail(f"expected a kernel to start, but found: {error}\n{words}", pytrace=False)

    def get_message(self, stream: str, timeout: float | None = None) -> dict[str, Any]:
        """The next message. Raises CellStopped if the kernel is dead, queue.Empty after `timeout` seconds."""
        deadline = time.monotonic() + (math.inf if timeout is None else timeout)
        while True:
            try:
                message = super().get_message(stream, timeout=max(0.0, min(1.0, deadline - time.monotonic())))
            except Empty:
                self.check_alive()
                if time.monotonic() >= deadline:
                    raise
            else:
                if stream == "shell":
                    self.reply = message["content"]  # nbval drops it
                return message

    def check_alive(self) -> None:
        """Raises CellStopped with the kernel's last words if it is dead."""
        if not self.is_alive():
            raise CellStopped(died(self.home))

    def execute_cell_input(self, cell_input: str, allow_stdin: bool | None = None) -> str:
        """Ask for a cell and return the message's id. History is on, unlike in nbval: see the module."""
        request = self.kc.execute(cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)
        self.requests.append(request)
        return request

    def stop(self) -> None:
        """End the kernel; a second call does nothing."""
        if hasattr(self, "km"):
            super().stop()
        self.home.close()


class StrictNotebook(IPyNbFile):
    """One notebook: its cells, its kernel, and which cell broke it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.broken = ""
        self.started: list[str] = []
        self.late: list[str] = []
        self.found = Outputs()

    def collect(self) -> Iterator["StrictCell"]:
        try:
            book = read(self.path)
        except ValidationError as error:
            raise self.CollectError(str(error)) from error
        names = labels(book.cells)
        code = [(name, cell) for name, cell in zip(names, book.cells, strict=True) if cell.cell_type == "code"]
        for item, (label, cell) in zip(super().collect(), code, strict=True):
            yield StrictCell.from_parent(
                self,
                name=label,
                cell_num=item.cell_num,
                cell=cell,
                options=item.options,
                last=item.cell_num == len(code) - 1,
            )

    def setup(self) -> None:
        option = self.config.option
        name = option.nbval_kernel_name or self.nb.metadata.get("kernelspec", {}).get("name", "python3")
        if option.nbval_current_env:
            name = CURRENT_ENV_KERNEL_NAME
        self.kernel = StrictKernel(name, str(self.path.parent), option.nbval_kernel_startup_timeout)

    def teardown(self) -> None:
        if self.kernel is not None:
            self.kernel.stop()

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
        request = self.kernel.execute_cell_input("pass")
        idle = False
        while not idle:
            message = self.get_kernel_message(timeout=self.config.option.nbval_cell_timeout)
            idle = (
                message["parent_header"].get("msg_id") == request
                and message["content"].get("execution_state") == "idle"
            )


class StrictCell(IPyNbCell):
    """One code cell, held to its stored outputs."""

    def __init__(self, *, last: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        mark = marks(self.cell)
        if mark.ignore:
            self.options["check"] = False
        self.options["skip"] = self.options["skip"] or mark.skip
        self.options["check_exception"] = self.options["check_exception"] or mark.raises
        self.last = last
        self.stored = deepcopy(self.cell.outputs)  # nbval joins the streams of the other in place
        self.where = f"{shown(self.path)} {self.name}"
        self.user_properties += [("notebook", str(self.path)), ("cell", self.name), ("last", last)]

    def setup(self) -> None:
        """Nothing: nbval would expect the cells after a time-out to fail, here they are skipped."""

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.where

    def repr_failure(self, excinfo: pytest.ExceptionInfo) -> str:
        error = excinfo.value
        if not isinstance(error, NbCellError):
            return f"{self.where}: {type(error).__name__}: {error}"
        return f"{self.where}: {error}" + (f"\n{plain(error.inner_traceback)}" if error.inner_traceback else "")

    def runtest(self) -> None:
        if self.parent.broken:
            pytest.skip(f"{self.parent.broken} failed")
        try:
            self._run()
        except CellStopped as stopped:
            self.parent.broken = self.name
            self.raise_cell_error(str(stopped))
        except Exception:
            self.parent.broken = self.name
            raise

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
        notebook.started.append(self.name)
        try:
            super().runtest()
        finally:
            why = not_run(notebook.found.items)
            self.user_properties += [("note", f"{self.name} was not run: {why}")] if why else []
        if notebook.timed_out:
            self.raise_cell_error(
                "expected the cell to end within its time limit, but it had to be interrupted; "
                "wait with a limit in the cell, or allow more with --timeout"
            )
        text = unexpected(notebook.kernel.reply, Marks(raises=bool(self.options["check_exception"])))
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
        """Whether what the cell produced is what is stored; if not, the difference is kept for the report."""
        diff = difference(self.stored, self.parent.found.items, ("stored", "found"))
        self.comparison_traceback = [diff]
        return not diff


class Reporter:
    """Writes a line of JSON when a notebook's last cell is done.

    `{"notebook": path, "seconds": total, "problems": [[cell, text], …], "notes": [text, …]}`; a failure that belongs
    to no notebook has an empty path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: dict[str, float] = {}
        self.problems: dict[str, list[list[str]]] = {}
        self.notes: dict[str, list[str]] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write("", 0.0, [["", str(report.longrepr)]], [])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        known = dict(report.user_properties)
        if "notebook" not in known:  # xdist's report of a worker that crashed
            self._write("", 0.0, [["", str(report.longrepr)]], [])
            return
        notebook, cell = known["notebook"], known["cell"]
        self.seconds[notebook] = self.seconds.get(notebook, 0.0) + report.duration
        problems, notes = self.problems.setdefault(notebook, []), self.notes.setdefault(notebook, [])
        if report.when == "call" and "note" in known:
            notes.append(known["note"])
        if report.failed:
            problems.append([cell, str(report.longrepr).removeprefix(f"{shown(Path(notebook))} {cell}: ")])
        if known["last"] and report.when == "teardown":
            self._write(notebook, self.seconds[notebook], problems, notes)

    def _write(self, notebook: str, seconds: float, problems: list[list[str]], notes: list[str]) -> None:
        line = {"notebook": notebook, "seconds": seconds, "problems": problems, "notes": notes}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
