"""A room: its name comes from the URL, its members get what any of them sends."""

import json
import re

from channels.generic.websocket import AsyncJsonWebsocketConsumer

NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}")
"""What a room may be called; what the channel layer refuses as a group, and what it lets through by mistake, is not."""


class RoomConsumer(AsyncJsonWebsocketConsumer):
    """`{"type": "message", "content": …}` in, `{"type": "response", "content": …}` to every member.

    What cannot be understood is answered with `{"type": "error", "content": why}`, and the connection stays.
    """

    group = None

    async def connect(self):
        name = self.scope["url_route"]["kwargs"]["group_name"]
        if not NAME.fullmatch(name):
            await self.close()
            return
        self.group = f"room.{name}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, close_code):
        if self.group:
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data=None, bytes_data=None):
        try:
            if text_data is None:
                raise ValueError("expected text, found bytes")
            content = json.loads(text_data)
        except (ValueError, RecursionError) as error:  # the latter for JSON that is nested too deep
            await self.error(f"expected JSON: {error}")
            return
        await self.receive_json(content)

    async def receive_json(self, content):
        if not isinstance(content, dict) or content.get("type") != "message" or "content" not in content:
            await self.error('expected {"type": "message", "content": …}')
            return
        # The type of a channel layer's message chooses the method that runs: it is ours to say, never a client's.
        await self.channel_layer.group_send(self.group, {"type": "send.response", "content": content["content"]})

    async def send_response(self, event):
        """For each member, what one of them sent."""
        await self.send_json({"type": "response", "content": event["content"]})

    async def error(self, why):
        """Tell this client alone."""
        await self.send_json({"type": "error", "content": why})
