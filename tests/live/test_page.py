"""A page of the live server, by the address that the learner's browser can reach."""

import sys

import pytest

from labserver.live import page

LOCAL = {"url": "http://localhost:8888/", "base_url": "/", "pid": 1}
NUMBER = {"url": "http://127.0.0.1:8888/user/alice/", "base_url": "/user/alice/", "pid": 1}
FAR = {"url": "http://hub.example:8888/user/alice/", "base_url": "/user/alice/", "pid": 2}
JUPYTER = {"JPY_SESSION_NAME": "x.ipynb", "JPY_PARENT_PID": "2"}
HUB = JUPYTER | {"JUPYTERHUB_SERVICE_PREFIX": "/user/bob/", "JUPYTERHUB_BASE_URL": "/", "JUPYTERHUB_USER": "bob"}
SPACE = {
    "CODESPACES": "true",
    "CODESPACE_NAME": "lab-1",
    "GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN": "app.github.dev",
}
SSH = {"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}
VARIABLES = {*HUB, *SPACE, *SSH, "COLAB_RELEASE_TAG", "VSCODE_PID", "VSCODE_CWD", "REMOTE_CONTAINERS"}


@pytest.fixture
def running(monkeypatch):
    """Say which Jupyter servers run, and what the environment holds."""

    def running(servers, environ):
        monkeypatch.setattr("jupyter_server.serverapp.list_running_servers", lambda: iter(servers))
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        return page.page("http://127.0.0.1:4321", "/console/", 300)

    return running


@pytest.mark.parametrize(
    ("servers", "environ", "src"),
    [
        ([], {}, "http://127.0.0.1:4321/console/"),
        ([LOCAL], {}, "http://127.0.0.1:4321/console/"),
        ([], JUPYTER, "http://127.0.0.1:4321/console/"),
        ([LOCAL], JUPYTER, "http://localhost:4321/console/"),
        ([NUMBER], JUPYTER, "http://127.0.0.1:4321/console/"),
        ([LOCAL], JUPYTER | SPACE, "/proxy/4321/console/"),
        ([LOCAL], JUPYTER | SSH, "/proxy/4321/console/"),
        ([LOCAL, FAR], JUPYTER, "/user/alice/proxy/4321/console/"),
        ([LOCAL, FAR], JUPYTER | {"JPY_PARENT_PID": "1"}, "http://localhost:4321/console/"),
        ([FAR], JUPYTER | {"JPY_PARENT_PID": "77"}, "/user/alice/proxy/4321/console/"),
        ([LOCAL], HUB, "/user/bob/proxy/4321/console/"),
        ([], HUB | {"JUPYTERHUB_SERVICE_PREFIX": "/lab/user/bob"}, "/lab/user/bob/proxy/4321/console/"),
        ([], HUB | {"BINDER_LAUNCH_HOST": "https://binder.example/"}, "/user/bob/proxy/4321/console/"),
        ([], {"VSCODE_PID": "1"}, "http://localhost:4321/console/"),
        ([LOCAL], JUPYTER | {"VSCODE_CWD": "/home/alice"}, "http://localhost:4321/console/"),
        ([], SSH | {"VSCODE_CWD": "/"}, "http://localhost:4321/console/"),
        ([], {"REMOTE_CONTAINERS": "true", "VSCODE_CWD": "/"}, "http://localhost:4321/console/"),
        ([], SPACE | {"VSCODE_CWD": "/"}, "https://lab-1-4321.app.github.dev/console/"),
        ([], {"COLAB_RELEASE_TAG": "release-colab", **JUPYTER}, None),
    ],
)
def test_the_browser_gets_an_address_that_it_can_reach(running, servers, environ, src):
    """Directly where browser and kernel share a machine; else through Jupyter's proxy, a forwarded port, or not at all.

    Directly means by the name that Jupyter itself is opened by: to a browser, localhost and 127.0.0.1 are two sites.
    """
    assert running(servers, environ).src == src


@pytest.mark.parametrize("environ", [{"JUPYTERHUB_SERVICE_PREFIX": "/user/bob/"}, SPACE, SSH])
def test_without_a_notebook_server_a_page_is_shown_as_it_is_stored(running, environ):
    """Whoever runs a notebook in a terminal, on whatever machine, gets the output that everybody gets."""
    assert running([FAR], environ)._repr_mimebundle_() == running([], {})._repr_mimebundle_()


def test_the_page_is_shown_with_its_address_beside_it(running):
    """The page is framed, with the address as a link, for a browser that cannot show it."""
    shown = running([], {})
    assert repr(shown) == "the page /console/ of the live server"
    bundle = shown._repr_mimebundle_()
    assert bundle["text/plain"] == repr(shown)
    address = "http://127.0.0.1:4321/console/"
    assert bundle["text/html"].startswith(f'<iframe src="{address}" title="{shown!r}" width="100%" height="300" ')
    link = f'<a href="{address}" target="_blank" rel="noopener">{address}</a>'
    assert bundle["text/html"].endswith(
        f"</iframe><div>Not visible? Run this cell, or open {link} in a browser tab.</div>"
    )


def test_what_may_be_missing_behind_a_hub_is_said_beside_the_page(running):
    """A Jupyter server without jupyter-server-proxy answers 404, in the frame; the words below it say why."""
    html = running([], HUB)._repr_mimebundle_()["text/html"]
    assert '<iframe src="/user/bob/proxy/4321/console/"' in html
    assert ">/user/bob/proxy/4321/console/</a> in a browser tab. A 404 there means that jupyter-server-proxy" in html
    assert html.endswith("%run -m labserver doctor tells.</div>")


def test_a_jupyter_that_only_seems_to_be_here_gets_a_second_address(running):
    """Through a tunnel, Jupyter looks as if it ran on this machine: the proxy's address stands below the frame."""
    html = running([NUMBER], JUPYTER)._repr_mimebundle_()["text/html"]
    assert 'another machine: <a href="/user/alice/proxy/4321/console/"' in html
    assert "404" not in html


def test_a_jupyter_under_a_name_of_its_own_has_to_be_allowed(running):
    """No variable says that this is a hub, so its name is a stranger's until the user says otherwise."""
    html = running([FAR], JUPYTER)._repr_mimebundle_()["text/html"]
    assert "A 404 there" in html and "400) means that LABSERVER_ALLOWED_HOSTS has to hold" in html


def test_a_port_that_has_to_be_forwarded_is_named(running):
    """VS Code on another machine forwards a port only when told, so the words tell which one."""
    html = running([], SPACE | {"VSCODE_CWD": "/"})._repr_mimebundle_()["text/html"]
    assert "Forward port 4321 first: view &quot;Ports&quot;" in html


@pytest.mark.parametrize("loaded", [True, False])
def test_where_no_socket_gets_through_there_is_no_frame(running, monkeypatch, loaded):
    """In Colab a page could not connect: instead of it stand words that point to the clients in the cells."""
    if loaded:
        monkeypatch.setitem(sys.modules, "google.colab", object())
    shown = running([], {} if loaded else {"COLAB_RELEASE_TAG": "release-colab"})
    html = shown._repr_mimebundle_()["text/html"]
    assert "iframe" not in html and "href" not in html
    assert html.startswith("<div>No page here: Google Colab") and "clients in the cells around" in html
    assert repr(shown) == "the page /console/ of the live server"


def test_an_address_is_shown_inert():
    """Neither a path nor what a variable holds can break out of its attribute."""
    way = page.Way("here", 'http://x/"<b>', '"<i>', also='"<u>')
    html = page.Page("http://x/", way, '/"><script>', 1)._repr_mimebundle_()["text/html"]
    assert [tag for tag in ("<script", "<b>", "<i>", "<u>") if tag in html] == []
    assert "&quot;&gt;&lt;script&gt;" in html and "&quot;&lt;i&gt;" in html and "&quot;&lt;u&gt;" in html
