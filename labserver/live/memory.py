"""Channels' in-memory layer as the lab runs it: it costs as much as it has members, and says what it drops.

Room: a channel layer by Channels' specification, for one event loop; `layers` puts it in the place of the stock one.
What differs: expired messages are looked for where they matter instead of everywhere at every receive; a group is
served by a loop instead of a task for each member; a full channel gets a moment to be read before a message is lost;
and what is lost is told to `dropped`.
"""

import asyncio
import time
from collections.abc import Callable

from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer

PATIENCE = 0.05
"""Seconds that a full channel gets to be read, once: until it has been, it then loses messages without delay."""

CLEAN_EVERY = 1.0
"""Seconds between two looks at all channels and groups."""


class InMemoryLayer(InMemoryChannelLayer):
    """https://channels.readthedocs.io/en/stable/channel_layer_spec.html"""

    dropped: Callable[[str, dict], None] = staticmethod(lambda channel, message: None)
    """Called with the channel and the message for each message that a group could not deliver."""

    _cleaned = 0.0
    _stuck: set[str] = frozenset()

    def _clean_expired(self) -> None:
        """The stock layer's walk over all there is, at most once in `CLEAN_EVERY` seconds."""
        now = time.monotonic()
        if now - self._cleaned >= CLEAN_EVERY:
            self._cleaned = now
            super()._clean_expired()

    async def receive(self, channel: str) -> dict:
        """The next message on a channel; what has expired on it is gone, and ends its memberships."""
        queue = self.channels.get(channel)
        while queue is not None and not queue.empty() and queue._queue[0][0] < time.time():
            queue.get_nowait()
            self._remove_from_groups(channel)
        try:
            return await super().receive(channel)
        finally:
            self._stuck -= {channel}

    async def group_send(self, group: str, message: dict) -> None:
        """Send to every member; one whose channel stays full loses the message."""
        assert isinstance(message, dict), "Message is not a dict"
        self.require_valid_group_name(group)
        self._clean_expired()
        for channel in list(self.groups.get(group, ())):
            await self._deliver(channel, message)

    async def _deliver(self, channel: str, message: dict) -> None:
        end = time.monotonic() + PATIENCE
        while channel not in self._stuck:
            try:
                return await self.send(channel, message)
            except ChannelFull:
                await asyncio.sleep(0.0005)  # a healthy consumer is at work: let it
                if time.monotonic() > end:
                    self._stuck |= {channel}
        self.dropped(channel, message)
