"""Rooms of the reference project, on a live server: who hears whom, and what a client cannot do to them."""

import asyncio
import json

import pytest
from channels.layers import get_channel_layer
from websockets.exceptions import InvalidStatus


async def test_every_member_hears_what_one_sends(enter):
    """A message reaches all members of its room, the sender too, and nobody in another room."""
    async with (
        enter("/ws/room/blue/", "alice") as alice,
        enter("/ws/room/blue/", "bob") as bob,
        enter("/ws/room/green/", "carol") as carol,
    ):
        await alice.send('{"type": "message", "content": {"any": "JSON"}}')
        for member in (alice, bob):
            assert json.loads(await member.recv()) == {"type": "response", "content": {"any": "JSON"}}
        await carol.send('{"type": "message", "content": "green"}')
        assert json.loads(await carol.recv())["content"] == "green"


async def test_who_leaves_is_no_member(server, enter):
    """After the last member is gone the room has no group."""
    async with enter("/ws/room/blue/", "alice"):
        assert server.connections[0].groups == ("room.blue",)
    assert [event.type for event in server.trace if event.direction == "layer"] == ["group_add", "group_discard"]


@pytest.mark.parametrize(
    "name", ["a%20b", "a%2Fb", "a/b", "x" * 100, "x%0A", "%D9%A1", "%C3%A4", "%00", "%F0%9D%84%9E"]
)
async def test_a_name_that_is_none_is_refused_before_a_group_is_joined(server, name):
    """Rows 57 and 58: spaces, slashes, 100 characters, a newline, foreign digits: refused, and no group is touched."""
    with pytest.raises(InvalidStatus) as caught:
        await server.connect(f"/ws/room/{name}/")
    assert caught.value.response.status_code in (403, 404)
    assert not [event for event in server.trace if event.type == "group_add"]


async def test_who_offers_the_subprotocol_gets_it(server):
    """A page that offers `bearer` here, where it is of no use, is told why it is refused, and does not see 1006."""
    async with server.connect("/ws/room/blue/", subprotocols=["bearer", "a.b.c"]) as ws:
        assert ws.subprotocol == "bearer"
        assert "sign in first" in json.loads(await ws.recv())["content"]
        await ws.wait_closed()
        assert ws.close_code == 4001


async def test_who_is_not_signed_in_is_told_so_and_closed(server):
    """An anonymous client is accepted, told why, and closed with 4001; it is a member at no time."""
    async with server.connect("/ws/room/blue/") as ws:
        assert json.loads(await ws.recv()) == {"type": "error", "content": "sign in first: rooms are for users"}
        await ws.wait_closed()
        assert ws.close_code == 4001
    assert not [event for event in server.trace if event.direction == "layer"]


async def test_the_page_joins_the_room_of_its_address(server, sessions):
    """The page of a room names it to its script; a name that no room can have is 404."""
    headers = {"Cookie": f"sessionid={sessions['alice'][1]}"}
    page = await server.get("/room/blue/", headers=headers)
    assert page.status_code == 200 and "blue" in page.text
    assert (await server.get("/room/a%20b/", headers=headers)).status_code == 404


async def test_a_message_from_another_loop_reaches_a_room(server, enter):
    """Row 80: a send from a test's, a cell's or a thread's own event loop arrives at once, like one of the server's."""

    def from_a_thread():
        event = {"type": "send.response", "content": "from a thread"}
        asyncio.run(get_channel_layer().group_send("room.blue", event))

    async with enter("/ws/room/blue/", "alice") as alice:
        await get_channel_layer().group_send("room.blue", {"type": "send.response", "content": "from here"})
        assert json.loads(await alice.recv())["content"] == "from here"
        await asyncio.to_thread(from_a_thread)
        assert json.loads(await alice.recv())["content"] == "from a thread"
