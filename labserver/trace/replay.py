"""What became of a trace that was played to another application: both versions side by side.

Room: pure values, drawn by `compare_svg`. Who plays is `labserver.live.replay`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from . import compare_svg, payload
from .conversation import Step
from .literal import alike
from .protocol import AnyEvent

_COLUMNS = ("recorded", "replayed")
_TITLE = "The same clients, another application"
_HEADERS = (b"content-type", b"location")
_NOTHING = "nothing"


@dataclass(frozen=True)
class Difference:
    """One answer that is not what it was.

    connection: whose. after: what happened before it, from outside. recorded, replayed: the two events; None where
    there is none.
    """

    connection: str
    after: AnyEvent
    recorded: AnyEvent | None
    replayed: AnyEvent | None

    def __str__(self) -> str:
        was, now = _words(self.recorded), _words(self.replayed)
        return f"{self.connection}, after {_words(self.after)}: recorded {was}, replayed {now}"


@dataclass(frozen=True)
class _Pair:
    """A row of the picture: an event from outside, or two answers."""

    after: AnyEvent
    recorded: AnyEvent | None
    replayed: AnyEvent | None


class Replay:
    """What another application answered to the clients of a trace; `differences` is empty if it answered the same.

    Values that differ from run to run (times, random identifiers) count as the same where they look the same.
    """

    def __init__(self, steps: Sequence[Step], replayed: Sequence[Sequence[AnyEvent]]):
        self._rows: list[_Pair] = []
        for step, now in zip(steps, replayed, strict=True):
            self._rows.append(_Pair(step.cause, step.cause, step.cause))
            was = [answer.event for answer in step.answers]
            for name in dict.fromkeys(event.connection for event in (*was, *now)):
                self._rows += [_Pair(step.cause, *pair) for pair in _pairs(_of(name, was), _of(name, now))]

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The answers that are not what they were, in order."""
        return tuple(
            Difference((row.recorded or row.replayed).connection, row.after, row.recorded, row.replayed)
            for row in self._rows
            if _differs(row)
        )

    def __bool__(self) -> bool:
        return not self.differences

    def _summary(self) -> str:
        answers = sum(row.after is not row.recorded for row in self._rows)
        count = len(self.differences)
        if not count:
            return f"no difference: all {answers} answers are what they were"
        return f"{count} of {answers} answers {'differs' if count == 1 else 'differ'}"

    def _lines(self) -> list[compare_svg.Line]:
        return [compare_svg.Line(_cells(row), _differs(row)) for row in self._rows]

    def __str__(self) -> str:
        return f"{self._summary()}\n{compare_svg.text(_COLUMNS, self._lines())}"

    __repr__ = __str__

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        picture = compare_svg.side_by_side(_TITLE, self._summary(), _COLUMNS, self._lines())
        return {"text/plain": str(self), "image/svg+xml": picture}


def _of(name: str, events: Iterable[AnyEvent]) -> list[AnyEvent]:
    return [event for event in events if event.connection == name]


def _pairs(was: list[AnyEvent], now: list[AnyEvent]) -> list[tuple[AnyEvent | None, AnyEvent | None]]:
    """The answers of one connection, next to each other: equal ones first, from both ends."""
    head = 0
    while head < min(len(was), len(now)) and same(was[head], now[head]):
        head += 1
    tail = 0
    while tail < min(len(was), len(now)) - head and same(was[-1 - tail], now[-1 - tail]):
        tail += 1
    between = zip_longest(was[head : len(was) - tail], now[head : len(now) - tail])
    ends = zip(was[len(was) - tail :], now[len(now) - tail :], strict=True)
    return [*zip(was[:head], now[:head], strict=True), *between, *ends]


def same(one: AnyEvent | None, other: AnyEvent | None) -> bool:
    """Whether two answers are the same to a client, but for what differs from run to run."""
    if one is None or other is None or (one.direction, one.type) != (other.direction, other.type):
        return False
    return alike(_essence(one), _essence(other))


def _essence(event: AnyEvent) -> Any:
    """What a client gets of an event."""
    message: Mapping[str, Any] = event.message
    if event.direction == "error":
        return message.get("text", "")
    if event.type == "http.response.start":
        told = {bytes(pair[0]).lower(): pair[1] for pair in message.get("headers") or ()}
        return [message.get("status"), *(told.get(name) for name in _HEADERS)]
    told = {key: value for key, value in message.items() if value is not None and value is not False and value != []}
    return {**told, "code": told.get("code", 1000)} if event.type == "websocket.close" else told


def _differs(row: _Pair) -> bool:
    return row.recorded is not row.after and not same(row.recorded, row.replayed)


def _cells(row: _Pair) -> tuple[str, str]:
    if row.recorded is row.after:
        words = f"{row.after.connection} → {_words(row.after)}"
        return words, words
    return tuple(
        f"{event.connection} ← {_words(event)}" if event else _NOTHING for event in (row.recorded, row.replayed)
    )


def _words(event: AnyEvent | None) -> str:
    if event is None:
        return _NOTHING
    return f"{event.type} {payload.describe(event.direction, event.message)}".rstrip()
