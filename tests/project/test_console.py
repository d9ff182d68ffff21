"""The pages of the reference project: they answer, may stand in a frame, and show what arrives inert."""

from pathlib import Path

import pytest

from labserver import project

STATIC = Path(project.__file__).parent / "console" / "static" / "console"


@pytest.mark.parametrize(
    ("path", "text"),
    [("/", "A WebSocket client for"), ("/console/", 'id="log"'), ("/chat/", "not signed in")],
)
async def test_pages_answer_and_may_be_framed(server, path, text):
    """Each page answers, and a notebook may show it in a frame."""
    response = await server.get(path)
    assert response.status_code == 200 and text in response.text
    assert "x-frame-options" not in response.headers
    assert response.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("name", ["console.js", "console.css"])
async def test_static_files_are_served(server, name):
    """Styles and scripts come from the project itself, and are those on disk."""
    response = await server.get(f"/static/console/{name}")
    assert response.status_code == 200
    assert response.text == (STATIC / name).read_text(encoding="utf-8")


async def test_static_files_stay_in_their_folder(server):
    """Row 65: a path that climbs out of the static files is not found."""
    assert (await server.get("/static/console/%2e%2e/%2e%2e/views.py")).status_code == 404


async def test_unknown_pages_are_not_found(server):
    """A page that is not there is a plain 404."""
    assert (await server.get("/nowhere/")).status_code == 404


async def test_an_evil_host_is_refused(server):
    """Row 61: a request under a foreign Host gets 400."""
    assert (await server.get("/", headers={"host": "evil.example"})).status_code == 400


def test_whatever_arrives_is_shown_as_text():
    """Row 44: no script of ours writes HTML, so nothing that arrives can run."""
    scripts = list(STATIC.parent.rglob("*.js"))
    assert scripts
    for script in scripts:
        source = script.read_text(encoding="utf-8")
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in source, script.name


def test_pages_need_no_network():
    """Pages load nothing from other machines."""
    for page in STATIC.parents[1].rglob("*"):
        if page.suffix in (".html", ".js", ".css"):
            assert "://" not in page.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", ""), page.name
