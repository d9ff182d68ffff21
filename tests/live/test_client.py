"""Clients of the live server: limits on every wait, and texts that say what was awaited."""

import asyncio
import threading

import httpx
import pytest
from websockets.exceptions import ConnectionClosedOK, InvalidStatus

from labserver.errors import ServerStopped, TimeLimit
from labserver.live import client
from labserver.live import server as server_module


@pytest.fixture
def impatient(monkeypatch):
    """The time limit is a fifth of a second."""
    monkeypatch.setattr(client, "WAIT_LIMIT", 0.2)


async def nothing(port):
    """In place of the server's waiting until all is settled."""


async def refuse(scope, receive, send):
    """Refuses every handshake."""
    await receive()
    await send({"type": "websocket.close"})


async def test_a_connection_is_websockets_own(server):
    """`async with` gives a connection with websockets' whole API, and closes it."""
    async with server.connect("/") as ws:
        await ws.send("hi")
        assert await ws.recv() == "hi"
        await ws.send(b"bytes")
        assert await ws.recv(decode=True) == "bytes"
        await ws.ping()
    assert ws.close_code == 1000
    assert server.connections == ()


async def test_connect_can_be_awaited(server):
    """An awaited connection stays open until its owner closes it."""
    ws = await server.connect("/")
    assert len(server.connections) == 1
    await ws.close()
    with pytest.raises(ConnectionClosedOK):
        await ws.recv()


async def test_options_are_those_of_websockets(server):
    """What `websockets.connect` takes may be handed over, and wins over the defaults."""
    async with server.connect("/", additional_headers={"x-lesson": "1"}, ping_interval=7) as ws:
        assert ws.request.headers["x-lesson"] == "1"
        assert ws.ping_interval == 7


async def test_recv_has_a_limit(server, impatient):
    """A message that does not come ends in a time limit that says where to look, and the connection stays."""
    async with server.connect("/quiet") as ws:
        with pytest.raises(
            TimeLimit, match=r"expected a message from /quiet within 0.2 s, found none; look at server.trace"
        ):
            await ws.recv()
        await ws.send("still open")
        assert await ws.recv() == "still open"


async def test_waiting_for_the_end_has_a_limit(server, impatient):
    """A consumer that never closes does not hold its client for ever, and the connection can still be used."""
    async with server.connect("/") as ws:
        with pytest.raises(TimeLimit, match="to be closed within .* found it open"):
            await ws.wait_closed()
        await ws.send("still here")
        assert await ws.recv() == "still here"


async def test_a_limit_of_the_callers_own_is_left_alone(server):
    """A caller's shorter time limit ends as Python's own."""
    async with server.connect("/") as ws:
        with pytest.raises(TimeoutError) as caught:
            await asyncio.wait_for(ws.recv(), 0.01)
        assert not isinstance(caught.value, TimeLimit)


async def test_the_handshake_has_a_limit(server):
    """A handshake that nobody answers ends in a time limit that names the events to send."""

    async def silent(scope, receive, send):
        while (await receive())["type"] != "websocket.disconnect":
            pass

    server.application = silent
    with pytest.raises(TimeLimit, match=r"to accept or close /x within 0\.1 s, found no answer; did connect\(\) run"):
        await server.connect("/x", open_timeout=0.1)
    with pytest.raises(TimeLimit, match="with a subprotocol that was offered, or with none"):
        await server.connect("/x", open_timeout=0.1, subprotocols=["chat"])


async def test_an_application_that_blocks_the_loop_is_named(server, impatient, monkeypatch):
    """Whoever waits for it is told that the loop is busy, within a limit, instead of what else may be the matter."""
    monkeypatch.setattr(server_module, "BUSY_LIMIT", 0.3)
    done = threading.Event()

    async def blocks(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        done.wait(30)

    server.application = blocks
    try:
        with pytest.raises(TimeLimit, match="found it busy; an application that blocks it"):
            async with server.connect("/", close_timeout=0.1) as ws:
                await ws.send("go")
                await ws.recv()
        with pytest.raises(TimeLimit, match="found it busy"):
            await server.connect("/", open_timeout=0.1)
        with pytest.raises(TimeLimit, match="found it busy"):
            await server.get("/", timeout=0.1)
    finally:
        done.set()


async def test_a_handshake_that_daphne_gives_up_is_the_same(server, capfd):
    """When daphne's own limit for the handshake comes first, the text is the same."""

    async def short(scope, receive, send):
        await receive()

    server.application = short
    server._daphne.ws_factory.setProtocolOptions(openHandshakeTimeout=0.1)
    with pytest.raises(TimeLimit, match="found no answer"):
        await server.connect("/")
    assert "returned without accept or close" in capfd.readouterr().err


async def test_a_connection_that_is_not_open_yet_says_so(server):
    """Who forgets to await or enter the connection is told how."""
    with pytest.raises(AttributeError, match=r"found one that is not open yet; write `async with .* before ws\.send"):
        server.connect("/").send("too early")


async def test_a_refusal_is_websockets_own_and_the_trace_is_whole(server):
    """A refused handshake raises InvalidStatus, when the trace already holds how the refusal ended."""
    server.application = refuse
    with server.record() as trace:
        with pytest.raises(InvalidStatus) as caught:
            async with server.connect("/"):
                pass
        seen = [e.type for e in trace.events]
    assert caught.value.response.status_code == 403
    assert seen == ["websocket.connect", "websocket.close"]
    assert server.connections == ()


async def test_a_stopped_server_is_said(server):
    """Clients of a server that has stopped meanwhile are told to start it again."""
    late, url = server.connect("/"), server.url
    server.stop()
    with pytest.raises(ServerStopped, match="found nothing listening; run the cell with serve"):
        await late
    with pytest.raises(ServerStopped, match="found nothing listening"):
        await client.get(url + "/", nothing)


async def test_get_is_httpx(server):
    """`get` gives an httpx response, takes its options, and returns when the request is over."""
    response = await server.get("/", headers={"x-lesson": "1"})
    assert isinstance(response, httpx.Response) and response.text == "hello from /"
    assert (b"x-lesson", b"1") in [tuple(header) for header in server._log.scope(server._log._serial)["headers"]]
    assert server.connections == ()


async def test_get_has_a_limit(server, impatient):
    """A response that does not come ends in a time limit that says where to look."""

    async def silent(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass

    server.application = silent
    with pytest.raises(TimeLimit, match=r"expected an answer to GET http://127.0.0.1:\d+/x within 0.2 s.*server.trace"):
        await server.get("/x")
