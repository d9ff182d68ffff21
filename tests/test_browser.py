"""The lessons as a person sees them: real JupyterLab, in Chromium, Run All.

Set LABSERVER_SCREENSHOTS to a folder to keep the pictures, and look at them in both themes.
"""

import pytest

from .jupyterlab import drawn, errors, look, notebooks, serving_lab, stored_errors

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def jupyterlab(tmp_path_factory):
    """The address and the token of a JupyterLab on this machine."""
    with serving_lab(tmp_path_factory.mktemp("lab")) as address:
        yield address


@pytest.fixture(scope="module")
def run_all(chromium, jupyterlab):
    """Opens a notebook and runs it, see `notebooks`."""
    with notebooks(chromium, *jupyterlab) as run:
        yield run


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
    look(page, "01-endings")
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-below')")
    assert errors(page) == stored_errors("notebooks/01_asgi_events.ipynb")
    assert drawn(page) == (5, True)
    look(page, "01")


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
    assert errors(page) == []
    said = page.locator(".jp-OutputArea-output").all_inner_texts()
    for words in ("○ 01.1 unattempted", "✗ 01.2 wrong: never gives way", "✗ 01.3 wrong: close before accept", "○ 01.5"):
        assert any(words in each for each in said), words
    picture = page.locator('img[alt="What happened on the wire"]').last
    assert picture.evaluate("(image) => image.naturalWidth") > 100
    assert drawn(page) == (1, True)  # the progress
    look(page, "exercises-01")
