"""A room: its name comes from the URL, its members get what any of them sends."""

import re

from ..consumers import StrictJsonConsumer

NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}")
"""What a room may be called; what the channel layer refuses as a group, and what it lets through by mistake, is not."""


class RoomConsumer(StrictJsonConsumer):
    """`{"type": "message", "content": …}` in, `{"type": "response", "content": …}` to every member."""

    group = None

    async def connect(self):
        name = self.scope["url_route"]["kwargs"]["group_name"]
        if not NAME.fullmatch(name):
            await self.close()
            return  # without it the method would go on, join and accept
        if not self.scope["user"].is_authenticated:
            await self.refuse(4001, "sign in first: rooms are for users")
            return
        self.group = f"room.{name}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def leave(self):
        if self.group:
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive_json(self, content):
        if not isinstance(content, dict) or content.get("type") != "message" or "content" not in content:
            await self.error('expected {"type": "message", "content": …}')
            return
        # The type of a channel layer's message chooses the method that runs: it is ours to say, never a client's.
        event = {"type": "send.response", "content": content["content"]}
        await self.pass_on(self.channel_layer.group_send(self.group, event))

    async def send_response(self, event):
        """For each member, what one of them sent."""
        await self.send_json({"type": "response", "content": event["content"]})
