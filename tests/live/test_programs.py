"""Programs that are installed beside Python, and the way to those that are not."""

import os
import sys
from pathlib import Path

import pytest

from labserver.live import programs
from labserver.live.programs import find, how_to_get, missing


def program(folder, name):
    """An empty program, and the folder it is in."""
    folder.mkdir()
    path = folder / (name + (".exe" if os.name == "nt" else ""))
    path.touch(mode=0o755)
    return str(path)


def test_python_is_the_one_that_runs(monkeypatch):
    """Whatever is on PATH, python is the interpreter of this kernel."""
    monkeypatch.setenv("PATH", "")
    assert find("python") == find("python3") == sys.executable


def test_a_program_beside_python_comes_before_path(tmp_path, monkeypatch):
    """What a virtual environment brings is used without being activated; then comes PATH."""
    own, other = program(tmp_path / "own", "some-server"), program(tmp_path / "other", "some-server")
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    assert find("some-server") == other
    monkeypatch.setattr(sys, "executable", str(tmp_path / "own" / "python"))
    assert find("some-server") == own


def test_an_empty_path_hides_what_is_not_beside_python(tmp_path, monkeypatch):
    """With PATH emptied a program elsewhere is missing, and none of the current folder is taken for it."""
    program(tmp_path / "here", "some-server")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PATH", "")
    if os.name != "nt":  # Windows looks into the current folder first
        assert find("some-server") is None
    assert find("no-such-server") is None
    monkeypatch.delenv("PATH")
    assert find("no-such-server") is None


def test_the_sbin_of_a_bin_counts(tmp_path, monkeypatch):
    """Debian installs nginx where a user's PATH does not lead."""
    path = program(tmp_path / "sbin", "some-server")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find("some-server") == path
    monkeypatch.setenv("PATH", str(tmp_path / "lib"))
    assert find("some-server") is None


def test_gunicorn_does_not_exist_for_windows(tmp_path, monkeypatch):
    """Even where its file was installed it cannot run there."""
    path = program(tmp_path / "bin", "gunicorn")
    monkeypatch.setattr(sys, "executable", str(Path(path).with_name("python")))
    monkeypatch.setattr(programs, "WINDOWS", False)
    assert find("gunicorn") == path
    monkeypatch.setattr(programs, "WINDOWS", True)
    assert find("gunicorn") is None


def test_missing_programs_are_told_once():
    """Those that are there are left out, the others keep their order."""
    assert missing(["no-such-b", "python", "no-such-a", "no-such-b"]) == ["no-such-b", "no-such-a"]


@pytest.mark.parametrize("name", ["nginx", "redis-server", "gunicorn", "uvicorn", "daphne", "no-such"])
def test_every_program_has_a_way_to_get_it(name):
    """One line, the same on every system; for one that nobody knows as well."""
    assert "\n" not in how_to_get(name)
    assert "install" in how_to_get(name)


def test_the_way_to_gunicorn_says_where_there_is_none():
    """A learner on Windows need not search."""
    assert "does not exist for Windows" in how_to_get("gunicorn")
