"""Commands as a terminal would run them: `run` for those that end, `Command` for servers, which end with the notebook.

Room: ports, readiness and the words that errors need; the processes themselves are made by `watched`. Loads nothing of
Django.
"""

import asyncio
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from labserver.errors import PortInUse, TimeLimit

from .programs import CommandMissing
from .watched import Child, CommandFailed, split

__all__ = ["Command", "CommandFailed", "CommandMissing", "free_port", "run"]

READY_LIMIT = 30.0
"""Seconds that a server gets until it answers."""

_PAUSE = 0.02


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def run(
    words: str | Sequence[str],
    *,
    folder: str | Path = ".",
    environment: Mapping[str, str] | None = None,
    limit: float = 60,
) -> str:
    """Run a command that ends, and return what it wrote, to stdout and stderr in order; of very much, the end.

    words: as a terminal takes them, without a shell. folder: where it runs. environment: what to set beside the
    present one. limit: seconds. Raises CommandFailed if its exit status is not 0, TimeLimit, CommandMissing.
    """
    child = Child(words, folder, environment)
    try:
        child.wait(limit)
    except subprocess.TimeoutExpired:
        raise TimeLimit(
            f"expected `{child.words}` to end within {limit:g} s, found it running; was it meant to go on? Then it is "
            f"Command(…) that starts it. {child.said()}"
        ) from None
    finally:
        child.stop()
    if child.status:
        raise CommandFailed(
            f"expected `{child.words}` to end with status 0, found {child.status}; {child.said()}",
            child.status,
            child.log.text,
        )
    return child.log.text


class Command:
    """A server as a process of its own, which runs as soon as this is made, until `stop()` or the end of the kernel.

    words: as a terminal takes them, without a shell; `{port}` stands for a free port, or for `port`. folder: where it
    runs. environment: what to set beside the present one. port: where it will listen. ready: a text in its log to wait
    for, with the port or instead of it. A Command of the same words, folder and `port` that still runs is ended first.
    url, ws_url: where it listens on this machine; None without a port.
    Raises CommandMissing, CommandFailed if it ends early, TimeLimit if it is not ready within READY_LIMIT seconds,
    PortInUse if somebody else listens on `port`.
    """

    _running: dict[tuple, "Command"] = {}

    def __init__(
        self,
        words: str | Sequence[str],
        *,
        folder: str | Path = ".",
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
        ready: str = "",
    ):
        self._words = words if isinstance(words, str) else shlex.join(words)
        wants_port = "{port}" in self._words
        if not (wants_port or port or ready):
            raise CommandFailed(
                f"expected to be told when `{self._words}` is ready, found neither {{port}} in its words nor port= nor "
                "ready=; for a command that ends there is run(…)"
            )
        self._key = tuple(split(words)), Path(folder).resolve(), port
        if self._key in self._running:
            self._running[self._key].stop()
        if port and _answers(port):
            raise PortInUse(f"expected port {port} to be free for `{self._words}`, found it taken; take free_port()")
        self.port = port or (free_port() if wants_port else None)
        self.url = f"http://127.0.0.1:{self.port}" if self.port else None
        self.ws_url = f"ws://127.0.0.1:{self.port}" if self.port else None
        filled = [word.replace("{port}", str(self.port)) for word in split(words)]
        self._child = Child(filled, folder, environment, self._words)
        self._marked, self._stopped = 0, False
        self._running[self._key] = self
        try:
            self._await_ready(ready)
        except BaseException:
            self.stop()
            raise

    def __repr__(self) -> str:
        ended = "stopped" if self._stopped else f"ended with status {self._child.status}"
        return f"<Command: {self._words}, {'running' if self.alive else ended}>"

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._child.alive

    @property
    def log(self) -> str:
        """What it wrote so far, to stdout and stderr; of very much, the end."""
        return self._child.log.text

    @property
    def children(self) -> list[int]:
        """The ids of the processes that it has started and that run, such as workers; in order."""
        import psutil

        try:
            found = psutil.Process(self.pid).children() if self.alive else []
            return sorted(child.pid for child in found if child.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return []

    def signal(self, name: str) -> None:
        """Send a signal, such as "HUP"; `wait_for` then looks at what is written from here on.

        Raises CommandFailed if there is no such signal on this system, or if the command has ended.
        """
        number = getattr(signal, f"SIG{name.upper().removeprefix('SIG')}", None)
        if number is None:
            raise CommandFailed(f"expected a signal that this system has, found {name!r}; Windows has few of them")
        self._marked = self._child.log.written
        self._child.send(number)

    async def wait_for(self, text: str, *, limit: float = READY_LIMIT, times: int = 1) -> None:
        """Wait until the text stands in the log: since the start, or since the last `signal`. Any event loop will do.

        times: how often it has to stand there. limit: seconds. Raises TimeLimit; CommandFailed if the command ends
        without having written it.
        """
        end = time.monotonic() + limit
        while True:
            alive = self.alive  # asked before the look, so that the last words count
            if not alive:
                self._child.wait(0)
            found = self._child.log.since(self._marked).count(text)
            if found >= times:
                return
            if not alive:
                raise self._ended()
            if time.monotonic() > end:
                raise TimeLimit(
                    f"expected {text!r} in the log of `{self._words}` {times} times within {limit:g} s, found it "
                    f"{found} times; {self._child.said()}"
                )
            await asyncio.sleep(_PAUSE)

    async def wait_end(self, *, limit: float = READY_LIMIT) -> int:
        """Wait until it has ended by itself, or by a signal; returns its exit status. Raises TimeLimit."""
        end = time.monotonic() + limit
        while self.alive:
            if time.monotonic() > end:
                raise TimeLimit(f"expected `{self._words}` to end within {limit:g} s, found it running")
            await asyncio.sleep(_PAUSE)
        self.stop()
        return self._child.status

    def stop(self) -> None:
        """End it and its children: politely, and by force after STOP_LIMIT seconds. A second call does nothing."""
        if self._running.get(self._key) is self:
            del self._running[self._key]
        self._stopped |= self.alive
        self._child.stop()

    def _await_ready(self, ready: str) -> None:
        end = time.monotonic() + READY_LIMIT
        while not (ready in self.log and (self.port is None or _answers(self.port)) and self.alive):
            if not self.alive:
                raise self._ended()
            if time.monotonic() > end:
                awaited = [f"write {ready!r}"] * bool(ready) + [f"listen on 127.0.0.1:{self.port}"] * bool(self.port)
                raise TimeLimit(
                    f"expected `{self._words}` to {' and '.join(awaited)} within {READY_LIMIT:g} s, found that it does "
                    f"not; {self._child.said()}"
                )
            time.sleep(_PAUSE)

    def _ended(self) -> CommandFailed:
        self._child.wait(0)  # for its last words
        status = self._child.status
        return CommandFailed(
            f"expected `{self._words}` to go on, found that it ended with status {status}; {self._child.said()}",
            status,
            self.log,
        )


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
