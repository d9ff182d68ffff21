"""What the tests share: users with tokens, and clients that connect in memory, without a server."""

import contextlib
import json
from dataclasses import dataclass

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.core.cache import cache
from rest_framework_simplejwt.tokens import AccessToken

from mysite.asgi import application

ORIGIN = "http://localhost"


@pytest.fixture(autouse=True)
def alone(settings):
    """Each test for itself, whatever this machine has set: its own channel layer, an empty cache, quick passwords."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.REDIS_URL = ""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()


@dataclass
class User:
    """A user of a test."""

    id: int
    token: str
    session: str


def _make(name):
    from django.contrib.auth import get_user_model
    from django.test import Client

    user = get_user_model().objects.create_user(name, password="a password of this test")
    client = Client()
    client.force_login(user)
    return User(user.pk, str(AccessToken.for_user(user)), client.cookies["sessionid"].value)


@pytest.fixture
async def users(transactional_db):
    """alice, bob and carol. Real transactions: consumers use the database in a thread of their own."""
    return {name: await sync_to_async(_make)(name) for name in ("alice", "bob", "carol")}


class Client(WebsocketCommunicator):
    """A browser's socket."""

    def __init__(self, path, *, origin=ORIGIN, user=None, headers=()):
        cookie = [(b"cookie", f"sessionid={user.session}".encode())] if user else []
        named = [(b"host", b"localhost"), (b"origin", origin.encode()), *cookie, *headers]
        super().__init__(application, path, headers=named)

    async def say(self, text, to=None):
        """Write to everyone, or to the user with this number."""
        await self.send_json_to({"type": "demo-message-send", "content": json.dumps({"text": text, "toUserId": to})})

    async def heard(self):
        """Text, sender and whether it is for one alone; of what is no message, its type and content."""
        answer = await self.receive_json_from(timeout=5)
        if answer["type"] != "demo-message-receive":
            return answer["type"], answer.get("content")
        content = json.loads(answer["content"])
        return content["text"], content["fromUserId"], content["single"]

    async def closed(self):
        """The code of the close that comes next."""
        event = await self.receive_output(timeout=5)
        assert event["type"] == "websocket.close", event
        return event["code"]


@pytest.fixture
async def enter(transactional_db):
    """A function that connects a client; all of them leave when the test ends, and the database is emptied then."""
    async with contextlib.AsyncExitStack() as stack:

        async def enter(path, **options):
            client = Client(path, **options)
            connected, _ = await client.connect(timeout=5)
            assert connected
            stack.push_async_callback(client.disconnect)
            return client

        yield enter
