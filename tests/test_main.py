"""The `labserver` command: arguments in, exit statuses out."""

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
    assert calls == [("run", write)]


def test_exercises_that_cannot_be_written_are_status_2(called, capsys):
    """An error out of `labserver exercises` is one line on stderr and exit status 2."""
    called("labserver.course.derive.run", ExerciseError("expected a folder, found a file"))
    assert command.main(["exercises", "--write"]) == 2
    assert capsys.readouterr().err == "labserver: expected a folder, found a file\n"


def test_new_project_gets_the_folder(called):
    """`labserver new-project DIR` hands the folder over."""
    calls = called("labserver.course.new_project.run", 0)
    assert command.main(["new-project", "site"]) == 0
    assert calls == [("run", "site")]


def test_validate_gets_the_paths(called):
    """`labserver validate PATH…` hands the paths and options over, and fails where they do."""
    calls = called("labserver.validation.command.validate", 1)
    assert command.main(["validate", "notebooks", "solutions/*.ipynb", "--workers", "1", "--once"]) == 1
    assert (
        command.main(["validate", "a", "--sanitize=b", "--junit=c", "--fast", "--queued", "--update", "--style"]) == 1
    )
    usual = {"timeout": 30, "workers": None, "once": False, "queued": False, "fast": False, "update": False}
    usual |= {"style": False, "sanitize": None, "junit_file": None}
    first = usual | {"workers": 1, "once": True}
    second = usual | {"sanitize": "b", "junit_file": "c"} | dict.fromkeys(("queued", "fast", "update", "style"), True)
    told = [(name, dict(keywords)) for name, *keywords in calls]
    assert told == [
        ("validate", first | {"paths": ["notebooks", "solutions/*.ipynb"]}),
        ("validate", second | {"paths": ["a"]}),
    ]


def test_refresh_gets_the_paths(called):
    """`labserver refresh PATH…` hands the paths over."""
    calls = called("labserver.validation.refresh.refresh", 0)
    assert command.main(["refresh", "notebooks"]) == 0
    assert calls == [("refresh", ["notebooks"], ("timeout", 30), ("workers", None))]


def test_an_error_of_the_labs_own_is_status_2(called, capsys):
    """What cannot be done as asked is said in one line on stderr, with exit status 2."""
    called("labserver.validation.command.validate", ValidationError("expected a notebook, found none"))
    assert command.main(["validate", "nowhere"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "labserver: expected a notebook, found none\n")


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
    ],
)
def test_wrong_arguments_are_status_2(arguments, capsys):
    """Arguments that are missing or unknown end with the usage and exit status 2."""
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: labserver")


def test_help_names_every_command(capsys):
    """`labserver --help` lists the commands."""
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for name in ("demo", "exercises", "new-project", "validate", "refresh"):
        assert f"\n    {name}" in shown


def test_it_runs_as_a_module():
    """`python -m labserver` is the same command."""
    done = subprocess.run([sys.executable, "-m", "labserver"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "usage: labserver" in done.stderr
