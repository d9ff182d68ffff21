"""Commands that end, and servers that end with the notebook."""

import asyncio
import os
import signal
import socket
import urllib.request

import pytest

from labserver.errors import LabError, PortInUse, TimeLimit
from labserver.live import processes
from labserver.live.processes import Command, CommandFailed, CommandMissing, free_port, run

pytestmark = pytest.mark.usefixtures("unmeasured_commands")

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX; nothing to install")

SERVER = """
import http.server, os, signal, subprocess, sys
print("settings", os.environ.get("MODE"))
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, lambda *_: print("again"))
if "worker" in sys.argv:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("again")
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
SLEEP = "print('here'); import time; time.sleep(60)"


@pytest.fixture
def folder(tmp_path):
    """A folder with a server in it."""
    (tmp_path / "serve.py").write_text(SERVER)
    return tmp_path


@pytest.fixture
def start(folder):
    """Starts commands in the folder, and stops them after the test."""
    started = []

    def start(words, **options):
        started.append(Command(words, folder=folder, **options))
        return started[-1]

    yield start
    for command in started:
        command.stop()
        assert command not in Command._running.values()


def test_a_command_that_ends_returns_what_it_wrote(folder):
    """Both streams in order; it runs in its folder, with its environment."""
    program = (
        "import os, sys; print(os.path.basename(os.getcwd()), flush=True); print(os.environ['A'], file=sys.stderr)"
    )
    said = run(["python", "-c", program], folder=folder, environment={"A": "b"})
    assert said == f"{folder.name}\nb\n"
    assert run("python -c 'print(1)'") == "1\n"


def test_a_command_that_fails_says_its_last_words():
    """The error has the exit status, and the end of what was written."""
    with pytest.raises(
        CommandFailed, match="(?s)expected `python -c .*` to end with status 0, found 3; .*last\\."
    ) as told:
        run(["python", "-c", "print('first.'); import sys; sys.exit('last.') if 0 else print('last.') or sys.exit(3)"])
    assert (told.value.status, told.value.output) == (3, "first.\nlast.\n")
    with pytest.raises(CommandFailed, match="found 4; it wrote nothing"):
        run("python -c 'exit(4)'")
    with pytest.raises(CommandMissing):
        run("no-such-program")


def test_a_command_that_does_not_end_has_a_limit():
    """It is ended, and the error says what was meant perhaps."""
    with pytest.raises(TimeLimit, match="expected `python -c .*` to end within 0.01 s, found it running; .*Command"):
        run(["python", "-c", SLEEP], limit=0.01)


def test_a_server_runs_when_it_is_made(start):
    """It answers at its address; its words, and no number, are what it shows; stopping it frees the port."""
    server = start("python serve.py {port}", environment={"MODE": "development"})
    assert server.url == f"http://127.0.0.1:{server.port}" and server.ws_url == f"ws://127.0.0.1:{server.port}"
    with urllib.request.urlopen(server.url, timeout=20) as answer:
        assert answer.status == 200
    assert server.alive and server.children == []
    assert server.log.startswith("settings development\n")
    assert repr(server) == "<Command: python serve.py {port}, running>"
    server.stop()
    server.stop()
    assert not server.alive and server.children == []
    assert repr(server) == "<Command: python serve.py {port}, stopped>"
    socket.create_server(("127.0.0.1", server.port)).close()


def test_a_cell_that_runs_again_replaces_its_server(start):
    """The same words in the same folder end the one before; others, and other ports, run beside it."""
    port = free_port()
    first, other = start("python serve.py {port}"), start("python serve.py {port}", port=port)
    second = start(["python", "serve.py", "{port}"])
    assert [command.alive for command in (first, other, second)] == [False, True, True]
    first.stop()
    assert Command._running[second._key] is second


def test_a_server_ends_with_its_block(folder):
    """As a context manager it is stopped at the end."""
    with Command("python serve.py {port}", folder=folder) as server:
        assert server.alive
    assert not server.alive


def test_a_port_that_its_words_do_not_name(start):
    """`port` says where a server will listen that has it from a file; one that is taken is refused at once."""
    port = free_port()
    server = start(f"python serve.py {port}", port=port)
    assert server.port == port
    with pytest.raises(PortInUse, match=f"expected port {port} to be free for `python .*`, found it taken"):
        start("python -c ''", port=port)


def test_a_text_in_its_log_says_that_it_is_ready(start):
    """With a port or without one; without both nobody could know."""
    worker = start(["python", "-c", SLEEP], ready="here")
    assert (worker.port, worker.url, worker.ws_url) == (None, None, None)
    assert "here" in worker.log
    assert "again" in start("python serve.py {port}", ready="again").log
    with pytest.raises(CommandFailed, match="expected to be told when `python` is ready, found neither"):
        start("python")


@pytest.mark.parametrize("options", [{"port": 1}, {"ready": "never"}], ids=str)
def test_a_server_that_ends_early_is_told(start, options):
    """With its status and its last words."""
    with pytest.raises(
        CommandFailed, match="(?s)expected .* to go on, found that it ended with status 1; .*no there"
    ) as e:
        start(["python", "-c", "import sys; sys.exit('no there')"], **options)
    assert (e.value.status, e.value.output) == (1, "no there\n")


def test_a_server_that_ends_as_it_gets_ready_is_told(folder, monkeypatch):
    """Somebody else may answer at its port: what counts is that it runs."""
    port = free_port()

    def ended(asked):
        server = Command._running.get((("python", "-c", "print(1)"), folder.resolve(), port))
        return server is not None and server._child.wait(20) is None

    monkeypatch.setattr(processes, "_answers", ended)
    with pytest.raises(CommandFailed, match="found that it ended with status 0; it wrote at last:\n1"):
        Command("python -c print(1)", folder=folder, port=port)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"port": 1}, "listen on 127.0.0.1:1"),
        ({"port": 1, "ready": "x"}, "write 'x' and listen"),
        ({"ready": "x"}, "w"),
    ],
    ids=str,
)
def test_a_server_that_is_never_ready_is_ended(start, monkeypatch, options, words):
    """After its time it is stopped, and the error says what was awaited."""
    monkeypatch.setattr(processes, "READY_LIMIT", 0.05)
    with pytest.raises(
        TimeLimit, match=f"(?s)expected `python -c .*` to {words}.* within 0.05 s, found that it does not"
    ):
        start(["python", "-c", SLEEP], **options)
    assert not Command._running


@POSIX
async def test_signals_and_what_follows_them(start):
    """`wait_for` looks at what was written since the last signal; `times` counts."""
    server = start("python serve.py {port}", ready="again")
    await server.wait_for("again")
    server.signal("HUP")
    await server.wait_for("again")
    assert server.log.count("again") == 2
    server.signal("SIGHUP")
    with pytest.raises(TimeLimit, match="expected 'again' in the log of `python .*` 2 times within 0 s, found it"):
        await server.wait_for("again", times=2, limit=0)
    with pytest.raises(CommandFailed, match="expected a signal that this system has, found 'HUPP'"):
        server.signal("HUPP")
    waiting = asyncio.create_task(server.wait_for("never"))
    server.signal("term")
    with pytest.raises(CommandFailed, match="found that it ended with status -15"):
        await waiting
    with pytest.raises(CommandFailed, match="found that it has ended"):
        server.signal("HUP")


@POSIX
async def test_waiting_for_the_end(start):
    """The exit status is told; a text that was its last one is found; who does not end is told."""
    server = start("python serve.py {port} worker")
    with pytest.raises(TimeLimit, match="expected `python .*` to end within 0 s, found it running"):
        await server.wait_end(limit=0)
    assert len(server.children) == 1
    server.signal("KILL")
    assert await server.wait_end() == -signal.SIGKILL
    assert repr(server) == "<Command: python serve.py {port} worker, ended with status -9>"
    worker = start(["python", "-c", SLEEP], ready="here")
    worker.signal("TERM")
    worker._marked = 0
    await worker.wait_end()
    await worker.wait_for("here")


def test_the_children_of_a_process_that_is_just_ending(start, monkeypatch):
    """Between the question and the answer it may be gone: then it has none."""
    worker = start(["python", "-c", SLEEP], ready="here")
    monkeypatch.setattr(Command, "alive", True)
    worker.stop()
    assert worker.children == []


def test_the_errors_are_the_lab_s():
    """So that whoever catches LabError has them."""
    assert all(issubclass(error, LabError) for error in (CommandFailed, CommandMissing, PortInUse, TimeLimit))
