"""How many echo conversations a server carries, and how fast: measured over real sockets, and drawn as ratios.

Room: sockets on the caller's own event loop, so that an interrupt ends it; loads nothing of Django. The clients are
websockets' own protocol without its connection objects: what a client costs is taken from the server that is measured
on the same machine, and these cost a third.
"""

import asyncio
import html
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import WebSocketURI, parse_uri

from . import load_svg

OPEN_LIMIT = 10.0
"""Seconds in which all connections have to be open."""

GRACE = 2.0
"""Seconds that a server gets for its last answers, and then for closing."""

_TICK = 0.1


@dataclass(frozen=True)
class Load:
    """What was measured of one server.

    clients: how many there were. held: how many of their connections were open at the end and never failed.
    messages: answers per second, of all together. median, tail: milliseconds from a message to its answer, in the
    middle and at the 99th percentile; None without a single answer. failures: what went wrong, and how often. busy: the
    share of one processor that the clients themselves took; near 1 they are what is measured.
    """

    name: str
    clients: int
    held: int
    messages: float
    median: float | None
    tail: float | None
    failures: Mapping[str, int] = field(default_factory=dict)
    busy: float = 0.0


class Loads:
    """Several loads, compared with the first one; `str()` is for the terminal, a notebook shows the picture."""

    def __init__(self, loads: Iterable[Load]):
        self.loads: Sequence[Load] = tuple(loads)

    def __str__(self) -> str:
        return load_svg.text(self.loads)

    def __repr__(self) -> str:
        return str(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": str(self), "image/svg+xml": load_svg.svg(self.loads)}


async def load(
    name: str,
    url: str,
    *,
    clients: int = 50,
    seconds: float = 1.0,
    additional_headers: Any = None,
    origin: str | None = None,
    subprotocols: Sequence[str] | None = None,
    ssl: SSLContext | None = None,
) -> Load:
    """Hold `clients` conversations for `seconds`: each sends a text, awaits it back, and sends the next one.

    name: what the server is called. url: of an endpoint that echoes texts, and says nothing else. additional_headers,
    origin, subprotocols, ssl: as `websockets.connect` takes them. Whatever fails is counted and named; nothing is
    raised for it. A progress bar shows meanwhile. Takes `seconds`, and at most OPEN_LIMIT and twice GRACE more.
    """
    crowd = _Crowd(parse_uri(url), dict(additional_headers or {}), origin, subprotocols)
    people = [_Client(number, crowd) for number in range(clients)]
    progress = _Progress(name)
    try:
        await asyncio.gather(*(client.open(ssl) for client in people))
        elapsed = await _talk(people, crowd, seconds, progress)
        held = sum(client.held for client in people)
        progress.show(1, f"{held} of {clients} connections held")
        for client in people:
            client.close()
        await _until(lambda: all(client.gone for client in people))
    finally:
        for client in people:
            client.abort()
    took = sorted(crowd.latencies)
    return Load(
        name,
        clients,
        held,
        len(took) / elapsed,
        statistics.median(took) * 1000 if took else None,
        took[math.ceil(0.99 * len(took)) - 1] * 1000 if took else None,
        dict(sorted(crowd.failures.items())),
        crowd.busy,
    )


async def _talk(people: Sequence["_Client"], crowd: "_Crowd", seconds: float, progress: "_Progress") -> float:
    """Let all who are there talk for so many seconds; returns how many it were."""
    start, worked = time.perf_counter(), time.process_time()
    crowd.talking = True
    for client in people:
        client.say()
    while (elapsed := time.perf_counter() - start) < seconds and not all(client.gone for client in people):
        progress.show(elapsed / seconds)
        await asyncio.sleep(min(_TICK, seconds - elapsed))
    crowd.talking = False
    crowd.busy = (time.process_time() - worked) / max(elapsed, seconds)
    await _until(lambda: not any(client.waiting for client in people))
    for client in people:
        if client.waiting:
            client.fail(f"no answer within {GRACE:g} s")
    return max(elapsed, seconds)


async def _until(true: Callable[[], bool]) -> None:
    """Wait until it is true, but not for longer than GRACE."""
    end = time.monotonic() + GRACE
    while not true() and time.monotonic() < end:
        await asyncio.sleep(_TICK / 10)


@dataclass
class _Crowd:
    """What all clients of one load have in common."""

    uri: WebSocketURI
    headers: Mapping[str, str]
    origin: str | None
    subprotocols: Sequence[str] | None
    talking: bool = False
    latencies: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    busy: float = 0.0


class _Client(asyncio.Protocol):
    """One conversation."""

    def __init__(self, number: int, crowd: _Crowd):
        self._number = number
        self._crowd = crowd
        self._websocket = ClientProtocol(crowd.uri, origin=crowd.origin, subprotocols=crowd.subprotocols)
        self._transport: asyncio.Transport | None = None
        self._answered = asyncio.Event()
        self._leaving = self._failed = False
        self._count, self._text, self._heard, self._since = 0, b"", b"", 0.0
        self.gone = True
        self.waiting = False

    @property
    def held(self) -> bool:
        """Whether it is connected, and was all the time."""
        return not self._failed

    async def open(self, ssl: SSLContext | None) -> None:
        """Connect, or fail."""
        uri = self._crowd.uri
        try:
            async with asyncio.timeout(OPEN_LIMIT):
                await asyncio.get_running_loop().create_connection(
                    lambda: self, uri.host, uri.port, ssl=ssl or (True if uri.secure else None)
                )
                await self._answered.wait()
        except TimeoutError:
            self.fail(f"not accepted within {OPEN_LIMIT:g} s")
        except OSError as error:
            self.fail(f"not connected: {type(error).__name__}")

    def say(self) -> None:
        """Send the next text."""
        if self.held:
            self._count += 1
            self._text, self._heard = b"%d says %d" % (self._number, self._count), b""
            self.waiting, self._since = True, time.perf_counter()
            self._websocket.send_text(self._text)
            self._flush()

    def fail(self, why: str) -> None:
        """Note why it is out; the first reason counts."""
        if self.held:
            self._failed = True
            self._crowd.failures[why] += 1
        self.waiting = False
        self._answered.set()
        self.abort()

    def close(self) -> None:
        """Take leave, if there is a connection."""
        self._leaving = True
        if self.held:
            self._websocket.send_close(1000)
            self._flush()

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport, self.gone = transport, False
        request = self._websocket.connect()
        for name, value in self._crowd.headers.items():
            request.headers[name] = value
        self._websocket.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._websocket.receive_data(data)
        for event in self._websocket.events_received():
            if isinstance(event, Frame):
                self._take(event, now)
        self._flush()
        if self._websocket.handshake_exc is not None:
            self.fail(f"refused: {self._websocket.handshake_exc}")
        elif self._websocket.state is not State.CONNECTING:
            self._answered.set()

    def _take(self, frame: Frame, now: float) -> None:
        """A part of an answer: a server may cut it into frames."""
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._heard += frame.data
            if frame.fin and not self.waiting:
                self.fail("a text that nobody asked for")
            elif frame.fin and self._heard != self._text:
                self.fail("another text came back")
            elif frame.fin:
                self._answer(now - self._since)

    def _answer(self, took: float) -> None:
        self.waiting = False
        if self._crowd.talking:
            self._crowd.latencies.append(took)
            self.say()

    def _flush(self) -> None:
        for data in self._websocket.data_to_send():
            if data:
                self._transport.write(data)
            else:  # the protocol's word for: nothing more from this side
                self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = True
        if not self._leaving:
            said = self._websocket.close_rcvd
            self.fail(f"closed by the server with code {said.code}" if said else "lost without a close frame")


class _Progress:
    """A bar that fills: one display in a notebook, one line in a terminal."""

    def __init__(self, name: str):
        self._name = name
        self._display: Any = None
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        if hasattr(shell, "kernel"):  # IPython in a terminal would print each update on a line of its own
            from IPython.display import display

            self._display = display(_Bar(name, 0, ""), display_id=True)

    def show(self, part: float, words: str = "") -> None:
        """Fill so much of it; words: what came of it, at the end."""
        bar = _Bar(self._name, part, words)
        if self._display is not None:
            self._display.update(bar)
        elif words or sys.stderr.isatty():
            start, end = ("\r" if sys.stderr.isatty() else ""), ("\n" if words else "")
            print(f"{start}{bar!r}", end=end, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class _Bar:
    name: str
    part: float
    words: str

    def __repr__(self) -> str:
        return f"{self.name} {'█' * round(20 * self.part):░<20} {self.words}".rstrip()

    def _repr_html_(self) -> str:
        name, words = html.escape(self.name), html.escape(self.words)
        return f'{name} <progress value="{self.part:.2f}" max="1"></progress> {words}'
