"""The reference project by itself: under daphne, in a process of its own, as on a server."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from labserver import project


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The address of the project under daphne, on a free port; ended by its id."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LABSERVER_", "DJANGO_"))}
    environment |= {"LABSERVER_SECRET_KEY": "k" * 48, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", "0", "labserver.project.asgi:application"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path_factory.mktemp("alone")
    ) as process:
        try:
            said = []
            for line in process.stderr:
                said.append(line)
                if "Listening on TCP address 127.0.0.1:" in line:
                    break
            else:
                pytest.fail("".join(said))
            yield "127.0.0.1:" + line.rpartition(":")[2].strip()
        finally:
            process.terminate()
            process.communicate(timeout=10)


def test_pages_and_static_files_are_served(alone):
    """The front page and its style sheet answer without labserver's own server."""
    with httpx.Client(base_url=f"http://{alone}", trust_env=False) as client:
        assert "Channels Lab" in client.get("/").text
        style = client.get("/static/console/console.css")
        assert style.status_code == 200 and style.headers["content-type"].startswith("text/css")


def test_the_echo_answers(alone):
    """Text comes back as text and bytes as bytes."""
    with connect(f"ws://{alone}/ws/echo/", origin=f"http://{alone}", proxy=None) as ws:
        ws.send("hello")
        assert ws.recv(timeout=5) == "hello"
        ws.send(b"\x00\xff")
        assert ws.recv(timeout=5) == b"\x00\xff"


@pytest.mark.parametrize("origin", ["http://evil.example", None])
def test_a_foreign_origin_is_refused(alone, origin):
    """Row 59: a handshake from another site, or from none, gets 403."""
    with pytest.raises(InvalidStatus) as caught:
        connect(f"ws://{alone}/ws/echo/", origin=origin, proxy=None)
    assert caught.value.response.status_code == 403


def test_it_could_be_lifted_out():
    """The project imports nothing of labserver but itself."""
    for path in Path(project.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert all(n.startswith("labserver.project") for n in names if n.split(".")[0] == "labserver"), path.name
