"""The channel layer as a picture: groups, their channels, and the connections that those belong to, in three lanes.

Room: pure values; draws the values of `layer`, with the shapes and the colours of `svg`. Colour is never the only sign:
what is full, what was dropped and what is gone stands there in words.
"""

from collections.abc import Sequence
from html import escape

from . import payload
from .layer import DRAWN, Channel, Layer, count, fit
from .svg import EDGE, MONO, SANS, WIDTH, chip, heading, hue, page, pill, remark

_GROUP, _CHANNEL, _OWNER = 14, 330, 656  # where the lanes of the picture begin
_GROUP_WIDTH, _CHANNEL_WIDTH, _HIGH, _STEP = 200, 290, 44, 52
_BAR = 84
_MANY = 40  # lines that stay in full colour


def svg(layers: Sequence[Layer]) -> str:
    """Layers below one another, each as three lanes; the source of an SVG 1.1 picture."""
    shapes, y = [], 8
    for layer in layers:
        y = _draw(layer, shapes, y)
    return page("The channel layer", escape("; ".join(layer.title for layer in layers)), y + 8, shapes)


def _draw(layer: Layer, shapes: list[str], y: int) -> int:
    """Add the shapes of a layer, from y on; returns where they end."""
    shapes.append(f'<text class="sans lane-title" x="{_GROUP}" y="{y + 20}">{escape(layer.title)}</text>')
    y += 36
    channels, groups = layer.channels[:DRAWN], layer.shown
    if channels:
        lanes = ("groups", _GROUP, _GROUP_WIDTH), ("channels", _CHANNEL, _CHANNEL_WIDTH)
        for name, x, width in (*lanes, ("connections", _OWNER, WIDTH - 14 - _OWNER)):
            shapes.append(heading(name, x + width // 2, y))
        y += 40
    rows = max(len(channels), len(groups))
    members = [[row for row, each in enumerate(channels) if group in each.groups] for group in groups]
    tops = _places(members, rows)
    shapes.append(f'<g stroke-opacity="{1 if sum(map(len, members)) <= _MANY else 0.6}">')
    for row, channel in enumerate(channels):
        ends = [top for group, top in zip(groups, tops, strict=True) if group in channel.groups]
        for i, top in enumerate(ends, 1):
            shapes.append(_member(y + top, y + row * _STEP + _HIGH * i // (len(ends) + 1), channel.gone))
    shapes.append("</g>")
    sizes = layer.groups
    shapes += [_group(group, len(sizes[group]), y + top) for group, top in zip(groups, tops, strict=True)]
    for row, channel in enumerate(channels):
        shapes += [_channel(channel, y + row * _STEP), _owner(channel, y + row * _STEP)]
    y += rows * _STEP
    for words in layer.remarks:
        shapes.append(remark(words, y))
        y += 38
    return y


def _places(members: list[list[int]], rows: int) -> list[int]:
    """How far down each group stands: as near to the middle of its members as the others let it."""
    wanted = [sum(each) * _STEP // len(each) for each in members]
    low = -_STEP
    for i, top in enumerate(wanted):
        low = wanted[i] = max(top, low + _STEP)
    high = rows * _STEP
    for i in reversed(range(len(wanted))):
        high = wanted[i] = min(wanted[i], high - _STEP)
    return wanted


def _member(group: int, end: int, leak: bool) -> str:
    """The line from a group, which stands so far down, to one of its channels."""
    left, right, kind = _GROUP + _GROUP_WIDTH, _CHANNEL, "crash" if leak else "layer"
    start, bend = group + _HIGH // 2, (left + right) // 2
    return (
        f'<path class="line {kind}" d="M{left} {start}C{bend} {start} {bend} {end} {right} {end}"/>'
        f'<circle class="head {kind}" cx="{right}" cy="{end}" r="3.5"/>'
    )


def _group(name: str, members: int, y: int) -> str:
    return (
        f'<rect class="lane" x="{_GROUP}" y="{y}" width="{_GROUP_WIDTH}" height="{_HIGH}" rx="6"/>'
        f'<text class="mono type" x="{_GROUP + 10}" y="{y + 18}">{escape(fit(name, 24))}</text>'
        f'<text class="sans muted" x="{_GROUP + 10}" y="{y + 34}">{count(members, "channel")}</text>'
    )


def _channel(channel: Channel, y: int) -> str:
    x, words, room = _CHANNEL, _CHANNEL + 12, _CHANNEL_WIDTH - 24
    box = 'chip refused" stroke-dasharray="6 4' if channel.gone else f"pill {hue(channel.connection)}"
    parts = [f'<rect class="{box}" x="{x}" y="{y}" width="{_CHANNEL_WIDTH}" height="{_HIGH}" rx="6"/>']
    dropped = f"{channel.dropped:,} dropped" if channel.dropped else ""
    for said, kind, top in ((dropped, "crash", y + 2), ("full" if channel.full else "", "broken", y + 24)):
        if said:
            width = chip(said, kind, 0, 0)[1]
            parts.append(chip(said, kind, x + _CHANNEL_WIDTH - 4 - width, top)[0])
            room -= width if said == dropped else 0
    label = escape(fit(channel.label, int(room / SANS)))
    parts.append(f'<text class="sans type" x="{words}" y="{y + 18}">{label}</text>')
    if channel.waiting is not None:
        filled = _BAR * min(channel.waiting / max(1, channel.capacity), 1)
        bar, kind = f'x="{words}" y="{y + 25}" height="9" rx="2"', "crash" if channel.full else "layer"
        parts.append(f'<rect class="lane" {bar} width="{_BAR}"/>')
        if channel.waiting:
            parts.append(f'<rect class="head {kind}" {bar} width="{max(3, round(filled))}"/>')
        words += _BAR + 10
    parts.append(f'<text class="sans muted" x="{words}" y="{y + 34}">{channel.count}</text>')
    if not channel.groups:
        parts.append(f'<text class="halo sans muted end" x="{x - 10}" y="{y + 25}">in no group</text>')
    return "".join(parts)


def _owner(channel: Channel, y: int) -> str:
    start, middle, x = _CHANNEL + _CHANNEL_WIDTH, y + _HIGH // 2, _OWNER + 72
    if channel.name:
        return f'<text class="sans muted" x="{start + 10}" y="{middle + 4}">{channel.owner}</text>'
    stroke = "line crash" if channel.gone else "life"
    line = f'<line class="{stroke}" x1="{start}" y1="{middle}" x2="{_OWNER}" y2="{middle}"/>'
    source = line + pill(channel.connection, _OWNER, middle)
    if not channel.state:
        return f'{source}<text class="sans muted" x="{x}" y="{middle + 4}">{channel.owner}</text>'
    path, said = escape(payload.shorten(channel.shown_path, int((EDGE - x) / MONO))), channel.owner
    source += f'<text class="mono" x="{x}" y="{y + 16}">{path}</text>'
    if channel.gone:
        cross = (start + _OWNER) // 2
        source += f'<path class="cross crash" d="M{cross - 5} {middle - 5}l10 10m0 -10l-10 10"/>'
        source += chip("gone", "crash", x, y + 22)[0]
        x, said = x + 56, "connection over"
    return f'{source}<text class="sans muted" x="{x}" y="{y + 34}">{said}</text>'
