"""What happened, as values: the log that the recorder fills, and the `Trace` that people read.

Room: pure values; no Django, Twisted, Jupyter or network. The live recorder writes a `Log`, one row of atoms an
event, and never builds an object for it: strings, bytes and numbers are invisible to the garbage collector, so
recording causes no collection. `Event` objects are made only when somebody looks.
"""

import marshal
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from labserver.errors import TimeLimit

from . import diagram, order, redact

LIMIT = 10_000
"""How many events a log keeps; older ones are dropped and counted."""

PAYLOAD_LIMIT = 16 * 1024
"""How many characters or bytes of one payload are kept, so that a full log stays bounded (about 160 MB)."""

WAIT_LIMIT = 5.0
"""Seconds that anything in labserver waits for an event before it says what is missing."""

CELL = 0
"""The number that stands for code outside any connection: a notebook cell, a script, a test."""

_COLUMNS = 6
_ATOMS = frozenset({str, bytes, int, float, bool, type(None)})


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened on a connection.

    connection: `ws-1`, `http-1`, …, numbered in order of arrival in the trace; `cell` for code outside any connection.
    direction: `receive` (the application got it), `send` (the application sent it), `layer` (a call of the channel
        layer, or a delivery by it) or `error` (the application raised).
    type: the ASGI event type (`websocket.connect`), the channel layer's method (`group_send`), or the name of the
        exception.
    message: the event's dictionary, as the ASGI specification describes it, secrets redacted.
    at: seconds since the start of the trace.
    """

    connection: str
    direction: str
    type: str
    message: Mapping[str, Any]
    at: float


class Log:
    """A bounded record of events, written by one thread and read by any."""

    def __init__(self, limit: int = LIMIT):
        self.limit = limit
        self.total = 0
        self.started = time.perf_counter()
        self._ring: deque = deque(maxlen=limit * _COLUMNS)
        self._scopes: dict[int, tuple[str, bytes]] = {}
        self._channels: dict[str, int] = {}
        self._serial = 0

    def open(self, scope: Mapping[str, Any]) -> int:
        """Announce a connection by its ASGI scope; returns the number to record its events under."""
        self._serial += 1
        kept = {k: scope[k] for k in ("type", "path", "query_string", "method", "subprotocols", "headers") if k in scope}
        self._scopes[self._serial] = (scope["type"], marshal.dumps(plain(kept)))
        if len(self._scopes) > self.limit:
            del self._scopes[next(iter(self._scopes))]
        return self._serial

    def name_channel(self, channel: str, connection: int) -> None:
        """Remember whose channel this is, so that pictures name the connection instead of a random string."""
        self._channels[channel] = connection
        if len(self._channels) > self.limit:
            del self._channels[next(iter(self._channels))]

    def owner(self, channel: str) -> int:
        """The connection that a channel belongs to, or `CELL`."""
        return self._channels.get(channel, CELL)

    def add(self, connection: int, direction: str, message: Mapping[str, Any]) -> None:
        """Record one event; `message["type"]` is its type."""
        key = value = None
        if len(message) == 2:
            for key in message:  # noqa: B007 - the loop is the fastest way to the key that is not "type"
                if key != "type":
                    break
            value = message[key]
        if key is None or value.__class__ not in _ATOMS or (value.__class__ in (str, bytes) and len(value) > PAYLOAD_LIMIT):
            key, value = None, marshal.dumps(plain(message))
        self._ring.extend((time.perf_counter(), connection, direction, message.get("type"), key, value))
        self.total += 1

    def channels_of(self, connection: int) -> list[str]:
        """The channels that belong to a connection."""
        return [channel for channel, owner in list(self._channels.items()) if owner == connection]

    def rows(self, start: int, stop: int | None) -> tuple[list[tuple], int]:
        """The rows from `start` up to `stop`, and how many of them were dropped because the log was full."""
        flat = list(self._ring)
        total = self.total
        first = max(0, total - len(flat) // _COLUMNS)
        rows = [tuple(flat[i : i + _COLUMNS]) for i in range(0, len(flat), _COLUMNS)]
        begin = max(0, start - first)
        end = None if stop is None else max(0, stop - first)
        return rows[begin:end], max(0, min(first, total if stop is None else stop) - start)

    def scope(self, connection: int) -> dict[str, Any]:
        """What is kept of a connection's scope, not yet redacted."""
        return marshal.loads(self._scopes[connection][1]) if connection in self._scopes else {"type": "websocket"}

    def kind(self, connection: int) -> str:
        """`websocket` or `http`."""
        return self._scopes[connection][0] if connection in self._scopes else "websocket"

    def names(self, connections: set[int]) -> dict[int, str]:
        """`ws-1`, `http-1`, …: a name for each of these connections, in order of arrival."""
        counts: dict[str, int] = {}
        names = {CELL: "cell"}
        for number in sorted(connections - {CELL}):
            prefix = {"websocket": "ws"}.get(self.kind(number), self.kind(number))
            counts[prefix] = counts.get(prefix, 0) + 1
            names[number] = f"{prefix}-{counts[prefix]}"
        return names

    def channel_names(self, names: Mapping[int, str]) -> dict[str, str]:
        """Each known channel, and the name of its connection."""
        return {channel: names[number] for channel, number in list(self._channels.items()) if number in names}


class Trace:
    """The events of a log from one moment on: everything a recorded scenario did on the wire.

    `str(trace)` is plain text, one event a line. In a notebook it is drawn as a sequence diagram. Both hold no time,
    port, address or random name: the same scenario gives the same bytes on every run. Events of different
    connections that raced each other are therefore put in one standing order (see `order`).
    """

    def __init__(self, log: Log, *, live=lambda: ()):
        self._log = log
        self._live = live
        self._start = log.total
        self._stop: int | None = None
        self._began = time.perf_counter() if log.total else log.started

    def clear(self) -> None:
        """Forget what happened so far; connections that are still open keep running and are numbered from 1 again."""
        self._start = self._log.total
        self._began = time.perf_counter()

    def close(self) -> None:
        """Let nothing more in."""
        self._stop = self._log.total

    @property
    def names(self) -> dict[int, str]:
        """The name of each connection in this trace, by its number in the log."""
        return self._read()[2]

    @property
    def events(self) -> tuple[Event, ...]:
        """What happened, in order; the newest `LIMIT` events at most."""
        rows, _, names = self._read()
        channels = self._log.channel_names(names)
        return tuple(
            Event(names[number], direction, type, redact.message(_thaw(type, key, value), channels), at - self._began)
            for at, number, direction, type, key, value in order.settled(rows)
        )

    @property
    def scopes(self) -> dict[str, dict[str, Any]]:
        """The ASGI scope of each connection (type, path, query string, headers, subprotocols), secrets redacted."""
        return {name: redact.scope(self._log.scope(n)) for n, name in self.names.items() if n != CELL}

    @property
    def omitted(self) -> int:
        """How many events at the beginning are gone because the log keeps the newest ones only."""
        return self._read()[1]

    def wait_for(self, type: str, *, connection: str | None = None, count: int = 1, timeout: float = WAIT_LIMIT) -> Event:
        """Block until an event of this type is in the trace `count` times, and return that event.

        Raises TimeLimit, with the trace so far, when `timeout` seconds have passed.
        """
        end = time.monotonic() + timeout
        while True:
            found = [e for e in self.events if e.type == type and connection in (None, e.connection)]
            if len(found) >= count:
                return found[count - 1]
            if time.monotonic() >= end:
                raise TimeLimit(
                    f"expected {count} × {type}{f' on {connection}' if connection else ''} within {timeout:g} s, found "
                    f"{len(found)}; look at what did happen:\n{self}"
                )
            time.sleep(0.001)

    def _read(self) -> tuple[list[tuple], int, dict[int, str]]:
        rows, omitted = self._log.rows(self._start, self._stop)
        seen = {row[1] for row in rows} | {value for row in rows for value in _mentioned(row)}
        return rows, omitted, self._log.names(seen | set(self._live()))

    def __len__(self) -> int:
        return len(self._read()[0])

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __repr__(self) -> str:
        return f"<Trace of {len(self)} events>"

    def __str__(self) -> str:
        return diagram.text(self.events, self.scopes, self.omitted)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        events, scopes, omitted = self.events, self.scopes, self.omitted
        return {
            "text/plain": diagram.text(events, scopes, omitted),
            "image/svg+xml": diagram.svg(events, scopes, omitted),
        }


def plain(value: Any) -> Any:
    """A copy made of what `marshal` can store: long payloads cut, unknown objects as their `repr`."""
    if isinstance(value, str):
        value = str(value)
        return value if len(value) <= PAYLOAD_LIMIT else f"{value[:PAYLOAD_LIMIT]}… ({len(value)} characters)"
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value)
        return value if len(value) <= PAYLOAD_LIMIT else value[:PAYLOAD_LIMIT] + b"... (%d bytes)" % len(value)
    if isinstance(value, Mapping):
        return {plain(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value if value.__class__ in _ATOMS else repr(value)


def _thaw(type: str, key: str | None, value: Any) -> dict[str, Any]:
    return marshal.loads(value) if key is None else {"type": type, key: value}


def _mentioned(row: tuple) -> tuple[int, ...]:
    """The connections that a layer event speaks of beside its own: the target of a `send` to one channel."""
    _, _, direction, type, key, value = row
    if direction == "layer" and type == "send" and key is None:
        target = marshal.loads(value).get("channel")
        return (target,) if target.__class__ is int else ()
    return ()
