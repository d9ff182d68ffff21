"""Messages in few characters, the same on every run, for the pictures of a trace.

Room: pure values, called by `rows`. Values are written as Python writes them (`repr`), so that a learner sees what
`print(message)` would show, control characters and lone surrogates come out as escapes, and text (`'hi'`) is never
mistaken for bytes (`b'hi'`).
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

_GLANCE = 200
"""Characters of a payload that are looked at: no picture shows more. Of a longer one the length is told first."""

_CUT = re.compile(r"(?:… |\.\.\. )\((\d+) (?:characters|bytes)\)$")  # how `events.plain` ends what it cuts
_ADDRESS = re.compile(r"(?<=\bat )0x[0-9A-Fa-f]+|\b0x[0-9A-Fa-f]{8,16}\b")  # of an object in memory
_PORT = re.compile(r"(127\.0\.0\.1|localhost|\[::1\]):\d+")
_CELL = re.compile(r"[^\s'\"]*ipykernel_\d+[/\\]+\d+\.py|<ipython-input-[^>]*>")  # the file a cell pretends to be


def describe(direction: str, message: Mapping[str, Any]) -> str:
    """What a message carries beside its type, unshortened: `text='hi'`, `code=4001`, `blue chat.message text='hi'`."""
    if direction == "error":
        return _plain(message.get("text", ""))
    if direction != "layer":  # what says nothing is left out: headers=[], text=None, more_body=False, body=b''
        told = {k: v for k, v in message.items() if k != "headers" and v is not None and v is not False and v != b""}
        return _pairs(told)
    parts = [_plain(message[key]) for key in ("group", "channel") if message.get(key) is not None]
    carried = message.get("message")
    if isinstance(carried, Mapping):
        parts += [_plain(carried["type"])] if "type" in carried else []
        parts += [_pairs(carried)]
    elif carried is not None:
        parts += [show(carried)]
    return " ".join(part for part in parts if part)


def _pairs(message: Mapping[str, Any]) -> str:
    return " ".join(f"{_plain(key)}={show(value)}" for key, value in message.items() if key != "type")


def _plain(value: Any) -> str:
    words = str(value)
    return stable(visible(words[:_GLANCE])) + "…" * (len(words) > _GLANCE)


def show(value: Any) -> str:
    """A value as Python writes it; of a very long one its length and how it begins."""
    if not isinstance(value, (str, bytes)):
        return stable(repr(value)[: 2 * _GLANCE])
    if len(value) <= _GLANCE:
        return stable(repr(value))
    unit, end = ("characters", value[-40:]) if isinstance(value, str) else ("bytes", value[-40:].decode("latin-1"))
    cut = _CUT.search(end)
    return f"({int(cut[1]) if cut else len(value):,} {unit}) {stable(repr(value[:_GLANCE]))[:-1]}…"


def stable(text: str) -> str:
    """The text without what differs from run to run: memory addresses, ports, the names of cells."""
    if "0x" in text:
        text = _ADDRESS.sub("0x…", text)
    if ":" in text:
        text = _PORT.sub(r"\1:PORT", text)
    if "ipy" in text:
        text = _CELL.sub("cell", text)
    return text


def visible(text: str) -> str:
    """The text on one line, with escapes in the place of what cannot be seen or encoded."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def columns(text: str) -> int:
    """How many terminal columns a text takes: most letters one, East Asian ones and emoji two, accents none."""
    if text.isascii():
        return len(text)
    return sum(_column(char) for char in text)


def _column(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def shorten(text: str, width: int) -> str:
    """The text in at most `width` columns; what is cut off is shown as `…`."""
    if columns(text) <= width:
        return text
    room, end = width - 1 - _column(text[0]), 0
    while room >= 0:
        end += 1
        room -= _column(text[end])
    return f"{text[:end]}…"


def wrap(text: str, width: int, lines: int) -> list[str]:
    """The text in at most `lines` lines of `width` columns, broken after a space or a slash if one is near the end."""
    found: list[str] = []
    while columns(text) > width and len(found) < lines - 1:
        piece = shorten(text, width + 1)[:-1]
        if text[len(piece)] != " ":
            end = max(piece.rfind(" "), piece.rfind("/"))
            piece = piece[: end + 1] if end >= len(piece) // 2 else piece
        found.append(piece.rstrip())
        text = text[len(piece) :].lstrip()
    return [*found, shorten(text, width)]
