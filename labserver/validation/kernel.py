"""nbval's kernel, made to tell more: its reply, its death, its last words; and asked many cells at once.

Room: nbval's `RunningKernel` and jupyter_client; nothing of notebooks. `session.Kernel` is the other way to run cells:
nbclient's, for `refresh`, where nothing is judged on the way.
"""

import ast
import math
import time
from collections import deque
from collections.abc import Sequence
from queue import Empty
from typing import Any

import pytest
from jupyter_client.manager import KernelManager
from nbval.kernel import NbvalKernelspecManager, RunningKernel

from labserver.errors import ValidationError

from .session import CellStopped, KernelHome, died


class StrictKernel(RunningKernel):
    """A fresh kernel for one notebook.

    kernel_name: of the kernel's specification. cwd: where it runs. startup_timeout: seconds.
    """

    def __init__(self, kernel_name: str, cwd: str, startup_timeout: float) -> None:
        self.home = KernelHome()
        self.requests: list[str] = []
        self.reply: dict[str, Any] = {}
        self._queued: deque[str] = deque()
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
            also = "\n(All cells had been sent at once: it may have died in one of the next.)" if self._queued else ""
            raise CellStopped(died(self.home) + also)

    def queue(self, sources: Sequence[str]) -> None:
        """Send these cells at once, as Run All does; each is then waited for where it would have been sent."""
        self._queued.extend([self._send(source, allow_stdin=False) for source in sources])

    def execute_cell_input(self, cell_input: str, allow_stdin: bool | None = None) -> str:
        """Ask for a cell, unless it waits in the queue already, and return the message's id."""
        request = self._queued.popleft() if self._queued else self._send(cell_input, allow_stdin)
        self.requests.append(request)
        return request

    def _send(self, source: str, allow_stdin: bool | None) -> str:
        # with history, as in JupyterLab and unlike in nbval, so that `1+1;` and `Out[1]` behave
        return self.kc.execute(source, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)

    def evaluate(self, expression: str, timeout: float) -> Any:
        """The value of a Python expression in the kernel, if it is a literal; leaves nothing behind there.

        Raises CellStopped if the kernel does not answer within `timeout` seconds, ValidationError if the expression
        raises.
        """
        request = self.kc.execute("", silent=True, store_history=False, user_expressions={"it": expression})
        try:
            self.await_reply(request, timeout=timeout)
        except Empty:
            raise CellStopped(f"expected the kernel to answer within {timeout:g} s after its cells had ended") from None
        answer = self.reply["user_expressions"]["it"]
        if answer["status"] != "ok":
            raise ValidationError(
                f"expected the kernel to evaluate a probe, but it raised {answer['ename']}: {answer['evalue']}; "
                "did a cell replace a builtin name?"
            )
        return ast.literal_eval(answer["data"]["text/plain"])

    def stop(self) -> None:
        """End the kernel; a second call does nothing."""
        if hasattr(self, "km"):
            super().stop()
        self.home.close()
