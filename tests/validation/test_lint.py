"""What can be judged without running."""

import json
from pathlib import Path

import pytest
from nbformat import from_dict, v4

from labserver.validation.book import NOT_RUN, read
from labserver.validation.lint import lint, style, untidy

from .conftest import printed, raised


def linted(book, *cells, change=lambda notebook: None, **options):
    """The problems of a notebook of these cells, as `(cell, text)`."""
    path = book.write("a", *cells)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return [(problem.where, problem.text) for problem in lint(read(path), path, **options)]


def test_a_clean_notebook_has_no_problem(book):
    """Cells run in order, links that lead somewhere, marks with reasons: nothing to say."""
    (book.folder / "next.ipynb").touch()
    (book.folder / "a picture.svg").touch()
    text = """# Send and `receive`

[next](next.ipynb#there), [above](#Send-and-receive "title"), [web](https://example.org/home/me), <a href='#mark'>m</a>
![picture](a%20picture.svg) [mail](mailto:a@example.org) <a id="mark"></a> [ref]

[ref]: next.ipynb

```
[not a link](nowhere) /home/me
```
and `[neither](nowhere)`
"""
    ignored = book.code("# NBVAL_IGNORE_OUTPUT: the clock\n5", printed("5"))
    fails = book.code("1 / 0", raised("ZeroDivisionError", "division by zero"), tags=["raises-exception"])
    assert linted(book, book.text(text.replace(" /home/me", "")), "1", "2", ignored, fails, book.code(""), "3") == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda nb: nb["cells"][0].update(extra=1), "expected valid nbformat 4.5, found that Additional properties"),
        (lambda nb: nb["cells"][0].pop("id"), "expected a cell id, found none"),
        (lambda nb: nb["cells"][1].update(id="id0"), "expected a unique cell id, but 2 cells have it"),
    ],
)
def test_the_format_is_checked(book, change, text):
    """What tools stumble over is told."""
    problems = linted(book, "1", "2", change=change)
    assert problems
    assert all(found.startswith(text) for _, found in problems)


def older(content):
    """As Jupyter wrote notebooks before format 4.5."""
    content["nbformat_minor"] = 4
    for cell in content["cells"]:
        del cell["id"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (older, "format 4.4"),
        (lambda nb: nb["metadata"].pop("kernelspec"), "another kernelspec than python3"),
        (lambda nb: nb["metadata"]["kernelspec"].update(name="mine"), "another kernelspec than python3"),
        (lambda nb: nb["metadata"]["kernelspec"].update(env={}), "another kernelspec than python3"),
        (lambda nb: nb["metadata"]["language_info"].update(version="3.11.7"), "a Python version"),
        (lambda nb: nb["metadata"].update(widgets={}), "the state of widgets"),
        (lambda nb: [cell["metadata"].update(execution={}) for cell in nb["cells"]], "timing in 2 cells"),
    ],
)
def test_what_differs_from_machine_to_machine_is_a_note(book, change, text):
    """It is told once, and does not fail: what a notebook claims is not touched by it."""
    assert linted(book, "1", "2", change=change) == []
    (note,) = untidy(read(book.folder / "a.ipynb"))
    assert note.startswith(f"saved with {text}") and "labserver refresh" in note


def test_a_tidy_notebook_has_no_note(book):
    """As `labserver refresh` writes it."""
    assert untidy(read(book.write("a", "1"))) == []


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("[nes]*s/[0-9]*.ipynb")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_the_course_s_own_notebooks_are_tidy(path):
    """Of these nothing is accepted that makes a difference on another machine."""
    assert untidy(read(path)) == []


def test_every_code_cell_must_have_been_run_in_order(book):
    """A cell without a count is told, and the first one out of order, and an error that nobody expects."""

    def change(content):
        content["cells"][0]["execution_count"] = None
        content["cells"][1]["execution_count"] = 7
        content["cells"][2]["execution_count"] = 8

    skipped = book.code("# NBVAL_SKIP: later\n1")
    problems = linted(book, "1", "2", "3", book.code("4", raised("KeyError", "x")), skipped, change=change)
    assert [(where.split(" (")[0], text.split(";")[0]) for where, text in problems] == [
        ("cell 1", "expected a cell that has been run, found one that was not"),
        ("cell 2", "expected counts 1, 2, 3, … in order, found [7] for [2]"),
        ("cell 4", "expected no stored KeyError"),
    ]


def test_outputs_of_a_cell_that_was_not_run_are_told(book):
    """A front end may have saved the notice: others are to see what the cell shows where it runs."""
    notice = v4.new_output("display_data", data={"text/plain": "nginx is not installed here.\n…"}, metadata=NOT_RUN)
    problems = linted(book, book.code("%%needs nginx\n1", notice, printed("1")), book.code("1", printed("1")))
    assert [(where, text.split(";")[0]) for where, text in problems] == [
        (
            "cell 1 (id id0)",
            "expected outputs of a run, found those of a cell that was not run (nginx is not installed here)",
        )
    ]


def test_notebooks_that_are_kept_without_outputs_have_none(book):
    """With `outputs="none"` an output or a count is a problem, and not having been run is none."""
    unrun = book.code("1")
    unrun["execution_count"] = None
    problems = linted(book, unrun, "2", book.text("x"), outputs="none")
    assert [where for where, _ in problems] == ["cell 2 (id id1)"]


def test_ignored_outputs_are_few_and_have_reasons(book):
    """More than one in five is told, and each that does not say why."""
    cells = [book.code("1", tags=["nbval-ignore-output"], reason="chance"), book.code("# NBVAL_SKIP\n2"), *"345678"]
    problems = linted(book, *cells)
    assert [(where, text.split(";")[0]) for where, text in problems] == [
        ("", "expected at most 1 in 5 code cells ignored or skipped, found 2 of 8"),
        ("cell 2 (id id1)", "expected a reason for the ignored output, found none"),
    ]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("[x](nowhere.ipynb#part)", "expected a file at 'nowhere.ipynb'"),
        ("![x](<nowhere.svg>)", "expected a file at 'nowhere.svg'"),
        ("[x]\n\n[x]: nowhere.md", "expected a file at 'nowhere.md'"),
        ('<img alt="x" src="nowhere.png">', "expected a file at 'nowhere.png'"),
        ("# One two\n[x](#one-two)", "expected a heading for #one-two"),
        ("```\n# Comment\n```\n[x](#Comment)", "expected a heading for #Comment"),
    ],
)
def test_links_lead_somewhere(book, source, text):
    """A relative link needs its file, an anchor its heading, in the form that JupyterLab gives it."""
    ((where, found),) = linted(book, book.text(source), "1")
    assert where == "markdown cell 1 (id id0)"
    assert found.startswith(text)


@pytest.mark.parametrize(
    "path",
    ["/home/me/lab.py", "/" + "root/lab", "/Users/me", "/tmp/ipykernel_1/2.py", r"C:\Users\me", "file:///home/me"],
)
def test_no_path_of_the_author_is_left(book, path):
    """Neither sources nor outputs show where the author works."""
    traceback = raised("E", "x") | {"traceback": [f"File {path}:1"]}
    problems = linted(
        book,
        f"open({path!r})",
        book.code("1", printed(f"in {path}")),
        book.code("2", from_dict(traceback), tags=["raises-exception"]),
        book.code("3", v4.new_output("display_data", data={"text/html": f'<a href="{path}">', "image/png": path})),
        book.code("4", v4.new_output("display_data", data={"image/png": f"{path} ", "text/plain": "x"})),
        "print('https://example.org/home/page', 'src/tmp/x', './home/x')",
    )
    assert [where.split(" (")[0] for where, _ in problems] == ["cell 1", "cell 2", "cell 3", "cell 4"]
    assert all(text.startswith("expected no path of the author's machine") for _, text in problems)


def test_a_lesson_s_measure_is_noted(book):
    """Too many cells, too long or too wordy ones are noted, each with the measure."""
    long = "\n".join(f"x{n} = {n}" for n in range(26))
    notes = style(read(book.write("a", long, "1", "2", book.text("word " * 5))))
    assert notes == [
        "4 cells (measure: 20–30)",
        "a median of 1 code lines a cell (measure: 2–4)",
        "a code cell of 26 lines (measure: at most 25)",
        "2 words of prose per code cell (measure: 40–70)",
        "3 code cells in a row (measure: at most 2)",
    ]


def test_the_line_that_names_programs_is_no_code(book):
    """A cell of 25 lines may say in one more what it needs."""
    lines = "\n".join("x = 1" for _ in range(25))
    assert not any("a code cell of" in note for note in style(read(book.write("a", f"%%needs nginx\n{lines}"))))
    assert any("a code cell of 26" in note for note in style(read(book.write("b", f"%load_ext labserver\n{lines}"))))


def test_a_lesson_of_good_measure_has_no_notes(book):
    """Within the measure there is nothing to note, nor where there is no code."""
    lesson = [cell for _ in range(10) for cell in (book.text("word " * 50), book.code("1\n\n2"))]
    assert style(read(book.write("a", *lesson))) == []
    assert style(read(book.write("b", book.text("# Only words")))) == []
