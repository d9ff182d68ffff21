"""The ASGI callable that stands in front of every application: it records, and it speaks up when one crashes.

Room: plain asyncio and the trace; no Twisted, no Django, no sockets. It changes nothing on the wire, but for two things
that daphne would answer with a bare HTTP 500: a path that no route matches is refused (403 for a WebSocket, 404 for
HTTP), and both tell the learner why.
"""

import asyncio
import inspect
import linecache
import re
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from labserver.trace.events import CELL, Log

current: ContextVar[int] = ContextVar("labserver_connection", default=CELL)
"""The connection that the running code serves."""

_LIBRARIES = (str(Path(inspect.__file__).parent), str(Path(__file__).parents[1]))
_INSTALLED = ("site-packages", "dist-packages")


@dataclass(eq=False, slots=True)
class Connection:
    """A connection that is being served, as the server sees it."""

    number: int
    scope: dict
    version: int
    state: str = "connecting"
    waiting: bool = False
    refused: bool = False  # the server would not take what the application sent
    running: Any = field(default=None, repr=False)


class Recorder:
    """Runs the current application for each connection, and records what passes."""

    def __init__(self, log: Log, crashed: Callable[[int], Awaitable[None]], tell: Callable[..., None] | None = None):
        self.log = log
        self._tell = tell or say
        self.application: Callable | None = None
        self.version = 0
        self.served = ""
        self.live: dict[int, Connection] = {}
        self._crashed = crashed

    def swap(self, application: Callable, served: str = "") -> None:
        """New connections get this application; open ones keep theirs.

        served: where it can be imported, as `package.module:expression`, for tests made from what is recorded.
        """
        self.application = application
        self.served = served
        self.version += 1

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        application, add, number = self.application, self.log.add, self.log.open(scope, self.served)
        connection = self.live[number] = Connection(number, scope, self.version)
        current.set(number)

        async def recorded_receive() -> dict:
            connection.waiting = True
            try:
                message = await receive()
            finally:
                connection.waiting = False
            add(number, "receive", message)
            if message["type"] in ("websocket.disconnect", "http.disconnect"):
                connection.state = "closed"
            return message

        async def recorded_send(message: dict) -> None:
            add(number, "send", message)
            try:
                await send(message)
            except Exception:
                connection.refused = True
                raise
            if message.get("type") != "websocket.send":
                connection.state = _next_state(connection.state, message)

        try:
            connection.running = coroutine = application(scope, recorded_receive, recorded_send)
            if not inspect.isawaitable(coroutine):
                raise TypeError(
                    f"expected the application to be `async def application(scope, receive, send)`, found a function "
                    f"that returned {type(coroutine).__name__}; write `async def`"
                )
            await coroutine
        except asyncio.CancelledError:
            await self._crashed(number)  # it was killed before its disconnect() came to an end
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            if _is_routing(error):
                await self._refuse(connection, application, error, recorded_send)
            else:
                await self._report(connection, error)
                raise
        else:
            self._left_open(connection)
        finally:
            del self.live[number]

    async def _report(self, connection: Connection, error: BaseException) -> None:
        """Say at once, in the cell that is running, what daphne would log within two seconds; and tidy up."""
        lines, kind = own_lines(error), type(error)
        self.log.add(
            connection.number,
            "error",
            {
                "type": kind.__name__,
                "text": str(error),
                "module": kind.__module__,
                "where": lines[-1].partition("\n")[0].strip() if lines else "",
                **({"class": kind.__qualname__} if kind.__qualname__ != kind.__name__ else {}),
                **({"by": "server"} if connection.refused else {}),
            },
        )
        if connection.scope["type"] == "websocket":
            effect = {"connecting": "the handshake gets HTTP 500", "open": "the client gets close code 1011"}.get(
                connection.state, "the connection was closed already"
            )
            if connection.state != "closed":
                effect += ", and the application gets no websocket.disconnect"
        else:
            effect = "the client gets HTTP 500" if connection.state == "connecting" else "the response is cut off"
        what = "".join(traceback.format_exception_only(error)).rstrip()
        steps = [f"  {step}" for step in hints(error)]
        self._tell(f"{connection.scope['path']} crashed: {effect}", *lines, what, *steps)
        await self._crashed(connection.number)

    async def _refuse(
        self, connection: Connection, application: Callable, error: BaseException, send: Callable
    ) -> None:
        """Answer a path that nothing matches: 403 before the handshake, 404 for a request."""
        path, kind = connection.scope["path"], connection.scope["type"]
        self.log.add(connection.number, "error", {"type": "NoRoute", "text": f"no route for {path}"})
        known = routes(application, kind)
        status = "403" if kind == "websocket" else "404"
        self._tell(
            f"no route for {path}: {error}",
            f"  the client gets HTTP {status}; "
            + (f"the routes are: {', '.join(known)}" if known else f"the application has no routes for {kind}"),
        )
        if kind == "websocket":
            await send({"type": "websocket.close"})
        else:
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"Not Found"})

    def _left_open(self, connection: Connection) -> None:
        """An application that returns too early leaves its client hanging: daphne sends nothing and waits."""
        if connection.state in ("connecting", "open"):
            text = {
                "connecting": "the application returned without accept or close: the client waits until its time limit",
                "open": "the application returned while the socket was open: nothing will be received or sent on it",
            }[connection.state]
            if connection.scope["type"] == "http":
                text = (
                    "the application returned before its response was complete: the client waits until its time limit"
                )
            self.log.add(connection.number, "error", {"type": "Returned", "text": text})
            self._tell(f"{connection.scope['path']}: {text}")


def _next_state(state: str, message: dict) -> str:
    """The state after a sent message; a socket closes for good when its client's answer comes."""
    match message.get("type"):
        case "websocket.accept" if state == "connecting":
            return "open"
        case "websocket.close" if state == "connecting":
            return "refused"
        case "websocket.close":
            return "closing"
        case "http.response.start":
            return "open"
        case "http.response.body" if not message.get("more_body"):
            return "closed"
    return state


def say(*lines: str) -> None:
    """Tell the learner, under the cell that is running."""
    print(*lines, sep="\n", file=sys.stderr, flush=True)


_NO_EVENT = r"^AttributeError: '\w+' object has no attribute 'get'$"
"""Raised in our own `send` alone it is about an event; elsewhere a consumer asks its client's list for a key."""

HINTS = {
    r"object ([a-z]\w*|NoneType) can't be used in 'await'": "is a plain function awaited? write async def, or no await",
    r"object (\w+) can't be used in 'await'": "is {0} a consumer in a route? then write path(…, {0}.as_asgi())",
    r"as_asgi\(\) takes 1 positional argument": "as_asgi is a method: write as_asgi(), with the brackets",
    r"No handler for message type (\S+)": "it is handled by a method of that name, with _ in the place of each dot",
    _NO_EVENT: 'send takes an event: {{"type": …}}',
    r"object has no attribute '(?:en|de)code'$": "the server wants str under 'text', and bytes under 'bytes'",
    r"'NoneType' object has no attribute 'group_": "no channel layer? name one in CHANNEL_LAYERS of the settings",
    r"^OperationalError: no such table": "is the database migrated? run python manage.py migrate",
    r"^KeyError: '(?:text|bytes)'": "which type has the event? a websocket.disconnect has no text, a text has no bytes",
}
"""The next step, for crashes whose own text does not lead there: by a pattern of the error's last line."""


def hints(error: BaseException) -> list[str]:
    """The next step for an error that is known to puzzle people, as a list of one line or none."""
    said = f"{type(error).__name__}: {error}"
    for pattern, step in HINTS.items():
        if found := re.search(pattern, said):
            return [step.format(*found.groups())] if pattern != _NO_EVENT or _in_send(error) else []
    return []


def _in_send(error: BaseException) -> bool:
    """Whether an error came from the `send` that an application is handed."""
    return any(frame.f_code.co_name == "recorded_send" for frame, _ in traceback.walk_tb(error.__traceback__))


def own_lines(error: BaseException) -> list[str]:
    """The learner's own lines of a traceback: no library, no temporary path, no cell number; the same on every run."""
    return _own(traceback.extract_tb(error.__traceback__))


def running_lines(frame: FrameType | None) -> list[str]:
    """The learner's own lines that are running in a frame and its callers, in the same form."""
    return _own(reversed(traceback.StackSummary.extract(traceback.walk_stack(frame))) if frame else ())


def awaited_lines(coroutine: Any) -> list[str]:
    """The learner's own lines in which a coroutine waits, in the same form."""
    frames = []
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        frames.append((frame, frame.f_lineno))
        coroutine = coroutine.cr_await
    return _own(traceback.StackSummary.extract(frames))


def _own(frames: Iterable[traceback.FrameSummary]) -> list[str]:
    found = []
    for frame in frames:
        cell = "ipykernel" in frame.filename or frame.filename.startswith("<")
        if not cell and is_library(Path(frame.filename)):
            continue
        where = "cell" if cell else Path(frame.filename).name
        source = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
        found.append(f"  {where}, line {frame.lineno}, in {frame.name}\n    {source}".rstrip())
    return found


def is_library(file: Path) -> bool:
    """Whether a file is Python's, an installed package's or the lab's own; the reference project is to be read."""
    if "labserver/project" in file.as_posix():
        return False
    return str(file).startswith(_LIBRARIES) or not set(file.parts).isdisjoint(_INSTALLED)


def _is_routing(error: BaseException) -> bool:
    """Whether Channels' own routing raised this: its ValueError has no class of its own to tell it by."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return isinstance(error, ValueError) and frames[-1][0].f_globals.get("__name__") == "channels.routing"


def routes(application: Any, kind: str) -> list[str]:
    """The patterns that an application built from Channels' routers knows for `websocket` or `http`."""
    for _ in range(20):
        if patterns := getattr(application, "routes", None):
            return [
                f"{getattr(each, 'pattern', each)}{rest}"
                for each in patterns
                for rest in routes(getattr(each, "callback", None), kind) or [""]
            ]
        if mapping := getattr(application, "application_mapping", None):
            application = mapping.get(kind)
        else:  # each middleware keeps the next application in one of these
            names = ("inner", "application", "app")
            application = next((found for name in names if (found := getattr(application, name, None))), None)
    return []
