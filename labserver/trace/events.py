"""What happened, as values: `Event`, and the `Trace` that people read.

Room: pure values; no Django, Twisted, Jupyter or network. The live recorder writes rows of atoms into a `Log`; the
`Event` objects of a `Trace` are made when somebody looks, and secrets are taken out before anybody sees them.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from labserver.errors import NotRecorded, TimeLimit

from . import order, redact
from .log import CELL, LIMIT, Log, plain, thaw

if TYPE_CHECKING:
    from .replay import Replay

__all__ = ["CELL", "LIMIT", "WAIT_LIMIT", "Event", "Log", "Trace", "plain"]

WAIT_LIMIT = 5.0
"""Seconds that anything in labserver waits for an event before it says what is missing."""


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


Play = Callable[[Sequence[Any], Sequence[Any], dict[str, dict[str, Any]], Any], Awaitable["Replay"]]
"""Plays the steps of a trace to an application; see `labserver.live.replay.play`."""


class Trace:
    """The events of a log from one moment on: everything a recorded scenario did on the wire.

    `str(trace)` is plain text, one event a line. In a notebook it is drawn as a sequence diagram. Both hold no time,
    port, address or random name: the same scenario gives the same bytes on every run. Events of different
    connections that raced each other are therefore put in one standing order (see `order`).
    """

    def __init__(self, log: Log, *, live=lambda: (), play: Play | None = None):
        self._log = log
        self._live = live
        self._play = play
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

    def newest(self, count: int) -> "Trace":
        """A trace of the newest `count` events of this one."""
        newest = Trace(self._log, live=self._live, play=self._play)
        newest._stop = self._log.total if self._stop is None else self._stop
        newest._start, newest._began = max(self._start, newest._stop - count), self._began
        return newest

    @property
    def names(self) -> dict[int, str]:
        """The name of each connection in this trace, by its number in the log."""
        return self._read()[2]

    @property
    def events(self) -> tuple[Event, ...]:
        """What happened, in order; the newest `LIMIT` events at most."""
        rows, _, names = self._read()
        return self._events(rows, names)

    @property
    def scopes(self) -> dict[str, dict[str, Any]]:
        """The ASGI scope of each connection (type, path, query string, headers, subprotocols), secrets redacted.

        `continued` is set for a connection that was there before the first event of this trace.
        """
        _, omitted, names = self._read()
        return self._scopes(names, omitted)

    @property
    def omitted(self) -> int:
        """How many events at the beginning are gone because the log keeps the newest ones only."""
        return self._read()[1]

    def wait_for(
        self, type: str, *, connection: str | None = None, count: int = 1, timeout: float = WAIT_LIMIT
    ) -> Event:
        """Block until an event of this type is in the trace `count` times, and return that event.

        Raises TimeLimit, with the trace so far, when `timeout` seconds have passed.
        """
        end = time.monotonic() + timeout
        seen = -1
        while True:
            if seen != self._log.total:  # looking is dear, waiting is not
                seen = self._log.total
                found = [e for e in self.events if e.type == type and connection in (None, e.connection)]
            if len(found) >= count:
                return found[count - 1]
            if time.monotonic() >= end:
                raise TimeLimit(
                    f"expected {count} × {type}{f' on {connection}' if connection else ''} within {timeout:g} s, found "
                    f"{len(found)}; look at what did happen:\n{self}"
                )
            time.sleep(0.001)

    def to_test(self, name: str, application: str | None = None) -> str:
        """The source of a pytest module that drives the same conversation and asserts what the application sent.

        name: of the test, such as `test_chat`. application: where the test finds the application, as
        `"mysite.asgi:application"`; by itself it finds what was served under a name that can be imported.
        Communicators play the clients; values that differ from run to run are matched by type or pattern; secrets
        become fixtures. Connections that talked to each other are in one test, others in tests of their own.
        Raises NotRecorded if connections were open before the trace began, or there are none.
        https://channels.readthedocs.io/en/stable/topics/testing.html
        """
        from . import testgen

        hide = testgen.Hidden()
        rows, omitted, names = self._read()
        events, scopes = self._events(rows, names, hide), self._scopes(names, omitted, hide)
        served = {names[n]: self._log.served(n) if application is None else application for n in names if n != CELL}
        return testgen.source(name, served, events, scopes, omitted, hide.names)

    async def replay(self, application: Any) -> "Replay":
        """Play the clients of this trace to another application, and compare what it answers.

        application: an ASGI application, its dotted name, or the live server for real sockets. The result shows both
        versions side by side; its `differences` are empty if there are none.
        Raises NotRecorded if connections were open before the trace began, NotAnApplication, or what keeps it from
        being played.
        """
        from .conversation import steps

        if self._play is None:
            raise NotRecorded("expected a trace of a live server, found one without; take server.trace or a recording")
        rows, omitted, names = self._read()
        exact, shown = self._events(rows, names, None), self._events(rows, names)  # what clients sent, they send
        scopes = self._scopes(names, omitted, None)
        return await self._play(steps(exact, scopes, omitted), steps(shown, scopes, omitted), scopes, application)

    def _read(self) -> tuple[list[tuple], int, dict[int, str]]:
        rows, omitted = self._log.rows(self._start, self._stop)
        seen = {row[1] for row in rows} | {value for row in rows for value in _mentioned(row)}
        return rows, omitted, self._log.names(seen | set(self._live()))

    def _events(
        self, rows: list[tuple], names: Mapping[int, str], hide: redact.Hide | None = redact.hidden
    ) -> tuple[Event, ...]:
        channels = self._log.channel_names(names)
        found = []
        for at, number, direction, type, key, value in order.settled(rows):
            message = thaw(type, key, value)
            if hide:
                message = redact.message(message, channels, hide)
            if direction == "layer" and message.get("channel").__class__ is int:
                message["channel"] = names.get(message["channel"], "a channel")
            found.append(Event(names[number], direction, type, message, at - self._began))
        return tuple(found)

    def _scopes(
        self, names: Mapping[int, str], omitted: int, hide: redact.Hide | None = redact.hidden
    ) -> dict[str, dict[str, Any]]:
        found = {name: self._log.scope(number) for number, name in names.items() if number != CELL}
        if hide:
            found = {name: redact.scope(scope, hide) for name, scope in found.items()}
        for number, name in names.items():
            if number != CELL and self._log.opened(number) < self._start + omitted:
                found[name]["continued"] = True
        return found

    def _view(self) -> tuple[tuple[Event, ...], dict[str, dict[str, Any]], int]:
        """Events, scopes and the number omitted, all of one moment: the server may be running on."""
        rows, omitted, names = self._read()
        return self._events(rows, names), self._scopes(names, omitted), omitted

    def __len__(self) -> int:
        return len(self._read()[0])

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __repr__(self) -> str:
        return f"<Trace of {len(self)} events>"

    def __str__(self) -> str:
        return _diagram().text(*self._view())

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        view, diagram = self._view(), _diagram()
        return {"text/plain": diagram.text(*view), "image/svg+xml": diagram.svg(*view)}


def _diagram() -> ModuleType:
    """Imported when somebody looks: starting a server need not wait for it."""
    from . import diagram

    return diagram


def _mentioned(row: tuple) -> tuple[int, ...]:
    """The connections that a layer event speaks of beside its own: the target of a `send` to one channel."""
    _, _, direction, type, key, value = row
    if direction == "layer" and type == "send" and key is None:
        target = thaw(type, key, value).get("channel")
        return (target,) if target.__class__ is int else ()
    return ()
