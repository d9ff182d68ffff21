"""Channel layers in front of which the lab stands: from any loop, recorded, whatever the settings name."""

import asyncio
import shutil
import socket
import subprocess
import threading
import time

import pytest
from asgiref.sync import async_to_sync
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.layers import ChannelLayerManager, InMemoryChannelLayer, channel_layers, get_channel_layer
from channels.testing import WebsocketCommunicator
from django.test import override_settings

from labserver.live import layers, reactor
from labserver.live.recorder import current
from labserver.trace.events import Log, Trace

IN_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


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


class SyncMember(WebsocketConsumer):
    """The same, in threads."""

    groups = ["room"]

    def receive(self, text_data=None, bytes_data=None):
        async_to_sync(self.channel_layer.group_send)("room", {"type": "room.message", "text": text_data})

    def room_message(self, event):
        self.send(text_data=event["text"])


class OwnLayer(InMemoryChannelLayer):
    """A layer class of the user's own."""

    extensions = ["groups", "flush", "presence"]

    def presence(self):
        """Something that no other layer has."""
        return len(self.groups)


@pytest.fixture(autouse=True)
def fresh_layers(server):
    """Every test has a channel layer of its own, made by the settings' in-memory one unless it says otherwise."""
    with override_settings(CHANNEL_LAYERS=IN_MEMORY):
        yield


def push(text):
    """A message for the members of the room."""
    return {"type": "room.message", "text": text}


# --- with a live server -----------------------------------------------------------------------------------------------


async def test_a_send_from_another_loop_arrives(server):
    """Row 80: `group_send` from the caller's own loop wakes a consumer on the server's."""
    server.application = Member.as_asgi()
    async with server.connect("/") as ws:
        await get_channel_layer().group_send("room", push("from a cell"))
        assert await ws.recv() == "from a cell"
        channel = next(iter(get_channel_layer().memberships))
        await get_channel_layer().send(channel, push("to you alone"))
        assert await ws.recv() == "to you alone"
    rows = [(e.connection, e.type) for e in server.trace.events if e.direction == "layer"]
    assert rows == [
        ("ws-1", "group_add"),
        ("cell", "group_send"),
        ("ws-1", "receive"),
        ("cell", "send"),
        ("ws-1", "receive"),
        ("ws-1", "group_discard"),
    ]
    assert next(e for e in server.trace.events if e.type == "send").message["channel"] == "ws-1"


def test_a_send_from_a_thread_without_a_loop_arrives(server):
    """Row 80: `async_to_sync(group_send)` in a script reaches live sockets."""
    from websockets.sync.client import connect

    server.application = Member.as_asgi()
    with connect(server.ws_url, proxy=None) as ws:
        server.trace.wait_for("websocket.accept")
        async_to_sync(get_channel_layer().group_send)("room", push("from a script"))
        assert ws.recv(timeout=5) == "from a script"


def test_a_wait_on_another_loop_is_woken(server):
    """Row 80: whoever waits on a channel, on a loop that is idle otherwise, is woken by a send from the server's."""
    layer, got = get_channel_layer(), []
    channel = reactor.call(layer.new_channel())
    thread = threading.Thread(target=lambda: got.append(asyncio.run(layer.receive(channel))), daemon=True)
    thread.start()
    while channel not in layer.waiting:
        time.sleep(0.001)
    reactor.call(layer.send(channel, push("woken")))
    thread.join(5)
    assert got == [push("woken")]


async def test_a_sync_consumer_sends_to_its_group(server):
    """`async_to_sync(group_send)` in a sync consumer reaches every member, and is recorded as the sender's."""
    server.application = SyncMember.as_asgi()
    async with server.connect("/") as one, server.connect("/") as two:
        await two.send("hello")
        assert await one.recv() == await two.recv() == "hello"
    assert [e.connection for e in server.trace.events if e.type == "group_send"] == ["ws-2"]
    assert [e.connection for e in server.trace.events if e.type == "receive"] == ["ws-1", "ws-2"]


async def test_a_communicator_and_a_live_socket_share_a_group(server):
    """A communicator on the test's loop and a socket of the live server meet in one group."""
    server.application = Member.as_asgi()
    communicator = WebsocketCommunicator(Member.as_asgi(), "/")
    assert await communicator.connect() == (True, None)
    async with server.connect("/") as ws:
        await ws.send("from the socket")
        assert await communicator.receive_from() == await ws.recv() == "from the socket"
        await communicator.send_to("from the communicator")
        assert await communicator.receive_from() == await ws.recv() == "from the communicator"
    await communicator.disconnect()
    assert get_channel_layer().memberships == {}


async def test_a_layer_class_of_the_users_own_is_wrapped(server):
    """The layer that the settings name does the work, with everything it offers, and its hops are recorded."""
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": f"{__name__}.OwnLayer", "CONFIG": {"capacity": 7}}}):
        server.application = Member.as_asgi()
        async with server.connect("/") as ws:
            layer = get_channel_layer()
            assert layer.capacity == 7 and layer.presence() == 1 and "presence" in layer.extensions
            assert server.connections[0].groups == ("room",)
            await layer.group_send("room", push("hi"))
            assert await ws.recv() == "hi"
            with pytest.raises(AttributeError, match="OwnLayer"):
                layer.no_such_thing  # noqa: B018
        assert [e.type for e in server.trace.events if e.direction == "layer"][:3] == [
            "group_add",
            "group_send",
            "receive",
        ]


async def test_a_layer_that_cannot_be_reached_is_said(server, capfd):
    """When groups cannot be left because the layer is away, that is said, and the server stops all the same."""

    class Away(InMemoryChannelLayer):
        async def group_discard(self, group, channel):
            raise ConnectionError("the layer is away")

    server.application = Member.as_asgi()
    get_channel_layer()._layer.__class__ = Away
    ws = await server.connect("/")
    server.stop()
    assert "could not leave the groups of the channel layer: the layer is away" in capfd.readouterr().err
    assert get_channel_layer().memberships == {}
    await ws.close()


async def test_a_layer_can_be_flushed_and_closed(server):
    """Flush and close reach the layer behind, from any loop."""
    closed = []

    class Closing(InMemoryChannelLayer):
        async def close(self):
            closed.append(reactor.here())

    layer = get_channel_layer()
    layer._layer.__class__ = Closing
    await layer.group_add("room", await layer.new_channel())
    assert len(layer.groups["room"]) == 1
    await layer.flush()
    assert layer.groups == {} and layer.memberships == {}
    await layer.close()
    assert closed == [True]


# --- the wrapper alone ------------------------------------------------------------------------------------------------


async def stay(coroutine):
    """In place of the hop: the loop is the same."""
    return await coroutine


async def test_channels_belong_to_the_connection_that_made_them():
    """A channel made while a connection is served is known as that connection's; a cell's is nobody's."""
    log = Log()
    layer = layers.RecordedLayer(InMemoryChannelLayer(), log, stay)
    serial = log.open({"type": "websocket", "path": "/"})
    token = current.set(serial)
    mine = await layer.new_channel("mine.")
    current.reset(token)
    cells = await layer.new_channel()
    assert mine.startswith("mine.") and (log.owner(mine), log.owner(cells)) == (serial, 0)
    trace = Trace(log)
    await layer.send(mine, {"type": "x"})
    await layer.send(cells, {"type": "x"})
    assert [e.message["channel"] == "ws-1" for e in trace.events] == [True, False]


async def test_a_wait_that_is_cancelled_is_over():
    """A channel is waited on only as long as somebody does."""
    layer = layers.RecordedLayer(InMemoryChannelLayer(), Log(), stay)
    task = asyncio.ensure_future(layer.receive("a"))
    await asyncio.sleep(0)
    assert layer.waiting == {"a"}
    task.cancel()
    await asyncio.wait([task])
    assert layer.waiting == set()


async def test_leaving_one_group_keeps_the_others():
    """Memberships are known one by one, and forgotten for one connection or for all."""
    log = Log()
    layer = layers.RecordedLayer(InMemoryChannelLayer(), log, stay)
    one, two = log.open({"type": "websocket", "path": "/"}), log.open({"type": "websocket", "path": "/"})
    log.name_channel("one", one)
    log.name_channel("two", two)
    for group in ("a", "b"):
        await layer.group_add(group, "one")
        await layer.group_add(group, "two")
    await layer.group_discard("a", "one")
    assert layer.memberships == {"one": {"b"}, "two": {"a", "b"}}
    await layer.forget(one)
    assert layer.memberships == {"two": {"a", "b"}} and set(layer.groups["b"]) == {"two"}
    await layer.forget()
    assert layer.memberships == {} and layer.groups == {}


def test_a_manager_is_wrapped_once():
    """Layers that exist already and those to come are wrapped, once; before that there is none."""
    wrapped = layers.Layers(Log(), stay)
    assert wrapped.each() == []
    manager = ChannelLayerManager()
    manager.backends["old"] = InMemoryChannelLayer()
    wrapped.install(manager)
    wrapped.install(manager)
    bare = manager["default"]._layer
    assert isinstance(bare, InMemoryChannelLayer) and isinstance(manager["old"]._layer, InMemoryChannelLayer)
    manager.set("foreign", InMemoryChannelLayer())  # a test's own, put there by hand, is left alone
    assert wrapped.each() == [manager["old"], manager["default"]]
    assert wrapped.groups(1) == () and wrapped.idle(1)


async def test_a_connection_is_idle_when_every_channel_of_its_is_waited_on():
    """Something is on its way into a consumer until it waits on its channel again."""
    log = Log()
    wrapped = layers.Layers(log, stay)
    manager = ChannelLayerManager()
    wrapped.install(manager)
    serial = log.open({"type": "websocket", "path": "/"})
    log.name_channel("mine", serial)
    assert not wrapped.idle(serial)
    manager["default"].waiting.add("mine")
    assert wrapped.idle(serial)


# --- Redis ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def redis(tmp_path):
    """The address of a Redis server that runs for one test, in a folder of its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        shutil.which("redis-server"),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            for line in process.stdout:
                if "Ready to accept connections" in line:
                    break
            else:
                pytest.fail(f"redis-server ended with status {process.wait()}")
            yield process, f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.communicate(timeout=10)


BACKENDS = ["channels_redis.pubsub.RedisPubSubChannelLayer", "channels_redis.core.RedisChannelLayer"]


async def tasks():
    """What else runs on this loop."""
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


@pytest.mark.needs("redis-server")
@pytest.mark.parametrize("backend", BACKENDS)
async def test_redis_carries_the_group(server, redis, backend):
    """Row 80: with Redis, sends from another loop arrive, hops are recorded, and a stop leaves no connection to it."""
    _, address = redis
    before = await reactor.hop(tasks())
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": backend, "CONFIG": {"hosts": [address]}}}):
        for _ in range(2):  # the second time with connections made anew
            server.trace.clear()
            server.application = Member.as_asgi()
            async with server.connect("/") as one, server.connect("/") as two:
                await get_channel_layer().group_send("room", push("through Redis"))
                assert await one.recv() == await two.recv() == "through Redis"
                assert [c.groups for c in server.connections] == [("room",), ("room",)]
                assert [e.connection for e in server.trace.events if e.type == "receive"] == ["ws-1", "ws-2"]
                server.stop()
            assert set(await reactor.hop(tasks())) <= set(before)
            server._start(0)
        del channel_layers.backends["default"]


@pytest.mark.needs("redis-server")
async def test_a_server_stops_without_its_redis(server, redis):
    """When Redis is gone, the server still stops, and nothing is left on its loop."""
    process, address = redis
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": BACKENDS[0], "CONFIG": {"hosts": [address]}}}):
        server.application = Member.as_asgi()
        async with server.connect("/"):
            process.terminate()
            process.wait(10)
            server.stop()
        assert repr(server) == "<LiveServer stopped>"
        assert get_channel_layer().memberships == {}
        assert await reactor.hop(tasks()) == []


async def test_what_a_full_channel_loses_is_in_the_trace_and_said_once(capfd):
    """Row 74: every message that a slow member could not take is an event; under the cell stands one line for it."""

    class Slow(AsyncWebsocketConsumer):
        groups = ["room"]

        async def room_message(self, event):
            await asyncio.sleep(30)

    from labserver import serve

    server = serve(Slow.as_asgi())
    try:
        async with server.connect("/"):
            with server.record() as trace:
                for number in range(105):
                    await get_channel_layer().group_send("room", {"type": "room.message", "number": number})
            full = [event for event in trace if event.type == "full"]
            assert [event.message["message"]["number"] for event in full] == [101, 102, 103, 104]
            assert "the channel is full of unread messages: this one is lost" in str(trace)
    finally:
        server.stop()
    said = capfd.readouterr().err
    assert said.count("a message room.message was lost: a member's channel holds 100 unread ones already") == 1
