"""What a client sees: through a communicator, and of a server."""

import asyncio

import pytest
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import URLRouter
from websockets.exceptions import InvalidURI

from labserver.errors import TimeLimit
from labserver.live import reactor, settling
from labserver.live.parity import parity
from labserver.live.parity_play import Request, communicated, served
from labserver.live.parity_reasons import MIB, Evidence
from labserver.live.parity_servers import on_daphne, on_uvicorn
from labserver.live.server import configure_django

CONNECT = {"type": "websocket.connect"}
ACCEPT = {"type": "websocket.accept"}
LEAVE = {"type": "websocket.disconnect", "code": 1001}


@pytest.fixture(autouse=True)
def django():
    """Channels' testing module needs settings."""
    configure_django()


def asks(path="/", headers=(), subprotocols=()):
    """What a client asks for."""
    return Request.of(path, headers, subprotocols)


def said(text):
    """A text message from the client."""
    return {"type": "websocket.receive", "text": text}


def answering(*events):
    """An application that accepts, and answers the first message with these events."""

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        for event in events:
            await send(event)

    return application


def connecting(*events):
    """An application that answers websocket.connect with these events, and stays."""

    async def application(scope, receive, send):
        await receive()
        for event in events:
            await send(event)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    return application


async def test_a_scenario_may_end_with_the_client_there(echo):
    """Whoever has not left is cut off at the end, on both sides, and nothing of it is left."""
    assert (await parity([CONNECT, said("a")], echo)).live == (("accept", None), ("text", "a"))


async def test_a_message_and_a_close_arrive_on_both():
    """Accept, send, close with a code: a client sees all three, whichever way it asks."""
    last = [{"type": "websocket.send", "text": "bye"}, {"type": "websocket.close", "code": 4003}]
    found = await parity([CONNECT, said("a"), said("b"), LEAVE], answering(*last))

    assert found and found.communicator[1:] == (("text", "bye"), ("close", 4003))


async def test_a_close_without_a_code_is_a_normal_one():
    """1000 stands for a close that names no code."""
    assert (await parity([CONNECT, said("a")], answering({"type": "websocket.close"}))).communicator[-1] == (
        "close",
        1000,
    )


async def test_a_crash_differs():
    """A test is told the error, a client the code 1011."""

    async def crashes(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        raise ValueError

    found = await parity([CONNECT, said("never"), LEAVE], crashes)
    assert (found.communicator[-1], found.live[-1]) == (("crash", "ValueError"), ("close", 1011))


async def test_an_application_that_returns_leaves_its_client():
    """Who returns without a word closes nothing, on either side."""
    assert (await parity([CONNECT, said("a"), {**LEAVE, "code": 4000}], answering())).live == (("accept", None),)


async def test_a_close_right_after_accept_is_seen():
    """A scenario of a connect alone shows what a consumer's connect does to the end."""

    class Full(AsyncWebsocketConsumer):
        async def connect(self):
            await self.accept()
            await self.close(4001)

    expected = (("accept", None), ("close", 4001))
    async with on_daphne() as daphne, on_uvicorn() as uvicorn:
        for scenario in ([CONNECT], [CONNECT, LEAVE], [CONNECT, said("a"), LEAVE]):
            for server in (daphne, uvicorn):
                assert await served(scenario, Full.as_asgi(), asks(), server) == expected
            assert (await communicated(scenario, Full.as_asgi(), asks()))[0][:2] == expected


async def test_who_does_not_answer_is_seen_to_say_nothing():
    """No answer to the handshake is what a client sees; nobody waits until the server gives up."""
    found = await parity([CONNECT], connecting())
    assert (found.communicator, found.live) == ((), (("no answer",),))


async def test_a_client_is_gone_in_the_middle_of_its_message():
    """A server that resets the connection while its client still writes is a close without a frame."""
    whole = {"type": "websocket.receive", "bytes": bytes(64 * MIB)}
    found = await parity([CONNECT, whole, said("never"), LEAVE], connecting(ACCEPT))
    assert found.live == (("accept", None), ("close", 1006))
    assert "longer than 1 MiB" in found.differences[0].why


async def test_clients_of_a_server_send_host_and_origin():
    """As browsers do; a communicator sends neither, and that is shown."""

    async def tells(scope, receive, send):
        await receive()
        await send(ACCEPT)
        names = {name.decode() for name, _ in scope["headers"]} & {"host", "origin"}
        await send({"type": "websocket.send", "text": " ".join(sorted(names))})
        await receive()

    found = await parity([CONNECT], tells, uvicorn=True)
    assert (found.communicator[1], found.live[1], found.uvicorn[1]) == (
        ("text", ""),
        ("text", "host origin"),
        ("text", "host origin"),
    )


async def test_the_server_is_a_plain_one():
    """A path that no route matches is the router's error in a test, and HTTP 500 on the servers."""
    found = await parity([CONNECT], URLRouter([]), path="/nowhere/", uvicorn=True)
    assert (found.communicator, found.live, found.uvicorn) == (
        (("crash", "ValueError"),),
        (("refused", 500),),
        (("refused", 500),),
    )


async def test_another_error_of_the_client_is_not_hidden():
    """A path that no client can ask for is the caller's mistake."""
    with pytest.raises(InvalidURI, match="fragment"):
        await parity([CONNECT], connecting(ACCEPT), path="/a#b")


def test_headers_are_written_as_an_application_gets_them():
    """Bytes or text, in whatever letters."""
    request = asks(headers=[("X-Lab", "é"), (b"Origin", b"A")], subprotocols=["a"])
    assert request == ("/", ((b"x-lab", b"\xe9"), (b"origin", b"A")), ("a",))
    assert request.text_headers == [("x-lab", "é"), ("origin", "A")]


@pytest.mark.parametrize(
    "event, seen",
    [
        ({"type": "websocket.accept", "headers": [(b"X-Lab", b"1")]}, ("accept", None, "x-lab: 1")),
        ({"type": "websocket.close", "reason": "late"}, ("close", 1000, "late")),
        ({"type": "websocket.send", "text": "a", "bytes": b"b"}, ("text and bytes", "a", b"b")),
        ({"type": "websocket.http.response.start", "status": 401}, ("refused", 401)),
        ({"type": "websocket.sent"}, ("event", "websocket.sent")),
        ({}, ("event", None)),
    ],
)
async def test_a_test_is_told_all(event, seen):
    """What a communicator hands over; of a response the status is enough."""
    body = {"type": "websocket.http.response.body", "body": b""}
    assert (await communicated([CONNECT], connecting(event, body), asks()))[0] == (seen,)


async def test_what_else_is_known_of_a_test():
    """What was raised, asked for and offered, how long a message was, and what came before its client left."""

    async def breaks(scope, receive, send):
        for event in (ACCEPT, {"type": "websocket.send", "text": "b"}, {"type": "websocket.send", "text": "c"}):
            await receive()
            await send(event)
        raise KeyError("client")

    request = asks("/a", [("Origin", "b")], ("chat",))
    seen, evidence = await communicated([CONNECT, said("four"), LEAVE], breaks, request)
    assert seen[2:] == (("text", "c"), ("crash", "KeyError"))
    assert evidence == Evidence("KeyError: 'client'", "/a", ("chat",), ("origin",), 4, 2)
    assert (await communicated([], breaks, asks()))[1] == Evidence()


async def test_what_only_a_client_of_a_server_sees():
    """Headers beside the handshake's own, a failed handshake, and a reason that stands with a close."""
    headers, subprotocol = {**ACCEPT, "headers": [(b"X-Lab", b"1")]}, {**ACCEPT, "subprotocol": "other"}
    close = {"type": "websocket.close", "code": 4001, "reason": "late"}
    replies = ([headers], [subprotocol], [ACCEPT, close])
    async with on_uvicorn() as server:
        seen = [await served([CONNECT], connecting(*events), asks(), server) for events in replies]
    assert seen == [
        (("accept", None, "x-lab: 1"),),
        (("failed", "NegotiationError"),),
        (("accept", None), ("close", 4001, "late")),
    ]


async def test_an_application_that_waits_for_something_else_is_told(monkeypatch):
    """The caller is not held, neither in a test nor on a server."""
    monkeypatch.setattr(settling, "STEP", 0.05)
    monkeypatch.setattr(reactor, "CLOSE_GRACE", 0.05)

    async def dozes(scope, receive, send):
        await asyncio.sleep(10)

    expected = r"within 0\.05 s of event 1, found it waiting for something else"
    with pytest.raises(TimeLimit, match=expected):
        await parity([CONNECT], dozes)
    async with on_daphne() as server:
        with pytest.raises(TimeLimit, match=expected):
            await served([CONNECT], dozes, asks(), server)
