"""The `labserver` command: arguments in, exit statuses out."""

import io
import os
import re
import subprocess
import sys

import pytest

from labserver import __main__ as command
from labserver.errors import ExerciseError, ValidationError


@pytest.fixture
def called(monkeypatch):
    """Put something in place of the work of each command, and see what it was called with."""
    calls = []

    def stand_in(name, status):
        def work(*arguments, **options):
            calls.append((name, *arguments, *options.items()))
            if isinstance(status, Exception):
                raise status
            return status

        return work

    def put(target, status=0):
        monkeypatch.setattr(target, stand_in(target.rpartition(".")[2], status))
        return calls

    return put


def test_demo_runs_the_demonstration(called):
    """`labserver demo` hands over its exit status."""
    calls = called("labserver.live.demo.main", 0)
    assert command.main(["demo"]) == 0
    assert calls == [("main",)]


@pytest.mark.parametrize(("flag", "write"), [("--write", True), ("--check", False)])
def test_exercises_are_written_or_checked(called, flag, write):
    """`labserver exercises` says which of the two is asked, and fails where the work does."""
    calls = called("labserver.course.derive.run", 1)
    assert command.main(["exercises", flag]) == 1
    assert calls == [("run", ("write", write))]


def test_exercises_that_cannot_be_written_are_status_2(called, capsys):
    """An error out of `labserver exercises` is one line on stderr and exit status 2."""
    called("labserver.course.derive.run", ExerciseError("expected a folder, found a file"))
    assert command.main(["exercises", "--write"]) == 2
    assert capsys.readouterr().err == "labserver: expected a folder, found a file\n"


def test_new_project_gets_the_folder(called):
    """`labserver new-project DIR` hands the folder over."""
    calls = called("labserver.course.new_project.run", 0)
    assert command.main(["new-project", "site"]) == 0
    assert calls == [("run", ("folder", "site"))]


def test_validate_gets_the_paths(called):
    """`labserver validate PATH…` hands the paths and options over, and fails where they do."""
    calls = called("labserver.validation.command.validate", 1)
    assert command.main(["validate", "notebooks", "solutions/*.ipynb", "--workers", "1", "--once"]) == 1
    assert (
        command.main(
            ["validate", "a", "--sanitize=b", "--junit=c", "--fast", "--queued", "--update", "--style", "--timeout=2.5"]
        )
        == 1
    )
    usual = {"timeout": 30, "workers": None, "once": False, "queued": False, "fast": False, "update": False}
    usual |= {"style": False, "sanitize": None, "junit_file": None}
    first = usual | {"workers": 1, "once": True}
    second = (
        usual
        | {"sanitize": "b", "junit_file": "c", "timeout": 2.5}
        | dict.fromkeys(("queued", "fast", "update", "style"), True)
    )
    told = [(name, dict(options)) for name, *options in calls]
    assert told == [
        ("validate", first | {"paths": ["notebooks", "solutions/*.ipynb"]}),
        ("validate", second | {"paths": ["a"]}),
    ]


def test_refresh_gets_the_paths(called):
    """`labserver refresh PATH…` hands the paths over."""
    calls = called("labserver.validation.refresh.refresh", 0)
    assert command.main(["refresh", "notebooks"]) == 0
    assert calls == [("refresh", ("paths", ["notebooks"]), ("timeout", 30), ("workers", None))]


@pytest.mark.parametrize("name", ["doctor", "wheelhouse"])
def test_a_command_without_arguments_runs(called, monkeypatch, name):
    """And its exit status is the command's, also where its words go to no file."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    calls = called(command.WORK[name], 1)
    assert command.main([name]) == 1
    assert calls == [("run",)]


def test_teach_gets_what_is_asked_for(called):
    """Lessons, what to make of them, and where to."""
    calls = called("labserver.course.teach.run")
    assert command.main(["teach", "03", "--until", "The ORM", "--out", "parts"]) == 0
    assert command.main(["teach", "--slides"]) == 0
    assert [dict(options) for _, *options in calls] == [
        {"lessons": ["03"], "slides": False, "until": "The ORM", "out": "parts"},
        {"lessons": [], "slides": True, "until": None, "out": "teach"},
    ]


@pytest.mark.parametrize(("name", "extra"), [("validate", r"\[validate\]"), ("demo", "")])
def test_a_package_that_is_missing_is_named(monkeypatch, capsys, name, extra):
    """With what to install, instead of a traceback: the checks of notebooks are an extra of the package."""
    room = command.WORK[name].rpartition(".")[0]
    monkeypatch.delitem(sys.modules, room, raising=False)
    monkeypatch.setattr(command.importlib, "import_module", lambda asked: __import__("no_such_package"))
    assert command.main([name, *(["a"] if extra else [])]) == 2
    told = rf"labserver: expected the module no_such_package for `labserver {name}`.*'channels-lab{extra}'"
    assert re.match(told, capsys.readouterr().err)


def test_a_pipe_that_does_not_know_a_character_gets_it_spelled_out():
    """As on Windows, where a file or a pipe is not UTF-8 by itself."""
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-m", "labserver", "demo"],
        env=os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "\\u2502" in done.stdout.decode("cp1252")


def test_an_error_of_the_labs_own_is_status_2(called, capsys):
    """What cannot be done as asked is said in one line on stderr, with exit status 2."""
    called("labserver.validation.command.validate", ValidationError("expected a notebook, found none"))
    assert command.main(["validate", "nowhere"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "labserver: expected a notebook, found none\n")


def test_a_reader_that_has_seen_enough_gets_no_traceback():
    """`labserver … | head` ends with status 1, and without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([sys.executable, "-m", "labserver", "demo"], stdout=writer, stderr=-1, timeout=60)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_pipe_to_anybody_else_is_an_error(called):
    """A kernel or a server that is gone is not what `head` does."""
    called("labserver.live.demo.main", BrokenPipeError())
    with pytest.raises(BrokenPipeError):
        command.main(["demo"])


def test_a_notebook_gets_no_traceback_for_an_exit_status(new_kernel):
    """`%run -m labserver …` says what the command says, and no more."""
    kernel = new_kernel()
    try:
        said = kernel.run("%run -m labserver validate nowhere.ipynb")
    finally:
        kernel.end()
    assert said.startswith("expected a notebook") and len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["new-project"],
        ["validate"],
        ["refresh"],
        ["no-such-command"],
        ["demo", "--no-such-option"],
        ["exercises"],
        ["exercises", "--write", "--check"],
        ["validate", "a", "--timeout=-1"],
        ["validate", "a", "--timeout=nan"],
        ["refresh", "a", "--workers=0"],
    ],
)
def test_wrong_arguments_are_status_2(arguments, capsys):
    """Arguments that are missing or unknown end with the usage and exit status 2."""
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: labserver")
    assert ("invalid number of" in said) == any("=" in each for each in arguments)


def test_help_names_every_command(capsys):
    """`labserver --help` lists the commands."""
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for name in command.WORK:
        assert f"\n    {name}" in shown


def test_it_runs_as_a_module():
    """`python -m labserver` is the same command."""
    done = subprocess.run([sys.executable, "-m", "labserver"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "usage: labserver" in done.stderr
