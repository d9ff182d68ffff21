"""What lesson 04 shows holds on the live server, and on the project that it starts in a process of its own."""

import asyncio

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

USERS = ("nested", "news", "stream", "urls", "login", "who")
"""The cells up to a signed-in alice."""

PROJECT = ("nested", "news", "stream", "project", "wiring", "imports", "runserver")
"""The cells that write a project and can start it."""


@pytest.fixture
async def routing(lesson):
    """`space = await routing("nested", …)` runs these cells of lesson 04, after the first ones, which all need."""
    space = await lesson("04_routing", "setup", "routers", "arguments")

    async def run(*ids):
        return await lesson("04_routing", *ids)

    yield run
    from django.conf import settings
    from django.urls import clear_url_caches

    settings.ROOT_URLCONF = "labserver.project.urls"  # the lesson's notebook was urls.py
    clear_url_caches()
    if hasattr(space, "folder"):
        space.folder.cleanup()


async def refused(server, path, **options):
    """The HTTP status that refuses a handshake."""
    with pytest.raises(InvalidStatus) as refusal:
        async with server.connect(path, **options):
            pass
    return refusal.value.response.status_code


# --- routing ----------------------------------------------------------------------------------------------------------


async def test_a_path_argument_arrives_converted(routing):
    """`<int:seat>` reaches the consumer as a number, in scope["url_route"]["kwargs"]."""
    space = await routing()

    assert (
        await space.ask("/ws/room/hall/seat/42/") == "url_route: {'args': (), 'kwargs': {'room': 'hall', 'seat': 42}}"
    )


async def test_nested_routers_gather_their_arguments(routing):
    """A router in a router matches the rest of the path, and the arguments of both are together."""
    space = await routing("nested")

    assert "{'room': 'hall', 'seat': 1}" in await space.ask("/ws/room/hall/seat/1/")
    assert "{'room': 'hall'}" in await space.ask("/ws/room/hall/")


async def test_a_path_without_a_route_is_refused(routing):
    """A wrong argument, a missing last slash and an unknown path are refused before the handshake."""
    space = await routing("nested")

    for path in ("/ws/room/lab/seat/seven/", "/ws/room/lab", "/ws/", "/"):
        assert await refused(space.server, path) == 403, path


async def test_a_page_without_its_last_slash_is_redirected(routing):
    """HTTP mends the missing slash that a WebSocket is refused for."""
    space = await routing("nested")

    assert (space.page.status_code, space.page.headers["location"]) == (301, "/console/")


async def test_an_http_consumer_streams(routing):
    """The first event arrives while the response is open, because the second is only pushed after it."""
    space = await routing("nested", "news", "stream")

    bodies = [event.message.get("body") for event in space.trace if event.type == "http.response.body"]
    assert bodies[:3] == [b": welcome\n\n", b"data: doors open\n\n", b"data: all seats taken\n\n"]
    order = [event.type for event in space.trace]
    assert order.index("http.response.body") < order.index("group_send")


async def test_every_reader_of_the_stream_gets_the_news(routing):
    """Two open streams get one push each, and Django's pages answer meanwhile."""
    space = await routing("nested", "news", "stream")
    server, layer = space.server, space.get_channel_layer()
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        async with client.stream("GET", "/news/") as one, client.stream("GET", "/news/") as two:
            readers = [one.aiter_lines(), two.aiter_lines()]
            assert [await anext(lines) + await anext(lines) for lines in readers] == [": welcome"] * 2
            assert (await client.get("/console/")).status_code == 200
            for text in ("first", "second"):
                await layer.group_send("news", {"type": "news", "text": text})
                assert [await anext(lines) + await anext(lines) for lines in readers] == [f"data: {text}"] * 2


async def test_a_middleware_adds_to_a_copy_of_the_scope(routing):
    """What the lesson's middleware adds reaches the consumer, and the scope that it was given stays as it was."""
    space = await routing("nested", "news", "middleware")
    assert await space.ask("/ws/language/", additional_headers={"Accept-Language": "it"}) == "language: it"

    given, handed = {"type": "websocket", "headers": [(b"accept-language", b"es")]}, []

    async def inner(scope, receive, send):
        handed.append(scope)

    await space.LanguageMiddleware(inner)(given, None, None)
    assert handed[0]["language"] == "es" and "language" not in given


# --- B2: sessions and users -------------------------------------------------------------------------------------------


async def test_who_logged_in_over_http_is_known_on_the_websocket(routing):
    """B2, AuthMiddlewareStack: the session cookie of a real login makes alice of a socket, and without it nobody."""
    space = await routing(*USERS)

    assert await space.ask("/ws/who/", additional_headers=space.cookie) == "user: alice"
    assert await space.ask("/ws/who/") == "user: AnonymousUser"
    assert await space.ask("/ws/who/", additional_headers={"Cookie": "sessionid=forged"}) == "user: AnonymousUser"


async def test_a_wrong_password_makes_no_session(routing):
    """The lesson's login view refuses what Django refuses."""
    space = await routing(*USERS)
    async with httpx.AsyncClient(base_url=space.server.url, trust_env=False) as browser:
        await browser.get("/sign-in/")
        headers = {"X-CSRFToken": browser.cookies["csrftoken"]}
        wrong = {"username": "alice", "password": "guess"}

        assert (await browser.post("/sign-in/", data=wrong, headers=headers)).text == "You are AnonymousUser"
        assert "sessionid" not in browser.cookies
        assert (await browser.post("/sign-in/", data=wrong)).status_code == 403  # without the CSRF token


async def test_a_session_alone_makes_no_user(routing, capsys):
    """B2, SessionMiddlewareStack: scope["user"] is missing, which is a KeyError, and 1011 after accept."""
    space = await routing(*USERS)
    capsys.readouterr()

    async with space.server.connect("/ws/session/", additional_headers=space.cookie) as ws:
        with pytest.raises(ConnectionClosed):
            await ws.recv()
    assert ws.close_code == 1011
    assert "KeyError: 'user'" in capsys.readouterr().err


async def test_the_wrong_order_of_middlewares_crashes(routing, capsys):
    """Known fault: AuthMiddleware outside SessionMiddleware finds no session, and the handshake gets HTTP 500."""
    space = await routing(*USERS)
    with pytest.raises(InvalidStatus) as refusal:
        await routing("order")
    assert refusal.value.response.status_code == 500
    assert "AuthMiddleware cannot find session in scope" in capsys.readouterr().err

    space.server.application = space.SessionMiddlewareStack(
        space.AuthMiddleware(space.URLRouter([space.path("ws/who/", space.who)]))
    )
    assert await space.ask("/ws/who/", additional_headers=space.cookie) == "user: alice"


# --- B5: foreign pages ------------------------------------------------------------------------------------------------


async def test_a_foreign_missing_or_null_origin_is_refused(routing):
    """B5: both validators refuse it, cookie or not; without a validator the foreign page is alice."""
    space = await routing(*USERS, "origins")

    for origin in ("https://evil.example", "null", None):
        options = {"origin": origin, "additional_headers": space.cookie}
        for path in ("/ws/hosts/", "/ws/exact/", "/ws/echo/"):  # the last one is the reference project's
            assert await refused(space.server, path, **options) == 403, (origin, path)
            assert await refused(space.server, path, origin=origin) == 403, (origin, path)
        assert await space.ask("/ws/open/", **options) == "user: alice"


async def test_only_exact_origins_tell_ports_apart(routing):
    """B5: another port of an allowed host passes AllowedHostsOriginValidator, and OriginValidator refuses it."""
    space = await routing(*USERS, "origins")

    assert await space.ask("/ws/hosts/", origin="http://127.0.0.1:1") == "user: AnonymousUser"
    assert await refused(space.server, "/ws/exact/", origin="http://127.0.0.1:1") == 403
    assert await space.ask("/ws/exact/") == "user: AnonymousUser"


async def test_cors_is_another_check_than_origin(routing):
    """B5: over HTTP the server answers a foreign page, without the header that would let it read the answer."""
    space = await routing(*USERS, "origins", "foreign")

    assert space.response.status_code == 200
    assert "access-control-allow-origin" not in space.response.headers
    page = await space.server.get("/foreign/")
    assert page.headers["content-security-policy"] == "sandbox allow-scripts"  # its origin is null
    assert await refused(space.server, "/ws/hosts/", origin="null") == 403


# --- B3: the page -----------------------------------------------------------------------------------------------------


async def test_the_console_page_and_its_twin(routing):
    """B3: the test client's page and its files are served, and a socket of its origin gets its echo."""
    space = await routing(*USERS, "origins", "foreign", "console")
    server = space.server

    page = await server.get("/console/?path=/ws/echo/")
    script = await server.get("/static/console/console.js")
    assert (page.status_code, script.status_code) == (200, 200)
    async with server.connect("/ws/echo/", origin=server.url) as ws:
        await ws.send("text")
        await ws.send(b"bytes")
        assert [await ws.recv(), await ws.recv()] == ["text", b"bytes"]


# --- B2 and B4: a real project ----------------------------------------------------------------------------------------


async def test_runserver_serves_http_and_websockets(routing):
    """B4: with daphne first in INSTALLED_APPS one port serves a page and a socket, and refuses a foreign page."""
    space = await routing(*PROJECT)
    (space.mysite / "asgi.py").write_text(space.asgi)
    (space.mysite / "settings.py").write_text(space.fresh + space.wiring + space.daphne_first)
    async with asyncio.timeout(60), space.runserver() as url, httpx.AsyncClient(trust_env=False) as client:
        page = await client.get(f"{url}/admin/login/")
        assert (page.status_code, page.headers["server"]) == (200, "daphne")
        address = url.replace("http", "ws") + "/ws/echo/"
        async with connect(address, origin=url, proxy=None) as one, connect(address, origin=url, proxy=None) as two:
            await one.send("one")
            await two.send("two")
            assert [await one.recv(), await two.recv()] == ["guest says one", "guest says two"]
        with pytest.raises(InvalidStatus) as refusal:
            await connect(address, origin="https://evil.example", proxy=None)
        assert refusal.value.response.status_code == 403
    with pytest.raises(OSError):  # it has ended with its block
        await connect(address, proxy=None)


async def test_without_daphne_the_handshake_gets_404(routing):
    """B4: Django's own runserver knows no WebSockets; with daphne an unmatched path is a 500, not a refusal."""
    space = await routing(*PROJECT, "serve")

    assert space.answers == {
        ("without daphne", "/ws/echo/"): "HTTP 404",
        ("without daphne", "/ws/nowhere/"): "HTTP 404",
        ("with daphne", "/ws/echo/"): "guest says good morning",
        ("with daphne", "/ws/nowhere/"): "HTTP 500",
    }


async def test_consumers_imported_before_the_setup(routing, capsys):
    """Known faults: the import order, get_default_application and channels.http, each in a process of its own."""
    space = await routing("project", "wiring", "imports")

    assert space.alone["as above"] == "imported"
    assert space.alone["tidy"].endswith("AppRegistryNotReady: Apps aren't loaded yet.")
    assert "Cannot find 'application' in ASGI_APPLICATION module mysite.asgi" in space.alone["Channels 2"]
    assert space.alone["Channels 3"] == "ModuleNotFoundError: No module named 'channels.http'"
    assert "tidy, by manage.py: imported" in capsys.readouterr().out


# --- the faults -------------------------------------------------------------------------------------------------------


async def test_an_instance_sends_to_the_wrong_client(routing):
    """Known fault: one instance in path() gives alice's reply to bob; as_asgi() gives it to alice."""
    space = await routing("wild")
    async with space.server.connect("/ws/echo/") as alice, space.server.connect("/ws/echo/") as bob:
        await alice.send("mine")
        assert await bob.recv() == "mine"

    await routing("mended")
    async with space.server.connect("/ws/echo/") as alice, space.server.connect("/ws/echo/") as bob:
        await alice.send("mine")
        assert await alice.recv() == "mine"
        await bob.send("his")
        assert await bob.recv() == "his"


async def test_the_doctor_finds_ten_symptoms_and_heals_them(routing):
    """Every broken application shows its symptom, and every remedy makes it answer."""
    with pytest.raises(InvalidStatus):
        await routing(*USERS, "order")
    space = await routing("origins", "foreign", "runserver", "doctor", "patients", "remedies")

    symptoms = [await space.symptom(code) for code in space.patients]
    expected = [
        "HTTP 500 · TypeError: object Hello can't be used in 'await' expression",
        "HTTP 500 · ValueError: No route found for path 'ws/hello/'.",
        "Other answers",
        "HTTP 500 · ValueError: No route found for path 'ws/hello/'.",
        "does not start · ImproperlyConfigured: ",
        "close code 1011 · KeyError: 'user'",
        "HTTP 500 · ValueError: AuthMiddleware cannot find session in scope.",
        "HTTP 500 · ValueError: No application configured for scope type 'websocket'",
        "HTTP 500 · ValueError: Django can only handle ASGI/HTTP connections, not websocket.",
        "HTTP 500 · ValueError: No route found for path 'ws/hello/'.",
    ]
    assert len(symptoms) == len(expected)
    assert all(found.startswith(start) for found, start in zip(symptoms, expected, strict=True)), symptoms
    healed = [await space.symptom(code) for code in space.remedies.values()]
    assert healed == ["Hello answers"] * 5 + ["user: AnonymousUser"] * 2 + ["Hello answers"] * 2 + ["HTTP 403"]
