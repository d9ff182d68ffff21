"""`health/`: whether this process can do its work, for a load balancer, a supervisor or a person with curl."""

import asyncio
import logging

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.core.cache import cache
from django.db import connection
from django.http import JsonResponse

logger = logging.getLogger(__name__)

LIMIT = 2
"""Seconds after which a part counts as failed: who asks wants an answer, also when Redis gives none."""


async def health(request):
    """200 if all parts answer, 503 otherwise; JSON that names each part, and holds nothing a stranger may not know."""
    parts = {"database": _database(), "cache": _cache(), "channel layer": _channel_layer()}
    found = dict(zip(parts, await asyncio.gather(*map(_verdict, parts, parts.values())), strict=True))
    status = 200 if set(found.values()) == {"ok"} else 503
    return JsonResponse(found, status=status, headers={"Cache-Control": "no-store"})


async def _verdict(name, part):
    try:
        async with asyncio.timeout(LIMIT):
            await part
    except Exception as error:
        logger.warning("health: %s: %r", name, error)  # here in full; an answer to strangers holds the type alone
        return f"failed: {type(error).__name__}"
    return "ok"


@database_sync_to_async
def _database():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


async def _cache():
    """A thread of its own: a cache that hangs must not hold up the one thread that all ORM calls share."""

    def set_and_get():
        cache.set("health", "ok", 10)
        if cache.get("health") != "ok":
            raise LookupError("the cache has forgotten what it was told a moment ago")

    await sync_to_async(set_and_get, thread_sensitive=False)()


async def _channel_layer():
    """A message to ourselves, there and back. It is sent again until it comes, for as long as we have.

    A subscription may take effect a moment after the message: the two go to Redis over different connections.
    """
    came = False
    while not came:
        came = await _delivers(get_channel_layer())


async def _delivers(layer):
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "health"})
    try:
        await asyncio.wait_for(layer.receive(channel), LIMIT / 4)
    except TimeoutError:
        return False
    # A layer forgets a channel when somebody stops waiting for it; a consumer does so when it ends, and we do it here.
    waiting = asyncio.ensure_future(layer.receive(channel))
    await asyncio.sleep(0)  # it begins
    waiting.cancel()
    await asyncio.wait([waiting])
    return True
