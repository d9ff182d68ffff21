"""`make bench`: what the live server costs, as ratios within one run.

Machines are noisy, so every figure stands beside its rival's: repetitions take turns, and the median of the pairwise
ratios counts. Not a test: nothing here passes or fails. `make bench ARGS="start echo"` runs some parts alone.
"""

import asyncio
import contextlib
import gc
import importlib.util
import itertools
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil
import websockets
from jupyter_client.manager import start_new_kernel

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {"LABSERVER_SECRET_KEY": "only-for-measuring-" * 3, "PYTHONPATH": str(HERE)}

# --- the rivals, each a piece of code that ends with `port` --------------------------------------------------------

LABSERVER = """
from labserver import serve
server = serve("{application}")
port = int(server.url.rpartition(":")[2])
"""

BARE = """
import asyncio, os, threading
from twisted.internet import asyncioreactor
loop = asyncio.SelectorEventLoop()
asyncioreactor.install(loop)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labserver.project.settings")
import importlib
module, _, name = "{application}".partition(":")
application = getattr(importlib.import_module(module), name)
from daphne.server import Server
from twisted.internet import reactor
started = threading.Event()
class Listening(Server):
    def listen_success(self, listening):
        super().listen_success(listening)
        started.set()
async def start():
    listening.abort_start = True
    listening.run()
listening = Listening(application, endpoints=["tcp:port=0:interface=127.0.0.1"], signal_handlers=False)
def run():
    asyncio.set_event_loop(loop)
    reactor.run(installSignalHandlers=False)
threading.Thread(target=run, daemon=True).start()
asyncio.run_coroutine_threadsafe(start(), loop).result(10)
started.wait(10)
port = listening.listening_addresses[0][1]
"""

UVICORN = """
import threading, time, uvicorn, importlib, os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labserver.project.settings")
module, _, name = "{application}".partition(":")
config = uvicorn.Config(getattr(importlib.import_module(module), name), port=0, log_level="error", lifespan="off")
listening = uvicorn.Server(config)
threading.Thread(target=listening.run, daemon=True).start()
while not listening.started:
    time.sleep(0.001)
port = listening.servers[0].sockets[0].getsockname()[1]
"""

OTHERS = {
    "dash": """
import threading, dash
from dash import html
from werkzeug.serving import make_server
app = dash.Dash("bench")
app.layout = html.Div("x")
listening = make_server("127.0.0.1", 0, app.server, threaded=True)
threading.Thread(target=listening.serve_forever, daemon=True).start()
port = listening.port
""",
    "bokeh": """
import asyncio, threading
from bokeh.models import Div
from bokeh.server.server import Server
ready = threading.Event()
def run():
    global port
    asyncio.set_event_loop(asyncio.new_event_loop())
    server = Server(lambda doc: doc.add_root(Div(text="x")), port=0)
    server.start()
    port = server.port
    ready.set()
    server.io_loop.start()
threading.Thread(target=run, daemon=True).start()
ready.wait(20)
""",
    "panel": """
import socket
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
import panel
panel.serve(panel.pane.Str("x"), port=port, threaded=True, show=False, verbose=False)
""",
    "gradio": """
import gradio
demo = gradio.Interface(lambda text: text, "text", "text")
demo.launch(prevent_thread_lock=True, quiet=True)
port = demo.server_port
""",
}
"""Other tools that start a server in a kernel; measured where they are installed, until the first page."""

PAGE = """
import urllib.request
while True:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/").read()
        break
    except OSError:
        time.sleep(0.001)
"""

PROJECT, RAW = "labserver.project.asgi:application", "bench:raw_echo"


async def raw_echo(scope, receive, send):
    """An echo without Django or Channels: what is left is the server's own cost."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


# --- measuring -------------------------------------------------------------------------------------------------------


class Kernel:
    """A fresh kernel, as a notebook gets it."""

    def __enter__(self):
        self.manager, self.client = start_new_kernel(env=ENVIRONMENT, stderr=subprocess.DEVNULL, cwd=str(HERE))
        self.process = psutil.Process(self.manager.provisioner.pid)
        self.process = next(iter(self.process.children()), self.process)
        return self

    def run(self, code, value="None"):
        """Run a cell, and return what an expression is afterwards."""
        reply = self.client.execute_interactive(
            code, user_expressions={"value": value}, timeout=120, output_hook=lambda message: None
        )["content"]
        if reply["status"] != "ok":
            raise RuntimeError("\n".join(reply["traceback"]))
        return eval(reply["user_expressions"]["value"]["data"]["text/plain"])

    def __exit__(self, *exc_info):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def table(title, rows, unit, first):
    """Print medians, and each row's ratio to the first one's, pair by pair."""
    print(f"\n{title}")
    for name, values in rows.items():
        ratio = statistics.median(a / b for a, b in zip(values, rows[first], strict=True))
        spread = f"{min(values):9.2f} … {max(values):9.2f}"
        print(f"  {name:44} {statistics.median(values):9.2f} {unit}   ({spread})   ratio {ratio:5.2f}")
    sys.stdout.flush()


def growth(rows):
    """Print how the time of each grows with the members, as an exponent: of the few and the many of one repetition."""
    few, many = min(rows), max(rows)
    for name in rows[few]:
        pairs = zip(rows[few][name], rows[many][name], strict=True)
        exponent = statistics.median(math.log(b / a, many / few) for a, b in pairs)
        print(f"  {name:44} from {few:,} to {many:,} members: N^{exponent:.2f}")


def start(repetitions=7):
    """From the first import to the first echo, in a fresh kernel."""
    rivals = {
        "Django + Channels + daphne in a thread": (BARE, PROJECT, "/ws/echo/"),
        "labserver": (LABSERVER, PROJECT, "/ws/echo/"),
        "daphne alone": (BARE, RAW, "/"),
        "uvicorn alone": (UVICORN, RAW, "/"),
    }
    installed = {name: code for name, code in OTHERS.items() if importlib.util.find_spec(name)}
    rows = {name: [] for name in (*rivals, *installed)}
    for _ in range(repetitions):
        for name, code in installed.items():
            with Kernel() as kernel:
                kernel.run("import time")
                code = f"began = time.perf_counter()\n{code}{PAGE}elapsed = time.perf_counter() - began"
                rows[name].append(kernel.run(code, "elapsed") * 1000)
        for name, (code, application, path) in rivals.items():
            with Kernel() as kernel:
                kernel.run("from websockets.sync.client import connect; import time")
                code = f"began = time.perf_counter()\n{code.format(application=application)}"
                code += f"with connect(f'ws://127.0.0.1:{{port}}{path}', origin=f'http://127.0.0.1:{{port}}') as ws:\n"
                code += "    ws.send('x'); ws.recv()\nelapsed = time.perf_counter() - began"
                rows[name].append(kernel.run(code, "elapsed") * 1000)
    table("Fresh kernel: imports, serve, first echo", rows, "ms", "Django + Channels + daphne in a thread")


def warm(repetitions=15):
    """What re-running cells costs in a warm kernel, and its memory."""
    with Kernel() as bare, Kernel() as kernel:
        kernel.run(LABSERVER.format(application=PROJECT))
        kernel.run("import time, asyncio\nfrom labserver.project.asgi import application")
        kernel.run("async with server.connect('/ws/echo/') as ws:\n    await ws.send('x'); await ws.recv()")
        rows = {"serve again": [], "hot swap": [], "stop with 5 clients": []}
        for _ in range(repetitions):
            timed = "began = time.perf_counter()\n{}\nelapsed = (time.perf_counter() - began) * 1000"
            rows["serve again"].append(kernel.run(timed.format("serve(application)"), "elapsed"))
            rows["hot swap"].append(kernel.run(timed.format("server.application = application"), "elapsed"))
            kernel.run("clients = [await server.connect('/ws/echo/') for _ in range(5)]")
            rows["stop with 5 clients"].append(kernel.run(timed.format("server.stop()"), "elapsed"))
            kernel.run("for each in clients:\n    await each.close()\nserve(application)")
        print("\nIn a warm kernel")
        for name, values in rows.items():
            print(f"  {name:44} {statistics.median(values):9.2f} ms   ({min(values):9.2f} … {max(values):9.2f})")
        more = (kernel.process.memory_info().rss - bare.process.memory_info().rss) / 2**20
        print(f"  {'memory over a bare kernel':44} {more:9.1f} MB")
        kernel.run(PUSH)
        print(f"  {'group_send in a cell to its client':44} {kernel.run(PUSHED, 'statistics.median(times)'):9.2f} ms")
        sys.stdout.flush()


PUSH = """
import statistics
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
class Member(AsyncWebsocketConsumer):
    async def connect(self):
        await self.channel_layer.group_add("all", self.channel_name)
        await self.accept()
    async def disconnect(self, code):
        await self.channel_layer.group_discard("all", self.channel_name)
    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send("all", {"type": "a.message"})
    async def a_message(self, event):
        await self.send(text_data="x")
server.application = Member.as_asgi()
"""

PUSHED = """
times = []
async with server.connect("/") as ws:
    for _ in range(300):
        began = time.perf_counter()
        await get_channel_layer().group_send("all", {"type": "a.message"})
        await ws.recv()
        times.append((time.perf_counter() - began) * 1000)
"""


@contextlib.contextmanager
def process(code, **environment):
    """A process of its own that runs a rival until the block ends; gives its port, its process and its input.

    A line of code that is written to its input is run. What the code calls `told`, stands in its output's next lines.
    """
    code += "\nprint(port, *globals().get('told', ()), sep='\\n', flush=True)"
    code += "\nimport sys\nfor line in sys.stdin:\n    exec(line)\n    print(flush=True)"
    environment = ENVIRONMENT | environment
    with subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=HERE, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as child:  # fmt: skip
        try:
            yield int(child.stdout.readline()), psutil.Process(child.pid), child
        finally:
            child.kill()


@contextlib.contextmanager
def standalone(application):
    """The `daphne` command; gives its port and its process."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = ENVIRONMENT | {"DJANGO_SETTINGS_MODULE": "labserver.project.settings"}
    command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0", application]
    with subprocess.Popen(command, env=environment, cwd=HERE, stderr=subprocess.DEVNULL) as child:
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield port, psutil.Process(child.pid)
        finally:
            child.kill()


def _used(running):
    """Processor time in seconds; to the nanosecond on Linux, elsewhere in ticks of the system's clock."""
    try:
        return (
            sum(int(each.read_text().split()[0]) for each in Path(f"/proc/{running.pid}/task").glob("*/schedstat"))
            / 1e9
        )
    except OSError:
        times = running.cpu_times()
        return times.user + times.system


async def _talk(port, path, messages, clients=4):
    async def one():
        url = f"ws://127.0.0.1:{port}{path}"
        async with websockets.connect(url, origin=f"http://127.0.0.1:{port}", compression=None) as ws:
            for _ in range(messages // clients):
                await ws.send("hello")
                await ws.recv()

    await asyncio.gather(*(one() for _ in range(clients)))


def echo(repetitions=15, messages=2000):
    """Processor time per echoed message, with four clients in another process."""
    for title, application, path in (("Channels consumer", PROJECT, "/ws/echo/"), ("raw ASGI", RAW, "/")):
        with contextlib.ExitStack() as stack:
            kernel = stack.enter_context(Kernel())
            kernel.run(LABSERVER.format(application=application))
            # One process for both: two that are alike differ by 3 % for their whole life, by where their memory lies.
            port, running, child = stack.enter_context(process(LABSERVER.format(application=application)))
            rivals = {
                "daphne in a thread": stack.enter_context(process(BARE.format(application=application)))[:2],
                "labserver, not recording": (port, running, child, "server._daphne.application = server.application"),
                "labserver, recording": (port, running, child, "server._daphne.application = server._recorder"),
                "daphne command, alone": stack.enter_context(standalone(application)),
                "labserver, recording, in a kernel": (kernel.run("", "port"), kernel.process),
            }
            rows, speed = {name: [] for name in rivals}, {name: [] for name in rivals}
            for repetition in range(-1, repetitions):
                for name, (port, running, *switch) in rivals.items():
                    if switch:
                        print(switch[1], file=switch[0].stdin, flush=True)
                        switch[0].stdout.readline()
                    before, began = _used(running), time.perf_counter()
                    asyncio.run(_talk(port, path, messages))
                    wall, after = time.perf_counter() - began, _used(running)
                    if repetition >= 0:
                        rows[name].append((after - before) / messages * 1e6)
                        speed[name].append(messages / wall)
        table(f"Echo, {title}: processor time per message", rows, "µs", "daphne in a thread")
        for text, one, other in (
            ("recording, against not recording", "labserver, recording", "labserver, not recording"),
            ("in a kernel, against the daphne command", "labserver, recording, in a kernel", "daphne command, alone"),
        ):
            ratio = statistics.median(a / b for a, b in zip(rows[one], rows[other], strict=True))
            print(f"  {text:44} {'':39} ratio {ratio:5.2f}")
        table(f"Echo, {title}: messages per second", speed, "/s", "daphne in a thread")


SIZES = (100, 300, 1000)
"""Members of the groups that are broadcast to."""


def broadcast(repetitions=5):
    """One message to every member of a group, until the last has it, over real sockets."""
    from labserver.live.redis import RedisServer

    code = LABSERVER.format(application=RAW) + PUSH
    stock = BARE.format(application=PROJECT) + PUSH.replace("server.application", "listening.application")

    async def run(port, members):
        url = f"ws://127.0.0.1:{port}/"
        clients = []
        for _ in range(0, members, 50):
            clients += await asyncio.gather(*(websockets.connect(url, compression=None) for _ in range(50)))
        times = []
        for _ in range(5):
            began = time.perf_counter()
            await clients[0].send("x")
            await asyncio.gather(*(each.recv() for each in clients))
            times.append((time.perf_counter() - began) * 1000)
        await asyncio.gather(*(each.close() for each in clients))
        return statistics.median(times)

    with RedisServer() as redis, process(stock) as (bare, *_), process(code) as (ours, *_):
        with process(stock, LABSERVER_REDIS_URL=redis.url) as (shared, *_):
            ports = {"stock, in memory": bare, "labserver, recording": ours, f"stock, {redis.found} pub/sub": shared}
            rows = {members: {name: [] for name in ports} for members in SIZES}
            for _ in range(repetitions):
                for members, name in itertools.product(SIZES, ports):  # side by side: the clock of a machine drifts
                    rows[members][name].append(asyncio.run(run(ports[name], members)))
    for members in SIZES:
        table(f"Broadcast to {members:,} members", rows[members], "ms", "stock, in memory")
    growth(rows)
    cell(repetitions)


def cell(repetitions):
    """From `group_send` to the last of 100 clients: sent in a cell, against the same on the server's own loop."""
    with Kernel() as kernel:
        kernel.run("import asyncio, statistics, time" + LABSERVER.format(application=RAW) + PUSH + CLIENTS)
        kernel.run("clients = [await websockets.connect(server.ws_url + '/') for _ in range(100)]")
        rows = {"on the server's own loop": [], "in a cell": []}
        for _ in range(repetitions):
            for name, send in zip(rows, ("there()", "here()"), strict=True):
                rows[name].append(kernel.run(f"elapsed = await last({send})", "elapsed"))
        table("group_send until the last of 100 clients has it", rows, "ms", "on the server's own loop")
        print(kernel.run(BURST, "told"))
        sys.stdout.flush()


CLIENTS = """
import websockets
from labserver.live import reactor
layer = get_channel_layer()

def here():
    return layer.group_send("all", {"type": "a.message"})

def there():
    return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(here(), reactor.loop))

async def last(sending, times=7):
    found = []
    for i in range(times):
        if i:
            sending = here() if asyncio.iscoroutine(sending) else there()
        began = time.perf_counter()
        await sending
        await asyncio.gather(*(each.recv() for each in clients))
        found.append((time.perf_counter() - began) * 1000)
    return statistics.median(found)
"""

BURST = """
for _ in range(500):
    await here()
heard = 0
try:
    async with asyncio.timeout(10):
        for _ in range(500):
            await clients[0].recv()
            heard += 1
except TimeoutError:
    pass
lost = sum(event.type == "full" for event in server.trace)
told = f"  a burst of 500 sends to 100 healthy members: the first of them got {heard}; lost, and in the trace: {lost}"
"""


def connecting(repetitions=9):
    """Connections per second to the chat, opened and closed: with its middleware for tokens, and without it."""
    code = LABSERVER.format(application=PROJECT) + USERS
    with process(code) as (port, _, child):
        token, session, address = child.stdout.readline().strip(), child.stdout.readline().strip(), f"127.0.0.1:{port}"
        cookie = {"Cookie": f"sessionid={session}"}
        ways = {
            "the chat by session, without the middleware": ("chat/", cookie),
            "the chat by session, with it": ("chat-token/", cookie),
            "the chat by token": (f"chat-token/?token={token}", None),
            "a bare consumer, without it": ("bare/", None),
            "a bare consumer by token": (f"bare-token/?token={token}", None),
        }

        async def run(path, headers, connections=100):
            waiting = asyncio.Semaphore(4)

            async def one():
                options = {"origin": f"http://{address}", "additional_headers": headers, "compression": None}
                async with waiting, websockets.connect(f"ws://{address}/{path}", **options) as ws:
                    await ws.ping()

            began = time.perf_counter()
            await asyncio.gather(*(one() for _ in range(connections)))
            return connections / (time.perf_counter() - began)

        rows = {name: [] for name in ways}
        for _ in range(repetitions):
            for name, way in ways.items():
                rows[name].append(asyncio.run(run(*way)))
        chat, bare = dict(list(rows.items())[:3]), dict(list(rows.items())[3:])
        table("Connections to the chat per second", chat, "/s", next(iter(chat)))
        table("Connections to a consumer that does nothing, per second", bare, "/s", next(iter(bare)))


USERS = """
from concurrent.futures import ThreadPoolExecutor
from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import URLRouter
from django.contrib.auth.models import User
from django.test import Client
from django.urls import path
from rest_framework_simplejwt.tokens import AccessToken
from labserver.project import demo
from labserver.project.chat.consumers import ChatConsumer
from labserver.project.chat.tokens import TokenAuthMiddleware

def alice():
    user, client = User.objects.get(username="alice"), Client()
    client.force_login(user)
    return str(AccessToken.for_user(user)), client.cookies["sessionid"].value

demo.create_users()
with ThreadPoolExecutor(1) as executor:
    told = executor.submit(alice).result()
chat, bare = ChatConsumer.as_asgi(), AsyncWebsocketConsumer.as_asgi()
server.application = AuthMiddlewareStack(URLRouter([
    path("chat/", chat), path("chat-token/", TokenAuthMiddleware(chat)),
    path("bare/", bare), path("bare-token/", TokenAuthMiddleware(bare)),
]))
"""


def layer(repetitions=45):
    """The layer by itself: from `group_send` until each of its members has received, in one process and one loop."""
    asyncio.run(_layers(repetitions))


async def _layers(repetitions):
    import django
    from channels.layers import InMemoryChannelLayer
    from channels_redis.pubsub import RedisPubSubChannelLayer

    os.environ.update(ENVIRONMENT, DJANGO_SETTINGS_MODULE="labserver.project.settings")
    django.setup()
    from labserver.live.layers import RecordedLayer
    from labserver.live.redis import RedisServer
    from labserver.trace.events import Log

    with RedisServer() as redis:
        makers = {
            "stock, in memory": InMemoryChannelLayer,
            "labserver, recording": lambda: RecordedLayer(InMemoryChannelLayer(), Log(), lambda hop: hop),
            "asyncio alone: queues and tasks": _Queues,
            f"Redis pub/sub ({redis.found})": lambda: RedisPubSubChannelLayer(hosts=[redis.url]),
        }
        rooms = {(members, name): await _Room.of(make(), members) for members in SIZES for name, make in makers.items()}
        rows = {members: {name: [] for name in makers} for members in SIZES}
        for repetition in range(-2, repetitions):
            for (members, name), room in rooms.items():
                elapsed = await room.broadcast()
                if repetition >= 0:
                    rows[members][name].append(elapsed)
        for room in rooms.values():
            await room.close()
    for members in SIZES:
        table(
            f"Layer: one message to {members:,} members, until the last has it", rows[members], "ms", next(iter(makers))
        )
    growth(rows)


class _Queues:
    """No layer: what the event loop itself costs to wake so many tasks."""

    def __init__(self):
        self.queues = []

    async def new_channel(self):
        self.queues.append(asyncio.Queue())
        return self.queues[-1]

    async def group_add(self, group, channel):
        """There is one group, of all."""

    async def receive(self, channel):
        return await channel.get()

    async def group_send(self, group, message):
        for queue in self.queues:
            queue.put_nowait(dict(message))

    async def flush(self):
        """The queues go with their owner."""


class _Room:
    """A group whose members do nothing but receive."""

    @classmethod
    async def of(cls, layer, members):
        self = cls()
        self.layer, self.got, self.all, self.members = layer, 0, asyncio.Event(), members
        self.group = f"all-{members}"  # rooms of one Redis share their groups
        channels = [await layer.new_channel() for _ in range(members)]
        for channel in channels:
            await layer.group_add(self.group, channel)
        self.tasks = [asyncio.create_task(self.member(channel)) for channel in channels]
        await asyncio.sleep(0)
        return self

    async def member(self, channel):
        """Receive, and receive again."""
        while True:
            await self.layer.receive(channel)
            self.got += 1
            if self.got == self.members:
                self.all.set()

    async def broadcast(self):
        """Milliseconds until every member has the message; an error if one has not after half a minute."""
        self.got = 0
        self.all.clear()
        began = time.perf_counter()
        await self.layer.group_send(self.group, {"type": "a.message"})
        async with asyncio.timeout(30):
            await self.all.wait()
        return (time.perf_counter() - began) * 1000

    async def close(self):
        """End the members."""
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
        await self.layer.flush()


def trace():
    """What a full trace costs to record and to draw."""
    from labserver.trace.events import Log, Trace

    log, collections = Log(), []
    recorded = Trace(log)
    number = log.open({"type": "websocket", "path": "/"})
    gc.collect()
    gc.callbacks.append(lambda phase, info: collections.append(info))
    began = time.perf_counter()
    for _ in range(100_000):
        log.add(number, "receive", {"type": "websocket.receive", "text": "hello"})
    elapsed = time.perf_counter() - began
    gc.callbacks.pop()
    print(f"\nTrace\n  {'recording one event':44} {elapsed * 10:9.2f} µs")
    print(f"  {'garbage collections in 100,000 events':44} {len(collections):9}")
    began = time.perf_counter()
    recorded._repr_mimebundle_()
    print(f"  {'drawing a full trace':44} {(time.perf_counter() - began) * 1000:9.0f} ms")


if __name__ == "__main__":
    parts = {
        "trace": trace,
        "start": start,
        "warm": warm,
        "echo": echo,
        "broadcast": broadcast,
        "layer": layer,
        "connecting": connecting,
    }
    for part in sys.argv[1:] or parts:
        parts[part]()
