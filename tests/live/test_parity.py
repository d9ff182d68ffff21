"""One scenario through the communicator and through daphne: the same, or each difference told."""

import asyncio

import pytest

from labserver.errors import TimeLimit
from labserver.live import parity as module
from labserver.live.parity import Parity, parity
from labserver.live.server import configure_django

CONNECT = {"type": "websocket.connect"}
LEAVE = {"type": "websocket.disconnect", "code": 1001}


@pytest.fixture(autouse=True)
def django():
    """Channels' testing module needs settings."""
    configure_django()


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


async def test_what_is_the_same_is_true(echo):
    """An echo of text and bytes is the same through both."""
    found = await parity([CONNECT, said("a"), {"type": "websocket.receive", "bytes": b"b"}, LEAVE], echo)

    assert found
    assert found.live == (("accept", None), ("text", "a"), ("bytes", b"b"))
    assert str(found).splitlines() == [
        "  communicator  live server",
        "  accept None   accept None",
        "  text a        text a",
        "  bytes b'b'    bytes b'b'",
    ]


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


async def test_a_refusal_differs():
    """Before accept a test sees the code, and a client sees HTTP 403."""

    async def refuses(scope, receive, send):
        await receive()
        await send({"type": "websocket.close", "code": 4003})

    found = await parity([CONNECT, LEAVE], refuses)
    assert not found and str(found).endswith("≠ close 4003    refused 403")


async def test_a_crash_differs():
    """A test is told the error, a client the code 1011."""

    async def crashes(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        raise ValueError

    found = await parity([CONNECT, said("never"), LEAVE], crashes)
    assert (found.communicator[-1], found.live[-1]) == (("crash", "ValueError"), ("close", 1011))


async def test_an_application_that_returns_leaves_its_client(monkeypatch):
    """Who returns without a word closes nothing, on either side."""
    monkeypatch.setattr(module, "STEP", 0.05)
    assert (await parity([CONNECT, said("a"), {**LEAVE, "code": 4000}], answering())).live == (("accept", None),)


async def test_an_application_that_waits_for_something_else_is_told(monkeypatch):
    """A limit keeps an application that never comes back from holding the caller."""
    monkeypatch.setattr(module, "STEP", 0.05)

    async def dozes(scope, receive, send):
        await asyncio.sleep(10)

    with pytest.raises(TimeLimit, match=r"within 0\.05 s of event 1, found it waiting for something else"):
        await parity([CONNECT], dozes)


async def test_nothing_is_seen_by_the_learners_server(server, echo):
    """It has a server of its own: the learner's trace and connections stay empty."""
    assert await parity([CONNECT, said("a"), LEAVE], echo)
    assert not server.trace.events and not server.connections


def test_the_shorter_side_sees_nothing():
    """Where one side sees more, the other is shown to see nothing."""
    assert str(Parity((("accept", None),), ())).endswith("≠ accept None   nothing")
