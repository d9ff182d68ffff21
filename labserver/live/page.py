"""A page of the live server, shown in the notebook by an address that the learner's browser can reach.

Room: reads the environment and Jupyter's list of running servers; starts nothing. The kernel knows no base URL of its
own, and the browser may sit on another machine: then only the Jupyter server's proxy reaches us.
"""

import html
import os
from typing import Any
from urllib.parse import urlsplit

LOOPBACK = {"localhost", "127.0.0.1", "::1", ""}


class Page:
    """An address of the live server; a notebook shows the page itself, with the address beside it."""

    def __init__(self, url: str, src: str, path: str, height: int):
        self.url = url
        self.src = src
        self.path = path
        self.height = height

    def __repr__(self) -> str:
        return f"the page {self.path} of the live server"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        src, url = html.escape(self.src), html.escape(self.url)
        return {
            "text/plain": repr(self),
            "text/html": f'<iframe src="{src}" title="{html.escape(repr(self))}" width="100%" height="{self.height}" '
            f'style="border: 1px solid #8888; border-radius: 6px; background: #fff"></iframe>'
            f'<div>Not visible? Open <a href="{src}" target="_blank" rel="noopener">{url}</a> in a browser tab.</div>',
        }


def page(url: str, path: str, height: int) -> Page:
    """The page `path` of the server at `url`."""
    base, port = proxy_base(os.environ), urlsplit(url).port
    direct = f"http://{_host(os.environ)}:{port}" if base is None else f"{base.rstrip('/')}/proxy/{port}"
    return Page(url + path, direct + path, path, height)


def proxy_base(environ: Any) -> str | None:
    """The base URL under which jupyter-server-proxy reaches this machine, or None if the browser can come directly.

    Directly is better where it works: a proxy hides close codes and refused handshakes from the browser.
    """
    if prefix := environ.get("JUPYTERHUB_SERVICE_PREFIX"):
        return prefix
    server = _jupyter_server(environ)
    if server is None:
        return None
    remote = any(environ.get(name) for name in ("CODESPACES", "SSH_CONNECTION"))
    if not remote and (urlsplit(server["url"]).hostname or "") in LOOPBACK:
        return None
    return server["base_url"]


def _host(environ: Any) -> str:
    """The name by which the browser knows this machine: `localhost` if that is how Jupyter is opened.

    To a browser, a frame from 127.0.0.1 in a page from localhost belongs to another site: it gets no session cookie.
    """
    server = _jupyter_server(environ)
    return "localhost" if server and urlsplit(server["url"]).hostname == "localhost" else "127.0.0.1"


def _jupyter_server(environ: Any) -> dict[str, Any] | None:
    """The Jupyter server that started this kernel; none for nbclient, nbval, VS Code or a console."""
    if "JPY_SESSION_NAME" not in environ:
        return None
    from jupyter_server.serverapp import list_running_servers

    servers = list(list_running_servers())
    parent = environ.get("JPY_PARENT_PID")
    return next((s for s in servers if str(s.get("pid")) == parent), servers[0] if servers else None)
