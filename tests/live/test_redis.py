"""A Redis for lessons and tests: the real program and its substitute."""

import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from redis import ConnectionError, Redis

from labserver.errors import LabError, PortInUse, TimeLimit
from labserver.live import redis as module
from labserver.live.redis import RedisMissing, RedisServer

REAL = pytest.param("redis-server", marks=pytest.mark.needs("redis-server"))


@pytest.fixture(params=[REAL, None], ids=["real", "substitute"])
def server(request):
    """Each kind of server, for one test."""
    with RedisServer(program=request.param) as server:
        yield server


@contextlib.contextmanager
def client(server):
    """A plain client, closed at the end."""
    with Redis.from_url(server.url, socket_timeout=5) as client:
        yield client


def listens(server):
    """Whether anybody listens at the server's address."""
    try:
        socket.create_connection(("127.0.0.1", int(server.url.split(":")[2].split("/")[0])), timeout=5).close()
    except OSError:
        return False
    return True


def waits(server, reader):
    """Whether a client's BZPOPMIN has begun to wait."""
    if server._program:
        return any(each["cmd"] == "bzpopmin" for each in reader.client_list())
    return any(each.get_socket()._blocked for each in list(server._running._server.clients.values()))


def wait_until(true):
    """Wait until a function says true; fails after ten seconds."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "ten seconds were not enough"
        time.sleep(0.005)


@pytest.mark.parametrize("backend", [RedisChannelLayer, RedisPubSubChannelLayer])
async def test_it_carries_both_layers_of_channels_redis(server, backend):
    """A group message and a direct one go from one process's layer to another's, line breaks and all."""
    sender, receiver = backend(hosts=[server.url]), backend(hosts=[server.url])
    try:
        channel = await receiver.new_channel()
        await receiver.group_add("room", channel)
        for send, target in ((sender.group_send, "room"), (sender.send, channel)):
            async with asyncio.timeout(10):
                message = {"type": "note", "text": f"{target}\r\ntwo é"}
                receiving = asyncio.ensure_future(receiver.receive(channel))
                while not receiving.done() or receiving.result() != message:
                    if receiving.done():  # the former one, once more
                        receiving = asyncio.ensure_future(receiver.receive(channel))
                    await send(target, message)  # again: a subscription takes effect a moment after it was asked for
                    await asyncio.wait([receiving], timeout=0.1)
    finally:
        for layer in (sender, receiver):
            await getattr(layer, "close_pools", layer.flush)()


def test_a_restart_keeps_the_address_and_nothing_else(server):
    """After `restart()` the same address answers, its data is gone, and old connections are closed."""
    url = server.url
    with client(server) as before:
        before.set("key", "value")
        connection = before.connection_pool.get_connection()
        server.restart()
        assert server.url == url
        with pytest.raises(ConnectionError):
            connection.read_response()
    with client(server) as after:
        assert after.get("key") is None


def test_a_restart_may_take_its_time(server):
    """While it is away nobody listens; then the same address answers again."""
    thread = threading.Thread(target=server.restart, kwargs={"away": 0.2})
    thread.start()
    wait_until(lambda: not listens(server))
    thread.join(10)
    assert listens(server)


def test_stop_frees_the_port_and_may_be_called_twice(server):
    """After `stop()` nobody listens, its name says so, and a second call does nothing."""
    assert listens(server)
    server.stop()
    server.stop()
    assert not listens(server)
    assert repr(server) == f"<RedisServer: {server.found}, stopped>"


def test_a_stop_does_not_wait_for_a_command_that_waits(server):
    """A client that waits for a message that never comes does not hold up the end, and is hung up on."""
    with client(server) as reader, client(server) as waiting:
        connection = waiting.connection_pool.get_connection()
        connection.send_command("BZPOPMIN", "nothing", 0)
        wait_until(lambda: waits(server, reader))
        server.stop()
        assert not listens(server)
        with pytest.raises(ConnectionError):
            connection.read_response()


def test_a_client_that_has_gone_takes_no_message(server):
    """A waiting command ends with its connection; else it would swallow what the next reader waits for."""
    with client(server) as reader, client(server) as gone:
        connection = gone.connection_pool.get_connection()
        port = str(connection._sock.getsockname()[1])
        connection.send_command("BZPOPMIN", "queue", 0)
        wait_until(lambda: waits(server, reader))
        connection.disconnect()
        wait_until(lambda: not any(port in each["addr"] for each in reader.client_list()))
        reader.zadd("queue", {"message": 1})
        assert reader.bzpopmin("queue", 5) == (b"queue", b"message", 1.0)


def test_it_says_what_was_found(server):
    """`found` names the kind and its version."""
    kind = "redis-server" if server._program else "fakeredis"
    assert re.fullmatch(kind + r" \d+\.\d+\.\d+\S*", server.found)
    assert repr(server) == f"<RedisServer: {server.found}>"


def test_without_the_program_the_substitute_takes_its_place():
    """A program that is not installed is no error."""
    with RedisServer(program="no-such-redis-server") as server, client(server) as reader:
        assert server.found.startswith("fakeredis")
        assert reader.ping()


def test_without_both_it_says_what_to_install(monkeypatch):
    """With neither, the error names both and the way to get them."""
    monkeypatch.setitem(sys.modules, "fakeredis", None)
    with pytest.raises(RedisMissing, match="expected a program redis-server or the package fakeredis.*pip install"):
        RedisServer(program=None)
    assert issubclass(RedisMissing, LabError)


def test_a_program_that_ends_is_reported():
    """A program that cannot run as Redis is reported at once, and the way out is named."""
    with pytest.raises(TimeLimit, match=r"found that it has ended.*RedisServer\(program=None\)"):
        RedisServer(program=sys.executable)


def test_a_silent_program_is_reported(monkeypatch):
    """What listens, but does not answer, is ended and reported."""
    monkeypatch.setattr(module, "WAIT_LIMIT", 0.2)
    monkeypatch.setattr(module, "_PING", b"\r\n")
    with pytest.raises(TimeLimit, match="found that it is silent"):
        RedisServer(program=None)


def test_a_taken_port_is_reported(server):
    """Whoever took the port between `stop()` and `restart()` is not mistaken for Redis."""
    server.stop()
    with socket.create_server(("127.0.0.1", int(server.url.split(":")[2].split("/")[0]))):
        with pytest.raises(PortInUse, match="expected port .* to be free for Redis, found it taken"):
            server.restart()
    server.restart()
    assert listens(server)


def test_a_program_that_does_not_end_is_killed_and_reported(monkeypatch):
    """A watcher that does not react is not waited for, and does not stay."""
    monkeypatch.setattr(module, "_WATCHER", "import time; time.sleep(60)")
    running = module._Program("redis-server", 1)
    monkeypatch.setattr(module, "WAIT_LIMIT", 0.1)
    with pytest.raises(TimeLimit, match="found it running"):
        running.stop()
    assert not running.alive()


@pytest.mark.parametrize("program", [REAL, None])
def test_it_ends_with_the_process_that_started_it(program):
    """A kernel that is killed cannot tidy up: its Redis ends all the same, and leaves no folder."""
    code = f"""from labserver.live.redis import RedisServer
print(RedisServer({program!r}).url, flush=True)
input()"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        url = process.stdout.readline().strip()
        with Redis.from_url(url) as reader:
            folder = reader.config_get("dir")["dir"] if program else None
        process.kill()
    port = int(url.split(":")[2].split("/")[0])

    def refused():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    wait_until(refused)
    wait_until(lambda: folder is None or not os.path.exists(folder))


@pytest.mark.needs("redis-server")
@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX's")
def test_the_interrupt_of_a_cell_does_not_reach_it():
    """It stands outside this process's group, to which a kernel's interrupt is sent."""
    with RedisServer() as server:
        assert server._program == shutil.which("redis-server")
        assert os.getpgid(server._running._watcher.pid) != os.getpgid(0)
