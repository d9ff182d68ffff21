"""The project on Redis: two daphne processes that share messages, and what a restart or a flush of Redis costs."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from websockets.asyncio.client import connect

import labserver.project.chat
from labserver.live.redis import RedisServer
from labserver.live.server import configure_django
from labserver.project.chat import apps, presence

from ..conftest import DAPHNE, serving

LIMIT = 10
"""Seconds in which everything must be as before again (row 77)."""

SESSIONS = """
from labserver.project import demo
demo.create_users()
from django.contrib.auth.models import User
from django.test import Client
for name in demo.USERS:
    client = Client()
    client.force_login(user := User.objects.get(username=name))
    print(user.pk, client.cookies["sessionid"].value)
"""


@pytest.fixture(scope="module")
def redis():
    """A Redis of these tests."""
    with RedisServer() as redis:
        yield redis


@pytest.fixture(scope="module")
def environment(redis, tmp_path_factory):
    """What the processes of these tests share: Redis, a database, a key."""
    given = {k: v for k, v in os.environ.items() if not k.startswith(("LABSERVER_", "DJANGO_"))}
    return given | {
        "LABSERVER_SECRET_KEY": "k" * 48,
        "LABSERVER_DATABASE": str(tmp_path_factory.mktemp("shared") / "db.sqlite3"),
        "LABSERVER_REDIS_URL": redis.url,
        "DJANGO_SETTINGS_MODULE": "labserver.project.settings",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture(scope="module")
def users(environment):
    """For alice, bob and carol: the number, and the cookie of a session."""
    told = subprocess.run([sys.executable, "-c", SESSIONS], env=environment, capture_output=True, text=True, timeout=60)
    lines = [line.split() for line in told.stdout.splitlines()]
    assert len(lines) == 3, told.stderr
    return {name: (int(number), key) for name, (number, key) in zip(("alice", "bob", "carol"), lines, strict=True)}


@pytest.fixture(scope="module")
def daphnes(environment, tmp_path_factory):
    """The addresses of the project in two daphne processes, each ended by its id."""
    with contextlib.ExitStack() as stack:
        folders = [tmp_path_factory.mktemp(f"daphne-{number}") for number in range(2)]
        yield [stack.enter_context(serving(DAPHNE, folder, **environment))[0] for folder in folders]


@pytest.fixture
def enter(daphnes, users):
    """A function that connects a user to one of the two processes."""

    def enter(number, name, path="/infra/ws/"):
        address = daphnes[number]
        cookie = {"Cookie": f"sessionid={users[name][1]}"}
        return connect(f"ws://{address}{path}", origin=f"http://{address}", additional_headers=cookie, proxy=None)

    return enter


def message(text, to=None):
    """What a page sends."""
    return json.dumps({"type": "demo-message-send", "content": json.dumps({"text": text, "toUserId": to})})


async def heard(ws):
    """The text of the next message to this client; the type of what is none."""
    answer = json.loads(await _limited(ws.recv()))
    return json.loads(answer["content"])["text"] if answer["type"] == "demo-message-receive" else answer["type"]


async def _limited(wait):
    async with asyncio.timeout(LIMIT):
        return await wait


async def passes(enter, users, alice, bob):
    """Assert that messages pass between two users of two processes: single ones and those to all."""
    number = users["bob"][0]
    await alice.send(message("to bob alone", number))
    assert await heard(bob) == "to bob alone"
    await bob.send(message("to all"))
    assert await heard(alice) == await heard(bob) == "to all"


async def test_two_processes_share_rooms_and_chat(enter, users):
    """Messages pass from one daphne process to the other, in rooms, to all and to one; who left is not connected."""
    async with enter(0, "alice", "/ws/room/blue/") as alice, enter(1, "bob", "/ws/room/blue/") as bob:
        await alice.send('{"type": "message", "content": "hello"}')
        assert json.loads(await _limited(bob.recv())) == {"type": "response", "content": "hello"}
    async with enter(0, "alice") as alice:
        async with enter(1, "bob") as bob:
            await passes(enter, users, alice, bob)
        answer = "pong"  # and no error, as long as the other process has not finished with bob
        async with asyncio.timeout(LIMIT):
            while answer == "pong":
                await alice.send(message("gone?", users["bob"][0]))
                await alice.send("ping")
                answer = await alice.recv()
        assert json.loads(answer)["type"] == "error"


async def test_a_restart_of_redis_is_survived_and_announced(redis, enter, users):
    """Row 77: connections last, the gap is announced to each, and within ten seconds messages pass as before."""
    async with enter(0, "alice") as alice, enter(1, "bob") as bob:
        await passes(enter, users, alice, bob)
        redis.restart()
        assert await heard(alice) == await heard(bob) == "system"
        await passes(enter, users, alice, bob)


async def test_while_redis_is_away_nobody_is_thrown_out(redis, enter, users):
    """A message gets an error instead of a crash, a newcomer is refused with 4000; afterwards all is as before."""
    async with enter(0, "alice") as alice, enter(1, "bob") as bob:
        await passes(enter, users, alice, bob)
        redis.stop()
        try:
            await alice.send(message("nobody carries this"))
            assert await heard(alice) == "error"
            async with enter(0, "carol") as carol:
                assert await heard(carol) == "error"
                await _limited(carol.wait_closed())
                assert carol.close_code == 4000
        finally:
            redis.restart()
        assert await heard(alice) == await heard(bob) == "system"
        await passes(enter, users, alice, bob)


async def test_a_flush_of_redis_is_noticed(redis, enter, users):
    """Row 78: messages to all go on, the forgotten entries are put back, and who was forgotten is told."""
    import redis as client

    async with enter(0, "alice") as alice, enter(1, "bob") as bob:
        await passes(enter, users, alice, bob)
        with client.Redis.from_url(redis.url) as connection:
            connection.flushall()
        assert await heard(alice) == await heard(bob) == "system"
        await passes(enter, users, alice, bob)


def test_a_redis_that_does_not_say_who_it_is_is_taken_as_it_is():
    """Where INFO is refused or unknown, as by the substitute, there is one life."""
    configure_django()
    with RedisServer(program=None) as redis, override_settings(REDIS_URL=redis.url, REDIS_OPTIONS={}):
        assert presence.life() is None


@pytest.mark.needs("redis-server")
def test_another_life_of_redis_is_told_apart():
    """A restart is seen by the number that each run of Redis gives itself; a flush is not a restart."""
    configure_django()
    with RedisServer() as redis, override_settings(REDIS_URL=redis.url, REDIS_OPTIONS={}):
        first = presence.life()
        assert first and presence.life() == first
        redis.restart()
        assert presence.life() not in (None, first)


LAYER = "channels_redis.pubsub.RedisPubSubChannelLayer"


@pytest.mark.parametrize(
    ("installed", "layer", "starts"),
    [
        ("8.1.0", {"hosts": ["redis://127.0.0.1:1/0"]}, False),
        ("8.1.0", {"hosts": [{"address": "redis://127.0.0.1:1/0"}]}, False),
        ("10.0.0", {}, False),
        ("8.1.0", {"hosts": [{"address": "redis://127.0.0.1:1/0", "socket_timeout": None}]}, True),
        ("7.4.1", {"hosts": ["redis://127.0.0.1:1/0"]}, True),
    ],
)
def test_a_redis_package_that_throws_out_listeners_refuses_to_start(monkeypatch, installed, layer, starts):
    """Row 79: from redis 8 on, a layer without a time limit of its own is refused, with what to write."""
    configure_django()
    monkeypatch.setattr(apps, "version", lambda package: {"redis": installed}[package])
    config = apps.ChatConfig("labserver.project.chat", labserver.project.chat)
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": LAYER, "CONFIG": layer}}):
        if starts:
            config.check_layers()
        else:
            with pytest.raises(ImproperlyConfigured, match=f"found redis {installed}.*'redis<8'"):
                config.check_layers()
