"""Rooms: what one member sends, all of them get."""

from .conftest import Client


async def test_a_message_reaches_all_of_the_room_and_nobody_else(enter, users):
    """alice and bob are in one room, carol in another one."""
    alice, bob = [await enter("/ws/room/blue/", user=users[name]) for name in ("alice", "bob")]
    carol = await enter("/ws/room/red/", user=users["carol"])
    await alice.send_json_to({"type": "message", "content": "hello"})
    for member in (alice, bob):
        assert await member.receive_json_from(timeout=5) == {"type": "response", "content": "hello"}
    assert await carol.receive_nothing()


async def test_rooms_are_for_users(transactional_db):
    """Who is not signed in is told so, and closed with 4001."""
    client = Client("/ws/room/blue/")
    assert await client.connect() == (True, None)
    assert await client.heard() == ("error", "sign in first: rooms are for users")
    assert await client.closed() == 4001


async def test_what_is_no_message_is_answered(enter, users):
    """A client's `type` never chooses a method of ours."""
    alice = await enter("/ws/room/blue/", user=users["alice"])
    await alice.send_json_to({"type": "send.response", "content": "mine"})
    assert (await alice.heard())[0] == "error"
