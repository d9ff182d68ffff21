"""A room: what one member sends is kept, and goes to all."""

import json

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from .models import Message

SIGN = ""


def signed(text):
    """The text as members get it."""
    return SIGN + text


class ChatConsumer(AsyncWebsocketConsumer):
    """A member of a room."""

    async def connect(self):
        self.room_name = self.scope["url_route"]["kwargs"]["room_name"]
        self.room_group_name = f"chat_{self.room_name}"
        await self.channel_layer.group_add(self.room_group_name, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.room_group_name, self.channel_name)

    async def receive(self, text_data):
        message = json.loads(text_data)["message"]
        print("kept:", message)
        await self.keep(message)
        await self.channel_layer.group_send(self.room_group_name, {"type": "chat.message", "message": message})

    @database_sync_to_async
    def keep(self, text):
        Message.objects.create(room=self.room_name, text=text)

    async def chat_message(self, event):
        await self.send(text_data=json.dumps({"message": signed(event["message"])}))
