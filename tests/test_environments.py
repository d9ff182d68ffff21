"""Any laptop: what makes an environment says the same everywhere, and makes one without a package index too."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from labserver.course import wheelhouse

from .conftest import HERE, PROGRAMS
from .course.test_wheelhouse import wheel

ROOT = HERE.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
*CONDA, LAST = ENVIRONMENT["dependencies"]
MINORS = [f"3.{minor}" for minor in range(30) if f"3.{minor}" in SpecifierSet(PROJECT["project"]["requires-python"])]
PROGRAMS_OF_BINDER = (ROOT / "apt.txt").read_text(encoding="utf-8").split()
CLOSED = "http://127.0.0.1:9/simple"
"""A package index that nobody reaches."""

pytestmark = pytest.mark.timeout(300)


def test_conda_takes_nothing_that_a_laptop_lacks():
    """From conda come a Python that the project allows, and pip: both are there for Windows, macOS and Linux."""
    python, *others = CONDA
    assert python.removeprefix("python=") in MINORS and others == ["pip"]
    assert ENVIRONMENT["channels"] == ["conda-forge"]
    assert f"name {ENVIRONMENT['name']}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_pip_section_of_conda_asks_for_the_lock_and_for_no_more():
    """pip itself reads the section: in an environment made from the lock it would install the course's own package."""
    arguments = [word for line in LAST["pip"] for word in shlex.split(line)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--report=-", *arguments]
    done = subprocess.run(pip, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=240)
    assert done.returncode == 0, done.stderr
    asked = {canonicalize_name(each["metadata"]["name"]) for each in json.loads(done.stdout)["install"]}
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert PROJECT["project"]["name"] in asked
    assert asked <= {canonicalize_name(Requirement(line).name) for line in lock} | {PROJECT["project"]["name"]}
    (extras,) = [set(Requirement(f"x{each[1:]}").extras) for each in arguments if each.startswith(".")]
    assert extras and extras <= set(PROJECT["project"]["optional-dependencies"])


def test_a_room_without_internet_is_served_by_its_wheelhouse(tmp_path, monkeypatch):
    """`make setup` installs from wheelhouse/ while no index can be reached; what it lacks is told, with what to do."""
    for name in ("Makefile", "pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "labserver").mkdir()
    (tmp_path / "labserver" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "index").mkdir()
    wheel(tmp_path / "index", "tiny")
    lock = tmp_path / "requirements.lock"
    lock.write_text("tiny==1.0\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as at_home:
        at_home.setenv("PIP_FIND_LINKS", (tmp_path / "index").as_uri())
        here = [each for each in wheelhouse.SYSTEMS if each.sys_platform == sys.platform]
        wheelhouse.run(here[:1], [".".join(map(str, sys.version_info[:3]))])

    room = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "MAKE", "COV"))}
    room |= {"PIP_INDEX_URL": CLOSED, "PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0"}

    def make(python, *goal):
        command = ["make", *(goal or ["setup"]), f"PYTHON={python}"]
        return subprocess.run(command, env=room, capture_output=True, encoding="utf-8", errors="replace", timeout=240)

    made = make(Path(sys.executable).as_posix())
    assert made.returncode == 0, made.stdout + made.stderr
    python = tmp_path / ".venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    there = subprocess.run([python, "-c", "import tiny, labserver; print(labserver.__file__)"], capture_output=True)
    assert Path(there.stdout.decode().strip()) == tmp_path / "labserver" / "__init__.py"
    lock.write_text("tiny==1.0\nforgotten==1.0\n", encoding="utf-8")
    refused = make("true")  # a program that does nothing: the environment is there
    assert refused.returncode and "forgotten" in refused.stderr and "fill it again" in refused.stdout
    assert "--no-index" not in make("true", "--dry-run", "wheelhouse").stdout  # else it could not be filled again


def test_without_a_wheelhouse_the_index_is_asked():
    """The folder alone makes the difference: this checkout has none, and its setup names no other source."""
    if (ROOT / "wheelhouse").exists():
        pytest.skip("expected no wheelhouse/ here, found one; nothing to install")
    recipe = subprocess.run(
        ["make", "--dry-run", "--always-make", "setup"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    assert "--requirement requirements.lock" in recipe.stdout and "--no-index" not in recipe.stdout


def test_the_container_is_made_of_what_is_here():
    """devcontainer.json is JSON but for its comments, and names commands, files and a Python that exist."""
    text = (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    container = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M))
    assert container["image"].rpartition(":")[2] in MINORS
    assert "$(cat apt.txt)" in container["onCreateCommand"]
    make, target = container["updateContentCommand"].split()
    assert make == "make" and re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert [str(port) for port in container["forwardPorts"]] == list(container["portsAttributes"])
    custom = container["customizations"]
    (lesson,) = custom["codespaces"]["openFiles"]
    assert (ROOT / lesson).is_file()
    assert "/.venv/bin/python" in custom["vscode"]["settings"]["python.defaultInterpreterPath"]


def test_binder_and_the_container_get_the_programs_of_the_lessons():
    """apt.txt names what tests call a program, but for the browser, which the learner has."""
    assert {*PROGRAMS_OF_BINDER, "chromium"} == set(PROGRAMS)


def test_the_workflow_runs_every_python_on_every_system():
    """CI tests all that pyproject.toml allows and the README promises, by the README's own command."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == MINORS
    assert {each.partition("-")[0] for each in job["strategy"]["matrix"]["os"]} == {"ubuntu", "macos", "windows"}
    assert any(step.get("run", "").startswith("make test") for step in job["steps"])
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"Python {', '.join(MINORS)} · Django 5.2, 6.0" in readme
    pinned = re.findall(r"^django==(\d+\.\d+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.M)
    assert sorted(pinned) == ["5.2", "6.0"]


def test_files_have_the_same_bytes_on_windows():
    """Git leaves line ends alone: stored outputs and derived exercises are compared byte by byte."""
    assert "* text=auto eol=lf" in (ROOT / ".gitattributes").read_text(encoding="utf-8").splitlines()


def test_no_text_is_read_or_written_in_the_encoding_of_a_machine():
    """Wherever labserver opens a text file, it says which encoding: on Windows the default is another one."""
    missing = []
    for path in sorted((ROOT / "labserver").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and _opens_text(call):
                missing.append(f"{path.relative_to(ROOT)}:{call.lineno}: {ast.unparse(call)}")
    assert missing == []


def _opens_text(call):
    """Whether a call opens a file as text, and names no encoding."""
    method = isinstance(call.func, ast.Attribute)
    name = call.func.attr if method else getattr(call.func, "id", "")
    if any(keyword.arg in ("encoding", None) for keyword in call.keywords):
        return False
    if name in ("read_text", "write_text"):
        return len(call.args) == (name == "write_text")
    modes = call.args if name == "open" and method else call.args[1:]
    if name not in ("open", "fdopen") or not all(isinstance(mode, ast.Constant) for mode in modes):
        return False  # os.open, which takes flags, and what else is called so
    modes += [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    return not any("b" in str(mode.value) for mode in modes)
