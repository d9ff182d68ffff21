"""The project's pages in Chromium: direct, and through jupyter-server-proxy under a hub's base URL."""

import urllib.request

import pytest
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path

from labserver import serve

from .conftest import look

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(120)]


@pytest.fixture
def server():
    """The reference project, an echo that takes a subprotocol, one that closes visibly, and one that refuses."""
    server = serve("labserver.project.asgi:application")
    from channels.generic.websocket import AsyncWebsocketConsumer

    from labserver.project.asgi import application as project
    from labserver.project.echo.consumers import EchoConsumer

    class Chooser(EchoConsumer):
        async def connect(self):
            await self.accept("json" if "json" in self.scope["subprotocols"] else None)

    class Leaver(AsyncWebsocketConsumer):
        async def connect(self):
            await self.accept()
            await self.close(4001, "log in first")

    class Refuser(AsyncWebsocketConsumer):
        async def connect(self):
            await self.close(4001)

    routes = {"echo": EchoConsumer, "chooser": Chooser, "leaver": Leaver, "refuser": Refuser}
    sockets = URLRouter([path(f"ws/{name}/", consumer.as_asgi()) for name, consumer in routes.items()])
    server.application = ProtocolTypeRouter({"http": project, "websocket": sockets})
    server.trace.clear()
    yield server
    server.stop()


@pytest.fixture
def page(chromium):
    """A page, whose every error in the console fails the test."""
    context = chromium.new_context(viewport={"width": 900, "height": 700})
    context.set_default_timeout(30_000)
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert not errors


def newest(page, sign, *words):
    """Wait until the newest entries of the log hold one with this sign and these words; returns its text."""
    entry = page.locator("#log li").filter(has=page.locator("b", has_text=sign))
    for word in words:
        entry = entry.filter(has_text=word)
    entry.first.wait_for()
    return entry.first.inner_text()


def test_the_console_echoes_text_json_and_bytes_by_keyboard(server, page):
    """Typed text comes back as text, JSON as JSON, hex as bytes; nothing but the keyboard is needed."""
    page.goto(f"{server.url}/console/?path=/ws/echo/")
    newest(page, "●", "connected")
    page.locator("#text").focus()
    page.keyboard.type("<b>hello</b>")
    page.keyboard.press("Enter")
    newest(page, "◀", "text", "<b>hello</b>")
    page.keyboard.press("Tab")
    page.keyboard.type("as J")
    page.keyboard.press("Shift+Tab")
    page.keyboard.type('{"a": 1}')
    page.keyboard.press("Enter")
    newest(page, "▶", "JSON", '{"a": 1}')
    newest(page, "◀", "text", '{"a": 1}')
    page.locator("#kind").select_option("bytes")
    page.locator("#text").fill("00 ff 7b")
    page.keyboard.press("Enter")
    newest(page, "◀", "3 bytes", "00 ff 7b")
    assert [event.type for event in server.trace].count("websocket.send") == 3
    look(page, "console")


def test_what_cannot_be_sent_is_said_and_stays(server, page):
    """Text that is not JSON, hex that is none and codes that a page may not use stay where they are, with a reason."""
    page.goto(f"{server.url}/console/?path=/ws/echo/")
    newest(page, "●", "connected")
    for kind, text, told in (("json", "{a: 1}", "JSON"), ("bytes", "0", "pairs of hex digits")):
        page.locator("#kind").select_option(kind)
        page.locator("#text").fill(text)
        page.locator("#send").click()
        newest(page, "!", "not sent", told)
        assert page.locator("#text").input_value() == text
    page.locator("summary").click()
    page.locator("#code").fill("1008")
    page.locator("#close").click()
    newest(page, "!", "expected 1000, or 3000 to 4999, found 1008")
    assert page.locator("#state").inner_text() == "connected"


def test_the_console_closes_with_a_code(server, page):
    """The code that is typed arrives at the application, and the page shows it, beside the server's answer."""
    page.goto(f"{server.url}/console/?path=/ws/echo/")
    newest(page, "●", "connected")
    page.locator("summary").click()
    page.locator("#reason").fill("enough")
    page.locator("#close").click()
    assert "by this page with code 4001; the server's own close frame said 1000" in newest(page, "✕", "closed")
    assert page.locator("#state").inner_text() == "closed: code 4001, yours"
    assert server.trace.wait_for("websocket.disconnect").message["code"] == 4001


def test_the_console_offers_subprotocols_and_shows_the_one_agreed(server, page):
    """Of what is offered, the application's choice is shown; the origin is the browser's own."""
    page.goto(f"{server.url}/console/?path=/ws/chooser/")
    newest(page, "●", "connected")
    page.locator("summary").click()
    assert page.locator("#origin").inner_text() == server.url
    page.locator("#toggle").click()
    newest(page, "✕", "closed")
    page.locator("#subprotocol").fill("xml, json")
    page.locator("#toggle").click()
    newest(page, "●", "subprotocol json")
    look(page, "console-options")


def test_the_console_tells_a_refusal_from_a_close(server, page):
    """A refused handshake is called refused, with the code 1006; a close after accept shows the application's code."""
    page.goto(f"{server.url}/console/?path=/ws/refuser/")
    newest(page, "✕", "refused", "1006")
    assert page.locator("#state").inner_text() == "refused: code 1006"
    page.locator("#path").fill(f"{server.ws_url}/ws/leaver/")
    page.locator("#toggle").click()
    newest(page, "✕", "closed", "code 4001")
    page.locator("#path").fill("ws://[")
    page.locator("#toggle").click()
    newest(page, "!", "not sent")


def test_the_console_works_behind_a_proxy_and_says_what_it_hides(server, page, proxy):
    """Under a hub's base URL text, JSON and bytes come back; what the proxy hides is said before anybody wonders."""
    base, token = proxy
    console = f"{base}proxy/{server.url.rpartition(':')[2]}/console/"
    page.goto(f"{console}?path=/ws/echo/&token={token}")
    newest(page, "●", "connected")
    assert "It hides close codes" in page.locator("#proxied").inner_text()
    for kind, text in (("text", "hello"), ("json", "[1]"), ("bytes", "01")):
        page.locator("#kind").select_option(kind)
        page.locator("#text").fill(text)
        page.locator("#send").click()
        newest(page, "◀", text)
    look(page, "console-proxied")
    page.locator("summary").click()
    page.locator("#close").click()
    newest(page, "✕", "closed")
    for path_ in ("/ws/leaver/", "/ws/refuser/"):
        page.locator("#path").fill(path_)
        before = page.locator("#log li").count()
        page.locator("#toggle").click()
        page.locator(f"#log li:nth-last-child({before + 2})").wait_for()
        newest(page, "✕", "closed", "a refused handshake looks the same")


def test_without_a_proxy_nothing_is_hidden(server, page):
    """A page that comes directly does not warn."""
    page.goto(f"{server.url}/console/")
    newest(page, "●", "connected")
    assert not page.locator("#proxied").is_visible()
    assert urllib.request.urlopen(f"{server.url}/console/").status == 200
