"""Rows 81 to 89 of the table of bad inputs, and where output goes: in real kernels, driven as a notebook does it."""

import re
import socket
import subprocess
import sys
import time

import pytest

START = """
import asyncio
from labserver import serve
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.layers import get_channel_layer
from websockets.sync.client import connect

class Member(AsyncWebsocketConsumer):
    async def connect(self):
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()
    async def receive(self, text_data=None, bytes_data=None):
        print(f"async consumer got {text_data}")
        if text_data == "boom":
            raise ValueError("boom")
        await self.send(text_data=text_data)
    async def room_message(self, event):
        await self.send(text_data=event["text"])

class Plain(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        print(f"sync consumer got {text_data}")
        self.send(text_data=text_data)

server = serve(Member.as_asgi())
"""

ECHO = """
async with server.connect("/") as ws:
    await ws.send("serves on")
    print("got", await ws.recv())
"""


@pytest.fixture(scope="module")
def shared(new_kernel):
    """One kernel for all tests that can share one."""
    kernel = new_kernel()
    yield kernel
    kernel.end()


@pytest.fixture
def kernel(shared):
    """A kernel in which the start cell has run (again)."""
    shared.run(START)
    return shared


def address(kernel):
    """The port that the kernel's server listens on."""
    return int(kernel.run("print(server.url)").rpartition(":")[2])


def becomes_free(port):
    """Whether nobody listens on the port any more, within five seconds."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return True
        time.sleep(0.01)
    return False


# --- 81: interrupts ---------------------------------------------------------------------------------------------------

CANCELLED = "CancelledError"
"""What ipykernel makes of an interrupt while a cell awaits; elsewhere it is Python's KeyboardInterrupt."""


WAIT = "print('waiting', flush=True); "


@pytest.mark.parametrize(
    ("cell", "error"),
    [
        (WAIT + "await asyncio.sleep(600)", CANCELLED),
        (WAIT + "import time; time.sleep(600)", "KeyboardInterrupt"),
        ("ws = connect(server.ws_url, proxy=None); " + WAIT + "ws.recv()", "KeyboardInterrupt"),
        ("server.application = silent; " + WAIT + "await server.connect('/', open_timeout=600)", CANCELLED),
    ],
    ids=["await", "sleep", "sync client", "handshake"],
)
def test_an_interrupt_ends_the_cell_and_the_server_serves_on(kernel, cell, error):
    """Row 81: an interrupt ends a cell of any kind within five seconds, and the server serves on."""
    kernel.run("async def silent(scope, receive, send):\n    await receive(); await receive()")
    busy = kernel.send(cell)
    kernel.wait(busy, until="waiting")
    kernel.manager.interrupt_kernel()
    assert kernel.wait(busy, limit=5).error["ename"] == error
    kernel.run("server.application = Member.as_asgi()")
    assert "got serves on" in kernel.run(ECHO)


# --- 82: the kernel goes ----------------------------------------------------------------------------------------------


def test_the_port_is_free_after_a_restart_and_after_a_kill(fresh):
    """Row 82: when the kernel restarts or is killed, its port is free within five seconds, for others or itself."""
    fresh.run(START)
    port = address(fresh)
    fresh.restart()
    assert becomes_free(port)
    fresh.run(START.replace("serve(Member.as_asgi())", f"serve(Member.as_asgi(), port={port})"))
    assert "got serves on" in fresh.run(ECHO)
    fresh.manager.provisioner.process.kill()
    assert becomes_free(port)


# --- 83, 84: the start cell again, and a taken port -------------------------------------------------------------------


def test_the_start_cell_again_is_the_same_server(kernel):
    """Row 83: running the start cell again gives the same server at the same address."""
    port = address(kernel)
    kernel.run("first = server")
    kernel.run(START)
    assert kernel.run("print(server is first)") == "True\n"
    assert address(kernel) == port
    assert "got serves on" in kernel.run(ECHO)


def test_a_taken_port_says_so_and_the_server_stays(kernel):
    """Row 84: a taken port is named with its holder and the way to a free one, and the running server stays."""
    port = address(kernel)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        name, text = kernel.fail(f"serve(Member.as_asgi(), port={taken.getsockname()[1]})")
    assert name == "PortInUse"
    assert re.search(r"found it taken by .* \(process \d+\).*serve\(application, port=0\) picks a free one", text)
    assert address(kernel) == port and "got serves on" in kernel.run(ECHO)
    kernel.run("server.stop()")
    assert becomes_free(port)
    kernel.run(START)
    assert address(kernel) == port


# --- 85: a cell that blocks -------------------------------------------------------------------------------------------

OTHER = """
import sys
from websockets.sync.client import connect
with connect(sys.argv[1], proxy=None) as ws:
    ws.send("from another process")
    print(ws.recv(timeout=20))
"""

BLOCK = """
import os, time
print("blocking", flush=True)
for _ in range(250):
    time.sleep(0.1)
    if os.path.exists({flag!r}):
        break
else:
    raise RuntimeError("nobody was answered meanwhile")
print("answered meanwhile")
"""


def test_a_blocking_cell_does_not_stop_the_server(kernel, tmp_path):
    """Row 85: while a cell sleeps, the server answers another process: the cell ends only after the answer came."""
    flag = tmp_path / "answered"
    url = kernel.run("print(server.ws_url)").strip()
    busy = kernel.send(BLOCK.format(flag=str(flag)))
    kernel.wait(busy, until="blocking")
    done = subprocess.run([sys.executable, "-c", OTHER, url], capture_output=True, text=True, timeout=30)
    assert done.stdout == "from another process\n", done.stderr
    flag.touch()
    assert kernel.wait(busy).text.endswith("answered meanwhile\n")


# --- 86: code that changes --------------------------------------------------------------------------------------------


def test_a_class_that_is_defined_again_serves_new_connections(kernel):
    """Row 86: a consumer that is redefined and served gets the new connections; open ones keep the old code."""
    kernel.run("old = await server.connect('/')")
    kernel.run("""
class Member(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data.upper())
serve(Member.as_asgi())
""")
    assert "got SERVES ON" in kernel.run(ECHO)
    assert "still old" in kernel.run("await old.send('still old'); print(await old.recv()); await old.close()")


# --- 87: who imports daphne first -------------------------------------------------------------------------------------

OWN_SETTINGS = """
from django.conf import settings
settings.configure(INSTALLED_APPS=["daphne", "channels"], SECRET_KEY="x", ASGI_APPLICATION="x.y",
                   CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}})
import django
django.setup()
"""


@pytest.mark.parametrize("first", ["import daphne.server", OWN_SETTINGS], ids=["import", "settings"])
def test_daphne_may_come_first(fresh, first):
    """Row 87: daphne imported before labserver, directly or as one of the user's own apps, is no problem."""
    fresh.run(first)
    fresh.run(START)
    assert "got serves on" in fresh.run(ECHO)
    fresh.run("ws = await server.connect('/')")
    assert (
        fresh.run("""
await get_channel_layer().group_send("room", {"type": "room.message", "text": "pushed"})
print(await ws.recv())
""")
        == "pushed\n"
    )


def test_a_wrong_reactor_first_is_a_clear_error(fresh):
    """Row 87: Twisted's default reactor, installed first, is an immediate error that says what to do, every time."""
    fresh.run("from twisted.internet import reactor")
    for _ in range(2):
        name, text = fresh.fail(START)
        assert name == "ReactorConflict"
        assert (
            "is already installed in this process; restart the kernel and call serve() before anything imports" in text
        )


# --- 88: two at once --------------------------------------------------------------------------------------------------


def test_two_notebooks_have_two_servers(kernel, fresh):
    """Row 88: two kernels at once serve on two ports, and neither minds when the other ends."""
    fresh.run(START)
    assert address(kernel) != address(fresh)
    fresh.run("server.stop()")
    assert "got serves on" in kernel.run(ECHO)


# --- 89: asyncio.run, and every other way to be a client --------------------------------------------------------------


def test_run_all_with_asyncio_run_runs_every_cell(fresh):
    """Row 89: after `asyncio.run` in a cell, with nest_asyncio2, the cells that are queued behind it run, too."""
    cells = [
        START,
        "import nest_asyncio2\nnest_asyncio2.apply()",
        "async def client():\n    async with server.connect('/') as ws:\n        await ws.send('run')\n"
        "        print('got', await ws.recv())",
        "asyncio.run(client())",
        "print('later')",
        "asyncio.run(client())",
        ECHO,
    ]
    queued = [fresh.send(cell) for cell in cells]
    texts = [fresh.wait(cell).text for cell in queued]
    assert not any(fresh._cells[cell].error for cell in queued)
    assert "got run" in texts[3] and "got run" in texts[5] and "got serves on" in texts[6]
    assert texts[4] == "later\n"
    busy = fresh.send(WAIT + "await asyncio.sleep(600)")
    fresh.wait(busy, until="waiting")
    fresh.manager.interrupt_kernel()
    assert fresh.wait(busy, limit=5).error["ename"] == CANCELLED
    assert "got serves on" in fresh.run(ECHO)


def test_every_kind_of_client_works_in_a_cell(kernel):
    """Async, sync and HTTP clients, and a push to a group, all reach the one server from cells."""
    assert "got serves on" in kernel.run(ECHO)
    assert "sync" in kernel.run("""
with connect(server.ws_url, proxy=None) as ws:
    ws.send("sync")
    print(ws.recv(timeout=5))
""")
    assert (
        kernel.run("""
ws = await server.connect("/")
await get_channel_layer().group_send("room", {"type": "room.message", "text": "pushed"})
print(await ws.recv())
await ws.close()
""")
        == "pushed\n"
    )
    assert kernel.run("print((await server.get('/')).status_code)").endswith("500\n")  # a consumer alone knows no HTTP


# --- where output goes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("consumer", "said"), [("Member", "async consumer got"), ("Plain", "sync consumer got")])
def test_prints_of_a_consumer_are_under_the_cell_that_runs(kernel, consumer, said):
    """What a consumer prints is under the cell that is running, not under the one that served or connected."""
    kernel.run(f"server.application = {consumer}.as_asgi()")
    kernel.run("ws = await server.connect('/')")
    for text in ("first", "second"):
        shown = kernel.run(f"await ws.send({text!r}); print('answer', await ws.recv())")
        assert shown == f"{said} {text}\nanswer {text}\n"
    kernel.run("await ws.close()")


def test_a_crash_is_told_under_the_cell_that_runs(kernel):
    """A consumer's traceback is under the running cell, at once, with the learner's own lines."""
    kernel.run("ws = await server.connect('/')")
    shown = kernel.run("""
await ws.send("boom")
try:
    await ws.recv()
except Exception as error:
    print(type(error).__name__)
""")
    assert "/ crashed: the client gets close code 1011, and the application gets no websocket.disconnect" in shown
    assert "cell, line" in shown and 'raise ValueError("boom")' in shown and "ValueError: boom" in shown
    assert "ConnectionClosedError" in shown


def test_a_missing_route_is_told_under_the_cell_that_runs(kernel):
    """Row 55: the helpful line about a path that nothing matches is under the running cell."""
    kernel.run("""
from channels.routing import URLRouter
from django.urls import path
server.application = URLRouter([path("ws/member/", Member.as_asgi())])
""")
    ran = kernel.wait(kernel.send("await server.connect('/ws/nobody/')"))
    assert ran.error["ename"] == "InvalidStatus" and "403" in ran.error["evalue"]
    assert "no route for /ws/nobody/" in ran.text and "the routes are: ws/member/" in ran.text


def test_a_forgotten_await_is_warned_of_under_the_cell_that_runs(kernel):
    """Python's "was never awaited" reaches the learner, although Twisted would like to keep warnings to itself."""
    shown = kernel.run("""
async def forgetful(scope, receive, send):
    await receive()
    send({"type": "websocket.accept"})
    await send({"type": "websocket.close"})
server.application = forgetful
try:
    await server.connect("/")
except Exception as error:
    print(type(error).__name__)
""")
    assert "recorded_send' was never awaited" in shown and "InvalidStatus" in shown
