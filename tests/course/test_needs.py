"""`%%needs`: a cell whose programs are missing shows what is stored."""

import json
import os
import sys
from types import SimpleNamespace

import IPython.display
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import v4

import labserver
from labserver.course.needs import NOT_RUN, instead, stored_outputs, transform
from labserver.errors import LabError
from labserver.live.programs import CommandMissing
from labserver.validation import book

CELL = "%%needs no-such-program\nawait serve()"
PLAIN = {"output_type": "stream", "name": "stdout", "text": ["one\n", "two\n"]}
VALUE = v4.new_output("execute_result", data={"text/plain": "6", "text/html": ["<b>", "6</b>"]}, execution_count=4)
NOTICE = v4.new_output("display_data", data={"text/plain": "no-such-program is not installed here."}, metadata=NOT_RUN)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABSERVER_REQUIRE_ALL", raising=False)
    return tmp_path


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, as data and metadata."""
    found = []

    def display(data, metadata, raw):
        assert raw
        found.append((data, metadata))

    monkeypatch.setattr(IPython.display, "display", display)
    return found


def store(folder, *outputs, source=CELL, name="a.ipynb"):
    """Write a notebook that holds the cell with these outputs, beside another one and a text of the same words."""
    cells = [v4.new_markdown_cell(source), v4.new_code_cell("1 + 1"), v4.new_code_cell(source, outputs=list(outputs))]
    (folder / name).write_text(json.dumps(v4.new_notebook(cells=cells)), encoding="utf-8")


def text_of(notice):
    """The lines of a notice, which must be marked as one."""
    data, metadata = notice
    assert metadata == NOT_RUN == book.NOT_RUN
    return data["text/plain"].splitlines()


def test_a_cell_whose_programs_are_there_runs_as_any_other(monkeypatch):
    """The line becomes a comment, and the other lines stay where they were, for IPython as well."""
    monkeypatch.setenv("PATH", "")
    lines = ["%%needs python python3\n", "\n", "await serve()\n", "%time 1\n"]
    assert transform(lines) == ["# %%needs python python3\n", *lines[1:]]
    manager = TransformerManager()
    manager.cleanup_transforms.append(transform)
    assert manager.transform_cell("\n%%needs python\nawait serve()") == "# %%needs python\nawait serve()\n"
    assert manager.check_complete("%%needs python\nx = 1")[0] == "complete"


@pytest.mark.parametrize("source", ["", "\n", "x = 1\n", "%%needsmore a\n", "# %%needs no-such-program\n", "%%time\n"])
def test_other_cells_stay_as_they_are(source):
    """Only the whole word in the first line counts."""
    lines = source.splitlines(keepends=True)
    assert transform(lines) == lines


def test_a_cell_whose_program_is_missing_calls_for_its_outputs(here, shown):
    """The cell becomes one line, which finds the outputs by the cell's source."""
    store(here, PLAIN)
    (call,) = transform([f"{line}\n" for line in CELL.splitlines()])
    exec(call, {})
    assert text_of(shown[0])[0] == "no-such-program is not installed here."


def test_an_extension_is_loaded_as_often_as_wanted():
    """The second time nothing is added, and IPython has nothing to remark."""
    callbacks = []
    events = SimpleNamespace(
        register=lambda name, call: callbacks.append((name, call)),
        unregister=lambda name, call: callbacks.remove((name, call)),
    )
    loaded = SimpleNamespace(loaded=set())
    shell = SimpleNamespace(input_transformers_cleanup=[], events=events, extension_manager=loaded)
    for _ in range(2):
        labserver.load_ipython_extension(shell)
        loaded.loaded.add("labserver")
        ((name, call),) = callbacks
        assert name == "post_run_cell"
        call(None)
        assert (loaded.loaded, callbacks) == (set(), [])
    assert shell.input_transformers_cleanup == [transform]


def test_the_notice_names_what_is_missing_and_how_to_get_it(here, shown, capsys):
    """Then come the stored outputs, as what they were; a value is the cell's value again."""
    store(here, PLAIN, v4.new_output("display_data", data={"text/plain": "A"}, metadata={"a": 1}), VALUE)
    value = instead(["nginx-of-nobody", "python", "gunicorn-of-nobody"], CELL)
    assert text_of(shown[0]) == [
        "nginx-of-nobody is not installed here; gunicorn-of-nobody is not installed here.",
        "To get nginx-of-nobody: install a program of the name nginx-of-nobody, and put its folder on PATH.",
        "To get gunicorn-of-nobody: install a program of the name gunicorn-of-nobody, and put its folder on PATH.",
        "This cell was not run; below is what it shows where it is.",
    ]
    assert "<b>nginx-of-nobody is not installed here; gunicorn" in shown[0][0]["text/html"]
    assert shown[1:] == [({"text/plain": "A"}, {"a": 1})]
    assert capsys.readouterr() == ("one\ntwo\n", "")
    assert repr(value) == "6"
    assert value._repr_mimebundle_() == ({"text/plain": "6", "text/html": "<b>6</b>"}, {})


def test_outputs_of_every_kind_are_shown_again(here, shown, capsys):
    """Prints to stderr, values in the midst, JSON; a value without a text has one."""
    data = {"application/json": {"a": ["b"]}}
    errors = {"output_type": "stream", "name": "stderr", "text": "oops\n"}
    store(here, VALUE, errors, v4.new_output("execute_result", data=data, execution_count=1))
    value = instead(["no-such-program"], CELL)
    assert shown[1] == ({"text/plain": "6", "text/html": "<b>6</b>"}, {})
    assert capsys.readouterr() == ("", "oops\n")
    assert (repr(value), value._repr_mimebundle_()) == ("<stored output>", (data, {}))


def test_an_error_that_belongs_to_the_lesson_is_raised_again(here, shown):
    """With its name, its text and the traceback that is stored."""
    store(here, v4.new_output("error", ename="InvalidStatus", evalue="HTTP 502", traceback=["line 1", "line 2"]))
    with pytest.raises(Exception, match="^HTTP 502$") as told:
        instead(["no-such-program"], CELL)
    assert type(told.value).__name__ == "InvalidStatus"
    assert told.value._render_traceback_() == ["line 1", "line 2"]


@pytest.mark.parametrize(
    ("outputs", "last"),
    [
        (None, "This cell was not run, and the notebooks of this folder hold no outputs of it."),
        ((), "This cell was not run."),
        ((NOTICE,), "This cell was not run."),
    ],
    ids=["no such cell", "no outputs", "only a notice"],
)
def test_where_nothing_is_stored_the_notice_says_so(here, shown, outputs, last):
    """A cell that shows nothing shows nothing; one that nobody knows is told."""
    if outputs is not None:
        store(here, *outputs)
    assert instead(["no-such-program"], CELL) is None
    assert len(shown) == 1
    assert text_of(shown[0])[-1] == last


def test_a_notice_that_was_saved_does_not_nest(here):
    """What a front end has stored with the cell, the notice included, gives the same outputs again."""
    store(here, NOTICE, PLAIN)
    assert stored_outputs(CELL, here) == [PLAIN]


def test_a_cell_is_found_by_its_source_alone(here):
    """Whatever stands in the folder beside it; ends of lines do not count; one with outputs comes first."""
    (here / "0.ipynb").write_text("{")
    (here / "1.ipynb").write_text("[]")
    (here / "2.ipynb").write_text("{}")
    (here / "3.ipynb").write_bytes(b"\xff")
    store(here, name="4.ipynb")
    store(here, PLAIN, source=CELL + "\n", name="5.ipynb")
    assert stored_outputs(CELL, here) == [PLAIN]
    assert stored_outputs(CELL + "  # changed", here) is None


def test_where_all_is_demanded_a_missing_program_is_an_error(here, shown, monkeypatch):
    """As in the lab's own continuous integration."""
    monkeypatch.setenv("LABSERVER_REQUIRE_ALL", "1")
    store(here, PLAIN)
    with pytest.raises(
        CommandMissing, match="expected no-such-program for this cell, found that no-such-program is not"
    ):
        instead(["no-such-program"], CELL)
    assert issubclass(CommandMissing, LabError) and shown == []


def test_a_kernel_takes_the_line(new_kernel, tmp_path):
    """In a real kernel: await, names that stay, magics, tracebacks with the right line, and the stored outputs."""
    store(tmp_path, PLAIN, VALUE)
    kernel = new_kernel(tmp_path)
    try:
        assert kernel.run("%load_ext labserver") == kernel.run("%load_ext labserver") == ""
        cell = "%%needs python\nimport asyncio\nawait asyncio.sleep(0)\nx = 6\n%precision 3\nx * 7"
        assert kernel.run(cell).splitlines()[-1] == "42"
        failed = kernel.wait(kernel.send("%%needs python\n\n1 / 0"))
        assert any("----> 3 1 / 0" in book.plain(line) for line in failed.error["traceback"])
        assert kernel.run(CELL) == "one\ntwo\n6\n"
        assert kernel.run("x") == "6\n"
    finally:
        kernel.end()


@pytest.mark.skipif(sys.platform == "win32", reason="an emptied PATH hides nothing there; nothing to install")
def test_an_emptied_path_hides_programs(monkeypatch, tmp_path):
    """What is neither beside Python nor on PATH is missing."""
    program = tmp_path / "some-server"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    assert transform(["%%needs some-server"]) == ["# %%needs some-server"]
    monkeypatch.setenv("PATH", "")
    assert "instead" in transform(["%%needs some-server"])[0]
