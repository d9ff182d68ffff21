"""The clients of a trace, played to another application: over communicators, and over the live server's sockets."""

import asyncio
import json

import httpx
import pytest
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from django.test import override_settings
from django.urls import path
from websockets.exceptions import InvalidStatus

from labserver.errors import NotAnApplication, NotRecorded
from labserver.trace.events import Log, Trace

ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close", "code": 4001}
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyIjoxfQ.c2lnbmF0dXJl"


class Member(AsyncWebsocketConsumer):
    """Joins the group `room`, and passes on what is said in it."""

    async def connect(self):
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard("room", self.channel_name)

    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send("room", {"type": "room.message", "text": text_data})

    async def room_message(self, event):
        await self.send(text_data=event["text"])


def changed(application, change):
    """A version of an application; `change` gives the events to send in the place of one."""

    async def version(scope, receive, send):
        async def sending(event):
            for each in change(dict(event)):
                if isinstance(each, Exception):
                    raise each
                await send(each)

        await application(scope, receive, sending)

    return version


def instead(type, *others):
    """A change: these events in the place of each of this type."""
    return lambda event: (
        [event | other if isinstance(other, dict) else other for other in others] if event["type"] == type else [event]
    )


async def conversation(scope, receive, send):
    """Echoes texts, says `bye` to bytes and closes; over HTTP it says hello."""
    if scope["type"] == "http":
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"hello"})
        return
    while (event := await receive())["type"] != "websocket.disconnect":
        if event["type"] == "websocket.connect":
            await send(ACCEPT)
        elif event.get("text") is not None:
            await send({"type": "websocket.send", "text": event["text"]})
        else:
            await send({"type": "websocket.send", "bytes": b"bye"})
            await send(CLOSE)


CHANGES = {
    "text": (instead("websocket.send", {"text": "another", "bytes": None}), "text='another'", 2),
    "code": (instead("websocket.close", {"code": 4002}), "code=4002", 1),
    "crash": (instead("websocket.close", ValueError("no")), "ValueError no", 1),
    "missing": (instead("websocket.close"), "replayed nothing", 1),
    "additional": (instead("websocket.accept", {}, {"type": "websocket.send", "text": "more"}), "recorded nothing", 1),
    "status": (instead("http.response.start", {"status": 404}), "status=404", 1),
}


async def talk(server):
    """Records a conversation over both protocols."""
    server.application = conversation
    async with server.record() as trace:
        async with server.connect("/talk/?page=2", subprotocols=None) as client:
            await client.send("hello")
            assert await client.recv() == "hello"
            await client.send(b"\x00")
            assert await client.recv() == b"bye"
            await client.wait_closed()
        await server.get("/hello/")
    return trace


@pytest.fixture
def target(server, request):
    """Plays a trace to an application: over communicators, or over the live server that serves it then."""

    async def played(trace, application):
        if request.param == "communicators":
            return await trace.replay(application)
        server.application = application
        return await trace.replay(server)

    return played


both = pytest.mark.parametrize("target", ["communicators", "server"], indirect=True)


# --- differences --------------------------------------------------------------------------------------------------


@both
async def test_the_same_application_answers_the_same(server, target):
    """Played to the application that was recorded, nothing differs, and every answer is there."""
    found = await target(await talk(server), conversation)
    assert found.differences == (), found
    assert str(found).startswith("no difference: all 6 answers are what they were\n")


@both
@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_is_a_difference(server, target, name, capfd):
    """Another text, close code, crash, missing or additional message or HTTP status is found, in text and picture."""
    change, words, count = CHANGES[name]
    found = await target(await talk(server), changed(conversation, change))
    assert len(found.differences) == count, found
    assert all(words in str(difference) for difference in found.differences)
    assert str(found).count("≠") == count
    assert found._repr_mimebundle_()["image/svg+xml"].count(">≠<") == count


async def test_an_application_may_be_named(server):
    """A dotted name is imported; what is no application is told what is wrong with it."""
    trace = await talk(server)
    assert not await trace.replay("labserver.project.asgi:application")
    with pytest.raises(NotAnApplication, match="found the class Member; pass Member.as_asgi"):
        await trace.replay(Member)


@both
async def test_a_view_is_given_time_for_its_response(server, target):
    """Django listens for its client while it makes a response: that alone is no end of it."""

    async def view(scope, receive, send):
        await receive()
        leaving = asyncio.ensure_future(receive())
        await asyncio.sleep(0.02)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})
        leaving.cancel()

    server.application = view
    async with server.record() as trace:
        await server.get("/")
    found = await target(trace, view)
    assert found and "all 2 answers" in str(found)


async def test_a_trace_needs_its_beginning_and_a_player(server):
    """A connection without its handshake, or a trace that no server has recorded, cannot be played."""
    async with server.connect("/") as client, server.record() as trace:
        await client.send("hello")
        await client.recv()
    with pytest.raises(NotRecorded, match="that of ws-1 is not in it"):
        await trace.replay(conversation)
    with pytest.raises(NotRecorded, match="expected a trace of a live server"):
        await Trace(Log()).replay(conversation)


async def test_every_trace_of_a_server_can_be_played(server, echo):
    """The server's own trace, its newest events, and a recording."""
    async with server.connect("/") as client:
        await client.send("hello")
        await client.recv()
    await server._settled()
    for trace in (server.trace, server.trace.newest(50)):
        assert await trace.replay(echo)
    with server.record() as empty:
        pass
    assert str(await empty.replay(echo)).startswith("no difference: all 0 answers")


async def test_a_replay_leaves_no_trace(server):
    """What is played to an application stands in no trace of the server, and says nothing under the cell."""
    trace = await talk(server)
    before = len(server.trace)
    await trace.replay(changed(conversation, CHANGES["crash"][0]))
    assert len(server.trace) == before


# --- secrets ------------------------------------------------------------------------------------------------------


@both
async def test_secrets_reach_the_application_and_no_picture(server, target):
    """Tokens, cookies and passwords are played as they were, of any form, and shown to nobody."""
    seen = []

    async def nosy(scope, receive, send):
        headers = {name.lower(): value for name, value in scope["headers"]}
        kept = headers.get(b"cookie"), headers.get(b"authorization"), headers.get(b"x-api-key")
        event = await receive()
        seen.append((scope["path"], scope["query_string"], kept, event.get("body")))
        if scope["type"] == "http":
            for each in ({"type": "http.response.start", "status": 204}, {"type": "http.response.body"}):
                await send(each)
            return
        await send(ACCEPT)
        while (event := await receive())["type"] != "websocket.disconnect":
            seen.append(event["text"])
            await send({"type": "websocket.send", "text": json.dumps({"your": "password", "token": "hush-6"})})

    server.application = nosy
    headers = {
        "cookie": "sessionid=hush-1; theme=dark",
        "authorization": "Bearer hush-2",
        "x-api-key": "hush-3 hush-33",
    }
    texts = ['{"password": "hush-4\\"", "pin": 7}', '{"secret": 98761234}', '{"token": ""}', "[redacted]"]
    async with server.record() as trace:
        async with server.connect(f"/räume/?token={JWT}", additional_headers=headers) as client:
            for text in texts:
                await client.send(text)
                await client.recv()
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.post(server.url + "/login/", content=b'{"password": "hush-5"}', headers=headers)
    recorded, seen[:] = seen[:], []
    found = await target(trace, nosy)
    assert seen == recorded and texts == seen[1:5]
    assert seen[0][1:3] == (
        f"token={JWT}".encode(),
        (b"sessionid=hush-1; theme=dark", b"Bearer hush-2", b"hush-3 hush-33"),
    )
    assert seen[5][0] == "/login/" and seen[5][3] == b'{"password": "hush-5"}'
    assert found, found
    shown = str(found._repr_mimebundle_())
    assert not [secret for secret in (JWT, "hush", "98761234") if secret in shown]


# --- groups -------------------------------------------------------------------------------------------------------


@both
async def test_a_group_is_played_with_what_a_cell_said(server, target):
    """Members hear each other, and a cell, as they did."""
    server.application = Member.as_asgi()
    async with server.record() as trace:
        async with server.connect("/") as alice, server.connect("/") as bob:
            await alice.send("hello")
            assert await alice.recv() == await bob.recv() == "hello"
            await get_channel_layer().group_send("room", {"type": "room.message", "text": "from a cell"})
            assert await alice.recv() == await bob.recv() == "from a cell"
    found = await target(trace, Member.as_asgi())
    assert found, found
    assert "all 6 answers" in str(found)

    class Deaf(Member):
        async def room_message(self, event):
            pass

    found = await target(trace, Deaf.as_asgi())
    assert [difference.connection for difference in found.differences] == ["ws-1", "ws-2"] * 2


async def test_groups_of_the_live_server_hear_nothing(server):
    """A replay has channel layers of its own: who is connected meanwhile is told nothing."""
    server.application = Member.as_asgi()
    async with server.record() as trace, server.connect("/") as client:
        await client.send("hello")
        await client.recv()
    async with server.connect("/") as listener:
        assert await trace.replay(Member.as_asgi())
        await get_channel_layer().group_send("room", {"type": "room.message", "text": "the first word"})
        assert await listener.recv() == "the first word"


async def test_a_cell_may_speak_to_one_channel_or_to_nobody(server, echo):
    """A message to a channel by its own name is played; without a channel layer none of it is."""
    async with server.record() as trace:
        await get_channel_layer().send("worker", {"type": "work"})
    assert await trace.replay(echo)
    with override_settings(CHANNEL_LAYERS={}):
        assert await trace.replay(echo)


# --- time ---------------------------------------------------------------------------------------------------------


async def _ticking(scope, receive, send):
    await receive()
    await send(ACCEPT)
    await asyncio.sleep(0.15)
    await send({"type": "websocket.send", "text": "tick"})
    await receive()


async def _silent(scope, receive, send):
    await receive()
    await send(ACCEPT)
    await receive()


async def test_what_comes_by_itself_is_waited_for(server):
    """What a timer has sent is given time to come; an application without the timer is not waited for forever."""
    server.application = _ticking
    async with server.record() as trace, server.connect("/") as client:
        assert await client.recv() == "tick"
    assert await trace.replay(_ticking)
    (difference,) = (await trace.replay(_silent)).differences
    assert difference.recorded.message["text"] == "tick" and difference.replayed is None


async def test_an_application_that_waits_for_something_else_is_played_on(server, echo, monkeypatch):
    """Who does not come back to `receive()` is left to itself after a while, and ended with the replay."""
    monkeypatch.setattr("labserver.live.settling.STEP", 0.05)
    ended = []

    async def stuck(scope, receive, send):
        await receive()
        await send(ACCEPT)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(scope["path"])

    async with server.record() as trace, server.connect("/stuck/") as client:
        await client.send("hello")
        await client.recv()
    found = await trace.replay(stuck)
    assert [difference.recorded.type for difference in found.differences] == ["websocket.send"]
    assert ended == ["/stuck/"]


# --- ends ---------------------------------------------------------------------------------------------------------


@both
async def test_refusals_and_crashes_are_played(server, target, capfd):
    """A refused, a crashed and an unrouted handshake are answers like others; nobody speaks to who has crashed."""

    async def picky(scope, receive, send):
        await receive()
        if scope["path"] == "/refused/":
            await send(CLOSE)
        elif scope["path"] == "/crash/":
            raise ValueError("no")
        else:
            await send(ACCEPT)
            await receive()
            raise ValueError("not that")

    application = URLRouter([path("refused/", picky), path("crash/", picky), path("later/", picky)])
    server.application = application
    async with server.record() as trace:
        for where in ("/refused/", "/crash/", "/unknown/"):
            with pytest.raises(InvalidStatus):
                await server.connect(where)
        async with server.connect("/later/") as client:
            await client.send("hello")
            await client.wait_closed()
        await server.get("/unknown/")
    for other in (application, application):
        found = await target(trace, other)
        assert found, found
    assert "all 6 answers" in str(found)


async def test_words_to_one_who_has_crashed_are_not_played(server, capfd):
    """A version that ends earlier is not spoken to any more, and what it does not answer is missing."""
    trace = await talk(server)

    async def brief(scope, receive, send):
        await receive()
        raise ValueError("at once")

    found = await trace.replay(brief)
    assert {str(difference.replayed and difference.replayed.type) for difference in found.differences} == {
        "ValueError",
        "None",
    }
    server.application = brief
    assert len((await trace.replay(server)).differences) == len(found.differences)


async def test_the_live_server_is_asked_as_a_client_asks(server):
    """Subprotocols, the origin or its absence, and close codes of one's own are those of the recording."""
    seen = []

    async def asked(scope, receive, send):
        headers = dict(scope["headers"])
        await receive()
        await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[-1]})
        code = (await receive()).get("code")
        seen.append((scope["subprotocols"], b"origin" in headers, headers.get(b"x-room"), code))

    server.application = asked
    async with server.record() as trace:
        client = await server.connect("/", subprotocols=["v1", "v2"], additional_headers={"X-Room": "blue"})
        await client.close(4005)
        client = await server.connect("/", origin=None)
        await client.close(1001)
    recorded, seen[:] = seen[:], []
    assert await trace.replay(server)
    assert recorded == [(["v1", "v2"], True, b"blue", 4005), ([], False, None, 1001)]
    assert seen == [recorded[0], ([], False, None, 1000)]


async def test_a_response_that_never_ends_is_played_to_its_end(server, monkeypatch, capfd):
    """A response that is cut off, or that never comes, is no error of the replay."""
    monkeypatch.setattr("labserver.live.replay.WAIT_LIMIT", 0.3)

    async def cut(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        raise ValueError("cut off")

    async def never(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass

    server.application = conversation
    async with server.record() as trace:
        await server.get("/")
    monkeypatch.setattr("labserver.live.settling.STEP", 0.1)
    assert [each.replayed for each in (await trace.replay(never)).differences] == [None, None]
    for application, found in ((cut, ["http.response.body", "ValueError"]), (never, [None, None])):
        server.application = application
        replay = await trace.replay(server)
        assert [each.replayed and each.replayed.type for each in replay.differences] == found, replay


async def test_a_body_in_parts_is_one_request(server):
    """What a client sent in several parts goes to a live server as one body."""
    seen = []

    async def reading(scope, receive, send):
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body")
        seen.append(body)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    trace = Trace(log := Log(), play=server.trace._play)
    number = log.open({"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"x")]})
    log.add(number, "receive", {"type": "http.request", "body": b"one ", "more_body": True})
    log.add(number, "receive", {"type": "http.request", "body": b"two"})
    log.add(number, "send", {"type": "http.response.start", "status": 204, "headers": []})
    log.add(number, "send", {"type": "http.response.body", "body": b""})
    assert await trace.replay(reading)
    server.application = reading
    assert await trace.replay(server)
    assert seen == [b"one two"] * 2
