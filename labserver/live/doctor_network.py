"""What the doctor looks at on the way from a browser to the server: loops, ports, proxies, and a true conversation.

Room: sockets of 127.0.0.1, and other processes. The conversation is held in a process of its own: the doctor may have
been called in a kernel that serves something.
"""

import asyncio
import contextlib
import http.server
import os
import socket
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

from . import page
from .doctor import FAIL, NOTE, OK, Finding

LIMIT = 60.0
"""Seconds that the conversation may take: it is under one, on a very slow machine some more."""

FIREWALL = "allow Python to use 127.0.0.1 in the firewall or antivirus program of this machine"

CONVERSATION = """
import asyncio
from labserver import serve

async def main():
    server = serve("labserver.project.asgi:application")
    async with server.connect("/ws/echo/") as ws:
        await ws.send("hello")
        if await ws.recv() != "hello":
            raise SystemExit("it is no echo")
    server.stop()

asyncio.run(main())
"""
SETTINGS = "DJANGO_SETTINGS_MODULE"
OURS = "labserver.project.settings"  # what serve() itself sets, in a kernel that has served


def loop() -> Iterator[Finding]:
    """Whether a thread can have the selector loop that Twisted needs, whatever loop the kernel runs.

    https://docs.python.org/3/library/asyncio-platforms.html#windows: the default there is a proactor loop.
    """
    ended: list[str] = []

    def turn() -> None:
        try:
            with contextlib.closing(asyncio.SelectorEventLoop()) as own:
                own.run_until_complete(asyncio.sleep(0))
            ended.append("")
        except Exception as error:
            ended.append(str(error))

    thread = threading.Thread(target=turn, daemon=True)
    thread.start()
    thread.join(LIMIT)
    if ended != [""]:
        yield Finding(FAIL, f"no selector event loop runs in a thread: {''.join(ended) or 'it stands still'}", FIREWALL)
        return
    other = hasattr(asyncio, "ProactorEventLoop")
    why = "; the kernel's own proactor loop, which Twisted refuses, stays as it is" if other else ""
    yield Finding(OK, f"a thread runs a selector event loop{why}")


def loopback() -> Iterator[Finding]:
    """Whether a program can listen on 127.0.0.1 and reach itself, and whether `localhost` leads there."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
    except OSError as error:
        yield Finding(FAIL, f"nobody can listen on 127.0.0.1 and be reached: {error}", FIREWALL)
        return
    yield Finding(OK, "127.0.0.1 can be listened on and reached")
    try:
        found = {address[4][0] for address in socket.getaddrinfo("localhost", None)}
    except OSError:
        found = set()
    if "127.0.0.1" not in found:
        text = f"expected localhost to be 127.0.0.1, found {', '.join(map(str, sorted(found))) or 'nothing'}"
        yield Finding(NOTE, text, "add the line `127.0.0.1 localhost` to the hosts file, or open Jupyter as 127.0.0.1")


def proxies() -> Iterator[Finding]:
    """Whether clients would ask a proxy of the network for what is on this machine.

    https://docs.python.org/3/library/urllib.request.html#urllib.request.getproxies; `websockets` and `httpx` ask the
    same. `server.connect` and `server.get` go without; a client that a learner writes does not.
    """
    names = sorted(name for name in urllib.request.getproxies() if name in ("ws", "socks", "http", "https", "all"))
    caught = [host for host in ("127.0.0.1", "localhost") if names and not urllib.request.proxy_bypass(host)]
    if caught:
        text = f"a proxy is set ({', '.join(names)}), and clients would ask it for {' and '.join(caught)} too"
        fix = "set NO_PROXY=localhost,127.0.0.1,::1 in the environment, and start Jupyter again"
        yield Finding(FAIL, text, fix)
    else:
        yield Finding(OK, "no proxy stands before this machine's own servers")


def conversation() -> Iterator[Finding]:
    """A server, a client, a message and its echo, as in lesson 00, with this folder as the notebook's."""
    environment = {name: value for name, value in os.environ.items() if name != SETTINGS}
    try:
        done = subprocess.run(
            [sys.executable, "-c", CONVERSATION],
            env=environment | {"PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired:
        yield Finding(FAIL, f"the lab's server did not echo a message within {LIMIT:g} s", FIREWALL)
        return
    if done.returncode == 0:
        yield Finding(OK, "the lab's server starts, and a WebSocket gets its echo")
    else:
        said = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        fix = f'mend what FAILs here first; the whole error is shown by: "{sys.executable}" -m labserver demo'
        yield Finding(FAIL, f"the lab's server does not answer: {said}", fix)
    if (module := os.environ.get(SETTINGS, OURS)) != OURS:
        fix = f"for the lessons, unset {SETTINGS} and restart the kernel; if the project is yours, all is well (on a "
        fix += "hub, its ALLOWED_HOSTS and CSRF_TRUSTED_ORIGINS have to hold the hub's name)"
        yield Finding(NOTE, f"{SETTINGS} is {module}: notebooks use these settings instead of the lab's", fix)


def browser() -> Iterator[Finding]:
    """The address that a page would have here, and whether the proxy that it may need is there."""
    way = page.way(os.environ, "PORT")
    if way.base is None:
        yield Finding(NOTE, f"{way.place}: {way.words}", "for the pages, run the lessons on your own machine")
        return
    here, needed = "JPY_SESSION_NAME" in os.environ, "://" not in way.base
    hint = "" if here else " (they may be elsewhere in a notebook: %run -m labserver doctor)"
    yield Finding(OK, f"{way.place}: pages are at {way.base}/{hint}")
    server = page.jupyter_server(os.environ) if here else None
    if server is not None:
        asked = _asked_through(server, needed)
        yield asked
        if asked.level == OK:  # whatever stands in the kernel's own environment, which may be another one
            return
    enabled = _enabled()
    if enabled is not True:
        text = f"jupyter-server-proxy is {'disabled' if enabled is False else 'not installed'} in this environment"
        fix = "in the Jupyter server's environment: pip install jupyter-server-proxy; "
        fix += "jupyter server extension enable --sys-prefix jupyter_server_proxy; start Jupyter again"
        yield Finding(FAIL if needed else NOTE, f"{text}; hubs and tunnels need it", fix)
    else:
        yield Finding(OK, "jupyter-server-proxy is installed and enabled in this environment")


def _enabled() -> bool | None:
    """Whether a Jupyter server of this environment would load jupyter-server-proxy; None if no file says so."""
    from jupyter_core.paths import jupyter_config_path
    from jupyter_server.extension.config import ExtensionConfigManager

    manager = ExtensionConfigManager(read_config_path=jupyter_config_path())
    return manager.get_jpserver_extensions().get("jupyter_server_proxy")


def _asked_through(server: dict, needed: bool) -> Finding:
    """What comes of a request to a port of this process, through the Jupyter server that started the kernel."""
    with http.server.HTTPServer(("127.0.0.1", 0), _Answer) as own:
        own.timeout = 5
        threading.Thread(target=own.handle_request, daemon=True).start()
        url = f"{server['url'].rstrip('/')}/proxy/{own.server_port}/"
        request = urllib.request.Request(url, headers={"Authorization": f"token {server.get('token', '')}"})
        context = ssl.create_default_context()
        if urlsplit(url).hostname in page.LOOPBACK:  # a certificate of its own making is good enough for this machine
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=5) as answer:
                found = "another page" if answer.read() != _Answer.BODY else ""
        except urllib.error.HTTPError as error:
            error.close()
            found = f"HTTP {error.code}"
        except OSError as error:
            found = str(error)
    if not found:
        return Finding(OK, "the running Jupyter server hands requests on to this machine's ports")
    if found == "HTTP 404":
        text = "the running Jupyter server answers 404 for this machine's ports: it has no jupyter-server-proxy"
        fix = "install jupyter-server-proxy where the Jupyter server itself is installed, and start it again"
        return Finding(FAIL if needed else NOTE, text, fix)
    text = f"whether the running Jupyter server hands requests on could not be found out ({found})"
    return Finding(NOTE, text, "show a page, server.page(), and open the address below it")


class _Answer(http.server.BaseHTTPRequestHandler):
    BODY = b"labserver doctor"

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.BODY)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


CHECKS = (loop, loopback, proxies, conversation, browser)
