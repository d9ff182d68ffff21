"""The channel layer that the settings name, made to work from any event loop, with every hop recorded.

Room: Channels and the trace. `InMemoryChannelLayer` is bound to the loop that first waits on it: a `group_send` from a
cell would not wake a consumer of the server. Here every call is carried to the server's loop first. The layer itself
stays what the settings say, Redis included.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from labserver.trace.events import CELL, Log
from labserver.trace.layer import Channel, Layer

from .recorder import Connection, current, say


async def here(work: Awaitable) -> Any:
    """The hop of a layer that lives on the loop of whoever calls it: none."""
    return await work


class RecordedLayer:
    """Stands in front of a channel layer; what it does not know it hands through.

    https://channels.readthedocs.io/en/stable/channel_layer_spec.html
    """

    def __init__(self, layer: Any, log: Log, hop: Callable):
        self._layer = layer
        self._log = log
        self._hop = hop
        self.memberships: dict[str, set[str]] = {}
        self.waiting: set[str] = set()
        self.lost: Counter[str] = Counter()
        self._made: dict[str, None] = {}
        _make_ours(layer, self._dropped)

    def _dropped(self, channel: str, message: dict) -> None:
        """Record a message that a full channel has lost, and say so once for each channel."""
        self._log.add(self._log.owner(channel), "layer", {"type": "full", "message": message})
        self.lost[channel] += 1
        if self.lost[channel] == 1:
            held = self._layer.get_capacity(channel)
            say(
                f"a message {message.get('type')} was lost: a member's channel holds {held} unread ones already",
                "  its consumer is slow or stuck in a handler; each loss stands in the trace, as `full`",
            )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)

    async def new_channel(self, *args: Any, **options: Any) -> str:
        """A channel name of one's own; remembered, so that traces name the connection it belongs to."""
        channel = await self._hop(self._layer.new_channel(*args, **options))
        if (owner := current.get()) != CELL:
            self._log.name_channel(channel, owner)
        self._made[channel] = None
        if len(self._made) > self._log.limit:
            del self._made[next(iter(self._made))]
        return channel

    async def send(self, channel: str, message: dict) -> None:
        """Send to one channel."""
        sender = current.get()
        await self._hop(self._send(sender, channel, message))

    async def _send(self, sender: int, channel: str, message: dict) -> None:
        target = self._log.owner(channel) or channel
        self._log.add(sender, "layer", {"type": "send", "channel": target, "message": message})
        await self._layer.send(channel, message)

    async def receive(self, channel: str) -> dict:
        """Wait for the next message on a channel."""
        return await self._hop(self._receive(channel))

    async def _receive(self, channel: str) -> dict:
        self.waiting.add(channel)
        try:
            message = await self._layer.receive(channel)
        finally:
            self.waiting.discard(channel)
        self._log.add(self._log.owner(channel), "layer", {"type": "receive", "message": message})
        return message

    async def group_add(self, group: str, channel: str) -> None:
        """Make a channel a member of a group."""
        await self._hop(self._group("group_add", group, channel))

    async def group_discard(self, group: str, channel: str) -> None:
        """End a channel's membership of a group."""
        await self._hop(self._group("group_discard", group, channel))

    async def _group(self, method: str, group: str, channel: str, **by: str) -> None:
        await getattr(self._layer, method)(group, channel)
        self._log.add(self._log.owner(channel), "layer", {"type": method, "group": group, **by})
        groups = self.memberships.setdefault(channel, set())
        groups.add(group) if method == "group_add" else groups.discard(group)
        if not groups:
            del self.memberships[channel]

    async def group_send(self, group: str, message: dict) -> None:
        """Send to every member of a group."""
        sender = current.get()
        await self._hop(self._group_send(sender, group, message))

    async def _group_send(self, sender: int, group: str, message: dict) -> None:
        self._log.add(sender, "layer", {"type": "group_send", "group": group, "message": message})
        await self._layer.group_send(group, message)

    async def flush(self) -> None:
        """Forget every channel and every group."""
        await self._hop(self._layer.flush())
        self.memberships.clear()

    async def close(self) -> None:
        """Close what the layer holds open."""
        await self._hop(self._layer.close())

    async def forget(self, connection: int | None = None) -> None:
        """Take the channels of a connection (of all of them, if None) out of their groups. On the server's loop.

        A consumer that crashed never gets to do it: its `disconnect()` does not run.
        """
        for channel, groups in list(self.memberships.items()):
            if connection is None or self._log.owner(channel) == connection:
                try:
                    for group in sorted(groups):
                        await self._group("group_discard", group, channel, by="labserver")
                finally:
                    self.memberships.pop(channel, None)
                    self.lost.pop(channel, None)

    def empty(self) -> None:
        """Drop the unread messages of Channels' in-memory layer, which keeps them for a minute. On the server's loop.

        A later look at the layer would take them for a leak of connections that nobody remembers.
        """
        _, queues = self._held()
        for channel in queues.keys() - self.waiting:
            del queues[channel]
        self.lost.clear()

    def _held(self) -> tuple[dict[str, set[str]], dict[str, Any]]:
        """The groups of each channel, and the queues of Channels' in-memory layer; none of another one."""
        if not self._counted:
            return {channel: set(groups) for channel, groups in self.memberships.items()}, {}
        joined: dict[str, set[str]] = {}
        for group, members in self._layer.groups.items():  # not what we know: what expires ends a membership as well
            for channel in members:
                joined.setdefault(channel, set()).add(group)
        return joined, self._layer.channels

    @property
    def _counted(self) -> bool:
        from channels.layers import InMemoryChannelLayer

        return isinstance(self._layer, InMemoryChannelLayer)

    def look(self, live: Mapping[int, Connection], names: Mapping[int, str]) -> tuple[Channel, ...]:
        """What the layer holds now, and the channels of live connections; it is left as it is. On the server's loop.

        names: of connections, by their number in the log.
        """
        joined, queues = self._held()
        held = {*joined, *self.waiting, *(channel for channel, queue in queues.items() if queue.qsize())}
        owners = {
            channel: owner
            for channel in dict.fromkeys([*self._made, *joined, *queues, *sorted(self.waiting)])
            if (owner := self._log.owner(channel)) in live or channel in held
        }
        # What new_channel() made has a random name: the specification asks for a "!" in it, pub/sub leaves that out.
        named = {each for each in owners if owners[each] == CELL and each not in self._made and "!" not in each}
        found, numbers = [], Counter()
        for channel in sorted(owners, key=lambda each: (each if each in named else "", not owners[each], owners[each])):
            owner, about = owners[channel], {"name": channel}
            if channel not in named:
                connection = names.get(owner, "gone")
                numbers[connection] += 1
                about = {"connection": connection, "number": numbers[connection]}
            if owner in live:
                about |= {"path": live[owner].scope["path"], "state": live[owner].state}
            elif owner != CELL:
                about |= {"path": self._log.scope(owner).get("path", ""), "state": "gone"}
            if self._counted:
                unread = queues[channel].qsize() if channel in queues else 0
                about |= {"waiting": unread, "capacity": self._layer.get_capacity(channel)}
            groups = tuple(sorted(joined.get(channel, ())))
            found.append(Channel(groups=groups, dropped=self.lost[channel], **about))
        return tuple(found)

    @property
    def kind(self) -> str:
        """The class that the settings name."""
        return next(each.__name__ for each in type(self._layer).__mro__ if not each.__module__.startswith("labserver."))

    async def release(self) -> None:
        """Close the connections that a Redis layer holds open; it opens others when it is used again.

        channels_redis ties them to the loop and closes them when that is closed, which the server's loop never is.
        """
        if any(base.__module__.startswith("channels_redis.") for base in type(self._layer).__mro__):
            await getattr(self._layer, "close_pools", self._layer.flush)()


def _make_ours(layer: Any, dropped: Callable[[str, dict], None]) -> None:
    """Make Channels' own in-memory layer the lab's, its state kept; any other layer is left as it is."""
    from channels.layers import InMemoryChannelLayer

    from .memory import InMemoryLayer

    if type(layer) in (InMemoryChannelLayer, InMemoryLayer):
        layer.__class__ = InMemoryLayer
        layer.dropped = dropped


class Layers:
    """Puts a `RecordedLayer` in front of every layer that Channels' manager makes."""

    def __init__(self, log: Log, hop: Callable):
        self._log = log
        self._hop = hop
        self._manager: Any = None
        self._make: Callable | None = None

    def install(self, manager: Any) -> None:
        """Wrap the layers there are and those to come; a second call does nothing."""
        if self._manager is not None:
            return
        self._manager, self._make = manager, manager.make_backend
        manager.make_backend = lambda name: RecordedLayer(self._make(name), self._log, self._hop)
        for name, layer in list(manager.backends.items()):
            manager.backends[name] = RecordedLayer(layer, self._log, self._hop)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside it there are channel layers of its own: the groups of everybody else hear nothing of it."""
        from channels.layers import channel_layers

        backends, make = channel_layers.backends, vars(channel_layers).pop("make_backend", None)
        channel_layers.backends = {}
        try:
            self.install(channel_layers)
            yield
        finally:
            del channel_layers.make_backend
            if make is not None:
                channel_layers.make_backend = make
            channel_layers.backends = backends

    def each(self) -> list[RecordedLayer]:
        """The layers in use."""
        backends = self._manager.backends.values() if self._manager is not None else ()
        return [layer for layer in backends if isinstance(layer, RecordedLayer)]

    async def forget(self, connection: int | None = None) -> None:
        """Take a connection's channels out of every group (every connection's, if None)."""
        for layer in self.each():
            try:
                await layer.forget(connection)
            except Exception as error:  # Redis is away: what it still knows of them expires there
                say(f"could not leave the groups of the channel layer: {error}")

    async def close(self) -> None:
        """Leave every group, and close what the layers hold open."""
        await self.forget()
        for layer in self.each():
            layer.empty()
            await layer.release()

    def groups(self, connection: int) -> tuple[str, ...]:
        """The groups that a connection is a member of, in alphabetical order."""
        found = set()
        for layer in self.each():
            for channel, groups in list(layer.memberships.items()):
                if self._log.owner(channel) == connection:
                    found |= groups
        return tuple(sorted(found))

    def look(self, live: Mapping[int, Connection], names: Mapping[int, str]) -> Layer:
        """The layer `default`, and in its `others` those that hold anything, as they are now. On the server's loop."""
        default = self._manager.configs.get("default", {}).get("BACKEND", "").rpartition(".")[2]
        found = {"default": Layer(default)}  # if nobody has asked for it yet
        for alias, layer in sorted(self._manager.backends.items()):
            if isinstance(layer, RecordedLayer):
                found[alias] = Layer(layer.kind, alias, layer.look(live, names))
        first, *others = found.values()
        return replace(first, others=tuple(other for other in others if other.channels))

    def idle(self, connection: int) -> bool:
        """Whether every channel of a connection is being waited on: nothing is on its way into its consumer."""
        owned = self._log.channels_of(connection)
        return all(any(channel in layer.waiting for layer in self.each()) for channel in owned)
