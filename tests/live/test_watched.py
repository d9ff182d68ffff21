"""One command as a process with a watcher."""

import io
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from labserver.errors import LabError, TimeLimit
from labserver.live import watched
from labserver.live.watched import Child, CommandFailed, CommandMissing, Log, split

pytestmark = pytest.mark.usefixtures("unmeasured_commands")

POSIX = pytest.mark.skipif(os.name != "posix", reason="sessions and signals of POSIX; nothing to install")

WAITS = "print('here'); import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(60)"
PARENT = (
    "import subprocess, sys, time; "
    "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], {options}).pid); {end}"
)


@pytest.fixture
def start(tmp_path):
    """Starts Python with a program, and stops it after the test."""
    started = []

    def start(program, **options):
        started.append(Child(["python", "-c", program], options.pop("folder", tmp_path), options))
        return started[-1]

    yield start
    for child in started:
        child.stop()


def wait_until(true):
    """Wait until a function says true; fails after twenty seconds."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "twenty seconds were not enough"
        time.sleep(0.01)


def runs(pid):
    """Whether there is such a process, other than as an entry that nobody has read."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_what_it_writes_is_kept_in_order(start):
    """Both streams in one, also what is no UTF-8, with the line ends of every system; then its exit status."""
    child = start(
        "import sys; print(1, flush=True); sys.stderr.write('2\\r\\n'); sys.stderr.flush(); print(3); exit(4)"
    )
    child.wait(20)
    assert (child.log.text, child.status, child.alive) == ("1\n2\n3\n", 4, False)
    child = start("import sys; sys.stdout.buffer.write(b'\\xff \\xc3\\xa4 \\xc3')")
    child.wait(20)
    assert child.log.text == "\ufffd \u00e4 \ufffd"


def test_it_gets_the_environment_of_a_terminal(start, monkeypatch):
    """What is the kernel's own is taken off, what is given counts, and the rest stays."""
    for name in ("DJANGO_SETTINGS_MODULE", "PYTHONPATH", "LABSERVER_SECRET_KEY", "FORCE_COLOR", "ONE", "TWO"):
        monkeypatch.setenv(name, "old")
    names = ["DJANGO_SETTINGS_MODULE", "PYTHONPATH", "FORCE_COLOR", "ONE", "TWO", "LABSERVER_A", "PYTHONUNBUFFERED"]
    own = {"TWO": "new", "LABSERVER_A": "new", "DJANGO_SETTINGS_MODULE": "new"}
    child = start(f"import os; print([os.environ.get(n) for n in {[*names, 'LABSERVER_SECRET_KEY']}])", **own)
    child.wait(20)
    assert child.log.text == "['new', None, None, 'old', 'new', 'new', '1', None]\n"


@POSIX
def test_an_interrupt_of_the_kernel_does_not_reach_it(start):
    """Neither the command nor its watcher is in the session of whoever started it, nor in the same one."""
    child = start(WAITS)
    sessions = {os.getsid(0), os.getsid(child._watcher.pid), os.getsid(child.pid)}
    assert len(sessions) == 3


def test_it_ends_when_it_is_told_to(start):
    """It ends politely, a second call does nothing, and no thread or pipe is left."""
    child = start(WAITS)
    assert child.alive and child.status is None
    child.stop()
    child.stop()
    assert not child.alive and not runs(child.pid)
    assert os.name == "nt" or child.status == -signal.SIGTERM
    assert not child.log._thread.is_alive()
    assert all(pipe.closed for pipe in (child._watcher.stdin, child._watcher.stdout, child._watcher.stderr))


@POSIX
def test_who_does_not_listen_is_killed(start, monkeypatch):
    """After the limit force is used."""
    monkeypatch.setattr(watched, "STOP_LIMIT", 0.05)
    child = start(DEAF)
    wait_until(lambda: child.log.text)
    child.stop()
    assert child.status == -signal.SIGKILL


@POSIX
@pytest.mark.parametrize("end", ["time.sleep(60)", "sys.exit(3)"], ids=["stopped", "ended by itself"])
def test_what_it_has_started_ends_with_it(start, end):
    """No worker outlives its server, however that ends."""
    child = start(PARENT.format(options="", end=end))
    wait_until(lambda: child.log.text)
    if "exit" not in end:
        child.stop()
    wait_until(lambda: not runs(int(child.log.text)))


@POSIX
def test_a_stray_that_left_the_session_does_not_hold_us(start, monkeypatch):
    """A daemon of its own keeps the pipe open: waiting for the last words has a limit."""
    monkeypatch.setattr(watched, "_STRAY", 0.01)
    child = start(PARENT.format(options="start_new_session=True", end="time.sleep(60)"))
    wait_until(lambda: child.log.text)
    child.stop()
    stray = int(child.log.text)
    try:
        assert child.log._thread.is_alive()
        assert runs(stray)
    finally:
        os.kill(stray, signal.SIGKILL)
    child.log.join(20)
    assert not child.log._thread.is_alive()


@POSIX
def test_it_ends_when_the_kernel_is_killed(tmp_path):
    """Even SIGKILL of whoever started it ends the command and its children."""
    program = (
        "import time; from labserver.live.watched import Child; "
        f"child = Child(['python', '-c', {PARENT.format(options='', end='time.sleep(60)')!r}], '.', None)\n"
        "while not child.log.text.endswith('\\n'): time.sleep(0.01)\n"
        "print(child.pid, child.log.text, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as kernel:
        pids = [int(pid) for pid in kernel.stdout.readline().split()]
        assert len(pids) == 2 and all(map(runs, pids))
        kernel.kill()
    wait_until(lambda: not any(map(runs, pids)))


@POSIX
def test_signals_reach_it(start):
    """They go through the watcher, which knows whether the number is still that of the command."""
    child = start("import signal; print('here'); signal.pause()")
    wait_until(lambda: child.log.text)
    child.send(signal.SIGUSR1)
    child.wait(20)
    assert child.status == -signal.SIGUSR1
    with pytest.raises(
        CommandFailed, match="expected `python -c .*` to run, found that it has ended; it wrote at last"
    ):
        child.send(signal.SIGUSR1)
    child.stop()
    with pytest.raises(CommandFailed, match="found that it has ended"):
        child.send(signal.SIGUSR1)


def test_a_watcher_that_was_killed_says_nothing(start):
    """Then the status is that of a kill."""
    child = start(WAITS)
    child._watcher.kill()
    child._watcher.wait()
    assert child.status == -9
    psutil.Process(child.pid).kill()


def test_a_watcher_that_hangs_is_told(start, monkeypatch):
    """Whoever stops the command is not held for ever, and hears what to do."""
    child = start(WAITS)
    monkeypatch.setattr(watched, "_STRAY", 0.01)
    wait, gone = child._watcher.wait, []

    def hang(limit=None):
        if limit is None:
            return wait()
        gone.append(limit)
        raise subprocess.TimeoutExpired("watcher", limit)

    monkeypatch.setattr(child._watcher, "wait", hang)
    with pytest.raises(TimeLimit, match="found it running; end it by hand"):
        child.stop()
    assert gone == [20.0]
    monkeypatch.undo()
    if runs(child.pid):
        psutil.Process(child.pid).kill()


def test_what_is_missing_is_told(tmp_path):
    """No such program, no such folder, or a file that the system does not take for a program."""
    with pytest.raises(CommandMissing, match="expected the program no-such, found none; install"):
        Child("no-such --port 1", tmp_path, None)
    with pytest.raises(CommandMissing, match=r"expected the program \./no-such, found none"):
        Child("./no-such", tmp_path, None)
    with pytest.raises(CommandFailed, match="expected a folder '.*none' to run `python` in, found none"):
        Child(["python"], tmp_path / "none", None)
    assert issubclass(CommandMissing, LabError) and issubclass(CommandFailed, (LabError, RuntimeError))


@POSIX
def test_a_program_with_a_folder_is_seen_from_where_it_runs(tmp_path):
    """`./serve` is the one of the command's folder; one that the system refuses is told with its reason."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("#!/bin/sh\necho started\n")
    bad.write_bytes(b"\0\1\2")
    good.chmod(0o755)
    bad.chmod(0o755)
    child = Child("./good", tmp_path, None)
    child.wait(20)
    child.stop()
    assert child.log.text == "started\n"
    with pytest.raises(
        CommandFailed, match=r"(?s)expected to start `\./bad`, found that the system refuses; .*OSError"
    ):
        Child("./bad", tmp_path, None)


def test_of_a_long_log_the_end_is_kept(monkeypatch):
    """And its marks go on to mean what they meant."""
    monkeypatch.setattr(watched, "LOG_LIMIT", 10)
    log = Log(io.BufferedReader(io.BytesIO(b"0123456789abcdef\n")))
    log.join(20)
    assert (log.text, log.written) == ("789abcdef\n", 17)
    assert [log.since(mark) for mark in (0, 12, 17)] == ["789abcdef\n", "cdef\n", ""]


def test_whoever_writes_much_never_waits(start):
    """The log is read all the time, by a thread that ends with it."""
    threads = threading.active_count()
    child = start("print('x' * 1_000_000, end='')")
    child.wait(20)
    child.stop()
    assert (child.log.written, len(child.log.text)) == (1_000_000, watched.LOG_LIMIT)
    assert child.said() == f"it wrote at last:\n{'x' * watched.LOG_LIMIT}"
    assert threading.active_count() == threads


def test_words_are_split_as_by_a_shell(monkeypatch):
    """Quotes hold together, nothing is a comment, a list stays; a backslash is one on Windows."""
    monkeypatch.setattr(watched, "WINDOWS", False)
    assert split("a --b='c d' \"e f\" #g h\\ i") == ["a", "--b=c d", "e f", "#g", "h i"]
    assert split(["a b", "c"]) == ["a b", "c"]
    monkeypatch.setattr(watched, "WINDOWS", True)
    assert split(r"'C:\a b\c' d\e") == [r"C:\a b\c", r"d\e"]
