"""`labserver demo`: the main job in a terminal, in seconds.

Room: uses the public surface as a notebook would, and real Channels code.
"""

import asyncio

from labserver import serve


async def demo() -> None:
    """Two clients talk in a group, the terminal pushes to both, and the trace is printed."""
    server = serve("labserver.project.asgi:application")
    from channels.generic.websocket import AsyncJsonWebsocketConsumer
    from channels.layers import get_channel_layer
    from channels.routing import URLRouter
    from django.urls import path

    class Lobby(AsyncJsonWebsocketConsumer):
        async def connect(self):
            await self.channel_layer.group_add("lobby", self.channel_name)
            await self.accept()

        async def disconnect(self, code):
            await self.channel_layer.group_discard("lobby", self.channel_name)

        async def receive_json(self, content):
            await self.channel_layer.group_send("lobby", {"type": "lobby.message", "text": content["text"]})

        async def lobby_message(self, event):
            await self.send_json({"text": event["text"]})

    print(f"A Channels server runs inside this process, at {server.url}", flush=True)
    print("Two clients join a group. One says hello to all; then this program pushes to the group itself.\n")
    server.application = URLRouter([path("ws/lobby/", Lobby.as_asgi())])
    with server.record() as trace:
        async with server.connect("/ws/lobby/") as alice, server.connect("/ws/lobby/") as bob:
            await alice.send('{"text": "hello"}')
            await alice.recv()
            await bob.recv()
            await get_channel_layer().group_send("lobby", {"type": "lobby.message", "text": "pushed"})
            await alice.recv()
            await bob.recv()
    print(trace)
    server.stop()
    print("\nThe server has stopped. The same in a notebook, step by step: make lab")


def main() -> int:
    """Run the demonstration; returns the exit status."""
    asyncio.run(demo())
    return 0
