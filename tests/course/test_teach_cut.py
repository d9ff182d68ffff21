"""A lesson that ends early: what comes later is gone, and what remains is a whole notebook."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from labserver.course.teach_cut import END, cut
from labserver.course.teach_lesson import COURSE, LessonError, find, headings, read
from labserver.validation.lint import lint

LESSONS = find([], COURSE / "notebooks")


def parted(path, until, out):
    """The copy, as a notebook."""
    return nbformat.reads(cut(path, until, out)[1], as_version=4)


@pytest.fixture
def lesson(tmp_path):
    """Make a course of one lesson, with these cells, and cut it after section 1; returns the copy's cells."""

    def make(*cells, until="1", folder="notebooks"):
        path = tmp_path / "notebooks" / "03_tea.ipynb"
        written = tmp_path / folder / path.name
        written.parent.mkdir(exist_ok=True)
        nbformat.write(new_notebook(cells=[new_markdown_cell("# Tea"), *cells]), written)
        return parted(path, until, tmp_path / "out").cells

    return make


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_part_of_a_lesson_is_a_whole_notebook(path, tmp_path):
    """It stops the server, its counts are in order, its links lead somewhere, and nothing that comes later is in it."""
    sections = read(path).sections
    original = path.read_bytes()
    for number in (0, len(sections) // 2, len(sections) - 2):
        target, text = cut(path, sections[number].title, tmp_path)
        target.parent.mkdir(exist_ok=True)
        notebook = nbformat.reads(text, as_version=4)
        assert lint(notebook, target) == [], target.name
        assert notebook.cells[-2].source == END and "server.stop()" in notebook.cells[-1].source
        kept = {cell.id for cell in notebook.cells[:-1]}
        earlier, later = (
            {cell.id for each in part for cell, _ in each.pieces[1:]} for part in halves(sections, number)
        )
        assert earlier <= kept and not later & kept
        titles = [
            title for cell in notebook.cells if cell.cell_type == "markdown" for _, _, title in headings(cell.source, 2)
        ]
        assert titles[-2] == sections[number].title
    assert path.read_bytes() == original


def halves(sections, number):
    """The sections up to that one, and the others."""
    return sections[: number + 1], sections[number + 1 :]


def test_a_section_is_named_by_number_or_words(tmp_path):
    """`4` and words of its title mean the same section; the file's name has the number, or else the words."""
    by_number, by_words = (cut(LESSONS[3], until, tmp_path) for until in ("4", "who WAITS"))
    assert by_number == by_words and by_number[0] == tmp_path / "notebooks" / "03_consumers_until_4.ipynb"
    assert cut(LESSONS[2], "What is missing", tmp_path)[0].name == "02_plain_django_until_what-is-missing.ipynb"


def test_the_text_above_the_next_heading_stays(lesson):
    """A cell that ends one section and begins the next is cut in two; one that only begins it is gone."""
    cells = lesson(
        new_markdown_cell("## 1. Boil"), new_markdown_cell("hot.\n\n## 2. Pour\nnow"), new_code_cell("pour()")
    )
    assert [cell.source for cell in cells[1:]] == ["## 1. Boil", "hot.", END]
    cells = lesson(new_markdown_cell("## 1. Boil\n```\n## 2. Pour\n```"), new_markdown_cell("## 2. Pour\nnow"))
    assert [cell.source for cell in cells[1:]] == ["## 1. Boil\n```\n## 2. Pour\n```", END]


def test_a_part_says_what_it_is(tmp_path):
    """Below the title, which still has the minutes and the promises of the whole: where it ends, and after how long."""
    lesson = read(LESSONS[3])
    minutes = sum(each.minutes for each in lesson.sections[:4])
    title, _, said, rest = parted(LESSONS[3], "4", tmp_path).cells[0].source.split("\n", 3)
    assert f"# {title[2:]}" == title and said.startswith(f"> This part ends with *{lesson.sections[3].title}*, after ")
    assert f"after about {minutes} of the 40 minutes. " in said and "**40 minutes.**" in rest
    said = parted(LESSONS[3], "03.2", tmp_path).cells[0].source.split("\n")[2]
    assert said.startswith("> This part ends with *03.2") and "after about" not in said


def test_what_only_later_sections_start_is_not_stopped(lesson):
    """Of the last cell those lines stay whose names are there; imports of the cell's own are names too."""
    stop = (
        "from cups import wash\n\nserver.stop()\nredis.stop()\n"
        "await gather(*(each.stop() for each in pots))  # all\n\nwash(tea, print)\n"
    )
    cells = lesson(
        new_code_cell("%%needs kettle\nfrom a import gather\npots = [1]\ntea = await boil()\nclass Cup: server = 0"),
        new_markdown_cell("## 1. Boil"),
        new_code_cell("def f(redis): ...\n%load_ext labserver\nserver = 1"),
        new_code_cell("redis = = wrong on purpose"),
        new_markdown_cell("## 2. Pour"),
        new_code_cell("redis = 1; redis.stop()"),
        new_code_cell(stop, id="stop"),
        new_markdown_cell("that was server.stop()"),
    )
    expected = "from cups import wash\n\nserver.stop()\nawait gather(*(each.stop() for each in pots))  # all"
    assert (cells[-1].id, cells[-1].source) == ("stop", f"{expected}\n\nwash(tea, print)")
    assert cells[-1].execution_count is None


def test_a_part_that_starts_nothing_stops_nothing(lesson):
    """Where no line of the last cell has anything to do, there is no such cell; nor where a notebook has none."""
    head = [new_markdown_cell("## 1. Boil"), new_markdown_cell("## 2. Pour")]
    assert lesson(*head, new_code_cell("server.stop()"))[-1].source == END
    assert lesson(*head)[-1].source == END


def test_links_that_lead_nowhere_become_words(lesson, tmp_path):
    """Beside the copy other lessons may be missing; those that are there, and addresses, stay links."""
    there = tmp_path / "out" / "notebooks" / "02_milk.ipynb"
    there.parent.mkdir(parents=True)
    there.touch()
    text = "[a](01_a.ipynb#x) ![b](b.svg) [c](02_milk.ipynb#y) [d](https://example.org/d) [e](#f)"
    cells = lesson(
        new_markdown_cell(text), new_code_cell("'[a](b.txt)'"), *map(new_markdown_cell, ("## 1. A", "## 2. B"))
    )
    assert cells[1].source == "a b [c](02_milk.ipynb#y) [d](https://example.org/d) [e](#f)"
    assert cells[2].source == "'[a](b.txt)'"


def test_exercises_are_cut_by_their_id(lesson):
    """`03.1` ends the exercises after that one; the file goes to the exercises' folder."""
    exercises = [new_markdown_cell(f"## 03.{number} Cup ({number} minutes)") for number in (1, 2)]
    cells = lesson(*exercises, until="03.1", folder="exercises")
    assert [cell.source for cell in cells[1:]] == ["## 03.1 Cup (1 minutes)", END]
    target, text = cut(LESSONS[3], "03.2", Path("out"))
    assert target == Path("out/exercises/03_consumers_until_03.2.ipynb")
    assert 'check("03.2", Names)' in text.replace("\\", "") and "03.3" not in text


@pytest.mark.parametrize(
    ("until", "found"),
    [
        ("13", "found none; name one by its number, or by words of its title: 1. One method for each event; 2. "),
        (" ", "expected one section of 03_consumers.ipynb for ' ', found none"),
        ("the", "found several: "),
        ("What you know now", "the last of 03_consumers.ipynb; hand out the file itself"),
        ("03.9", "expected one section of 03_consumers.ipynb for '03.9', found none; .*: 03.1 Slow work"),
    ],
)
def test_an_unknown_section_is_told_with_those_that_are_there(until, found, tmp_path):
    """The error says what was expected, what there is, and what to do."""
    with pytest.raises(LessonError, match=found):
        cut(LESSONS[3], until, tmp_path)
