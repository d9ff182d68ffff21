"""What lesson 01 shows holds on the live server."""

import pytest
from websockets.exceptions import InvalidStatus


async def test_the_lessons_echo_answers_a_client(lesson):
    """The echo that is written step by step sends each text back, in order."""
    space = await lesson("01_asgi_events", "setup", "hello", "echo")

    async with space.server.connect("/") as ws:
        await ws.send("one")
        await ws.send("two")

        assert [await ws.recv(), await ws.recv()] == ["one", "two"]


async def test_connect_is_answered_before_anything_else(lesson):
    """A close instead of accept is HTTP 403, a close after it is a close code, a message before it HTTP 500."""
    space = await lesson("01_asgi_events", "setup", "hello", "visible")
    async with space.server.connect("/") as ws:
        await ws.wait_closed()
    assert ws.close_code == 4001

    for id, status in (("refuse", 403), ("early", 500)):
        with pytest.raises(InvalidStatus) as refusal:
            await lesson("01_asgi_events", id)
        assert refusal.value.response.status_code == status


async def test_the_events_of_a_conversation_pass_in_this_order(lesson):
    """connect, accept, then each message with its reply, then disconnect."""
    space = await lesson("01_asgi_events", "setup", "hello", "echo", "two-messages")

    assert [event.type.removeprefix("websocket.") for event in space.trace] == [
        "connect", "accept", "receive", "send", "receive", "send", "disconnect"
    ]  # fmt: skip


async def test_a_crash_is_1011_and_the_last_that_the_application_sees(lesson):
    """Whoever raises after accept gives the client 1011, and gets no websocket.disconnect."""
    space = await lesson("01_asgi_events", "setup", "hello", "crash")

    assert space.ws.close_code == 1011
    assert "websocket.disconnect" not in [event.type for event in space.trace]
