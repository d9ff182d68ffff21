"""A trace as plain text, one event a line; `svg` draws the same rows as a picture.

Room: pure values, called by `events.Trace`. No time, port, address or random name gets in: the same events give the
same bytes on every run.

         client consumer
    ws-1   │──────→│  websocket.connect    GET /ws/echo/ Upgrade: websocket
    ws-1   │←──────│  websocket.accept     101 Switching Protocols

An arrow runs from lane to lane. `═` is a close, `- -` a refusal or a crash, `✗` the place where something ended or
did not get through.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from . import payload
from .protocol import Mark
from .rows import CLIENT, SERVER, Row, sheet
from .svg import svg

__all__ = ["HEAD", "TAIL", "WIDTH", "svg", "text"]

WIDTH = 100
"""Terminal columns of a line."""

HEAD, TAIL = 200, 200
"""Events shown from the beginning and from the end of a trace that has more than both together."""

NOTHING = "nothing happened yet: connect a client, or look again when one has connected"

_GAP = 8  # columns from one lifeline to the next
_LABEL = 7  # at least; long enough for every name
_TYPE = 21  # len("websocket.disconnect") + 1
_SIGNS = {Mark.REFUSED: "✗ refused", Mark.CRASH: "✗ crash", Mark.BROKEN: "✗ broken rule"}
_STROKES = {Mark.CLOSE: "═", Mark.REFUSED: "- ", Mark.CRASH: "- "}
_PLAIN_WIRES = ("text frame", "binary frame", "body")


def text(events: Sequence[Any], scopes: Mapping[str, Mapping[str, Any]], omitted: int = 0) -> str:
    """The events in display order, one a line of at most `WIDTH` columns, notes on lines of their own.

    scopes: of each connection, by its name; may miss some. omitted: how many events before these are gone.
    """
    lines = [f"… {omitted:,} earlier events left out"] if omitted else []
    if not events:
        return "\n".join([*lines, NOTHING])
    page = sheet(events, scopes, HEAD, TAIL)
    lanes = [lane for lane in page.lanes if lane != SERVER]
    label = max(_LABEL, *(len(row.connection) + 1 for row in page.rows))
    lines.append(_header(lanes, page.titles, label))
    for row in page.head:
        lines += _lines(row, lanes, label)
    if page.omitted:
        lines.append(f"… {page.omitted:,} events left out")
    for row in page.tail:
        lines += _lines(row, lanes, label)
    return "\n".join(lines)


def _column(lanes: list[str], lane: str) -> int:
    return lanes.index(lane) * _GAP


def _header(lanes: list[str], titles: dict[str, str], label: int) -> str:
    line = " " * (label - 3)
    for lane in lanes:
        title = titles[lane].removeprefix("channel ")
        line = line.ljust(label + _column(lanes, lane) - (len(title) - 1) // 2)
        line += title if line[-1] == " " else f" {title}"
    return line


def _lines(row: Row, lanes: list[str], label: int) -> list[str]:
    margin = f"{row.connection:<{label}}{_arrow(row, lanes)}  "
    type = payload.shorten(row.type, _TYPE - 1)
    line = margin + type + " " * (_TYPE - payload.columns(type))
    room = WIDTH - len(margin) - _TYPE
    words, said, notes = row.payload, _said(row), [row.note]
    if said and words:
        left = room - payload.columns(said) - 2
        if row.source == row.target and payload.columns(words) > left:  # what an exception says is worth a line
            words, notes = "", [words, row.note]
        else:
            words = f"{payload.shorten(words, max(8, left))}  "
    lines = [line + payload.shorten(words + said, room)]
    for note in filter(None, notes):
        for i, piece in enumerate(payload.wrap(note, WIDTH - len(margin) - 2, 3)):
            lines.append(f"{' ' * len(margin)}{'  ' if i else '└ '}{piece}")
    return [line.rstrip() for line in lines]


def _said(row: Row) -> str:
    """The sign of a mark, and what passes on the wire where that is more than the message itself."""
    wire = row.wire
    if wire in _PLAIN_WIRES or (wire.startswith("close frame ") and f"code={wire[12:]}" in row.payload.split(" ")):
        wire = ""
    return ": ".join(part for part in (_SIGNS.get(row.mark, ""), wire) if part)


def _arrow(row: Row, lanes: list[str]) -> str:
    """The lifelines, with the arrow of this row between two of them."""
    cells = list("│".ljust(_GAP) * (len(lanes) - 1) + "│")
    start, end = _column(lanes, row.source), _column(lanes, row.target)
    if row.source == row.target:  # an error; what the client gets of it goes over the wire
        cells[start] = "✗"
        end = 0 if row.wire else start
    elif not row.wire and CLIENT in (row.source, row.target):  # between server and application only: half an arrow
        start, end = (_GAP // 2, end) if row.source == CLIENT else (start, _GAP // 2)
    step = 1 if end > start else -1
    line = _STROKES.get(row.mark, "─")
    for place in range(start + step, end, step):
        cells[place] = line[place % len(line)]
    if start != end:
        cells[end - step] = "✗" if row.mark in (Mark.REFUSED, Mark.BROKEN) else "←" if step < 0 else "→"
    return "".join(cells)
