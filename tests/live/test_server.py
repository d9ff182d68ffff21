"""The public surface: serve, LiveServer, connections, records."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import types

import httpx
import pytest
import websockets.sync.client
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.layers import channel_layers, get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path
from websockets.exceptions import ConnectionClosed, InvalidStatus

from labserver import LiveServer, Trace, serve
from labserver.errors import LabError, NotAnApplication, PortInUse, ServerStopped, TimeLimit
from labserver.live import reactor
from labserver.live import server as server_module


class Member(AsyncWebsocketConsumer):
    """Joins a group, crashes on demand."""

    async def connect(self):
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        if text_data == "boom":
            raise ValueError("boom")
        await self.channel_layer.group_send("room", {"type": "room.message", "text": text_data})

    async def room_message(self, event):
        await self.send(text_data=event["text"])


def one_shot(*messages):
    """An application that sends these messages after the connect event, and waits for the end."""

    async def application(scope, receive, send):
        await receive()
        for message in messages:
            await send(message)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    return application


ACCEPT = {"type": "websocket.accept"}


def members(group="room"):
    """What the layer behind the lab's knows of a group."""
    return get_channel_layer()._layer.groups.get(group, {})


def is_free(port):
    """Whether somebody else could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


# --- the life of the server -------------------------------------------------------------------------------------------


def test_serve_gives_addresses_on_loopback(server):
    """A server has an http and a ws address on 127.0.0.1, and shows them."""
    assert isinstance(server, LiveServer)
    port = server.url.rpartition(":")[2]
    assert server.url == f"http://127.0.0.1:{port}"
    assert server.ws_url == f"ws://127.0.0.1:{port}"
    assert repr(server) == f"<LiveServer at {server.url}>"


def test_serve_again_is_the_same_server(server, echo):
    """A start cell that runs again gets the same server at the same address."""
    url = server.url
    assert serve(echo) is server
    assert server.url == url


async def test_serve_from_a_running_loop_keeps_it_ticking(server, echo):
    """On a kernel's loop a heartbeat runs while the server does, and only one of them."""

    def hearts():
        return [task for task in asyncio.all_tasks() if task.get_name() == "labserver heartbeat"]

    serve(echo)
    serve(echo)
    assert len(hearts()) == 1
    await asyncio.sleep(0)  # let it start
    server.stop()
    await asyncio.wait(hearts())
    assert hearts() == []


def test_a_heartbeat_dies_with_its_loop(server, echo):
    """A server outlives the loop it was started from, and the next loop gets a heartbeat of its own."""

    async def start():
        serve(echo)
        return server._heart

    first = asyncio.run(start())
    second = asyncio.run(start())
    assert first[1].cancelled() and second is not first
    server.stop()


async def test_serve_after_stop_works(server, echo):
    """A stopped server starts again at its old address, so that open pages find it."""
    url = server.url
    server.stop()
    assert repr(server) == "<LiveServer stopped>"
    assert serve(echo) is server
    assert server.url == url
    assert (await server.get("/")).text == "hello from /"


def test_serve_after_stop_moves_when_its_port_is_taken(server, echo):
    """A stopped server whose port somebody else has taken starts on another one."""
    port = server._port
    server.stop()
    with socket.create_server(("127.0.0.1", port)):
        serve(echo)
        assert server._port != port


def test_serve_after_stop_on_a_taken_port_says_so(server, echo):
    """A stopped server does not move when it was asked for a port by number."""
    port = server._port
    server.stop()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortInUse):
        serve(echo, port=port)


async def test_another_port_moves_the_server(server, echo):
    """Serving on another port moves the server there and frees the old one."""
    old = server._port
    with socket.create_server(("127.0.0.1", 0)) as probe:
        new = probe.getsockname()[1]
    assert serve(echo, port=new) is server
    assert server._port == new and is_free(old)
    assert serve(echo, port=new).url.endswith(f":{new}")
    assert (await server.get("/moved")).text == "hello from /moved"


async def test_a_taken_port_names_the_process_and_changes_nothing(server):
    """A taken port names who holds it and how to get a free one; the server stays where it is, with its application."""
    async with server.connect("/") as ws:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(PortInUse, match=rf"port {port} .*\(process {os.getpid()}\).*port=0") as caught:
                serve(one_shot(), port=port)
        assert isinstance(caught.value, LabError) and isinstance(caught.value, OSError)
        await ws.send("still here")
        assert await ws.recv() == "still here"
    assert (await server.get("/")).text == "hello from /"


FIRST_PORT_TAKEN = """
import socket, sys
from labserver import serve
from labserver.errors import PortInUse
async def application(scope, receive, send): pass
with socket.create_server(("127.0.0.1", 0)) as taken:
    try:
        serve(application, port=taken.getsockname()[1])
    except PortInUse as error:
        print(str(error).partition(" of ")[2])
server = serve(application)
from channels.layers import get_channel_layer
print(type(get_channel_layer()).__name__, type(get_channel_layer()._layer).__name__)
server.stop()
"""


def test_a_first_serve_on_a_taken_port_can_be_mended():
    """When the very first port is taken, the next serve works and wraps the channel layer, now the lab's, once."""
    done = subprocess.run([sys.executable, "-c", FIRST_PORT_TAKEN], capture_output=True, text=True, timeout=60)
    assert "serve(application, port=0) picks a free one" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "RecordedLayer InMemoryLayer"
    assert done.stderr == ""


async def test_stop_tells_clients_1001_and_frees_everything(server):
    """Stopping closes clients with 1001, frees the port, and leaves no socket, task or group."""
    port, daphne = server._port, server._daphne
    idle = httpx.AsyncClient(trust_env=False)  # its connection is kept alive
    assert (await idle.get(server.url)).status_code == 200
    server.application = Member.as_asgi()
    clients = [await server.connect("/") for _ in range(3)]
    assert len(members()) == 3
    server.stop()
    for client in clients:
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
        assert caught.value.rcvd.code == 1001
    assert [e.message["code"] for e in server.trace.events if e.type == "websocket.disconnect"] == [1001] * 3
    assert is_free(port)
    assert members() == {} and get_channel_layer().memberships == {}
    assert daphne.connections == {} and server.connections == ()
    assert [each for each in daphne._accepted if each.connected] == []
    assert reactor.call(_tasks()) == []
    await idle.aclose()


async def _tasks():
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def test_stop_is_idempotent(server):
    """A second stop does nothing, and what needs a running server says so."""
    server.stop()
    server.stop()
    for attempt in (lambda: server.url, lambda: server.ws_url, server.page, lambda: server.connect("/")):
        with pytest.raises(ServerStopped, match=r"expected a running server.*run the cell with serve"):
            attempt()
    with pytest.raises(ServerStopped):
        await server.get("/")


async def test_stop_ends_an_application_that_does_not_listen(server):
    """An application that neither returns nor takes a hint is cancelled, and its groups are left."""
    ended = []

    class Stubborn(Member):
        async def websocket_disconnect(self, message):
            try:
                await asyncio.sleep(60)
            finally:
                ended.append("cancelled")

    server.application = Stubborn.as_asgi()
    client = await server.connect("/")
    server.stop()
    with pytest.raises(ConnectionClosed):
        await client.recv()
    assert ended == ["cancelled"] and members() == {} and server.connections == ()


async def test_stop_ends_a_request_that_is_never_answered(server):
    """An HTTP client that still waits, and talks on meanwhile, loses its socket when the server stops."""
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def silent(scope, receive, send):
        loop.call_soon_threadsafe(started.set)
        await asyncio.sleep(60)

    server.application = silent
    reader, writer = await asyncio.open_connection("127.0.0.1", server._port)
    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + b"GET / HTTP/1.1\r\n" * 20_000)
    await started.wait()
    server.stop()
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()
    with contextlib.suppress(ConnectionResetError):
        await writer.wait_closed()


async def test_a_blocked_loop_is_told_apart(server, monkeypatch):
    """While an application blocks the server's loop, stop says who is to blame, and works when it is over."""
    monkeypatch.setattr(reactor.call, "__defaults__", (0.2,))
    blocked, go_on = asyncio.Event(), threading.Event()
    here = asyncio.get_running_loop()

    async def blocking(scope, receive, send):
        here.call_soon_threadsafe(blocked.set)
        go_on.wait(20)

    server.application = blocking
    request = asyncio.ensure_future(server.get("/"))
    await blocked.wait()
    with pytest.raises(TimeLimit, match="found it busy; an application that blocks it"):
        server.stop()
    assert server.url
    go_on.set()
    monkeypatch.undo()
    port = server._port
    server.stop()
    assert is_free(port)
    with pytest.raises(httpx.HTTPError):
        await request


# --- what it serves ---------------------------------------------------------------------------------------------------


async def test_hot_swap_keeps_open_sockets(server):
    """New connections get the new application, open ones keep theirs."""
    old = await server.connect("/")
    server.application = one_shot(ACCEPT, {"type": "websocket.send", "text": "new"})
    new = await server.connect("/")
    assert await new.recv() == "new"
    await old.send("old")
    assert await old.recv() == "old"
    assert [c.version for c in server.connections] == [server._recorder.version - 1, server._recorder.version]
    await old.close()
    await new.close()


async def test_a_dotted_name_is_imported(server):
    """An application may be given by its dotted name, as to any ASGI server."""
    serve("labserver.project.asgi:application")
    from labserver.project.asgi import application

    assert server.application is application
    async with server.connect("/ws/echo/") as ws:
        await ws.send(b"\x00\xff")
        assert await ws.recv() == b"\x00\xff"


class Consumer(WebsocketConsumer):
    """Anything with as_asgi()."""


def wsgi(environ, start_response):
    """A WSGI application."""


class Asgi2:
    """An ASGI 2 application: called twice."""

    def __init__(self, scope):
        pass


@pytest.mark.parametrize(
    ("application", "text"),
    [
        (Consumer, r"found the class Consumer; pass Consumer\.as_asgi\(\)"),
        (Consumer(), r"found an instance of Consumer; pass Consumer\.as_asgi\(\)"),
        (42, r"expected a callable async def application\(scope, receive, send\), found int 42"),
        (types, r"found module <module 'types'"),
        (wsgi, r"found wsgi\(environ, start_response\); is it a WSGI"),
        (Asgi2, r"found Asgi2\(scope\); is it a WSGI or ASGI 2 application"),
        ("no_colon", r"expected 'package\.module:name', found 'no_colon'"),
        (":name", r"expected 'package\.module:name', found ':name'"),
        ("module:", r"expected 'package\.module:name', found 'module:'"),
        ("no_such_package.asgi:application", r"'no_such_package\.asgi', found no module named 'no_such_package'"),
        ("labserver.project.asgi:app", r"'labserver\.project\.asgi' to define 'app', found no such name"),
        ("labserver.project.echo.consumers:EchoConsumer", r"pass EchoConsumer\.as_asgi\(\)"),
    ],
)
def test_what_is_no_application_is_refused_with_the_next_step(server, echo, application, text):
    """Whatever is no ASGI 3 application is refused at once, and the application that is served stays."""
    for attempt in (serve, lambda wrong: setattr(server, "application", wrong)):
        with pytest.raises(NotAnApplication, match=text):
            attempt(application)
    assert server.application is echo


def test_a_callable_that_hides_its_signature_is_taken(server):
    """A callable written in C shows no signature and is taken on trust."""
    server.application = dict
    assert server.application is dict


def test_every_kind_of_consumer_is_taken(server):
    """What `as_asgi()` returns looks like the class to `inspect`; it is an application all the same."""
    from channels.consumer import AsyncConsumer, SyncConsumer
    from channels.generic.http import AsyncHttpConsumer
    from channels.generic.websocket import AsyncJsonWebsocketConsumer

    for consumer in (AsyncConsumer, SyncConsumer, AsyncHttpConsumer, AsyncJsonWebsocketConsumer):
        server.application = application = consumer.as_asgi()
        assert server.application is application


async def test_a_plain_function_is_told_to_be_async(server, capfd):
    """A `def` application gets HTTP 500 and the advice to write `async def`."""

    def plain(scope, receive, send):
        pass

    server.application = plain
    with pytest.raises(InvalidStatus) as caught:
        await server.connect("/")
    assert caught.value.response.status_code == 500
    assert "write `async def`" in capfd.readouterr().err


# --- crashes and refusals ---------------------------------------------------------------------------------------------


async def test_a_crash_before_accept_is_http_500(server, capfd, left):
    """An application that raises before accept: the handshake gets HTTP 500, the cell the reason."""

    async def crash(scope, receive, send):
        raise ValueError("too early")

    server.application = crash
    with pytest.raises(InvalidStatus) as caught:
        await server.connect("/early")
    assert caught.value.response.status_code == 500
    assert [(e.direction, e.type) for e in server.trace.events] == [("error", "ValueError")]
    said = capfd.readouterr().err
    assert said.startswith("/early crashed: the handshake gets HTTP 500")
    assert "ValueError: too early" in said and 'raise ValueError("too early")' in said
    await left(server)


async def test_a_crash_after_accept_is_1011_at_once(server, capfd, left):
    """A consumer that raises: its client gets 1011 without waiting for daphne's sweep, and its groups are left."""
    server.application = Member.as_asgi()
    reactor.loop.call_soon_threadsafe(server._daphne._timer.cancel)  # no sweep: nothing else could close the socket
    async with server.connect("/") as ws:
        assert len(members()) == 1
        await ws.send("boom")
        with pytest.raises(ConnectionClosed) as caught:
            await ws.recv()
    assert caught.value.rcvd.code == 1011
    assert members() == {} and get_channel_layer().memberships == {}
    assert server.trace.events[-1].message == {"type": "group_discard", "group": "room", "by": "labserver"}
    assert (
        "/ crashed: the client gets close code 1011, and the application gets no websocket.disconnect"
        in capfd.readouterr().err
    )
    await left(server)


async def test_a_crash_after_the_response_began_cuts_it_off(server, capfd, left):
    """A response that breaks in the middle is cut off, so that nobody takes it for whole."""

    async def half(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("no more")

    server.application = half
    with pytest.raises(httpx.RemoteProtocolError):
        await server.get("/half")
    assert "/half crashed: the response is cut off" in capfd.readouterr().err
    await left(server)


async def test_a_crash_before_the_response_is_http_500(server, capfd, left):
    """A request whose application raises gets HTTP 500."""

    async def crash(scope, receive, send):
        raise RuntimeError("no")

    server.application = crash
    assert (await server.get("/")).status_code == 500
    assert "/ crashed: the client gets HTTP 500" in capfd.readouterr().err
    await left(server)


async def test_returning_early_is_said(server, capfd, left):
    """An application that returns while the socket is open is named as the reason for the silence."""

    async def short(scope, receive, send):
        await receive()
        await send(ACCEPT)

    server.application = short
    async with server.connect("/short"):
        pass
    assert server.trace.events[-1].type == "Returned"
    assert "/short: the application returned while the socket was open" in capfd.readouterr().err
    await left(server)


async def test_returning_before_the_handshake_leaves_nothing(server, capfd, left):
    """An application that returns unanswered is named, and a client that gives up leaves nothing behind."""

    async def silent(scope, receive, send):
        await receive()

    server.application = silent
    with pytest.raises(TimeLimit, match=r"accept or close / within 0\.2 s, found no answer"):
        await server.connect("/", open_timeout=0.2)
    assert "returned without accept or close" in capfd.readouterr().err
    await left(server)


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
async def test_an_application_that_exits_ends_only_its_connection(server, end, capfd):
    """`exit()` in an application closes its connection with 1011, and the server serves on."""

    async def leave(scope, receive, send):
        await receive()
        await send(ACCEPT)
        raise end

    server.application = leave
    async with server.connect("/") as ws:
        with pytest.raises(ConnectionClosed) as caught:
            await ws.recv()
    assert caught.value.rcvd.code == 1011
    assert end.__name__ in capfd.readouterr().err
    assert (await server.get("/")).status_code == 500  # the loop runs: it crashes again
    server.application = one_shot(ACCEPT)
    async with server.connect("/"):
        pass


def routed():
    """An application with routes, built as people build it."""
    return ProtocolTypeRouter(
        {"websocket": URLRouter([path("ws/a/", Consumer.as_asgi()), path("ws/b/", Member.as_asgi())])}
    )


async def test_no_route_is_403_and_says_which_there_are(server, capfd, left):
    """Row 55: a WebSocket path that nothing matches gets 403, and the cell the routes that there are."""
    server.application = routed()
    with pytest.raises(InvalidStatus) as caught:
        await server.connect("/ws/c/")
    assert caught.value.response.status_code == 403
    said = capfd.readouterr().err
    assert "no route for /ws/c/" in said and "HTTP 403; the routes are: ws/a/, ws/b/" in said
    assert [(e.direction, e.type) for e in server.trace.events][:2] == [
        ("error", "NoRoute"),
        ("send", "websocket.close"),
    ]
    await left(server)


async def test_no_http_route_is_404_and_says_so(server, capfd):
    """Row 55: a request that no protocol or path answers gets 404, and the cell a line about it."""
    server.application = routed()
    assert (await server.get("/page")).status_code == 404
    assert "HTTP 404; the application has no routes for http" in capfd.readouterr().err


async def test_a_client_that_vanishes_is_1006(server, left):
    """A client that goes without a close frame is told to the application as 1006, and is forgotten."""
    ws = await server.connect("/")
    ws.transport.abort()
    event = await asyncio.to_thread(server.trace.wait_for, "websocket.disconnect")
    assert event.message["code"] == 1006
    await left(server)


async def test_a_client_that_gives_up_during_the_handshake_leaves_nothing(server, left):
    """A client that goes before accept is told to the application, whose late accept does no harm."""

    async def late(scope, receive, send):
        await receive()
        await receive()
        await send(ACCEPT)

    server.application = late
    with pytest.raises(TimeLimit):
        await server.connect("/", open_timeout=0.2)
    await left(server)


# --- clients ----------------------------------------------------------------------------------------------------------


async def test_clients_of_every_kind_share_the_server(server):
    """Async and sync clients, and HTTP, all reach the one server from the process it runs in."""
    async with server.connect("path-without-slash") as ws:
        await ws.send("async")
        assert await ws.recv() == "async"
        with websockets.sync.client.connect(server.ws_url + "/sync", proxy=None) as plain:
            plain.send("sync")
            assert plain.recv(timeout=5) == "sync"
    response = await server.get("page", params={"q": "1"})
    assert response.text == "hello from /page"
    assert [scope["path"] for scope in server.trace.scopes.values()] == ["/path-without-slash", "/sync", "/page"]


@pytest.mark.parametrize(("origin", "seen"), [("http://evil.example", b"http://evil.example"), (None, None)])
async def test_the_origin_can_be_chosen(server, origin, seen):
    """The Origin header is whatever the caller says, or none."""
    origins = []

    async def look(scope, receive, send):
        origins.append(dict(scope["headers"]).get(b"origin"))
        await one_shot(ACCEPT)(scope, receive, send)

    server.application = look
    async with server.connect("/", origin=origin):
        pass
    async with server.connect("/"):
        pass
    assert origins == [seen, server.url.encode()]


def test_page_shows_the_address(server):
    """A page is an address of the running server."""
    page = server.page("chat/", height=123)
    assert page.url == server.url + "/chat/"
    assert 'height="123"' in page._repr_mimebundle_()["text/html"]


def test_serve_and_page_say_what_stands_in_the_way(server, echo, monkeypatch, capfd):
    """What keeps clients and pages away is said under the cell that serves, or shows a page; else nothing is."""
    serve(echo)
    server.page("/")
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(server_module, "strangers", lambda: ["127.0.0.1 is a stranger", "  let it in"])
    monkeypatch.setattr(server_module, "framed", lambda: ["no frames"])
    serve(echo)
    assert capfd.readouterr().err == "127.0.0.1 is a stranger\n  let it in\n"
    server.page("/")
    assert capfd.readouterr().err == "no frames\n"


# --- what it saw ------------------------------------------------------------------------------------------------------


async def test_connections_tell_who_is_there(server):
    """Live connections are listed with id, path, user, groups, state and version of the code."""
    assert server.connections == ()

    class Somebody:
        def __str__(self):
            return "alice"

    consumer = Member.as_asgi()

    async def signed_in(scope, receive, send):
        return await consumer(dict(scope, user=Somebody()), receive, send)

    server.application = signed_in
    async with server.connect("/a") as ws:
        await ws.send("hi")
        await ws.recv()
        (alice,) = server.connections
        assert (alice.id, alice.path, alice.user, alice.groups, alice.state) == (
            "ws-1",
            "/a",
            "alice",
            ("room",),
            "open",
        )
        assert alice.version == server._recorder.version
        server.application = one_shot(ACCEPT)
        async with server.connect("/b"):
            _, other = server.connections
            assert (other.id, other.user, other.groups) == ("ws-2", None, ())
            assert other.version == alice.version + 1
    assert server.connections == ()


async def test_a_user_that_cannot_be_told_is_none(server):
    """While the user is not loaded yet, connections are listed without one."""

    class Unready:
        def __str__(self):
            raise ValueError("Accessing scope user before it is ready.")

    consumer = Member.as_asgi()

    async def lazy(scope, receive, send):
        return await consumer(dict(scope, user=Unready()), receive, send)

    server.application = lazy
    async with server.connect("/"):
        assert [c.user for c in server.connections] == [None]


def test_a_finished_application_has_no_user():
    """Of an application that does not run there is nobody to tell."""
    assert server_module._user(None) is None
    assert server_module._user(object()) is None


async def test_record_holds_only_what_is_inside(server):
    """A record begins and ends with its block, whatever goes on around it."""
    async with server.connect("/") as before:
        with server.record() as trace:
            async with server.connect("/"):
                pass
        await before.send("after")
        await before.recv()
    assert isinstance(trace, Trace)
    assert [(e.connection, e.type) for e in trace.events] == [
        ("ws-1", "websocket.connect"),
        ("ws-1", "websocket.accept"),
        ("ws-1", "websocket.disconnect"),
    ]


async def test_an_async_record_waits_for_reactions(server):
    """A record, async or not, ends only when every handler has come to rest."""

    class Slow(AsyncWebsocketConsumer):
        async def receive(self, text_data=None, bytes_data=None):
            await asyncio.sleep(0.2)
            await self.send(text_data="done")

    server.application = Slow.as_asgi()
    ws = await server.connect("/")
    with server.record() as plain:
        await ws.send("1")
        plain.wait_for("websocket.receive")
    async with server.record() as trace:
        await ws.send("2")
        await asyncio.to_thread(trace.wait_for, "websocket.receive")
    assert [e.type for e in plain.events] == [e.type for e in trace.events] == ["websocket.receive", "websocket.send"]
    await ws.close()


async def test_record_of_a_server_that_stopped(server):
    """A record may outlive the server: what happened until then is in it."""
    async with server.record() as trace:
        with server.record() as inner:
            await server.get("/")
            server.stop()
    assert (
        [e.type for e in trace.events]
        == [e.type for e in inner.events]
        == ["http.response.start", "http.response.body"]
    )


async def test_trace_clear_starts_again(server):
    """After a clear the trace is empty, and the next connection is the first."""
    await server.get("/1")
    server.trace.clear()
    assert server.trace.events == ()
    await server.get("/2")
    assert {e.connection for e in server.trace.events} == {"http-1"}
    assert server.trace.scopes["http-1"]["path"] == "/2"


async def test_the_server_cannot_wait_for_itself(server, echo, capfd):
    """A record, or a stop, inside an application on the server's own loop is refused at once; a swap works."""

    async def inside(scope, receive, send):
        await receive()
        try:
            with server.record():
                pass
        except LabError as error:
            await send(ACCEPT)
            await send({"type": "websocket.send", "text": str(error)})
        assert serve(echo) is server
        await receive()

    server.application = inside
    async with server.connect("/") as ws:
        assert (
            "found one from an application, on the server's own loop; make the call in another thread"
            in await ws.recv()
        )
    assert server.application is echo


def test_layers_are_wrapped_in_the_manager(server):
    """The layers that Channels hands out are the recorded ones."""
    assert type(channel_layers["default"]).__name__ == "RecordedLayer"


def test_a_misspelt_attribute_is_an_error(server):
    """Assigning to a name that the server does not have fails, instead of doing nothing."""
    with pytest.raises(AttributeError):
        server.aplication = None
