"""What the tests of the live server share: one server a test, the smallest application, and real kernels."""

import asyncio
import os
import time
from dataclasses import dataclass, field

import pytest
from jupyter_client.manager import KernelManager

from labserver import serve


async def echo(scope, receive, send):
    """A raw ASGI application: it says hello over HTTP, and sends back what a WebSocket sends."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"hello from " + scope["raw_path"]})
        return
    while (event := await receive())["type"] != "websocket.disconnect":
        if event["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "websocket.send", "text": event.get("text"), "bytes": event.get("bytes")})


@pytest.fixture(name="echo")
def echo_application():
    """The application that echoes."""
    return echo


@pytest.fixture
def server():
    """A live server that echoes; it is stopped after the test."""
    server = serve(echo)
    server.trace.clear()
    yield server
    server.stop()


@pytest.fixture
def left():
    """Waits until the server holds no connection any more: a client that goes is gone a moment later."""

    async def left(server):
        async with asyncio.timeout(5):
            while server.connections or server._daphne.connections:
                await asyncio.sleep(0.001)

    return left


CELL_LIMIT = 30
"""Seconds that a cell may take."""


@dataclass
class Ran:
    """What came of a cell: the text printed under it, and its error."""

    id: str
    text: str = ""
    error: dict = field(default_factory=dict)


class Kernel:
    """A real kernel, driven by messages as a notebook drives it."""

    def __init__(self, folder):
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith(("LABSERVER_", "DJANGO_"))}
        self._cells = {}
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env=self._environment, cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self._ready = False

    def send(self, code):
        """Queue a cell, and return its id; the first one waits until the kernel is there."""
        if not self._ready:
            self.client.wait_for_ready(timeout=60)
            self._ready = True
        cell = self.client.execute(code)
        self._cells[cell] = Ran(cell)
        return cell

    def wait(self, cell, until=None, limit=CELL_LIMIT):
        """Take messages until the cell has ended (or until this text is under it); returns what is under it."""
        ran, end = self._cells[cell], time.monotonic() + limit
        while True:
            message = self.client.get_iopub_msg(timeout=max(0.001, end - time.monotonic()))
            kind, content = message["msg_type"], message["content"]
            under = self._cells.get(message["parent_header"].get("msg_id"), Ran("nobody"))
            if kind == "stream":
                under.text += content["text"]
            elif kind == "execute_result":
                under.text += content["data"]["text/plain"] + "\n"
            elif kind == "error":
                under.error = content
            if until is not None and until in ran.text:
                return ran
            if kind == "status" and content["execution_state"] == "idle" and under is ran:
                return ran

    def run(self, code, limit=CELL_LIMIT):
        """Run a cell that must not fail; returns the text under it."""
        ran = self.wait(self.send(code), limit=limit)
        assert not ran.error, "\n".join(ran.error["traceback"])
        return ran.text

    def fail(self, code):
        """Run a cell that must fail; returns the error's name and text."""
        ran = self.wait(self.send(code))
        assert ran.error, ran.text
        return ran.error["ename"], ran.error["evalue"]

    def restart(self):
        """Restart it, as the button does."""
        self.manager.restart_kernel(now=True, env=self._environment)
        self._ready = False

    def end(self):
        """End it at once."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture(scope="session")
def new_kernel(tmp_path_factory):
    """Makes kernels; whoever makes one ends it."""
    return lambda: Kernel(tmp_path_factory.mktemp("kernel"))


@pytest.fixture
def fresh(new_kernel):
    """A kernel of a test's own."""
    kernel = new_kernel()
    yield kernel
    kernel.end()
