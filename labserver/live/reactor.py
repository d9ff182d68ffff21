"""Daphne in a daemon thread: one event loop, one Twisted reactor, started once and never stopped.

Room: the only importer of Twisted and daphne. Importing this module installs Twisted's asyncio reactor on a selector
event loop of our own, which must happen before `daphne.server` is imported (it would install a loop of its own, on
Windows one that Twisted refuses). If daphne came first, its reactor is taken over. A Twisted reactor can run once in
the life of a process, so listening starts and stops, and the reactor does neither again.
"""

import asyncio
import functools
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from labserver.errors import LabError, PortInUse, ReactorConflict, TimeLimit
from labserver.trace.events import WAIT_LIMIT

from . import frames

CLOSE_GRACE = 0.5
"""Seconds that applications get to answer `websocket.disconnect` when the server stops; then they are cancelled."""


def _install() -> asyncio.AbstractEventLoop:
    """Install the reactor, or take over the one that daphne installed; returns its event loop."""
    os.environ.setdefault("AUTOBAHN_USE_NVX", "0")  # a compiled UTF-8 validator: 30 ms of every start for nothing here
    from twisted.internet import asyncioreactor

    installed = sys.modules.get("twisted.internet.reactor")
    if installed is None:
        loop = asyncio.SelectorEventLoop()
        asyncioreactor.install(loop)
        return loop
    theirs = getattr(installed, "_asyncioEventloop", None)
    running = installed.running or (theirs is not None and theirs.is_running())  # on the kernel's own loop, say
    if isinstance(installed, asyncioreactor.AsyncioSelectorReactor) and not running:
        return theirs
    raise ReactorConflict(
        "expected to install Twisted's asyncio reactor, found that "
        f"{type(installed).__module__}.{type(installed).__name__} is already "
        f"{'running' if running else 'installed'} in this process; restart the kernel and call serve() "
        "before anything imports twisted.internet.reactor"
    )


loop = _install()

import daphne.http_protocol  # noqa: E402 - the reactor has to be there first
import daphne.server  # noqa: E402
from daphne.http_protocol import HTTPFactory  # noqa: E402
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol  # noqa: E402
from twisted.internet import reactor  # noqa: E402
from twisted.internet.error import CannotListenError  # noqa: E402
from twisted.internet.tcp import Server as Socket  # noqa: E402
from twisted.logger import globalLogBeginner  # noqa: E402


def _discard(spare: asyncio.AbstractEventLoop) -> None:
    """Close a loop that is not in use: daphne makes one when imported, even if it will not use it."""
    if spare is not loop:
        spare.close()


_discard(daphne.server.twisted_loop)

daphne.http_protocol.INVALID_HEADER_VALUE_BYTES |= frames.CONTROL_CHARACTERS  # a request with one gets HTTP 400

_started = threading.Lock()
_thread: threading.Thread | None = None


def start() -> None:
    """Start the thread that runs the reactor; a second call does nothing."""
    global _thread
    with _started:
        if _thread is not None:
            return
        # Twisted keeps every early log event, and with it each server ever made, until somebody takes the log over.
        shown = warnings.showwarning
        globalLogBeginner.beginLoggingTo([lambda event: None], redirectStandardIO=False, discardBuffer=True)
        warnings.showwarning = shown  # it takes Python's warnings too; "was never awaited" has to reach the learner
        ready = threading.Event()
        reactor.callWhenRunning(ready.set)
        _thread = threading.Thread(target=_run, name="labserver", daemon=True)
        _thread.start()
        ready.wait(WAIT_LIMIT)


def _run() -> None:
    asyncio.set_event_loop(loop)
    run = functools.partial(reactor.run, installSignalHandlers=False)
    while True:
        try:
            run()
        except (SystemExit, KeyboardInterrupt):
            # asyncio lets these two through: exit() in an application would end the server for the whole process
            run = loop.run_forever


def here() -> bool:
    """Whether the caller runs on the server's loop."""
    return threading.current_thread() is _thread


def call(coroutine: Coroutine, timeout: float = WAIT_LIMIT) -> Any:
    """Run a coroutine on the server's loop from another thread, and wait for its result.

    Raises TimeLimit after `timeout` seconds.
    """
    if here():  # it would wait for itself
        coroutine.close()
        raise LabError(
            "expected a call from a notebook cell or a script, found one from an application, on the server's own "
            "loop; make the call in another thread, with: await asyncio.to_thread(…)"
        )
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result(timeout)
    except TimeoutError:
        future.cancel()
        raise busy(timeout) from None


def busy(timeout: float) -> TimeLimit:
    """The error for a loop that did not answer within so many seconds."""
    return TimeLimit(
        f"expected the server's loop to answer within {timeout:g} s, found it busy; an application that blocks it "
        "(time.sleep or a long computation in an async function) stops everybody: restart the kernel and mend it"
    )


async def hop(coroutine: Coroutine) -> Any:
    """Await a coroutine on the server's loop, from whichever loop is running."""
    if here():
        return await coroutine
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop))


class WebSocket(frames.Strict, WebSocketProtocol):
    """Daphne's WebSocket, strict about frames."""


class Daphne(daphne.server.Server):
    """Daphne's server with a beginning and an end of its own: it listens, and stops listening, and leaves nothing.

    The stock one ends the whole reactor when it stops, and when a port is taken.
    """

    def __init__(self, application: Callable):
        super().__init__(application, endpoints=["labserver"], signal_handlers=False)
        self.port = None
        self.connections: dict = {}
        self._timer: asyncio.TimerHandle | None = None
        self._accepted: weakref.WeakSet[Socket] = weakref.WeakSet()

    def listen(self, host: str, port: int) -> int:
        """Listen, and return the port number; raises PortInUse."""
        self.http_factory = HTTPFactory(self)
        self.ws_factory = WebSocketFactory(self, server=self.server_name)
        self.ws_factory.protocol = WebSocket
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            allowNullOrigin=True,
            openHandshakeTimeout=self.websocket_handshake_timeout,
            maxMessagePayloadSize=self.websocket_max_message_size,
            maxFramePayloadSize=self.websocket_max_frame_size,
            closeHandshakeTimeout=4,  # a client in a busy kernel answers a close later than in the usual second
            failByDrop=False,  # a protocol error is answered by its close code (RFC 6455, 7.4.1), not by a reset
        )
        try:
            self.port = reactor.listenTCP(port, self.http_factory, interface=host, backlog=1024)
        except CannotListenError as error:
            raise PortInUse(
                f"expected port {port} of {host} to be free, found it taken{_holder(port)} ({error.socketError}); "
                "serve(application, port=0) picks a free one"
            ) from None
        self.port.transport = self._accept
        self._watch()
        address = self.port.getHost()
        self.listening_addresses = [(address.host, address.port)]
        return address.port

    def _watch(self) -> None:
        """Daphne's time limits and pings, every two seconds, by a timer that can be cancelled."""
        self._timer = loop.call_later(2, self._watch)
        for protocol in list(self.connections):
            protocol.check_timeouts()

    def _accept(self, *args: Any) -> Socket:
        """A client's socket; remembered, because the reactor does not know those that are paused."""
        accepted = Socket(*args)
        self._accepted.add(accepted)
        return accepted

    def stop(self) -> None:
        """Daphne calls this for errors that should end the process; in a kernel nothing may."""

    # --- connections: forget each as soon as it is over, where stock daphne sweeps once a second -----------------

    def create_application(self, protocol: Any, scope: dict) -> asyncio.Queue:
        """Run the application for one connection; in an empty context, so that prints reach the cell running now."""
        queue: asyncio.Queue = asyncio.Queue()
        scope.setdefault("asgi", {"version": "3.0"})
        run = self.application(scope, queue.get, functools.partial(self.handle_reply, protocol))
        task = loop.create_task(run, context=Context())
        self.connections[protocol]["application_instance"] = task
        task.add_done_callback(functools.partial(self._application_done, protocol))
        return queue

    def _application_done(self, protocol: Any, task: asyncio.Task) -> None:
        details = self.connections.get(protocol, {})
        details.pop("application_instance", None)
        error = None if task.cancelled() else task.exception()
        if "disconnected" in details:
            del self.connections[protocol]
        elif error is not None:
            try:
                protocol.handle_exception(error)  # now, not at the next sweep: HTTP 500, or close code 1011
            except Exception:  # the response has begun: cutting it off is the only way to say that it is not whole
                protocol.channel.loseConnection()

    def protocol_disconnected(self, protocol: Any) -> None:
        """The socket is gone: forget it, or give its application the time limit to notice."""
        details = self.connections.get(protocol)
        if details is None:
            return
        super().protocol_disconnected(protocol)
        task = details.get("application_instance")
        if task is None:
            del self.connections[protocol]
        else:
            timer = loop.call_later(self.application_close_timeout, task.cancel)
            task.add_done_callback(lambda _: timer.cancel())

    async def close(self) -> None:
        """Stop listening; tell every client 1001 (going away) and every application; leave no socket and no task."""
        self._timer.cancel()
        stopping = self.port.stopListening()
        if stopping is not None:
            await stopping.asFuture(loop)
        tasks = []
        for protocol, details in list(self.connections.items()):
            if isinstance(protocol, WebSocketProtocol) and protocol.state == protocol.STATE_OPEN:
                protocol.sendCloseFrame(code=1001)
                protocol.muted = True  # the application hears 1001 from us, not 1006 when the socket goes
                protocol.application_queue.put_nowait({"type": "websocket.disconnect", "code": 1001})
            if task := details.get("application_instance"):
                tasks.append(task)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_GRACE)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=CLOSE_GRACE)
        await self._drop_sockets()
        self.connections.clear()

    async def _drop_sockets(self) -> None:
        """Close what clients still hold open; a peer that does not read is cut off."""
        for _ in range(20):  # first let browsers answer the close frame, or they report an unclean end
            if not any(isinstance(protocol, WebSocketProtocol) for protocol in self.connections):
                break
            await asyncio.sleep(0.001)
        for abort in (False, True):
            for _ in range(20):
                sockets = [each for each in self._accepted if each.connected]
                if not sockets:
                    return
                for each in sockets:
                    each.abortConnection() if abort else each.loseConnection()
                await asyncio.sleep(0.001)


def _holder(port: int) -> str:
    """Which process listens on the port, as far as the system lets us see."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                pid = connection.pid  # None where the process is another user's
                return f" by {psutil.Process(pid).name()} (process {pid})" if pid else ""
    except (psutil.Error, OSError):
        pass  # not ours to see: say only that it is taken
    return ""
