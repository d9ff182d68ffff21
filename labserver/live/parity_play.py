"""One client of an application: what it sees through Channels' communicator, and what it sees of a server.

Room: a communicator, and real clients. Applications are recorded, each in a log of its own, to know when they have
dealt with an event; nothing of it is seen in `server.trace`.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Origin, Subprotocol

from labserver.trace.events import WAIT_LIMIT, Log

from .parity_reasons import Evidence, Seen
from .parity_servers import PlainServer
from .recorder import Recorder
from .settling import dealt_with, received, recording

GRACE = 0.2
"""Seconds in which the answer to a handshake has to arrive when the application has dealt with it."""

Scenario = Sequence[dict[str, Any]]
"""The client's events as an application receives them, `websocket.connect` first."""

_FIRST = 1  # the number of the only connection in a log


class Request(NamedTuple):
    """What a client asks for."""

    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    subprotocols: tuple[str, ...]

    @classmethod
    def of(cls, path: str, headers: Iterable[tuple], subprotocols: Iterable[str]) -> "Request":
        """Headers as an application gets them: bytes, names in small letters."""
        pairs = ((_bytes(name).lower(), _bytes(value)) for name, value in headers)
        return cls(path, tuple(pairs), tuple(subprotocols))

    @property
    def text_headers(self) -> list[tuple[str, str]]:
        """Headers as a client is given them."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers]


def _bytes(value: bytes | str) -> bytes:
    return value.encode("latin-1") if isinstance(value, str) else value


class _Plain(Recorder):
    """A recorder that refuses nothing by itself: what the application raises is the server's to deal with."""

    async def _refuse(self, connection: Any, application: Callable, error: BaseException, send: Callable) -> None:
        raise error


def _recorded(application: Callable) -> Recorder:
    recorder = recording(Log(), _Plain)
    recorder.swap(application)
    return recorder


# --- a communicator -----------------------------------------------------------------------------------------------


async def communicated(scenario: Scenario, application: Callable, request: Request) -> tuple[Seen, Evidence]:
    """What a test sees: https://channels.readthedocs.io/en/stable/topics/testing.html

    Raises TimeLimit if the application does not deal with an event within `settling.STEP` seconds.
    """
    from channels.testing import WebsocketCommunicator

    recorder = _recorded(application)
    communicator = WebsocketCommunicator(recorder, request.path, list(request.headers), list(request.subprotocols))
    try:
        for number, event in enumerate(scenario, 1):
            await communicator.send_input(event)
            await asyncio.sleep(0)  # the first time round, its task has not begun
            await dealt_with(recorder, _FIRST, number)
            if not recorder.live:
                break
    finally:
        running = communicator.future
        running.cancel()
        await asyncio.wait([running])
    seen = []
    while not communicator.output_queue.empty():
        message = communicator.output_queue.get_nowait()
        if message.get("type") != "websocket.http.response.body":  # the status tells enough
            seen.append(_as_seen(message))
    error = None if running.cancelled() else running.exception()
    if error:
        seen.append(("crash", type(error).__name__))
    return tuple(seen), _evidence(scenario, request, error, recorder.log)


def _as_seen(message: dict[str, Any]) -> tuple:
    """What a test reads from an event that the application has sent."""
    kind = message.get("type")
    if kind == "websocket.accept":
        return "accept", message.get("subprotocol"), *(_header(*each) for each in message.get("headers") or ())
    if kind == "websocket.close":
        return "close", message.get("code") or 1000, *filter(None, [message.get("reason")])
    if kind == "websocket.http.response.start":
        return "refused", message.get("status")
    if kind != "websocket.send":
        return "event", kind
    data, text = message.get("bytes"), message.get("text")
    if data is not None and text is not None:
        return "text and bytes", text, data
    return ("bytes", data) if text is None else ("text", text)


def _header(name: bytes, value: bytes) -> str:
    return f"{name.decode('latin-1').lower()}: {value.decode('latin-1')}"


def _evidence(scenario: Scenario, request: Request, error: BaseException | None, log: Log) -> Evidence:
    """What else the communicator's run tells."""
    passed = [row[2:4] for row in log.rows(0, None)[0]]
    leaving = ("receive", "websocket.disconnect")
    before = sum(row[0] == "send" for row in passed[: passed.index(leaving)]) if leaving in passed else None
    names = tuple(name for name, _ in request.text_headers)
    longest = max((len(_content(event) or "") for event in scenario), default=0)
    raised = f"{type(error).__name__}: {error}" if error else ""
    return Evidence(raised, request.path, request.subprotocols, names, longest, before)


def _content(event: dict[str, Any]) -> str | bytes | None:
    """What a client's message says."""
    return event.get("bytes") if event.get("text") is None else event["text"]


# --- a client of a server -----------------------------------------------------------------------------------------


async def served(scenario: Scenario, application: Callable, request: Request, server: PlainServer) -> Seen:
    """What a client of the server sees. Raises TimeLimit as `communicated`."""
    recorder = server.application = _recorded(application)
    opening = asyncio.ensure_future(_open(request, server.port))
    try:
        await _answered(opening, recorder)
    finally:
        opening.cancel()
        await asyncio.wait([opening])
    if opening.cancelled():
        return (("no answer",),)
    if error := opening.exception():
        return (_refusal(error),)
    ws = opening.result()
    seen: list[tuple] = [("accept", ws.subprotocol, *_added_headers(ws))]
    there = await _is_open(ws)
    for number, event in enumerate(scenario[1:], 2):
        if not there or event["type"] == "websocket.disconnect":
            break
        there = await _says(ws, event, recorder, number)
    await ws.close(_code(scenario[-1]))
    with suppress(ConnectionClosed):  # what came before it is still there to be read
        async for message in ws:
            seen.append(("text" if isinstance(message, str) else "bytes", message))
    if not there:
        seen.append(("close", int(ws.close_code), *filter(None, [ws.close_reason])))
    return tuple(seen)


async def _open(request: Request, port: int) -> ClientConnection:
    """A connection like a browser's: with a Host and an Origin, unless the request brings its own."""
    given = dict(request.text_headers)
    here = f"127.0.0.1:{port}"
    connecting = connect(
        f"ws://{given.get('host', here)}{request.path}",
        host="127.0.0.1",
        port=port,
        origin=Origin(given.get("origin", f"http://{here}")),
        additional_headers=[each for each in request.text_headers if each[0] not in ("host", "origin")],
        subprotocols=[Subprotocol(each) for each in request.subprotocols] or None,
        open_timeout=WAIT_LIMIT,
        close_timeout=WAIT_LIMIT,
        ping_interval=None,
        max_queue=None,  # an answer to a ping has to get past messages that nobody has read yet
        max_size=None,
        proxy=None,
    )
    connecting.process_redirect = lambda error: error  # a browser follows none
    return await connecting


async def _answered(opening: asyncio.Future, recorder: Recorder) -> None:
    """Wait until the handshake is answered, or will not be: the application is done with it, and nothing comes."""
    from . import reactor

    while not (opening.done() or recorder.live or recorder.log.total):
        await asyncio.sleep(0.001)
    await dealt_with(recorder, _FIRST, 1)
    await reactor.hop(_turns())  # what the server has to say is on its way now
    await asyncio.wait([opening], timeout=GRACE)
    await _turns()  # on a busy machine it comes together with the end of the wait


async def _turns() -> None:
    """A few rounds of the running loop."""
    for _ in range(10):
        await asyncio.sleep(0)


def _refusal(error: BaseException) -> tuple:
    """What a client sees whose handshake has come to nothing."""
    if isinstance(error, InvalidStatus):
        return "refused", error.response.status_code
    if isinstance(error, InvalidHandshake):
        return "failed", type(error).__name__
    raise error


async def _says(ws: ClientConnection, event: dict[str, Any], recorder: Recorder, number: int) -> bool:
    """Send a message and wait until it is dealt with; whether the connection is still open."""
    try:
        await ws.send(_content(event))
    except ConnectionClosed:
        return False
    async with asyncio.timeout(WAIT_LIMIT):
        while recorder.live and received(recorder.log, _FIRST) < number:  # a long message is on its way for a while
            await asyncio.sleep(0.001)
    await dealt_with(recorder, _FIRST, number)
    return await _is_open(ws)


async def _is_open(ws: ClientConnection) -> bool:
    """Whether the connection is open: what the server sent before the answer to a ping is there when that comes."""
    try:
        async with asyncio.timeout(WAIT_LIMIT):
            await (await ws.ping())
    except ConnectionClosed:
        return False
    return True


def _added_headers(ws: ClientConnection) -> Iterator[str]:
    """The headers that are neither the handshake's nor the server's."""
    pairs = ws.response.headers.raw_items()
    return (f"{name.lower()}: {value}" for name, value in pairs if name.lower() not in _HANDSHAKE)


_HANDSHAKE = {"connection", "date", "server", "upgrade", "x-powered-by"} | {
    f"sec-websocket-{name}" for name in ("accept", "extensions", "protocol")
}


def _code(last: dict[str, Any]) -> int:
    """The code with which the client leaves; of those that it may send."""
    code = last.get("code", 1000)
    return code if 3000 <= code <= 4999 else 1000
