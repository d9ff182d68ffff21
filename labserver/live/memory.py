"""Channels' in-memory layer as the lab runs it: it costs as much as it has members, and says what it drops.

Room: a channel layer by Channels' specification, for one event loop; `layers` puts it in the place of the stock one.
What differs: expired messages are looked for where they matter instead of everywhere at every receive; a group is
served by a loop instead of a task for each member; a full channel gets a moment to be read before a message is lost;
and what is lost is told to `dropped`.
"""

import asyncio
import time
from collections.abc import Callable
from copy import deepcopy
from functools import cached_property

from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer

PATIENCE = 0.05
"""Seconds that a full channel gets to be read, once: until it has been, it then loses messages without delay."""

_ATOMS = {str, bytes, int, float, bool, type(None)}

CLEAN_EVERY = 1.0
"""Seconds between two looks at all channels and groups."""


class InMemoryLayer(InMemoryChannelLayer):
    """https://channels.readthedocs.io/en/stable/channel_layer_spec.html"""

    dropped: Callable[[str, dict], None] = staticmethod(lambda channel, message: None)
    """Called with the channel and the message for each message that a group could not deliver."""

    _cleaned = 0.0

    @cached_property
    def _stuck(self) -> set[str]:
        """The channels that were not read in time: they lose messages without delay until they are."""
        return set()

    def _clean_expired(self) -> None:
        """The stock layer's walk over all there is, at most once in `CLEAN_EVERY` seconds."""
        now = time.monotonic()
        if now - self._cleaned >= CLEAN_EVERY:
            self._cleaned = now
            super()._clean_expired()

    def _queue(self, channel: str) -> asyncio.Queue:
        queue = self.channels.get(channel)
        if queue is None:
            queue = self.channels[channel] = asyncio.Queue(self.get_capacity(channel))
        return queue

    async def send(self, channel: str, message: dict) -> None:
        """Send to one channel. Raises ChannelFull if it holds as many messages as it can."""
        assert isinstance(message, dict), "message is not a dict"
        self.require_valid_channel_name(channel)
        self._put(channel, time.time() + self.expiry, _copier(message)(message))

    def _put(self, channel: str, expires: float, message: dict) -> None:
        try:
            self._queue(channel).put_nowait((expires, message))
        except asyncio.QueueFull:
            raise ChannelFull(channel) from None

    async def receive(self, channel: str) -> dict:
        """The next message on a channel; what has expired on it is gone, and ends its memberships."""
        self.require_valid_channel_name(channel)
        self._clean_expired()
        queue = self._queue(channel)
        while not queue.empty() and queue._queue[0][0] < time.time():
            queue.get_nowait()
            self._remove_from_groups(channel)
        try:
            return (await queue.get())[1]
        finally:
            self._stuck.discard(channel)
            if queue.empty():
                self.channels.pop(channel, None)

    async def group_send(self, group: str, message: dict) -> None:
        """Send to every member; one whose channel stays full loses the message."""
        assert isinstance(message, dict), "Message is not a dict"
        self.require_valid_group_name(group)
        self._clean_expired()
        copy, expires = _copier(message), time.time() + self.expiry
        for channel in list(self.groups.get(group, ())):
            try:
                self._put(channel, expires, copy(message))
            except ChannelFull:
                await self._insist(channel, expires, message)

    async def _insist(self, channel: str, expires: float, message: dict) -> None:
        end = time.monotonic() + PATIENCE
        while channel not in self._stuck:
            await asyncio.sleep(0.0005)  # a healthy consumer is at work: let it
            try:
                return self._put(channel, expires, deepcopy(message))
            except ChannelFull:
                if time.monotonic() > end:
                    self._stuck.add(channel)
        self.dropped(channel, message)


def _copier(message: dict) -> Callable[[dict], dict]:
    """How to copy it: no two receivers may share anything that one of them can change."""
    return dict if all(type(value) in _ATOMS for value in message.values()) else deepcopy
