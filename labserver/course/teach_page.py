"""The page that an instructor prints: a lesson on one side of A4 or Letter, and the course on another.

Room: HTML, whole in itself: it fetches nothing, and has no script. On paper it is black on white.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .teach_lesson import Lesson

GENERATOR = '<meta name="generator" content="labserver teach">'
"""By this line we know a file as ours, which may be written anew."""

SIZES = ((2200, 10.5), (3200, 9.5), (4700, 8.8), (6300, 8.0), (10**9, 7.2))
"""Letters of a page's misconceptions, up to that many: the points in which they are printed, to stay on the page."""

COLOURS = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b2330; --muted: #566173; --edge: #c4ccd6; --shade: #eef1f5;
  --accent: #0b5394; --warn: #a8221a; }
@media (prefers-color-scheme: dark) { :root { --paper: #161b24; --ink: #e8ecf2; --muted: #a3aebd; --edge: #3b4554;
  --shade: #222a36; --accent: #7cc0ff; --warn: #ff9a90; } }
@media print { :root { color-scheme: light; --paper: #fff; --ink: #000; --muted: #333; --edge: #999; --shade: #fff;
  --accent: #000; --warn: #000; } }
"""
"""Those of the pictures (`labserver.trace.theme`), as variables."""

FONTS = """
:root { --sans: -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace; }
"""

STYLE = (
    COLOURS
    + FONTS
    + """
* { box-sizing: border-box; }
body { margin: 0; background: var(--shade); color: var(--ink); font: 9pt/1.3 var(--sans); }
a { color: var(--accent); }
code { font: .92em var(--mono); }
article { background: var(--paper); max-width: 200mm; margin: 6mm auto; padding: 8mm; border: 1px solid var(--edge); }
header { display: flex; justify-content: space-between; align-items: baseline; gap: 1em; flex-wrap: wrap;
  border-bottom: 1.5pt solid var(--ink); }
h1 { font-size: 14pt; margin: 0; }
h2 { font-size: 9pt; margin: 1.8mm 0 .4mm; color: var(--accent); }
.part { margin-top: 1.4mm; }
.part b { color: var(--accent); }
h3 { font-size: 1em; margin: 0; break-after: avoid; }
p, ul, table { margin: 0; }
ul { padding-left: 1.2em; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: normal; color: var(--muted); }
td, th { padding: 0 .6em .1em 0; vertical-align: baseline; border-bottom: .5pt solid var(--edge); }
.count { text-align: right; white-space: nowrap; }
.muted { color: var(--muted); }
.plan { columns: 78mm 2; column-gap: 6mm; padding-top: 1.4mm; }
.plan > *, .mistakes p { break-inside: avoid; }
.plan h2 { margin-top: 0; }
.mistakes { font-size: max(var(--size), 9pt); columns: 58mm 3; column-gap: 5mm; line-height: 1.22; }
.mistakes section { margin-bottom: 1.2mm; }
.mistakes p { padding-left: .8em; text-indent: -.8em; }
@page { margin: 7mm; }
@media print { body { background: none; } article { border: 0; margin: 0; padding: 0; max-width: none; }
  article + article { break-before: page; } .plan { columns: 2; } .mistakes { font-size: var(--size); columns: 3; } }
"""
)


@dataclass(frozen=True)
class Mistakes:
    """What is told apart in an exercise. each: the misconceptions, by name, with the next step that the check gives."""

    id: str
    title: str
    minutes: int
    each: dict[str, str]


def words(text: str) -> str:
    """HTML of a text with code in backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))


def phrases(text: str) -> str:
    """HTML of a text of a notebook, with code, and what is emphasized."""
    return re.sub(r"(?<!\w)\*{1,2}([^*\s][^*]*)\*{1,2}(?!\w)", r"<em>\1</em>", words(text))


def document(title: str, style: str, body: str) -> str:
    """A whole HTML file."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{GENERATOR}\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{html.escape(title)}</title>\n'
        f"<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def pages(lessons: Sequence[tuple[Lesson, Sequence[Mistakes]]]) -> str:
    """The document: a page for each lesson, and before several of them one for all."""
    title = lessons[0][0].title if len(lessons) == 1 else "Channels Lab: the lessons"
    overview = [_overview(lessons)] if len(lessons) > 1 else []
    return document(f"For instructors: {title}", STYLE, "\n".join([*overview, *(page(*each) for each in lessons)]))


def page(lesson: Lesson, exercises: Sequence[Mistakes]) -> str:
    """The page of one lesson."""
    minutes = sum(each.minutes for each in exercises)
    least = f" ({lesson.least} without what is optional)" if lesson.least < lesson.minutes else ""
    time = f"<b>{lesson.minutes} min</b>{least} + exercises {minutes} min"
    return f"""<article id="lesson-{lesson.number}">
<header><h1>{phrases(lesson.title)}</h1><span>{time}</span></header>
<div class="plan">
<section><h2>Plan, in minutes</h2>{_plan(lesson)}</section>
{_about(lesson)}{_needs(lesson)}{_failures(lesson)}
</div>
<h2>Misconceptions to expect, by exercise, and what the check tells the learner to do next</h2>
{_mistakes(exercises)}
</article>"""


def _plan(lesson: Lesson) -> str:
    rows, passed = [], 0
    for section in lesson.sections:
        passed += section.minutes
        asked = f"{section.predictions} ?" if section.predictions else ""
        rows.append(
            f'<tr><td class="count"><b>{section.minutes}</b></td><td>{phrases(section.title)}</td>'
            f'<td class="count muted">{asked}</td><td class="count muted">{passed}</td></tr>'
        )
    head = '<tr><th></th><th></th><th class="count">predict</th><th class="count">by then</th></tr>'
    return f"<table>{head}{''.join(rows)}</table>"


def _about(lesson: Lesson) -> str:
    able = "".join(f"<li>{phrases(each)}</li>" for each in lesson.objectives)
    return (
        f"<section><h2>Afterwards they can</h2><ul>{able}</ul></section>"
        + _part("Before", phrases(lesson.before))
        + _part("Not here", phrases(lesson.not_here))
    )


def _needs(lesson: Lesson) -> str:
    needs = []
    if lesson.programs:
        needs.append(f"{', '.join(lesson.programs)} (without one, cells show what is stored, or take a substitute)")
    if lesson.pages:
        needs.append(f"a browser that shows the server's pages in {_listed(lesson.pages)}")
    return _part("Needs", "; ".join(needs) or "nothing but the lab")


def _failures(lesson: Lesson) -> str:
    parts = [f"{_listed([section.number or section.title])} <code>{name}</code>" for section, name in lesson.failures]
    if lesson.red:
        parts.append(f"printed in red, and meant: {_listed(lesson.red)}")
    return _part("Fails on purpose", "; ".join(parts))


def _part(name: str, text: str) -> str:
    return f'<p class="part"><b>{name}</b> {text}</p>' if text else ""


def _listed(names: Sequence[str]) -> str:
    return f"section{'s' if len(names) > 1 else ''} {', '.join(map(html.escape, names))}"


def _mistakes(exercises: Sequence[Mistakes]) -> str:
    """In the size of letters that lets the longest of our lessons stay on its page."""
    length = sum(len(name) + len(step) for each in exercises for name, step in each.each.items())
    size = next(size for limit, size in SIZES if length < limit)
    return f'<div class="mistakes" style="--size:{size}pt">{"".join(map(_exercise, exercises))}</div>'


def _exercise(exercise: Mistakes) -> str:
    steps: dict[str, list[str]] = {}
    for name, step in exercise.each.items():
        steps.setdefault(step, []).append(f"<b>{words(name)}</b>")
    told = [f"<p>{'; '.join(names)}{f' → {words(step)}' if step else ''}</p>" for step, names in steps.items()]
    return f"<section><h3>{exercise.id} {words(exercise.title)} ({exercise.minutes} min)</h3>{''.join(told)}</section>"


def _overview(lessons: Sequence[tuple[Lesson, Sequence[Mistakes]]]) -> str:
    rows, total = [], [0, 0]
    for lesson, exercises in lessons:
        minutes = (lesson.minutes, sum(each.minutes for each in exercises))
        total = [a + b for a, b in zip(total, minutes, strict=True)]
        rows.append(
            f'<tr><td><a href="#lesson-{lesson.number}">{phrases(lesson.title)}</a></td><td class="count">{minutes[0]}'
            f'</td><td class="count">{minutes[1]}</td><td>{", ".join(lesson.programs)}</td></tr>'
        )
    head = "<tr><th>lesson</th><th class='count'>minutes</th><th class='count'>exercises</th><th>programs</th></tr>"
    sums = (
        f'<tr><td></td><td class="count"><b>{total[0]}</b></td><td class="count"><b>{total[1]}</b></td><td></td></tr>'
    )
    return (
        "<article><header><h1>The lessons, in minutes</h1></header>"
        f"<table>{head}{''.join(rows)}{sums}</table>"
        "<h2>How to read the pages that follow</h2><p>The minutes of a lesson are its own; those of a section are a "
        "share of them, by its words, its code, and how often it asks for a prediction: a plan, nothing measured. "
        "Each misconception is one that the checks of the exercises tell apart, under this name; what "
        "follows the arrow is what the learner is then told to do.</p></article>"
    )
