"""A copy of a lesson, or of its exercises, that ends after a section, so that the room does not run ahead.

Room: notebooks as values. What is after the section is gone, not folded: neither Run All nor a curious click gets
there. The copy starts cold and stops the server, as every lesson does, and has a name of its own: a later, longer copy
takes nothing away from what somebody has written into an earlier one.
"""

import ast
import builtins
import dis
import re
from copy import deepcopy
from pathlib import Path
from types import CodeType

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from .teach_lesson import Lesson, LessonError, headings, read

END = """## Here this part ends

The next part comes from your instructor."""

ABOUT = """> This part ends with *{section}*{minutes}. What is promised here is promised of the whole."""
"""Stands below the title, which goes on as in the whole."""

_EXERCISE = re.compile(r"\d\d\.\d+")
_LINK = re.compile(r"!?\[([^\]]+)\]\(([^)\s#:]+)(?:#[^)\s]*)?\)")


def cut(path: Path, until: str, out: Path) -> tuple[Path, str]:
    """A copy of the lesson in `path` that ends after the section `until`: where to write it in `out`, and its text.

    until: a section's number or words of its title; an exercise's id (`"03.2"`) cuts the exercises of that lesson.
    Raises LessonError if there is no such section, or more than one, or nothing after it.
    """
    folder = "exercises" if _EXERCISE.fullmatch(until) else "notebooks"
    lesson = read(path.parents[1] / folder / path.name)
    number = _find(lesson, until)
    section = lesson.sections[number]
    name = section.number or re.sub(r"\W+", "-", section.title).strip("-").lower()
    target = out / folder / f"{path.stem}_until_{name}.ipynb"
    notebook = deepcopy(lesson.notebook)
    kept = _before(notebook.cells, number + 1)
    for cell in kept:
        if cell.cell_type == "markdown":
            cell.source = _alive(cell.source, target.parent)
    minutes = sum(each.minutes for each in lesson.sections[: number + 1])
    about = f", after about {minutes} of the {lesson.minutes} minutes" if minutes else ""
    title, _, text = kept[0].source.partition("\n")
    kept[0].source = f"{title}\n\n{ABOUT.format(section=section.title, minutes=about)}\n{text}"
    end = nbformat.v4.new_markdown_cell(END, id="part-ends")
    notebook.cells = [*kept, end, *_stop(kept, notebook.cells[len(kept) :])]
    return target, nbformat.v4.writes(notebook) + "\n"


def _find(lesson: Lesson, until: str) -> int:
    """The place of the section that is meant."""
    titles = [each.title for each in lesson.sections]
    found = [place for place, each in enumerate(lesson.sections) if each.number == until]
    words = until.strip().casefold()
    found = found or [place for place, title in enumerate(titles) if words and words in title.casefold()]
    if len(found) != 1:
        what = "several: " + "; ".join(titles[place] for place in found) if found else "none"
        raise LessonError(
            f"expected one section of {lesson.path.name} for {until!r}, found {what}; name one by its number, or by "
            f"words of its title: {'; '.join(titles[:-1])}"
        )
    if found[0] == len(titles) - 1:
        raise LessonError(
            f"expected a section with others after it, found {titles[-1]!r}, the last of {lesson.path.name}; hand "
            "out the file itself"
        )
    return found[0]


def _before(cells: list[NotebookNode], number: int) -> list[NotebookNode]:
    """The cells before the section of that number, counted from 0; of the cell that begins it, what stands above it."""
    texts = [(place, cell.source) for place, cell in enumerate(cells) if place and cell.cell_type == "markdown"]
    starts = [(place, line) for place, source in texts for line, _, _ in headings(source, 2)]
    place, line = starts[number]
    above = "\n".join(cells[place].source.split("\n")[:line]).strip()
    return [*cells[:place], *([NotebookNode(cells[place], source=above)] if above else [])]


def _alive(source: str, folder: Path) -> str:
    """The text, in which links to files that are not there are words."""
    return _LINK.sub(lambda link: link[0] if (folder / link[2]).exists() else link[1], source)


def _stop(kept: list[NotebookNode], rest: list[NotebookNode]) -> list[NotebookNode]:
    """The cell that stops the server; without the lines that stop what only later sections start."""
    stop = next((cell for cell in reversed(rest) if cell.cell_type == "code" and ".stop()" in cell.source), None)
    if stop is None:
        return []
    code = [cell for cell in kept if cell.cell_type == "code"]
    known = set(vars(builtins)).union(*(_names(_compiled(cell.source), "STORE_") for cell in code))
    lines, start = [], 0
    for statement in ast.parse(stop.source).body:
        text = "\n".join(stop.source.split("\n")[start : statement.end_lineno])
        start = statement.end_lineno
        found = _compiled(text)
        if _names(found, "LOAD_") <= known | _names(found, "STORE_"):
            known |= _names(found, "STORE_")
            lines.append(text)
    counts = [cell.execution_count for cell in code if cell.execution_count]
    copy = NotebookNode(stop, source="\n".join(lines).strip(), execution_count=len(counts) + 1 if counts else None)
    return [copy] if lines else []


def _compiled(source: str) -> CodeType:
    """What the kernel compiles of a cell; a first line that says what the cell needs is none of it."""
    python = TransformerManager().transform_cell(re.sub(r"\A%%.*", "", source))
    try:
        return compile(python, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError:  # a cell that is wrong on purpose defines nothing
        return compile("", "<cell>", "exec")


def _names(code: CodeType, kind: str) -> set[str]:
    """The global names that some code, and what is nested in it, loads or stores."""
    kinds = (f"{kind}NAME", f"{kind}GLOBAL")
    own = {each.argval for each in dis.get_instructions(code) if each.opname in kinds}
    nested = (each for each in code.co_consts if isinstance(each, CodeType))
    # a name that a nested class stores is its attribute
    return own.union(*(_names(each, kind) for each in nested)) if kind == "LOAD_" else own
