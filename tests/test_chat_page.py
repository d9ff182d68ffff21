"""The chat and the room in Chromium: two users in two browsers, direct and through jupyter-server-proxy.

What stands on the page is found by its role and its label, as a screen reader finds it.
"""

import json
import os
import re
import subprocess
import sys
import time

import pytest
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path
from playwright.sync_api import expect

from labserver import serve
from labserver.project import demo

from .conftest import PROJECT, in_database, look

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(120)]

expect.set_options(timeout=20_000)  # a slow machine is no failure


class Mirror(AsyncWebsocketConsumer):
    """Answers pings, and sends the text of each message back as the frame that it holds: `4008` closes with that."""

    silent = False

    async def connect(self):
        await self.accept("bearer" if "bearer" in self.scope["subprotocols"] else None)

    async def receive(self, text_data=None, bytes_data=None):
        if text_data == "ping":
            if not Mirror.silent:
                await self.send("pong")
            return
        text = json.loads(json.loads(text_data)["content"])["text"]
        if text == "be silent":
            Mirror.silent = True
        elif re.fullmatch(r"\d{4}", text):
            await self.close(int(text))
        else:
            await self.send(text)


def mirror(server):
    """Let new connections to the chat meet a Mirror instead."""
    Mirror.silent = False
    sockets = URLRouter([path("infra/ws/", Mirror.as_asgi())])
    server.application = ProtocolTypeRouter({"http": serve(PROJECT).application, "websocket": sockets})


@pytest.fixture
def server():
    """The reference project, live, with its users."""
    server = serve(PROJECT)
    demo.create_users()
    server.trace.clear()
    yield server
    server.stop()


@pytest.fixture
def window(chromium):
    """Opens windows, each of a browser of its own; an error in the console of any of their pages fails the test."""
    contexts, errors = [], []

    def open_window(width=900, height=700, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(30_000)
        context.on("weberror", lambda error: errors.append(str(error.error)))
        contexts.append(context)
        return context.new_page()

    yield open_window
    for context in contexts:
        context.close()
    assert not errors


@pytest.fixture
def chat(server, window):
    """Opens the chat of a user in a window of their own, signed in and connected."""

    def open_chat(name, *, access=None, refresh=None, **options):
        page = window(**options)
        page.goto(f"{server.url}/chat/")
        keep_tokens(page, access or tokens(name)["access"], refresh or tokens(name)["refresh"])
        page.reload()
        connected(page)
        return page

    return open_chat


def with_user(name, work):
    """What `work` makes of a user."""

    def found():
        from django.contrib.auth.models import User

        return work(User.objects.get(username=name))

    return in_database(found)


def tokens(name, **claims):
    """What signing in gives, without the time that checking a password takes; with these claims changed."""

    def made(user):
        from rest_framework_simplejwt.tokens import RefreshToken

        refresh = RefreshToken.for_user(user)
        access = refresh.access_token
        access.payload.update(claims)
        return {"access": str(access), "refresh": str(refresh)}

    return with_user(name, made)


def session(name):
    """The key of a session, as Django's own sign-in page makes one."""

    def made(user):
        from django.test import Client

        client = Client()
        client.force_login(user)
        return client.cookies["sessionid"].value

    return with_user(name, made)


def change(name, **fields):
    """Set these fields of a user."""
    with_user(name, lambda user: type(user).objects.filter(pk=user.pk).update(**fields))


def keep_tokens(page, access, refresh):
    """Let the page find these tokens where it keeps them."""
    kept = json.dumps({"access": access, "refresh": refresh})
    page.evaluate("(kept) => sessionStorage.setItem('channels-lab-tokens', kept)", kept)


def sign_in(page, name, password=demo.PASSWORD):
    """Sign in on the page, with the mouse."""
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def connected(page):
    """Wait until the page says so."""
    expect(page.get_by_role("status")).to_have_text("connected", timeout=20_000)


def say(page, text, to="everyone"):
    """Write a message and send it with Enter."""
    page.get_by_label("To").select_option(to)
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_label("Message", exact=True).press("Enter")


def entries(page, *words):
    """The entries of the list that hold all these words, newest first."""
    rows = page.get_by_role("log", name="Messages, newest first").get_by_role("listitem")
    for word in words:
        rows = rows.filter(has_text=word)
    return rows


def heard(page, *words):
    """Wait until exactly one entry holds these words."""
    expect(entries(page, *words)).to_have_count(1, timeout=20_000)


def test_two_users_write_to_all_and_to_one_another(server, chat):
    """What one sends to everyone both see, what one sends to the other stays between them; newest first, with names."""
    alice, bob = chat("alice"), chat("bob")
    say(alice, "hello all")
    heard(alice, "you to everyone", "hello all")
    heard(bob, "alice to everyone", "hello all")
    say(bob, "hello alice", to="alice")
    heard(bob, "you to alice alone", "hello alice")
    heard(alice, "bob to you alone", "hello alice")
    say(alice, "bye all")
    heard(bob, "alice to everyone", "bye all")
    expect(alice.get_by_role("main")).to_match_aria_snapshot("""
        - main:
          - heading "Chat"
          - paragraph: You are alice.
          - button "Sign out"
          - status: connected
          - button "Disconnect"
          - text: To
          - combobox "To":
            - option "everyone" [selected]
            - option "bob"
            - option "carol"
          - text: Message
          - textbox "Message"
          - button "Send"
          - log "Messages, newest first":
            - list:
              - listitem:
                - time
                - text: you to everyone bye all
              - listitem:
                - time
                - text: bob to you alone hello alice
              - listitem:
                - time
                - text: you to everyone hello all
    """)
    expect(alice.get_by_label("Message", exact=True)).to_be_focused()
    look(alice, "chat")


def test_every_tab_of_a_user_gets_its_share(server, chat):
    """Another tab of alice gets what is sent to her and to all; closing it changes nothing for the rest."""
    alice, bob = chat("alice"), chat("bob")
    with alice.expect_popup() as popup:
        alice.evaluate("open(location)")  # a tab opened from another one begins with a copy of its tokens
    tab = popup.value
    connected(tab)
    say(bob, "for alice", to="alice")
    say(bob, "for all")
    for page in (alice, tab):
        heard(page, "bob to you alone", "for alice")
        heard(page, "bob to everyone", "for all")
    tab.close()
    server.trace.wait_for("websocket.disconnect")
    say(bob, "still there?", to="alice")
    heard(alice, "bob to you alone", "still there?")
    say(alice, "yes")
    heard(bob, "alice to everyone", "yes")
    assert entries(bob, "error").count() == 0


def test_script_text_is_shown_and_never_run(server, chat):
    """Row 44: markup arrives as the characters that were typed, in messages, in names and in errors."""
    alice, bob = chat("alice"), chat("bob")
    for text in ("<script>hacked = 1</script>", "<img src=x onerror='hacked = 1'>"):
        say(alice, text)
        heard(bob, "alice to everyone", text)
        heard(alice, "you to everyone", text)
    for page in (alice, bob):
        assert page.locator("#log script, #log img").count() == 0
        assert page.evaluate("typeof hacked") == "undefined"


def test_everything_works_by_keyboard(server, window):
    """Signing in, choosing, sending, leaving and coming back need nothing but keys; the focus stays where it was."""
    page = window()
    page.goto(f"{server.url}/chat/")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Username")).to_be_focused()
    page.keyboard.type("carol")
    page.keyboard.press("Tab")
    page.keyboard.type("lab")
    page.keyboard.press("Enter")
    connected(page)
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_label("To")).to_be_focused()
    page.keyboard.type("bo")
    page.keyboard.press("Tab")
    page.keyboard.type("hello")
    expect(page.get_by_label("To").locator("option:checked")).to_have_text("bob")
    page.get_by_label("To").select_option("everyone")
    page.keyboard.press("Enter")
    heard(page, "you to everyone", "hello")
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    heard(page, "not sent", "the message is blank")
    for _ in range(2):
        page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Disconnect")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("disconnected")
    expect(page.get_by_label("Message", exact=True)).to_be_disabled()
    page.keyboard.press("Enter")
    connected(page)
    heard(page, "connected again: messages sent meanwhile may be missing")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("You are not signed in.")).to_be_visible()
    expect(page.get_by_label("Username")).to_be_focused()


def test_a_wrong_password_and_a_disabled_account_are_told_in_words(server, window):
    """The page says that name and password do not belong together, or that the account is disabled; then lets in."""
    page = window()
    page.goto(f"{server.url}/chat/")
    sign_in(page, "carol", "wrong")
    expect(page.get_by_role("alert")).to_have_text("name and password do not belong together")
    look(page, "chat-sign-in")
    change("carol", is_active=False)
    try:
        sign_in(page, "carol")
        expect(page.get_by_role("alert")).to_have_text("this account is disabled")
    finally:
        change("carol", is_active=True)
    sign_in(page, "carol")
    connected(page)
    expect(page.get_by_text("You are carol.")).to_be_visible()
    expect(page.get_by_label("Password")).to_be_hidden()


def test_a_frame_that_gets_no_cookies_says_so(server, window):
    """Under another host name nobody can sign in to a room in a frame: the page says why, and offers a tab instead."""
    page = window()
    page.goto(server.url.replace("127.0.0.1", "localhost"))
    frame = f'<iframe src="{server.url}/accounts/login/?next=../../room/lobby/" width="800" height="400"></iframe>'
    page.evaluate("(frame) => (document.body.innerHTML = frame)", frame)
    look(page, "sign-in-framed")
    with page.expect_popup() as popup:
        page.frame_locator("iframe").get_by_role("link", name="Open this page in a tab of its own").click()
    tab = popup.value
    expect(tab.get_by_text("Your browser keeps no cookies")).to_be_hidden()
    sign_in(tab, "alice", "wrong")
    expect(tab.get_by_role("alert")).to_contain_text("Please enter a correct username and password")
    sign_in(tab, "alice")
    expect(tab.get_by_role("status")).to_have_text("connected")


def test_an_expired_token_is_replaced_before_connecting(server, chat):
    """With a good refresh token nobody notices; the page goes on with a fresh one."""
    page = chat("alice", access=tokens("alice", exp=int(time.time()) - 60)["access"])
    say(page, "hello")
    heard(page, "you to everyone", "hello")
    assert [event.message["status"] for event in server.trace if event.type == "http.response.start"].count(401) == 1


def test_two_expired_tokens_are_told_in_words(server, window):
    """The page says that one has to sign in again, and tries nothing more."""
    page = window()
    page.goto(f"{server.url}/chat/")
    old = tokens("alice", exp=int(time.time()) - 60)["access"]
    keep_tokens(page, old, old)
    page.reload()
    expect(page.get_by_role("status")).to_have_text(re.compile("refused: .*(expired|type|invalid)"))
    expect(page.get_by_label("Username")).to_be_visible()
    look(page, "chat-expired")
    assert not [event for event in server.trace if event.type == "websocket.connect"]


def test_a_token_is_replaced_in_time_on_the_same_connection(server, chat):
    """Half a minute before its end the page fetches another one and tells it on the connection that it has."""
    page = chat("alice", access=tokens("alice", exp=int(time.time()) + 32)["access"])
    server.trace.wait_for("websocket.receive", count=2, timeout=20)  # the first one was the ping of the beginning
    said = [str(event.message) for event in server.trace if event.type == "websocket.receive"]
    assert "demo-token-refresh" in said[1]
    say(page, "hello")
    heard(page, "you to everyone", "hello")
    assert len([event for event in server.trace if event.type == "websocket.connect"]) == 1


def test_a_token_that_expires_while_connected_is_replaced_once(server, chat, monkeypatch):
    """On jwt-expired the page refreshes and connects again; if that is no help, it stops and says so."""
    from labserver.project.chat import tokens as checked

    page = chat("alice")
    monkeypatch.setattr(checked, "LOOK_AGAIN", 0.05)
    held = checked.still_valid

    async def expired(scope):
        raise checked.Expired

    monkeypatch.setattr(checked, "still_valid", expired)
    page.get_by_role("button", name="Disconnect").click()
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_role("status")).to_have_text("refused: the token has expired", timeout=20_000)
    monkeypatch.setattr(checked, "still_valid", held)
    sign_in(page, "alice")
    connected(page)


def test_a_user_who_is_disabled_while_connected_is_told(server, chat, monkeypatch):
    """The page says why the connection ended, and does not come back."""
    from labserver.project.chat import tokens as checked

    monkeypatch.setattr(checked, "LOOK_AGAIN", 0.05)
    page = chat("carol")
    change("carol", is_active=False)
    try:
        expect(page.get_by_role("status")).to_have_text(
            "refused: the token is not valid any more: User is inactive", timeout=20_000
        )
        sign_in(page, "carol")
        expect(page.get_by_role("alert")).to_have_text("this account is disabled")
        look(page, "chat-disabled")
    finally:
        change("carol", is_active=True)


def test_who_is_not_signed_in_gets_a_form_and_no_connection(server, window):
    """The page says what to do, and tries nothing, even minutes later."""
    page = window()
    page.clock.install()
    page.goto(f"{server.url}/chat/")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("disconnected: sign in first")
    expect(page.get_by_role("button", name="Connect")).to_be_disabled()
    page.clock.fast_forward("05:00")
    page.evaluate("dispatchEvent(new Event('online'))")
    look(page, "chat-anonymous")
    assert not [event for event in server.trace if event.type == "websocket.connect"]


def test_after_a_loss_it_reconnects_and_says_what_may_be_missing(server, chat):
    """The page waits longer and longer, counts down, keeps what was typed and who was chosen, and then goes on."""
    page = chat("alice")
    say(page, "before")
    heard(page, "you to everyone", "before")
    page.get_by_label("To").select_option("bob")
    box = page.get_by_label("Message", exact=True)
    box.fill("half a sent")
    page.route(
        "**/api/users/", lambda route: route.fulfill(json=[{"id": 1, "username": "al"}])
    )  # bob's account is gone
    server.stop()
    expect(page.get_by_role("status")).to_have_text(re.compile(r"reconnecting in \d+ s"))
    expect(box).to_be_disabled()
    heard(page, "system", "the server has stopped")
    look(page, "chat-reconnecting")
    serve(PROJECT)
    connected(page)
    heard(page, "system", "connected again: messages sent meanwhile may be missing")
    expect(page.get_by_label("To").locator("option:checked")).to_have_text("bob")
    expect(box).to_have_value("half a sent")
    expect(box).to_be_focused()
    page.keyboard.type("ence")
    page.keyboard.press("Enter")
    heard(page, "you to bob alone", "half a sentence")


def test_it_hurries_when_the_network_is_back(server, chat):
    """It does not sit out a long wait when the browser says that it is online again; Disconnect ends the attempts."""
    page = chat("alice")
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now() + 1000"))
    server.stop()
    waiting = re.compile("reconnecting in 1 s")
    expect(page.get_by_role("status")).to_have_text(waiting)
    page.evaluate("dispatchEvent(new Event('online'))")
    heard(page, "system", "the server cannot be reached")
    expect(page.get_by_role("status")).to_have_text(re.compile("reconnecting in [12] s"))
    page.route("**/api/users/", lambda route: route.fulfill(status=502, body="<p>a proxy's own page</p>"))
    page.evaluate("dispatchEvent(new Event('online'))")
    heard(page, "system", "the server cannot be reached (HTTP 502)")
    page.unroute("**/api/users/")
    serve(PROJECT)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    connected(page)
    server.stop()
    expect(page.get_by_role("status")).to_have_text(waiting)
    page.get_by_role("button", name="Disconnect").click()
    expect(page.get_by_role("status")).to_have_text("disconnected")
    serve(PROJECT)
    server.trace.clear()
    page.evaluate("dispatchEvent(new Event('online'))")
    page.clock.fast_forward("05:00")
    expect(page.get_by_role("status")).to_have_text("disconnected")
    assert not [event for event in server.trace if event.type == "websocket.connect"]


def test_the_heartbeat_finds_a_connection_that_died_unnoticed(server, chat):
    """A ping every 20 s; ten seconds without a word, and the page connects anew and gives back what was unanswered."""
    mirror(server)
    page = chat("alice")
    page.clock.install()
    page.get_by_role("button", name="Disconnect").click()
    page.get_by_role("button", name="Connect").click()
    connected(page)
    server.trace.clear()
    page.clock.fast_forward("00:20")
    assert server.trace.wait_for("websocket.receive").message["text"] == "ping"
    page.clock.fast_forward("00:20")
    connected(page)
    say(page, "be silent")
    expect(page.get_by_label("Message", exact=True)).to_have_value("")
    page.clock.fast_forward("00:11")
    heard(page, "no answer", "be silent")
    expect(entries(page, "system", "the server does not answer").first).to_be_visible()
    expect(page.get_by_label("Message", exact=True)).to_have_value("be silent")
    Mirror.silent = False
    page.clock.run_for(2_000)
    connected(page)


def test_a_recipient_who_is_not_connected_costs_no_text(server, chat):
    """The server's error is shown, the message is marked as not sent, and its text is back in the box."""
    page = chat("alice")
    say(page, "are you there?", to="carol")
    heard(page, "error", "is not connected")
    heard(page, "you to carol alone: not sent", "are you there?")
    expect(page.get_by_label("Message", exact=True)).to_have_value("are you there?")
    connected(page)
    look(page, "chat-not-sent")
    say(page, "is anybody there?")
    heard(page, "you to everyone", "is anybody there?")


def test_long_messages_and_many_of_them(server, chat):
    """A long message arrives whole, a longer one is refused and comes back; of 250 the newest 200 stay."""
    alice, bob = chat("alice"), chat("bob", width=360, height=400)
    long = "longer " * 5_000
    say(alice, long)
    expect(entries(bob, "alice to everyone").locator("span")).to_have_text(long.strip())
    assert bob.evaluate("document.documentElement.scrollWidth") == 360
    say(alice, long + long)
    heard(alice, "error", "expected at most 65,536 bytes")
    expect(alice.get_by_label("Message", exact=True)).to_have_value((long + long).strip())
    # Three sockets, so that no one of them sends more at once than the server takes without slowing it down.
    alice.evaluate("""async () => {
        const url = new URL("../infra/ws/", location).href.replace("http", "ws");
        const { access } = JSON.parse(sessionStorage.getItem("channels-lab-tokens"));
        const opened = [0, 1, 2].map(() => new WebSocket(url, ["bearer", access]));
        await Promise.all(opened.map((socket) => new Promise((resolve) => (socket.onopen = resolve))));
        const [bob] = [...document.getElementById("to").options].filter((option) => option.text === "bob");
        for (let i = 1; i <= 249; i++) {
            const content = JSON.stringify({ text: `number ${i}.`, toUserId: bob.value });
            opened[i % 3].send(JSON.stringify({ type: "demo-message-send", content }));
        }
        const done = (socket) => new Promise((resolve) => (socket.onmessage = (e) => e.data === "pong" && resolve()));
        const all = Promise.all(opened.map(done));
        for (const socket of opened) socket.send("ping");
        await all;
        for (const socket of opened) socket.close();
    }""")
    say(alice, "the last")
    heard(bob, "alice to everyone", "the last")
    assert entries(bob).count() == 200
    assert entries(bob, "alice to you alone", "number").count() == 199
    assert entries(bob).first.inner_text().endswith("the last")


def test_what_does_not_parse_is_shown_and_the_page_goes_on(server, chat):
    """Frames that break the protocol become error entries, system messages and unknown users are named as such."""
    mirror(server)
    page = chat("alice", width=360)
    inner = ["5", '"null"', '"{\\"text\\": 1}"']
    frames = [f'{{"type": "demo-message-receive", "content": {each}}}' for each in inner]
    for frame in ("nonsense", "null", "[]", '{"type": "<b>?</b>"}', *frames):
        say(page, frame)
        heard(page, "not understood", f": {frame}")
    say(page, '{"type": "system", "content": "Redis was away"}')
    heard(page, "system", "Redis was away")
    say(
        page,
        json.dumps({"type": "demo-message-receive", "content": '{"fromUserId": 4711, "text": "x", "single": true}'}),
    )
    heard(page, "user 4711 to you alone", "x")
    connected(page)
    look(page, "chat-360")


def test_close_codes_that_wait_for_the_user(server, chat):
    """After 4008 and 4001 the page says why and tries nothing; after any other code it connects anew."""
    mirror(server)
    page = chat("alice")
    say(page, "4008")
    expect(page.get_by_role("status")).to_have_text("refused: too many messages in too short a time")
    heard(page, "refused", "too many messages")
    page.get_by_role("button", name="Connect").click()
    connected(page)
    page.get_by_label("Message", exact=True).fill("")
    say(page, "4000")
    heard(page, "system", "the connection was lost (code 4000)")
    connected(page)
    page.get_by_label("Message", exact=True).fill("")
    say(page, "4001")
    expect(page.get_by_role("status")).to_have_text("refused: sign in first")
    expect(page.get_by_label("Username")).to_be_visible()
    expect(page.get_by_role("button", name="Connect")).to_be_disabled()


def test_the_chat_works_behind_a_proxy(server, window, proxy):
    """Under a hub's base URL signing in, writing, reconnecting and signing out work."""
    base, token = proxy
    chat = f"{base}proxy/{server.url.rpartition(':')[2]}/chat/"
    page = window(height=400)
    page.goto(f"{chat}?token={token}")
    sign_in(page, "alice")
    connected(page)
    say(page, "through the proxy")
    heard(page, "you to everyone", "through the proxy")
    look(page, "chat-proxied")
    server.stop()
    expect(page.get_by_role("status")).to_have_text(re.compile("reconnecting"))
    serve(PROJECT)
    connected(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are not signed in.")).to_be_visible()
    sign_in(page, "alice", "wrong")
    expect(page.get_by_role("alert")).to_have_text("name and password do not belong together")


def test_who_is_refused_for_now_is_told_why(server, window, monkeypatch):
    """A tab too many, Redis away, too many passwords tried: the page shows the server's words, and then goes on."""
    from labserver.project.chat import presence

    page = window()
    page.goto(f"{server.url}/chat/")
    page.route("**/api/token/", lambda route: route.fulfill(status=429, body="<html></html>"))
    sign_in(page, "alice", "wrong")
    expect(page.get_by_role("alert")).to_have_text("too many attempts: try again in a minute")
    keep_tokens(page, **tokens("alice"))
    with monkeypatch.context() as patch:
        patch.setattr(presence, "TABS", 0)
        page.reload()
        heard(page, "too many connections: 0 tabs of one user are enough")
        patch.delattr(presence, "enter")
        heard(page, "the server cannot connect you at the moment; try again later")
    connected(page)
    assert entries(page, "1006").count() == 0


def test_two_pages_of_a_room_hear_each_other(server, window):
    """C3: each page says hello when it opens, and shows what comes back, from itself and from the other one."""
    alice, bob = window(), window()
    for page, name in ((alice, "alice"), (bob, "bob")):
        page.context.add_cookies([{"name": "sessionid", "value": session(name), "url": server.url}])
        page.goto(server.url)
        page.get_by_role("link", name="A room called lobby").click()
        expect(page.get_by_role("status")).to_have_text("connected")
        heard_hello = page.get_by_role("listitem").filter(has_text="hello from a page")
        expect(heard_hello).to_have_count(1)
    expect(alice.get_by_role("listitem")).to_have_count(2)
    for page, text in ((alice, "<b>hi</b>"), (bob, "hi yourself")):
        page.get_by_label("Message").fill(text)
        page.get_by_label("Message").press("Enter")
        for each in (alice, bob):
            expect(each.get_by_role("listitem").first).to_have_text(f'{{"type": "response", "content": "{text}"}}')
    look(alice, "room")
    stranger = window()
    stranger.goto(f"{server.url}/room/lobby/")
    expect(stranger.get_by_role("status")).to_have_text("closed: code 4001")
    expect(stranger.get_by_role("listitem")).to_contain_text("sign in first")
    stranger.get_by_role("link", name="Sign in").click()
    stranger.get_by_label("Username").fill("carol")
    stranger.get_by_label("Password").fill("lab")
    stranger.get_by_role("button", name="Sign in").click()
    expect(stranger.get_by_role("status")).to_have_text("connected")


def test_the_front_page_leads_to_the_chat(server, window):
    """The chat is one link away."""
    page = window()
    page.goto(server.url)
    look(page, "front")
    page.get_by_role("link", name="The chat").click()
    expect(page.get_by_role("heading", name="Chat")).to_be_visible()


CONFTEST = '''
import pytest
from django.contrib.auth.models import User
from rest_framework_simplejwt.tokens import AccessToken


@pytest.fixture
def users(transactional_db):
    """The users of the chat, with the numbers that they had."""
    return {name: User.objects.create_user(name, id=number) for name, number in NUMBERS.items()}


@pytest.fixture
def token(users):
    """What alice's page signs in with."""
    return str(AccessToken.for_user(users["alice"]))


@pytest.fixture
def token_2(users):
    """What bob's page signs in with."""
    return str(AccessToken.for_user(users["bob"]))
'''
"""The fixtures that a generated test asks for."""


def test_a_session_of_two_browsers_becomes_a_test_that_passes(server, chat, tmp_path):
    """What two people did on the page, and all that the chat told them, is a test that pytest runs."""
    with server.record() as trace:
        alice, bob = chat("alice"), chat("bob")
        say(alice, "hello all")
        heard(bob, "alice to everyone", "hello all")
        say(bob, "psst", to="alice")
        heard(alice, "bob to you alone", "psst")
        for page in (alice, bob):
            page.get_by_role("button", name="Disconnect").click()
            expect(page.get_by_role("status")).to_have_text("disconnected")
    source = trace.to_test("test_chat")
    assert "from labserver.project.asgi import application" in source and "eyJ" not in source
    numbers = {name: with_user(name, lambda user: user.pk) for name in ("alice", "bob", "carol")}
    (tmp_path / "conftest.py").write_text(f"{CONFTEST}\n\nNUMBERS = {numbers}\n", encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nDJANGO_SETTINGS_MODULE = labserver.project.settings\n")
    (tmp_path / "test_chat.py").write_text(source, encoding="utf-8")
    assert pytest_in(tmp_path) == ""
    (tmp_path / "test_chat.py").write_text(source.replace("psst", "pst", 1), encoding="utf-8")
    assert "pst" in pytest_in(tmp_path)


def pytest_in(folder):
    """Run pytest in a folder; returns what it says if a test fails."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env=os.environ | {"LABSERVER_SECRET_KEY": "for tests alone, " * 3},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.stdout + done.stderr if done.returncode else ""
