"""Loads side by side, as ratios to the first one: as a picture, and as plain text.

Room: pure values, drawn with the parts and the colours of every picture of the lab; called by `load` alone. Colour is
never the only sign: each bar has its ratio and its value in words, and what failed is named.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

from labserver.trace import payload
from labserver.trace.svg import EDGE, SANS, page

NOTHING = "Nothing was measured."

_NAME, _LEFT, _BAR, _WORDS = 16, (216, 516), 150, 8  # where names and the two columns begin; the longest bar
_ROW, _LINE = 40, 16
_BUSY = 0.9  # of a processor: from here on the clients are the limit


def ratio(value: float | None, first: float | None) -> str:
    """How many times the first row's value this is; a dash if one of them is missing."""
    return f"{value / first:.2f}×" if value is not None and first else "–"


def _rate(value: float) -> str:
    return f"{value:,.0f}/s"


def _time(value: float | None) -> str:
    return "no answer" if value is None else f"{value:,.1f} ms"


def _notes(load: Any) -> list[tuple[str, str]]:
    """What is to be said of a load below its row, each with its kind."""
    notes = []
    if load.failures:
        notes.append(("crash", "✗ " + "; ".join(f"{why}: {count:,}" for why, count in load.failures.items())))
    if load.busy >= _BUSY:
        notes.append(("muted", f"the clients alone took {load.busy:.0%} of a processor: the server may carry more"))
    return notes


def text(loads: Sequence[Any]) -> str:
    """A line for each load under the names of the columns, and what failed below it."""
    if not loads:
        return NOTHING
    first = loads[0]
    table = [("", "connections held", "messages", "", "median", "99 % within", "")]
    for load in loads:
        table.append(
            (
                payload.visible(load.name),
                f"{load.held:,} of {load.clients:,}",
                _rate(load.messages),
                ratio(load.messages, first.messages),
                _time(load.median),
                _time(load.tail),
                ratio(load.tail, first.tail),
            )
        )
    widths = [max(map(payload.columns, column)) for column in zip(*table, strict=True)]
    lines = []
    for row, load in zip(table, [None, *loads], strict=True):
        name, *cells = row
        padded = [name + " " * (widths[0] - payload.columns(name))]
        padded += [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join(padded).rstrip())
        lines += [f"  {note}" for _, note in _notes(load)] if load is not None else []
    return "\n".join(lines)


def svg(loads: Sequence[Any]) -> str:
    """The picture: the same bytes for the same values, legible on light and dark pages."""
    shapes = [_text("sans lane-title", _NAME, 28, "Load")]
    shapes.append(_text("sans muted", _NAME, 44, "as ratios to the first row"))
    for left, words, which in zip(
        _LEFT, ("messages per second", "99 % answered within"), ("more", "less"), strict=True
    ):
        shapes.append(_text("sans lane-title", left, 28, words))
        shapes.append(_text("sans muted", left, 44, f"{which} is better"))
    shapes.append(_text("sans lane-title end", EDGE, 28, "held"))
    y = 58
    if not loads:
        shapes.append(_text("sans muted", _NAME, y + 18, NOTHING))
        y += _ROW
    rates, tails = [load.messages for load in loads], [load.tail for load in loads]
    for load in loads:
        shapes.append(_text("sans", _NAME, y + 18, payload.shorten(payload.visible(load.name), 28)))
        shapes += _bar(0, y, load.messages, rates, _rate(load.messages), "wire")
        shapes += _bar(1, y, load.tail, tails, _time(load.tail), "layer")
        lost = load.held < load.clients
        held = f"{'✗ ' * lost}{load.held:,} of {load.clients:,}"
        shapes.append(_text(f"sans end{' crash' * lost}", EDGE, y + 18, held))
        y += 34
        for kind, note in _notes(load):
            for line in payload.wrap(payload.visible(note), int((EDGE - _LEFT[0]) / SANS), 3):
                shapes.append(_text(f"sans {kind}", _LEFT[0], y + 8, line))
                y += _LINE
        y += 6
    return page("Load", escape(text(loads).replace("\n", ". ")), y + 8, shapes)


def _bar(column: int, y: int, value: float | None, every: Sequence[float | None], words: str, kind: str) -> list[str]:
    """A bar as long as its share of the longest one, a mark where the first one ends, and both values in words."""
    left, longest, first = _LEFT[column], max((each or 0 for each in every), default=0), every[0]
    width, end = (round(_BAR * (each or 0) / longest) if longest else 0 for each in (value, first))
    shapes = [f'<rect class="head {kind}" x="{left}" y="{y + 5}" width="{max(width, 1)}" height="18" rx="2"/>']
    if first:
        shapes.append(f'<line class="life" x1="{left + end}" y1="{y}" x2="{left + end}" y2="{y + 28}"/>')
    x = left + max(width, end) + _WORDS
    told = f'<tspan class="type">{ratio(value, first)}</tspan> {escape(words)}'
    shapes.append(f'<text class="sans" x="{x}" y="{y + 18}">{told}</text>')
    return shapes


def _text(classes: str, x: int, y: int, words: str) -> str:
    return f'<text class="{classes}" x="{x}" y="{y}">{escape(words)}</text>'
