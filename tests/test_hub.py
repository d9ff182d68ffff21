"""Lessons under a hub: a real JupyterLab below /user/alice/, with a hub's variables, a hub's name, and HTTPS.

What a hub does to the browser's requests, jupyter-server-proxy does here: it hands the hub's Host and Origin on, and
does not say that the browser spoke HTTPS.
"""

import datetime
import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .jupyterlab import drawn, errors, look, notebooks, serving_lab, stored_errors

PREFIX = "/user/alice/"
NAME = "hub.localhost"  # to Chromium this machine, to Django no name that it knows

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(300)]


def certificate(path):
    """Write a key and a certificate of its own signing."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    signed = built.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    kind = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, *kind) + signed.public_bytes(pem))
    return path


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The address, as a browser knows it, and the token of a JupyterLab as a hub starts it."""
    folder = tmp_path_factory.mktemp("hub")
    options = [f"--ServerApp.base_url={PREFIX}", "--ServerApp.allow_remote_access=True"]
    options.append(f"--ServerApp.certfile={certificate(folder / 'pem')}")
    variables = {"JUPYTERHUB_SERVICE_PREFIX": PREFIX, "JUPYTERHUB_BASE_URL": "/", "JUPYTERHUB_USER": "alice"}
    with serving_lab(folder, *options, **variables) as (url, token):
        yield re.sub("//[^:]+:", f"//{NAME}:", url), token


@pytest.fixture(scope="module")
def run(chromium, hub):
    """Opens a notebook and runs it, see `notebooks`."""
    with notebooks(chromium, *hub, ignore_https_errors=True) as run:
        yield run


def frame(page, nth=0):
    """An embedded page, once it is certain that it comes through the hub's proxy."""
    source = page.locator("iframe").nth(nth).get_attribute("src")
    assert re.match(rf"{PREFIX}proxy/\d+/", source), source
    return page.frame_locator("iframe").nth(nth)


def run_below(page):
    """Run the cells below the last one that was run."""
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-below')")


def test_start_here_runs_and_its_page_receives_what_a_cell_pushes(run):
    """Run All of lesson 00 shows the diagrams, and the embedded page shows the messages that a later cell pushed.

    The doctor, called in one of its cells, finds the hub, and that its proxy hands requests on.
    """
    page = run("notebooks/00_start_here.ipynb", answers={"first-get": "%run -m labserver doctor"})
    shown = frame(page)
    shown.locator("#log li", has_text="Lift-off").wait_for()
    shown.locator("#log li", has_text="closed").wait_for()  # the last cell stopped the server
    assert errors(page) == stored_errors("notebooks/00_start_here.ipynb")
    assert drawn(page) == (2, True)
    said = page.locator(".jp-OutputArea-output", has_text="Channels Lab examines this machine.").inner_text()
    assert f"ok    JupyterHub: pages are at {PREFIX}proxy/PORT/\n" in said
    assert "ok    the running Jupyter server hands requests on" in said
    look(page, "hub-00")


def test_the_routing_lesson_runs_and_its_client_talks(run):
    """Lesson 04 runs to its end; the client in its page passes the check of origins, and is answered."""
    page = run("notebooks/04_routing.ipynb", until="console")
    foreign, client = frame(page, 0), frame(page, 1)
    for line in ("HTTP: hidden by the browser", "WebSocket hosts: refused", "WebSocket exact: refused"):
        foreign.get_by_text(line).wait_for()
    client.locator("#text:enabled").fill("good morning")
    client.locator("#send").click()
    client.locator("#log li", has_text="◀").filter(has_text="good morning").wait_for()
    look(page, "hub-04")
    run_below(page)
    assert errors(page) == stored_errors("notebooks/04_routing.ipynb")


def sign_in(page, name):
    """Fill in the form of the chat, or of the rooms."""
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill("lab")
    page.get_by_role("button", name="Sign in").click()


def say(page, text):
    """Write a message to everyone, once the chat is connected."""
    page.get_by_role("status").filter(has_text=re.compile("^connected$")).wait_for()
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_label("Message", exact=True).press("Enter")


def test_the_chat_lesson_runs_and_its_page_shows_a_conversation(run, hub):
    """Lesson 06 runs to its end; alice in its page and bob in a tab talk, and the form of the rooms signs bob in."""
    page = run("notebooks/06_chat_room.ipynb", until="page")
    alice, bob = frame(page), page.context.new_page()
    sign_in(alice, "alice")
    say(alice, "anybody here?")
    top = hub[0].removesuffix(PREFIX) + page.locator("iframe").get_attribute("src").removesuffix("chat/")
    bob.goto(f"{top}chat/")
    sign_in(bob, "bob")
    say(bob, "only me")
    for window in (alice, bob):
        window.get_by_role("listitem").filter(has_text="only me").wait_for()
    alice.get_by_role("listitem").filter(has_text="anybody here?").wait_for()
    bob.goto(f"{top}accounts/login/")
    sign_in(bob, "bob")  # a form with a CSRF token: Django compares the origin of what it came from
    bob.get_by_role("link", name="The chat").wait_for()
    bob.goto(f"{top}room/lobby/")
    bob.get_by_role("listitem").filter(has_text="hello from a page").wait_for()
    bob.close()
    look(page, "hub-06")
    run_below(page)
    assert errors(page) == stored_errors("notebooks/06_chat_room.ipynb")
