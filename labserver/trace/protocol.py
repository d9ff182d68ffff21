"""What the events of one connection mean: its state, what goes over the wire, and which rule was broken.

Room: pure values. `Connection` is fed the events of one connection in order and gives a `Reading` for each. It knows
the ASGI specification (https://asgi.readthedocs.io/en/latest/specs/www.html, version 2.5) and what daphne 4.2 makes of
it. Nothing here reads or writes a socket.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from .codes import closable, status_line


class State(StrEnum):
    """Where a connection stands, as the application is to see it.

    A WebSocket is `connecting` until it is accepted, `open` until the application closes, refuses or crashes, then
    `closing`, and `closed` once the application has been told of the disconnect. An HTTP exchange is `connecting`
    until the response starts, `open` until it is complete, then `closing`, and `closed` after `http.disconnect`.
    """

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Mark(StrEnum):
    """What a picture has to point at."""

    NONE = ""
    REFUSED = "refused"
    CRASH = "crash"
    CLOSE = "close"
    BROKEN = "broken rule"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one event means.

    wire: what passes between client and server because of it; empty if nothing does. An event that was received came
        from the client, all else goes to the client.
    mark: what a picture has to point at.
    note: the rule that was broken, or what the client sees instead, in plain words; often empty.
    state: the state of the connection after the event.
    """

    wire: str
    mark: Mark
    note: str
    state: State


FULL = "the channel is full of unread messages: this one is lost, and nobody is told"
"""Channels' layers drop what exceeds a channel's capacity (https://channels.readthedocs.io/en/stable/channel_layer_spec.html)."""


class AnyEvent(Protocol):
    """The part of `events.Event` that is read here."""

    connection: str
    direction: str
    type: str
    message: Mapping[str, Any]


def target(scope: Mapping[str, Any]) -> str:
    """The path and the query string that the client asked for."""
    query = scope.get("query_string") or b""
    query = query.decode("latin-1") if isinstance(query, bytes) else str(query)
    return f"{scope.get('path', '…')}{'?' if query else ''}{query}"


def readings(events: Iterable[AnyEvent], scopes: Mapping[str, Mapping[str, Any]]) -> list[Reading]:
    """A reading for each event of a trace; the connections are kept apart, and a scope may be missing."""
    connections: dict[str, Connection] = {}
    found = []
    for event in events:
        if event.connection not in connections:
            kind = Http if event.connection.startswith("http") else WebSocket
            connections[event.connection] = kind(scopes.get(event.connection, {}))
        found.append(connections[event.connection].read(event))
    return found


class Connection(ABC):
    """One connection, fed with its events in order."""

    def __init__(self, scope: Mapping[str, Any]):
        self.scope = scope
        self.state = State.CONNECTING
        self._unknown = not scope or bool(scope.get("continued"))  # its beginning is not in the trace

    def read(self, event: AnyEvent) -> Reading:
        """What this event means now that those before it have happened."""
        if event.direction == "layer":
            return self._reading(note=FULL if event.type == "full" else "")
        if self._unknown:
            self.state = self._joined(event.type)
            self._unknown = False
        if event.direction == "error":
            return self._error(event)
        if event.direction == "send":
            return self._send(event.type, event.message)
        if self.state is State.CLOSED:
            return self._broken("nothing can be received after the disconnect")
        return self._receive(event.type, event.message)

    def _reading(self, wire: str = "", mark: Mark = Mark.NONE, note: str = "", then: State | None = None) -> Reading:
        self.state = then or self.state
        return Reading(wire, mark, note, self.state)

    def _broken(self, rule: str) -> Reading:
        return self._reading("", Mark.BROKEN, rule)

    def _error(self, event: AnyEvent) -> Reading:
        where = str(event.message.get("where") or "")
        if event.type == "NoRoute":  # the recorder's own: the refusal itself follows
            return self._reading("", Mark.REFUSED, where)
        if event.type == "Returned":  # the recorder's own, too
            return self._broken("an application runs until its connection is closed, or its response complete")
        if event.connection == "cell":
            return self._reading("", Mark.CRASH, where)
        wire, effect = self._crash()
        note = "; ".join(part for part in (where, effect) if part)
        return self._reading(wire, Mark.CRASH, note, State.CLOSING if wire else None)

    @abstractmethod
    def _joined(self, type: str) -> State:
        """The state in which this event finds a connection whose beginning is not known."""

    @abstractmethod
    def _send(self, type: str, message: Mapping[str, Any]) -> Reading:
        """What the application sent, in every state."""

    @abstractmethod
    def _receive(self, type: str, message: Mapping[str, Any]) -> Reading:
        """What the application received; it is not closed yet."""

    @abstractmethod
    def _crash(self) -> tuple[str, str]:
        """What an exception puts on the wire, and what else it means to the client."""


class WebSocket(Connection):
    """A WebSocket connection: https://asgi.readthedocs.io/en/latest/specs/www.html#websocket."""

    _refused = False

    def _joined(self, type: str) -> State:
        begins = type in ("websocket.connect", "websocket.accept", "NoRoute")
        return State.CONNECTING if begins else State.OPEN

    def _receive(self, type: str, message: Mapping[str, Any]) -> Reading:
        if type == "websocket.connect":
            return self._reading(f"GET {target(self.scope)} Upgrade: websocket")
        if type == "websocket.receive":
            return self._reading(_frame(message))
        if type == "websocket.disconnect":
            if self._refused:  # the refusal was the end of it; daphne says 1006 here
                return self._reading(then=State.CLOSED)
            code = message.get("code")
            wire = "connection lost" if code == 1006 else f"close frame {code}"
            if code in (None, 1005):
                wire = "close frame without a code"
            return self._reading(wire, Mark.CLOSE, "", State.CLOSED)
        return self._reading()

    def _send(self, type: str, message: Mapping[str, Any]) -> Reading:
        if type not in ("websocket.accept", "websocket.send", "websocket.close"):
            return self._broken(f"a WebSocket application accepts, sends or closes; daphne drops {type}")
        if self.state is State.CLOSED:
            return self._broken(f"{type} after the disconnect: nobody is there to get it")
        if self.state is State.CLOSING:
            return self._broken(f"{type} after the {'refusal' if self._refused else 'close'}: nothing may follow")
        if type == "websocket.accept":
            return self._accept(message)
        if type == "websocket.send":
            return self._payload(message)
        return self._close(message)

    def _accept(self, message: Mapping[str, Any]) -> Reading:
        if self.state is State.OPEN:
            return self._broken("accept once only: the server raises")
        chosen = message.get("subprotocol")
        if chosen is not None and chosen not in self.scope.get("subprotocols", [chosen]):
            return self._broken(f"the client did not offer the subprotocol {chosen!r}: the handshake never ends")
        note = "daphne drops the headers of websocket.accept" if message.get("headers") else ""
        return self._reading("101 Switching Protocols", Mark.NONE, note, State.OPEN)

    def _payload(self, message: Mapping[str, Any]) -> Reading:
        if self.state is State.CONNECTING:
            return self._broken("accept before you send: the server raises")
        text, data = message.get("text"), message.get("bytes")
        if text and data:
            return self._broken("send text or bytes, never both: the server raises")
        if text is None and data is None:
            return self._broken("websocket.send needs text or bytes: nothing is sent")
        if not text and not data:
            return self._reading("", Mark.NONE, "daphne sends nothing for an empty message")
        return self._reading(_frame(message))

    def _close(self, message: Mapping[str, Any]) -> Reading:
        code = message.get("code")
        if self.state is State.CONNECTING:
            self._refused = True
            unseen = f", never {code}" if code is not None else ""
            note = f"closed before it was accepted: the client gets HTTP 403{unseen}"
            return self._reading("403 Forbidden", Mark.REFUSED, note, State.CLOSING)
        code = 1000 if code is None else code
        if not closable(code):
            return self._broken(f"an application closes with 1000 or 3000 to 4999, not {code!r}: the server raises")
        note = "daphne drops the reason" if message.get("reason") else ""
        return self._reading(f"close frame {code}", Mark.CLOSE, note, State.CLOSING)

    def _crash(self) -> tuple[str, str]:
        if self.state is State.CONNECTING:
            self._refused = True
            return "500 Internal Server Error", ""
        if self.state is State.OPEN:
            return "close frame 1011", ""
        return "", "the connection was closing already: the client does not notice"


class Http(Connection):
    """An HTTP request and its response: https://asgi.readthedocs.io/en/latest/specs/www.html#http."""

    _requested = False

    def _joined(self, type: str) -> State:
        later = {"http.response.body": State.OPEN, "http.disconnect": State.CLOSING}
        return later.get(type, State.CONNECTING)

    def _receive(self, type: str, message: Mapping[str, Any]) -> Reading:
        if type == "http.request":
            first, self._requested = not self._requested, True
            return self._reading(f"{self.scope.get('method', 'GET')} {target(self.scope)}" if first else "body")
        if type == "http.disconnect" and self.state is State.CLOSING:
            return self._reading(then=State.CLOSED)
        if type == "http.disconnect":
            note = "the client left before the response was complete"
            return self._reading("connection lost", Mark.CLOSE, note, State.CLOSED)
        return self._reading()

    def _send(self, type: str, message: Mapping[str, Any]) -> Reading:
        if type not in ("http.response.start", "http.response.body"):
            return self._broken(f"an HTTP response is http.response.start and .body, not {type}: the server raises")
        if self.state in (State.CLOSING, State.CLOSED):
            return self._broken(f"{type} after the end of the response: nothing is sent")
        if type == "http.response.start":
            if self.state is State.OPEN:
                return self._broken("one http.response.start a response: the server raises")
            return self._reading(status_line(message.get("status")), then=State.OPEN)
        if self.state is State.CONNECTING:
            return self._broken("http.response.start comes before the body: the server raises")
        return self._reading("body", then=None if message.get("more_body") else State.CLOSING)

    def _crash(self) -> tuple[str, str]:
        if self.state is State.CONNECTING:
            return "500 Internal Server Error", ""
        if self.state is State.OPEN:
            return "", "the status is already sent: the client waits for the rest of the response"
        return "", "the response was complete: the client does not notice"


def _frame(message: Mapping[str, Any]) -> str:
    binary = message.get("text") is None or (not message["text"] and message.get("bytes"))
    return "binary frame" if binary else "text frame"
