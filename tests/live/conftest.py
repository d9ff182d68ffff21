"""What the tests of the live server share: one server a test, and the smallest application."""

import asyncio
import os

import pytest

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


@pytest.fixture(scope="module")
def unmeasured_commands():
    """Coverage stays out of the commands: they run nothing of labserver, and start three times as fast."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
            patch.delenv(name)
        yield
