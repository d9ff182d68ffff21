"""The consumer that sends back what it receives."""

import pytest
from channels.testing import WebsocketCommunicator
from websockets.exceptions import InvalidStatus


async def test_text_comes_back_as_text_and_bytes_as_bytes(server):
    """On a live server, /ws/echo/ sends back what it gets, of the same kind."""
    async with server.connect("/ws/echo/") as ws:
        for message in ("hello", b"\x00\xff", "grüße 𝄞", '{"type": "x"}'):
            await ws.send(message)
            assert await ws.recv() == message


async def test_a_communicator_sees_the_same(server):
    """The consumer alone, without a server, echoes too."""
    from labserver.project.echo.consumers import EchoConsumer

    communicator = WebsocketCommunicator(EchoConsumer.as_asgi(), "/ws/echo/")
    assert await communicator.connect() == (True, None)
    await communicator.send_to(text_data="hi")
    assert await communicator.receive_from() == "hi"
    await communicator.send_to(bytes_data=b"hi")
    assert await communicator.receive_from() == b"hi"
    await communicator.disconnect()


@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
async def test_a_foreign_origin_is_refused(server, origin):
    """Row 59: a page of another site cannot open the socket."""
    with pytest.raises(InvalidStatus) as caught:
        await server.connect("/ws/echo/", origin=origin)
    assert caught.value.response.status_code == 403
