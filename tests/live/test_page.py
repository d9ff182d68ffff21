"""A page of the live server, by the address that the learner's browser can reach."""

import pytest

from labserver.live import page

LOCAL = {"url": "http://localhost:8888/", "base_url": "/", "pid": 1}
FAR = {"url": "http://hub.example:8888/user/alice/", "base_url": "/user/alice/", "pid": 2}
JUPYTER = {"JPY_SESSION_NAME": "x.ipynb", "JPY_PARENT_PID": "2"}


@pytest.fixture
def running(monkeypatch):
    """Say which Jupyter servers run, and what the environment holds."""

    def running(servers, environ):
        monkeypatch.setattr("jupyter_server.serverapp.list_running_servers", lambda: iter(servers))
        for name in ("JUPYTERHUB_SERVICE_PREFIX", "JPY_SESSION_NAME", "JPY_PARENT_PID", "CODESPACES", "SSH_CONNECTION"):
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
        ([LOCAL | {"url": "http://127.0.0.1:8888/"}], JUPYTER, "http://127.0.0.1:4321/console/"),
        ([LOCAL], JUPYTER | {"CODESPACES": "true"}, "/proxy/4321/console/"),
        ([LOCAL], JUPYTER | {"SSH_CONNECTION": "1"}, "/proxy/4321/console/"),
        ([LOCAL, FAR], JUPYTER, "/user/alice/proxy/4321/console/"),
        ([LOCAL, FAR], JUPYTER | {"JPY_PARENT_PID": "1"}, "http://localhost:4321/console/"),
        ([FAR], JUPYTER | {"JPY_PARENT_PID": "77"}, "/user/alice/proxy/4321/console/"),
        ([], {"JUPYTERHUB_SERVICE_PREFIX": "/user/bob/"}, "/user/bob/proxy/4321/console/"),
    ],
)
def test_the_browser_gets_an_address_that_it_can_reach(running, servers, environ, src):
    """Directly where browser and kernel share a machine, through the Jupyter server's proxy where they do not.

    Directly means by the name that Jupyter itself is opened by: to a browser, localhost and 127.0.0.1 are two sites.
    """
    assert running(servers, environ).src == src


def test_the_page_is_shown_with_its_address_beside_it(running):
    """The page is framed, with the plain address as a link, for a browser that cannot show it."""
    shown = running([], {"JUPYTERHUB_SERVICE_PREFIX": "/user/bob/"})
    assert repr(shown) == "the page /console/ of the live server"
    bundle = shown._repr_mimebundle_()
    assert bundle["text/plain"] == repr(shown)
    assert (
        '<iframe src="/user/bob/proxy/4321/console/"' in bundle["text/html"] and 'height="300"' in bundle["text/html"]
    )
    assert '<a href="/user/bob/proxy/4321/console/"' in bundle["text/html"]
    assert ">http://127.0.0.1:4321/console/</a>" in bundle["text/html"]


def test_an_address_is_shown_inert():
    """A path cannot break out of its attribute."""
    html = page.Page("http://x/", "http://x/", '/"><script>', 1)._repr_mimebundle_()["text/html"]
    assert "<script>" not in html and "&quot;&gt;&lt;script&gt;" in html
