"""A lesson as an instructor looks at it: sections with their minutes, what it promises, needs, and breaks on purpose.

Room: reads notebook files and writes none. What is told of a lesson is taken from its cells, so that it cannot drift.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from labserver.errors import LabError

COURSE = Path(__file__).parents[2]
"""The course's folder, with the notebooks; an installed package comes without it."""

CODE_WEIGHT, CELL_WEIGHT, PREDICTION_WEIGHT = 2, 20, 40
"""What costs time beside a word of prose, in such words: a word of code, a cell to run, a prediction to make."""

PREDICT = "*Predict"
"""How a question begins that is to be answered before the next cell runs."""

_HEADING = re.compile(r"^(#{1,3}) +(.+?) *$")
_FENCE = re.compile(r"^ {0,3}(```|~~~)")
_NUMBERED = re.compile(r"(\d+(?:\.\d+)?)\.? ")
_MINUTES = re.compile(r"\*\*(\d+) minutes\.?\*\*[, ]*(?=(\d+) without)?")
_LINK = re.compile(r"\[([^\]]+)\]\([^)\s]+\)")


def headings(source: str, deepest: int) -> Iterator[tuple[int, int, str]]:
    """Each heading of a text, up to that depth: its line, counted from 0, its depth, its words. Fences hold none."""
    fenced = False
    for number, line in enumerate(source.split("\n")):
        fenced ^= bool(_FENCE.match(line))
        if not fenced and (found := _HEADING.match(line)) and len(found[1]) <= deepest:
            yield number, len(found[1]), found[2]


def split(source: str, deepest: int) -> list[tuple[str, str]]:
    """A text in parts, each from one heading to the next: the heading's words, empty before the first; the rest."""
    lines, parts, words, start = source.split("\n"), [], "", 0
    for number, _, title in headings(source, deepest):
        parts.append((words, "\n".join(lines[start:number]).strip()))
        words, start = title, number + 1
    parts.append((words, "\n".join(lines[start:]).strip()))
    return [part for part in parts if any(part)]


def plain(text: str) -> str:
    """The text without links: their words stay."""
    return _LINK.sub(r"\1", text)


class LessonError(LabError, ValueError):
    """A lesson is asked for that is not there, or cannot be read."""


@dataclass
class Section:
    """A section of a lesson. pieces: each cell of it, with the part of its source that belongs to the section."""

    title: str
    pieces: list[tuple[NotebookNode, str]]
    minutes: int = 0

    @property
    def number(self) -> str:
        """Its number, such as `"5"`, or an empty string."""
        found = _NUMBERED.match(self.title)
        return found[1] if found else ""

    @property
    def optional(self) -> bool:
        """Whether its title says that it may be left out."""
        return "(optional)" in self.title

    @property
    def predictions(self) -> int:
        """How often learners are asked what will happen."""
        return sum(source.count(PREDICT) for cell, source in self.pieces if cell.cell_type == "markdown")

    @property
    def outputs(self) -> list[NotebookNode]:
        """The stored outputs of its cells."""
        return [output for cell, _ in self.pieces for output in cell.get("outputs", ())]

    @property
    def weight(self) -> int:
        """How long it takes, in words of prose."""
        words = PREDICTION_WEIGHT * self.predictions
        for cell, source in self.pieces:
            count = len(source.split())
            words += CELL_WEIGHT + CODE_WEIGHT * count if cell.cell_type == "code" else count
        return words


@dataclass(frozen=True)
class Lesson:
    """A lesson; made by `read`. title_text: its first cell, below the title. minutes: as that cell states them."""

    path: Path
    notebook: NotebookNode
    title: str
    title_text: str
    sections: tuple[Section, ...]

    @property
    def number(self) -> str:
        """Its number, such as `"03"`."""
        return self.path.stem.partition("_")[0]

    @property
    def minutes(self) -> int:
        """The minutes that the lesson states; 0 if it states none."""
        return self._stated[0]

    @property
    def least(self) -> int:
        """The minutes of what is not optional."""
        return sum(each.minutes for each in self.sections if not each.optional)

    @property
    def _stated(self) -> tuple[int, int]:
        """All minutes, and those without the optional sections; 0 where nothing is said."""
        found = _MINUTES.search(self.title_text)
        return (int(found[1]), int(found[2] or 0)) if found else (0, 0)

    @property
    def before(self) -> str:
        """What the lesson says beside its minutes: what one has done before, which sections are optional."""
        return plain(_MINUTES.sub("", self.title_text.partition("\n\n")[0], count=1))

    @property
    def objectives(self) -> list[str]:
        """What the learner can do afterwards."""
        _, _, after = self.title_text.partition("Afterwards you can")
        return [plain(line[2:].rstrip(",.")) for line in after.split("\n") if line.startswith("- ")]

    @property
    def not_here(self) -> str:
        """What is out of scope."""
        found = re.search(r"Not here: (.+)", self.title_text)
        return plain(found[1]) if found else ""

    @property
    def sources(self) -> list[str]:
        """The code of each cell."""
        return [cell.source for cell in self.notebook.cells if cell.cell_type == "code"]

    @property
    def programs(self) -> list[str]:
        """The programs without which cells show their stored outputs, or a substitute does the work."""
        wanted = [source.partition("\n")[0].split()[1:] for source in self.sources if source.startswith("%%needs")]
        redis = [["redis-server"]] if any("RedisServer(" in source for source in self.sources) else []
        return list(dict.fromkeys(name for names in wanted + redis for name in names))

    @property
    def pages(self) -> list[str]:
        """The sections, by number or title, in which a page is shown in the browser."""
        shown = [
            [output for output in section.outputs if "<iframe" in output.get("data", {}).get("text/html", "")]
            for section in self.sections
        ]
        return [each.number or each.title for each, found in zip(self.sections, shown, strict=True) if found]

    @property
    def failures(self) -> list[tuple[Section, str]]:
        """Each cell that fails on purpose: its section, and the name of its error."""
        return [
            (section, next((out.ename for out in cell.outputs if out.output_type == "error"), "an error"))
            for section in self.sections
            for cell, _ in section.pieces
            if "raises-exception" in cell.metadata.get("tags", ())
        ]

    @property
    def red(self) -> list[str]:
        """The sections, by number or title, in which something is printed in red, such as a crash on the server."""
        red = [any(output.get("name") == "stderr" for output in each.outputs) for each in self.sections]
        return [each.number or each.title for each, found in zip(self.sections, red, strict=True) if found]


def read(path: Path) -> Lesson:
    """The lesson, or the exercises, in that file. Raises LessonError if it cannot be read."""
    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        title, text = split(notebook.cells[0].source, 1)[0]
    except (OSError, ValueError, IndexError, AttributeError, nbformat.ValidationError) as error:
        raise LessonError(
            f"expected a notebook with a title in {path}, found {type(error).__name__}: {error}; restore it from "
            "version control"
        ) from error
    number = path.stem.partition("_")[0]
    title = title if title.startswith(number) else f"{number} · {title}"
    lesson = Lesson(path, notebook, title, text, tuple(_sections(notebook)))
    _share_out(lesson)
    return lesson


def _sections(notebook: NotebookNode) -> Iterator[Section]:
    """The sections in order; what stands between the title and the first heading belongs to the first one."""
    section = Section("", [])
    for cell in notebook.cells[1:]:
        parts = split(cell.source, 2) if cell.cell_type == "markdown" else [("", cell.source)]
        for title, source in parts:
            if title and section.title:
                yield section
                section = Section(title, [])
            section.title = title or section.title
            section.pieces.append((cell, source))
    yield section


def _share_out(lesson: Lesson) -> None:
    """Give each section its minutes; together they are those that the lesson states."""
    all_minutes, without = lesson._stated
    optional = [each for each in lesson.sections if each.optional]
    if without and optional:
        _divide(all_minutes - without, optional)
        _divide(without, [each for each in lesson.sections if not each.optional])
    else:
        _divide(all_minutes, lesson.sections)


def _divide(minutes: int, sections: Sequence[Section]) -> None:
    """Whole minutes, in the measure of the weights: the largest remainders get those that are left."""
    whole = sum(section.weight for section in sections) or 1
    shares = [minutes * section.weight / whole for section in sections]
    for section, share in zip(sections, shares, strict=True):
        section.minutes = int(share)
    left = minutes - sum(map(int, shares)) if sections else 0
    for section, share in sorted(zip(sections, shares, strict=True), key=lambda pair: int(pair[1]) - pair[1])[:left]:
        section.minutes = int(share) + 1


def find(wanted: Sequence[str], folder: Path) -> list[Path]:
    """The files of these lessons (`"03"`, `"3"` or `"03_consumers"`), or of all; raises LessonError."""
    files = {path.stem: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    if not files:
        raise LessonError(
            f"expected lessons in {folder}, found none; they come with the course's folder, not with an installed "
            "package: run it there"
        )
    unknown = [each for each in wanted if not _match(each, files)]
    if unknown:
        raise LessonError(
            f"expected the number of a lesson, found {unknown[0]!r}; they are {', '.join(stem[:2] for stem in files)}"
        )
    return [files[_match(each, files)] for each in wanted or files]


def _match(wanted: str, stems: Iterable[str]) -> str:
    """The stem of the lesson that is meant, or an empty string."""
    return next((stem for stem in stems if wanted == stem or wanted.zfill(2) == stem[:2]), "")
