"""A page of the live server, shown in the notebook by an address that the learner's browser can reach.

Room: reads the environment and Jupyter's list of running servers; starts nothing. The kernel knows no base URL of its
own, and the browser may sit on another machine: then only the Jupyter server's proxy, or a forwarded port, reaches us.
"""

import html
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

LOOPBACK = {"localhost", "127.0.0.1", "::1", ""}

PROXIED = (
    "A 404 there means that jupyter-server-proxy is missing where the Jupyter server itself is installed; "
    "%run -m labserver doctor tells."
)

REFUSED = (
    "Bad Request (400) means that LABSERVER_ALLOWED_HOSTS has to hold the host name in the address bar, when Jupyter "
    "is started."
)


@dataclass(frozen=True)
class Way:
    """How the learner's browser comes to the live server.

    place: what the notebook runs in. base: what stands before a path; None if no address of a page can work.
    also: another address to offer, where the kernel cannot know which one is right. words: what to do if it fails.
    """

    place: str
    base: str | None
    words: str = ""
    also: str | None = None


class Page:
    """An address of the live server; a notebook shows the page itself, with the address beside it."""

    def __init__(self, url: str, way: Way, path: str, height: int):
        self.url = url
        self.src = None if way.base is None else way.base + path
        self.path = path
        self.height = height
        self._way = way

    def __repr__(self) -> str:
        return f"the page {self.path} of the live server"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._frame() + f"<div>{self._beside()}</div>"}

    def _frame(self) -> str:
        if self.src is None:
            return ""
        return (
            f'<iframe src="{html.escape(self.src)}" title="{html.escape(repr(self))}" width="100%" '
            f'height="{self.height}" style="border: 1px solid #8888; border-radius: 6px; background: #fff"></iframe>'
        )

    def _beside(self) -> str:
        words = [html.escape(self._way.words)] if self._way.words else []
        if self._way.also is not None:
            words.insert(0, f"If Jupyter runs on another machine: {_link(self._way.also + self.path)}.")
        if self.src is not None:
            words.insert(0, f"Not visible? Run this cell, or open {_link(self.src)} in a browser tab.")
        return " ".join(words)


def page(url: str, path: str, height: int) -> Page:
    """The page `path` of the server at `url`."""
    return Page(url + path, way(os.environ, urlsplit(url).port or 0), path, height)


def way(environ: Mapping[str, str], port: int | str) -> Way:
    """How a browser reaches this port of 127.0.0.1, from where this notebook is shown.

    Directly is better where it works: a proxy hides close codes and refused handshakes from the browser.
    """
    # https://github.com/googlecolab/colabtools/issues/2529: "a known limitation"
    if "COLAB_RELEASE_TAG" in environ or "google.colab" in sys.modules:
        return Way(
            "Google Colab",
            None,
            "No page here: Google Colab hands on what a page asks by HTTP, but none of its WebSockets. "
            "The clients in the cells around get the same messages.",
        )
    # https://github.com/holoviz/panel/issues/5200: the one on a desktop, the other one in WSL and containers. Before
    # Jupyter, whose variable VS Code means to set as well: https://github.com/microsoft/vscode-jupyter/issues/16291
    if "VSCODE_PID" in environ or "VSCODE_CWD" in environ:
        return _in_vscode(environ, port)
    # https://github.com/jupyter-server/jupyter_server/pull/679: a Jupyter server names the session of each kernel
    if "JPY_SESSION_NAME" in environ:
        return _in_jupyter(environ, port)
    return Way("no Jupyter server", f"http://127.0.0.1:{port}")  # nbclient, nbval, a console, a script


def _in_jupyter(environ: Mapping[str, str], port: int | str) -> Way:
    proxied = f"proxy/{port}"  # https://jupyter-server-proxy.readthedocs.io/en/latest/arbitrary-ports-hosts.html
    # https://jupyterhub.readthedocs.io/en/stable/reference/services.html: the hub's own base URL is a part of it.
    # Binder is a hub as well: https://binderhub.readthedocs.io/en/latest/overview.html
    if prefix := environ.get("JUPYTERHUB_SERVICE_PREFIX"):
        place = "Binder" if any(name.startswith("BINDER_") for name in environ) else "JupyterHub"
        return Way(place, f"{prefix.rstrip('/')}/{proxied}", PROXIED)
    server = jupyter_server(environ)
    if server is None:
        return Way("Jupyter", f"http://127.0.0.1:{port}")
    name, through = urlsplit(server["url"]).hostname or "", server["base_url"].rstrip("/") + "/" + proxied
    # The browser comes by a tunnel or a forwarded port: to Jupyter's port, and to no other one.
    for sign, place in (("CODESPACES", "Jupyter in a codespace"), ("SSH_CONNECTION", "Jupyter behind SSH")):
        if environ.get(sign):
            return Way(place, through, PROXIED)
    if name not in LOOPBACK:
        return Way("Jupyter on another machine", through, f"{PROXIED} {REFUSED}")
    # To a browser, a frame from 127.0.0.1 in a page from localhost belongs to another site: it gets no session cookie.
    host = "localhost" if name == "localhost" else "127.0.0.1"
    return Way("Jupyter on this machine", f"http://{host}:{port}", also=through)


def _in_vscode(environ: Mapping[str, str], port: int | str) -> Way:
    forward = f'Forward port {port} first: view "Ports", "Forward a Port".'
    # https://docs.github.com/en/codespaces/developing-in-a-codespace/default-environment-variables-for-your-codespace
    if environ.get("CODESPACES") and "CODESPACE_NAME" in environ:
        domain = environ.get("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN", "app.github.dev")
        return Way("VS Code in a codespace", f"https://{environ['CODESPACE_NAME']}-{port}.{domain}", forward)
    # https://code.visualstudio.com/docs/remote/ssh#_forwarding-a-port-creating-ssh-tunnel
    if environ.get("SSH_CONNECTION") or environ.get("REMOTE_CONTAINERS"):
        return Way("VS Code on another machine", f"http://localhost:{port}", forward)
    return Way("VS Code on this machine", f"http://localhost:{port}")  # WSL hands on this name


def _link(address: str) -> str:
    shown = html.escape(address)
    return f'<a href="{shown}" target="_blank" rel="noopener">{shown}</a>'


def jupyter_server(environ: Mapping[str, str]) -> dict[str, Any] | None:
    """The Jupyter server that started this kernel, as far as can be told."""
    from jupyter_server.serverapp import list_running_servers

    servers = list(list_running_servers())
    parent = environ.get("JPY_PARENT_PID")
    return next((s for s in servers if str(s.get("pid")) == parent), servers[0] if servers else None)
