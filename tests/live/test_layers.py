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
from labserver.live.server import LiveServer
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


# --- a look at the layer ----------------------------------------------------------------------------------------------


class Careless(Member):
    """Never leaves its group."""

    async def disconnect(self, code):
        pass


class Stuck(Member):
    """Sits in a handler for good; other messages it takes and forgets."""

    async def room_stuck(self, event):
        await asyncio.Event().wait()

    async def room_message(self, event):
        pass  # a client of the lab's that does not read is slow to leave


async def test_a_look_shows_groups_channels_and_connections(server):
    """Row 80: who is a member of what, under the names that the trace has; the same bytes in each run."""
    pictures = []
    for _ in range(2):
        server.trace.clear()
        server.application = Member.as_asgi()
        async with server.connect("/one/") as one, server.connect("/two/"):
            await one.send("hi")
            await one.recv()
            layer = server.layer
            assert layer.groups == {"room": ("ws-1", "ws-2")} and layer.waiting == layer.dropped == {}
            assert [(c.path, c.state, c.capacity) for c in layer.channels] == [
                ("/one/", "open", 100),
                ("/two/", "open", 100),
            ]
            pictures.append(layer._repr_mimebundle_())
        assert server.layer.channels == ()
    assert pictures[0] == pictures[1] and pictures[0]["text/plain"].startswith("InMemoryChannelLayer: 1 group, 2 chan")


async def test_a_look_counts_what_waits_and_what_was_lost(server, monkeypatch):
    """Row 74: a member that is stuck has a full channel, and each message beyond is counted; a look changes nothing."""
    monkeypatch.setattr("labserver.live.server.SETTLE_LIMIT", 0.02)
    server.application = Stuck.as_asgi()
    async with server.connect("/"), server.connect("/"):
        first, _ = get_channel_layer().memberships
        await get_channel_layer().send(first, {"type": "room.stuck"})
        for number in range(125):
            await get_channel_layer().group_send("room", push(str(number)))
        for _ in range(500):  # the other one may still be reading
            if server.layer.waiting.keys() == {"ws-1"}:
                break
            await asyncio.sleep(0.01)
        for _ in range(2):
            layer = server.layer
            assert layer.waiting == {"ws-1": 100} and layer.dropped == {"ws-1": 25}
    server.stop()
    assert server.layer.channels == ()


async def test_a_channel_that_outlives_its_connection_is_gone(server):
    """A consumer that stays in its group leaves a leak, which is found, named as long as the trace can name it."""
    server.application = Careless.as_asgi()
    async with server.connect("/a/"):
        pass
    async with server.connect("/b/"):
        await get_channel_layer().group_send("room", push("hi"))
        layer = server.layer
        assert layer.groups == {"room": ("ws-1", "ws-2")} and layer.waiting == {"ws-1": 1}
        assert [(c.path, c.state) for c in layer.channels] == [("/a/", "gone"), ("/b/", "open")]
    server.trace.clear()
    assert [(c.id, c.path) for c in server.layer.channels] == [("gone", "/a/"), ("gone (2)", "/b/")]
    server.stop()
    assert server.layer == server.layer and server.layer.channels == ()


async def test_a_look_shows_the_channels_of_cells(server):
    """A channel that a cell made is shown while it is in use; one that the code named keeps its name."""
    layer = get_channel_layer()
    one, two, unused = [await layer.new_channel() for _ in range(3)]
    await layer.send("thumbnails", push("later"))
    await layer.send(two, push("hi"))
    await layer.group_add("room", one)
    waiting = asyncio.ensure_future(layer.receive("jobs"))
    while "jobs" not in layer.waiting:
        await asyncio.sleep(0)
    found = server.layer
    assert [channel.id for channel in found.channels] == ["cell", "cell (2)", "jobs", "thumbnails"]
    assert found.groups == {"room": ("cell",)} and found.waiting == {"cell (2)": 1, "thumbnails": 1}
    server.stop()  # what waits goes on waiting
    assert [channel.id for channel in server.layer.channels] == ["jobs"]
    await layer.send("jobs", push("at last"))
    assert await waiting == push("at last")
    assert unused not in layer.channels


async def test_an_application_can_look(server):
    """A look from the server's own loop does not wait for itself, and knows a second channel of a connection."""

    class Looking(AsyncWebsocketConsumer):
        async def connect(self):
            await self.accept()
            await self.channel_layer.group_add("also", await self.channel_layer.new_channel())
            await self.send(text_data=str(server.layer.groups) + str([c.label for c in server.layer.channels]))

    server.application = Looking.as_asgi()
    async with server.connect("/") as ws:
        assert await ws.recv() == "{'also': ('ws-1 (2)',)}['channel of ws-1', 'channel 2 of ws-1']"


async def test_a_look_leaves_what_has_expired(server):
    """Looking is no receiving: an expired message stays where it is."""
    layer = get_channel_layer()
    layer._layer.expiry = -1
    await layer.group_add("room", "late")
    await layer.send("late", push("too late"))
    assert server.layer.waiting == server.layer.waiting == {"late": 1} and server.layer.groups == {"room": ("late",)}


async def test_each_alias_is_a_layer(server):
    """The default one comes first, though nobody has used it; without any in the settings there is a word for that."""
    backend = IN_MEMORY["default"]["BACKEND"]
    other = {"BACKEND": f"{__name__}.OwnLayer"}
    with override_settings(CHANNEL_LAYERS={"chat": other, "default": {"BACKEND": backend}, "unused": other}):
        await get_channel_layer("chat").group_add("room", "jobs")
        channel_layers.set("foreign", InMemoryChannelLayer())
        layer = server.layer
        assert (layer.kind, layer.alias, layer.channels) == ("InMemoryChannelLayer", "default", ())
        assert [(each.kind, each.alias, each.groups) for each in layer.others] == [
            ("OwnLayer", "chat", {"room": ("jobs",)})
        ]
        get_channel_layer("default")
        assert server.layer == layer
    with override_settings(CHANNEL_LAYERS={}):
        assert server.layer.kind == ""


def test_a_server_that_never_ran_has_no_layer():
    """There is nothing to look at, and nothing wrong."""
    assert LiveServer().layer.channels == ()


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


async def test_old_names_of_channels_are_forgotten():
    """As many names are remembered as the log keeps events."""
    layer = layers.RecordedLayer(InMemoryChannelLayer(), Log(limit=2), stay)
    names = [await layer.new_channel() for _ in range(3)]
    assert list(layer._made) == names[1:]


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


async def _stays(work):
    """A hop to where the caller is."""
    return await work


@pytest.mark.parametrize("installed", [True, False])
async def test_layers_of_ones_own_are_alone(installed):
    """Inside they are new and recorded in their own log; outside all is as it was, also after an error."""
    manager_before = vars(channel_layers).copy()
    outer, inner = layers.Layers(Log(), _stays), layers.Layers(Log(), _stays)
    try:
        vars(channel_layers).pop("make_backend", None)  # of a server that has been here
        channel_layers.backends = {}
        if installed:
            outer.install(channel_layers)
        before = get_channel_layer() if installed else None
        there = vars(channel_layers).copy()
        with pytest.raises(ValueError, match="inside"), inner.alone():
            mine = get_channel_layer()
            assert mine is not before and isinstance(mine, layers.RecordedLayer) and inner.each() == [mine]
            await mine.group_add("room", "mine")
            await mine.group_send("room", {"type": "x"})
            raise ValueError("inside")
        assert vars(channel_layers) == there
        assert len(inner._log.rows(0, None)[0]) == 2 and outer._log.total == 0
        if installed:
            await get_channel_layer().group_send("room", {"type": "x"})
            assert get_channel_layer() is before and outer._log.total == 1
    finally:
        vars(channel_layers).clear()
        vars(channel_layers).update(manager_before)


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
                layer = server.layer
                assert layer.kind == backend.rpartition(".")[2] and layer.groups == {"room": ("ws-1", "ws-2")}
                assert [(c.id, c.waiting, c.capacity) for c in layer.channels] == [
                    ("ws-1",) + 2 * (None,),
                    ("ws-2",) + 2 * (None,),
                ]
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
