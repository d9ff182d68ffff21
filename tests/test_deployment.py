"""The project that `labserver new-project` writes: alone in an empty environment, and under the servers of its files.

Nothing here is a time: each wait is for what has to come, within a limit that only a fault reaches.
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections import Counter
from pathlib import Path

import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from labserver.course import new_project
from labserver.live.processes import free_port

from .conftest import HERE, find_program

pytestmark = pytest.mark.timeout(300)

LOCK = HERE.parent / "requirements.lock"
LIMIT = 120
"""Seconds after which a wait has failed."""

CLIENTS, ROOMS, WORKERS, EACH = 100, 4, 4, 10
"""How many clients, in how many rooms, on how many workers; how many messages of a kind each client sends."""

MAKE_CLIENTS = f"""
import json
from datetime import timedelta
from django.contrib.auth.models import User
from django.test import Client
from rest_framework_simplejwt.tokens import AccessToken

User.objects.bulk_create([User(username=f"client-{{n:03}}") for n in range(1, {CLIENTS} + 1)])
made = []
for user in User.objects.filter(username__startswith="client-").order_by("username"):
    token = AccessToken.for_user(user)
    token.set_exp(lifetime=timedelta(hours=1))
    browser = Client()
    browser.force_login(user)
    made.append((user.pk, str(token), browser.cookies["sessionid"].value))
print(json.dumps(made))
"""


class Site:
    """The written project, with an environment of its own that has what its requirements ask for, and nothing else."""

    def __init__(self, folder):
        self.folder = new_project.write(folder / "site")
        self.redis_port, self.port = free_port(), free_port()
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LABSERVER_", "DJANGO_", "COVERAGE_", "PYTEST_", "PYTHON", "VIRTUAL_ENV"))
        }
        self.environment |= {
            "MYSITE_SECRET_KEY": secrets.token_urlsafe(48),
            "MYSITE_ALLOWED_HOSTS": "127.0.0.1",
            "MYSITE_REDIS_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "DJANGO_SETTINGS_MODULE": "mysite.settings.production",
            "WEB_CONCURRENCY": str(WORKERS),
        }
        venv.create(folder / "venv")
        self.bin = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
        self.python = str(self.bin / "python")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", self.python, "install", "-q"]
        # Versions as they are pinned here; without bytecode, since most of it is never imported.
        self.run(*pip, "--no-compile", "-r", "requirements.txt", "-r", "requirements-test.txt", "-c", str(LOCK))
        listen = self.folder / "nginx.conf"
        listen.write_text(listen.read_text().replace("listen 127.0.0.1:8080;", f"listen 127.0.0.1:{self.port};"))

    def run(self, *command, **variables):
        """Run a command in the project's folder; returns what it wrote, fails where it does."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment | variables, capture_output=True, text=True, timeout=LIMIT
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def manage(self, *arguments, **variables):
        """Run one of Django's commands."""
        return self.run(self.python, "manage.py", *arguments, **variables)

    @contextlib.contextmanager
    def server(self, *command):
        """A server as a process, ended by its id; gives the process, and the file that it writes into."""
        log = self.folder / "run" / f"{Path(command[0]).name}.txt"
        with open(log, "wb") as file:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment | {"MYSITE_TLS": "off"}, stdout=file, stderr=file
            )
        try:
            yield process, log
        finally:
            process.terminate()
            process.wait(LIMIT)

    def nginx(self, *arguments):
        """The command that starts nginx as the project's README says."""
        as_root = ["-g", "user root;"] if os.geteuid() == 0 else []
        return [find_program("nginx"), "-p", ".", "-c", "nginx.conf", *as_root, *arguments]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The project, written once for all of these tests."""
    return Site(tmp_path_factory.mktemp("deployment"))


def until(condition, what):
    """Wait until something is so."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"expected {what() if callable(what) else what} within {LIMIT} s"
        time.sleep(0.05)


def test_it_does_without_labserver(site):
    """In its environment there is no labserver, nor does a file of the project name it."""
    found = site.run(site.python, "-c", "import importlib.util as u; print(u.find_spec('labserver'))")
    assert found.strip() == "None"


def test_its_own_tests_pass(site):
    """pytest in the project's folder: all pass, none is skipped, none warns, whatever settings this shell has."""
    last = site.run(site.python, "-m", "pytest", "-q").strip().splitlines()[-1]
    assert re.fullmatch(r"\d\d+ passed in .*", last)


def test_it_is_fit_for_production(site):
    """`manage.py check --deploy` has nothing to say; the two warnings that it keeps to itself are explained."""
    told = site.manage("check", "--deploy", "--fail-level", "WARNING")
    assert told.strip() == "System check identified no issues (2 silenced)."
    site.run(site.python, "-c", "import mysite.asgi")  # what the README tries before it takes a new version
    for name in ("W005", "W021"):
        for path in ("mysite/settings/production.py", "README.md"):
            assert name in (site.folder / path).read_text(encoding="utf-8")


@pytest.mark.needs("nginx")
@pytest.mark.skipif(sys.platform == "win32", reason="expected a socket in a file, which nginx for Windows cannot use")
def test_nginx_takes_its_file(site):
    """`nginx -t` passes."""
    assert "test is successful" in site.run(*site.nginx("-t"))


class Client:
    """One client: a socket in the chat and one in a room, each opened again when it is lost."""

    def __init__(self, site, number, made):
        self.number, self.room = number, number % ROOMS
        self.id, self.token, session = made
        address, origin = (f"{scheme}://127.0.0.1:{site.port}" for scheme in ("ws", "http"))
        options = {"origin": origin, "proxy": None, "open_timeout": LIMIT, "ping_timeout": LIMIT}
        cookie = {"additional_headers": {"Cookie": f"sessionid={session}"}}
        self.calls = {
            "chat": connect(f"{address}/infra/ws/?token={self.token}", **options),
            "room": connect(f"{address}/ws/room/room-{self.room}/", **options, **cookie),
        }
        self.sockets = {}
        self.heard, self.lost, self.leaving = [], 0, False
        self.changed = asyncio.Condition()

    def start(self):
        """Connect, and listen from now on."""
        return [asyncio.create_task(self.listen(kind)) for kind in self.calls]

    async def listen(self, kind):
        """Gather what comes; connect again whenever the connection is lost."""
        async for socket_ in self.calls[kind]:
            await self.change(self.sockets.__setitem__, kind, socket_)
            try:
                async for message in socket_:
                    await self.change(self.heard.append, self.read(json.loads(message)))
            except ConnectionClosed:
                pass
            if self.leaving:
                return
            await self.change(self.lose, kind)

    async def leave(self):
        """Close both sockets, for good."""
        self.leaving = True
        for each in self.sockets.values():
            await each.close()

    async def change(self, what, *arguments):
        """Do something, and wake who waits for it."""
        async with self.changed:
            what(*arguments)
            self.changed.notify_all()

    def lose(self, kind):
        self.lost += 1
        del self.sockets[kind]

    def read(self, message):
        """How a message came, and its text; of errors and whatever else comes, all of it."""
        if message["type"] == "response":
            return "room", message["content"]
        if message["type"] == "demo-message-receive":
            content = json.loads(message["content"])
            return "single" if content["single"] else "everyone", content["text"]
        return "unexpected", json.dumps(message)

    async def until(self, condition):
        """Wait until something is so for this client."""
        async with self.changed:
            await self.changed.wait_for(condition)

    async def say(self, text, to=None):
        """Write to everyone, or to one user, in the chat."""
        content = json.dumps({"text": text, "toUserId": to})
        await self.sockets["chat"].send(json.dumps({"type": "demo-message-send", "content": content}))

    async def tell_room(self, text):
        """Write to all of the room."""
        await self.sockets["room"].send(json.dumps({"type": "message", "content": text}))

    async def ready(self, word):
        """Wait until both sockets are open, and hear what this client itself says on them."""
        await self.until(lambda: len(self.sockets) == 2)
        mine = f"{word} {self.number}"
        await self.say(mine, self.id)
        await self.tell_room(mine)
        await self.until(lambda: {("single", mine), ("room", mine)} <= set(self.heard))


async def all_of(clients, work):
    """Let all clients do something at the same time."""
    async with asyncio.timeout(LIMIT):
        return await asyncio.gather(*map(work, clients))


async def exactly_once(clients, word, each):
    """Each client writes to single users, to its room, and some to everyone: all of it arrives once, where it should.

    Who has heard all that there is for it says a last word to itself, on both sockets; what came before that counts.
    """
    expected = {client: Counter() for client in clients}

    async def speak(client):
        for turn in range(each):
            other = clients[(client.number * 7 + turn * 11 + 1) % len(clients)]
            text = f"{word} {client.number}.{turn}"
            expected[other]["single", text] += 1
            await client.say(text, other.id)
            for member in clients:
                if member.room == client.room:
                    expected[member]["room", text] += 1
            await client.tell_room(text)
        if client.number % 10 == 0:
            for member in clients:
                expected[member]["everyone", text] += 1
            await client.say(text)

    def heard(client):
        return Counter(each for each in client.heard if each[0] == "unexpected" or each[1].startswith(f"{word} "))

    for client in clients:
        client.heard.clear()
    await all_of(clients, speak)
    try:
        await all_of(clients, lambda client: client.until(lambda: len(heard(client)) >= len(expected[client])))
    except TimeoutError:
        missing = {client.number: str(expected[client] - heard(client)) for client in clients}
        pytest.fail("lost: " + str({number: lost for number, lost in missing.items() if lost != "Counter()"}))
    await all_of(clients, lambda client: client.ready(f"end of {word}"))
    for client in clients:
        assert heard(client) == expected[client], client.number
    return sum(count for counts in expected.values() for (how, _), count in counts.items() if how == "single")


def connections(worker):
    """How many clients a worker holds, by the connections of its socket; one of them is where it listens."""
    return sum(each.laddr == "run/gunicorn.sock" for each in worker.net_connections("unix")) - 1


async def spread(clients, workers):
    """Connect all clients. Each worker is alone for five of them, so that none is without; others come as they come."""
    tasks = []
    for number, worker in enumerate(workers):
        others = [each for each in workers if each != worker]
        for other in others:
            other.suspend()
        try:
            own = clients[number * 5 : number * 5 + 5]
            tasks += [task for client in own for task in client.start()]
            await all_of(own, lambda client: client.until(lambda: len(client.sockets) == 2))
        finally:
            for other in others:
                other.resume()
    rest = clients[len(workers) * 5 :]
    tasks += [task for client in rest for task in client.start()]
    await all_of(clients, lambda client: client.ready("here"))
    return tasks


async def talk(site, workers, clients):
    """What 100 clients go through: messages, a worker that dies, messages again."""
    tasks = await spread(clients, workers)
    try:
        held = [connections(worker) for worker in workers]
        assert min(held) >= 10 and sum(held) == 2 * CLIENTS
        assert await exactly_once(clients, "first", EACH) == EACH * CLIENTS
        assert sum(client.lost for client in clients) == 0

        workers[0].kill()
        async with asyncio.timeout(LIMIT):
            while sum(client.lost for client in clients) < held[0]:
                await asyncio.sleep(0.02)
        await all_of(clients, lambda client: client.ready("again"))
        await exactly_once(clients, "second", 1)
        assert sum(client.lost for client in clients) == held[0]
    finally:
        await all_of(clients, Client.leave)
        for task in tasks:  # of those that were not connected
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.needs("redis-server")
@pytest.mark.needs("nginx")
@pytest.mark.skipif(sys.platform == "win32", reason="expected gunicorn, which does not exist for Windows")
def test_a_hundred_clients_on_four_workers(site):
    """From the written files: 1,000 messages to a room and 1,000 to single users reach exactly whom they should, once.

    A killed worker costs its own clients their connections, and nothing else: they connect again and go on. Neither
    nginx nor gunicorn logs a token.
    """
    site.manage("migrate", "--verbosity=0")
    site.manage("collectstatic", "--noinput", "--verbosity=0")
    made = json.loads(site.manage("shell", "--command", MAKE_CLIENTS).splitlines()[-1])
    with contextlib.ExitStack() as stack:
        redis = [find_program("redis-server"), "redis.conf", "--port", str(site.redis_port)]
        _, redis_log = stack.enter_context(site.server(*redis))
        until(lambda: "Ready to accept connections" in redis_log.read_text(), redis_log.read_text)
        gunicorn, log = stack.enter_context(site.server(str(site.bin / "gunicorn"), "mysite.asgi:application"))
        until(lambda: log.read_text().count("Started server process") == WORKERS, log.read_text)
        stack.enter_context(site.server(*site.nginx()))
        until(lambda: listens(site.port), "nginx to listen")

        master = psutil.Process(gunicorn.pid)
        workers = [each for each in master.children() if each.name() == master.name()]
        assert len(workers) == WORKERS
        asyncio.run(talk(site, workers, [Client(site, number, each) for number, each in enumerate(made)]))
        until(lambda: log.read_text().count("Started server process") == WORKERS + 1, log.read_text)

        address = f"http://127.0.0.1:{site.port}"
        assert json.loads(get(f"{address}/health/")) == {"database": "ok", "cache": "ok", "channel layer": "ok"}
        assert get(f"{address}/static/chat/chat.js") == (site.folder / "static_root/chat/chat.js").read_bytes()

        # Who tries passwords is slowed down; who only looks at the page is not. Without a CSRF token each try is cheap.
        sign_in = f"{address}/accounts/login/"
        assert [status(sign_in, b"") for _ in range(21)] == [403] * 21
        until(lambda: status(sign_in, b"") == 429, "HTTP 429")
        assert {status(sign_in) for _ in range(25)} == {200}
    logs = log.read_text() + (site.folder / "run" / "nginx-access.log").read_text()
    assert logs.count('"GET /infra/ws/" 101') >= CLIENTS and logs.count('"WebSocket /infra/ws/" [accepted]') >= CLIENTS
    assert "token" not in logs and not any(token in logs for _, token, _ in made)


def listens(port):
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as each:
        return each.connect_ex(("127.0.0.1", port)) == 0


def get(url, form=None):
    """What a page or file holds; or the answer to a form."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, form, timeout=LIMIT) as response:
        return response.read()


def status(url, form=None):
    """The status of an answer."""
    try:
        return bool(get(url, form)) * 200
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
