"""`labserver doctor`: a line for each finding, its fix below it, and an exit status."""

import io
import os
import subprocess
import sys
import types

import pytest

from labserver import __main__ as command
from labserver.live import doctor
from labserver.live.doctor import FAIL, NOTE, OK, Finding


@pytest.fixture
def part(monkeypatch):
    """Let the doctor have these checks alone."""

    def part(*checks):
        monkeypatch.setattr(doctor, "PARTS", ("doctor_stand_in",))
        monkeypatch.setitem(sys.modules, "labserver.live.doctor_stand_in", types.SimpleNamespace(CHECKS=checks))

    return part


def test_a_sound_machine_is_status_0(monkeypatch, capsys):
    """All checks, for real: nothing FAILs, and the message has gone through a live server."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")] + ["DJANGO_SETTINGS_MODULE"]:
        monkeypatch.delenv(name, raising=False)
    status = command.main(["doctor"])
    said = capsys.readouterr().out
    assert status == 0, said
    for line in (
        "Python 3.",
        "django ",
        "the lab's server starts, and a WebSocket gets its echo",
        "0 FAIL. The lessons",
    ):
        assert line in said
    assert "crashed" not in said


def test_a_fault_is_status_1_and_each_fix_is_the_next_line(part, capsys):
    """A FAIL makes the exit status 1; notes do not; what is fine needs no fix."""
    part(lambda: [Finding(OK, "fine"), Finding(NOTE, "missing", "get it")])
    assert doctor.run() == 0
    assert "1 ok, 1 note, 0 FAIL." in capsys.readouterr().out
    part(lambda: [Finding(FAIL, "broken", "mend it"), Finding(OK, "fine")])
    assert doctor.run() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:4] == ["FAIL  broken", "      fix: mend it", "ok    fine"]
    assert lines[4] == "1 ok, 0 notes, 1 FAIL. Mend the first FAIL first."


@pytest.mark.parametrize("made", [True, False])
def test_another_python_is_told_so_and_nothing_else(part, monkeypatch, capsys, tmp_path, made):
    """A bare Python in the course's folder: the way to the course's own is worth more than a list of packages."""
    part(lambda: [Finding(OK, "fine")])
    monkeypatch.setattr(doctor, "SERVER", ("no-such-server", "nor-this"))
    monkeypatch.setattr(doctor, "__file__", str(tmp_path / "labserver" / "live" / "doctor.py"))
    own = tmp_path.joinpath(".venv", *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
    if made:
        own.parent.mkdir(parents=True)
        own.touch()
    assert doctor.run() == 1
    _, fault, fix, last = capsys.readouterr().out.splitlines()
    assert "not the course's environment" in fault
    assert fault.endswith(f"{sys.executable} has no no-such-server, no nor-this")
    assert fix.endswith(f'fix: "{own}" -m labserver doctor' if made else "README.md, Start; then ask its own doctor")
    assert last.startswith("0 ok, 0 notes, 1 FAIL.")


def test_causes_come_before_what_follows_from_them():
    """A Redis that is away stops the server of the conversation: it is looked at first."""
    assert doctor.PARTS.index("doctor_machine") < doctor.PARTS.index("doctor_network")


@pytest.mark.parametrize("error", [ImportError("no module\nnamed django"), SystemExit("out")])
def test_a_check_that_crashes_is_a_finding(part, capsys, error):
    """What is broken may be an import: the line says so, and the other checks go on."""

    def first():
        yield Finding(OK, "before")
        raise error

    part(first, lambda: [Finding(OK, "after")])
    assert doctor.run() == 1
    lines = capsys.readouterr().out.splitlines()
    words = " ".join(str(error).split())
    assert lines[1:3] == ["ok    before", f"FAIL  the check 'first' crashed: {type(error).__name__}: {words}"]
    assert lines[3].startswith("      fix: ") and lines[4] == "ok    after"


def test_a_module_that_a_check_itself_needs_can_be_installed(part, capsys):
    """Where even `packaging` is missing, the fix says how to get it."""
    part(lambda: __import__("no_such_module"))
    assert doctor.run() == 1
    assert capsys.readouterr().out.splitlines()[2] == f'      fix: "{sys.executable}" -m pip install "no_such_module"'


def test_a_part_that_cannot_be_imported_is_a_finding(monkeypatch, capsys):
    """Even a damaged installation of labserver itself gets a report."""
    monkeypatch.setattr(doctor, "PARTS", ("doctor_that_is_not_there",))
    assert doctor.run() == 1
    assert "FAIL  the part doctor_that_is_not_there crashed: ModuleNotFoundError" in capsys.readouterr().out


def test_an_interrupt_ends_it(part):
    """Whoever has seen enough can stop the doctor."""

    def check():
        raise KeyboardInterrupt

    part(check)
    with pytest.raises(KeyboardInterrupt):
        doctor.run()


@pytest.mark.parametrize(("encoding", "shown"), [("cp1252", "fü\\u65e5"), ("utf-8", "fü日"), (None, "f\\xfc\\u65e5")])
def test_a_console_shows_what_it_can(part, monkeypatch, encoding, shown):
    """A name that the console of Windows cannot show does not end the report."""
    part(lambda: [Finding(OK, "fü日")])
    out = io.StringIO() if encoding is None else io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    doctor.run()
    out.seek(0)
    assert f"ok    {shown}\n" in out.read().replace("\r\n", "\n")


def test_the_command_needs_nothing_but_python():
    """`labserver` starts the doctor without importing any package that may be missing or broken."""
    source = "import sys; from labserver.__main__ import parser; parser(); import labserver.live.doctor; "
    source += "print([n for n in sys.modules if n.split('.')[0] in {'packaging', 'psutil', 'django', 'twisted'}])"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
