"""`serve`: any ASGI application on a live server inside this process, from one synchronous call.

Room: what the public `LiveServer` promises; how it listens is `reactor`, what it sees is `recorder` and `layers`, who
calls it is `client`. There is one server a process, because there is one Twisted reactor a process.
"""

import asyncio
import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labserver.errors import NotAnApplication, ServerStopped
from labserver.trace.events import Log, Trace
from labserver.trace.layer import Layer

from .layers import Layers
from .names import importable
from .recorder import Connection as LiveConnection
from .recorder import Recorder, say
from .reload import imported
from .settings import configure_django, framed, strangers

SETTLE_LIMIT = 1.0
"""Seconds that a recording waits, when it ends, for handlers that are still at work."""

BUSY_LIMIT = 5.0
"""Seconds that a client which is done waits for the server's loop; more than `SETTLE_LIMIT`."""

HEARTBEAT = 0.2
"""Seconds between two wake-ups of the kernel's loop, without which an interrupt waits for the next event."""

_OWN = object()
_server: "LiveServer | None" = None


@dataclass(frozen=True)
class Connection:
    """A live connection: its name in `server.trace`, where it went, who it is, what it belongs to, which code it runs.

    version: 1 for the first application that was served, 2 after one swap, …
    """

    id: str
    path: str
    user: str | None
    groups: tuple[str, ...]
    state: str
    version: int


class LiveServer:
    """Daphne on 127.0.0.1, in a thread of this process, with everything recorded. Made by `serve`."""

    __slots__ = ("_daphne", "_heart", "_layers", "_log", "_port", "_reactor", "_recorder", "trace")
    # Without a __dict__, a misspelt `server.aplication = …` is an error instead of nothing.

    def __init__(self):
        self._log = Log()
        self._recorder = Recorder(self._log, self._forget)
        self._layers: Layers | None = None
        self._daphne: Any = None
        self._port = 0
        self._heart: tuple[asyncio.AbstractEventLoop, asyncio.Task] | None = None
        self.trace = Trace(self._log, live=lambda: set(self._recorder.live), play=_play)

    def __repr__(self) -> str:
        return f"<LiveServer {'at ' + self.url if self._daphne else 'stopped'}>"

    # --- the life of the server ------------------------------------------------------------------------------------

    def _start(self, port: int) -> None:
        from channels.layers import channel_layers

        from . import reactor

        self._reactor = reactor
        reactor.start()
        if self._layers is None:
            self._layers = Layers(self._log, reactor.hop)
            self._layers.install(channel_layers)
        listening = reactor.Daphne(self._recorder)
        port = reactor.call(_listen(listening, port))
        self.stop()  # if it runs on another port: only now, so that a taken port leaves it as it was
        self._daphne, self._port = listening, port

    def stop(self) -> None:
        """Close every connection with 1001, leave every group, and free the port; a second call does nothing."""
        if self._daphne is None:
            return
        self._reactor.call(self._close(self._daphne))
        self._daphne = None  # only now: after a TimeLimit or an interrupt, another stop() goes on with it
        if self._heart is not None:
            loop, task = self._heart
            self._heart = None
            if not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)

    async def _close(self, listening: Any) -> None:
        await listening.close()
        await self._layers.close()

    async def _forget(self, connection: int) -> None:
        await self._layers.forget(connection)

    def _beat(self) -> None:
        """Keep the kernel's loop ticking: on an idle one, an interrupt of an awaiting cell waits for the next event."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # a script or a plain console: its interrupts work
        if self._reactor.here():
            return  # an application that swaps itself
        if self._heart is None or self._heart[1].done():
            self._heart = loop, loop.create_task(_heartbeat(), name="labserver heartbeat")

    # --- what it serves ----------------------------------------------------------------------------------------------

    @property
    def application(self) -> Callable:
        """The application that new connections get; assign another one to swap it, open connections keep theirs."""
        return self._recorder.application

    @application.setter
    def application(self, application: Any) -> None:
        self._recorder.swap(checked(application), importable(application))

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`; raises ServerStopped."""
        return f"http://127.0.0.1:{self._running()}"

    @property
    def ws_url(self) -> str:
        """`ws://127.0.0.1:PORT`; raises ServerStopped."""
        return f"ws://127.0.0.1:{self._running()}"

    def _running(self) -> int:
        if self._daphne is None:
            raise ServerStopped("expected a running server, found it stopped; run the cell with serve(…) again")
        return self._port

    # --- its clients -------------------------------------------------------------------------------------------------

    def connect(self, path: str, *, origin: Any = _OWN, **options: Any) -> Any:
        """Connect with `websockets`: `async with server.connect("/ws/echo/") as ws`.

        origin: the Origin header; the server's own by default, None for none.
        options: those of `websockets.asyncio.client.connect`.
        Raises ServerStopped, TimeLimit, and websockets' own `InvalidStatus` for a refused handshake.
        """
        url = self.ws_url + _absolute(path)
        from . import client

        return client.connect(url, self._settled, origin=self.url if origin is _OWN else origin, **options)

    async def get(self, path: str, **options: Any) -> Any:
        """An `httpx.Response` for GET path; options are those of `httpx.AsyncClient.get`.

        Raises ServerStopped, TimeLimit.
        """
        url = self.url + _absolute(path)
        from . import client

        return await client.get(url, self._settled, **options)

    def page(self, path: str = "/", height: int = 400) -> Any:
        """The page in the notebook, by an address that the learner's browser can reach; height in pixels."""
        from .page import page

        if lines := framed():
            say(*lines)
        return page(self.url, _absolute(path), height)

    # --- what it saw -------------------------------------------------------------------------------------------------

    def record(self) -> "Recording":
        """`with server.record() as trace:` holds only what happens inside."""
        return Recording(self)

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The live connections, in order of arrival."""
        names = self.trace.names
        live = sorted(list(self._recorder.live.items()))
        return tuple(
            Connection(names[n], c.scope["path"], _user(c.running), self._layers.groups(n), c.state, c.version)
            for n, c in live
            if n in names
        )

    @property
    def layer(self) -> Layer:
        """The channel layer now: its groups, its channels with what waits on them, and whose they are.

        Show it for a picture, print it for text; `.groups`, `.waiting`, `.dropped` and `.channels` are values. It
        waits up to `SETTLE_LIMIT` seconds for what is on its way: all of them if a consumer is stuck in a handler.
        Raises TimeLimit if an application blocks the server's loop.
        https://channels.readthedocs.io/en/stable/topics/channel_layers.html
        """
        if self._layers is None:
            return Layer("")
        return self._look() if self._reactor.here() else self._reactor.call(self._settled_look())

    async def _settled_look(self) -> Layer:
        await self._settle(None)
        return self._look()

    def _look(self) -> Layer:
        return self._layers.look(self._recorder.live, self.trace.names)

    async def _settled(self, port: int | None = None) -> None:
        """Wait, on any loop, until nothing is on its way; `port` is that of a client which has just left.

        Raises TimeLimit if an application blocks the server's loop: a client would wait for ever, and not know why.
        """
        if self._daphne is not None:
            try:
                async with asyncio.timeout(BUSY_LIMIT):
                    await self._reactor.hop(self._settle(port))
            except TimeoutError:
                raise self._reactor.busy(BUSY_LIMIT) from None

    async def _settle(self, port: int | None = None) -> None:
        end = time.monotonic() + SETTLE_LIMIT
        quiet, total = 0, -1
        while quiet < 3 and time.monotonic() < end:
            live = list(self._recorder.live.values())
            done = all(self._at_rest(c) and (port is None or c.scope["client"][1] != port) for c in live)
            quiet = quiet + 1 if done and total == self._log.total else 0
            total = self._log.total
            await asyncio.sleep(0.001)

    def _at_rest(self, connection: LiveConnection) -> bool:
        """Whether an open connection's application waits for its client, and for its channel if it has one."""
        return connection.state == "open" and connection.waiting and self._layers.idle(connection.number)


async def _play(*what: Any) -> Any:
    """Play a trace again; loaded when the first one is."""
    from .replay import play

    return await play(*what)


class Recording:
    """A context manager, plain or async, for what happens inside it; made by `server.record()`."""

    def __init__(self, server: LiveServer):
        self._server = server

    def __enter__(self) -> Trace:
        self._trace = Trace(self._server._log, play=_play)
        return self._trace

    def __exit__(self, *exc_info: Any) -> None:
        try:
            if self._server._daphne is not None:
                self._server._reactor.call(self._server._settle())
        finally:
            self._trace.close()

    async def __aenter__(self) -> Trace:
        return self.__enter__()

    async def __aexit__(self, *exc_info: Any) -> None:
        try:
            await self._server._settled()
        finally:
            self._trace.close()


def serve(application: Any, *, port: int = 0) -> LiveServer:
    """Serve an ASGI 3 application from this process, and return the server; a later call swaps the application.

    application: a callable `async def application(scope, receive, send)`, or a dotted `"package.module:name"`; of that,
    what changed on disk since it was imported is loaded again, and told.
    port: 0 for any free one. A server that already runs stays where it is unless another port is asked for.
    Raises NotAnApplication, PortInUse, ReactorConflict, SettingsError.
    The first call sets Django up, unless that is done: with the settings that DJANGO_SETTINGS_MODULE names, or that the
    module of a dotted name does; else with the lab's own.
    """
    global _server
    configure_django(application)
    code = checked(application)
    if _server is None:
        _server = LiveServer()
    if _server._daphne is not None and port not in (0, _server._port):
        _server._start(port)  # first: where it cannot, all stays as it is
    _server._recorder.swap(code, importable(application))
    if _server._daphne is None:
        _restart(_server, port)
    _server._beat()
    if lines := strangers():
        say(*lines)
    return _server


def _restart(server: LiveServer, port: int) -> None:
    """Start again, at the old port if no other is asked for and it is still free: open pages find their server."""
    from labserver.errors import PortInUse

    try:
        server._start(port or server._port)
    except PortInUse:
        if port:
            raise
        server._start(0)


def checked(application: Any) -> Callable:
    """The application, imported if it is a dotted name; raises NotAnApplication with what is wrong with it."""
    if isinstance(application, str):
        application = imported(application)
    factory = getattr(application, "as_asgi", None)
    if factory is not None:
        name = application.__name__ if inspect.isclass(application) else type(application).__name__
        what = "the class" if inspect.isclass(application) else "an instance of"
        raise NotAnApplication(f"expected an ASGI application, found {what} {name}; pass {name}.as_asgi()")
    if not callable(application):
        raise NotAnApplication(
            f"expected a callable async def application(scope, receive, send), found {type(application).__name__} "
            f"{application!r:.60}; pass an ASGI application, or its dotted name as 'package.module:name'"
        )
    try:
        inspect.signature(application, follow_wrapped=False).bind(None, None, None)
    except TypeError:
        raise NotAnApplication(
            f"expected a callable that takes (scope, receive, send), found {_name(application)}"
            f"{inspect.signature(application)}; is it a WSGI or ASGI 2 application, or an uncalled factory?"
        ) from None
    except ValueError:
        pass  # a callable written in C shows no signature
    return application


def _name(application: Any) -> str:
    return getattr(application, "__name__", type(application).__name__)


def _absolute(path: str) -> str:
    return path if path.startswith("/") else "/" + path


async def _listen(listening: Any, port: int) -> int:
    return listening.listen("127.0.0.1", port)


async def _heartbeat() -> None:
    while True:
        await asyncio.sleep(HEARTBEAT)


def _user(running: Any) -> str | None:
    """Who the consumer serves: middleware copies the scope, so the innermost is found by looking down the awaits."""
    user = None
    while running is not None and (frame := getattr(running, "cr_frame", None)) is not None:
        scope = frame.f_locals.get("scope")
        if isinstance(scope, dict) and "user" in scope:
            try:
                user = str(scope["user"])
            except Exception:
                user = None  # not loaded yet (Channels' lazy user), or only the database could tell
        running = running.cr_await
    return user
