"""One kernel: started in the notebook's folder with this interpreter, asked to run cells, and ended whatever happens.

Room: kernels (jupyter_client, nbclient); nothing of pytest. The kernel's own stdout and stderr are kept, so that a
kernel that dies can be reported with its last words. nbclient notices a death within a second.
"""

import asyncio
import math
import os
import tempfile
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, Self

from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode, v4

from labserver.errors import ValidationError

from .book import Marks, Problem, marks, plain

QUIET = ["--HistoryManager.hist_file=:memory:", "--IPKernelApp.log_level=40"]
"""Arguments of every kernel: nothing goes into the user's own history, and only errors into the kernel's log."""

MISSING = "CommandMissing"
"""The error of a cell that needs a program which is not there, where all are demanded: never the one that is meant."""

SOCKET_PATH = 90
"""How long a socket's path may be, less what the kernel adds to it; the least limit is 104 bytes, on macOS."""

_DISPLAYS = ("stream", "display_data", "execute_result", "error")


class CellStopped(ValidationError):
    """A cell did not end: its kernel died, or its time was up. The kernel cannot be used any more."""


class CellFailed(ValidationError):
    """A cell did something else than its marks say, so the rest of the notebook has nothing to say.

    problem: the cell and what it did.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.where}: {problem.text}")
        self.problem = problem


class KernelHome:
    """The folder of one kernel: the file that tells how to reach it, and what it writes to its stdout and stderr.

    Kernels are reached by sockets in this folder. By TCP, as is Jupyter's habit, a manager picks ports that another
    process may take before the kernel binds them; then the kernel dies, and the client waits for a minute or for ever
    (jupyter_client 8.10). With several kernels starting at once that happens.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kernel-", ignore_cleanup_errors=True)
        self._log = Path(self._folder.name, "log")
        self.output = self._log.open("wb")

    @property
    def connection(self) -> dict[str, str]:
        """Options of a kernel manager."""
        file = os.path.join(self._folder.name, "k.json")
        local = os.name == "posix" and len(file) < SOCKET_PATH
        return {"connection_file": file, "transport": "ipc" if local else "tcp"}

    @property
    def launch(self) -> dict[str, Any]:
        """Options of a kernel's start. A coverage run that measures us is kept out: it would slow the notebooks."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS")}
        return {"extra_arguments": QUIET, "stdout": self.output, "stderr": self.output, "env": environment}

    def tail(self, lines: int = 15) -> str:
        """The last lines that the kernel wrote past Jupyter: crashes, mostly."""
        return "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        """Remove the folder; a second call does nothing."""
        self.output.close()
        self._folder.cleanup()


def died(home: KernelHome) -> str:
    """The text that reports a dead kernel."""
    words = home.tail() or "(it wrote nothing to stderr)"
    return (
        "expected the kernel to live until the last cell, but found it dead; look for os._exit, a crash in a "
        f"C extension or a lack of memory. Its last words:\n{words}"
    )


def unexpected(reply: dict[str, Any], mark: Marks) -> str:
    """What a kernel's reply tells that the cell's marks do not, or an empty string.

    The reply and not the outputs, because IPython prints an ExceptionGroup to stderr and sends no error output.
    Source: https://jupyter-client.readthedocs.io/en/stable/messaging.html#request-reply
    """
    raised = reply["status"] == "error"
    missing = raised and reply["ename"] == MISSING
    if mark.raises and not raised:
        return "expected the cell to raise, as it is tagged raises-exception, but it raised nothing"
    if raised and (missing or not mark.raises):
        text = f"expected no exception, but the cell raised {reply['ename']}: {reply['evalue']}"
        return "\n".join([text, *map(plain, reply["traceback"])])
    return ""


class Outputs:
    """The outputs of one cell, as a front end would show them after each of the kernel's messages.

    Source: https://jupyter-client.readthedocs.io/en/stable/messaging.html#messages-on-the-iopub-pub-sub-channel
    """

    def __init__(self) -> None:
        self.items: list[NotebookNode] = []
        self._displayed: dict[str, list[NotebookNode]] = {}
        self._clear_first = False

    def add(self, message: dict[str, Any]) -> None:
        """Apply one message that belongs to the cell."""
        kind, content = message["msg_type"], message["content"]
        if kind == "clear_output":
            self._clear_first = content["wait"]
            if not content["wait"]:
                self.items.clear()
        elif kind == "update_display_data":
            for output in self._displayed.get(content["transient"]["display_id"], ()):
                output.data = deepcopy(content["data"])
        elif kind in _DISPLAYS:
            if self._clear_first:
                self.items.clear()
                self._clear_first = False
            output = v4.output_from_msg(message)
            self.items.append(output)
            self._displayed.setdefault((content.get("transient") or {}).get("display_id", ""), []).append(output)


class Kernel(AbstractAsyncContextManager):
    """A fresh kernel for one notebook.

    folder: where the kernel runs. timeout: seconds a cell may take. environment: what to set beside the present one.
    """

    def __init__(self, folder: Path, timeout: float, environment: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._environment = environment or {}
        self._timeout = timeout
        self._home = KernelHome()
        # no kernel specs of the user's: the notebook runs on the interpreter that validates it
        specs = KernelSpecManager(kernel_dirs=[])
        self._manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs, **self._home.connection)
        self._client = NotebookClient(
            v4.new_notebook(),
            km=self._manager,
            timeout=math.ceil(timeout),
            record_timing=False,
            shell_timeout_interval=1,
            allow_errors=True,
            on_cell_executed=self._keep_reply,
        )
        self._reply: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        try:
            launch = self._home.launch
            launch["env"] |= self._environment
            await self._manager.start_kernel(cwd=str(self._folder), **launch)
            await self._client.async_start_new_kernel_client()
        except RuntimeError as error:
            text = f"expected a kernel to start, but found: {error}\n{self._home.tail()}"
            await self.__aexit__()
            raise CellStopped(text) from error
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._client.kc is not None:
            self._client.kc.stop_channels()
        await self._manager.shutdown_kernel(now=True)
        self._home.close()

    async def run(self, cell: NotebookNode) -> NotebookNode:
        """A copy of the cell with the outputs and the count of this run; an exception is an output like others.

        Raises CellStopped if the kernel dies or the time is up.
        """
        cells = self._client.nb.cells
        cells.append(deepcopy(cell))
        with self._reported():
            return await self._client.async_execute_cell(cells[-1], len(cells) - 1)

    async def run_marked(self, label: str, cell: NotebookNode) -> NotebookNode:
        """As `run`, for a cell that is called `label` and does what its marks say: raise, or not.

        Raises CellFailed, with the traceback, if it does not.
        """
        try:
            done = await self.run(cell)
        except CellStopped as stopped:
            raise CellFailed(Problem(label, str(stopped))) from stopped
        text = unexpected(self._reply, marks(cell))
        if text:
            raise CellFailed(Problem(label, text))
        return done

    def _keep_reply(self, execute_reply: dict[str, Any], **_: Any) -> None:
        self._reply = execute_reply["content"]

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except DeadKernelError as error:
            raise CellStopped(died(self._home)) from error
        except CellTimeoutError as error:
            raise CellStopped(
                f"expected the cell to end within {self._timeout:g} s, but found it still running; "
                "wait with a limit in the cell, or allow more with --timeout"
            ) from error


def together(*jobs: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run coroutines side by side and return their results in order."""

    async def gather() -> list[Any]:
        return await asyncio.gather(*jobs)

    # zmq needs a selector loop, and asyncio's default on Windows is another
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(gather())
