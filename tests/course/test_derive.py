"""Exercises derived from solutions: what is taken out, what stays, and what is refused."""

import os
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat import NotebookNode, v4

from labserver.course import derive as room
from labserver.course.derive import check, derive, run, text, write
from labserver.errors import ExerciseError

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = "...  # your code here"
ANSWER = "await self.send(text_data)"


def code(source: str, name: str = "code", **metadata) -> NotebookNode:
    """A code cell that was run."""
    output = v4.new_output("stream", text="the answer is 42\n")
    return v4.new_code_cell(source, id=name, metadata=metadata, outputs=[output], execution_count=7)


def markdown(source: str, name: str = "text", **fields) -> NotebookNode:
    """A cell of text."""
    return v4.new_markdown_cell(source, id=name, **fields)


def book(*cells: NotebookNode, **metadata) -> NotebookNode:
    """A notebook of these cells."""
    return v4.new_notebook(cells=list(cells), metadata=metadata)


def derived(*cells: NotebookNode) -> list[str]:
    """The sources of the cells as the learner gets them."""
    return [cell.source for cell in derive(book(*cells), "s.ipynb").cells]


def lines(*parts: str) -> str:
    """The parts as lines."""
    return "\n".join(parts)


SOLUTION = lines("def f():", f"    {BEGIN}: send it back", f"    {ANSWER}", f"    {END}", "f()")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The two folders, with one solution in the first, and the current folder around them."""
    monkeypatch.chdir(tmp_path)
    Path("solutions").mkdir()
    nbformat.write(book(code("async " + SOLUTION, "one")), "solutions/00.ipynb")
    return Path("solutions"), Path("exercises")


@pytest.mark.parametrize(
    ("begin", "stub"),
    [
        (BEGIN, STUB),
        (f"{BEGIN}: two lines, {{}} and all ", f"{STUB}: two lines, {{}} and all"),
        (f"{BEGIN}:", STUB),
        ("###  begin   solution : mind the case", f"{STUB}: mind the case"),
        ("###BEGIN SOLUTION\t", STUB),
    ],
)
def test_a_region_becomes_a_stub_with_its_hint(begin, stub):
    """A marked region in code becomes one line at the marker's indentation, with the hint if there is one."""
    source = lines("def f():", f"    {begin}", "    x = 1", "", f"  {END}", "f()")
    assert derived(code(source)) == [lines("def f():", f"    {stub}", "f()")]


def test_the_starter_runs():
    """The stub is a statement wherever one may stand, under a `def` and after a line that IPython reads as a prompt."""
    source = lines("x = 1", BEGIN, "x = 2", END, "def f():", f"    {BEGIN}", "    return 3", f"    {END}", "y = f()")
    [starter] = derived(code(source))
    names = {}
    exec(starter, names)
    assert (names["x"], names["y"]) == (1, None)


@pytest.mark.parametrize("cell", [markdown, lambda source: v4.new_raw_cell(source, id="raw")])
def test_a_region_of_text_becomes_a_place_to_answer(cell):
    """A marked region in a cell of text asks for the learner's own words, and shows the hint."""
    source = "Why?\n<!-- BEGIN SOLUTION{} -->\nBecause.\n<!--END SOLUTION-->\nNext."
    assert derived(cell(source.format(""))) == ["Why?\n*Your answer here.*\nNext."]
    assert derived(cell(source.format(": see 1006"))) == ["Why?\n*Your answer here: see 1006*\nNext."]


@pytest.mark.parametrize(
    ("cell", "line", "told"),
    [
        (code(lines(BEGIN, "x", BEGIN, END)), 3, "expected END SOLUTION for line 1, found another BEGIN SOLUTION"),
        (code(lines("x", END)), 2, "expected BEGIN SOLUTION above, found END SOLUTION alone"),
        (code(lines("x", BEGIN, "y")), 2, "expected END SOLUTION below BEGIN SOLUTION, found the end of the cell"),
        (markdown("<!-- END SOLUTION -->", "code"), 1, "expected BEGIN SOLUTION above, found END SOLUTION alone"),
    ],
)
def test_markers_come_in_pairs(cell, line, told):
    """A nested, lonely or unclosed marker is refused with file, cell and line."""
    with pytest.raises(ExerciseError) as error:
        derived(cell)
    assert str(error.value).startswith(f"s.ipynb, cell code, line {line}: {told}; ")


@pytest.mark.parametrize(
    "marker",
    [
        "# BEGIN SOLUTION",
        "#### BEGIN SOLUTION",
        "### BEGIN SOLUTIONS",
        "### BEGIN SOLUTION the hint without a colon",
        "### END SOLUTION: done",
        "### BEGN SOLUTON",
        "### begin-solution",
        "### Begin: Solution",
        "x = 1  ### END SOLUTION",
        'x = "BEGIN SOLUTION"',
        "<!-- BEGIN SOLUTION -->",
        "BEGIN_SOLUTION",
        "\u2028### END SOLUTION x",
        "### BEGIN SOLUTION: from here to END SOLUTION",
    ],
)
def test_a_misspelt_marker_is_refused(marker):
    """What looks like a marker and is none never passes for text, inside a region or outside."""
    for source, line in ((lines("", marker), 2), (lines(BEGIN, "x", marker, END), 3)):
        with pytest.raises(ExerciseError) as error:
            derived(code(source))
        assert str(error.value).startswith(f"s.ipynb, cell code, line {line}: expected ")


def test_the_refusal_shows_the_spelling():
    """The error for a misspelt marker shows the markers of that type of cell."""
    with pytest.raises(ExerciseError, match="expected `### BEGIN SOLUTION` or `### END SOLUTION` alone on a line"):
        derived(code("# BEGIN SOLUTION"))
    with pytest.raises(ExerciseError, match="expected `<!-- BEGIN SOLUTION -->` or `<!-- END SOLUTION -->` alone"):
        derived(markdown(BEGIN))


@pytest.mark.parametrize("line", ["# The solution", "# In the end, a solution", "x = 1  # Begin", "# begin here", "#"])
def test_ordinary_comments_are_left_alone(line):
    """A comment that has one of the words, or both far apart, is no marker."""
    assert derived(code(line)) == [line]


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (lines("", "", "@log", BEGIN, "def f(): pass", END), 4),
        (lines("def f():", BEGIN, "    pass", END), 2),
        (lines(BEGIN, "x = (", END, "1)", "y"), 4),
        (lines(BEGIN, "def f():", END, "    return 1"), 4),
        (lines(BEGIN, "for x in y:", END, "break"), 4),
    ],
)
def test_a_starter_that_does_not_parse_is_refused(source, line):
    """A region that is not whole statements is an error at the solution's own line."""
    with pytest.raises(ExerciseError, match=f"s.ipynb, cell code, line {line}: expected the cell to parse"):
        derived(code(source))


def test_a_null_byte_is_refused():
    """Every version of Python refuses a null byte, each in its own way."""
    with pytest.raises(ExerciseError, match="s.ipynb, cell code, line 1: expected the cell to parse"):
        derived(code(lines("x\0", BEGIN, END)))


@pytest.mark.parametrize(
    "given", ["await thing()", "%time f()", "!ls", "files = !ls", "str?", "x = '\\d'", "async with a as b: pass"]
)
def test_what_a_kernel_takes_is_taken(given):
    """Top-level `await`, magics and questions parse, and a careless escape is no error."""
    assert derived(code(lines(given, BEGIN, "y", END))) == [lines(given, STUB)]


def test_a_cell_of_a_magic_is_taken():
    """What stands under a cell magic need not be Python."""
    assert derived(code(lines("%%bash", "if true; then", BEGIN, "ls", END, "fi")))[0].startswith("%%bash\nif true")


def test_a_cell_without_a_region_may_be_broken():
    """A cell that shows a syntax error on purpose stays as it is."""
    assert derived(code("def f(:")) == ["def f(:"]


@pytest.mark.parametrize("cell", [markdown(f"Write\n`{ANSWER}`.", "two"), code(f"x\n    {ANSWER}  # so", "two")])
def test_an_answer_in_another_cell_is_refused(cell):
    """A line of a solution that another cell gives away is an error that names both places."""
    with pytest.raises(ExerciseError) as error:
        derived(cell, code("async " + SOLUTION))
    expected = (
        f"s.ipynb, cell two, line 2: expected no answer outside its region, found `{ANSWER}` of cell code, line 3;"
    )
    assert str(error.value).startswith(expected)


def test_one_line_of_several_is_no_answer():
    """What a region shares with other programs may stand there; the whole of it may not."""
    region = code(lines(BEGIN, "event = await receive()", "print(event['text'])", END), "one")
    shared = code(lines("event = await receive()", "return event"), "two")
    whole = code(lines("event = await receive()", "x = 1", "print(event['text'])"), "three")
    assert derived(region, shared)[1] == shared.source
    with pytest.raises(ExerciseError, match="cell three, line 1: expected no answer outside its region"):
        derive(book(region, shared, whole), "s.ipynb")


def test_what_is_no_answer_may_stand_anywhere():
    """Short lines, comments, the region's own cell and other regions give nothing away."""
    hidden = ["return 123", "# a comment that is long enough", "    ", "shared = compute()"]
    given = lines("shared = compute()", BEGIN, *hidden, END)
    [first, second, third] = derived(
        code(lines(BEGIN, "other = compute()", END), "one"),
        markdown("return 123\n# a comment that is long enough", "two"),
        code(lines("if 1:", *(f"    {line}" for line in given.split("\n")), f"{BEGIN}", "other = compute()", END)),
    )
    assert (first, second.count("\n"), third.count(STUB)) == (STUB, 1, 2)


def test_a_heading_in_a_solution_of_text_is_an_answer():
    """In a cell of text a line that begins with # is no comment."""
    with pytest.raises(ExerciseError, match="found `# The reason why` of cell one, line 2"):
        derived(
            markdown("<!-- BEGIN SOLUTION -->\n# The reason why\n<!-- END SOLUTION -->", "one"),
            code("# The reason why"),
        )


def test_only_what_an_author_wrote_stays():
    """Ids and tags stay; outputs, counts and what front ends remember go."""
    kernelspec = {"name": "python3", "display_name": "Python 3"}
    cell = code(
        "x",
        "keep-me",
        tags=["a"],
        reason="the clock",
        execution={"shell.reply": "2026"},
        ExecuteTime={},
        collapsed=True,
    )
    found = derive(
        book(cell, kernelspec=kernelspec, language_info={"name": "python", "version": "3.11.7"}, widgets={}), "s.ipynb"
    )
    assert found == {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": kernelspec, "language_info": {"name": "python"}},
        "cells": [
            {
                "cell_type": "code",
                "id": "keep-me",
                "metadata": {"tags": ["a"], "reason": "the clock"},
                "source": "x",
                "outputs": [],
                "execution_count": None,
            }
        ],
    }
    nbformat.validate(found)
    assert derive(book(), "s.ipynb").metadata == {}


def test_pictures_of_a_solution_go_with_it():
    """An attachment stays if the text that is left shows it."""
    pictures = {name: {"image/png": "AA=="} for name in ("why.png", "my answer.png", "a b.png")}
    source = (
        "![](attachment:why.png) ![](attachment:a%20b.png)\n<!-- BEGIN SOLUTION -->\n![](attachment:my%20answer.png)"
    )
    given = derive(book(markdown(source + "\n<!-- END SOLUTION -->", attachments=pictures)), "s.ipynb").cells[0]
    assert set(given.attachments) == {"why.png", "a b.png"}
    assert "attachments" not in derive(book(markdown("none", attachments=pictures)), "s.ipynb").cells[0]


def test_a_cell_without_an_id_gets_a_stable_one():
    """A notebook of format 4.4 becomes one of 4.5, the same each time."""
    old = v4.new_notebook(nbformat_minor=4, cells=[NotebookNode(cell_type="raw", metadata=NotebookNode(), source="x")])
    first, second = derive(old, "s.ipynb"), derive(old, "s.ipynb")
    assert first == second and len(first.cells[0].id) == 8 and "id" not in old.cells[0]
    nbformat.validate(first)


def test_the_solution_is_left_alone():
    """Deriving changes nothing in the notebook it is given, nor later through the result."""
    solution = book(code("x", tags=["a"]))
    derive(solution, "s.ipynb").cells[0].metadata.tags.append("b")
    assert solution == book(code("x", tags=["a"]))


NAMES = st.from_regex(r"[a-z]{12,20}", fullmatch=True)


@given(hidden=st.lists(NAMES, min_size=1), shown=st.lists(NAMES), hint=NAMES, depth=st.integers(0, 3))
def test_no_line_of_a_region_survives(hidden, shown, hint, depth):
    """Nothing from inside a region is in the exercise, and deriving the exercise again changes nothing."""
    hidden = [f"secret_{name}" for name in hidden]
    region = [f"{'    ' * depth}{line}" for line in (f"{BEGIN}: {hint}", *hidden, END)]
    heads = [f"{'    ' * level}if {level}:" for level in range(depth)]
    exercise = derive(book(code(lines(*shown, *heads, *region), "a"), code(lines(*shown), "b")), "s.ipynb")
    given_text = v4.writes(exercise)
    assert "secret_" not in given_text and "SOLUTION" not in given_text
    assert exercise.cells[1].source == lines(*shown)
    assert derive(exercise, "s.ipynb") == exercise


@given(
    source=st.lists(st.sampled_from([BEGIN, END, "    x", "x = 1", "", "# end", "\r", "é\u2028\x0c"])).map("\n".join)
)
def test_deriving_twice_is_deriving_once(source):
    """Whatever is accepted is derived once and for all; all else is refused with a place and a next step."""
    try:
        once = derive(book(code(source)), "s.ipynb")
    except ExerciseError as error:
        assert str(error).startswith("s.ipynb, cell code, line ") and "expected" in str(error) and "; " in str(error)
    else:
        assert derive(once, "s.ipynb") == once and "\r" not in once.cells[0].source


def test_the_text_of_a_file_is_the_same_on_every_platform(tmp_path):
    """The file is UTF-8 with \\n and a last line end, whatever ends the solution's lines have."""
    path = tmp_path / "s.ipynb"
    path.write_bytes(v4.writes(book(code("é = 1\r\ny"))).replace("\n", "\r\n").encode())
    assert "é = 1\\n" in text(path) and text(path).endswith("}\n") and "\r" not in text(path)
    path.write_bytes(text(path).encode())
    assert text(path).encode() == path.read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff",
        b"[]",
        b"3",
        b'{"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "cells": []}',
        b'{"nbformat": 4}',
        rb'{"nbformat": 4, "cells": ["\ud800"]}',
        None,
    ],
)
def test_a_file_that_is_no_notebook_is_refused(tmp_path, monkeypatch, content):
    """A missing, broken or foreign file is told by its name."""
    monkeypatch.chdir(tmp_path)
    if content:
        Path("s.ipynb").write_bytes(content)
    with pytest.raises(
        ExerciseError, match=r"expected a notebook in JSON \(nbformat 4\) in s.ipynb, found .*; restore"
    ):
        text(Path("s.ipynb"))


def test_what_is_missing_or_stale_is_written(folders):
    """Writing makes the folder and the file, then mends a stale one, and says what changed."""
    solutions, exercises = folders
    exercise = exercises / "00.ipynb"
    assert [problem.partition(", found ")[2] for problem in check(*folders)] == [
        "none; run `labserver exercises --write`"
    ]
    assert write(*folders) == [exercise]
    assert exercise.read_bytes() == text(solutions / "00.ipynb").encode()
    assert (write(*folders), check(*folders)) == ([], [])
    exercise.write_bytes(exercise.read_bytes() + b"\n")
    assert check(*folders) == [
        "expected exercises/00.ipynb to be derived from solutions/00.ipynb, found a stale one; "
        "run `labserver exercises --write`"
    ]
    assert write(*folders) == [exercise]
    assert os.listdir(exercises) == ["00.ipynb"]


def test_orphans_and_broken_solutions_keep_nothing_else_back(folders):
    """An orphan stays and a broken solution writes nothing, both are told, and the other exercises are written."""
    solutions, exercises = folders
    exercises.mkdir()
    (exercises / "01.ipynb").touch()
    (exercises / "README.md").touch()
    nbformat.write(book(code(END, "two")), solutions / "02.ipynb")
    (solutions / ".hidden.ipynb").touch()
    with pytest.raises(ExerciseError) as error:
        write(*folders)
    orphan, broken = str(error.value).splitlines()
    assert orphan == (
        "expected exercises/01.ipynb to be derived from solutions/01.ipynb, found no such solution; "
        "write it, or delete the exercise"
    )
    assert broken.startswith("solutions/02.ipynb, cell two, line 1: ")
    assert check(*folders) == [orphan, broken]
    assert sorted(os.listdir(exercises)) == ["00.ipynb", "01.ipynb", "README.md"]


def test_a_file_is_never_half_written(folders, monkeypatch):
    """If the last step fails, the exercise is as it was and nothing lies about."""

    def refuse(source, target):
        raise PermissionError(13, "Permission denied")

    write(*folders)
    exercise = folders[1] / "00.ipynb"
    exercise.write_text("old")
    monkeypatch.setattr(room.os, "replace", refuse)
    with pytest.raises(
        ExerciseError, match="write exercises/00.ipynb, found PermissionError: Permission denied; see to"
    ):
        write(*folders)
    assert (os.listdir(folders[1]), exercise.read_text()) == (["00.ipynb"], "old")


def test_the_command_prints_a_line_for_each_file(folders, capsys):
    """Checking tells and writes nothing, writing mends, and the exit status says whether something is wrong."""
    assert run(False) == 1
    assert capsys.readouterr().out.startswith("FAIL       exercises/00.ipynb  expected ") and not folders[1].exists()
    assert run(True) == 0
    assert capsys.readouterr().out == "written    exercises/00.ipynb\n"
    for mode in (True, False):
        assert run(mode) == 0
        assert capsys.readouterr().out == "unchanged  exercises/00.ipynb\n"
    (folders[1] / "01.ipynb").touch()
    for mode in (True, False):
        assert run(mode) == 1
        first, second = capsys.readouterr().out.splitlines()
        assert (first, second[:32]) == ("unchanged  exercises/00.ipynb", "FAIL       exercises/01.ipynb  e")


@pytest.mark.parametrize("mode", [True, False])
def test_no_exercises_are_no_error(tmp_path, monkeypatch, capsys, mode):
    """Before the first solution is written there is nothing to do, with or without the folders."""
    monkeypatch.chdir(tmp_path)
    assert run(mode) == 0
    (tmp_path / "solutions").mkdir()
    (tmp_path / "exercises").mkdir()
    assert run(mode) == 0
    assert capsys.readouterr().out == "no exercises yet\n" * 2
    (tmp_path / "exercises" / "00.ipynb").touch()
    assert run(mode) == 1
