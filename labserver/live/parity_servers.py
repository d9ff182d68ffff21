"""Daphne and uvicorn as they are deployed, for applications that are compared on them.

Room: both on the loop of the lab's thread, each on a port of its own, beside the learner's server and without what the
lab adds to that. Each lasts as long as its `async with`, and leaves nothing.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

from labserver.errors import UvicornMissing

GRACE = 0.2
"""Seconds that applications get to end when their server does; then they are cancelled, and get as much again."""


class PlainServer:
    """A server that listens on `port` of 127.0.0.1, and runs one `application` after the other."""

    def __init__(self) -> None:
        self.port = 0
        self.application: Callable | None = None

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        await self.application(scope, receive, send)


@contextlib.asynccontextmanager
async def on_daphne() -> AsyncIterator[PlainServer]:
    """Daphne, without what the lab's own server adds to it."""
    from . import reactor

    reactor.start()
    server = PlainServer()
    daphne = reactor.Daphne(server)
    server.port = await reactor.hop(_listen(daphne, reactor.WebSocketProtocol))
    try:
        yield server
    finally:
        await reactor.hop(daphne.close())


async def _listen(daphne: Any, protocol: type) -> int:
    port = daphne.listen("127.0.0.1", 0)
    daphne.ws_factory.protocol = protocol
    daphne.ws_factory.setProtocolOptions(failByDrop=True)
    return port


def import_uvicorn() -> Any:
    """The package uvicorn; raises UvicornMissing with the way to get it."""
    try:
        import uvicorn
    except ImportError as error:
        raise UvicornMissing(
            f"expected the package uvicorn, found none ({error}); install it: pip install 'channels-lab[deploy]'"
        ) from None
    return uvicorn


@contextlib.asynccontextmanager
async def on_uvicorn() -> AsyncIterator[PlainServer]:
    """Uvicorn with its own defaults; off the main thread it touches no signal. Raises UvicornMissing."""
    from . import reactor

    package = import_uvicorn()
    reactor.start()
    server, log = PlainServer(), logging.getLogger("uvicorn.error")
    config = package.Config(server, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    uvicorn = package.Server(config)
    unsaid = lambda record: False  # noqa: E731 - of its own: another may end while this one runs
    log.addFilter(unsaid)  # an application that crashes is the purpose here
    try:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            server.port = listening.getsockname()[1]
            running = await reactor.hop(_serve(uvicorn, listening))
            try:
                yield server
            finally:
                await reactor.hop(_end(uvicorn, running))
    finally:
        log.removeFilter(unsaid)


async def _serve(uvicorn: Any, listening: socket.socket) -> asyncio.Task:
    running = asyncio.create_task(uvicorn.serve([listening]))
    while not (uvicorn.started or running.done()):
        await asyncio.sleep(0.001)
    return running


async def _end(uvicorn: Any, running: asyncio.Task) -> None:
    """End it; applications that go on although their client has left are cancelled."""
    if left := list(uvicorn.server_state.tasks):
        _, late = await asyncio.wait(left, timeout=GRACE)
        for task in late:
            task.cancel()
        await asyncio.wait(left, timeout=GRACE)
    uvicorn.should_exit = True
    await running
