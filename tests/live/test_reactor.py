"""Daphne in a thread: the reactor, calls into its loop, listening and closing."""

import asyncio
import os
import socket
import subprocess
import sys
import types

import httpx
import psutil
import pytest
from twisted.internet import asyncioreactor
from websockets.exceptions import ConnectionClosed

from labserver.errors import LabError, PortInUse, ReactorConflict, TimeLimit
from labserver.live import reactor

# --- whose reactor ----------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch):
    """Pretend that this reactor, or none, was installed before."""

    def installed(instance):
        monkeypatch.delitem(sys.modules, "twisted.internet.reactor")
        if instance is not None:
            monkeypatch.setitem(sys.modules, "twisted.internet.reactor", instance)

    return installed


def pretended(loop, running=False):
    """An asyncio reactor that does nothing, on this loop."""
    instance = asyncioreactor.AsyncioSelectorReactor.__new__(asyncioreactor.AsyncioSelectorReactor)
    instance._asyncioEventloop, instance.running = loop, running
    return instance


def test_a_reactor_is_installed_on_a_loop_of_its_own(installed, monkeypatch):
    """Where no reactor is, the lab installs one on a new selector loop."""
    put = []
    monkeypatch.setattr(asyncioreactor, "install", put.append)
    installed(None)
    loop = reactor._install()
    assert put == [loop] and isinstance(loop, asyncio.SelectorEventLoop)
    loop.close()


def test_daphnes_reactor_is_taken_over(installed):
    """Where daphne came first, its reactor and its loop are used."""
    loop = asyncio.new_event_loop()
    installed(pretended(loop))
    assert reactor._install() is loop
    loop.close()


def test_only_a_loop_that_is_not_used_is_closed():
    """The loop that daphne makes when imported is closed, unless it is the one that runs."""
    spare = asyncio.new_event_loop()
    reactor._discard(spare)
    reactor._discard(reactor.loop)
    assert spare.is_closed() and not reactor.loop.is_closed()


def test_another_kind_of_reactor_is_a_conflict(installed):
    """Where another kind of reactor is installed, the text says which, and what to do."""
    installed(types.SimpleNamespace(running=False))
    with pytest.raises(
        ReactorConflict, match=r"SimpleNamespace is already installed.*restart the kernel and call serve\(\)"
    ):
        reactor._install()


async def test_a_running_reactor_is_a_conflict(installed):
    """A reactor that runs already, or whose loop does, cannot be taken over."""
    for instance in (pretended(None, running=True), pretended(asyncio.get_running_loop())):
        installed(instance)
        with pytest.raises(ReactorConflict, match="AsyncioSelectorReactor is already running") as caught:
            reactor._install()
    assert isinstance(caught.value, LabError) and isinstance(caught.value, RuntimeError)


ORDER = """
import asyncio, sys
{first}
from labserver import serve
async def application(scope, receive, send):
    await receive()
    await send({{"type": "websocket.accept"}})
    await send({{"type": "websocket.send", "text": "served"}})
    await receive()
server = serve(application)
from websockets.sync.client import connect
with connect(server.ws_url, proxy=None) as ws:
    print(ws.recv(timeout=5))
server.stop()
import warnings
print(warnings.showwarning.__module__)
"""


def run(first):
    """What a fresh Python prints that imports this first."""
    return subprocess.run([sys.executable, "-c", ORDER.format(first=first)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("first", ["", "import daphne.server"])
def test_daphne_may_be_imported_first(first):
    """Row 87: whoever imports daphne first, the server works, and Python's warnings stay Python's."""
    done = run(first)
    assert (done.stdout, done.stderr) == ("served\nwarnings\n", "")


def test_the_default_reactor_first_is_a_conflict():
    """Row 87: Twisted's default reactor first is an immediate and clear error."""
    done = run("from twisted.internet import reactor")
    assert done.stdout == ""
    assert "ReactorConflict: expected to install Twisted's asyncio reactor, found that twisted.internet." in done.stderr
    assert "restart the kernel" in done.stderr


# --- its thread and its loop ------------------------------------------------------------------------------------------


def test_the_thread_starts_once(server):
    """Starting again does nothing."""
    thread = reactor._thread
    reactor.start()
    assert reactor._thread is thread and thread.daemon and thread.is_alive()
    assert not reactor.here()


class End(Exception):
    """Ends a loop that does not end."""


def test_the_loop_goes_on_after_an_exit(monkeypatch):
    """asyncio lets SystemExit and KeyboardInterrupt out of the loop: the thread runs it again."""
    ends = iter([SystemExit, KeyboardInterrupt, End])

    def leave(**options):
        raise next(ends)

    monkeypatch.setattr(reactor.reactor, "run", leave)
    monkeypatch.setattr(reactor, "loop", types.SimpleNamespace(run_forever=leave))
    monkeypatch.setattr(asyncio, "set_event_loop", lambda loop: None)
    with pytest.raises(End):
        reactor._run()
    assert list(ends) == []


async def test_a_background_task_that_exits_does_not_end_the_server(server):
    """`exit()` in a task of an application's own leaves the server running."""

    async def leave():
        raise SystemExit

    async def application(scope, receive, send):
        task = asyncio.ensure_future(leave())
        await asyncio.wait([task])
        task.exception()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"still here"})

    server.application = application
    assert (await server.get("/")).text == "still here"


async def where():
    """Which loop runs this, and whether that is the server's."""
    return asyncio.get_running_loop(), reactor.here()


async def test_a_hop_lands_on_the_servers_loop(server):
    """A coroutine hops to the server's loop from any other, and stays where it is when it is there already."""

    async def twice():
        return await reactor.hop(where())

    assert await reactor.hop(where()) == (reactor.loop, True)
    assert await reactor.hop(twice()) == (reactor.loop, True)
    assert reactor.call(where()) == (reactor.loop, True)


def test_a_call_has_a_limit_and_is_withdrawn(server):
    """A call that the loop does not answer in time says why that may be, and is cancelled."""
    ended = []

    async def slow():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    with pytest.raises(
        TimeLimit, match=r"the server's loop to answer within 0.05 s, found it busy; an application that"
    ):
        reactor.call(slow(), timeout=0.05)
    reactor.call(where())
    assert ended == [True]


def test_a_call_from_the_loop_itself_is_refused(server):
    """The server's loop cannot wait for itself."""

    async def inside():
        reactor.call(where())

    with pytest.raises(LabError, match=r"on the server's own loop; make the call in another thread"):
        reactor.call(inside())


# --- listening --------------------------------------------------------------------------------------------------------


def test_a_taken_port_names_its_holder():
    """A taken port names the process that has it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        name = psutil.Process().name()
        with pytest.raises(PortInUse, match=rf"found it taken by {name} \(process {os.getpid()}\) \("):
            reactor.Daphne(None).listen("127.0.0.1", port)


def connection(port, pid, status=psutil.CONN_LISTEN):
    """A row of psutil's list."""
    return types.SimpleNamespace(laddr=types.SimpleNamespace(port=port), status=status, pid=pid)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [connection(81, 1), connection(80, 1, "ESTABLISHED"), types.SimpleNamespace(laddr=())],
        [connection(80, None)],
        [connection(80, 2**22 + 1)],
    ],
)
def test_a_holder_that_cannot_be_seen_is_not_named(monkeypatch, rows):
    """Where the system does not show who has the port, nobody is named."""
    monkeypatch.setattr(psutil, "net_connections", lambda kind: rows)
    assert reactor._holder(80) == ""


def test_a_system_that_forbids_to_look_is_no_error(monkeypatch):
    """Where the system forbids to look, nobody is named."""

    def forbidden(kind):
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", forbidden)
    assert reactor._holder(80) == ""


async def test_time_limits_are_watched(server):
    """Daphne's own checks run for every connection, again and again."""
    daphne = server._daphne
    async with server.connect("/") as ws:
        (protocol,) = daphne.connections
        before = daphne._timer

        async def age():
            protocol.last_ping -= daphne.ping_interval + 1
            before.cancel()
            daphne._watch()
            return protocol.last_ping

        aged = await reactor.hop(age())
        assert daphne._timer is not before and not daphne._timer.cancelled()
        await ws.send("x")
        await ws.recv()  # behind the ping that the check has sent
    assert aged > 0


def test_nothing_ends_the_reactor(server):
    """What daphne would end the process for does nothing here."""
    server._daphne.stop()
    assert reactor.call(where())[1] and reactor.reactor.running


def test_an_unknown_connection_may_go(server):
    """A connection that is forgotten already may be lost again."""
    server._daphne.protocol_disconnected(object())
    assert server._daphne.connections == {}


async def test_an_application_that_lingers_is_cancelled(server, left):
    """An application that does not end after its client went is cancelled after the time limit."""
    server._daphne.application_close_timeout = 0.05
    ended = []

    async def linger(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(True)
            raise

    server.application = linger
    ws = await server.connect("/")
    await ws.close()
    await left(server)
    assert ended == [True]


@pytest.mark.parametrize("started", [False, True])
async def test_a_request_that_crashes_is_500_or_cut_off(server, started, left, capfd):
    """A crash is HTTP 500 before the response has begun, and cuts it off after."""

    async def crash(scope, receive, send):
        if started:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        raise ValueError("crash")

    server.application = crash
    if started:
        with pytest.raises(httpx.RemoteProtocolError):
            await server.get("/")
    else:
        assert (await server.get("/")).status_code == 500
    assert "ValueError: crash" in capfd.readouterr().err
    await left(server)


async def test_a_client_whose_application_has_returned_is_told_too(server, capfd):
    """A socket that no application serves any more is closed with 1001 when the server stops."""

    async def short(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})

    server.application = short
    ws = await server.connect("/")
    await asyncio.to_thread(server.trace.wait_for, "Returned")
    server.stop()
    with pytest.raises(ConnectionClosed) as caught:
        await ws.recv()
    assert caught.value.rcvd.code == 1001
    assert "returned while the socket was open" in capfd.readouterr().err


async def test_a_client_that_does_not_read_cannot_hold_the_server(server):
    """A client that does not read what is sent to it is cut off when the server stops."""

    async def flood(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(16):
            await send({"type": "websocket.send", "bytes": bytes(1 << 20)})
        await receive()

    server.application = flood
    ws = await server.connect("/")
    ws.transport.pause_reading()
    await asyncio.to_thread(server.trace.wait_for, "websocket.send", count=16)
    daphne = server._daphne
    server.stop()
    assert [each for each in daphne._accepted if each.connected] == []
    ws.transport.resume_reading()
    with pytest.raises(ConnectionClosed):
        async for _ in ws:
            pass


async def test_stopping_while_a_handshake_waits(server):
    """A client whose handshake is under way when the server stops is let go."""

    async def waiting(scope, receive, send):
        await receive()
        await receive()

    server.application = waiting
    attempt = asyncio.ensure_future(server.connect("/")._open())
    await asyncio.to_thread(server.trace.wait_for, "websocket.connect")
    server.stop()
    (end,) = await asyncio.gather(attempt, return_exceptions=True)
    assert isinstance(end, Exception)
    assert server.connections == ()


def test_closing_twice_does_no_harm(server):
    """A close that was interrupted may be done again."""
    daphne = server._daphne
    reactor.call(daphne.close())
    reactor.call(daphne.close())


def test_a_socket_that_does_not_close_holds_nobody_up(server):
    """What cannot be closed, not even by force, is given up after a moment."""

    class Stuck:
        connected = True
        asked = forced = 0

        def loseConnection(self):
            self.asked += 1

        def abortConnection(self):
            self.forced += 1

    stuck, daphne = Stuck(), reactor.Daphne(None)
    daphne._accepted = [stuck]
    reactor.call(daphne._drop_sockets())
    assert stuck.asked and stuck.forced
