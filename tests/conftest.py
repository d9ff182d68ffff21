"""What all tests share: programs that may be missing, and the closing line that counts them."""

import json
import os
import shutil
import tempfile
import time
import urllib.request

import pytest

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


def jupyter_address(process, runtime):
    """The address of a Jupyter server that is starting, as soon as it answers; `runtime` is its runtime folder."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            try:
                url = json.loads(file.read_text())["url"]
                urllib.request.urlopen(f"{url}api", timeout=5).close()
                return url
            except (OSError, ValueError):
                pass  # not yet written, or not yet listening
        time.sleep(0.1)
    raise AssertionError(f"expected a Jupyter server within a minute, found none; its exit status is {process.poll()}")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    """One line that counts what was skipped."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = sorted({str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped})
    terminalreporter.write_line(f"skipped: {len(skipped)}" + "".join(f"; {reason}" for reason in reasons))
