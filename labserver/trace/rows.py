"""The rows of a picture: which events are drawn, between which lanes, with which words.

Room: pure values; between the state machine (`protocol`) and the two ways of drawing it (`diagram`, `svg`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import payload, protocol
from .codes import CLOSE_CODES, close_name
from .protocol import Mark

CLIENT, SERVER, CONSUMER, LAYER, CELL = "client", "server", "consumer", "channel layer", "cell"

TIDIED = "labserver tidied up after the consumer; Channels alone would leave it in its group"
"""The note to a `group_discard` that no code of the learner's asked for."""

_CODED = ("websocket.close", "websocket.disconnect")
_NAMED = CLOSE_CODES.keys() - {1005, 1006}  # of these two the wire tells


@dataclass(frozen=True, slots=True)
class Row:
    """One event, as it is drawn.

    connection, type: as in the event.
    source, target: the lanes that its arrow joins; equal for an error, which stays where it is raised.
    payload: what the event carries, on one line, unshortened.
    wire: what passes between client and server because of it, unshortened; empty if nothing does.
    inward: whether the wire's part comes from the client.
    mark, note: as in `protocol.Reading`.
    """

    connection: str
    type: str
    source: str
    target: str
    payload: str
    wire: str
    inward: bool
    mark: Mark
    note: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """What fits into one picture: the first rows, how many are left out after them, and the last rows."""

    head: tuple[Row, ...]
    omitted: int
    tail: tuple[Row, ...]
    connections: int
    total: int

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows that are drawn."""
        return self.head + self.tail

    @property
    def lanes(self) -> tuple[str, ...]:
        """The lanes that the rows touch, from left to right; client, server and consumer are always there."""
        touched = {lane for row in self.rows for lane in (row.source, row.target)}
        return (CLIENT, SERVER, CONSUMER, *(lane for lane in (LAYER, CELL) if lane in touched))

    @property
    def titles(self) -> dict[str, str]:
        """What is written over each lane: where there is HTTP only, it is no consumer that answers."""
        http = any(row.connection.startswith("http") for row in self.rows)
        socket = any(not row.connection.startswith(("http", "cell")) for row in self.rows)
        return {lane: lane for lane in self.lanes} | {CONSUMER: "application" if http and not socket else CONSUMER}


def sheet(events: Sequence[Any], scopes: Mapping[str, Mapping[str, Any]], head: int, tail: int) -> Sheet:
    """The rows of these events: all of them, or the first `head` and the last `tail` if there are more.

    Every event is read, since the state of a connection follows from all of them; only what is drawn is described.
    """
    readings = protocol.readings(events, scopes)
    whole = len(events) <= head + tail
    first, last = (len(events), len(events)) if whole else (head, len(events) - tail)
    drawn = [_row(events[i], readings[i]) for i in (*range(first), *range(last, len(events)))]
    connections = len({event.connection for event in events} - {"cell"})
    return Sheet(tuple(drawn[:first]), last - first, tuple(drawn[first:]), connections, len(events))


def _row(event: Any, reading: protocol.Reading) -> Row:
    source, target = _lanes(event)
    carried = payload.describe(event.direction, event.message)
    code = event.message.get("code")
    if event.type in _CODED and type(code) is int and code in _NAMED:
        carried += f" ({close_name(code)})"
    return Row(
        event.connection,
        payload.visible(event.type),
        source,
        target,
        carried,
        payload.stable(payload.visible(reading.wire)),
        event.direction == "receive",
        reading.mark,
        TIDIED if event.message.get("by") == "labserver" else payload.stable(payload.visible(reading.note)),
    )


def _lanes(event: Any) -> tuple[str, str]:
    here = CELL if event.connection == "cell" else CONSUMER
    if event.direction == "error":
        return here, here
    if event.direction == "layer":
        return (LAYER, here) if event.type in ("receive", "full") else (here, LAYER)
    return (CLIENT, here) if event.direction == "receive" else (here, CLIENT)
