"""The lessons as a person sees them: real JupyterLab, in Chromium, Run All.

Set LABSERVER_SCREENSHOTS to a folder to keep the pictures, and look at them in both themes.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import jupyter_address

ROOT = Path(__file__).parents[1]
LIMIT = 60_000
"""Milliseconds for anything in the browser; a slow machine is no failure."""

SESSION = "globalThis.jupyterapp?.shell?.currentWidget?.context?.sessionContext"
"""The notebook's kernel session, in JupyterLab's own terms."""

NOTEBOOK = "jupyterapp.shell.currentWidget.content"

REFUSED = ("InvalidStatus", "server rejected WebSocket connection: HTTP 403")
FAILED = ("InvalidStatus", "server rejected WebSocket connection: HTTP 500")
"""The failures that lessons show on purpose."""

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def jupyterlab(tmp_path_factory):
    """The address of a JupyterLab that serves a copy of the notebooks."""
    folder = tmp_path_factory.mktemp("lab")
    for name in ("notebooks", "exercises"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".*"))
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    # JupyterLab draws only the cells in view; to look at all of them, it has to draw all of them.
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    news = folder / "settings" / "@jupyterlab" / "apputils-extension"
    news.mkdir()
    (news / "notification.jupyterlab-settings").write_text(json.dumps({"fetchNews": "false"}))  # no question in the way
    token = secrets.token_hex(16)
    runtime = folder / "runtime"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0", "--ip=127.0.0.1"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}", "--expose-app-in-browser"]
    environment = os.environ | {"JUPYTER_RUNTIME_DIR": str(runtime)}
    environment["JUPYTERLAB_SETTINGS_DIR"] = str(folder / "settings")
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield jupyter_address(process, runtime), token
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def run_all(chromium, jupyterlab):
    """A function that opens a notebook, fills in `answers` (by cell id), runs all or all `until` a cell, by its id.

    It returns the page.
    """
    url, token = jupyterlab
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(LIMIT)

    def run(notebook, until=None, answers=()):
        page = context.new_page()
        page.goto(f"{url}lab/tree/{notebook}?token={token}&reset")
        # Commands to a notebook whose kernel is not there yet are dropped without a word.
        page.wait_for_function(f"{SESSION}?.isReady && {SESSION}.session?.kernel?.status === 'idle'")
        page.evaluate("jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
        for id, source in dict(answers).items():
            cell = f"{NOTEBOOK}.widgets.find((w) => w.model.id === {json.dumps(id)})"
            page.evaluate(f"{cell}.model.sharedModel.setSource({json.dumps(source)})")
        if until is None:
            page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        else:
            page.evaluate(f"{NOTEBOOK}.activeCellIndex = {NOTEBOOK}.widgets.findIndex((w) => w.model.id === '{until}')")
            page.evaluate("jupyterapp.commands.execute('notebook:run-all-above')")
            page.evaluate("jupyterapp.commands.execute('notebook:run-cell')")
        return page

    yield run
    context.close()


def _look(page, name):
    """Keep pictures of every cell with a rich output, in the light and in the dark theme."""
    if folder := os.environ.get("LABSERVER_SCREENSHOTS"):
        for theme in ("Light", "Dark"):
            page.evaluate(f"jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}})")
            page.wait_for_timeout(1000)
            for number, cell in enumerate(page.query_selector_all(".jp-Notebook .jp-Cell")):
                if cell.query_selector("img, iframe, .jp-OutputArea-output"):
                    cell.scroll_into_view_if_needed()
                    cell.screenshot(path=f"{folder}/{name}-{theme.lower()}-{number:02}.png")


def _errors(page):
    """The error outputs of all cells, once every cell has been run."""
    code = f"{NOTEBOOK}.model.toJSON().cells.filter((cell) => cell.cell_type === 'code')"
    page.wait_for_function(f"{code}.every((cell) => cell.execution_count !== null)")
    outputs = page.evaluate(f"{code}.flatMap((cell) => cell.outputs)")
    return [(output["ename"], output["evalue"]) for output in outputs if output["output_type"] == "error"]


def _drawn(page):
    """How many diagrams have been drawn, and whether each has a size."""
    widths = page.eval_on_selector_all(".jp-RenderedSVG img", "all => all.map((one) => one.naturalWidth)")
    return len(widths), all(widths)


def test_start_here_runs_and_its_page_receives_what_a_cell_pushes(run_all):
    """Run All of lesson 00 shows the diagrams, and the embedded page shows the messages that a later cell pushed."""
    page = run_all("notebooks/00_start_here.ipynb")
    frame = page.frame_locator("iframe")
    frame.locator("#log li", has_text="Lift-off").wait_for()
    frame.locator("#log li", has_text="1001").wait_for()  # the last cell stopped the server
    assert _errors(page) == [REFUSED]
    assert _drawn(page) == (2, True)
    _look(page, "00")
    page.close()


def test_a_page_without_channels_ticks(run_all):
    """The page of lesson 02 sends once a second, shows five replies, and closes."""
    page = run_all("notebooks/02_plain_django.ipynb", until="page")
    frame = page.frame_locator("iframe")
    for words in ("tick 1", "tick 5", "closed with 1000"):
        frame.get_by_text(words).wait_for()
    page.close()


def test_a_page_sees_of_four_endings_what_the_table_says(run_all):
    """In a browser, the four failing applications of lesson 01 end with the codes that the lesson's table states.

    The lesson then runs to its end: it shows its diagrams, and no failure but the deliberate ones.
    """
    page = run_all("notebooks/01_asgi_events.ipynb", until="four-endings")
    frame = page.frame_locator("iframe")
    for path, code in {"/refuse/": 1006, "/early/": 1006, "/visible/": 4001, "/fragile/": 1011}.items():
        entries = frame.locator("#log li", has_text=f"code {code}")
        connect = frame.get_by_role("button", name="Connect", exact=True)
        connect.wait_for()
        before = entries.count()
        frame.locator("#path").fill(path)
        connect.click()
        if path == "/fragile/":
            frame.locator("#text:enabled").fill("0")
            frame.locator("#send").click()
        entries.nth(before).wait_for()
    _look(page, "01-endings")
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-below')")
    assert _errors(page) == [REFUSED, FAILED]
    assert _drawn(page) == (5, True)
    _look(page, "01")
    page.close()


CLOSES_TOO_EARLY = """async def refuse(scope, receive, send):
    await receive()
    await send({"type": "websocket.close", "code": 4003})"""

STUCK = """async def shout(scope, receive, send):
    while True:
        pass"""


def test_a_learner_is_told_what_was_misunderstood(run_all):
    """In the exercises, an untouched check says so, a hanging one ends, and a wrong one shows words and a picture."""
    answers = {"ex-2": STUCK, "ex-3": CLOSES_TOO_EARLY, "check-4": "progress()"}
    page = run_all("exercises/01_asgi_events.ipynb", answers=answers)
    assert _errors(page) == []
    said = page.locator(".jp-OutputArea-output").all_inner_texts()
    for words in ("○ 01.1 unattempted", "✗ 01.2 wrong: never gives way", "✗ 01.3 wrong: close before accept", "○ 01.5"):
        assert any(words in each for each in said), words
    picture = page.locator('img[alt="What happened on the wire"]').last
    assert picture.evaluate("(image) => image.naturalWidth") > 100
    assert _drawn(page) == (1, True)  # the progress
    _look(page, "exercises-01")
    page.close()
