"""The health check: what it says when all is well, and when a part is not."""

import time

import pytest
from channels.layers import get_channel_layer
from django.core.cache import cache


@pytest.fixture(autouse=True)
def late(server):
    """The module can be imported only when Django is set up, which the first server does."""
    global health
    from labserver.project import health


async def test_all_is_well(server):
    """Three parts, each by name; nobody may keep the answer, and no channel is left behind."""
    response = await server.get("/health/")
    assert response.status_code == 200
    assert response.json() == {"database": "ok", "cache": "ok", "channel layer": "ok"}
    assert response.headers["cache-control"] == "no-store"
    assert get_channel_layer().channels == {}


async def test_a_part_that_fails_is_named(server, monkeypatch, caplog):
    """503; the answer holds the type of the error alone, and the log all of it."""

    def fail(*args):
        raise ConnectionError("redis://:hidden@10.0.0.1 refused")

    monkeypatch.setattr(type(cache._connections["default"]), "set", fail)
    response = await server.get("/health/")
    assert response.status_code == 503
    assert response.json() == {"database": "ok", "cache": "failed: ConnectionError", "channel layer": "ok"}
    assert "health: cache: ConnectionError('redis://:hidden@10.0.0.1 refused')" in caplog.text


async def test_a_cache_that_forgets_is_named(server, monkeypatch):
    """What was put in a moment ago has to be there."""
    monkeypatch.setattr(type(cache._connections["default"]), "get", lambda *args: None)
    assert (await server.get("/health/")).json()["cache"] == "failed: LookupError"


async def test_a_part_that_hangs_does_not_hold_up_the_answer(server, monkeypatch):
    """Where a part gives no answer, the check gives one: after its limit, and not after that of the part."""
    monkeypatch.setattr(health, "LIMIT", 0.2)
    began = time.monotonic()
    monkeypatch.setattr(type(cache._connections["default"]), "get", lambda *args: time.sleep(3))
    response = await server.get("/health/")
    assert time.monotonic() - began < 3
    assert response.json() == {"database": "ok", "cache": "failed: TimeoutError", "channel layer": "ok"}


async def test_a_message_that_came_too_early_is_sent_again(server, monkeypatch):
    """A subscription may take effect after the first message has gone; that is no illness."""
    layer, sent = get_channel_layer(), []
    send = layer.send

    async def late_subscription(channel, message):
        sent.append(channel)
        if len(sent) > 1:
            await send(channel, message)

    monkeypatch.setattr(layer, "send", late_subscription)
    monkeypatch.setattr(health, "LIMIT", 4)
    assert (await server.get("/health/")).json()["channel layer"] == "ok"
    assert len(set(sent)) == len(sent) == 2


async def test_a_layer_that_delivers_nothing_is_ill(server, monkeypatch):
    """Whatever it takes: what counts is what comes back."""

    async def lose(channel, message):
        """Nothing."""

    monkeypatch.setattr(get_channel_layer(), "send", lose)
    monkeypatch.setattr(health, "LIMIT", 0.2)
    assert (await server.get("/health/")).json()["channel layer"] == "failed: TimeoutError"
