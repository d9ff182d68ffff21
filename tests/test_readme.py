"""The README keeps its word: commands and code run, its picture is what a lesson shows, its table and links hold."""

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
from xml.etree import ElementTree

import psutil
import pytest
import yaml

from labserver.__main__ import main

from .conftest import jupyter_address

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MADE = ("make", "conda", "uv", "py", r"\.venv\\Scripts", "labserver", "pip", "pytest", "jupyter")
"""What the commands of the README begin with."""
COMMANDS = [line for block in re.findall(r"```console\n(.*?)```", README, re.S) for line in block.splitlines()]
COMMANDS += re.findall(rf"`((?:{'|'.join(MADE)})[ \\][^`]*)`", README)
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))

EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.S)

pytestmark = pytest.mark.timeout(300)


def run(command):
    """Run a command in the project's folder, and return what it printed; a failure shows it."""
    done = subprocess.run(shlex.split(command), cwd=ROOT, text=True, encoding="utf-8", capture_output=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


RUN_HERE = {
    "make lab", "make lab ARGS=--no-browser", "make demo", "make doctor", "make test", "make refresh",
    'make notebooks NB="solutions/01*.ipynb"', "make lint", "make bench", "make setup",
    "labserver teach 03 --slides", "labserver teach 03 --until 5", "labserver teach 03 --until 03.2",
}  # fmt: skip
"""Run by the tests of this module; `make test` is what runs them."""
RUN_ELSEWHERE = {
    "make wheelhouse": "test_environments fills one and installs from it where no package index is reached",
    "make exercises": "tests/course/test_derive; make test looks whether it would change anything",
    "labserver new-project mysite": "test_deployment writes a project by it and serves that",
    "labserver refresh PATH…": "make refresh is this; tests/validation",
    "labserver validate PATH…": "make notebooks is this; tests/validation",
    "labserver teach": "tests/course/test_teach: pages of all lessons, the checks' words put in place of running them",
    "labserver teach 03": "tests/course/test_teach: the page of a lesson",
    "pip install --editable path/to/it": "make setup installs the folder so",
}
ON_WINDOWS = r".venv\Scripts\python -m pip install"
COMPARED = {
    "conda env create --file environment.yml",
    "conda run --name channels-lab jupyter lab",
    "conda install --name channels-lab --channel conda-forge redis-server",
    "uv venv",
    "uv pip install --requirement requirements.lock --editable .",
    "uv run --no-sync jupyter lab",
    "py -m venv .venv",
    f"{ON_WINDOWS} --requirement requirements.lock --editable .",
    f"{ON_WINDOWS} --no-index --find-links=wheelhouse --requirement requirements.lock --editable .",
    r".venv\Scripts\jupyter lab",
    r".venv\Scripts\labserver doctor",
    r".venv\Scripts\labserver demo",
}
"""Of programs that are not here (conda, py, uv perhaps): their words are compared with what does run here."""


def test_every_command_of_the_readme_is_known_here():
    """No command stands in the README that no test runs, or compares with what is run."""
    assert set(COMMANDS) == RUN_HERE | set(RUN_ELSEWHERE) | COMPARED


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
    run(f"make refresh NB={lesson.as_posix()}")
    assert lesson.read_bytes() == stored


@pytest.mark.parametrize("command", ["make setup", "make lint", "make bench ARGS=trace"])
def test_the_other_make_commands_run(command):
    """The remaining commands of the README end well (of the bench its quickest part)."""
    run(command)


@pytest.mark.parametrize(
    ("options", "name"),
    [("--slides", "03_consumers_slides.html"), ("--until 5", "notebooks/03_consumers_until_5.ipynb"),
     ("--until 03.2", "exercises/03_consumers_until_03.2.ipynb")],
)  # fmt: skip
def test_the_commands_for_instructors_write_what_they_say(tmp_path, options, name):
    """Slides of a lesson, and copies of a lesson and of its exercises that end early."""
    run(f"{Path(sys.executable).with_name('labserver').as_posix()} teach 03 {options} --out {tmp_path.as_posix()}")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")] == [name]


def test_the_options_of_validate_are_those_of_the_command(capsys):
    """The table names each option that the command has, but for the one that is about lessons."""
    with pytest.raises(SystemExit):
        main(["validate", "--help"])
    known = set(re.findall(r"(--[a-z]+)", capsys.readouterr().out)) - {"--help", "--style"}
    section = README.partition("## Notebooks of your own")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(--[a-z]+)[ `]", section)) == known


def test_the_code_of_the_readme_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    """The example serves an application by its dotted name, talks to it, and shows the trace."""
    (tmp_path / "mysite").mkdir()
    (tmp_path / "mysite" / "asgi.py").write_text("from labserver.project.echo.consumers import EchoConsumer\n"
                                                 "application = EchoConsumer.as_asgi()\n")  # fmt: skip
    monkeypatch.syspath_prepend(tmp_path)
    example = EXAMPLES[1]
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
        for module in ("mysite", "mysite.asgi"):
            sys.modules.pop(module, None)  # other tests of this process make a project of that name


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


def test_windows_without_make_does_what_make_would_do():
    """The lines for Windows are make's own recipe for Windows, with and without a wheelhouse, but for its messages."""
    for offline in ("", "--no-index --find-links=wheelhouse"):
        recipe = run(f"make --dry-run --always-make OS=Windows_NT 'OFFLINE={offline}' lab doctor").replace("/", "\\")
        words = {line.split("||")[0].strip() for line in recipe.splitlines()}
        installed = [line for line in words if line.startswith(ON_WINDOWS)]
        said = f"{ON_WINDOWS} {offline} --requirement requirements.lock --editable .".replace("  ", " ")
        assert said in COMPARED
        made = {word for line in installed for word in line.split()} - {"--disable-pip-version-check", "--no-deps"}
        assert made == set(said.split())
        assert "python -m venv .venv" in words and r".venv\Scripts\labserver doctor" in words
        assert any(line.startswith(r".venv\Scripts\jupyter lab") for line in words)


def test_conda_is_pointed_to_its_file_and_its_name():
    """conda is not here: the file that it is given exists, and the environment is called as the file calls it."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    named = [words[words.index("--name") + 1] for words in map(str.split, COMPARED) if "--name" in words]
    assert set(named) == {environment["name"]}
    assert environment["channels"] == ["conda-forge"]


def test_doctor_looks_at_this_machine():
    """`make doctor` says what it found, whatever it thinks of it."""
    done = subprocess.run(["make", "doctor"], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=240)
    assert "Python" in done.stdout, done.stdout + done.stderr


def test_the_table_tells_the_minutes_of_each_lesson():
    """Every lesson has a row, with the minutes that it and its exercises state themselves."""
    row = r"^\| \[[^]]*\]\(notebooks/(\w+)\.ipynb\) \| (\d+) \| \[exercises\]\(exercises/(\w+)\.ipynb\), (\d+) \|"
    expected = []
    for path in LESSONS:
        lesson, exercises = (
            "".join(json.loads(each.read_text(encoding="utf-8"))["cells"][0]["source"])
            for each in (path, ROOT / "solutions" / path.name)
        )
        minutes = re.search(r"\*\*(\d+) minutes", lesson)[1], re.search(r"about (\d+) minutes", exercises)[1]
        expected.append((path.stem, minutes[0], path.stem, minutes[1]))
    assert re.findall(row, README, re.M) == expected
    together = re.search(r"(\d+) hours and (\d+) minutes of lessons, and (\d+) hours and (\d+) minutes of ex", README)
    lessons, exercises = sum(int(row[1]) for row in expected), sum(int(row[3]) for row in expected)
    assert tuple(map(int, together.groups())) == (*divmod(lessons, 60), *divmod(exercises, 60))


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_can_be_read_where_nothing_runs(path):
    """A hosting site shows stored outputs as images and text: each picture stands alone, each output has a text too."""
    outputs = [
        output["data"]
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    assert all("text/plain" in data for data in outputs)
    pictures = ["".join(data["image/svg+xml"]) for data in outputs if "image/svg+xml" in data]
    assert pictures
    for picture in pictures:
        for element in ElementTree.fromstring(picture).iter():
            assert element.tag.rpartition("}")[2] not in ("script", "foreignObject", "image", "use", "a")
            assert not [name for name in element.attrib if name.startswith("on") or name.endswith("href")]
        assert "url(" not in picture.replace("url(#", "") and "@import" not in picture
        assert "prefers-color-scheme:dark" in picture


def test_the_lock_names_no_address():
    """The pinned requirements work with whatever package index a person uses."""
    assert not re.search(r"://|--index|--find-links", (ROOT / "requirements.lock").read_text())
    assert sys.version_info[:2] in {(3, 11), (3, 12), (3, 13)}
