"""The log that the live recorder fills: rows of atoms, bounded, written by one thread and read by any.

Room: pure values. An event is recorded for every message of every connection, so no object is built for it: strings,
bytes and numbers are invisible to the garbage collector, and recording causes no collection. What is not an atom is
stored as the bytes of `marshal`. `events` makes of the rows what people see.
"""

import marshal
import time
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any

LIMIT = 10_000
"""How many events a log keeps; older ones are dropped and counted."""

PAYLOAD_LIMIT = 16 * 1024
"""How many characters or bytes of one payload are kept, so that a full log stays bounded (about 160 MB)."""

CELL = 0
"""The number that stands for code outside any connection: a notebook cell, a script, a test."""

_COLUMNS = 7  # of a row in the log: its number, then at, connection, direction, type, key, value
_KEPT = ("type", "path", "query_string", "method", "subprotocols", "headers")  # of a scope
_DEPTH = 20  # levels of a message that are kept
_ITEMS = 1_000  # entries of one list or dictionary that are kept
_ATOMS = frozenset({str, bytes, int, float, bool, type(None)})
_SIZED = frozenset({str, bytes})


_clock = time.perf_counter


class Log:
    """A bounded record of events, written by one thread and read by any."""

    def __init__(self, limit: int = LIMIT):
        self.limit = limit
        self.total = 0
        self.started = time.perf_counter()
        self._ring: deque = deque(maxlen=limit * _COLUMNS)
        self._extend = self._ring.extend
        self._scopes: dict[int, tuple[str, bytes, int, str]] = {}  # type, scope, rows there were before, application
        self._channels: dict[str, int] = {}
        self._serial = 0

    def open(self, scope: Mapping[str, Any], served: str = "") -> int:
        """Announce a connection by its ASGI scope; returns the number to record its events under.

        served: where its application can be imported, as `package.module:expression`; empty if it cannot.
        """
        self._serial += 1
        kept = {key: scope[key] for key in _KEPT if key in scope}
        self._scopes[self._serial] = (scope["type"], marshal.dumps(plain(kept)), self.total, served)
        if len(self._scopes) > self.limit:
            del self._scopes[next(iter(self._scopes))]
        return self._serial

    @property
    def last(self) -> int:
        """The number of the newest connection."""
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
        kind, key, value = message.get("type"), "text", message.get("text")
        if (  # not what nearly every event is, a short text alone
            value.__class__ is not str or kind.__class__ is not str or len(message) != 2 or len(value) > PAYLOAD_LIMIT
        ):
            kind, key, value = _atoms(kind, message)
        number = self.total + 1
        self._extend((number, _clock(), connection, direction, kind, key, value))
        self.total = number  # only now: who sees the number finds the row

    def channels_of(self, connection: int) -> list[str]:
        """The channels that belong to a connection."""
        return [channel for channel, owner in list(self._channels.items()) if owner == connection]

    def rows(self, start: int, stop: int | None) -> tuple[list[tuple], int]:
        """The rows from `start` up to `stop`, and how many of them were dropped because the log was full."""
        flat = list(self._ring)  # one step for the interpreter: no row is torn, whatever thread writes
        kept = len(flat) // _COLUMNS
        first = flat[0] - 1 if flat else self.total  # how many rows came before those that are kept
        end = kept if stop is None else min(kept, stop - first)
        rows = [tuple(flat[i * _COLUMNS + 1 : (i + 1) * _COLUMNS]) for i in range(max(0, start - first), end)]
        return rows, max(0, (first if stop is None else min(first, stop)) - start)

    def scope(self, connection: int) -> dict[str, Any]:
        """What is kept of a connection's scope, not yet redacted."""
        kept = self._scopes.get(connection)
        return marshal.loads(kept[1]) if kept else {"type": "websocket"}

    def opened(self, connection: int) -> int:
        """How many rows there were when the connection was announced; 0 if that is forgotten."""
        kept = self._scopes.get(connection)
        return kept[2] if kept else 0

    def served(self, connection: int) -> str:
        """Where the application of a connection can be imported; empty if nobody knows."""
        kept = self._scopes.get(connection)
        return kept[3] if kept else ""

    def kind(self, connection: int) -> str:
        """`websocket` or `http`."""
        kept = self._scopes.get(connection)
        return kept[0] if kept else "websocket"

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


def _atoms(kind: Any, message: Mapping[str, Any]) -> tuple[str, str | None, Any]:
    """The columns of an event: its type, and its one other entry, or no key and the whole message as bytes."""
    if len(message) == 2:
        key, other = message
        if key == "type":
            key = other
        value = message[key]
        if key.__class__ is str and value.__class__ in _ATOMS and kind.__class__ is str:
            if value.__class__ not in _SIZED or len(value) <= PAYLOAD_LIMIT:
                return kind, key, value
    return str(plain(kind)), None, marshal.dumps(plain(message))


def plain(value: Any, depth: int = _DEPTH) -> Any:
    """A copy made of what `marshal` can store: long payloads cut, unknown objects as their `repr`."""
    if isinstance(value, str):
        value = str.__str__(value)  # not str(): Django's SafeString would stay what it is
        return value if len(value) <= PAYLOAD_LIMIT else f"{value[:PAYLOAD_LIMIT]}… ({len(value)} characters)"
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value)
        return value if len(value) <= PAYLOAD_LIMIT else value[:PAYLOAD_LIMIT] + b"... (%d bytes)" % len(value)
    if value.__class__ in _ATOMS:
        return value
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    if depth == 0 and isinstance(value, (Mapping, list, tuple)):
        return "…"
    if isinstance(value, Mapping):
        return {_key(k): plain(v, depth - 1) for k, v in islice(value.items(), _ITEMS)}
    if isinstance(value, (list, tuple)):
        return [plain(v, depth - 1) for v in value[:_ITEMS]]
    return plain(_written(value), depth)


def _key(value: Any) -> Any:
    return value if value.__class__ in _ATOMS else plain(value if isinstance(value, str) else _written(value))


def _written(value: Any) -> str:
    """The `repr` of an object, the same on every run for a set too; of an object that has none, its class."""
    try:
        if isinstance(value, (set, frozenset)):
            return f"{{{', '.join(sorted(map(repr, value)))}}}"
        return repr(value)
    except Exception:  # whatever an application puts into a message, the recorder is not to fail
        return f"<{type(value).__name__}>"


def thaw(type: str, key: str | None, value: Any) -> dict[str, Any]:
    """The message that was recorded, from the last three columns of a row."""
    return marshal.loads(value) if key is None else {"type": type, key: value}
