"""A Redis for lessons and tests: the real program where it is installed, else fakeredis' TCP server.

Room: sockets and processes; knows nothing of Channels. Both kinds carry channels_redis' core and pub/sub layers. The
core layer needs Lua in the substitute, which the extra `redis` brings (`fakeredis[lua]`). The substitute lives in
threads of this process: it hands a published message on within 10 ms, and it is as busy as its clients make it. A
subscription takes effect when its thread gets to it; the pub/sub layer's `group_add` does not wait for that, so what is
published in the next milliseconds may be missed.

The program is started by a small watcher that holds the other end of a pipe: when this process ends, however it ends,
the pipe closes and the watcher ends Redis too. It has a session of its own, because the interrupt of a cell goes to the
kernel's whole process group, and Redis takes an interrupt for the order to shut down.
"""

import atexit
import contextlib
import importlib.metadata
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Any

from labserver.errors import LabError, PortInUse, TimeLimit

WAIT_LIMIT = 10.0
"""Seconds that a server gets to answer, and to end."""

_WATCHER = """
import os, subprocess, sys, tempfile, threading
quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
with tempfile.TemporaryDirectory(prefix="labserver-redis-") as folder:
    process = subprocess.Popen([*sys.argv[1:], "--dir", folder], cwd=folder, **quiet)
    threading.Thread(target=lambda: (os.read(0, 1), process.kill()), daemon=True).start()
    process.wait()
"""
_PING = b"*1\r\n$4\r\nPING\r\n"


class RedisMissing(LabError, RuntimeError):
    """Neither a redis-server nor its substitute is installed."""


class RedisServer:
    """A Redis on a free port of 127.0.0.1 that keeps nothing; it runs as soon as it is made, until `stop()`.

    program: the name or the path of the program; the substitute takes its place if there is no such program, and
    always if it is None.
    url: `redis://127.0.0.1:PORT/0`, the same after a restart. found: what was found, such as "redis-server 7.0.15".
    Raises RedisMissing, PortInUse, TimeLimit.
    """

    def __init__(self, program: str | None = "redis-server"):
        self._program = program and shutil.which(program)
        self._running: Any = None
        self._port = 0
        if self._program:
            told = subprocess.run([self._program, "--version"], capture_output=True, text=True, timeout=WAIT_LIMIT)
            self.found = f"redis-server {told.stdout.partition('v=')[2].partition(' ')[0]}".strip()
        else:
            self.found = _substitute()
        self._start()

    def __repr__(self) -> str:
        return f"<RedisServer: {self.found}{'' if self._running else ', stopped'}>"

    def __enter__(self) -> "RedisServer":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, and all connections to it; a second call does nothing. Raises TimeLimit."""
        running, self._running = self._running, None
        if running is not None:
            atexit.unregister(self.stop)
            running.stop()

    def restart(self, away: float = 0.0) -> None:
        """End it, and start it again at the same port: all that it held is gone. Raises PortInUse, TimeLimit.

        away: seconds without it in between, in which whoever tries at once to connect again is refused.
        """
        self.stop()
        time.sleep(away)
        self._start()

    def _start(self) -> None:
        try:
            with socket.create_server(("127.0.0.1", self._port)) as free:
                self._port = free.getsockname()[1]
        except OSError:
            raise PortInUse(
                f"expected port {self._port} to be free for Redis, found it taken; RedisServer() takes another one"
            ) from None
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._running = _Program(self._program, self._port) if self._program else _Substitute(self._port)
        atexit.register(self.stop)
        try:
            self._await_answer()
        except BaseException:
            self.stop()
            raise

    def _await_answer(self) -> None:
        end = time.monotonic() + WAIT_LIMIT
        while self._running.alive() and time.monotonic() < end:
            with contextlib.suppress(OSError):  # it does not listen yet
                with socket.create_connection(("127.0.0.1", self._port), timeout=1) as client:
                    client.sendall(_PING)
                    if client.recv(7) == b"+PONG\r\n":
                        return
            time.sleep(0.01)
        raise TimeLimit(
            f"expected {self.found} to answer PING on port {self._port} within {WAIT_LIMIT:g} s, found that it "
            f"{'is silent' if self._running.alive() else 'has ended'}; run the cell again, which takes another port, "
            "or RedisServer(program=None), which takes the substitute"
        )


class _Program:
    """redis-server, behind its watcher."""

    def __init__(self, program: str, port: int):
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCHER, program, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def alive(self) -> bool:
        return self._watcher.poll() is None

    def stop(self) -> None:
        self._watcher.stdin.close()
        try:
            self._watcher.wait(WAIT_LIMIT)
        except subprocess.TimeoutExpired:
            self._watcher.kill()
            self._watcher.wait()
            raise TimeLimit(
                f"expected redis-server to end within {WAIT_LIMIT:g} s, found it running; end it by hand"
            ) from None


class _Substitute:
    """fakeredis' TCP server, in daemon threads."""

    def __init__(self, port: int):
        from fakeredis import FakeRedis, TcpFakeServer

        class Server(TcpFakeServer):
            """Knows its clients' sockets: a command that waits (BZPOPMIN) does not look at them."""

            def process_request(self, request: Any, client_address: Any) -> None:
                clients[request] = str(client_address[1])
                # Answers to a pipeline go out one by one: the second would wait 40 ms for the first one's receipt.
                request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                super().process_request(request, client_address)

            def close_request(self, request: Any) -> None:
                clients.pop(request, None)
                super().close_request(request)

            def service_actions(self) -> None:
                """End the waiting of a client that has gone: it would take a message that is for another one."""
                with contextlib.suppress(OSError, ValueError, KeyError):  # its own thread is closing it
                    readable = select.select(list(clients), [], [], 0)[0]
                    gone = [clients[request] for request in readable if not request.recv(1, socket.MSG_PEEK)]
                    for client in admin.client_list() if gone else ():
                        if any(port in client["addr"] for port in gone):
                            admin.client_unblock(client["id"])

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing of a client that has gone."""

        clients: dict[socket.socket, str] = {}
        self._clients = clients
        self._server = Server(("127.0.0.1", port))
        admin = FakeRedis(server=self._server.fake_server)
        self._server.daemon_threads = True  # else a kernel could not end while somebody is connected
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for each in list(self._clients):
            with contextlib.suppress(OSError):  # it has hung up itself
                each.shutdown(socket.SHUT_RDWR)


def _substitute() -> str:
    try:
        import fakeredis  # noqa: F401 - only whether it can be
    except ImportError as error:
        raise RedisMissing(
            f"expected a program redis-server or the package fakeredis, found neither ({error}); install one of them: "
            "pip install 'channels-lab[redis]'"
        ) from None
    return f"fakeredis {importlib.metadata.version('fakeredis')}"
