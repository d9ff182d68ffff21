"""The picture of the learner's progress: a bar for each lesson.

Room: pure values in, SVG out; called by `progress` alone. Of labserver only the pictures' colours and words.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from html import escape
from typing import Any

from labserver.trace import payload, theme


class Mark(StrEnum):
    """How far an exercise is; begun is one that was tried, or whose hint or solution was looked at."""

    PASSED = "✓"
    BEGUN = "○"
    AHEAD = "·"


NAMES = {Mark.PASSED: "passed", Mark.BEGUN: "begun", Mark.AHEAD: "not begun"}

Lesson = Sequence[tuple[str, Mark]]
"""The exercises of a lesson, by id."""

_WIDTH, _LEFT, _BAR, _ROW = 820, 216, 520, 36  # of the picture; where its bars begin, how wide and far apart they are

_SHAPES = """
text{font:13px -apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"Liberation Sans",sans-serif}
.bold{font-weight:600}
.mono{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono","Liberation Mono",monospace}
.end{text-anchor:end}
rect{stroke-width:1.5}
rect.ahead{stroke-dasharray:3 3}
path{stroke-width:2.5;fill:none;stroke-linecap:round;stroke-linejoin:round}
path.ahead{stroke-width:5}
"""


def _colours(colours: Mapping[str, Any]) -> str:
    card, edge, ink, muted, done = *(colours[each] for each in ("card", "edge", "ink", "muted")), colours["pills"][2]
    return f"""
rect{{fill:{card};stroke:{edge}}}
rect.passed{{fill:{done};stroke:{done}}}
rect.begun,path{{stroke:{ink}}}
rect.ahead,path.ahead{{stroke:{muted}}}
path.passed{{stroke:{card}}}
text{{fill:{ink}}}
text.passed{{fill:{card}}}
text.ahead{{fill:{muted}}}
"""


def _style() -> str:
    """Both colour schemes, every rule for this picture alone: a page that shows it in line keeps its own style."""
    shapes, light, dark = (
        "\n".join(
            ",".join(f".lab-progress {one}" for one in selectors.split(",")) + brace + rest
            for selectors, brace, rest in (rule.partition("{") for rule in rules.strip().splitlines())
        )
        for rules in (_SHAPES, _colours(theme.LIGHT), _colours(theme.DARK))
    )
    return f"<style>\n{shapes}\n{light}\n@media (prefers-color-scheme:dark){{\n{dark}\n}}\n</style>"


def passed(lesson: Lesson) -> str:
    """How many of a lesson's exercises are passed, in words."""
    return f"{sum(mark is Mark.PASSED for _, mark in lesson)} of {len(lesson)}"


def svg(lessons: Mapping[str, Lesson], summary: str) -> str:
    """The picture: the same bytes for the same progress, legible on light and dark pages."""
    legend = [_segment(480 + 108 * i, 100, 13, name, mark) for i, (mark, name) in enumerate(NAMES.items())]
    rows, told = [], [summary.rstrip(".") + "."]
    for i, (stem, lesson) in enumerate(lessons.items()):
        y = 54 + _ROW * i
        rows.append(_text("mono", 20, y + 17, stem, 26))
        for j, (id, mark) in enumerate(lesson):
            start, end = (_LEFT + _BAR * each // len(lesson) for each in (j, j + 1))
            rows.append(_segment(start, end - start - min(6, (end - start) // 4), y, id, mark))
        rows.append(_text("end", _WIDTH - 20, y + 17, passed(lesson), 10))
        told.append(f"{stem}: {', '.join(f'{id} {NAMES[mark]}' for id, mark in lesson)}.")
    height = 54 + _ROW * len(lessons) + 36
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" class="lab-progress" role="img" '
            f'aria-labelledby="lab-progress-title lab-progress-desc" width="{_WIDTH}" '
            f'viewBox="0 0 {_WIDTH} {height}" style="max-width:100%;height:auto">',
            '<title id="lab-progress-title">Your progress</title>'
            f'<desc id="lab-progress-desc">{escape(payload.visible(" ".join(told)))}</desc>',
            _style(),
            f'<rect x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="10"/>',
            _text("bold", 20, 30, "Your progress", 26),
            *legend,
            *rows,
            _text("bold", 20, height - 18, summary, 120),
            "</svg>",
        ]
    )


def _text(classes: str, x: int, y: int, words: str, room: int) -> str:
    words = payload.shorten(payload.visible(words), room)
    return f'<text class="{classes}" x="{x}" y="{y}">{escape(words)}</text>'


def _segment(x: int, width: int, y: int, words: str, mark: Mark) -> str:
    """One exercise: colour, rim and sign say the same; the words stand beside the sign where there is room."""
    kind = mark.name.lower()
    room = (width - 34) // 7
    middle, said = (x + 16, _text(kind, x + 28, y + 17, words, room)) if room > 3 else (x + width // 2, "")
    sign = {Mark.PASSED: "m-5 0l4 4l6 -8", Mark.BEGUN: "m-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0", Mark.AHEAD: "m0 0h0.01"}
    return (
        f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="26" rx="5"/>'
        f'<path class="{kind}" d="M{middle} {y + 13}{sign[mark]}"/>{said}'
    )
