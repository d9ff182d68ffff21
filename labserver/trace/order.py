"""One standing order for events that raced.

Room: pure values, called by `events` alone. Rows are those of `log`: (at, connection, direction, type, key, value).

Two members of a group get one message: which of them answers first differs from run to run, and a picture that
changes with it teaches nothing and cannot be compared. So the rows are cut into *turns*. A turn begins with
something from outside (a client's event, a call from a cell) or with something that happened by itself later than
`SETTLE` after its cause (a timer, a handler that slept). What follows from it at once belongs to the same turn. Turns
keep their order in time; inside a turn each connection keeps its own order, a delivery stays behind the send that
caused it, and otherwise the connection that arrived first goes first.
"""

from collections import Counter, deque
from heapq import heappop, heappush

from .log import thaw

SETTLE = 0.1
"""Seconds within which a reaction counts as immediate. Lessons that show an order in time wait 0.3 s or more."""

_SENDS = ("send", "group_send")
_ANSWERS = {  # what the server tells the application because of the application's own last word
    "websocket.disconnect": "websocket.close",
    "http.disconnect": "http.response.body",
}


def settled(rows: list[tuple]) -> list[tuple]:
    """The rows in their standing order."""
    turns: list[list[tuple[tuple, str]]] = []
    last: dict[int, tuple[float, int, str]] = {}  # connection -> time, turn and type of its newest row
    sends: dict[str, tuple[float, int]] = {}  # what was sent through the layer -> time and turn
    late: tuple[float, int] | None = None  # the newest turn that something began by itself
    for row in rows:
        at, connection, _, type, _, _ = row
        content = _content(row)
        turn = None if _from_outside(row, last) else _of_cause(row, content, last, sends, late)
        if turn is None:
            turn = len(turns)
            turns.append([])
            if not _from_outside(row, last):
                late = (at, turn)
        turns[turn].append((row, content))
        last[connection] = (at, turn, type)
        if type in _SENDS:
            sends[content] = (at, turn)
    return [row for turn in turns for row in _in_turn(turn)]


def _from_outside(row: tuple, last: dict[int, tuple[float, int, str]]) -> bool:
    at, connection, direction, type, _, _ = row
    if connection == 0:
        return True
    if direction == "error" and connection not in last:
        return True  # refused, or crashed, before it received anything: its client has just come
    if type in _ANSWERS and connection in last:
        then, _, before = last[connection]
        return before != _ANSWERS[type] or at - then > SETTLE
    return direction == "receive"


def _of_cause(row: tuple, content: str, last: dict, sends: dict, late: tuple[float, int] | None) -> int | None:
    """The turn that this row belongs to because something caused it just before; None if it begins one."""
    at, connection, _, type, _, _ = row
    causes = [last[connection][:2]] if connection in last else []
    if type == "receive" and content in sends:
        causes.append(sends[content])
    if not causes:
        return late[1] if late and at - late[0] <= SETTLE else None
    then, turn = max(causes, key=lambda cause: cause[1])
    if at - then <= SETTLE:
        return turn
    if late and at - late[0] <= SETTLE:
        return max(turn, late[1])  # never ahead of what caused it
    return None


def _content(row: tuple) -> str:
    """What a layer row carries, in a form that is equal for the send and for its deliveries."""
    _, _, direction, type, key, value = row
    return repr(thaw(type, key, value).get("message")) if direction == "layer" else ""


def _in_turn(rows: list[tuple[tuple, str]]) -> list[tuple]:
    """Each connection's rows in their own order; deliveries behind their send; else the earliest connection first."""
    queues: dict[int, deque] = {}
    for row, content in rows:
        queues.setdefault(row[1], deque()).append((row, content))
    sends = Counter(content for row, content in rows if row[3] in _SENDS)
    sent: Counter = Counter()
    got: Counter = Counter()  # deliveries, by connection and content: the second one follows the second send
    ready: list[int] = []
    waiting: list[int] = []

    def line_up(connection: int) -> None:
        if not queues[connection]:
            return
        row, content = queues[connection][0]
        held = row[3] == "receive" and sent[content] < min(got[connection, content] + 1, sends[content])
        waiting.append(connection) if held else heappush(ready, connection)

    for connection in queues:
        line_up(connection)
    result = []
    while ready or waiting:
        # nobody ready: a delivery stands before the only send that equals it, so that send was not its cause
        connection = heappop(ready) if ready else min(waiting)
        if connection in waiting:
            waiting.remove(connection)
        row, content = queues[connection].popleft()
        result.append(row)
        if row[3] == "receive":
            got[connection, content] += 1
        if row[3] in _SENDS:
            sent[content] += 1
            held, waiting[:] = waiting[:], []
            for each in held:
                line_up(each)
        line_up(connection)
    return result
