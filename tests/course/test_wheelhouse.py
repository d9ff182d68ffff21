"""What is put into the wheelhouse: for each kind of laptop all that it installs, chosen by that laptop's conditions."""

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from labserver import __main__ as command
from labserver.course import wheelhouse

LOCK = (Path(__file__).parents[2] / "requirements.lock").read_text(encoding="utf-8").splitlines()
WINDOWS, MACOS, LINUX, _ = wheelhouse.SYSTEMS


def wheel(folder, name, tag="py3-none-any"):
    """Write a wheel of version 1.0 that installs one module."""
    files = {
        f"{name}.py": f"name = {name!r}\n",
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": f"Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = ""
    with zipfile.ZipFile(folder / f"{name}-1.0-{tag}.whl", "w") as file:
        for path, text in files.items():
            file.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(text)}\n"
        file.writestr(f"{name}-1.0.dist-info/RECORD", record + f"{name}-1.0.dist-info/RECORD,,\n")


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A folder with a lock and a project, and an index that has some wheels and no others."""
    index = tmp_path / "index"
    index.mkdir()
    for each in ("everywhere", "builder"):
        wheel(index, each)
    wheel(index, "windows_only", "cp312-cp312-win_amd64")
    lock = "everywhere==1.0\nwindows-only==1.0 ; sys_platform == 'win32'\nother==1.0 ; python_full_version < '3.12'\n"
    (tmp_path / "requirements.lock").write_text(lock, encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text('[build-system]\nrequires = ["builder"]\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        monkeypatch.delenv(name, raising=False)  # pip is not what is measured
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", index.as_uri())
    return tmp_path


def names(found):
    """The packages, without their versions."""
    return {each.partition("==")[0] for each in found}


def test_each_laptop_gets_its_own_requirements():
    """Windows' console packages, Debian 12's old Python, the Django of each Python: from whichever system we are on."""
    assert {"colorama", "pywinpty"} <= names(wheelhouse.wanted(LOCK, WINDOWS, "3.12.9"))
    assert not {"pexpect", "ptyprocess", "appnope"} & names(wheelhouse.wanted(LOCK, WINDOWS, "3.12.9"))
    assert "appnope" in names(wheelhouse.wanted(LOCK, MACOS, "3.13.9"))
    assert "async-timeout" in names(wheelhouse.wanted(LOCK, LINUX, "3.11.2"))
    assert "async-timeout" not in names(wheelhouse.wanted(LOCK, LINUX, "3.11.9"))
    for python, django in (("3.11.2", "5.2."), ("3.11.9", "5.2."), ("3.12.9", "6.0."), ("3.13.9", "6.0.")):
        for system in wheelhouse.SYSTEMS:
            (found,) = [each for each in wheelhouse.wanted(LOCK, system, python) if each.startswith("django==")]
            assert found.startswith(f"django=={django}")


def test_this_machine_would_get_what_it_has_installed():
    """The conditions of a system are those which Python itself tells there."""
    (here,) = [
        system for system in wheelhouse.SYSTEMS if system.sys_platform == sys.platform and system.name != "Linux on ARM"
    ]
    mine = {
        f"{each.name}{each.specifier}" for each in map(Requirement, LOCK) if not each.marker or each.marker.evaluate()
    }
    python = ".".join(map(str, sys.version_info[:3]))
    assert set(wheelhouse.wanted(LOCK, here, python)) == mine


def test_the_folder_is_filled_for_other_systems(room, capsys):
    """Wheels of another system and what builds the package are fetched; what fits everywhere is fetched once."""
    assert wheelhouse.run([WINDOWS], ["3.12.9"]) == 0
    found = {path.name for path in (room / "wheelhouse").iterdir()}
    assert found == {
        "everywhere-1.0-py3-none-any.whl",
        "builder-1.0-py3-none-any.whl",
        "windows_only-1.0-cp312-cp312-win_amd64.whl",
    }
    said = capsys.readouterr().out
    assert "Windows, Python 3.12.9" in said and "holds 3 wheels" in said
    (room / "index" / "everywhere-1.0-py3-none-any.whl").unlink()
    assert wheelhouse.run([LINUX], ["3.12.9"]) == 0


def test_what_cannot_be_had_is_said_and_others_are_served(room, capsys, monkeypatch):
    """A package without a wheel for one laptop is named with pip's words; the next laptop is served all the same."""
    monkeypatch.setattr(wheelhouse.run, "__defaults__", ([LINUX], ["3.11.9", "3.12.9"]))
    assert command.main(["wheelhouse"]) == 2
    said = capsys.readouterr().err
    assert "Linux, Python 3.11.9: " in said and "other==1.0" in said and "Python 3.12.9" not in said
    assert (room / "wheelhouse" / "everywhere-1.0-py3-none-any.whl").exists()


def test_elsewhere_it_says_where_to_go(tmp_path, monkeypatch, capsys):
    """Outside of the course's folder nothing is made, and the error tells which file is missing."""
    monkeypatch.chdir(tmp_path)
    assert command.main(["wheelhouse"]) == 2
    assert "expected requirements.lock in the current folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
