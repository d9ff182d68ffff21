"""Plays the clients of a trace to another application, and gives what it answered.

Room: communicators for an application, real clients for the live server. What is a difference is decided by
`labserver.trace.replay`; nothing that is played here stands in `server.trace`, but for what the live server serves.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from labserver.errors import TimeLimit
from labserver.trace.conversation import Step
from labserver.trace.events import WAIT_LIMIT, Event, Log, Trace
from labserver.trace.protocol import target
from labserver.trace.replay import Replay

from .layers import Layers, here
from .settling import dealt_with, recording

_MORE = 0.5
"""Seconds beyond the double of what it took in the recording, that something which comes by itself may take."""

_MADE_BY_CLIENTS = {b"host", b"origin", b"connection", b"upgrade", b"user-agent", b"content-length"}


async def play(steps: Sequence[Step], shown: Sequence[Step], scopes: dict[str, dict], target: Any) -> Replay:
    """Play these steps, and compare what is answered with what `shown` says.

    steps: with all that clients sent, secrets too. shown: the same, as people may see it. scopes: of each connection.
    target: an application, or a LiveServer.
    """
    from .server import LiveServer, checked

    stage = _Sockets(target) if isinstance(target, LiveServer) else _Communicators(checked(target))
    found: list[Sequence[Event]] = []
    with stage.layers():
        try:
            for step in steps:
                before = stage.log.total
                await stage.do(step.cause, scopes.get(step.cause.connection, {}))
                await _late(stage, step, before)
                found.append(stage.answers(before))
        finally:
            await stage.end()
    return Replay(shown, found)


async def _late(stage: Any, step: Step, before: int) -> None:
    """Wait for what came by itself, if it came in the recording: as long as it took there, and a bit."""
    late = [answer.late for answer in step.answers if answer.by_itself]
    end = time.monotonic() + 2 * math.fsum(late) + _MORE
    while late and len(stage.answers(before)) < len(step.answers) and time.monotonic() < end:
        await asyncio.sleep(0.005)


class _Stage:
    """Where a trace is played: who connects, and what is answered."""

    log: Log

    def __init__(self) -> None:
        self.numbers: dict[int, str] = {}

    def layers(self) -> Any:
        """Inside it, the channel layers of the stage are in use."""
        return contextlib.nullcontext()

    def answers(self, before: int) -> list[Event]:
        """What the application sent or raised after so many events, by the names of the recording."""
        trace = Trace(self.log)
        trace._start = before
        names = {name: self.numbers.get(number) for number, name in trace.names.items()}
        lost = {event.connection for event in trace.events if event.type == "NoRoute"}
        return [
            Event(names[event.connection], event.direction, event.type, event.message, event.at)
            for event in trace.events
            if names[event.connection] and event.direction in ("send", "error")
            if event.type == "NoRoute" or event.connection not in lost
        ]

    async def call(self, cause: Event) -> None:
        """A call of the channel layer from a cell."""
        from channels.layers import get_channel_layer

        to = cause.message.get("group", cause.message.get("channel"))
        if layer := get_channel_layer():
            await getattr(layer, cause.type)(to, cause.message["message"])


class _Communicators(_Stage):
    """An application and its communicators, with channel layers of their own."""

    def __init__(self, application: Callable):
        super().__init__()
        self.log = Log()
        self.recorder = recording(self.log)
        self.recorder.swap(application)
        self._layers = Layers(self.log, here)
        self._clients: dict[str, Any] = {}
        self._received: dict[str, int] = {}
        self._asked: set[int] = set()  # the numbers of those whose request is complete

    def layers(self) -> Any:
        return self._layers.alone()

    async def do(self, cause: Event, scope: dict[str, Any]) -> None:
        """Let a client do this, and wait until all is quiet again."""
        from asgiref.testing import ApplicationCommunicator

        name = cause.connection
        if name == "cell":
            await self.call(cause)
        elif name not in self._clients:
            self._clients[name] = ApplicationCommunicator(self.recorder, _whole(scope))
            self.numbers[len(self._clients)] = name
            self._received[name] = 0
        if name != "cell" and not self._clients[name].future.done():
            self._received[name] += 1
            await self._clients[name].input_queue.put(dict(cause.message))
        await asyncio.sleep(0)  # the first time round, its task has not begun
        number = next((number for number, each in self.numbers.items() if each == name), 0)
        if cause.type == "http.request" and not cause.message.get("more_body"):
            self._asked.add(number)
        with contextlib.suppress(TimeLimit):  # it waits for something else: what it sends later is seen later
            await dealt_with(self.recorder, number, self._received.get(name, 0), self._idle)

    def _idle(self, number: int) -> bool:
        """Whether a connection waits for its client alone; a view of Django's does so while it makes its response."""
        working = number in self._asked and self.recorder.live[number].state == "connecting"
        return not working and self._layers.idle(number)

    async def end(self) -> None:
        """Cancel what is left."""
        running = [each.future for each in self._clients.values()]
        for each in running:
            each.cancel()
        if running:
            await asyncio.wait(running)
            for each in running:
                each.cancelled() or each.exception()  # asked for, so that the loop does not complain


class _Sockets(_Stage):
    """The live server and clients of its own."""

    def __init__(self, server: Any):
        super().__init__()
        self._server = server
        self._bodies: dict[str, bytes] = {}
        self.log = server._log
        self._clients: dict[str, Any] = {}

    async def do(self, cause: Event, scope: dict[str, Any]) -> None:
        """Let a client do this, and wait until all is quiet again."""
        from websockets.exceptions import ConnectionClosed, InvalidHandshake

        if cause.connection == "cell":
            await self.call(cause)
        elif cause.type == "websocket.connect":
            self.numbers[self.log.last + 1] = cause.connection
            with contextlib.suppress(InvalidHandshake, TimeLimit):  # it stands in the trace
                self._clients[cause.connection] = await self._connect(scope)
        elif cause.type == "http.request":
            body = self._bodies.get(cause.connection, b"") + cause.message.get("body", b"")
            self._bodies[cause.connection] = body
            if not cause.message.get("more_body"):
                self.numbers[self.log.last + 1] = cause.connection
                await self._request(scope, body)
        elif (client := self._clients.get(cause.connection)) is not None:
            with contextlib.suppress(ConnectionClosed):
                if cause.type == "websocket.disconnect":
                    code = cause.message.get("code")
                    await client.close(code if type(code) is int and 3000 <= code <= 4999 else 1000)
                else:
                    text = cause.message.get("text")
                    await client.send(cause.message["bytes"] if text is None else text)
        await self._server._settled()

    async def _connect(self, scope: dict[str, Any]) -> Any:
        said = {bytes(name).lower(): bytes(value) for name, value in scope.get("headers") or ()}
        more = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in said.items()
            if name not in _MADE_BY_CLIENTS and not name.startswith((b"sec-", b"accept"))
        }
        origin = {} if b"origin" in said else {"origin": None}
        offered = scope.get("subprotocols") or None
        return await self._server.connect(_asked(scope), additional_headers=more, subprotocols=offered, **origin)

    async def _request(self, scope: dict[str, Any], body: bytes) -> None:
        import httpx

        headers = [
            (bytes(name), bytes(value))
            for name, value in scope.get("headers") or ()
            if bytes(name).lower() not in _MADE_BY_CLIENTS
        ]
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=WAIT_LIMIT) as client:
            with contextlib.suppress(httpx.HTTPError):  # cut off, or never answered: it stands in the trace
                await client.request(
                    scope.get("method", "GET"),
                    self._server.url + _asked(scope),
                    headers=headers,
                    content=body,
                )

    async def end(self) -> None:
        """Close what is left."""
        for client in self._clients.values():
            await client.close()
        await self._server._settled()


def _asked(scope: dict[str, Any]) -> str:
    from urllib.parse import quote

    return target({**scope, "path": quote(str(scope.get("path", "/")))})


def _whole(scope: dict[str, Any]) -> dict[str, Any]:
    """A scope with all that daphne puts into it, from what is kept of one."""
    path = str(scope.get("path", "/"))
    kind = scope.get("type", "websocket")
    more = {"method": "GET", "http_version": "1.1", "scheme": "http"} if kind == "http" else {"subprotocols": []}
    return {
        "asgi": {"version": "3.0"},
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "client": ["127.0.0.1", 0],
        "server": ["127.0.0.1", 80],
        **more,
        **scope,
        "headers": [(bytes(name), bytes(value)) for name, value in scope.get("headers") or ()],
    }
