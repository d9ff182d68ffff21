"""What must be the same every time, and what must not grow: in real kernels."""

import json

CYCLES = """
import asyncio, gc, threading
import psutil
from labserver import serve
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from labserver.live import reactor
from websockets.exceptions import ConnectionClosed

class Crash(AsyncWebsocketConsumer):
    async def connect(self):
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()
    async def receive(self, text_data=None, bytes_data=None):
        if text_data == "boom":
            raise ValueError(text_data)
        await self.send(text_data=text_data)

process = psutil.Process()

async def tasks():
    return len(asyncio.all_tasks()) - 1

def ledger():
    gc.collect()
    layer = get_channel_layer()
    listening = [c for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    return {
        "listening": len(listening),
        "threads": threading.active_count(),
        "tasks here": len(asyncio.all_tasks()),
        "tasks of the server": reactor.call(tasks()),
        "descriptors": process.num_fds() if hasattr(process, "num_fds") else process.num_handles(),
        "groups": (len(layer.memberships), len(layer.groups)),
        "connections": len(server.connections),
    }

async def cycle():
    global server
    server = serve(Crash.as_asgi())
    bystander = await server.connect("/")
    async with server.connect("/") as ws:
        await ws.send("boom")
        try:
            await ws.recv()
        except ConnectionClosed as error:
            assert error.rcvd.code == 1011
    await bystander.send("alive")
    assert await bystander.recv() == "alive"
    server.stop()
    await bystander.wait_closed()
    assert bystander.close_code == 1001

import contextlib, io
with contextlib.redirect_stderr(io.StringIO()):
    for _ in range(10):
        await cycle()
    before = ledger()
    for _ in range(200):
        await cycle()
    after = ledger()
import json
print(json.dumps([before, after]))
"""


def test_200_cycles_leave_nothing(fresh):
    """200 cycles of start, connect, crash and stop leave ports, threads, tasks, descriptors and groups as they were."""
    before, after = json.loads(fresh.run(CYCLES, limit=90))
    assert before["groups"] == [0, 0] and before["connections"] == 0 and before["tasks of the server"] == 0
    assert after == before


SCENARIO = """
import json
from labserver import serve
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from django.urls import path
from websockets.exceptions import ConnectionClosed, InvalidStatus

class Member(AsyncWebsocketConsumer):
    async def connect(self):
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()
    async def disconnect(self, code):
        await self.channel_layer.group_discard("room", self.channel_name)
    async def receive(self, text_data=None, bytes_data=None):
        if text_data == "boom":
            raise ValueError("boom")
        await self.channel_layer.group_send("room", {"type": "room.message", "text": text_data})
    async def room_message(self, event):
        await self.send(text_data=event["text"])

server = serve(URLRouter([path("room/", Member.as_asgi())]))
with server.record() as trace:
    async with server.connect("/room/") as alice, server.connect("/room/") as bob, server.connect("/room/") as carol:
        for text in ("hello", "again"):
            await bob.send(text)
            for ws in (alice, bob, carol):
                assert await ws.recv() == text
        await get_channel_layer().group_send("room", {"type": "room.message", "text": "from the cell"})
        for ws in (alice, bob, carol):
            assert await ws.recv() == "from the cell"
        await carol.send("boom")
        try:
            await carol.recv()
        except ConnectionClosed as error:
            assert error.rcvd.code == 1011
        try:
            await server.connect("/nowhere/")
        except InvalidStatus as error:
            assert error.response.status_code == 403
server.stop()
"""


def test_a_scenario_is_drawn_the_same_in_every_kernel(new_kernel):
    """The text and the picture of one scenario, with deliveries that race, are the same bytes in each fresh kernel."""

    drawn = []
    for _ in range(2):
        pair = [new_kernel(), new_kernel()]
        try:
            cells = [kernel.send(SCENARIO) for kernel in pair]
            for kernel, cell in zip(pair, cells, strict=True):
                ran = kernel.wait(cell, limit=60)
                assert not ran.error, ran.error
                bundle = json.loads(kernel.run("print(json.dumps(trace._repr_mimebundle_()))"))
                drawn.append((kernel.run("print(str(trace))"), bundle))
        finally:
            for kernel in pair:
                kernel.end()
    (text, bundle), *others = drawn
    for part in ("websocket.connect", "from the cell", "ValueError", "NoRoute"):
        assert part in text
    assert "<svg" in bundle["image/svg+xml"]
    for other, other_bundle in others:
        assert other == text
        assert other_bundle == bundle
