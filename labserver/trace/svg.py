"""A trace as a sequence diagram: SVG that is the same bytes every time, legible on light and dark pages.

Room: pure values; draws the rows of `rows`, called through `diagram.svg`. JupyterLab shows an SVG output as an image:
the page's style sheets do not reach it, so it brings its own card, and follows the system's colour scheme alone. Both
variants can be read on any page.

A row is drawn in two halves: between client and server what passed on the wire, between server and consumer the ASGI
event. Colour is never the only sign: a close is a double line, a refusal is dashed and ends in a cross at the client,
a crash is dashed and begins with a cross, what broke a rule ends in a cross half-way, and each of the three is named.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from . import payload
from .protocol import Mark
from .rows import CELL, CLIENT, LAYER, SERVER, Row, sheet
from .theme import STYLE

HEAD, TAIL = 60, 60
"""Events drawn from the beginning and from the end of a trace that has more than both together."""

NOTHING = "Nothing happened yet: connect a client, or look again when one has connected."

WIDTH = 900  # the units it is drawn in
_SHOWN = 820  # pixels; JupyterLab cuts off what is wider than its output area, on a small laptop 840
EDGE = WIDTH - 14  # where words end at the latest
MONO, SANS = 7.3, 6.4  # the width of a character of 12 px in the wider of the usual fonts
_LANES = {  # where the lifelines stand, by how many there are
    3: (118, 340, 820),
    4: (114, 296, 580, 812),
    5: (110, 272, 510, 694, 838),
}
_TOP, _LINE, _FOOT = 58, 15, 14
_LEFT_OUT = 110  # how far an arrow gets that does not get through
_CHIPS = {Mark.REFUSED: "REFUSED", Mark.CRASH: "CRASH", Mark.BROKEN: "BROKEN RULE"}
_KINDS = {Mark.REFUSED: "refused", Mark.CRASH: "crash", Mark.BROKEN: "broken", Mark.CLOSE: "close"}


def svg(events: Sequence[Any], scopes: Mapping[str, Mapping[str, Any]], omitted: int = 0) -> str:
    """The events in display order as a sequence diagram; the source of an SVG 1.1 picture, `_SHOWN` pixels wide.

    scopes: of each connection, by its name; may miss some. omitted: how many events before these are gone.
    """
    page = sheet(events, scopes, HEAD, TAIL)
    drawing = _Drawing(dict(zip(page.lanes, _LANES[len(page.lanes)], strict=True)), page.titles)
    if omitted:
        drawing.gap(f"{omitted:,} earlier events left out")
    for row in page.head:
        drawing.row(row)
    if page.omitted:
        drawing.gap(f"{page.omitted:,} events left out")
    for row in page.tail:
        drawing.row(row)
    if not events:
        drawing.gap(NOTHING)
    total = page.total + omitted
    return drawing.source(
        f"{page.connections} connection{'s' * (page.connections != 1)}, {total:,} event{'s' * (total != 1)}"
    )


class _Drawing:
    """Collects the shapes, from top to bottom."""

    def __init__(self, lanes: dict[str, int], titles: dict[str, str]):
        self.lanes = lanes
        self.titles = titles
        self.shapes: list[str] = []
        self.words: list[str] = []  # below the shapes: the rim of a letter must not cut an arrow
        self.y = _TOP
        self.last: str | None = None

    def row(self, row: Row) -> None:
        """One event: its connection, the wire's half, the ASGI half, and a note below."""
        if self.last not in (None, row.connection):
            self.y += 8
        self.last = row.connection
        arrow = self.y + 23
        self.shapes.append(pill(row.connection, 8, arrow))
        below = max(self._event(row, arrow), self._wire(row, arrow))
        self.y = arrow + 9 + below * _LINE
        if row.note or row.mark in _CHIPS:
            self._note(row)

    def gap(self, words: str) -> None:
        """A line of words across the picture, in the place of what is not drawn."""
        self.shapes.append(remark(words, self.y))
        self.y += 38
        self.last = None

    def source(self, summary: str) -> str:
        """The whole picture."""
        height = self.y + _FOOT
        return page("What happened on the wire", summary, height, [*self._lifelines(height), *self.words, *self.shapes])

    def _lifelines(self, height: int) -> list[str]:
        found = []
        for lane, x in self.lanes.items():
            line = f'<line class="life" x1="{x}" y1="40" x2="{x}" y2="{height - 10}"/>'
            found.append(line + heading(self.titles[lane], x, 14))
        return found

    def _event(self, row: Row, arrow: int) -> int:
        """The ASGI event, or the hop through the layer; returns how many lines of words stand below the arrow."""
        error = row.source == row.target
        source = self.lanes[SERVER if row.source == CLIENT else row.source]
        target = self.lanes[SERVER if row.target == CLIENT or error else row.target]
        kind = _KINDS.get(row.mark, "layer" if LAYER in (row.source, row.target) else "asgi")
        if row.mark is Mark.BROKEN and not error:
            self._arrow(source, source + (_LEFT_OUT if target > source else -_LEFT_OUT), arrow, kind, through=False)
        elif row.source != CELL or not error:  # behind a cell stands no server that an error goes to
            self._arrow(source, target, arrow, kind)
        if error:
            self._cross(source, arrow, kind)
        left, right = min(source, target) + 10, max(source, target) - 6
        if error and row.source == CELL:
            return self._label(row, "end", source - 14, source - 14 - self.lanes[SERVER], arrow, kind)
        if error:
            return self._label(row, "start", left, right - left, arrow, kind)
        if row.mark is Mark.BROKEN:
            return self._label(row, "start", left, right - left - _LEFT_OUT, arrow, kind)
        long = payload.columns(f"{row.type} {row.payload}") * MONO > EDGE - left
        if kind == "layer" and (long or CELL in (row.source, row.target)):  # the room on the left is free
            return self._label(row, "end", EDGE, EDGE - self.lanes[SERVER], arrow, kind)
        return self._label(row, "start", left, EDGE - left, arrow, kind)

    def _label(self, row: Row, anchor: str, x: int, room: int, arrow: int, kind: str) -> int:
        """Type and payload above the arrow if there is room, else the payload below; returns the lines below."""
        type = payload.shorten(row.type, int(room / MONO))
        words, below = row.payload, []
        if payload.columns(f"{type} {words}") > int(room / MONO):
            words, below = "", payload.wrap(words, int(max(room, EDGE - x) / MONO), 2)
        above = f'<tspan class="type {kind}">{escape(type)}</tspan>{" " if words else ""}{escape(words)}'
        self._say("mono " + anchor, x, arrow - 8, above)
        for i, line in enumerate(below):
            self._say("mono " + anchor, x, arrow + 15 + i * _LINE, escape(line))
        return len(below)

    def _wire(self, row: Row, arrow: int) -> int:
        """What passed between client and server; returns how many lines of words stand below the arrow."""
        if not row.wire:
            return 0
        client, server = self.lanes[CLIENT], self.lanes[SERVER]
        start, end = (client, server) if row.inward else (server, client)
        kind = _KINDS.get(row.mark, "wire")
        self._arrow(start, end, arrow, kind, through=row.mark is not Mark.REFUSED)
        words, upgrade, protocol = row.wire.partition(" Upgrade: ")
        lines = payload.wrap(words, int((server - client - 12) / SANS), 2)
        if upgrade:
            lines.append(upgrade.strip() + " " + protocol)
        for i, line in enumerate(lines):
            y = arrow + i * _LINE - (0 if i else 8)
            self._say(f"sans middle {kind}", (client + server) // 2, y, escape(line))
        return len(lines) - 1

    def _say(self, classes: str, x: int, y: int, source: str) -> None:
        self.words.append(f'<text class="halo {classes}" x="{x}" y="{y}">{source}</text>')

    def _arrow(self, start: int, end: int, y: int, kind: str, through: bool = True) -> None:
        step = 1 if end > start else -1
        tip = end - step * 2
        for shift in (-2, 2) if kind == "close" else (0,):
            self.shapes.append(
                f'<line class="line {kind}" x1="{start}" y1="{y + shift}" x2="{tip - step * 7}" y2="{y + shift}"/>'
            )
        if through:
            self.shapes.append(f'<path class="head {kind}" d="M{tip} {y}l{-9 * step} -5v10z"/>')
        else:
            self._cross(end - step * 8, y, kind)

    def _cross(self, x: int, y: int, kind: str) -> None:
        self.shapes.append(f'<path class="cross {kind}" d="M{x - 5} {y - 5}l10 10m0 -10l-10 10"/>')

    def _note(self, row: Row) -> None:
        """A chip that names the mark, and the note in words."""
        x = self.lanes[SERVER] + 10
        if row.mark in _CHIPS:
            source, width = chip(_CHIPS[row.mark], _KINDS[row.mark], x, self.y)
            self.shapes.append(source)
            x += width + 8
        lines = payload.wrap(row.note, int((EDGE - x) / SANS), 3)
        for i, line in enumerate(lines):
            self._say("sans note", x, self.y + 13 + i * _LINE, escape(line))
        self.y += 8 + len(lines) * _LINE


# --- what every picture of the lab is made of -------------------------------------------------------------------------


def page(title: str, summary: str, height: int, shapes: Sequence[str]) -> str:
    """A picture from its shapes: on a card of its own, `WIDTH` units wide, which tells a screen reader what it is."""
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" class="channels-lab" role="img" '
            f'aria-labelledby="lab-title lab-desc" width="{_SHOWN}" viewBox="0 0 {WIDTH} {height}" '
            'style="max-width:100%;height:auto">',
            f'<title id="lab-title">{title}</title><desc id="lab-desc">{summary}</desc>',
            STYLE,
            f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="10"/>',
            *shapes,
            "</svg>",
        ]
    )


def heading(words: str, x: int, y: int) -> str:
    """The name of a lane, around x, from y on."""
    half = len(words) * 4 + 12
    return (
        f'<rect class="lane" x="{x - half}" y="{y}" width="{2 * half}" height="26" rx="6"/>'
        f'<text class="sans lane-title middle" x="{x}" y="{y + 17}">{words}</text>'
    )


def hue(connection: str) -> str:
    """The colour of a connection, as a class; it repeats what the words say."""
    number = connection.rpartition("-")[2]
    return f"c{(int(number) - 1) % 6}" if number.isdecimal() else "c-cell"


def pill(connection: str, x: int, middle: int) -> str:
    """The name of a connection, 62 units wide from x on."""
    name, colour = escape(payload.shorten(payload.visible(connection), 8)), hue(connection)
    return (
        f'<rect class="pill {colour}" x="{x}" y="{middle - 10}" width="62" height="20" rx="10"/>'
        f'<text class="mono pill-text middle {colour}" x="{x + 31}" y="{middle + 4}">{name}</text>'
    )


def chip(words: str, kind: str, x: int, y: int) -> tuple[str, int]:
    """A few words in a box, from x and y on; and how wide it is."""
    width = len(words) * 8 + 16
    return (
        f'<rect class="chip {kind}" x="{x}" y="{y}" width="{width}" height="18" rx="4"/>'
        f'<text class="sans chip-text middle {kind}" x="{x + width // 2}" y="{y + 13}">{words}</text>'
    ), width


def remark(words: str, y: int) -> str:
    """A line of words across the picture, 38 units high."""
    middle, half = WIDTH // 2, round(len(words) * SANS / 2) + 16
    return (
        f'<rect class="gap" x="{middle - half}" y="{y + 7}" width="{2 * half}" height="24" rx="12"/>'
        f'<text class="sans muted middle" x="{middle}" y="{y + 23}">{escape(words)}</text>'
    )
