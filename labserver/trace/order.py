"""One standing order for events that raced.

Room: pure values, called by `events` alone. Rows are the log's: (at, connection, direction, type, key, value).

Two members of a group get one message: which of them answers first differs from run to run, and a picture that
changes with it teaches nothing and cannot be compared. So the rows are cut into *turns*. A turn begins with
something from outside (a client's event, a call from a cell) or with something that happened by itself later than
`SETTLE` after its cause (a timer, a handler that slept). What follows from it at once belongs to the same turn. Turns
keep their order in time; inside a turn each connection keeps its own order, a delivery stays behind the send that
caused it, and otherwise the connection that arrived first goes first.
"""

import marshal
from collections import deque
from heapq import heappop, heappush

SETTLE = 0.1
"""Seconds within which a reaction counts as immediate. Lessons that show an order in time wait 0.3 s or more."""

_SENDS = ("send", "group_send")


def settled(rows: list[tuple]) -> list[tuple]:
    """The rows in their standing order."""
    turns: list[list[tuple[tuple, str]]] = []
    last: dict[int, tuple[float, int, str]] = {}  # connection -> time, turn and type of its newest row
    sends: dict[str, tuple[float, int]] = {}  # what was sent through the layer -> time and turn
    late: tuple[float, int] | None = None
    for row in rows:
        at, connection, _, type, _, _ = row
        content = _content(row)
        if _from_outside(row, last):
            turn = _begin(turns)
        else:
            causes = [last[connection][:2]] if connection in last else []
            if type == "receive" and content in sends:
                causes.append(sends[content])
            cause = max(causes, default=None, key=lambda c: c[1])
            if cause is not None and at - cause[0] <= SETTLE:
                turn = cause[1]
            elif late is not None and at - late[0] <= SETTLE:
                turn = late[1]
            else:
                turn = _begin(turns)
                late = (at, turn)
        turns[turn].append((row, content))
        last[connection] = (at, turn, type)
        if type in _SENDS:
            sends[content] = (at, turn)
    return [row for turn in turns for row in _in_turn(turn)]


def _begin(turns: list) -> int:
    turns.append([])
    return len(turns) - 1


def _from_outside(row: tuple, last: dict[int, tuple[float, int, str]]) -> bool:
    at, connection, direction, type, _, _ = row
    if connection == 0:
        return True
    if type == "websocket.disconnect" and connection in last:
        then, _, before = last[connection]
        return not (before == "websocket.close" and at - then <= SETTLE)  # the answer to our own close frame
    return direction == "receive"


def _content(row: tuple) -> str:
    """What a layer row carries, in a form that is equal for the send and for its deliveries."""
    _, _, direction, _, key, value = row
    return repr(marshal.loads(value).get("message")) if direction == "layer" and key is None else ""


def _in_turn(rows: list[tuple[tuple, str]]) -> list[tuple]:
    """Each connection's rows in their own order; deliveries behind their send; else the earliest connection first."""
    queues: dict[int, deque] = {}
    for row, content in rows:
        queues.setdefault(row[1], deque()).append((row, content))
    unsent = {content for row, content in rows if row[3] in _SENDS and content}
    ready: list[int] = []
    waiting: dict[str, list[int]] = {}

    def line_up(connection: int) -> None:
        if queues[connection]:
            row, content = queues[connection][0]
            if row[3] == "receive" and content in unsent:
                waiting.setdefault(content, []).append(connection)
            else:
                heappush(ready, connection)

    for connection in queues:
        line_up(connection)
    result = []
    while len(result) < len(rows):
        if not ready:  # a delivery stands before the only send that equals it: that send was not its cause
            content = min(waiting, key=lambda c: min(waiting[c]))
            ready.extend(sorted(waiting.pop(content)))
        connection = heappop(ready)
        row, content = queues[connection].popleft()
        result.append(row)
        if row[3] in _SENDS:
            unsent.discard(content)
            for held in waiting.pop(content, ()):
                heappush(ready, held)
        line_up(connection)
    return result
