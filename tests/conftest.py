"""What all tests share: programs that may be missing, the closing line that counts them, and real kernels."""

import contextlib
import functools
import json
import os
import re
import secrets
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.contrib.auth import hashers
from jupyter_client.manager import KernelManager

import labserver.validation  # noqa: F401 - before anything imports nbformat: it says why

PROGRAMS = {
    "redis-server": ("redis-server",),
    "nginx": ("nginx",),
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
}
"""The programs that some tests drive, and the names they go by."""

_missing: set[str] = set()


def find_program(name: str) -> str | None:
    """The path of a program, or None."""
    return next((path for each in PROGRAMS[name] if (path := shutil.which(each))), None)


def pytest_configure(config):
    """Kernels get an empty profile: neither the user's start-up files nor a home that cannot be written may matter."""
    folder = tempfile.TemporaryDirectory(prefix="ipython-")
    config.add_cleanup(folder.cleanup)
    os.environ["IPYTHONDIR"] = folder.name
    os.environ["LABSERVER_STATE"] = os.path.join(folder.name, "state")
    # Slow on purpose, and tests sign the same users in with the same passwords: computed once for all of them.
    hashers.pbkdf2 = functools.cache(hashers.pbkdf2)


def pytest_runtest_setup(item):
    """A test that needs a missing program is skipped with the way to get it; with LABSERVER_REQUIRE_ALL=1 it fails."""
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if find_program(name) is None:
                _missing.add(name)
                reason = f"expected the program {name}, found none; get it with: apt-get install {name}"
                if os.environ.get("LABSERVER_REQUIRE_ALL") == "1":
                    pytest.fail(reason, pytrace=False)
                pytest.skip(reason)


def light(folder):
    """What a Jupyter server's environment needs to start without the grammar of IRIs: two seconds each, for nobody."""
    stand_in = folder / "light" / "rfc3987_syntax.py"  # jsonschema does without it
    stand_in.parent.mkdir()
    stand_in.write_text("raise ImportError\n")
    return {"PYTHONPATH": str(stand_in.parent)}


def jupyter_address(process, runtime):
    """The address of a Jupyter server that is starting, as soon as it answers; `runtime` is its runtime folder."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            try:
                url = json.loads(file.read_text())["url"]
                # A hub's certificate is of the test's own making.
                urllib.request.urlopen(f"{url}api", timeout=5, context=ssl._create_unverified_context()).close()
                return url
            except (OSError, ValueError):
                pass  # not yet written, or not yet listening
        time.sleep(0.1)
    raise AssertionError(f"expected a Jupyter server within a minute, found none; its exit status is {process.poll()}")


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_program("chromium"), args=[*quiet, "--disable-sync"])
        yield browser
        browser.close()


@pytest.fixture
def proxy(tmp_path):
    """The base of a Jupyter server as a hub starts it, with jupyter-server-proxy; and its token."""
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--port=0", "--ip=127.0.0.1"]
    command += [
        "--ServerApp.base_url=/user/a/",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={tmp_path}",
    ]
    environment = os.environ | {"JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")} | light(tmp_path)
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        yield jupyter_address(process, tmp_path / "runtime"), token
    finally:
        process.terminate()
        process.wait(20)


HERE = Path(__file__).parent

LONG = (
    "test_recordings",
    "test_deployment",
    "test_browser",
    "test_hub",
    "test_05",
    "test_08",
    "test_09",
    "test_chat_page",
    "test_readme",
    "test_07",
    "test_06",
    "test_environments",
    "test_strangers",
    "test_checks",
    "test_cells",
    "test_command",
    "test_run",
    "test_kernel",
    "test_settings",
)
"""Modules that take many seconds, the longest first."""

WHOLE = (
    "lessons",
    "test_browser",
    "test_chat_page",
    "test_deployment",
    "test_environments",
    "test_hub",
    "test_kernel_endurance",
    "test_own_project",
    "test_pages",
    "test_readme",
    "test_recordings",
    "test_strangers",
)
"""Tests of whole lessons and pages: each module of labserver is covered by its own tests, and measuring costs as much
as running. `make test` runs them in a second pytest, without coverage: `-m whole`. With them those of any value at all,
which run a line a hundred times, and do not find the same lines each time."""


def _is_whole(path):
    return not {path.relative_to(HERE).parts[0], path.stem}.isdisjoint(WHOLE)


def pytest_ignore_collect(collection_path, config):
    """Modules of which -m would take nothing are not imported, by four processes."""
    if collection_path.suffix != ".py" or config.option.markexpr not in ("whole", "not whole"):
        return None
    if config.option.markexpr == "not whole":
        return _is_whole(collection_path) or None
    return None if _is_whole(collection_path) or "hypothesis" in collection_path.read_text("utf-8") else True


@pytest.hookimpl(tryfirst=True)  # -m looks at the marks after this
def pytest_collection_modifyitems(items):
    """Long modules first: a worker that begins one when the others have nothing left keeps everybody waiting."""
    for item in items:
        if _is_whole(item.path) or getattr(item.obj, "is_hypothesis_test", False):
            item.add_marker("whole")
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def in_database(work):
    """What `work` finds in the database: where an event loop runs, as in most tests, the ORM refuses to work."""

    def clean():
        from django.db import connections

        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(clean).result()


PROJECT = "labserver.project.asgi:application"
DAPHNE = ("-m", "daphne", "-b", "127.0.0.1", "-p", "0", PROJECT)
UVICORN = ("-m", "uvicorn", "--host", "127.0.0.1", "--port", "0", PROJECT)
"""The arguments to Python that serve the project on a free port, with daphne and with uvicorn."""


@contextlib.contextmanager
def serving(command, folder, **environment):
    """A server in a process of its own, ended by its id; gives its address, and the file that it writes into."""
    log = folder / "log"
    with open(log, "wb") as file:
        process = subprocess.Popen(
            [sys.executable, *command],
            stdout=file,
            stderr=file,
            env={"LABSERVER_SECRET_KEY": "k" * 48, "PYTHONUNBUFFERED": "1"} | environment,
            cwd=folder,
        )
    try:
        end, address = time.monotonic() + 30, None
        while address is None and time.monotonic() < end and process.poll() is None:
            told = re.search(r"(?:Listening on TCP address |running on http://)(\S+)[^\n]*\n", log.read_text())
            address = told and told[1]
            time.sleep(0.02)
        assert address, log.read_text()
        yield address, log
    finally:
        process.terminate()
        process.wait(20)


def look(page, name):
    """Keep a picture, in both colour schemes."""
    if folder := os.environ.get("LABSERVER_SCREENSHOTS"):
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=f"{folder}/{name}-{scheme}.png")


CELL_LIMIT = 30
"""Seconds that a cell may take."""


@dataclass
class Ran:
    """What came of a cell: the text printed under it, and its error."""

    id: str
    text: str = ""
    error: dict = field(default_factory=dict)


class Kernel:
    """A real kernel, driven by messages as a notebook drives it."""

    def __init__(self, folder):
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith(("LABSERVER_", "DJANGO_"))}
        self._cells = {}
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env=self._environment, cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self._ready = False

    def send(self, code):
        """Queue a cell, and return its id; the first one waits until the kernel is there."""
        if not self._ready:
            self.client.wait_for_ready(timeout=60)
            self._ready = True
        cell = self.client.execute(code)
        self._cells[cell] = Ran(cell)
        return cell

    def wait(self, cell, until=None, limit=CELL_LIMIT):
        """Take messages until the cell has ended (or until this text is under it); returns what is under it."""
        ran, end = self._cells[cell], time.monotonic() + limit
        while True:
            message = self.client.get_iopub_msg(timeout=max(0.001, end - time.monotonic()))
            kind, content = message["msg_type"], message["content"]
            under = self._cells.get(message["parent_header"].get("msg_id"), Ran("nobody"))
            if kind == "stream":
                under.text += content["text"]
            elif kind == "execute_result":
                under.text += content["data"]["text/plain"] + "\n"
            elif kind == "error":
                under.error = content
            if until is not None and until in ran.text:
                return ran
            if kind == "status" and content["execution_state"] == "idle" and under is ran:
                return ran

    def run(self, code, limit=CELL_LIMIT):
        """Run a cell that must not fail; returns the text under it."""
        ran = self.wait(self.send(code), limit=limit)
        assert not ran.error, "\n".join(ran.error["traceback"])
        return ran.text

    def fail(self, code):
        """Run a cell that must fail; returns the error's name and text."""
        ran = self.wait(self.send(code))
        assert ran.error, ran.text
        return ran.error["ename"], ran.error["evalue"]

    def restart(self):
        """Restart it, as the button does."""
        self.manager.restart_kernel(now=True, env=self._environment)
        self._ready = False

    def end(self):
        """End it at once."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture(scope="session")
def new_kernel(tmp_path_factory):
    """Makes kernels, in a folder of their own unless one is named; whoever makes one ends it."""
    return lambda folder=None: Kernel(folder or tmp_path_factory.mktemp("kernel"))


@pytest.fixture
def fresh(new_kernel):
    """A kernel of a test's own."""
    kernel = new_kernel()
    yield kernel
    kernel.end()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    """One line that counts what was skipped."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = sorted({str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped})
    terminalreporter.write_line(f"skipped: {len(skipped)}" + "".join(f"; {reason}" for reason in reasons))
