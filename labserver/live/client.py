"""Clients of the live server: `websockets` and `httpx`, with a limit on every wait.

Room: loaded when the first client is asked for. The connection is websockets' own `ClientConnection` with its whole
API; what is added is that a wait which would last for ever ends after `WAIT_LIMIT` seconds and says what was awaited.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any
from urllib.parse import urlsplit

import websockets.asyncio.client
from websockets.exceptions import InvalidHandshake, InvalidMessage
from websockets.typing import Origin

from labserver.errors import ServerStopped, TimeLimit
from labserver.trace.events import WAIT_LIMIT


class ClientConnection(websockets.asyncio.client.ClientConnection):
    """`websockets.asyncio.client.ClientConnection` whose `recv` does not wait for ever."""

    async def recv(self, decode: bool | None = None) -> str | bytes:
        """Receive the next message; raises TimeLimit when none came within `WAIT_LIMIT` seconds."""
        try:
            async with asyncio.timeout(WAIT_LIMIT):
                return await super().recv(decode)
        except TimeoutError:
            raise TimeLimit(
                f"expected a message from {self.request.path} within {WAIT_LIMIT:g} s, found none; "
                "look at server.trace to see what the consumer received and sent"
            ) from None

    async def wait_closed(self) -> None:
        """Wait until the connection is closed; raises TimeLimit when it is still open after `WAIT_LIMIT` seconds."""
        try:
            async with asyncio.timeout(WAIT_LIMIT):
                await super().wait_closed()
        except TimeoutError:
            raise TimeLimit(
                f"expected {self.request.path} to be closed within {WAIT_LIMIT:g} s, found it open; does the consumer "
                "close it? look at server.trace to see what it received and sent"
            ) from None


class Connecting:
    """What `server.connect` returns: `async with` it, or await it and close the connection yourself."""

    def __init__(self, url: str, settle: Callable[[int | None], Awaitable[None]], options: dict[str, Any]):
        self._url = url
        self._settle = settle
        self._options = options
        self._connection: ClientConnection | None = None

    async def _open(self) -> ClientConnection:
        __tracebackhide__ = True  # IPython shows the learner's own line instead of this one
        try:
            return await websockets.asyncio.client.connect(self._url, **self._options)
        except (TimeoutError, InvalidMessage):  # daphne gives up after five seconds too, without a word
            await self._settle(None)  # is anybody there at all? it tells if not
            advice = "did connect() run `await self.accept()`? "
            advice += '(without Channels: `await send({"type": "websocket.accept"})`)'
            if self._options.get("subprotocols"):
                advice += " with a subprotocol that was offered, or with none?"
            raise TimeLimit(
                f"expected the application to accept or close {urlsplit(self._url).path} within "
                f"{self._options['open_timeout']:g} s, found no answer; {advice}"
            ) from None
        except InvalidHandshake as error:
            await self._settle(None)  # so that a trace shown next holds how the refusal ended
            refused(error)
        except ConnectionRefusedError:
            raise stopped(self._url) from None

    def __await__(self) -> Generator[Any, None, ClientConnection]:
        return self._open().__await__()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"expected a connection, found one that is not open yet; write `async with server.connect(…) as ws:`, or "
            f"`ws = await server.connect(…)`, before ws.{name}"
        )

    async def __aenter__(self) -> ClientConnection:
        __tracebackhide__ = True
        self._connection = await self._open()
        return self._connection

    async def __aexit__(self, *exc_info: Any) -> None:
        port = self._connection.local_address[1]
        await self._connection.close()
        await self._settle(port)


def connect(url: str, settle: Callable, *, origin: str | None, **options: Any) -> Connecting:
    """A `websockets` client for the live server; `options` are those of `websockets.connect`."""
    defaults = {
        "create_connection": ClientConnection,
        "origin": origin and Origin(origin),
        "open_timeout": WAIT_LIMIT,
        "close_timeout": WAIT_LIMIT,
        "ping_interval": None,  # a cell may block the kernel for minutes: no client in it should die of that
        "proxy": None,  # the server is in this very process
    }
    return Connecting(url, settle, defaults | options)


async def get(url: str, settle: Callable, **options: Any) -> Any:
    """An `httpx.Response`; `options` are those of `httpx.AsyncClient.get`."""
    import httpx

    try:  # verify: this is plain HTTP, and to read the certificates of the web takes longer than the answer
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=WAIT_LIMIT) as client:
            response = await client.get(url, **options)
    except httpx.TimeoutException:
        await settle(None)
        raise TimeLimit(
            f"expected an answer to GET {url} within {WAIT_LIMIT:g} s, found none; look at server.trace to see how far "
            "the application came"
        ) from None
    except httpx.ConnectError:
        raise stopped(url) from None
    await settle(None)
    return response


def refused(error: InvalidHandshake) -> None:
    """Raise what websockets raised; the frames of its inside are left out."""
    # The server answered the handshake with an HTTP status instead of 101 Switching Protocols.
    raise error.with_traceback(None) from None


def stopped(url: str) -> ServerStopped:
    """The error for a client whose server does not listen."""
    return ServerStopped(
        f"expected the live server at {url}, found nothing listening; run the cell with serve(…) again"
    )
