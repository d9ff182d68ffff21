"""One scenario several times: through Channels' communicator, through daphne, and through uvicorn if it is asked for.

Room: the live servers' parts, and a communicator. The servers it starts are its own, beside the learner's: nothing of
it is seen in `server.trace`, and nobody else is connected to it. They are plain servers, as they would be deployed:
what the lab's own server does better (a path without a route, a frame that breaks the rules) it leaves as it is.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Origin, Subprotocol

from labserver.errors import LabError, TimeLimit
from labserver.trace.compare_svg import Line, side_by_side, text
from labserver.trace.events import WAIT_LIMIT, Log

from .recorder import Recorder

STEP = 1.0
"""Seconds that an application may take to deal with one event."""

GRACE = 0.2
"""Seconds in which the answer to a handshake has to arrive when the application has dealt with it."""

MIB = 2**20

Seen = tuple[tuple, ...]
"""What a client sees, in order: `("accept", subprotocol)` and behind it the headers that the application added,
`("text", …)`, `("bytes", …)`, `("close", code)` and behind it the reason if there is one, `("refused", HTTP status)`,
`("no answer",)` to a handshake, `("failed", error)` for an answer that the client takes for an illegal one, and what
only a test is told: `("crash", error)`, `("text and bytes", …, …)` in one event, `("event", type)`."""

NOTHING = ("nothing",)
"""Stands where others see something."""

NO_REASON = (
    "No reason for this is known here: serve() the application, connect, and look at server.trace for what it sent."
)


class Difference(NamedTuple):
    """A row in which not all see the same, and why. `uvicorn` is None where it was not asked for."""

    communicator: tuple
    live: tuple
    uvicorn: tuple | None
    why: str


@dataclass(frozen=True)
class Evidence:
    """What else is known of the communicator's run, for the reasons.

    error: what the application raised. path: as it was asked for. offered: subprotocols. headers: their names in small
    letters. longest: characters of the client's longest message. stayed: how much the application had sent when its
    client left; None if it stayed.
    """

    error: str = ""
    path: str = "/"
    offered: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    longest: int = 0
    stayed: int | None = None


@dataclass(frozen=True)
class Parity:
    """What a client sees of each; true if communicator and live do not differ. `str()` puts them side by side.

    live: through daphne. uvicorn: None if it was not asked for.
    """

    communicator: Seen
    live: Seen
    uvicorn: Seen | None = None
    evidence: Evidence = field(default=Evidence(), repr=False, compare=False)

    def __bool__(self) -> bool:
        return self.communicator == self.live

    def __str__(self) -> str:
        return text(self._names, self._lines(), notes=False)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The rows in which they differ; each says why."""
        found, rows = [], self._rows()
        for at, row in enumerate(rows):
            if _differs(row):
                test, live, *more = row
                found.append(Difference(test, live, more[0] if more else None, reason(rows, at, self.evidence)))
        return tuple(found)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        lines = self._lines()
        number = sum(line.differs for line in lines)
        summary = f"{number} difference{'s' * (number != 1)}" if number else "no difference"
        return {
            "text/plain": text(self._names, lines),
            "image/svg+xml": side_by_side("What a client sees", summary, self._names, lines),
        }

    @property
    def _names(self) -> tuple[str, ...]:
        return ("communicator", "live server") if self.uvicorn is None else ("communicator", "daphne", "uvicorn")

    def _rows(self) -> list[tuple[tuple, ...]]:
        """What belongs together in one row; where one sees nothing, `NOTHING`."""
        others = [self.live] if self.uvicorn is None else [self.live, self.uvicorn]
        return _aligned(self.communicator, others)

    def _lines(self) -> list[Line]:
        whys = iter(self.differences)
        lines = []
        for row in self._rows():
            differs = _differs(row)
            cells = tuple(" ".join(map(str, cell)) for cell in row)
            lines.append(Line(cells, differs, next(whys).why if differs else ""))
        return lines


def _differs(row: Sequence[Any]) -> bool:
    return any(cell != row[0] for cell in row)  # no set: what an application sends may be a list


def _aligned(first: Seen, others: Sequence[Seen]) -> list[tuple[tuple, ...]]:
    """Rows of equals, as far as there are any; between them what takes the place of what."""
    slots: list[list[list[tuple]]] = []  # of each other one: what stands beside each of the first's, and behind it
    for other in others:
        named = [repr(cell) for cell in first], [repr(cell) for cell in other]
        beside: list[list[tuple]] = [[] for _ in range(len(first) + 1)]
        for _, start, end, low, high in SequenceMatcher(None, *named, autojunk=False).get_opcodes():
            for i in range(low, high):
                beside[min(start + i - low + 1, end)].append(other[i])
            for i in range(start + high - low, end):
                beside[i + 1].append(NOTHING)
        slots.append(beside)
    rows: list[tuple[tuple, ...]] = []
    for at in range(len(first) + 1):
        own = [first[at - 1]] if at else []
        rows += zip_longest(own, *(beside[at] for beside in slots), fillvalue=NOTHING)
    return rows


# --- why they differ ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    """A row that differs: what is seen there, what was seen before it, and the evidence."""

    test: tuple
    live: tuple
    uvicorn: tuple
    tested: tuple[tuple, ...]
    lived: tuple[tuple, ...]
    uvicorned: tuple[tuple, ...]
    evidence: Evidence

    @property
    def kind(self) -> str:
        return self.test[0]

    @property
    def said(self) -> bool:
        """Whether it is a message from the application."""
        return self.kind in ("text", "bytes", "text and bytes")

    @property
    def missing(self) -> str:
        """The key that the application looked for in its scope, as Python writes it."""
        return self.evidence.error.removeprefix("KeyError: ") if self.kind == "crash" else ""

    @property
    def late(self) -> bool:
        """Whether the application sent it after its client had left."""
        return self.evidence.stayed is not None and self.kind != "crash" and len(self.tested) >= self.evidence.stayed


ENDED = ("refused", "close", "no answer", "failed")
"""After these a client sees nothing more."""

SCOPE = frozenset(
    repr(key) for key in "asgi client extensions http_version raw_path root_path scheme server state".split()
)

HUNG_UP, REFUSED, FAILED = ("close", 1011), ("refused", 403), ("refused", 500)

REASONS: tuple[tuple[Callable[[_Row], Any], str], ...] = (
    (
        lambda row: row.kind not in (NOTHING[0], "crash") and any(each[0] == "close" for each in row.tested),
        "What is sent after a close goes nowhere: the connection is over. Only a communicator keeps it.",
    ),
    (
        lambda row: row.kind == "close" and row.live == REFUSED,
        "Before accept there is no WebSocket yet that could carry a close code: the server answers the handshake with "
        "HTTP 403, and a browser reports 1006.",
    ),
    (
        lambda row: row.said and not row.tested and row.live == FAILED,
        "Before accept there is no WebSocket yet that could carry a message: the server raises in the application, and "
        "answers the handshake with HTTP 500.",
    ),
    (
        lambda row: row.kind == "crash" and row.live == FAILED and "No route found" in row.evidence.error,
        "No route matches the path: a test gets the router's ValueError, a client gets HTTP 500.",
    ),
    (
        lambda row: row.kind == "crash" and row.live == FAILED,
        "A test gets the exception itself; a client, whose handshake is not answered yet, gets HTTP 500.",
    ),
    (
        lambda row: row.missing in SCOPE,
        "A communicator's scope has type, path, query_string, headers and subprotocols alone; a server fills in more, "
        "and each server other things.",
    ),
    (
        lambda row: row.missing.startswith("b'"),
        "A communicator sends no headers but those that the test gives it; a client sends Host, a browser Origin too.",
    ),
    (
        lambda row: row.kind == "crash" and row.live == HUNG_UP,
        "A test gets the exception itself; a client of daphne gets the close code 1011.",
    ),
    (
        lambda row: row.kind == "close" and row.live == HUNG_UP and not _legal(row.test[1]),
        "An application may close with 1000 and 3000 to 4999: daphne raises for another code, and closes with 1011.",
    ),
    (
        lambda row: row.kind == "close" and len(row.test) > 2 and row.live == row.test[:2],
        "Daphne sends the close code without the reason.",
    ),
    (
        lambda row: row.kind == "accept" and len(row.test) > 2 and row.live == row.test[:2],
        "Daphne accepts without the headers that the application adds.",
    ),
    (
        lambda row: row.kind == "accept" and row.test[1] and row.test[1] not in row.evidence.offered,
        "A server may choose only from the subprotocols that the client offers: daphne fails without a word, and the "
        "client waits for its answer until the handshake's time is up, after 5 s.",
    ),
    (
        lambda row: row.kind == "accept" and row.tested and row.live == HUNG_UP,
        "A connection is accepted once: the server raises in the application at the second time.",
    ),
    (
        lambda row: row.kind == "text and bytes" and row.live == HUNG_UP,
        "A message is text or bytes: daphne raises in an application that sends both in one event.",
    ),
    (
        lambda row: row.said and not row.test[1] and row.live == NOTHING,
        "Daphne sends no empty messages.",
    ),
    (
        lambda row: row.said and row.live == HUNG_UP,
        "What cannot be sent as it is (text that is no str or no Unicode, bytes that are no bytes) makes the server "
        "raise in the application; a communicator checks nothing.",
    ),
    (
        lambda row: row.live[:2] == ("close", 1006) and row.evidence.longest > MIB,
        "Daphne drops a client whose message is longer than 1 MiB, without a close frame; a communicator has no limit.",
    ),
    (
        lambda row: row.kind == "close" and row.live[0] == "accept" and "origin" not in row.evidence.headers,
        "A communicator sends no Origin but the one that the test gives it: who checks it refuses the test, and lets "
        "a browser in.",
    ),
    (
        lambda row: row.kind == "refused" and row.live[0] == "no answer",
        "Daphne does not know websocket.http.response.start, and ignores it: the client waits for its answer until the "
        "handshake's time is up, after 5 s.",
    ),
    (
        lambda row: row.test == NOTHING and row.live[0] == "no answer",
        "The application neither accepts nor closes: connect() of a communicator gives up after 1 s, the client of a "
        "server waits until the handshake's time is up, on daphne after 5 s.",
    ),
    (
        lambda row: row.kind == "event" and row.test[1] and row.live == NOTHING and row.lived[-1][0] not in ENDED,
        "Daphne ignores events whose type it does not know; a communicator hands over whatever is sent.",
    ),
    (
        lambda row: row.kind == "event" and row.live == HUNG_UP,
        "An event without a type makes the server raise in the application; a communicator hands it over.",
    ),
    (
        lambda row: row.said and row.live[0] == row.kind and any("_" in name for name in row.evidence.headers),
        "Daphne leaves out headers with an underscore in their names: behind a proxy they could pass for others.",
    ),
    (
        lambda row: row.said and row.live[0] == row.kind and len(set(row.evidence.headers)) < len(row.evidence.headers),
        "Daphne joins headers of the same name into one, with commas.",
    ),
    (
        lambda row: row.late and row.live == NOTHING,
        "It is sent after the client has left: the server drops it, a communicator keeps it.",
    ),
    (
        lambda row: row.live == NOTHING and any(each[0] in ENDED for each in row.lived),
        "The client's connection had ended with the row above.",
    ),
)
"""Why communicator and daphne differ, by what was seen: the first that fits. Measured; see `live/differences.py`."""

UVICORNS: tuple[tuple[Callable[[_Row], Any], str], ...] = (
    (
        lambda row: row.uvicorn == row.test and row.kind != NOTHING[0],
        "Uvicorn passes it on.",
    ),
    (
        lambda row: row.missing in SCOPE,
        "Uvicorn fills in other keys than daphne.",
    ),
    (
        lambda row: row.uvicorn == ("close", 1006) and row.live[0] == "close",
        "When an application raises, uvicorn ends the connection without a close frame: 1006.",
    ),
    (
        lambda row: row.uvicorn == ("close", 1006) and row.kind == "event",
        "Uvicorn raises in the application, and ends the connection without a close frame: 1006.",
    ),
    (
        lambda row: row.evidence.path.startswith("//"),
        "Daphne and the communicator take what follows two slashes for a host; uvicorn leaves the path as it is.",
    ),
    (
        lambda row: row.uvicorn == ("close", 1006) and row.live == NOTHING,
        "When an application returns, uvicorn ends the connection without a close frame (1006); daphne leaves it open.",
    ),
    (
        lambda row: row.uvicorn[0] == "failed" and row.live[0] == "no answer",
        "Uvicorn sends it, and the client breaks the handshake off.",
    ),
    (
        lambda row: row.uvicorn == FAILED and row.live[0] == "no answer",
        "Uvicorn answers HTTP 500 as soon as the application has returned.",
    ),
    (
        lambda row: row.uvicorn == NOTHING and ("close", 1006) in row.uvicorned,
        "Uvicorn had ended the connection with the row above.",
    ),
    (
        lambda row: row.kind == "text and bytes" and row.uvicorn == ("bytes", row.test[2]),
        "Uvicorn sends the bytes, and forgets the text.",
    ),
)
"""Why uvicorn and daphne differ."""


def reason(rows: Sequence[tuple[tuple, ...]], at: int, evidence: Evidence) -> str:
    """Why one of these rows differs: a sentence for communicator and daphne, and one for uvicorn if it goes its way."""
    test, live, *more = rows[at]
    uvicorn = more[0] if more else live
    tested, *others = zip(*rows[:at], strict=True) if at else ((), ())
    tested = tuple(cell for cell in tested if cell != NOTHING)
    row = _Row(test, live, uvicorn, tested, others[0], others[-1], evidence)
    found = [_first(REASONS, row)] if test != live else []
    found += [_first(UVICORNS, row)] if uvicorn != live else []
    known = [each for each in found if each]
    return " ".join(known) if len(known) == len(found) else " ".join([*known, NO_REASON])


def _first(reasons: Iterable[tuple[Callable[[_Row], Any], str]], row: _Row) -> str:
    return next((why for fits, why in reasons if fits(row)), "")


def _legal(code: Any) -> bool:
    """Whether daphne lets an application close with this code (RFC 6455, 7.4.2)."""
    return isinstance(code, int) and (code == 1000 or 3000 <= code <= 4999)


# --- one scenario on each -----------------------------------------------------------------------------------------


async def parity(
    scenario: Iterable[dict[str, Any]],
    application: Callable,
    *,
    path: str = "/",
    headers: Iterable[tuple[bytes | str, bytes | str]] = (),
    subprotocols: Iterable[str] = (),
    uvicorn: bool = False,
) -> Parity:
    """Play a client to the application, once through `WebsocketCommunicator`, on daphne, and if asked for on uvicorn.

    scenario: the client's events as an application receives them: `websocket.connect` first, then
    `websocket.receive`, and `websocket.disconnect` for leaving. Each is sent when the one before is dealt with.
    headers: what all send. Clients of a server send Host and Origin beside it, as browsers do; a communicator does not.
    Raises TimeLimit if the application neither ends nor asks for its next event within `STEP` seconds;
    UvicornMissing if uvicorn is asked for and is not installed.
    """
    events, request = list(scenario), Request.of(path, headers, subprotocols)
    if uvicorn:
        _installed()
    test, evidence = await communicated(events, application, request)
    async with on_daphne() as server:
        live = await served(events, application, request, server)
    if not uvicorn:
        return Parity(test, live, None, evidence)
    async with on_uvicorn() as server:
        return Parity(test, live, await served(events, application, request, server), evidence)


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


def _bytes(value: bytes | str) -> bytes:
    return value.encode("latin-1") if isinstance(value, str) else value


def recording(log: Log) -> Recorder:
    """A recorder beside that of the server: it says nothing under the cell, and has no groups to leave."""
    return Recorder(log, _nothing, tell=lambda *lines: None)


class _Plain(Recorder):
    """A recorder that refuses nothing by itself: what the application raises is the server's to deal with."""

    def __init__(self, application: Callable):
        super().__init__(Log(), _nothing, tell=lambda *lines: None)
        self.begun = False
        self.received = 0
        self.swap(application)

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        async def counted() -> dict:
            event = await receive()
            self.received += 1
            return event

        self.begun = True
        await super().__call__(scope, counted, send)

    async def _refuse(self, connection: Any, application: Callable, error: BaseException, send: Callable) -> None:
        raise error


async def dealt_with(
    recorder: Recorder, connection: int, events: int, idle: Callable[[int], bool] = lambda number: True
) -> None:
    """Wait until an application has ended, or has received so many events and, as all others, waits for the next.

    connection: its number in the recorder's log. idle: whether nothing is on its way to a connection through the
    channel layer. Raises TimeLimit after `STEP` seconds.
    """
    end, log = time.monotonic() + STEP, recorder.log
    quiet, total = 0, -1
    while quiet < 3:  # a message that was just put into a channel has not woken its consumer yet
        received = sum(row[1:3] == (connection, "receive") for row in log.rows(0, None)[0])
        there = connection not in recorder.live or received >= events
        rest = there and all(each.waiting and idle(number) for number, each in list(recorder.live.items()))
        quiet = quiet + 1 if rest and total == log.total else 0
        total = log.total
        if time.monotonic() > end:
            raise TimeLimit(
                f"expected the application to end or to `await receive()` within {STEP:g} s of event {events}, found "
                "it waiting for something else; look at what it awaits there"
            )
        await asyncio.sleep(0.001)


# --- the communicator ---------------------------------------------------------------------------------------------


async def communicated(
    scenario: Sequence[dict[str, Any]], application: Callable, request: Request
) -> tuple[Seen, Evidence]:
    """What a test sees: https://channels.readthedocs.io/en/stable/topics/testing.html"""
    from channels.testing import WebsocketCommunicator

    recorder, sent = _Plain(application), []
    communicator = WebsocketCommunicator(recorder, request.path, list(request.headers), list(request.subprotocols))
    try:
        for number, event in enumerate(scenario, 1):
            await communicator.send_input(event)
            await asyncio.sleep(0)  # the first time round, its task has not begun
            await dealt_with(recorder, 1, number)
            if not recorder.live:
                break
    finally:
        running = communicator.future
        running.cancel()
        await asyncio.wait([running])
    while not communicator.output_queue.empty():
        sent.append(communicator.output_queue.get_nowait())
    seen, raised = [_as_seen(message) for message in sent if message.get("type") != _BODY], ""
    if not running.cancelled() and (error := running.exception()):
        seen.append(("crash", type(error).__name__))
        raised = f"{type(error).__name__}: {error}"
    passed = [row[2:4] for row in recorder.log.rows(0, None)[0]]
    left = ("receive", "websocket.disconnect")
    stayed = sum(row[0] == "send" for row in passed[: passed.index(left)]) if left in passed else None
    names = tuple(name.decode("latin-1") for name, _ in request.headers)
    longest = max((len(_said(event) or "") for event in scenario), default=0)
    return tuple(seen), Evidence(raised, request.path, request.subprotocols, names, longest, stayed)


_BODY = "websocket.http.response.body"  # the status tells enough


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
    data, words = message.get("bytes"), message.get("text")
    if data is not None and words is not None:
        return "text and bytes", words, data
    return ("bytes", data) if words is None else ("text", words)


def _header(name: bytes, value: bytes) -> str:
    return f"{name.decode('latin-1').lower()}: {value.decode('latin-1')}"


def _said(event: dict[str, Any]) -> str | bytes | None:
    """The content of a client's message."""
    return event.get("bytes") if event.get("text") is None else event["text"]


# --- a client of a server -----------------------------------------------------------------------------------------


class Server:
    """A server that listens on `port` of 127.0.0.1, and has the application of one run after the other."""

    def __init__(self) -> None:
        self.port = 0
        self.recorder: _Plain | None = None

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """The application that the server runs."""
        await self.recorder(scope, receive, send)


async def served(scenario: Sequence[dict[str, Any]], application: Callable, request: Request, server: Server) -> Seen:
    """What a client of the server sees."""
    recorder = server.recorder = _Plain(application)
    opening = asyncio.ensure_future(_opened(request, server.port))
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
    seen: list[tuple] = [("accept", ws.subprotocol, *_added(ws.response.headers))]
    there = await _still_there(ws)
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


async def _opened(request: Request, port: int) -> ClientConnection:
    """A connection like a browser's: with a Host and an Origin, unless the request brings its own."""
    given = dict(request.headers)
    host, origin = given.pop(b"host", None), given.pop(b"origin", None)
    rest = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers if name in given]
    connecting = connect(
        f"ws://{host.decode('latin-1') if host else f'127.0.0.1:{port}'}{request.path}",
        host="127.0.0.1",
        port=port,
        origin=Origin(origin.decode("latin-1") if origin else f"http://127.0.0.1:{port}"),
        additional_headers=rest,
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


async def _turns() -> None:
    """A few rounds of the running loop."""
    for _ in range(10):
        await asyncio.sleep(0)


async def _answered(opening: asyncio.Future, recorder: _Plain) -> None:
    """Wait until the handshake is answered, or will not be: the application is done with it, and nothing comes."""
    from . import reactor

    while not (opening.done() or recorder.begun):
        await asyncio.sleep(0.001)
    await dealt_with(recorder, 1, 1)
    await reactor.hop(_turns())  # what the server has to say is on its way now
    await asyncio.wait([opening], timeout=GRACE)
    await _turns()  # on a busy machine it comes together with the end of the wait


def _refusal(error: BaseException) -> tuple:
    """What a client sees whose handshake has come to nothing."""
    if isinstance(error, InvalidStatus):
        return "refused", error.response.status_code
    if isinstance(error, InvalidHandshake):
        return "failed", type(error).__name__
    raise error


async def _says(ws: ClientConnection, event: dict[str, Any], recorder: _Plain, number: int) -> bool:
    """Send a message and wait until it is dealt with; whether the connection is still there."""
    try:
        await ws.send(_said(event))
    except ConnectionClosed:
        return False
    async with asyncio.timeout(WAIT_LIMIT):
        while recorder.live and recorder.received < number:  # a long message is on its way for a while
            await asyncio.sleep(0.001)
    await dealt_with(recorder, 1, number)
    return await _still_there(ws)


async def _still_there(ws: ClientConnection) -> bool:
    """Whether the connection is open: what the server sent before the answer to a ping is there when that comes."""
    try:
        async with asyncio.timeout(WAIT_LIMIT):
            await (await ws.ping())
    except ConnectionClosed:
        return False
    return True


def _added(headers: Any) -> Iterable[str]:
    """The headers that are neither the handshake's nor the server's."""
    return (f"{name.lower()}: {value}" for name, value in headers.raw_items() if name.lower() not in _HANDSHAKE)


_HANDSHAKE = {"connection", "date", "server", "upgrade", "x-powered-by"} | {
    f"sec-websocket-{name}" for name in ("accept", "extensions", "protocol")
}


def _code(last: dict[str, Any]) -> int:
    """The code with which the client leaves; of those that it may send."""
    code = last.get("code", 1000)
    return code if 3000 <= code <= 4999 else 1000


async def _nothing(connection: int | None) -> None:
    """There is nobody else to tell."""


# --- the servers --------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def on_daphne() -> AsyncIterator[Server]:
    """Daphne as it is, without what the lab's own server adds to it."""
    from . import reactor

    reactor.start()
    server = Server()
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


class UvicornMissing(LabError, ImportError):
    """Uvicorn is asked for, and is not installed."""


def _installed() -> Any:
    """The package uvicorn; raises UvicornMissing with the way to get it."""
    try:
        import uvicorn
    except ImportError as error:
        raise UvicornMissing(
            f"expected the package uvicorn, found none ({error}); install it: pip install 'channels-lab[deploy]'"
        ) from None
    return uvicorn


@contextlib.asynccontextmanager
async def on_uvicorn() -> AsyncIterator[Server]:
    """Uvicorn with its own defaults, on the loop of the lab's thread: off the main thread it touches no signal.

    Raises UvicornMissing.
    """
    from . import reactor

    package = _installed()
    reactor.start()
    server, log = Server(), logging.getLogger("uvicorn.error")
    config = package.Config(server, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    uvicorn = package.Server(config)
    unsaid = lambda record: False  # noqa: E731 - of its own: another may end while this one runs
    log.addFilter(unsaid)  # an application that crashes is the purpose here
    listening = socket.create_server(("127.0.0.1", 0))
    server.port = listening.getsockname()[1]
    try:
        running = await reactor.hop(_serve(uvicorn, listening))
        try:
            yield server
        finally:
            await reactor.hop(_end(uvicorn, running))
    finally:
        listening.close()
        log.removeFilter(unsaid)


async def _serve(uvicorn: Any, listening: socket.socket) -> asyncio.Task:
    running = asyncio.create_task(uvicorn.serve([listening]))
    while not (uvicorn.started or running.done()):
        await asyncio.sleep(0.001)
    return running


async def _end(uvicorn: Any, running: asyncio.Task) -> None:
    """End it; applications that go on although their client has left are cancelled."""
    left = list(uvicorn.server_state.tasks)
    if left:
        await asyncio.wait(left, timeout=GRACE)
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=STEP)
    uvicorn.should_exit = True
    await running
