"""Recordings as pytest source: the source as a whole, and whether it passes on what was recorded and on that alone."""

import asyncio
import inspect
import json
import subprocess
import sys
import types
from json import JSONDecodeError

import pytest
from _pytest.outcomes import Failed
from asgiref.testing import ApplicationCommunicator
from channels.exceptions import DenyConnection, InvalidChannelLayerError
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from django.urls import path

from labserver.errors import NotAnApplication, NotRecorded
from labserver.live.layers import Layers
from labserver.live.server import configure_django
from labserver.live.settling import dealt_with, recording
from labserver.trace import testgen
from labserver.trace.events import CELL, Log, Trace

SERVED = "mysite.asgi:application"
PAGE = ((b"host", b"127.0.0.1:8000"), (b"origin", b"http://127.0.0.1:8000"), (b"user-agent", b"x"))
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyIjoxfQ.c2lnbmF0dXJl"
UUID = "0A1b2c3d-0000-4000-8000-123456789abc"


@pytest.fixture(scope="module", autouse=True)
def django():
    """Channel layers are read from its settings."""
    configure_django()


async def here(work):
    """A layer lives on the loop of the test."""
    return await work


class Stage:
    """Records clients of applications as a live server does, without one."""

    def __init__(self, application=None, served=SERVED):
        self.log = Log()
        self.trace = Trace(self.log)
        self.recorder = recording(self.log)
        self.layers = Layers(self.log, here)
        self.secrets = {}
        self.clients = []
        self.serve(application, served)

    def serve(self, application, served=SERVED):
        self.application = application
        self.recorder.swap(application, served)

    async def client(self, path="/ws/", kind="websocket", headers=PAGE, query=b"", body=None, more=False, **scope):
        """Somebody who comes: with a handshake, or with a request."""
        scope |= {"type": kind, "path": path, "query_string": query, "headers": [list(pair) for pair in headers]}
        client = Client(self, scope)
        if kind == "http":
            await client.does("http.request", body=body or b"", more_body=more)
        else:
            await client.does("websocket.connect")
        return client

    async def request(self, path="/", method="GET", headers=PAGE, **options):
        return await self.client(path, "http", headers, method=method, **options)

    async def rest(self, number=0, events=0):
        await asyncio.sleep(0)
        await dealt_with(self.recorder, number, events, self.layers.idle)

    async def cell(self, method, to, message):
        """A call of the channel layer from a notebook."""
        await getattr(get_channel_layer(), method)(to, message)
        await self.rest()

    def source(self, name="recorded", **options):
        """The test; and what its fixtures give, in `secrets`."""
        hide = testgen.Hidden()
        rows, omitted, names = self.trace._read()
        self.trace._events(rows, names, hide), self.trace._scopes(names, omitted, hide)
        self.secrets = {hide.names[number]: secret for secret, number in hide.places.items()}
        return self.trace.to_test(name, **options)

    def end(self):
        for client in self.clients:
            future = client.communicator.future
            if future.done():
                future.exception()  # asked for, so that the loop does not complain
            future.cancel()


class Client:
    """One client of a stage."""

    def __init__(self, stage, scope):
        self.stage = stage
        self.communicator = ApplicationCommunicator(stage.recorder, scope)
        stage.clients.append(self)
        self.number, self.events = len(stage.clients), 0

    async def does(self, kind, **message):
        self.events += 1
        if not self.communicator.future.done():
            await self.communicator.input_queue.put({"type": kind, **message})
        await self.stage.rest(self.number, self.events)
        return self

    async def says(self, text):
        return await self.does("websocket.receive", **{"text" if isinstance(text, str) else "bytes": text})

    async def leaves(self, code=1000):
        return await self.does("websocket.disconnect", code=code)


async def outcome(source, application, secrets=None, monkeypatch=None, **modules):
    """The errors of the tests in a source, by their names, with this application in its place."""
    places = {"mysite": {}, "mysite.asgi": {"application": application}} | modules
    for name, content in places.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    space, errors = {"__name__": "test_recorded"}, {}
    exec(compile(source, "<generated>", "exec"), space)
    with Layers(Log(), here).alone():
        for name, test in list(space.items()):
            if name.startswith("test_"):
                given = {each: (secrets or {})[each] for each in inspect.signature(test).parameters}
                try:
                    await test(**given)
                except (Exception, Failed) as error:
                    errors[name] = f"{type(error).__name__}: {error}"
    return errors


def changed(**changes):
    """A mutant: in each event of this type (`websocket_send`) these entries are others."""

    def mutant(application):
        async def mutated(scope, receive, send):
            async def sending(event):
                await send(event | changes.get(event["type"].replace(".", "_"), {}))

            await application(scope, receive, sending)

        return mutated

    return mutant


def instead(other):
    """A mutant: another application."""
    return lambda application: other


async def echo(scope, receive, send):
    """Sends back what it gets, as it gets it."""
    while (event := await receive())["type"] != "websocket.disconnect":
        if event["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            await send({**event, "type": "websocket.send"})


def told(*events, receive=1):
    """An application that receives so often, sends these events, and receives until its client goes."""

    async def application(scope, receive_, send):
        for _ in range(receive):
            await receive_()
        for event in events:
            if isinstance(event, Exception):
                raise event
            await send(dict(event))  # a communicator takes things out of it
        while (await receive_())["type"] not in ("websocket.disconnect", "http.disconnect"):
            pass

    return application


ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close", "code": 4401}


def send(text):
    return {"type": "websocket.send", "text" if isinstance(text, str) else "bytes": text}


def answer(body=b"", status=200):
    start = {"type": "http.response.start", "status": status, "headers": [[b"content-type", b"text/plain"]]}
    return start, {"type": "http.response.body", "body": body}


OTHER_TEXT = changed(websocket_send={"text": "another"})
OTHER_BYTES = changed(websocket_send={"bytes": b"another"})
OTHER_CODE = changed(websocket_close={"code": 4999})
OTHER_STATUS = changed(http_response_start={"status": 418})
OTHER_BODY = changed(http_response_body={"body": b"another"})
REFUSAL = changed(websocket_accept={"type": "websocket.close", "code": 4999})


class Member(AsyncWebsocketConsumer):
    """Joins a group, and passes on what is said in it."""

    async def connect(self):
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard("room", self.channel_name)

    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send("room", {"type": "room.message", "text": text_data})

    async def room_message(self, event):
        await self.send(text_data=event["text"])


async def login(scope, receive, send):
    """A token for everybody who knows the password."""
    request = json.loads((await receive())["body"])
    right = request == {"username": "alice", "password": "lab"}
    body = {"access": JWT, "user": request["username"], "until": 1_900_000_000.5} if right else {"error": "no"}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


# --- the conversations --------------------------------------------------------------------------------------------

CASES = {}


def case(application, *mutants):
    """Registers a recording: the application that is recorded, and mutants of it that its test has to notice."""

    def register(record):
        CASES[record.__name__] = (application, record, mutants)
        return record

    return register


@case(echo, OTHER_TEXT, OTHER_BYTES, REFUSAL)
async def an_echo(stage):
    ws = await stage.client("/ws/echo/")
    await ws.says("hello")
    await ws.says('{"say": "hello", "to": ["bob", null]}')
    await ws.says('{"not":"as json.dumps writes it"}')
    await ws.says(b"\x00\xff")
    await ws.leaves(1001)


@case(told(CLOSE), OTHER_CODE, changed(websocket_close=ACCEPT))
async def a_refusal(stage):
    await (await stage.client()).leaves(1006)


@case(Member.as_asgi(), OTHER_TEXT)
async def a_group(stage):
    alice, bob = await stage.client("/ws/room/"), await stage.client("/ws/room/")
    await alice.says("hello")
    await stage.cell("group_send", "room", {"type": "room.message", "text": "from a cell"})
    await bob.leaves()
    await alice.says("nobody is here")
    await alice.leaves()


@case(login, OTHER_STATUS, OTHER_BODY)
async def a_login(stage):
    body = b'{"username": "alice", "password": "lab"}'
    headers = [*PAGE, (b"Content-Type", b"application/json"), (b"authorization", b"Bearer hidden-in-a-header")]
    await stage.request("/api/token/", "POST", headers, body=body)


@case(echo, OTHER_TEXT)
async def a_path_of_many_kinds(stage):
    ws = await stage.client('/räume/"a b";c/%2F', query=b"page=2&token=" + JWT.encode())
    await ws.says("hello")


@case(told({"type": "websocket.accept", "subprotocol": "chat.v2", "headers": [[b"x-room", b"blue"]]}), REFUSAL)
async def a_subprotocol(stage):
    await stage.client(subprotocols=["chat.v1", "chat.v2"])


@case(told({"type": "websocket.accept", "headers": [[b"set-cookie", b"sessionid=topsecret; Path=/"]]}), REFUSAL)
async def a_cookie_that_is_set(stage):
    await stage.client()


@case(echo, OTHER_TEXT)
async def cookies_with_all_kinds_of_names(stage):
    cookies = b"sessionid=s1; class=s2; application=s3; 2fa-token=s4; a_2=s5; a=s6; A=s7; s8"
    ws = await stage.client(
        headers=[*PAGE, (b"cookie", cookies), (b"X-Api-Key", b"first second"), (b"x-room", b"blue")]
    )
    await ws.says("my token=s9")
    await ws.says('{"pin": 1, "secret": 12345}')


@case(echo, OTHER_TEXT)
async def headers_that_are_long(stage):
    await (
        await stage.client(headers=[(b"x-long", b"word " * 20), (b"origin", b"http://" + b"long." * 12 + b"test")])
    ).says("hi")


@case(told(ACCEPT, CLOSE), OTHER_CODE)
async def a_close(stage):
    await (await stage.client()).leaves(4401)


@case(echo)
async def messages_that_are_empty(stage):
    ws = await stage.client()
    await ws.says("")
    await ws.says(b"")


@case(told(ACCEPT, {"type": "websocket.send", "text": None, "bytes": b"both"}), OTHER_BYTES)
async def a_message_with_both_keys(stage):
    await stage.client()


@case(told(ACCEPT, {"type": "websocket.send", "text": None}), changed(websocket_send={"text": "more"}))
async def a_message_with_nothing(stage):
    await stage.client()


@case(told(ACCEPT, send("at once"), send(f"at 2026-11-21T10:00:00.5Z by {UUID} for {JWT}")), OTHER_TEXT)
async def texts_that_change(stage):
    await stage.client()


@case(
    told(ACCEPT, send(json.dumps({"at": 1_900_000_000.25, "n": 1_900_000_000, "id": UUID, "word": "x" * 70}))),
    changed(websocket_send={"text": json.dumps({"at": "now", "n": 1_900_000_000, "id": UUID, "word": "x" * 70})}),
)
async def values_that_change(stage):
    await stage.client()


@case(told(ACCEPT, send('{"a": NaN}'), send("[Infinity, 1e999]"), send("[1e999]"), send("[" * 30_000)), OTHER_TEXT)
async def what_is_no_json(stage):
    await stage.client()


@case(echo, OTHER_TEXT)
async def no_json_from_a_client(stage):
    await (await stage.client()).says('{"a": NaN}')


@case(echo, changed(websocket_send={"text": "y" * 20_000}))
async def long_texts(stage):
    ws = await stage.client()
    await ws.says("word " * 40)
    await ws.says("begin " * 9 + "x" * 20_000)
    await ws.says("x" * 500)


@case(
    told(ACCEPT, send("a line\n" * 5_000), send(b"\x00\x01" * 10_000), send(f"{UUID} " * 900)), OTHER_TEXT, OTHER_BYTES
)
async def long_answers(stage):
    await stage.client()


class Outer:
    """Holds an exception, as Django's models do."""

    class Lost(Exception):
        """Nothing found."""


class Own(Exception):
    """An exception of the project."""


Own.__module__ = Outer.Lost.__module__ = "mysite.errors"


class Notebook(Exception):
    """An exception that is defined in a cell."""


Notebook.__module__ = "__main__"
ConnectionGone = type("ConnectionError", (Exception,), {"__module__": "mysite.errors"})
ERRORS = {"Own": Own, "Outer": Outer, "ConnectionError": ConnectionGone}


def raising(name, error):
    """A recording of an application that accepts, sends, and raises."""

    async def record(stage):
        await stage.client()

    record.__name__ = f"raising_{name}"
    other = Notebook("more") if isinstance(error, Notebook) and not error.args else LookupError()
    case(told(ACCEPT, send("before"), error), instead(told(ACCEPT, send("before"), other)), OTHER_TEXT)(record)


raising("a_builtin", KeyError("room"))
raising("nothing_to_say", ZeroDivisionError())
raising("of_the_standard_library", JSONDecodeError("Expecting value", "hello", 0))
raising("of_a_package", DenyConnection("not today"))
raising("of_a_package_twice", InvalidChannelLayerError("not today"))
raising("of_the_project", Own("one\ntwo"))
raising("of_a_class_in_a_class", Outer.Lost("no room"))
raising("by_the_name_of_a_builtin", ConnectionGone("gone"))
raising("of_a_notebook", Notebook("only there"))
raising("of_a_notebook_without_a_word", Notebook())
raising("of_a_notebook_unspeakably", Notebook("x" * 200))
raising("with_many_words", ValueError("one word " * 40))
raising("with_what_changes", ValueError(f"no {UUID} here (0x7f0011223344)"))
raising("with_signs", ValueError("(" * 50 + " " + "(" * 30))
raising("unspeakably", ValueError("x" * 200))


@case(told(Own("in the handshake")), instead(told(Own("another"))))
async def a_crash_in_the_handshake(stage):
    await stage.client()


async def _late_crash(scope, receive, send_):
    await told(ACCEPT)(scope, receive, send_)
    await send_(send("too late"))
    raise ValueError("left behind")


@case(_late_crash, instead(told(ACCEPT)), OTHER_TEXT)
async def a_crash_after_the_end(stage):
    await (await stage.client()).leaves()


@case(_late_crash, OTHER_TEXT)
async def words_to_one_who_has_crashed(stage):
    ws = await stage.client()
    await ws.leaves()
    stage.log.add(ws.number, "receive", {"type": "websocket.receive", "text": "hello?"})


async def _returns(scope, receive, send_):
    await receive()
    if scope["type"] == "websocket":
        await send_(ACCEPT)


@case(_returns, instead(told(CLOSE)))
async def one_that_returns(stage):
    ws = await stage.client()
    stage.log.add(ws.number, "receive", {"type": "websocket.disconnect", "code": 1000})


@case(_returns, instead(told(CLOSE)))
async def one_that_returns_without_a_response(stage):
    await stage.client()
    await stage.request()


@case(URLRouter([path("known/", echo)]), instead(told(Own("another"))))
async def no_route(stage):
    await stage.client("/unknown/")


@case(URLRouter([path("known/", echo)]), instead(told(Own("another"))))
async def no_route_for_a_request(stage):
    await stage.request("/unknown/", headers=())


async def _blind(scope, receive, send_):
    await send_(ACCEPT)
    await send_(send("who are you?"))
    await asyncio.sleep(0.2)  # and is gone when its client goes


@case(_blind, OTHER_TEXT, REFUSAL)
async def one_that_does_not_look(stage):
    await _told_by_hand(stage, ACCEPT, send("who are you?"))


async def _told_by_hand(stage, *messages, received=()):
    """What a server records of a connection, written down by hand."""
    number = stage.log.open({"type": "websocket", "path": "/ws/", "headers": []}, SERVED)
    for message in received:
        stage.log.add(number, "receive", message)
    for message in messages:
        kind = "error" if "text" in message and "." not in message["type"] else "send"
        stage.log.add(number, kind, message)
    return number


@case(told(ACCEPT, ACCEPT), REFUSAL)
async def what_a_server_refuses(stage):
    error = {"type": "RuntimeError", "text": "accepted already", "module": "builtins", "by": "server"}
    connect = {"type": "websocket.connect"}
    await _told_by_hand(stage, ACCEPT, ACCEPT, error, received=[connect])


@case(told(ACCEPT), REFUSAL)
async def what_a_server_refuses_at_the_end(stage):
    number = await _told_by_hand(stage, ACCEPT, received=[{"type": "websocket.connect"}])
    stage.log.add(number, "receive", {"type": "websocket.disconnect", "code": None})
    stage.log.add(number, "error", {"type": "RuntimeError", "text": "gone", "by": "server"})


async def _slow(scope, receive, send_):
    await receive()
    await send_(ACCEPT)
    await asyncio.sleep(0.12)
    await send_(send("tick"))
    while (await receive())["type"] != "websocket.disconnect":
        pass


@case(_slow, OTHER_TEXT)
async def what_comes_by_itself(stage):
    ws = await stage.client()
    await ws.does("websocket.receive", text="hurry")


@case(told(*answer(b"hello")), OTHER_STATUS, OTHER_BODY)
async def a_request(stage):
    http = await stage.request("/a;b/c d/", query=b"page=2")
    await http.does("http.disconnect")


@case(told(*answer(b"<html><title>Chat</title>" + b"x" * 300)), OTHER_BODY)
async def a_page(stage):
    await stage.request()


@case(told(*answer(b"<title>12:00:00</title>")), OTHER_STATUS)
async def a_page_with_a_clock(stage):
    await stage.request()


@case(told(*answer(b"x" * 300)), OTHER_STATUS)
async def a_long_body(stage):
    await stage.request()


@case(told(answer()[0], {"type": "http.response.body", "body": b"one", "more_body": True}), OTHER_BODY, OTHER_STATUS)
async def a_stream(stage):
    http = await stage.request()
    await http.does("http.disconnect")


@case(told(*answer(b"hello"), receive=2), OTHER_STATUS)
async def a_body_in_parts(stage):
    http = await stage.request("/", "POST", body=b"one", more=True)
    await http.does("http.request", body=b"two", more_body=False)


@case(told(*answer(b"pong")), OTHER_BODY)
async def a_form_with_letters_of_all_kinds(stage):
    await stage.request("/", "POST", body="name=é&password=lab".encode())


@case(told(*answer(b"pong")), OTHER_BODY)
async def a_form_in_latin(stage):
    await stage.request("/", "POST", body="name=é&password=lab".encode("latin-1"))


@case(told(*answer(b"one")), OTHER_BODY)
async def requests_that_know_nothing_of_each_other(stage):
    await stage.request("/one/")
    await stage.request("/two/")


async def _relay(scope, receive, send_):
    """An HTTP view that speaks to a group, and its members."""
    if scope["type"] == "websocket":
        await Member.as_asgi()(scope, receive, send_)
    else:
        body = (await receive())["body"].decode()
        await get_channel_layer().group_send("room", {"type": "room.message", "text": body})
        for event in answer(b"sent"):
            await send_(event)


@case(_relay, OTHER_TEXT, OTHER_BODY)
async def a_view_that_tells_a_group(stage):
    ws = await stage.client("/ws/room/")
    await stage.request("/tell/", "POST", body=b"news")
    await ws.leaves()


@case(Member.as_asgi(), OTHER_TEXT)
async def words_to_one_channel(stage):
    ws = await stage.client()
    (channel,) = stage.log.channels_of(ws.number)
    await stage.cell("send", channel, {"type": "room.message", "text": "you alone"})
    await stage.cell("send", "nobody", {"type": "room.message", "text": "nobody"})
    await ws.says("hello")


@case(told(*answer(b"one")), OTHER_BODY)
async def a_page_that_is_loaded_twice(stage):
    await stage.request()
    await stage.request()


@case(told(answer()[0], {"type": "http.response.body"}), OTHER_STATUS, OTHER_BODY)
async def a_response_without_a_body(stage):
    await stage.request()


@case(told(answer()[0], {"type": "http.response.body", "body": b"x" * 300, "more_body": True}), OTHER_STATUS)
async def a_stream_of_much(stage):
    await stage.request()


class Chatty(Member):
    """Sends back what it is told, to whom it was told by."""

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data)


async def _race(stage, word):
    """A client speaks while the words of a cell are on their way to it."""
    ws = await stage.client()
    message = {"type": "room.message", "text": word}
    stage.log.add(CELL, "layer", {"type": "group_send", "group": "room", "message": message})
    stage.log.add(ws.number, "receive", {"type": "websocket.receive", "text": "hello"})
    stage.log.add(ws.number, "layer", {"type": "receive", "message": message})
    return ws


@case(Chatty.as_asgi(), OTHER_TEXT)
async def answers_that_raced(stage):
    ws = await _race(stage, "from a cell")
    stage.log.add(ws.number, "send", send("from a cell"))
    stage.log.add(ws.number, "send", send("hello"))


async def recorded(name):
    """The stage of a case, after its recording."""
    application, record, _ = CASES[name]
    stage = Stage(application)
    with stage.layers.alone():
        await record(stage)
        stage.end()
    return stage


# --- that they are right ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
async def test_a_recording_passes_on_its_application_and_on_no_mutant(name, monkeypatch):
    """The test of a recording passes on the application that was recorded, and fails on each that answers otherwise."""
    application, _, mutants = CASES[name]
    stage = await recorded(name)
    source = stage.source()
    errors = {"mysite.errors": ERRORS, "monkeypatch": monkeypatch}
    assert await outcome(source, application, stage.secrets, **errors) == {}, source
    for mutant in mutants:
        assert await outcome(source, mutant(application), stage.secrets, **errors) != {}, source


async def test_every_recording_is_a_test_that_ruff_accepts(tmp_path):
    """What is written is linted and formatted: `ruff`, as it comes, finds nothing in it and changes nothing."""
    (tmp_path / "mysite").mkdir()
    for name in ("__init__", "asgi", "errors", "chat", "routing"):
        (tmp_path / "mysite" / f"{name}.py").touch()
    stages = {name: await recorded(name) for name in CASES} | {"of_many": _of_many_applications()}
    for name, stage in stages.items():
        (tmp_path / f"test_{name}.py").write_text(stage.source(name), encoding="utf-8")
    for command in (["check"], ["format", "--diff"]):
        told = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "--isolated", "."],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("name", CASES)
async def test_no_source_holds_a_secret(name):
    """Nothing that `redact` hides stands in a test: the fixtures are named, and their values are not there."""
    stage = await recorded(name)
    source = stage.source()
    for secret in stage.secrets.values():
        assert len(secret) < 3 or secret not in source
    for secret in ("topsecret", "hidden-in-a-header", "eyJ", '"lab"', "=lab", "s1;", "s8", "first second", "12345"):
        assert secret not in source


async def _golden(name, title=None, **options):
    return (await recorded(name)).source(title or name, **options)


async def test_an_echo_is_written_as_a_person_would():
    """Texts, JSON, and bytes have their own methods; a test ends with a look at what else there is, and leaves."""
    assert await _golden("an_echo", "echo") == ECHO


async def test_a_refusal_is_written_as_a_person_would():
    """What is not accepted is told by the events themselves."""
    assert await _golden("a_refusal") == REFUSED


async def test_a_group_is_written_as_a_person_would():
    """Two members of a group are in one test, with what a cell has told them."""
    assert await _golden("a_group", "test_two_members") == GROUP


async def test_a_login_is_written_as_a_person_would():
    """An HTTP request has its body and its headers, fixtures for secrets, and a response whose token is like any."""
    assert await _golden("a_login", application="labserver.project.asgi:application") == LOGIN


# --- what they need -----------------------------------------------------------------------------------------------


def _of_many_applications():
    """A recording of applications that were served by turns, by names of all kinds."""
    stage = Stage()
    for place in (
        "mysite.chat:Echo.as_asgi()",
        "mysite.routing:Echo.as_asgi()",
        "mysite.chat:MAIN",
        "mysite.chat:Echo.as_asgi(quick=True)",
        "mysite.asgi:number_10",
        "mysite.asgi:number_9",
        "mysite.asgi:zoo",
        "mysite.routing:an_application_with_a_name_that_is_long_enough_to_fill_a_line_alone",
        "",
        "__main__:chat",
    ):
        number = stage.log.open({"type": "websocket", "path": "/", "headers": []}, place)
        stage.log.add(number, "receive", {"type": "websocket.connect"})
        stage.log.add(number, "send", ACCEPT)
    return stage


def test_every_connection_has_the_application_that_served_it():
    """Applications are imported from where they were served, each once, consumers of one name apart."""
    source = _of_many_applications().source()
    above, *tests = source.split("@pytest.mark.asyncio")
    assert above.endswith(IMPORTS)
    for number, test in enumerate(tests, 1):
        assert f"async def test_recorded_{number}():" in test and f"(application_{number}, " in test


async def test_an_application_may_be_named():
    """Whoever asks for the test may say where the application is."""
    source = await _golden("a_refusal", application="chat.asgi:site")
    assert "\nfrom chat.asgi import site as application\n" in source


async def test_a_consumer_may_be_named():
    """An expression is assigned below the imports."""
    source = await _golden("a_refusal", application="chat.consumers:Chat.as_asgi()")
    assert "\nfrom chat.consumers import Chat\n\napplication = Chat.as_asgi()\nPAGE = " in source


@pytest.mark.parametrize("place", ["mysite.asgi.application", "mysite.asgi:", ":application"])
async def test_an_application_in_another_form_is_an_error(place):
    """A name without its module is told how to be written."""
    with pytest.raises(NotAnApplication, match="write for example 'mysite.asgi:application'"):
        await _golden("a_refusal", application=place)


async def test_answers_in_an_order_of_luck_are_expected_in_any():
    """What a client said and what it was told came at once: a test that knew their order would fail some day."""
    source = await _golden("answers_that_raced")
    assert (
        """
    await ws.send_to(text_data="hello")
    replies = [await ws.receive_from() for _ in range(2)]
    assert sorted(replies) == ["from a cell", "hello"]
"""
        in source
    )


async def test_the_same_conversation_is_one_test():
    """What happened twice need not be tested twice."""
    source = await _golden("a_page_that_is_loaded_twice", "page")
    assert source.count("async def test_") == source.count("async def test_page():") == 1


@pytest.mark.parametrize("name", ["", "two words", "class", "1st"])
async def test_a_test_needs_a_name(name):
    """What is no name for a function is an error."""
    with pytest.raises(NotRecorded, match="expected a name for a function, such as test_chat, found "):
        (await recorded("a_refusal")).source(name)


def test_a_trace_of_nobody_is_no_test():
    """Without a connection, or with a cell's words that nobody heard, there is nothing to test."""
    stage = Stage()
    with pytest.raises(NotRecorded, match="expected a trace of at least one connection, found none"):
        stage.source()
    stage.log.add(CELL, "layer", {"type": "group_send", "group": "room", "message": {"type": "x"}})
    with pytest.raises(NotRecorded, match="found none"):
        stage.source()


def test_names_of_fixtures_are_their_own():
    """Each secret has one name, whatever was named before; a secret in its place stays there."""
    hide = testgen.Hidden()
    first = hide("one", "Token")
    assert hide("one", "password") == hide(first, "token") == first
    for secret, name in (
        ("two", "token_2"),
        ("three", "token"),
        ("four", "token"),
        ("five", "x-token"),
        ("six", "ws_3"),
    ):
        hide(secret, name)
    assert list(hide.names.values()) == ["token", "token_2", "token_3", "token_4", "x_token", "secret_ws_3"]


def test_what_takes_its_time_gets_more_of_it(monkeypatch):
    """Twice what it took in whole seconds, where a communicator's own second, or the ten of a page, would not do."""
    now = [0.0]
    monkeypatch.setattr("labserver.trace.log._clock", lambda: now[0])
    stage = Stage()

    def later(seconds, direction, message):
        now[0] += seconds
        stage.log.add(number, direction, message)

    for kind, first, *others in (
        ("websocket", {"type": "websocket.connect"}, ACCEPT, send("a")),
        ("websocket", {"type": "websocket.connect"}, ACCEPT, {"type": "ValueError", "text": "late"}),
        ("http", {"type": "http.request"}, *answer(b"hello")),
    ):
        number = stage.log.open({"type": kind, "path": "/", "headers": []}, SERVED)
        later(0.01, "receive", first)
        for other in others:
            later(6.2 if kind == "http" else 1.2, "error" if other["type"] == "ValueError" else "send", other)
    source = stage.source()
    for call in ("ws.connect", "ws.receive_from", "ws.wait"):
        assert f"await {call}(timeout=4)" in source
    assert "await http.get_response(timeout=14)" in source
    assert "receive_nothing" not in source


def test_what_a_test_is_about_is_one_line():
    """The sentence above a test fits its line, and holds nothing that would end it."""
    stage = Stage()
    number = stage.log.open({"type": "websocket", "path": '/"""\\' + "long/" * 30, "headers": []}, SERVED)
    stage.log.add(number, "receive", {"type": "websocket.connect"})
    (line,) = [line for line in stage.source().splitlines() if line.startswith('    """')]
    assert len(line) <= 88 and line.startswith('    """/????long/') and line.endswith('…"""')


# --- the sources --------------------------------------------------------------------------------------------------

ECHO = r'''"""Recorded from a live server: what its clients did, and what the application sent."""

import pytest
from channels.testing import WebsocketCommunicator

from mysite.asgi import application

PAGE = [(b"host", b"127.0.0.1"), (b"origin", b"http://127.0.0.1")]


@pytest.mark.asyncio
async def test_echo():
    """/ws/echo/: 4 in, 4 out."""
    ws = WebsocketCommunicator(application, "/ws/echo/", headers=PAGE)
    connected, _ = await ws.connect()
    assert connected
    await ws.send_to(text_data="hello")
    assert await ws.receive_from() == "hello"
    await ws.send_json_to({"say": "hello", "to": ["bob", None]})
    assert await ws.receive_json_from() == {"say": "hello", "to": ["bob", None]}
    await ws.send_to(text_data='{"not":"as json.dumps writes it"}')
    assert await ws.receive_json_from() == {"not": "as json.dumps writes it"}
    await ws.send_to(bytes_data=b"\x00\xff")
    assert await ws.receive_from() == b"\x00\xff"
    assert await ws.receive_nothing()
    await ws.disconnect(code=1001)
'''

REFUSED = '''\
"""Recorded from a live server: what its clients did, and what the application sent."""

import pytest
from channels.testing import WebsocketCommunicator

from mysite.asgi import application

PAGE = [(b"host", b"127.0.0.1"), (b"origin", b"http://127.0.0.1")]


@pytest.mark.asyncio
async def test_a_refusal():
    """/ws/: closed with 4401."""
    ws = WebsocketCommunicator(application, "/ws/", headers=PAGE)
    await ws.send_input({"type": "websocket.connect"})
    assert await ws.receive_output() == {"type": "websocket.close", "code": 4401}
    assert await ws.receive_nothing()
    await ws.disconnect(code=1006)
'''

GROUP = '''\
"""Recorded from a live server: what its clients did, and what the application sent."""

import pytest
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator

from mysite.asgi import application

PAGE = [(b"host", b"127.0.0.1"), (b"origin", b"http://127.0.0.1")]


@pytest.mark.asyncio
async def test_two_members():
    """2 clients of /ws/room/: 2 in, 5 out."""
    ws_1 = WebsocketCommunicator(application, "/ws/room/", headers=PAGE)
    connected, _ = await ws_1.connect()
    assert connected
    ws_2 = WebsocketCommunicator(application, "/ws/room/", headers=PAGE)
    connected, _ = await ws_2.connect()
    assert connected
    await ws_1.send_to(text_data="hello")
    assert await ws_1.receive_from() == "hello"
    assert await ws_2.receive_from() == "hello"
    await get_channel_layer().group_send(
        "room", {"type": "room.message", "text": "from a cell"}
    )
    assert await ws_1.receive_from() == "from a cell"
    assert await ws_2.receive_from() == "from a cell"
    assert await ws_2.receive_nothing()
    await ws_2.disconnect()
    await ws_1.send_to(text_data="nobody is here")
    assert await ws_1.receive_from() == "nobody is here"
    assert await ws_1.receive_nothing()
    await ws_1.disconnect()
'''

LOGIN = '''\
"""Recorded from a live server: what its clients did, and what the application sent.

Secrets are not kept. Write a fixture for each, in conftest.py: `token_2`, `password`.
"""

import json
import re

import pytest
from channels.testing import HttpCommunicator

from labserver.project.asgi import application

PAGE = [(b"host", b"127.0.0.1"), (b"origin", b"http://127.0.0.1")]


class Like:
    """Equal to every value of a type, or to every text that matches a pattern."""

    def __init__(self, kind):
        self.kind = kind

    def __eq__(self, other):
        if isinstance(self.kind, type):
            return type(other) is self.kind
        return isinstance(other, str) and re.fullmatch(self.kind, other) is not None

    def __repr__(self):
        return f"Like({self.kind!r})"


@pytest.mark.django_db(transaction=True)
@pytest.mark.asyncio
async def test_a_login(password, token_2):
    """/api/token/: HTTP 200."""
    body = f'{{"username": "alice", "password": "{password}"}}'.encode()
    http = HttpCommunicator(
        application,
        "POST",
        "/api/token/",
        body=body,
        headers=[
            *PAGE,
            (b"Content-Type", b"application/json"),
            (b"authorization", f"Bearer {token_2}".encode()),
            (b"content-length", str(len(body)).encode()),
        ],
    )
    response = await http.get_response(timeout=10)
    assert response["status"] == 200
    assert json.loads(response["body"]) == {
        "access": Like(".+"),
        "user": "alice",
        "until": Like(float),
    }
'''

IMPORTS = """\
import pytest
from channels.testing import WebsocketCommunicator

# the notebook; in a project, the module that it is in
from __main__ import chat as application_10

# put your own here: what was recorded has no name to import
from mysite.asgi import application as application_9
from mysite.asgi import number_9 as application_6
from mysite.asgi import number_10 as application_5
from mysite.asgi import zoo as application_7
from mysite.chat import MAIN as application_3
from mysite.chat import Echo
from mysite.routing import Echo as Echo_2
from mysite.routing import (
    an_application_with_a_name_that_is_long_enough_to_fill_a_line_alone as application_8,
)

application_1 = Echo.as_asgi()
application_2 = Echo_2.as_asgi()
application_4 = Echo.as_asgi(quick=True)


"""
