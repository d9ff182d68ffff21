"""A real JupyterLab and a notebook in it, driven by Chromium: for `test_browser` and `test_hub`."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

from .conftest import jupyter_address, light

ROOT = Path(__file__).parents[1]
LIMIT = 60_000
"""Milliseconds for anything in the browser; a slow machine is no failure."""

SESSION = "globalThis.jupyterapp?.shell?.currentWidget?.context?.sessionContext"
"""The notebook's kernel session, in JupyterLab's own terms."""

NOTEBOOK = "jupyterapp.shell.currentWidget.content"
CODE = f"{NOTEBOOK}.model.toJSON().cells.filter((cell) => cell.cell_type === 'code')"


@contextlib.contextmanager
def serving_lab(folder, *options, **environment):
    """A JupyterLab that serves a copy of the notebooks; gives its address, and its token."""
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
    environment = os.environ | {"JUPYTER_RUNTIME_DIR": str(runtime)} | light(folder) | environment
    environment["JUPYTERLAB_SETTINGS_DIR"] = str(folder / "settings")
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([*command, *options], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield jupyter_address(process, runtime), token
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def notebooks(chromium, url, token, **options):
    """A function that opens a notebook, fills in `answers` (by cell id), runs all or all `until` a cell, by its id.

    It returns the page: JupyterLab, with this notebook alone, as one who takes lesson after lesson has it.
    """
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, **options)
    context.set_default_timeout(LIMIT)
    page = context.new_page()

    def run(notebook, until=None, answers=()):
        if page.url == "about:blank":
            page.goto(f"{url}lab/tree/{notebook}?token={token}&reset")
        else:
            page.evaluate(f"{SESSION}.shutdown().then(() => jupyterapp.shell.currentWidget.dispose())")
            page.evaluate(f"void jupyterapp.commands.execute('docmanager:open', {{path: {json.dumps(notebook)}}})")
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


def look(page, name):
    """Keep pictures of every cell with a rich output, in the light and in the dark theme."""
    if folder := os.environ.get("LABSERVER_SCREENSHOTS"):
        for theme in ("Light", "Dark"):
            page.evaluate(f"jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}})")
            page.wait_for_timeout(1000)
            for number, cell in enumerate(page.query_selector_all(".jp-Notebook .jp-Cell")):
                if cell.query_selector("img, iframe, .jp-OutputArea-output"):
                    cell.scroll_into_view_if_needed()
                    cell.screenshot(path=f"{folder}/{name}-{theme.lower()}-{number:02}.png")


def errors(page):
    """The error outputs of all cells, once every cell has been run."""
    page.wait_for_function(f"{CODE}.every((cell) => cell.execution_count !== null)")
    return _errors(page.evaluate(CODE))


def stored_errors(notebook):
    """The errors that a lesson shows on purpose: those among its stored outputs."""
    cells = json.loads((ROOT / notebook).read_text(encoding="utf-8"))["cells"]
    return _errors(cell for cell in cells if cell["cell_type"] == "code")


def _errors(cells):
    outputs = [output for cell in cells for output in cell["outputs"]]
    return [(output["ename"], output["evalue"]) for output in outputs if output["output_type"] == "error"]


def drawn(page):
    """How many diagrams have been drawn, and whether each has a size."""
    widths = page.eval_on_selector_all(".jp-RenderedSVG img", "all => all.map((one) => one.naturalWidth)")
    return len(widths), all(widths)
