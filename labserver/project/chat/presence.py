"""Who is connected, and by which channels: one entry of Django's cache for each tab.

An entry is a lease. Its connection renews it, so it does not end while somebody is there; it ends by itself if the
process that should delete it was killed. The cache must be one that all processes share: see LABSERVER_REDIS_URL.

These functions wait for the cache; call them from async code by `sync_to_async(…, thread_sensitive=False)`.
"""

import functools

from django.conf import settings
from django.core.cache import cache

LEASE = 15
"""Seconds that an entry lasts unless it is renewed. Entries that nobody renews are forgotten: by default after 300."""

RENEW = 4
"""Seconds between two renewals, and so the longest time until a loss is noticed."""

TABS = 10
"""How many tabs a user may have open."""


def _keys(user_id):
    return [f"chat.user.{user_id}.{place}" for place in range(TABS)]


def enter(user_id, channel):
    """Make an entry for a tab, and return its key; None if all places of this user are taken.

    `cache.add` takes a place only if it is free, at once and for all processes: two tabs never get the same one.
    """
    return next((key for key in _keys(user_id) if cache.add(key, channel, LEASE)), None)


def renew(user_id, channel, key):
    """Prolong an entry, or make it again if it is gone. Returns its key, and whether it was still there."""
    if cache.get(key) == channel and cache.touch(key, LEASE):
        return key, True
    return enter(user_id, channel), False


def leave(channel, key):
    """Delete the entry of a tab, unless the place belongs to another one by now."""
    if key and cache.get(key) == channel:
        cache.delete(key)


def channels(user_id):
    """The channel of each tab of a user, an empty list if there is none."""
    return list(cache.get_many(_keys(user_id)).values())


def life():
    """What changes when Redis is started again, even if it kept its data; None without Redis, or if it does not say.

    A pub/sub layer subscribes again by itself, but what was sent in between is lost, and nobody else would notice.
    """
    if not settings.REDIS_URL:
        return None
    import redis

    try:
        return _redis(settings.REDIS_URL).info("server").get("run_id")
    except redis.ResponseError:  # a hosted Redis may forbid this command
        return None


@functools.cache
def _redis(url):
    import redis

    return redis.Redis.from_url(url, **settings.REDIS_OPTIONS)
