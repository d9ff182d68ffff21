"""What several tellers say of the same thing, in columns side by side: as a picture, and as plain text.

Room: pure values; no Django, no network. Drawn with the parts and the colours of `svg`: the same bytes every time,
legible on light and dark pages. Colour is never the only sign: a row whose cells differ has a `≠` and a frame, and what
there is to say of it stands below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from . import payload
from .svg import EDGE, MONO, SANS, WIDTH, chip, heading, page, remark

HEAD, TAIL = 60, 60
"""Rows shown from the beginning and from the end of what has more than both together."""

COLUMNS = 100
"""Terminal columns of a line of the text."""

NOTHING = "There is nothing to compare."

_GLANCE = 1000  # characters of a cell that are looked at: no picture shows more
_LEFT, _GAP, _LINE, _PAD = 48, 14, 15, 9
_CELL_LINES, _NOTE_LINES = 3, 4


@dataclass(frozen=True)
class Line:
    """One row: a cell for each column, whether they differ, and a note that is put below it."""

    cells: tuple[str, ...]
    differs: bool = False
    note: str = ""


def side_by_side(title: str, summary: str, columns: Sequence[str], rows: Sequence[Line]) -> str:
    """The rows under the names of their columns; the source of an SVG 1.1 picture, 900 units wide.

    title: what is compared; summary: what came of it, in one line. columns: two or more names. A row has one cell for
    each; raises ValueError if one has not. What is long is broken into three lines, and cut off after them.
    """
    _check(columns, rows)
    room = (EDGE - _LEFT + _GAP) // len(columns)  # of a column with the gap behind it
    lefts = [_LEFT + i * room for i in range(len(columns))]
    shapes = [f'<text class="sans lane-title" x="14" y="26">{escape(_clean(title))}</text>']
    y = 34
    for line in payload.wrap(_clean(summary), int((EDGE - 14) / SANS), 2) if summary else ():
        shapes.append(f'<text class="sans muted" x="14" y="{y + 11}">{escape(line)}</text>')
        y += _LINE
    y += 8
    names = [escape(payload.shorten(_clean(name), (room - _GAP - 24) // 8)) for name in columns]
    for name, left in zip(names, lefts, strict=True):
        shapes.append(heading(name, left + len(name) * 4 + 12, y))
    y += 36
    head, omitted, tail = _shown(rows)
    for row in head:
        y = _row(row, lefts, room - _GAP, y, shapes)
    if omitted:
        shapes.append(remark(omitted, y))
        y += 38
    for row in tail:
        y = _row(row, lefts, room - _GAP, y, shapes)
    if not rows:
        shapes.append(remark(NOTHING, y))
        y += 38
    return page(escape(_clean(title)), escape(_clean(summary)), y + 8, shapes)


def _row(row: Line, lefts: Sequence[int], room: int, y: int, shapes: list[str]) -> int:
    """Add the shapes of a row, from y on; returns where it ends."""
    cells = [payload.wrap(_clean(cell), int(room / MONO), _CELL_LINES) for cell in row.cells]
    notes = payload.wrap(_clean(row.note), int((EDGE - 10 - _LEFT) / SANS), _NOTE_LINES) if row.note else []
    deep = max(map(len, cells))
    height = 2 * _PAD + (deep + len(notes)) * _LINE + 4 * bool(notes)
    if row.differs:
        shapes.append(f'<rect class="lane" x="8" y="{y}" width="{WIDTH - 16}" height="{height}" rx="6"/>')
        shapes.append(chip("≠", "refused", 16, y + _PAD - 1)[0])
    for left, lines in zip(lefts, cells, strict=True):
        for i, line in enumerate(lines):
            shapes.append(f'<text class="mono" x="{left}" y="{y + _PAD + 12 + i * _LINE}">{escape(line)}</text>')
    for i, line in enumerate(notes, deep):
        shapes.append(f'<text class="sans note" x="{_LEFT}" y="{y + _PAD + 16 + i * _LINE}">{escape(line)}</text>')
    return y + height + 6


def text(columns: Sequence[str], rows: Sequence[Line], notes: bool = True) -> str:
    """The rows as lines of plain text: `≠` before those that differ, notes (if wanted) below on lines of their own.

    Where a line would be wider than `COLUMNS`, cells of the widest columns are cut off. Raises ValueError as
    `side_by_side`.
    """
    _check(columns, rows)
    table = [Line(tuple(columns)), *rows]
    cells = [[_clean(cell) for cell in row.cells] for row in table]
    widths = [max(payload.columns(row[i]) for row in cells) for i in range(len(columns))]
    while sum(widths) + 2 * len(columns) > COLUMNS:
        widths[widths.index(max(widths))] -= 1
    cells = [[payload.shorten(cell, width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    found = []
    head, omitted, tail = _shown(list(zip(table[1:], cells[1:], strict=True)), lambda each: each[0])
    for row, shown in [(table[0], cells[0]), *head, (None, omitted), *tail]:
        if row is None:
            found += [f"… {shown}"] if shown else []
            continue
        padded = (cell + " " * (width - payload.columns(cell)) for cell, width in zip(shown, widths, strict=True))
        found.append(f"{'≠' if row.differs else ' '} {'  '.join(padded)}".rstrip())
        if notes and row.note:
            wrapped = payload.wrap(_clean(row.note), COLUMNS - 6, _NOTE_LINES)
            found += [("  └ " if i == 0 else "    ") + line for i, line in enumerate(wrapped)]
    return "\n".join(found)


def _shown(rows: Sequence, line=lambda each: each) -> tuple[Sequence, str, Sequence]:
    """The rows at the beginning, words for those that are left out, and the rows at the end."""
    if len(rows) <= HEAD + TAIL:
        return rows, "", ()
    left_out = [line(each) for each in rows[HEAD:-TAIL]]
    differing = sum(each.differs for each in left_out)
    return rows[:HEAD], f"{len(left_out):,} rows left out, {differing:,} of them differ", rows[-TAIL:]


def _check(columns: Sequence[str], rows: Sequence[Line]) -> None:
    for row in rows:
        if len(row.cells) != len(columns):
            raise ValueError(
                f"expected a cell for each of {len(columns)} columns ({', '.join(columns)}), found {len(row.cells)} in "
                f"{row!r:.200}; fill what has nothing to say with an empty text"
            )


def _clean(words: str) -> str:
    """On one line, and the same on every run: no address, no port."""
    return payload.stable(payload.visible(words[:_GLANCE]))
