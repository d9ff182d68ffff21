"""The channel layer at one moment: groups, channels, and the connections that the channels belong to.

Room: pure values, filled by `live.layers`. As text and as a picture it is the same bytes for the same state: a channel
has a random name, so it is called after its connection.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from . import payload

DRAWN = 30
"""Channels that are shown, and groups; the rest is counted."""

WIDTH = 100
"""Terminal columns of a line."""

EMPTY = "No channel and no group yet: connect a client to a Channels consumer, then look again."
UNSET = "The settings name no channel layer `default`: set CHANNEL_LAYERS."
LOCAL = "What this process knows: others may have more. Messages that wait are not counted here."

_SAID = {"cell": "a cell", "gone": "an earlier connection"}


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel.

    connection: whose it is, as in `server.trace`; `cell` if made outside any connection, `gone` if its connection is
        so long over that the trace has no name for it, empty if the code gave it a name instead of asking for one.
    number: 1 for the first channel of its connection.
    name: its own, if the code gave it one.
    path, state: of the connection; the state is `gone` if the connection is over, and the channel a leak therefore;
        both are empty where there is no connection.
    groups: those that it is a member of, in alphabetical order.
    waiting, capacity: unread messages, and how many it holds at most; None where they are not counted.
    dropped: messages of groups that it lost because it was full.
    """

    connection: str = ""
    number: int = 1
    name: str = ""
    path: str = ""
    state: str = ""
    groups: tuple[str, ...] = ()
    waiting: int | None = None
    capacity: int | None = None
    dropped: int = 0

    @property
    def id(self) -> str:
        """`ws-1`, `ws-1 (2)` for its second channel, or the channel's own name."""
        return self.name or self.connection + (f" ({self.number})" if self.number > 1 else "")

    @property
    def label(self) -> str:
        """What it is called in pictures."""
        if self.name:
            return f"channel {payload.visible(self.name)}"
        return f"channel {f'{self.number} ' * (self.number > 1)}of {_SAID.get(self.connection, self.connection)}"

    @property
    def owner(self) -> str:
        """In words, what stands in the place of a connection, or the state of one."""
        if self.name:
            return "named by the code: no connection"
        return self.state or "made in a cell"

    @property
    def full(self) -> bool:
        """Whether the next message is lost."""
        return bool(self.capacity) and self.waiting >= self.capacity

    @property
    def gone(self) -> bool:
        """Whether its connection is over."""
        return self.state == "gone"

    @property
    def shown_path(self) -> str:
        """The path on one line, the same on every run."""
        return payload.stable(payload.visible(self.path))

    @property
    def count(self) -> str:
        """How many messages wait, in words."""
        return "waiting: not counted" if self.waiting is None else f"{self.waiting} of {self.capacity} waiting"


@dataclass(frozen=True, slots=True, repr=False)
class Layer:
    """A channel layer as it was when somebody looked; made by `server.layer`.

    kind: the class that the settings name, without its package; empty if they name none.
    alias: its name in the settings.
    channels: in order of their connections; then those of cells, then those with names of their own.
    others: the layers under other aliases.
    """

    kind: str
    alias: str = "default"
    channels: tuple[Channel, ...] = ()
    others: tuple["Layer", ...] = ()

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The members of each group: `{"room.blue": ("ws-1", "ws-2")}`."""
        names = sorted({group for channel in self.channels for group in channel.groups})
        found: dict[str, list[str]] = {name: [] for name in names}
        for channel in self.channels:
            for group in channel.groups:
                found[group].append(channel.id)
        return {name: tuple(members) for name, members in found.items()}

    @property
    def waiting(self) -> dict[str, int]:
        """How many messages wait on each channel that has any: `{"ws-1": 3}`."""
        return {channel.id: channel.waiting for channel in self.channels if channel.waiting}

    @property
    def dropped(self) -> dict[str, int]:
        """How many messages each channel has lost, if any: `{"ws-1": 25}`."""
        return {channel.id: channel.dropped for channel in self.channels if channel.dropped}

    @property
    def title(self) -> str:
        """What it is and how much is in it, on a line."""
        alias = "" if self.alias == "default" else f" {self.alias!r}"
        counts = f"{count(len(self.groups), 'group')}, {count(len(self.channels), 'channel')}"
        return f"{self.kind or 'No channel layer'}{alias}: {counts}"

    @property
    def remarks(self) -> list[str]:
        """What is to be said below the rows."""
        if not self.channels:
            return [EMPTY if self.kind else UNSET]
        hidden, groups = self.channels[DRAWN:], len(self.groups) - len(self.shown)
        found = []
        if hidden:
            counts = (sum(each.full for each in hidden), "full"), (sum(each.gone for each in hidden), "gone")
            more = "".join(f", {number} of them {what}" for number, what in counts if number)
            found.append(f"and {count(len(hidden), 'channel', 'more ')}{more}")
        if groups:
            found.append(f"and {count(groups, 'group', 'more ')}")
        return found + [LOCAL] * any(each.waiting is None for each in self.channels)

    @property
    def shown(self) -> list[str]:
        """The groups that are drawn, from top to bottom: those of the channels that are, beside their members."""
        rows: dict[str, list[int]] = {}
        for row, channel in enumerate(self.channels[:DRAWN]):
            for group in channel.groups:
                rows.setdefault(group, []).append(row)
        return sorted(rows, key=lambda group: (sum(rows[group]) / len(rows[group]), group))[:DRAWN]

    def __repr__(self) -> str:
        return f"<Layer {self.title}>"

    def __str__(self) -> str:
        return "\n\n".join("\n".join(_lines(each)) for each in (self, *self.others))

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        from .layer_svg import svg  # when somebody looks: starting a server need not wait for it

        return {"text/plain": str(self), "image/svg+xml": svg((self, *self.others))}


def count(number: int, noun: str, more: str = "") -> str:
    """A number and what is counted, in the singular or the plural."""
    return f"{number:,} {more}{noun}{'s' * (number != 1)}"


def fit(text: str, width: int) -> str:
    """The text in at most `width` characters; names of groups often differ at their end."""
    text = payload.visible(text)
    return text if len(text) <= width else f"{text[: width - 1 - width // 3]}…{text[-(width // 3) :]}"


# --- as text ----------------------------------------------------------------------------------------------------------


def _lines(layer: Layer) -> list[str]:
    lines = [layer.title]
    if layer.channels:
        members = layer.groups
        lines += ["groups"] + ["  none"] * (not layer.shown)
        lines += _table([(fit(group, 40), _listed(members[group])) for group in sorted(layer.shown)])
        lines += ["channels", *_table([(fit(c.label, 34), _said(c), _whose(c)) for c in layer.channels[:DRAWN]])]
    return lines + layer.remarks


def _listed(members: Sequence[str]) -> str:
    more = f" and {len(members) - 6} more" if len(members) > 7 else ""
    return ", ".join(fit(each, 20) for each in members[: 6 if more else 7]) + more


def _said(channel: Channel) -> str:
    return channel.count + ": full" * channel.full + f", {channel.dropped:,} dropped" * bool(channel.dropped)


def _whose(channel: Channel) -> str:
    over = ": its connection is over" * channel.gone
    return f"{channel.owner}{over}  {channel.shown_path}"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    joined = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [payload.shorten(f"  {line}".rstrip(), WIDTH) for line in joined]
