"""A lesson as an instructor looks at it: what is told of it stands in its cells."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from labserver.course.teach_lesson import COURSE, LessonError, Section, find, headings, plain, read, split
from labserver.errors import LabError

TITLE = """# 03 · Tea: how to make it

**{minutes} You have done [02 · Water](02_water.ipynb).

Afterwards you can

- boil *water*,
- pour it.

Not here: [coffee](04_coffee.ipynb), or milk.
"""


@pytest.fixture
def lesson(tmp_path):
    """Make a lesson of these cells, below a title with these minutes, and read it."""

    def make(*cells, minutes="10 minutes.**"):
        path = tmp_path / "03_tea.ipynb"
        title = new_markdown_cell(TITLE.format(minutes=minutes))
        nbformat.write(new_notebook(cells=[title, *cells]), path)
        return read(path)

    return make


def test_headings_in_code_are_none():
    """A line with # in a fence is no heading; neither is a deeper one than asked for."""
    text = "## One\n```\n# comment\n```\n### Two\n#### Three"
    assert list(headings(text, 3)) == [(0, 2, "One"), (4, 3, "Two")]
    assert list(headings(text, 2)) == [(0, 2, "One")]


def test_a_text_is_split_at_its_headings():
    """What stands above the first heading is a part without one; empty parts without a heading are left out."""
    assert split("above\n\n## One\ntext\n## Two", 2) == [("", "above"), ("One", "text"), ("Two", "")]
    assert split("## One", 2) == [("One", "")]


def test_links_become_words():
    """Only the words of a link are left."""
    assert plain("see [the docs](https://example.org) and [04](04_x.ipynb).") == "see the docs and 04."


def test_what_the_title_says(lesson):
    """Number, title, minutes, what comes before, objectives and what is out of scope are those of the first cell."""
    tea = lesson()
    assert (tea.number, tea.title, tea.minutes) == ("03", "03 · Tea: how to make it", 10)
    assert tea.before == "You have done 02 · Water."
    assert tea.objectives == ["boil *water*", "pour it"]
    assert tea.not_here == "coffee, or milk."


def test_a_title_may_say_less(tmp_path):
    """Where minutes or scope are not stated, nothing is made up."""
    path = tmp_path / "03_tea.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Tea")]), path)
    tea = read(path)
    assert tea.title == "03 · Tea"
    assert (tea.minutes, tea.before, tea.objectives, tea.not_here) == (0, "", [], "")


def test_a_cell_may_end_one_section_and_begin_the_next(lesson):
    """A section is all that stands between two headings, in whichever cells; the setup belongs to the first one."""
    setup, run = new_code_cell("setup"), new_code_cell("run")
    tea = lesson(setup, new_markdown_cell("## 1. Boil\nhow"), run, new_markdown_cell("done\n## Pour (optional)\nnow"))
    first, second = tea.sections
    assert (first.title, first.number, first.optional) == ("1. Boil", "1", False)
    assert [source for _, source in first.pieces] == ["setup", "how", "run", "done"]
    assert (second.title, second.number, second.optional) == ("Pour (optional)", "", True)
    assert [source for _, source in second.pieces] == ["now"]


def test_the_minutes_of_the_sections_are_those_of_the_lesson(lesson):
    """A prediction, a cell and code take longer than prose; together it is what the lesson states."""
    cells = [
        new_markdown_cell("## 1. Prose\n" + "word " * 30),
        new_markdown_cell("## 2. Asked\n*Predict first:* " + "word " * 28),
        new_markdown_cell("## 3. Code"),
        new_code_cell("word " * 30),
    ]
    tea = lesson(*cells)
    assert [section.weight for section in tea.sections] == [30, 70, 80]
    assert [section.predictions for section in tea.sections] == [0, 1, 0]
    assert [section.minutes for section in tea.sections] == [2, 4, 4]


def test_optional_sections_have_the_minutes_that_are_stated_for_them(lesson):
    """Where a lesson says how long it takes without them, the rest is theirs."""
    cells = [new_markdown_cell("## 1. Boil\n" + "word " * 10), new_markdown_cell("## 2. Pour (optional)\nword")]
    tea = lesson(*cells, minutes="10 minutes**, 3 without the optional section.")
    assert [section.minutes for section in tea.sections] == [3, 7] and (tea.minutes, tea.least) == (10, 3)
    assert tea.before == "3 without the optional section. You have done 02 · Water."
    assert [section.minutes for section in lesson(cells[0], minutes="10 minutes**, 3 without it.").sections] == [10]


def test_what_a_lesson_needs(lesson):
    """Programs are those that cells say they need, each once, and Redis; pages are told by their section."""
    frame = new_output("execute_result", {"text/html": '<iframe src="x"></iframe>', "text/plain": "the page"})
    cells = [
        new_code_cell("%%needs nginx gunicorn\nrun"),
        new_markdown_cell("## 1. Boil"),
        new_code_cell("%%needs nginx"),
        new_markdown_cell("## 2. Pour"),
        new_code_cell("with RedisServer() as redis: ...", outputs=[frame]),
    ]
    tea = lesson(*cells)
    assert (tea.programs, tea.pages) == (["nginx", "gunicorn", "redis-server"], ["2"])
    assert (lesson().programs, lesson().pages) == ([], [])


def test_what_fails_on_purpose(lesson):
    """Tagged cells are told with their error, and sections that print in red."""
    failing = new_code_cell("1 / 0", outputs=[new_output("error", ename="ZeroDivisionError", evalue="", traceback=[])])
    failing.metadata.tags = ["raises-exception"]
    never_run = new_code_cell("?", metadata={"tags": ["raises-exception"]})
    red = new_code_cell("warn()", outputs=[new_output("stream", name="stderr", text="hot")])
    tea = lesson(new_markdown_cell("## 1. Boil"), failing, never_run, new_markdown_cell("## Pour"), red)
    assert [(section.title, name) for section, name in tea.failures] == [
        ("1. Boil", "ZeroDivisionError"),
        ("1. Boil", "an error"),
    ]
    assert tea.red == ["Pour"]


@pytest.mark.parametrize("content", ["{", '{"cells": []}', None])
def test_what_is_no_lesson_is_told(tmp_path, content):
    """A file that is broken, empty or missing is named, with the way out."""
    path = tmp_path / "03_tea.ipynb"
    if content:
        path.write_text(content)
    with pytest.raises(
        LessonError, match=r"expected a notebook with a title in .*03_tea.ipynb, found .*version control"
    ):
        read(path)
    assert issubclass(LessonError, LabError) and issubclass(LessonError, ValueError)


def test_a_notebook_without_a_text_at_its_top_is_no_lesson(tmp_path):
    """The first cell has to have something in it."""
    path = tmp_path / "03_tea.ipynb"
    for cells in ([], [new_markdown_cell("")]):
        nbformat.write(new_notebook(cells=cells), path)
        with pytest.raises(LessonError, match="found IndexError"):
            read(path)


def test_lessons_are_found_by_number_or_name():
    """`03`, `3` and the name of the file are the same lesson; nothing means all of them, in order."""
    folder = COURSE / "notebooks"
    for wanted in ("03", "3", "03_consumers"):
        assert find([wanted], folder) == [folder / "03_consumers.ipynb"]
    assert [path.stem for path in find(["5", "0"], folder)] == ["05_groups", "00_start_here"]
    assert find([], folder) == sorted(folder.glob("*.ipynb")) != []


def test_an_unknown_lesson_is_told_with_those_that_are_there(tmp_path):
    """The error names what was asked for, and what can be; where there is no course, it says where to look."""
    with pytest.raises(LessonError, match="expected the number of a lesson, found '77'; they are 00, 01, 02"):
        find(["03", "77"], COURSE / "notebooks")
    with pytest.raises(LessonError, match="expected lessons in .*, found none; they come with the course's folder"):
        find([], tmp_path)


def test_every_lesson_of_the_course_says_what_an_instructor_needs():
    """Each has objectives, a scope, what comes before, minutes that add up, and questions."""
    for path in find([], COURSE / "notebooks"):
        each = read(path)
        assert each.objectives and each.not_here and each.before.endswith("."), path.name
        assert not each.before.startswith((".", ",", " ", "*")), path.name
        assert sum(section.minutes for section in each.sections) == each.minutes >= 20, path.name
        assert all(section.title and section.minutes for section in each.sections), path.name
        assert sum(section.predictions for section in each.sections) >= 3, path.name


def test_a_section_without_anything_weighs_nothing():
    """No cell, no minutes."""
    assert (Section("1. Tea", []).weight, Section("1. Tea", []).outputs) == (0, [])
