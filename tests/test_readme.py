"""The README keeps its word: its commands and its code run, its picture is what a lesson shows, its links lead on."""

import ast
import asyncio
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from .conftest import jupyter_address

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKE = re.findall(r"^(make .*)$", README, re.M) + re.findall(r"`(make [^`]+)`", README)

EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.S)

pytestmark = pytest.mark.timeout(300)


def run(command):
    """Run a command in the project's folder, and return what it printed; a failure shows it."""
    done = subprocess.run(shlex.split(command), cwd=ROOT, text=True, encoding="utf-8", capture_output=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_make_command_of_the_readme_is_known_here():
    """No command stands in the README that the tests of this module do not run."""
    assert set(MAKE) == {
        "make lab", "make lab ARGS=--no-browser", "make demo", "make test", 'make notebooks NB="solutions/01*.ipynb"',
        "make refresh", "make exercises", "make lint", "make bench", "make setup",
    }  # fmt: skip


def test_demo_prints_a_conversation_as_text():
    """`make demo` shows two clients, and a push from the program to their group."""
    printed = run("make demo")
    assert "group_send" in printed and "text='pushed'" in printed.replace('{"text": "pushed"}', "pushed")


def test_lab_serves_jupyterlab(tmp_path):
    """`make lab ARGS=--no-browser` serves JupyterLab and the first lesson."""
    environment = os.environ | {"JUPYTER_RUNTIME_DIR": str(tmp_path), "JUPYTER_TOKEN": "for-this-test"}
    with open(tmp_path / "log", "wb") as log:
        command = ["make", "lab", "ARGS=--no-browser"]
        make = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        address = jupyter_address(make, tmp_path)
        lesson = f"{address}api/contents/notebooks/00_start_here.ipynb?content=0&token=for-this-test"
        with urllib.request.urlopen(lesson, timeout=10) as answer:
            assert json.load(answer)["type"] == "notebook"
    finally:
        children = psutil.Process(make.pid).children(recursive=True)
        for each in children:
            each.terminate()
        psutil.wait_procs(children, timeout=20)
        make.wait(20)


def test_test_runs_the_unit_tests_and_the_notebooks():
    """`make test`, which is what runs this test, checks the exercises, validates the notebooks, and runs pytest."""
    recipe = run("make --dry-run test")
    parts = ["labserver exercises --check", "labserver validate", "notebooks/00_start_here.ipynb", "pytest"]
    assert [recipe.find(part) for part in parts] == sorted(
        recipe.find(part) for part in parts
    ) and "solutions/00" in recipe
    assert parts[0] in recipe


def test_notebooks_validates_those_that_are_named():
    """`make notebooks NB=…` checks the notebooks that match, and no others."""
    printed = run('make notebooks NB="solutions/01*.ipynb"')
    assert "01_asgi_events" in printed and "00_start_here" not in printed


def test_refresh_changes_nothing_the_second_time(tmp_path):
    """Outputs are the same bytes each time that they are stored, also by another person's kernel."""
    lesson = tmp_path / "01_asgi_events.ipynb"
    shutil.copy(ROOT / "notebooks" / lesson.name, lesson)
    stored = lesson.read_bytes()
    run(f"make refresh NB={lesson}")
    assert lesson.read_bytes() == stored


@pytest.mark.parametrize("command", ["make setup", "make lint", "make bench ARGS=trace"])
def test_the_other_make_commands_run(command):
    """The remaining commands of the README end well (of the bench its quickest part)."""
    run(command)


def test_the_code_of_the_readme_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    """The example serves an application by its dotted name, talks to it, and shows the trace."""
    (tmp_path / "mysite").mkdir()
    (tmp_path / "mysite" / "asgi.py").write_text("from labserver.project.echo.consumers import EchoConsumer\n"
                                                 "application = EchoConsumer.as_asgi()\n")  # fmt: skip
    monkeypatch.syspath_prepend(tmp_path)
    _, example = EXAMPLES
    names = {}
    code = compile(example, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    async def cell():
        result = eval(code, names)
        if inspect.isawaitable(result):
            await result

    try:
        asyncio.run(cell())
        assert "hello" in capsys.readouterr().out
        assert [event.type for event in names["trace"]][-1] == "websocket.disconnect"
    finally:
        names["server"].stop()


def test_the_exercise_of_the_readme_goes_as_it_says(tmp_path, monkeypatch):
    """A check, a hint, and after the pass the solution, of an exercise that is there."""
    monkeypatch.setenv("LABSERVER_STATE", str(tmp_path))
    check, *others = ast.parse(EXAMPLES[0]).body[1:]

    async def shout(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"].upper()})

    names = {"shout": shout}
    exec(EXAMPLES[0], names)
    assert eval(ast.unparse(check), names).outcome == "passed"
    said = [str(eval(ast.unparse(each), names)) for each in others]
    assert said[0].startswith("Hint 2") and "async def shout" in said[1] and "✓" in said[2]


def test_the_picture_of_the_readme_is_what_the_lesson_shows():
    """The README's picture is the output of a cell of lesson 00, to the byte."""
    lesson = json.loads((ROOT / "notebooks" / "00_start_here.ipynb").read_text(encoding="utf-8"))
    (cell,) = [cell for cell in lesson["cells"] if cell["id"] == "push-trace"]
    drawn = "".join(cell["outputs"][0]["data"]["image/svg+xml"])
    picture = ROOT / "notebooks" / "images" / "push.svg"
    assert picture.read_text(encoding="utf-8") == drawn, f"store the output of the cell push-trace in {picture}"


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(document):
    """Every relative link of the documents names a file that exists."""
    targets = re.findall(r"\]\(([^)#]+)\)", (ROOT / document).read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (ROOT / target).exists()]
    assert not missing


def test_the_files_that_the_other_ways_of_installing_need_are_there():
    """uv, conda and Windows users are sent to files that exist, and to extras that pyproject declares."""
    assert "requirements.lock" in README and (ROOT / "requirements.lock").exists()
    environment = (ROOT / "environment.yml").read_text()
    extras = re.search(r"-e \.\[(.*)\]", environment)[1].split(",")
    declared = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2]
    assert all(re.search(rf"^{extra} = ", declared, re.M) for extra in extras)


def test_the_lock_names_no_address():
    """The pinned requirements work with whatever package index a person uses."""
    assert not re.search(r"://|--index|--find-links", (ROOT / "requirements.lock").read_text())
    assert sys.version_info[:2] in {(3, 11), (3, 12), (3, 13)}
