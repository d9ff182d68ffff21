"""The lab's in-memory layer does what Channels' specification asks, and loses nothing in silence."""

import asyncio

import pytest
from channels.exceptions import ChannelFull

from labserver.live import memory
from labserver.live.memory import InMemoryLayer
from labserver.live.server import configure_django

HELLO = {"type": "hello", "number": 1}


@pytest.fixture(autouse=True)
def django():
    """Layers look into the settings."""
    configure_django()


@pytest.fixture
def lost():
    """What the layer says it has lost."""
    return []


@pytest.fixture
def layer(lost):
    """A layer whose channels hold three messages."""
    layer = InMemoryLayer(capacity=3, expiry=60)
    layer.dropped = lambda channel, message: lost.append((channel, message))
    return layer


async def nothing(layer, channel):
    """Whether nothing arrives on a channel."""
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(layer.receive(channel), 0.01)
    return True


async def test_a_message_arrives_once_and_is_a_copy(layer):
    """What is sent is what arrives, whatever the sender does to it afterwards."""
    message = {"type": "hello", "list": [1]}
    await layer.send("one", message)
    message["list"].append(2)
    assert await layer.receive("one") == {"type": "hello", "list": [1]}
    assert await nothing(layer, "one")


async def test_each_member_gets_a_copy_of_its_own(layer, lost):
    """Who is in the group gets the message, who has left does not, and no two share it."""
    for channel in ("one", "two", "gone"):
        await layer.group_add("room", channel)
    await layer.group_discard("room", "gone")
    await layer.group_send("room", {"type": "hello", "list": []})
    first, second = await layer.receive("one"), await layer.receive("two")
    assert first == second == {"type": "hello", "list": []} and first["list"] is not second["list"]
    assert await nothing(layer, "gone") and not lost


async def test_a_group_without_members_takes_a_message(layer):
    """Nobody is there, and nothing is wrong."""
    await layer.group_send("nobody", HELLO)


@pytest.mark.parametrize("message", ["text", None, ["list"]])
async def test_a_message_is_a_dictionary(layer, message):
    """Anything else is refused, as by the stock layer."""
    with pytest.raises(AssertionError, match="not a dict"):
        await layer.group_send("room", message)


@pytest.mark.parametrize("name", ["a b", "ä", "", "x" * 100, 3])
async def test_bad_names_are_refused(layer, name):
    """Groups have the names that the specification allows."""
    with pytest.raises(TypeError):
        await layer.group_send(name, HELLO)


async def test_a_direct_send_to_a_full_channel_raises(layer):
    """The specification's ChannelFull, for who can react to it."""
    for _ in range(3):
        await layer.send("one", HELLO)
    with pytest.raises(ChannelFull):
        await layer.send("one", HELLO)


async def test_a_group_tells_what_a_full_channel_loses(layer, lost, monkeypatch):
    """Row 74: the message beyond the capacity is counted; others get it; and only the first one waited."""
    monkeypatch.setattr(memory, "PATIENCE", 0.01)
    await layer.group_add("room", "stuck")
    await layer.group_add("room", "well")
    for number in range(5):
        await layer.group_send("room", {"type": "hello", "number": number})
        assert (await layer.receive("well"))["number"] == number
    assert lost == [("stuck", {"type": "hello", "number": 3}), ("stuck", {"type": "hello", "number": 4})]
    assert [(await layer.receive("stuck"))["number"] for _ in range(3)] == [0, 1, 2]
    await layer.group_send("room", HELLO)
    assert await layer.receive("stuck") == HELLO and len(lost) == 2  # it is read again, so it gets all


async def test_a_burst_reaches_whoever_reads(layer, lost):
    """Row 75: many messages in a row, far beyond the capacity: a member that is at work gets all of them."""
    await layer.group_add("room", "reader")

    async def read():
        return [(await layer.receive("reader"))["number"] for _ in range(200)]

    reading = asyncio.create_task(read())
    for number in range(200):
        await layer.group_send("room", {"type": "hello", "number": number})
    assert await asyncio.wait_for(reading, 5) == list(range(200)) and not lost


async def test_what_has_expired_is_gone_and_ends_the_membership(layer, monkeypatch):
    """A message that nobody read in time is not delivered, and its channel is in no group any more."""
    await layer.group_add("room", "late")
    layer.expiry = -1
    await layer.group_send("room", HELLO)
    layer.expiry = 60
    assert await nothing(layer, "late")
    await layer.group_send("room", HELLO)
    assert await nothing(layer, "late")


async def test_what_nobody_reads_is_cleaned_up(layer, monkeypatch):
    """Channels that nobody asks for are looked at from time to time, and forgotten when their messages have expired."""
    monkeypatch.setattr(memory, "CLEAN_EVERY", 0)
    layer.expiry = -1
    await layer.send("forgotten", HELLO)
    await layer.group_send("other", HELLO)
    assert "forgotten" not in layer.channels


async def test_a_receive_that_is_cancelled_loses_nothing(layer):
    """Who gives up waiting leaves the next message to others."""
    assert await nothing(layer, "one")
    await layer.send("one", HELLO)
    assert await layer.receive("one") == HELLO


async def test_a_channel_that_was_read_empty_is_forgotten(layer):
    """Nothing is kept for a channel without messages, and a new message makes it again."""
    for number in range(2):
        await layer.send("one", {"type": "hello", "number": number})
    assert (await layer.receive("one"))["number"] == 0 and "one" in layer.channels
    assert (await layer.receive("one"))["number"] == 1 and "one" not in layer.channels
    assert await nothing(layer, "one") and "one" not in layer.channels


async def test_two_who_wait_on_one_channel_get_a_message_each(layer):
    """Whoever comes second is not forgotten when the first one empties the channel."""
    first, second = asyncio.create_task(layer.receive("one")), asyncio.create_task(layer.receive("one"))
    await asyncio.sleep(0)
    await layer.send("one", {"type": "hello", "number": 1})
    await layer.send("one", {"type": "hello", "number": 2})
    found = await asyncio.wait_for(asyncio.gather(first, second), 5)
    assert sorted(message["number"] for message in found) == [1, 2]


async def test_only_what_is_late_expires(layer):
    """Of several messages those that are too old are gone, the others arrive."""
    for number, layer.expiry in enumerate((-1, -1, 60)):
        await layer.send("one", {"type": "hello", "number": number})
    assert (await layer.receive("one"))["number"] == 2
    assert await nothing(layer, "one")


async def test_a_membership_expires(layer, monkeypatch):
    """Who joined longer ago than group_expiry is no member any more."""
    monkeypatch.setattr(memory, "CLEAN_EVERY", 0)
    layer.group_expiry = -2
    await layer.group_add("room", "old")
    await layer.group_send("room", HELLO)
    assert await nothing(layer, "old")


async def test_two_channels_of_one_process_are_apart(layer):
    """Each consumer's own channel has a name of its own, and gets its own messages only."""
    one, two = await layer.new_channel(), await layer.new_channel()
    await layer.send(two, {"type": "hello", "number": 2})
    await layer.send(one, {"type": "hello", "number": 1})
    assert (await layer.receive(one))["number"] == 1
    assert (await layer.receive(two))["number"] == 2
