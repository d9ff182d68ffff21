"""The chat's consumer: JSON in JSON, to everyone or to all tabs of one user.

In:   {"type": "demo-message-send", "content": "{\"text\": \"hello\", \"toUserId\": 2}"}
      {"type": "demo-token-refresh", "content": "<a fresh access token>"}
Out:  {"type": "demo-message-receive", "content": "{\"fromUserId\": 1, \"text\": \"hello\", \"single\": true}"}

No `toUserId` (or null, "", 0) is everyone. The text `ping` is answered with `pong`.
"""

import asyncio
import json
import logging

from asgiref.sync import sync_to_async

from .. import strict_json
from ..consumers import StrictJsonConsumer
from . import presence, tokens

logger = logging.getLogger(__name__)

EVERYONE = "chat.everyone"
"""The group of all who are connected."""

LOST = "the connection to the other users was interrupted: messages of the last moments may be missing"


def _in_thread(function, *args):
    """The cache blocks while it waits for its server; the event loop, and with it everybody else, must not."""
    return sync_to_async(function, thread_sensitive=False)(*args)


class ChatConsumer(StrictJsonConsumer):
    """`infra/ws/`: for users with a token or a session, as long as those hold; others are told so, and closed."""

    user_id = place = None
    tasks = ()

    async def connect(self):
        user = self.scope["user"]
        if not user.is_authenticated:
            await self.refuse(tokens.NONE, "sign in first: the chat is for users")
            return
        self.user_id = user.pk
        self.place = await _in_thread(presence.enter, self.user_id, self.channel_name)
        if self.place is None:
            await self.refuse(4000, f"too many connections: {presence.TABS} tabs of one user are enough")
            return
        await self.channel_layer.group_add(EVERYONE, self.channel_name)
        await self.accept()  # last: who is told to be connected, is
        self.renewal = asyncio.Lock()
        self.tasks = [asyncio.create_task(self.renew()), asyncio.create_task(self.watch())]

    async def leave(self):
        if self.tasks:
            async with self.renewal:  # a thread cannot be cancelled: it would put the entry back after it is deleted
                for task in self.tasks:
                    task.cancel()
        if self.user_id:
            try:
                await _in_thread(presence.leave, self.channel_name, self.place)
            finally:
                await self.channel_layer.group_discard(EVERYONE, self.channel_name)

    async def renew(self):
        """Keep the entry of this tab alive. Where it or Redis was lost: put back what was there, and say so."""
        life, away = None, False
        while True:
            try:
                now = await _in_thread(presence.life)
                async with self.renewal:
                    self.place, kept = await _in_thread(presence.renew, self.user_id, self.channel_name, self.place)
                if away or not kept or life not in (None, now):
                    await self.channel_layer.group_add(EVERYONE, self.channel_name)
                    await self.send_json({"type": "system", "content": LOST})
                life, away = now, False
            except Exception as error:
                if not away:
                    logger.warning("user %s: the cache or the channel layer is away: %s", self.user_id, error)
                away = True
            await asyncio.sleep(presence.RENEW)

    async def watch(self):
        """Close the connection soon after its user may not have it any more: nobody else would ever look again."""
        while True:
            await asyncio.sleep(tokens.LOOK_AGAIN)
            looked_at = self.scope.get("token")
            try:
                await tokens.still_valid(self.scope)
            except tokens.Refused as refused:
                if looked_at is not self.scope.get("token"):
                    continue  # a fresh one came meanwhile
                await self.send_json(refused.message)
                await self.close(refused.code)
                return
            except Exception as error:
                logger.warning("user %s: could not be looked up again: %s", self.user_id, error)

    async def receive(self, text_data=None, bytes_data=None):
        if text_data == "ping":  # the heartbeat of browsers, which cannot send ping frames
            await self.send("pong")
        else:
            await super().receive(text_data, bytes_data)

    async def receive_json(self, content):
        if isinstance(content, dict) and content.get("type") == "demo-token-refresh":
            await self.take(content.get("content"))
            return
        try:
            text, recipient = _read(content)
        except ValueError as error:
            await self.error(str(error))
            return
        # The layer's `type` chooses the method that runs for each member: it is ours to say, never a client's.
        event = {"type": "chat.message", "from_user_id": self.user_id, "text": text, "single": recipient is not None}
        await self.pass_on(self.everyone(event) if recipient is None else self.one(recipient, event))

    async def take(self, token):
        """Go on with a fresh token of the same user, on the same connection."""
        try:
            user, claims = await tokens.identify(token)
        except tokens.Refused as refused:
            await self.error(str(refused))
            return
        if user.pk != self.user_id:
            await self.error("this token is another user's; connect again with it")
            return
        self.scope["token"] = claims
        await self.send_json({"type": "demo-token-accepted", "content": claims["exp"]})

    async def everyone(self, event):
        """Send to all who are connected, this client too."""
        await self.channel_layer.group_send(EVERYONE, event)

    async def one(self, recipient, event):
        """Send to all tabs of one user, or tell this client that there are none."""
        channels = await _in_thread(presence.channels, recipient)
        for channel in channels:
            await self.channel_layer.send(channel, event)
        if not channels:
            await self.error(f"not delivered: user {recipient} is not connected")

    async def chat_message(self, event):
        """For each tab that a message is for."""
        content = {"fromUserId": event["from_user_id"], "text": event["text"], "single": event["single"]}
        await self.send_json({"type": "demo-message-receive", "content": json.dumps(content)})


def _read(content):
    """Text and recipient (None for everyone) of what a client sent. Raises ValueError, with what was expected."""
    if not isinstance(content, dict) or content.get("type") != "demo-message-send":
        raise ValueError('expected {"type": "demo-message-send", "content": "<JSON text>"}')
    if not isinstance(content.get("content"), str):
        raise ValueError("expected content to be JSON, written as a text")
    try:
        inner = strict_json.loads(content["content"])
    except ValueError as error:
        raise ValueError(f"expected content to hold JSON: {error}") from None
    if not isinstance(inner, dict) or not isinstance(inner.get("text"), str):
        raise ValueError('expected content to hold {"text": "…", "toUserId": …}')
    if not (text := inner["text"].strip()):
        raise ValueError("expected a text, found an empty one")
    return text, _recipient(inner.get("toUserId"))


def _recipient(given):
    if given is None or given == "" or (given == 0 and type(given) is int):
        return None
    if type(given) is str and given.isascii() and given.isdecimal():
        given = int(given)  # what a page's <select> gives
    if type(given) is not int or not 0 < given < 2**63:
        raise ValueError("expected toUserId to be the number of a user, or null for everyone")
    return given
