"""The callable in front of every application: what it records, says and changes; driven without a server."""

import asyncio
import inspect
import sys
from pathlib import Path

import pytest
import websockets
from channels.generic.websocket import WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import OriginValidator
from channels.sessions import CookieMiddleware
from django.db import OperationalError
from django.urls import path

from labserver.live import recorder
from labserver.trace.events import CELL, Log, Trace

WS = {"type": "websocket", "path": "/x", "query_string": b"", "headers": [], "subprotocols": []}
HTTP = {"type": "http", "path": "/x", "method": "GET", "query_string": b"", "headers": []}
CONNECT, ACCEPT = {"type": "websocket.connect"}, {"type": "websocket.accept"}
CLOSE, DISCONNECT = {"type": "websocket.close"}, {"type": "websocket.disconnect", "code": 1000}
START, BODY = {"type": "http.response.start", "status": 200}, {"type": "http.response.body", "body": b""}


class Wire:
    """A recorder, with the events that its application will receive and those that it sent."""

    def __init__(self, application, *events, scope=WS):
        self.log = Log()
        self.trace = Trace(self.log)
        self.cleaned = []
        self.sent = []
        self.scope = scope
        self.events = asyncio.Queue()
        for event in events:
            self.events.put_nowait(event)
        self.recorder = recorder.Recorder(self.log, self.clean)
        self.recorder.swap(application)

    async def clean(self, number):
        self.cleaned.append(number)

    async def send(self, message):
        self.sent.append(message)

    async def run(self):
        await self.recorder(self.scope, self.events.get, self.send)

    def seen(self):
        return [(e.direction, e.type) for e in self.trace.events]


def states(*sends, scope=WS):
    """An application that performs these sends, and the states it saw its connection in after each."""
    found = []

    async def application(scope, receive, send):
        (connection,) = wire.recorder.live.values()
        for message in sends:
            await send(message)
            found.append(connection.state)
        await receive()
        found.append(connection.state)

    end = DISCONNECT if scope["type"] == "websocket" else {"type": "http.disconnect"}
    wire = Wire(application, end, scope=scope)
    return wire, found


async def test_events_are_recorded_in_order_under_the_connections_number():
    """What an application receives and sends is recorded, and what runs for it knows its connection."""
    numbers = []

    async def application(scope, receive, send):
        numbers.append(recorder.current.get())
        await receive()
        await send(ACCEPT)
        await receive()

    wire = Wire(application, CONNECT, DISCONNECT)
    await asyncio.create_task(wire.run())
    assert wire.seen() == [
        ("receive", "websocket.connect"),
        ("send", "websocket.accept"),
        ("receive", "websocket.disconnect"),
    ]
    assert numbers == [1] and recorder.current.get() == CELL
    assert wire.recorder.live == {} and wire.cleaned == []


@pytest.mark.parametrize(
    ("sends", "expected"),
    [
        ([ACCEPT], ["open", "closed"]),
        ([ACCEPT, {"type": "websocket.send", "text": "x"}, ACCEPT], ["open", "open", "open", "closed"]),
        ([CLOSE], ["refused", "closed"]),
        ([ACCEPT, CLOSE], ["open", "closing", "closed"]),
        ([{}], ["connecting", "closed"]),
    ],
)
async def test_states_of_a_websocket(sends, expected):
    """A WebSocket goes from connecting to open, refused, closing and closed, as the application sends and receives."""
    wire, found = states(*sends)
    await wire.run()
    assert found == expected


@pytest.mark.parametrize(
    ("sends", "expected"),
    [
        ([START, {**BODY, "more_body": True}, BODY], ["open", "open", "closed", "closed"]),
        ([], ["closed"]),
    ],
)
async def test_states_of_a_request(sends, expected):
    """A request is open from the start of its response until the end of the body."""
    wire, found = states(*sends, scope=HTTP)
    await wire.run()
    assert found == expected


async def test_a_message_that_the_server_refuses_changes_no_state():
    """A send that the server refuses is recorded, and leaves the connection as it was."""

    async def refuse(message):
        raise ValueError("Socket has not been accepted")

    seen = []

    async def application(scope, receive, send):
        (connection,) = wire.recorder.live.values()
        with pytest.raises(ValueError, match="not been accepted"):
            await send(CLOSE)
        seen.append(connection.state)
        await send(CLOSE) if wire.send != refuse else None

    wire = Wire(application)
    wire.send = refuse
    await wire.run()
    assert seen == ["connecting"] and wire.seen()[0] == ("send", "websocket.close")


async def test_waiting_is_known_even_when_the_wait_is_cancelled():
    """A connection waits for its client only as long as its application does."""
    seen = []

    async def application(scope, receive, send):
        (connection,) = wire.recorder.live.values()
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        seen.append(connection.waiting)
        waiting.cancel()
        await asyncio.wait([waiting])
        seen.append(connection.waiting)
        wire.events.put_nowait(DISCONNECT)
        await receive()
        seen.append(connection.waiting)

    wire = Wire(application)
    await wire.run()
    assert seen == [True, False, False]


async def test_a_connection_remembers_what_was_served_to_it():
    """Tests that are made of a recording import the application by the name it was served under then."""
    wire = Wire(None)
    for served in ("mysite.asgi:application", ""):
        wire.recorder.swap(_accepting, served)
        wire.events.put_nowait(CONNECT)
        wire.events.put_nowait(DISCONNECT)
        await wire.run()
    assert (wire.log.served(1), wire.log.served(2)) == ("mysite.asgi:application", "")


async def _accepting(scope, receive, send):
    await receive()
    await send(ACCEPT)
    await receive()


class Room:
    """Holds an exception, as Django's models do."""

    class DoesNotExist(Exception):
        """No such room."""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no"), {"type": "ValueError", "text": "no", "module": "builtins"}),
        (
            Room.DoesNotExist("no"),
            {"type": "DoesNotExist", "text": "no", "module": __name__, "class": "Room.DoesNotExist"},
        ),
    ],
)
async def test_a_crash_tells_where_its_class_can_be_imported(error, told, capsys):
    """An error is recorded with its module, and with its path there if that is more than its name."""

    async def application(scope, receive, send):
        raise error

    wire = Wire(application)
    with pytest.raises(type(error)):
        await wire.run()
    (event,) = wire.trace.events
    assert event.message.pop("where").startswith("test_recorder.py, line ")
    assert event.message == told


@pytest.mark.parametrize("by", ["server", "application"])
async def test_what_the_server_would_not_take_is_told_apart(by, capsys):
    """An error that the server's `send` has raised is marked: a communicator raises none there."""

    async def application(scope, receive, send):
        await send(ACCEPT)
        raise RuntimeError("accepted already")

    wire = Wire(application)
    if by == "server":

        async def refusing(message):
            raise RuntimeError("accepted already")

        wire.send = refusing
    with pytest.raises(RuntimeError):
        await wire.run()
    assert wire.trace.events[-1].message.get("by") == ("server" if by == "server" else None)


async def test_a_swap_changes_the_version():
    """Every application that is swapped in has the next version."""

    async def look(scope, receive, send):
        versions.append([c.version for c in wire.recorder.live.values()])
        await receive()

    versions = []
    wire = Wire(look, DISCONNECT, DISCONNECT)
    await wire.run()
    wire.recorder.swap(look)
    await wire.run()
    assert versions == [[1], [2]]


# --- crashes ----------------------------------------------------------------------------------------------------------


def crashing(error, *sends, receives=0):
    """An application that sends this and then raises."""

    async def application(scope, receive, send):
        for message in sends:
            await send(message)
        for _ in range(receives):
            await receive()
        raise error

    return application


@pytest.mark.parametrize(
    ("scope", "sends", "receives", "effect"),
    [
        (WS, [], 0, "the handshake gets HTTP 500, and the application gets no websocket.disconnect"),
        (WS, [ACCEPT], 0, "the client gets close code 1011, and the application gets no websocket.disconnect"),
        (WS, [ACCEPT], 1, "the connection was closed already"),
        (WS, [ACCEPT, CLOSE], 0, "the connection was closed already, and the application gets no websocket.disconnect"),
        (HTTP, [], 0, "the client gets HTTP 500"),
        (HTTP, [START], 0, "the response is cut off"),
    ],
)
async def test_a_crash_is_said_with_its_effect(scope, sends, receives, effect, capsys):
    """A crash is recorded and told at once, with what the client gets; then the connection is tidied up."""
    wire = Wire(crashing(ValueError("boom"), *sends, receives=receives), DISCONNECT, scope=scope)
    with pytest.raises(ValueError, match="boom"):
        await wire.run()
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"/x crashed: {effect}"
    assert said[-1] == "ValueError: boom"
    event = wire.trace.events[-1]
    assert (event.direction, event.type, event.message["text"]) == ("error", "ValueError", "boom")
    assert "test_recorder.py, line" in event.message["where"] and "in application" in event.message["where"]
    assert wire.cleaned == [1] and wire.recorder.live == {}


async def test_a_plain_function_is_told_to_be_async(capsys):
    """An application that returns nothing to await is told to be `async def`."""
    wire = Wire(lambda scope, receive, send: None)
    with pytest.raises(TypeError, match=r"found a function that returned NoneType; write `async def`"):
        await wire.run()
    assert "write `async def`" in capsys.readouterr().err
    assert wire.trace.events[-1].message["where"] == ""


async def test_an_application_that_exits_is_a_crash(capsys):
    """`exit()` is told like any other crash."""
    wire = Wire(crashing(SystemExit(3)))
    with pytest.raises(SystemExit):
        await wire.run()
    assert capsys.readouterr().err.endswith("SystemExit: 3\n")
    assert wire.cleaned == [1]


async def test_a_cancelled_application_is_tidied_up():
    """An application that is killed leaves its groups, too."""
    wire = Wire(crashing(asyncio.CancelledError()))
    with pytest.raises(asyncio.CancelledError):
        await wire.run()
    assert wire.cleaned == [1] and wire.recorder.live == {} and wire.seen() == []


@pytest.mark.parametrize(
    ("scope", "sends", "text"),
    [
        (WS, [], "the application returned without accept or close"),
        (WS, [ACCEPT], "the application returned while the socket was open"),
        (HTTP, [START], "the application returned before its response was complete"),
    ],
)
async def test_returning_too_early_is_said(scope, sends, text, capsys):
    """An application that returns and leaves its client hanging is named."""

    async def application(scope, receive, send):
        for message in sends:
            await send(message)

    wire = Wire(application, scope=scope)
    await wire.run()
    assert f"/x: {text}" in capsys.readouterr().err
    assert wire.seen()[-1] == ("error", "Returned")


@pytest.mark.parametrize(("scope", "sends"), [(WS, [CLOSE]), (WS, [ACCEPT, CLOSE]), (HTTP, [START, BODY])])
async def test_returning_after_the_end_is_fine(scope, sends, capsys):
    """An application that returns when all is said and done is not talked about."""

    async def application(scope, receive, send):
        for message in sends:
            await send(message)

    wire = Wire(application, scope=scope)
    await wire.run()
    assert capsys.readouterr().err == ""
    assert [direction for direction, _ in wire.seen()] == ["send"] * len(sends)


@pytest.mark.parametrize(
    ("error", "step"),
    [
        (AttributeError("'NoneType' object has no attribute 'group_add'"), "name one in CHANNEL_LAYERS"),
        (OperationalError("no such table: chat_message"), "python manage.py migrate"),
    ],
)
def test_what_a_project_lacks_is_named(error, step):
    """A channel layer, or the tables of its database: the errors' own texts do not lead there."""
    (line,) = recorder.hints(error)
    assert step in line


async def test_a_route_without_as_asgi_gets_the_next_step(capsys):
    """A consumer class in a route, which Python alone explains badly, gets a line that says what to write."""
    wire = Wire(URLRouter([path("x", lambda scope, receive, send: WebsocketConsumer())]))
    with pytest.raises(TypeError):
        await wire.run()
    said = capsys.readouterr().err
    assert "  is WebsocketConsumer a consumer in a route? then write path(…, WebsocketConsumer.as_asgi())" in said


async def test_what_is_no_event_is_told_to_be_one_where_it_was_sent(capsys):
    """A list handed to `send` gets the advice to send an event; a list that came from the client does not."""

    async def sends(scope, receive, send):
        await send([1])

    async def reads(scope, receive, send):
        [1].get("type")

    for application, steps in ((sends, ['  send takes an event: {"type": …}']), (reads, [])):
        wire = Wire(application)
        with pytest.raises(AttributeError):
            await wire.run()
        said = capsys.readouterr().err.splitlines()
        assert said[said.index("AttributeError: 'list' object has no attribute 'get'") + 1 :] == steps


# --- routes -----------------------------------------------------------------------------------------------------------


def router():
    """Two routes behind the usual middleware, for WebSockets alone."""
    urls = URLRouter([path("ws/a/", WebsocketConsumer.as_asgi()), path("ws/<name>/b/", WebsocketConsumer.as_asgi())])
    return ProtocolTypeRouter({"websocket": OriginValidator(CookieMiddleware(urls), ["*"])})


async def test_no_route_refuses_a_websocket(capsys):
    """A WebSocket that no route matches is refused, and the routes that there are get named."""
    wire = Wire(router())
    await wire.run()
    assert wire.sent == [CLOSE]
    assert wire.seen() == [("error", "NoRoute"), ("send", "websocket.close")]
    said = capsys.readouterr().err
    assert said.startswith("no route for /x: No route found for path 'x'.")
    assert "  the client gets HTTP 403; the routes are: ws/a/, ws/<name>/b/" in said
    assert wire.cleaned == []


async def test_no_route_answers_a_request(capsys):
    """A request that no route matches gets 404."""
    wire = Wire(router(), scope=HTTP)
    await wire.run()
    assert [message.get("status") for message in wire.sent] == [404, None]
    assert "HTTP 404; the application has no routes for http" in capsys.readouterr().err


async def test_the_routes_named_are_those_of_the_application_that_ran(capsys):
    """After a hot swap, a refusal still names the routes of the code that refused."""
    inner = router()

    async def swapping(scope, receive, send):
        wire.recorder.swap(router())
        await inner(scope, receive, send)

    swapping.inner = inner
    wire = Wire(swapping)
    await wire.run()
    assert "the routes are: ws/a/" in capsys.readouterr().err


async def test_a_value_error_of_ones_own_is_a_crash(capsys):
    """Only Channels' routing may refuse: the same class raised elsewhere is a crash."""
    wire = Wire(URLRouter([path("x", crashing(ValueError("No route found")))]), scope=WS)
    with pytest.raises(ValueError, match="No route"):
        await wire.run()
    assert wire.seen() == [("error", "ValueError")]


def test_routes_of_nested_routers_are_whole():
    """A router in a router, a middleware between them included, is named by the addresses that lead to a consumer."""

    class Middleware:
        def __init__(self, app):
            self.app = app

    async def end(scope, receive, send):
        """Where the routes lead."""

    inner = URLRouter([path("", end), path("seat/", end)])
    outer = Middleware(URLRouter([path("hall/", inner), path("desk/", end)]))
    assert recorder.routes(outer, "websocket") == ["hall/", "hall/seat/", "desk/"]


def test_routes_of_what_has_none():
    """An application that shows no routes has none, however it is wrapped."""

    class Wrapper:
        def __init__(self, application):
            self.application = application

    class Mounted:
        routes = ("as another framework has them",)

    class Endless:
        pass

    endless = Endless()
    endless.inner = endless
    assert recorder.routes(Wrapper(crashing(None)), "websocket") == []
    assert recorder.routes(endless, "websocket") == []
    assert recorder.routes(ProtocolTypeRouter({}), "http") == []
    assert recorder.routes(Wrapper(Mounted()), "http") == ["as another framework has them"]


# --- a learner's own lines --------------------------------------------------------------------------------------------


def raised(function, *args):
    """The error that a call raises."""
    try:
        function(*args)
    except Exception as error:
        return error


def test_own_lines_leave_libraries_out():
    """Of a traceback that goes through libraries, the learner's own lines remain, by file name alone."""
    (line,) = recorder.own_lines(raised(inspect.signature, 3))
    assert line.startswith("  test_recorder.py, line ") and line.endswith("in raised\n    function(*args)")


def test_own_lines_name_a_cell():
    """Code of a cell is said to be of the cell, whatever its temporary file is called."""
    source = "def inner():\n    1 / 0\ninner()\n"
    for filename in ("/tmp/ipykernel_123/456.py", "<ipython-input-1>"):
        error = raised(exec, compile(source, filename, "exec"))
        assert recorder.own_lines(error)[1:] == ["  cell, line 3, in <module>", "  cell, line 2, in inner"]


def test_own_lines_keep_the_reference_project():
    """The reference project is a learner's code to read: its lines are shown, the rest of the package's are not."""
    folder = str(recorder.Path(recorder.__file__).parents[1])
    for name, kept in (("/project/chat.py", 2), ("/live/x.py", 1)):
        error = raised(exec, compile("1 / 0", folder + name, "exec"))
        assert len(recorder.own_lines(error)) == kept


def test_installed_packages_are_libraries_and_a_project_below_the_prefix_is_not():
    """What pip or the system installed is left out; a project is shown wherever it stands, also under /usr."""
    packages = [Path(each.__file__) for each in (websockets, inspect)]
    assert all(recorder.is_library(package) for package in packages)
    assert not recorder.is_library(Path(sys.base_prefix, "src", "app", "consumers.py"))
