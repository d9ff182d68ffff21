"""Rooms of the reference project, on a live server: who hears whom, and what a client cannot do to them."""

import json

import pytest
from websockets.exceptions import InvalidStatus


async def test_every_member_hears_what_one_sends(server):
    """A message reaches all members of its room, the sender too, and nobody in another room."""
    async with (
        server.connect("/ws/room/blue/") as alice,
        server.connect("/ws/room/blue/") as bob,
        server.connect("/ws/room/green/") as carol,
    ):
        await alice.send('{"type": "message", "content": {"any": "JSON"}}')
        for member in (alice, bob):
            assert json.loads(await member.recv()) == {"type": "response", "content": {"any": "JSON"}}
        await carol.send('{"type": "message", "content": "green"}')
        assert json.loads(await carol.recv())["content"] == "green"


async def test_who_leaves_is_no_member(server):
    """After the last member is gone the room has no group."""
    async with server.connect("/ws/room/blue/"):
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


@pytest.mark.parametrize(
    "message",
    [b"\x00", "", "x", "3", "null", "[]", "{}", '{"type": "message"}', '{"content": 1}', '{"type": "send.response"}',
     '{"type": "websocket.disconnect", "content": 1}', "[" * 100_000],
    ids=lambda message: repr(message[:20]),
)  # fmt: skip
async def test_what_cannot_be_understood_is_answered_and_nothing_ends(server, message):
    """Row 31 and its like: bytes, text that is not JSON, foreign types: an error to the sender, who stays connected."""
    async with server.connect("/ws/room/blue/") as alice:
        await alice.send(message)
        assert json.loads(await alice.recv())["type"] == "error"
        await alice.send('{"type": "message", "content": "still here"}')
        assert json.loads(await alice.recv())["content"] == "still here"
