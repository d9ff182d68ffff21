"""Where the outputs of two runs differ first: side by side, a line against a line.

Room: values; runs nothing. What counts as the same is `book.canonical`'s to say.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

from nbformat import NotebookNode

from .book import canonical
from .rules import NONE, Rules

WIDTH = 54
"""Characters of each side. Longer lines (an SVG is often one line) go on below, so that the difference is in sight."""

ROWS, CONTEXT, WINDOW = 20, 2, 400
"""Rows of a difference that are shown; equal ones before and after it; lines that are searched for further places."""

_HEADING = re.compile(r"\[(stdout|stderr|error|display_data|execute_result|[\w.+-]+/[\w.+-]+)\]")

Row = tuple[str, str, str]
"""A mark (`≠` or a space) and what stands on the left and on the right."""


def difference(
    expected: Iterable[NotebookNode], found: Iterable[NotebookNode], names: Sequence[str], rules: Rules = NONE
) -> str:
    """The first place where two lists of outputs differ, side by side, or an empty string if they are the same.

    names: what the two sides are called, for example `("stored", "found")`. rules: what is hidden from both.
    """
    left, right = canonical(expected, rules.hide), canonical(found, rules.hide)
    if left == right:
        return ""
    one, two = list(_lines(left)), list(_lines(right))
    same = next(n for n, (a, b) in enumerate(zip_longest(one, two)) if a != b)
    first, others = _places(one[same : same + WINDOW], two[same : same + WINDOW])
    before = one[max(0, same - CONTEXT) : same]
    if not any(map(_HEADING.fullmatch, before)):  # what names the output is worth a line, however far above
        before = [*[line for line in one[:same] if _HEADING.fullmatch(line)][-1:], *before]
    rows = [(" ", *names), *((" ", line, line) for line in before), *first]
    text = [f"{mark} {a:{WIDTH}} │ {b}".rstrip() for mark, a, b in rows[:ROWS]]
    hidden = len(rows) - ROWS
    text += [f"… and {hidden} more rows here"] if hidden > 0 else []
    text += [f"… and {others} more place{'s' * (others > 1)} below"] if others else []
    return "\n".join(text)


def _places(one: Sequence[str], two: Sequence[str]) -> tuple[list[Row], int]:
    """The rows of the first difference and of what follows it at once, and how many further differences there are."""
    codes = SequenceMatcher(None, one, two, autojunk=False).get_opcodes()
    places = [n for n, code in enumerate(codes) if code[0] != "equal"]
    _, a, b, c, d = codes[places[0]]
    rows = [("≠", *_seen(*pair)) for pair in zip_longest(one[a:b], two[c:d])]
    return rows + [(" ", line, line) for line in one[b : b + CONTEXT * (len(places) == 1)]], len(places) - 1


def _seen(left: str | None, right: str | None) -> Iterator[str]:
    """Two lines as a person can tell them apart: what is absent or empty is named, spaces at an end are spelled out."""
    alike = left is not None and right is not None and left.rstrip() == right.rstrip()
    for line in (left, right):
        yield "(nothing)" if line is None else repr(line) if alike else line or "(an empty line)"


def _lines(forms: Iterable[dict[str, Any]]) -> Iterator[str]:
    for form in forms:
        for name, value in form.items():
            yield f"[{name}]"
            text = value if isinstance(value, str) else json.dumps(value, indent=1, sort_keys=True)
            whole = name not in ("stdout", "stderr") or text.endswith("\n")
            for line in text.removesuffix("\n").split("\n") if text else ():
                yield from (line[at : at + WIDTH] for at in range(0, len(line) or 1, WIDTH))
            yield from () if whole else ("(no newline at the end)",)
