"""What the doctor says of the way from a browser to the server: each finding with its cause produced."""

import asyncio
import contextlib
import http.server
import socket
import ssl
import threading
import urllib.request

import pytest

from labserver.live import doctor_network as network
from labserver.live import page
from labserver.live.doctor import FAIL, NOTE, OK

JUPYTER = "JPY_SESSION_NAME"


@pytest.mark.parametrize("windows", [True, False])
def test_a_thread_gets_a_selector_loop(monkeypatch, windows):
    """A selector loop runs in a thread; where kernels have another one, the line says that this is all right."""
    if windows:
        monkeypatch.setattr(asyncio, "ProactorEventLoop", object, raising=False)
    else:
        monkeypatch.delattr(asyncio, "ProactorEventLoop", raising=False)
    (found,) = network.loop()
    assert found.level == OK and ("proactor" in found.text) is windows


def test_a_loop_that_cannot_be_made_is_a_fault(monkeypatch):
    """A loop talks to itself through a socket, which a firewall may forbid."""

    def refuse():
        raise OSError("forbidden")

    monkeypatch.setattr(asyncio, "SelectorEventLoop", refuse)
    (found,) = network.loop()
    assert found.level == FAIL and "forbidden" in found.text and "firewall" in found.fix


def test_a_loop_that_stands_still_is_a_fault(monkeypatch):
    """A loop that is not there in time is not waited for."""
    end = threading.Event()

    def stand():
        end.wait(30)
        raise OSError

    monkeypatch.setattr(asyncio, "SelectorEventLoop", stand)
    monkeypatch.setattr(network, "LIMIT", 0.01)
    (found,) = network.loop()
    end.set()
    assert found.level == FAIL and "stands still" in found.text


def test_loopback_can_be_listened_on():
    """A program on this machine reaches itself, by number and by name."""
    (found,) = network.loopback()
    assert found.level == OK


def test_a_loopback_that_is_closed_is_a_fault(monkeypatch):
    """Where nobody can connect to 127.0.0.1, nothing else will work."""

    def refuse(*arguments, **options):
        raise ConnectionRefusedError("forbidden")

    monkeypatch.setattr(socket, "create_connection", refuse)
    (found,) = network.loopback()
    assert found.level == FAIL and "forbidden" in found.text and "firewall" in found.fix


@pytest.mark.parametrize(
    ("addresses", "shown"), [(["::1"], "found ::1"), ([], "found nothing"), (None, "found nothing")]
)
def test_a_localhost_that_leads_elsewhere_is_noted(monkeypatch, addresses, shown):
    """Jupyter opens pages by the name `localhost`."""

    def resolve(host, *arguments, real=socket.getaddrinfo):
        if host != "localhost":
            return real(host, *arguments)
        if addresses is None:
            raise socket.gaierror("unknown")
        return [(0, 0, 0, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    fine, found = network.loopback()
    assert (fine.level, found.level) == (OK, NOTE) and shown in found.text and "hosts file" in found.fix


@pytest.fixture
def proxies(monkeypatch):
    """The environment of a classroom; what the system's own settings say does not count."""

    def proxies(**variables):
        for name in ("http", "https", "all", "ws", "socks", "no"):
            monkeypatch.delenv(f"{name}_proxy", raising=False)
            monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return proxies


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_without_exceptions_is_a_fault(proxies, name):
    """A client asks the network's proxy for 127.0.0.1, which is another machine there."""
    proxies(**{name: "http://proxy.example:3128"})
    (found,) = network.proxies()
    assert found.level == FAIL and name.lower().partition("_")[0] in found.text
    assert "127.0.0.1 and localhost" in found.text and "NO_PROXY=localhost,127.0.0.1,::1" in found.fix
    assert "proxy.example" not in found.text  # it may hold a password


def test_one_exception_is_not_enough(proxies):
    """Both names of this machine have to be exceptions."""
    proxies(HTTP_PROXY="http://proxy.example:3128", NO_PROXY="127.0.0.1")
    (found,) = network.proxies()
    assert found.level == FAIL and "for localhost too" in found.text


def test_a_proxy_with_exceptions_is_ok(proxies):
    """With the variables of the fix, the finding is gone."""
    proxies(HTTP_PROXY="http://proxy.example:3128", NO_PROXY="localhost,127.0.0.1,::1")
    (found,) = network.proxies()
    assert found.level == OK


def test_settings_of_another_project_are_noted(monkeypatch):
    """With DJANGO_SETTINGS_MODULE the lab's own server is tried all the same, and the variable is told of."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "mysite.settings")
    monkeypatch.setattr(network, "CONVERSATION", "import os; raise SystemExit('DJANGO_SETTINGS_MODULE' in os.environ)")
    echo, found = network.conversation()
    assert echo.level == OK
    assert found.level == NOTE and "mysite.settings" in found.text and "unset" in found.fix and "hub" in found.fix


def test_what_serve_has_set_is_not_noted(monkeypatch):
    """In a kernel that has served, the variable names the lab's own settings."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "labserver.project.settings")
    monkeypatch.setattr(network, "CONVERSATION", "")
    (echo,) = network.conversation()
    assert echo.level == OK


def test_a_server_that_cannot_start_is_a_fault(monkeypatch, tmp_path):
    """A file django.py in the folder, as beside a notebook: the last line of the error is shown."""
    (tmp_path / "django.py").write_text("VERSION = (1, 0)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    (found,) = network.conversation()
    assert found.level == FAIL and "No module named 'django." in found.text and "labserver demo" in found.fix


def test_a_server_that_ends_without_a_word_is_a_fault(monkeypatch):
    """A crash of Python itself leaves its status alone."""
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    monkeypatch.setattr(network, "CONVERSATION", "raise SystemExit(3)")
    (found,) = network.conversation()
    assert found.level == FAIL and "exit status 3" in found.text


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch):
    """The conversation has a limit, and its process ends there."""
    monkeypatch.setattr(network, "CONVERSATION", "import time; time.sleep(60)")
    monkeypatch.setattr(network, "LIMIT", 0.1)
    (found,) = network.conversation()
    assert found.level == FAIL and "within 0.1 s" in found.text


@pytest.fixture
def place(monkeypatch):
    """Say how a browser comes here, whether the proxy is enabled, and which Jupyter server runs."""

    def place(way, enabled=True, server=None):
        monkeypatch.setattr(page, "way", lambda environ, port: way)
        monkeypatch.setattr(page, "jupyter_server", lambda environ: server)
        monkeypatch.setattr(network, "_enabled", lambda: enabled)
        monkeypatch.setenv(JUPYTER, "x.ipynb")
        return list(network.browser())

    return place


HUB = page.Way("JupyterHub", "/user/alice/proxy/PORT")
LOCAL = page.Way("Jupyter on this machine", "http://localhost:PORT")


def test_the_address_of_pages_is_told(monkeypatch):
    """In a terminal it is that of this machine, with the advice to ask in a notebook."""
    for name in (JUPYTER, "VSCODE_PID", "VSCODE_CWD", "COLAB_RELEASE_TAG"):
        monkeypatch.delenv(name, raising=False)
    address, proxy = network.browser()
    assert address.level == OK and "pages are at http://127.0.0.1:PORT/ (they may be" in address.text
    assert proxy.level == OK and "installed and enabled" in proxy.text


def test_in_a_notebook_the_place_is_named(place):
    """On a hub, the line names the hub's address."""
    address, _ = place(HUB)
    assert address.text == "JupyterHub: pages are at /user/alice/proxy/PORT/"


def test_where_no_page_can_be_shown_that_is_said(place):
    """In Colab there is no address, and nothing to be mended."""
    (found,) = place(page.Way("Google Colab", None, "No sockets."))
    assert found.level == NOTE and found.text == "Google Colab: No sockets." and "own machine" in found.fix


@pytest.mark.parametrize(("way", "level"), [(HUB, FAIL), (LOCAL, NOTE)])
@pytest.mark.parametrize(("enabled", "word"), [(False, "disabled"), (None, "not installed")])
def test_a_proxy_that_is_missing_is_a_fault_where_it_is_needed(place, way, level, enabled, word):
    """On a hub pages come through jupyter-server-proxy; on a laptop nobody needs it."""
    _, found = place(way, enabled)
    assert found.level == level and word in found.text and "extension enable" in found.fix


@contextlib.contextmanager
def answering(status):
    """A Jupyter server: it hands a request on to the port that is asked for, or always answers with this status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = b"something else"
            if status is None:
                assert self.headers["Authorization"] == "token abc"
                port = self.path.removeprefix("/user/alice/proxy/").removesuffix("/")
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                    body = answer.read()
            self.send_response(status or 200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        yield {"url": f"http://127.0.0.1:{server.server_port}/user/alice/", "token": "abc"}
        thread.join(20)


def test_a_running_jupyter_is_asked_whether_it_hands_on(place):
    """A request through the Jupyter server comes back to this process; what is installed here does not matter then.

    test_hub does so with a real one.
    """
    with answering(None) as server:
        _, found = place(HUB, enabled=None, server=server)
    assert found.level == OK and "hands requests on" in found.text


def test_the_certificate_of_another_machine_has_to_be_good(place, monkeypatch):
    """The token goes along, so nothing is overlooked but on this very machine."""
    modes = []

    class Handler(urllib.request.HTTPSHandler):
        def __init__(self, context):
            modes.append(context.verify_mode)
            super().__init__(context=context)

    monkeypatch.setattr(urllib.request, "HTTPSHandler", Handler)
    monkeypatch.setattr(urllib.request.OpenerDirector, "open", lambda *arguments, **options: 1 / 0)
    for host in ("127.0.0.1", "hub.example"):
        with pytest.raises(ZeroDivisionError):
            place(HUB, server={"url": f"https://{host}/"})
    assert modes == [ssl.CERT_NONE, ssl.CERT_REQUIRED]


@pytest.mark.parametrize(
    ("status", "way", "level", "words"),
    [
        (404, HUB, FAIL, "no jupyter-server-proxy"),
        (404, LOCAL, NOTE, "no jupyter-server-proxy"),
        (403, HUB, NOTE, "could not be found out (HTTP 403)"),
        (200, HUB, NOTE, "could not be found out (another page)"),
    ],
)
def test_a_jupyter_that_does_not_hand_on_is_told_apart(place, status, way, level, words):
    """404 says that the proxy is missing in the server's own environment; any other answer says nothing."""
    with answering(status) as server:
        _, found, proxy = place(way, server=server)
    assert found.level == level and words in found.text and found.fix
    assert proxy.level == OK


def test_a_jupyter_that_is_gone_is_noted(place):
    """The list of running servers may be older than the server's end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    _, found, _ = place(HUB, server={"url": f"http://127.0.0.1:{port}/"})
    assert found.level == NOTE and "could not be found out" in found.text
