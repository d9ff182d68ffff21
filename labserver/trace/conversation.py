"""A trace as conversations: what came from outside, step by step, and what the application answered.

Room: pure values. `testgen` writes a conversation down as a test, `labserver.live.replay` plays it to another
application.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from labserver.errors import NotRecorded

from .order import SETTLE
from .protocol import AnyEvent

_CALLS = ("send", "group_send")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an application sent or raised.

    event: of direction `send` or `error`. late: seconds since the event before it; more than `SETTLE` if nothing but
    time has caused it. raced: whether a client's event and a delivery were waiting for the application at once, so
    that another run may answer them in another order.
    """

    event: AnyEvent
    late: float
    raced: bool = False

    @property
    def by_itself(self) -> bool:
        """Whether it came later than any reaction comes: a timer, or a handler that slept."""
        return self.late > SETTLE


@dataclass(frozen=True, slots=True)
class Step:
    """One event from outside (a client's, or a cell's call of the channel layer), and the answers until the next.

    heard: the connections to which the channel layer delivered what was sent because of it.
    """

    cause: AnyEvent
    answers: list[Answer] = field(default_factory=list)
    heard: set[str] = field(default_factory=set)

    @property
    def connections(self) -> set[str]:
        """Those that the step is about."""
        return {self.cause.connection, *self.heard, *(answer.event.connection for answer in self.answers)} - {"cell"}


def steps(events: Sequence[AnyEvent], scopes: dict[str, dict[str, Any]], omitted: int = 0) -> list[Step]:
    """The steps of a trace, in order.

    Raises NotRecorded if connections were open before the trace began, or its first events are gone.
    """
    joined = sorted(name for name, scope in scopes.items() if scope.get("continued"))
    if joined or omitted:
        found = f"that of {', '.join(joined)} is not in it" if joined else f"{omitted:,} earlier events are gone"
        raise NotRecorded(
            f"expected a trace with the handshake of each of its connections, found that {found}; connect inside of "
            "`with server.record() as trace:`, or call trace.clear() first"
        )
    found: list[Step] = []
    before, refused, there, deliveries = None, set(), {"cell"}, _Deliveries()
    for event in events:
        if event.direction == "receive" or (event.connection == "cell" and event.type in _CALLS):
            found.append(Step(event))
        elif event.direction in ("send", "error") and event.connection not in refused:
            if event.connection not in there:  # it did not even look at what its client wants
                found.append(Step(_opening(event)))
            if found:
                step, raced = deliveries.cause(event.connection, found[-1])
                step.answers.append(Answer(event, event.at - before.at if before else 0, raced))
        deliveries.see(event, found)
        if event.direction != "layer":  # it may join a group before it looks
            there.add(event.connection)
        if event.direction == "error" and event.type == "NoRoute":
            refused.add(event.connection)  # what follows is said by the lab's server, not by the application
        before = event
    return found


class _Deliveries:
    """Which step a delivery by the channel layer belongs to: the one that sent it, even if others have begun since.

    A client may go on while its message is on its way to all. A test that waits for the message first is a steady one.
    Where both have come before the application has answered either, nobody has promised an order.
    """

    def __init__(self) -> None:
        self._sent: dict[str, Step] = {}
        self._to: dict[str, Step] = {}
        self._waiting: dict[str, str] = {}  # connection -> what it has not answered yet: `client` or `layer`
        self._raced: set[str] = set()

    def cause(self, connection: str, last: Step) -> tuple[Step, bool]:
        """The step that an answer belongs to, and whether its order is a matter of luck."""
        if connection in self._raced:
            return last, True
        return self._to.get(connection, last), False

    def see(self, event: AnyEvent, found: list[Step]) -> None:
        """Take note of what an application got, called and sent."""
        name = event.connection
        if event.direction == "receive":
            self._to.pop(name, None)
            self._raced.discard(name)
            self._comes(name, "client")
        elif event.direction == "layer" and found:
            content = repr(event.message.get("message"))
            if event.type in _CALLS:
                self._sent[content] = self._to.get(name, found[-1])
                self._waiting.pop(name, None)
            elif event.type == "receive" and content in self._sent:
                self._to[name] = self._sent[content]
                self._to[name].heard.add(name)
                self._comes(name, "layer")
        elif event.direction == "send":
            self._waiting.pop(name, None)

    def _comes(self, name: str, whence: str) -> None:
        if self._waiting.get(name, whence) != whence:
            self._raced.add(name)
        self._waiting[name] = whence


def _opening(event: AnyEvent) -> AnyEvent:
    """The event with which a client comes, for a connection whose application never received it."""
    type = "http.request" if event.connection.startswith("http") else "websocket.connect"
    return replace(event, direction="receive", type=type, message={"type": type})


def apart(found: Iterable[Step], events: Iterable[AnyEvent]) -> list[list[Step]]:
    """The steps of connections that have nothing to do with each other, apart, in order of their first step.

    Together belong: whom one step is about, and who was in a group at the same time. A cell's call that nobody
    heard belongs to nobody.
    """
    found = [step for step in found if step.connections]
    together: dict[str, set[str]] = {}
    for some in [*(step.connections for step in found), *_met(events)]:
        union = some.union(*(together.get(each, ()) for each in some))
        together.update(dict.fromkeys(union, union))
    parts: dict[int, list[Step]] = {}
    for step in found:
        parts.setdefault(id(together[min(step.connections)]), []).append(step)
    return list(parts.values())


def _met(events: Iterable[AnyEvent]) -> list[set[str]]:
    """Who was in a group when somebody joined it, for each time that somebody did."""
    members: dict[str, set[str]] = {}
    met = []
    for event in events:
        if event.direction == "layer" and event.type == "group_add" and event.connection != "cell":
            group = members.setdefault(event.message["group"], set())
            group.add(event.connection)
            met.append(set(group))
        elif event.direction == "layer" and event.type == "group_discard":
            members.get(event.message["group"], set()).discard(event.connection)
        elif event.type == "websocket.disconnect":
            for group in members.values():
                group.discard(event.connection)
    return met
