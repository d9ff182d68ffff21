"""Echo conversations, measured over real sockets."""

import asyncio
import contextlib
import io
import itertools
import sys
import time
from http import HTTPStatus
from types import SimpleNamespace

import IPython.display
import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from labserver.live import load as module
from labserver.live.load import Load, Loads, load
from labserver.live.processes import free_port


async def echo(websocket):
    """Sends back what comes."""
    async for message in websocket:
        await websocket.send(message)


@contextlib.asynccontextmanager
async def serving(handler=echo, **options):
    """The address of a server in this loop."""
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws/"


async def measured(handler=echo, *, clients=3, seconds=0.1, **options):
    """The load of a server with this handler."""
    async with serving(handler, **options) as url:
        return await load("server", url, clients=clients, seconds=seconds)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that goes on by a millisecond when somebody looks: however slow a machine is, messages fit in."""
    ticks = itertools.count()
    look = lambda: next(ticks) / 1000  # noqa: E731
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=look, process_time=look, monotonic=time.monotonic))
    monkeypatch.setattr(module, "GRACE", 20.0)


@pytest.fixture
def hurry(monkeypatch):
    """What is waited for in vain is not waited for long."""
    monkeypatch.setattr(module, "GRACE", 0.02)


async def test_every_conversation_is_counted():
    """Of a server that echoes all is held, and messages, median and tail are there."""
    found = await measured()
    assert (found.name, found.clients, found.held, found.failures) == ("server", 3, 3, {})
    assert found.messages > 0
    assert 0 < found.median <= found.tail
    assert found.busy > 0


async def test_an_answer_after_the_time_does_not_count():
    """Whoever waits for an answer when the time is up gets it, and is held."""
    found = await measured(seconds=0)
    assert (found.held, found.messages, found.median, found.tail, found.failures) == (3, 0, None, None, {})


async def test_an_answer_in_parts_is_one():
    """A server may cut a message into frames, and may ask for a pong between them."""

    async def handler(websocket):
        async for message in websocket:
            await (await websocket.ping())
            await websocket.send([message[:2], message[2:]])

    found = await measured(handler)
    assert (found.held, found.failures) == (3, {})
    assert found.messages > 0


async def test_what_clients_bring_arrives():
    """Headers, origin and subprotocols are sent as `websockets.connect` sends them."""
    seen = []

    async def handler(websocket):
        seen.append((websocket.request.headers["X-Token"], websocket.request.headers["Origin"], websocket.subprotocol))
        await echo(websocket)

    async with serving(handler, subprotocols=["lab"]) as url:
        options = {"additional_headers": {"X-Token": "t"}, "origin": "http://a", "subprotocols": ["lab"]}
        found = await load("server", url, clients=2, seconds=0, **options)
    assert found.held == 2
    assert seen == [("t", "http://a", "lab")] * 2


async def greets(websocket):
    await websocket.send("welcome")
    await websocket.wait_closed()


async def twists(websocket):
    await websocket.send("not " + await websocket.recv())
    await websocket.wait_closed()


async def closes(websocket):
    await websocket.recv()
    await websocket.close(1012)


async def vanishes(websocket):
    await websocket.recv()
    websocket.transport.abort()


async def is_silent(websocket):
    await websocket.wait_closed()


@pytest.mark.parametrize(
    ("handler", "failure"),
    [
        (twists, "another text came back"),
        (closes, "closed by the server with code 1012"),
        (vanishes, "lost without a close frame"),
    ],
)
async def test_each_failure_is_named(handler, failure):
    """None is held, each is counted once, under what went wrong, and nobody waits for those who are gone."""
    found = await measured(handler, seconds=10_000)
    assert (found.held, found.messages, found.failures) == (0, 0, {failure: 3})


async def test_a_server_that_hangs_is_given_up(hurry):
    """After the time there is a little more for answers, and then none is waited for."""
    found = await measured(is_silent, seconds=0)
    assert (found.held, found.messages, found.failures) == (0, 0, {"no answer within 0.02 s": 3})


async def test_a_text_that_nobody_asked_for_is_no_answer():
    """Whoever is sent more than echoes is not held; which of both texts is met first is chance."""
    found = await measured(greets, seconds=10_000)
    assert found.held == 0
    assert set(found.failures) <= {"a text that nobody asked for", "another text came back"}
    client = module._Client(0, module._Crowd(None, {}, None, None))
    client._take(module.Frame(module.Opcode.TEXT, b"welcome"), 0)
    assert client._crowd.failures == {"a text that nobody asked for": 1}


async def test_one_that_fails_does_not_stop_the_others():
    """The others go on, and are held."""

    async def handler(websocket):
        message = await websocket.recv()
        if message.startswith("1 says"):
            await websocket.close(4000)
        else:
            await websocket.send(message)
            await echo(websocket)

    found = await measured(handler)
    assert (found.held, found.failures) == (2, {"closed by the server with code 4000": 1})
    assert found.messages > 0


async def test_a_refusal_is_named():
    """An HTTP status instead of a WebSocket, and an answer that is no HTTP."""

    def refuse(connection, request):
        return connection.respond(HTTPStatus.FORBIDDEN, "no")

    found = await measured(process_request=refuse)
    assert found.held == 0
    assert found.failures == {"refused: server rejected WebSocket connection: HTTP 403": 3}

    async def babble(reader, writer):
        writer.write(b"nonsense\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        found = await load("server", f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", clients=2, seconds=0)
    assert [why.startswith("refused: ") for why in found.failures] == [True]


async def test_who_cannot_connect_is_named(monkeypatch):
    """Nobody listens; no TLS is spoken; nobody answers."""
    found = await load("nobody", f"ws://127.0.0.1:{free_port()}/", clients=2, seconds=0.1)
    assert (found.held, found.failures) == (0, {"not connected: ConnectionRefusedError": 2})
    async with serving() as url:
        found = await load("plain", url.replace("ws:", "wss:"), clients=1, seconds=0.1)
    assert [why.startswith("not connected: ") for why in found.failures] == [True]
    monkeypatch.setattr(module, "OPEN_LIMIT", 0.05)
    gone = asyncio.Semaphore(0)

    async def mute(reader, writer):
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        gone.release()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
        found = await load("mute", f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", clients=2, seconds=0.1)
        assert (found.held, found.failures) == (0, {"not accepted within 0.05 s": 2})
        async with asyncio.timeout(20):
            await gone.acquire()
            await gone.acquire()


def test_half_an_answer_is_none_yet():
    """A handshake may arrive in pieces."""
    written = []
    client = module._Client(0, module._Crowd(module.parse_uri("ws://127.0.0.1/"), {}, None, None))
    client.connection_made(SimpleNamespace(write=written.append))
    assert written[0].startswith(b"GET / HTTP/1.1")
    client.data_received(b"HTTP/1.1 101 ")
    assert not client._answered.is_set() and client.held


async def test_an_interrupt_leaves_no_connection(hurry):
    """Whoever stops the cell has closed all connections."""
    gone = []

    async def handler(websocket):
        with contextlib.suppress(ConnectionClosed):
            async for message in websocket:
                await websocket.send(message)
                running.cancel()
        gone.append(websocket)

    async with serving(handler) as url:
        running = asyncio.create_task(load("server", url, clients=2, seconds=10_000))
        with pytest.raises(asyncio.CancelledError):
            await running
        async with asyncio.timeout(20):
            while len(gone) < 2:
                await asyncio.sleep(0.001)


async def test_a_notebook_shows_a_bar(monkeypatch):
    """One display, updated while it measures; its last state is the same each time."""
    shown = []

    def display(bar, display_id):
        shown.append(bar)
        return SimpleNamespace(update=shown.append)

    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=None))
    monkeypatch.setattr(IPython.display, "display", display)
    await measured(clients=2)
    assert repr(shown[0]) == "server ░░░░░░░░░░░░░░░░░░░░"
    assert repr(shown[-1]) == "server ████████████████████ 2 of 2 connections held"
    assert len(shown) > 2
    assert 'value="1.00" max="1"' in shown[-1]._repr_html_()
    assert module._Bar("<b>", 0.5, "&")._repr_html_() == ('&lt;b&gt; <progress value="0.50" max="1"></progress> &amp;')


@pytest.mark.parametrize("terminal", [True, False])
async def test_a_terminal_shows_a_line(monkeypatch, terminal):
    """The line is written over in a terminal, and written once into a file."""
    said = io.StringIO()
    said.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.delitem(sys.modules, "IPython")
    await measured(clients=2)
    *before, last = said.getvalue().split("\r")
    assert last == "server ████████████████████ 2 of 2 connections held\n"
    assert bool(before) is terminal


def test_loads_are_shown_as_text_and_picture():
    """Both forms come from the same values, and are the same each time."""
    loads = Loads([Load("daphne", 2, 2, 10.0, 1.0, 2.0)])
    bundle = loads._repr_mimebundle_()
    assert bundle["text/plain"] == str(loads) == repr(loads)
    assert bundle["image/svg+xml"].startswith("<svg")
    assert bundle == Loads(loads.loads)._repr_mimebundle_()
