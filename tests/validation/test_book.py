"""Notebooks as values."""

import json
from pathlib import Path

import pytest
from nbformat import from_dict, v4

from labserver.errors import ValidationError
from labserver.validation.book import (
    NOT_RUN,
    Marks,
    canonical,
    find,
    labels,
    marks,
    merge_streams,
    not_run,
    plain,
    read,
    sanitize,
    shown,
)

from .conftest import printed, raised, result


def picture(**data: str):
    """The output of a display; underscores in the names stand for slashes."""
    return v4.new_output("display_data", data={name.replace("_", "/"): value for name, value in data.items()})


def test_paths_folders_and_globs_are_found_once_and_in_order(tmp_path, monkeypatch):
    """Each notebook comes once, in order; hidden folders and other files are passed over."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "b.ipynb",
        "a.ipynb",
        "in/c.ipynb",
        ".ipynb_checkpoints/a-checkpoint.ipynb",
        "in/.venv/d.ipynb",
        "e.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert find(["."]) == [Path("a.ipynb"), Path("b.ipynb"), Path("in/c.ipynb")]
    assert find(["b.ipynb", "*.ipynb"]) == [Path("b.ipynb"), Path("a.ipynb")]
    assert find(["**/c.ipynb"]) == [Path("in/c.ipynb")]


@pytest.mark.parametrize("pattern", ["nowhere.ipynb", "*.ipynb", "e.py", "."])
def test_a_path_without_notebooks_is_told(tmp_path, monkeypatch, pattern):
    """A misspelt path, an empty glob, a file that is no notebook, a folder without any: the error names it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e.py").touch()
    with pytest.raises(ValidationError, match="expected a notebook.* found none at") as error:
        find([pattern])
    assert repr(pattern) in str(error.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "other data"),
        ('{"nbformat": 3}', "other data"),
        ('{"nbformat": 4}', "at the notebook: .*required"),
        (json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{}]}), "at cells/0: "),
        (b"\xff", "UnicodeDecodeError"),
    ],
)
def test_a_file_that_is_no_notebook_is_told(tmp_path, content, found):
    """Broken JSON, other JSON and damaged cells are told with the file's name and what to do."""
    path = tmp_path / "a.ipynb"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValidationError, match=f"expected a notebook in JSON.*a.ipynb.*{found}.*restore the file"):
        read(path)


def test_a_notebook_is_read_as_it_stands(book):
    """Lines are joined, and a missing id is not made up."""
    path = book.write("a", book.code("1\n2"))
    content = json.loads(path.read_text())
    del content["cells"][0]["id"]
    path.write_text(json.dumps(content))
    cell = read(path).cells[0]
    assert cell.source == "1\n2"
    assert "id" not in cell


def test_a_path_is_shown_from_the_current_folder(tmp_path, monkeypatch):
    """Inside the current folder a path is short, elsewhere it is whole."""
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "in" / "a.ipynb") == "in/a.ipynb"
    elsewhere = tmp_path.parent / "a.ipynb"
    assert shown(elsewhere) == str(elsewhere)


def test_cells_are_called_as_people_see_them(book):
    """Code cells bear the number of their prompt; empty ones have none; text is counted for itself."""
    nameless = from_dict({"cell_type": "raw", "source": ""})
    cells = read(book.write("a", book.text("x"), "1", book.code(" "), "2")).cells
    assert labels([*cells, nameless]) == [
        "markdown cell 1 (id id0)",
        "cell 1 (id id1)",
        "empty cell after cell 1 (id id2)",
        "cell 2 (id id3)",
        "raw cell 2 (id missing)",
    ]


@pytest.mark.parametrize(
    ("source", "metadata", "expected"),
    [
        ("x", {}, Marks()),
        ("# NBVAL_SKIP\nx", {}, Marks(skip=True)),
        ("x\n  # NBVAL_IGNORE_OUTPUT: the clock \n", {}, Marks(ignore=True, reason="the clock")),
        ("x", {"tags": ["nbval-ignore-output"], "reason": "chance"}, Marks(ignore=True, reason="chance")),
        ("x", {"tags": ["raises-exception", "mine"]}, Marks(raises=True)),
        ("x", {"tags": ["nbval-raises-exception", "nbval-skip"]}, Marks(raises=True, skip=True)),
        ("x  # NBVAL_SKIP", {}, Marks()),
    ],
)
def test_marks_are_tags_or_comments(source, metadata, expected):
    """nbval's tags and its comments mean the same, and either can bear a reason."""
    assert marks(v4.new_code_cell(source, metadata=metadata)) == expected


def test_only_loopback_ports_are_sanitized():
    """Ports of loopback addresses and of the notebook proxy become PORT, at any depth; nothing else changes."""
    value = {"a": ["http://127.0.0.1:4711/x", "ws://localhost:80", "/hub/proxy/4711/x", "10.0.0.1:4711", "12:34", 5]}
    assert sanitize(value) == {
        "a": ["http://127.0.0.1:PORT/x", "ws://localhost:PORT", "/hub/proxy/PORT/x", "10.0.0.1:4711", "12:34", 5]
    }


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("/tmp/ipykernel_4711/123.py:2: DeprecationWarning: old", "<cell>:2: DeprecationWarning: old"),
        ('  File "C:\\Temp\\ipykernel_1\\2.py", line 1', '  File "<cell>", line 1'),
        ("see (/tmp/ipykernel_1/2.py)", "see (<cell>)"),
        ("/tmp/ipykernel_1/lab.py /tmp/123.py", "/tmp/ipykernel_1/lab.py /tmp/123.py"),
    ],
)
def test_the_file_of_a_cell_is_sanitized(said, kept):
    """It is named after the kernel's process: a warning that shows it is the same one in the next run."""
    assert sanitize(said) == kept


def test_a_long_word_is_no_trap():
    """A picture in base64 is one word of a million letters: to look for a cell's file from each of them takes hours."""
    word = "a" * 1_000_000
    assert sanitize(word) == word


def test_streams_are_joined_between_displays():
    """How prints were cut and which stream came first does not matter; where a display stood between them does."""
    shown_x = picture(text_plain="x")
    outputs = [printed("b", "stderr"), printed("1"), printed("2\n"), shown_x, printed("3")]
    merged = merge_streams(outputs)
    assert [output.get("text", "x") for output in merged] == ["12\n", "b", "x", "3"]
    assert outputs[1].text == "1", "the outputs that were given stay as they were"


def test_a_carriage_return_writes_over():
    """A progress bar is compared as it ends."""
    assert canonical([printed("10 %\r100 %\r\ndone\n")]) == [{"stdout": "100 %\ndone\n"}]


def test_what_counts_is_what_is_seen():
    """Counts, metadata and tracebacks do not count; pictures and widgets must exist; errors have a name and a text."""
    outputs = [
        result("1", 7),
        raised("ValueError", "at localhost:80"),
        picture(image_png="AAAA", application_pdf=""),
        v4.new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {"model_id": "chance"}}),
        v4.new_output("display_data", data={"application/json": {"b": [1], "a": None}}),
    ]
    assert canonical(outputs) == [
        {"execute_result": "", "text/plain": "1"},
        {"error": "ValueError: at localhost:PORT"},
        {"display_data": "", "application/pdf": "empty", "image/png": "present"},
        {"display_data": "", "application/vnd.jupyter.widget-view+json": "present"},
        {"display_data": "", "application/json": {"b": [1], "a": None}},
    ]


def test_the_notice_of_a_cell_that_was_not_run_does_not_count():
    """What is stored and shown below it does; why it was not run is its first line."""
    notices = [v4.new_output("display_data", data=data, metadata=NOT_RUN) for data in ({"text/plain": "a.\nb"}, {})]
    assert canonical([notices[0], result("1"), printed("2")]) == canonical([result("1"), printed("2")])
    assert not_run([printed("x"), notices[0], result("1")]) == "a"
    assert not_run(notices) == "a; "
    assert not_run([printed("x"), result("1")]) == ""


def test_colours_are_taken_off():
    """Text is left without terminal sequences."""
    assert plain("\x1b[31mred\x1b[39;49m \x1b[0m") == "red "


def test_more_can_be_hidden_than_ports():
    """In texts at any depth, after the ports; pictures in base64 are not looked into."""
    outputs = [printed("a:1\n"), picture(application_json={"k": ["a"]}, image_png="a"), raised("E", "a")]
    assert canonical(outputs, lambda text: text.replace("a", "X")) == [
        {"stdout": "X:1\n"},
        {"display_data": "", "application/json": {"k": ["X"]}, "image/png": "present"},
        {"error": "E: X"},
    ]
