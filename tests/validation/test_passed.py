"""What `--fast` may pass over."""

import json
from dataclasses import replace

import pytest

from labserver.validation.passed import Passed
from labserver.validation.run import Way

WAY = Way(30, 1)


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("LABSERVER_STATE", str(tmp_path / "state"))
    path = tmp_path / "a.ipynb"
    path.write_text("one", encoding="utf-8")
    return path


def known(path, way=WAY):
    """Whether the notebook is known to have passed."""
    passed = Passed(way)
    passed.look([path])
    return path in passed


def keep(path, way=WAY):
    passed = Passed(way)
    passed.look([path])
    passed.keep([path])


def test_what_has_passed_is_known_until_it_changes(notebook):
    """Also by another process; one changed byte makes it unknown, and the old bytes known again."""
    assert not known(notebook)
    keep(notebook)
    assert known(notebook)
    notebook.write_text("two", encoding="utf-8")
    assert not known(notebook)
    notebook.write_text("one", encoding="utf-8")
    assert known(notebook)


def test_a_notebook_that_was_edited_while_it_ran_has_not_passed(notebook):
    """What counts is the file as it was when it was read."""
    passed = Passed(WAY)
    passed.look([notebook])
    notebook.write_text("edited", encoding="utf-8")
    passed.keep([notebook])
    assert not known(notebook)


def test_another_way_of_running_is_another_matter(notebook, tmp_path):
    """Having passed once is less than twice; a changed sanitize file changes what was compared."""
    keep(notebook, replace(WAY, twice=False))
    assert not known(notebook)
    rules = tmp_path / "rules"
    rules.write_text("regex: a\nreplace: b\n", encoding="utf-8")
    way = replace(WAY, sanitize=str(rules))
    keep(notebook, way)
    assert known(notebook, way) and not known(notebook)
    rules.write_text("regex: a\nreplace: c\n", encoding="utf-8")
    assert not known(notebook, way)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_file_is_forgotten(notebook, tmp_path, content):
    """All that is lost is time."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "validated.json").write_text(content, encoding="utf-8")
    assert not known(notebook)
    keep(notebook)
    assert json.loads((tmp_path / "state" / "validated.json").read_text(encoding="utf-8")).keys() == {
        str(notebook.resolve())
    }


def test_a_folder_that_cannot_be_made_is_left_alone(notebook, tmp_path, monkeypatch):
    """Nothing is remembered then, and nothing fails."""
    monkeypatch.setenv("LABSERVER_STATE", str(notebook / "below-a-file"))
    keep(notebook)
    assert not known(notebook)


def test_without_a_state_folder_the_cache_is_used(notebook, tmp_path, monkeypatch):
    """The user's own, as the system has it."""
    monkeypatch.delenv("LABSERVER_STATE")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(tmp_path / "cache"))
    keep(notebook)
    assert (tmp_path / "cache" / "validated.json").exists()
