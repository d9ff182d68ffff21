"""What lesson 02 builds on plain Django holds on the live server."""

import linecache
import subprocess

import nbformat
import pytest
from django.test import override_settings
from websockets.exceptions import InvalidStatus

from labserver.live.server import configure_django

from .conftest import NOTEBOOKS

STEM = "02_plain_django"

OBJECT = ("setup", "machines", "events", "pairs", "request", "messages")
"""The cells that build the connection object."""

PROJECT = (*OBJECT, "home", "hello", "third-door", "mended-echo")
"""The cells of the finished project."""


@pytest.fixture
async def cells(lesson):
    """`space = await cells("setup", …)` runs cells of lesson 02 as a kernel would.

    Other tests of this process want the lab's settings, so this lesson gets those too, with its own ROOT_URLCONF. As
    in a kernel, `linecache` knows the text of each cell.
    """
    configure_django()
    for cell in nbformat.read(NOTEBOOKS / f"{STEM}.ipynb", 4).cells:
        name = f"{STEM}.ipynb cell {cell.id}"
        linecache.cache[name] = (len(cell.source), None, f"{cell.source}\n".splitlines(keepends=True), name)
    with override_settings(ROOT_URLCONF=f"lesson_{STEM}", MIDDLEWARE=[]):
        yield lambda *ids: lesson(STEM, *ids)


@pytest.fixture
async def django(cells):
    """The lesson with its connection object, and with Django alone being served."""
    space = await cells(*OBJECT, "home", "hello")
    with pytest.raises(InvalidStatus, match="HTTP 500"):
        await cells("http-only")
    return space


@pytest.fixture
async def project(cells):
    """The finished project of the lesson, served by daphne as `project.server`."""
    space = await cells(*PROJECT)
    space.server = space.serve(space.application)
    return space


# --- A2: the middleware --------------------------------------------------------------------------------------------


async def test_django_alone_answers_a_websocket_with_500(django, capsys):
    """Without the middleware Django serves its page, but raises for a WebSocket: the handshake gets 500."""
    told = capsys.readouterr()

    assert told.out == "<h1>Hello, alice</h1>\n"
    assert "Django can only handle ASGI/HTTP connections, not websocket." in told.err


async def test_a_websocket_goes_to_the_view_that_djangos_resolver_finds(project):
    """The middleware calls the matched view with a connection and the decoded arguments of its path."""
    async with project.server.connect("/ws/hello/tea%20room/") as ws:
        assert await ws.recv() == "Welcome to the tea room"


async def test_every_other_scope_goes_to_the_wrapped_application(project):
    """The middleware hands HTTP and lifespan on as they are, with the same receive and send."""
    seen = []

    async def application(*given):
        seen.append(given)

    for type in ("http", "lifespan"):
        given = ({"type": type}, object(), object())
        await project.websockets(application)(*given)

        assert seen.pop() == given


async def test_the_raw_path_is_not_found_and_decoded_it_is_wrong(django, cells, capsys):
    """The first door, which resolves raw_path, crashes on every path; decoding it would name the room wrongly."""
    with pytest.raises(InvalidStatus, match="HTTP 500"):
        await cells("first-door")
    assert "Resolver404: {'path': \"b'/ws/hello/tea%20room/'\"}" in capsys.readouterr().err

    await cells("three-paths")
    assert capsys.readouterr().out.splitlines() == [
        "b'/ws/hello/tea%20room/' → no match",
        "/ws/hello/tea%20room/ → {'room': 'tea%20room'}",
        "/ws/hello/tea room/ → {'room': 'tea room'}",
    ]


async def test_an_unmatched_path_crashes_the_naive_door_and_is_refused_by_the_mended_one(django, cells, capsys):
    """The second door lets Resolver404 out of the application, HTTP 500; the third one refuses with 403."""
    with pytest.raises(InvalidStatus, match="HTTP 500"):
        await cells("first-door")
    with pytest.raises(InvalidStatus, match="HTTP 500"):
        await cells("second-door")
    told = capsys.readouterr()
    assert told.out.splitlines()[-2:] == ["Welcome to the tea room", "HTTP on a WebSocket path: 500"]
    assert "/ws/nowhere/ crashed" in told.err

    await cells("third-door", "both-kinds")
    with pytest.raises(InvalidStatus, match="HTTP 403"):
        await django.server.connect("/ws/nowhere/")
    assert capsys.readouterr().err == ""


# --- A3: the connection --------------------------------------------------------------------------------------------


async def test_wrong_moves_are_refused_before_the_server_sees_them(django, cells, capsys):
    """Four mistakes are refused with the side, its state and the event; what reaches the server is correct."""
    capsys.readouterr()
    await cells("clumsy")

    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("✗")] == [
        "✗ the application is CONNECTING, so websocket.send is not allowed",
        "✗ the application is CONNECTED, so websocket.accept is not allowed",
        "✗ the application is DISCONNECTED, so websocket.send is not allowed",
        "✗ the client is DISCONNECTED, so nothing follows websocket.disconnect",
    ]
    assert _types(django.trace) == ["connect", "accept", "send", "close", "disconnect"]


async def test_both_machines_allow_the_protocol_and_nothing_else(cells):
    """Each state and event leads to the state that the ASGI specification wants, or raises, naming both."""
    space = await cells("setup", "machines")
    client = {"CONNECTING": ["connect"], "CONNECTED": ["receive", "disconnect"], "DISCONNECTED": []}
    application = {"CONNECTING": ["accept", "close"], "CONNECTED": ["send", "close"], "DISCONNECTED": []}
    after = {"connect": "CONNECTED", "accept": "CONNECTED", "close": "DISCONNECTED", "disconnect": "DISCONNECTED"}

    for side, table, rules in (("client", space.CLIENT, client), ("application", space.APPLICATION, application)):
        for state in space.State:
            for event in ("connect", "receive", "disconnect", "accept", "send", "close"):
                if event in rules[state.name]:
                    end = space.moved(side, table, state, f"websocket.{event}")
                    assert end.name == after.get(event, state.name)
                else:
                    with pytest.raises(RuntimeError, match=rf"{side} is {state.name}, so websocket\.{event} is not"):
                        space.moved(side, table, state, f"websocket.{event}")


async def test_the_connection_knows_its_request_and_chooses_subprotocol_and_code(django, cells, capsys):
    """scheme, path, query_string, query_params and headers read the scope; what accept and close say arrives."""
    capsys.readouterr()
    space = await cells("about")

    assert capsys.readouterr().out.splitlines() == [
        "ws /tea room/ drink=tea&drink=water&milk=",
        "water ['tea', 'water'] True",
        "7 nobody",
    ]
    assert (space.ws.subprotocol, space.ws.close_code) == ("tea.v1", 4001)
    scope = {"scheme": "wss"}
    request = space.Request(scope, None, None)
    assert (request.scheme, request.scope) == ("wss", scope)


async def test_text_bytes_and_json_travel_both_ways(django, cells, capsys):
    """The eight methods receive and send text, bytes, JSON as text and JSON as bytes."""
    capsys.readouterr()
    await cells("four-forms")

    assert capsys.readouterr().out.splitlines() == ["TEA", "b'TEA'", '["tea", "milk"]', """b'["tea", "sugar"]'"""]


async def test_a_view_may_close_first(cells):
    """close() before accept() takes websocket.connect itself, and the client gets 403."""
    space = await cells(*OBJECT)

    async def refuse(scope, receive, send):
        await space.Messages(scope, receive, send).close(4001)

    with pytest.raises(InvalidStatus, match="HTTP 403"):
        await space.serve(refuse).connect("/")


async def test_the_echo_dies_on_an_assertion_and_mended_it_ends(django, cells, capsys):
    """The naive loop receives websocket.disconnect and dies of it; the mended one returns without a word."""
    await cells("third-door", "both-kinds", "doomed-echo")
    assert [event.type for event in django.trace][-2:] == ["websocket.disconnect", "AssertionError"]
    assert capsys.readouterr().err.endswith("\nAssertionError\n")

    await cells("mended-echo", "echo-lives")
    assert _types(django.trace) == ["connect", "accept", "receive", "send", "disconnect"]
    assert capsys.readouterr().err == ""


async def test_the_wrong_form_of_a_message_is_named(project, capsys):
    """Bytes for a view that wants text end with 1011, and the traceback says what was expected."""
    async with project.server.connect("/ws/echo/") as ws:
        await ws.send(b"tea")
        await ws.wait_closed()

    assert ws.close_code == 1011
    assert "ValueError: expected a message with text, found one without" in capsys.readouterr().err


# --- A4: views over the scope, and a place of their own in urls.py -------------------------------------------------


async def test_headers_and_query_params_are_mappings_over_the_raw_scope(cells):
    """Header names match in any case, parameters as written; the last value wins, and all can be had."""
    space = await cells(*OBJECT)
    headers = space.Headers({"headers": [(b"accept", b"a"), (b"Accept", b"b"), (b"host", b"caf\xe9")]})
    params = space.QueryParams({"query_string": b"a=1&A=%C3%A9&a=&c"})

    assert (headers["ACCEPT"], headers.getlist("accept"), headers["Host"]) == ("b", ["a", "b"], "café")
    assert (list(headers), len(headers), "x" in headers) == (["accept", "host"], 2, False)
    assert dict(params) == {"a": "", "A": "é", "c": ""}
    assert (params.getlist("a"), params.get("b")) == (["1", ""], None)
    with pytest.raises(KeyError, match="b"):
        params["b"]


async def test_http_and_websocket_paths_stand_apart(django, cells, capsys):
    """HTTP on a WebSocket path gets 426; a WebSocket on an HTTP path or on none gets 403; nothing crashes."""
    await cells("third-door", "both-kinds")
    capsys.readouterr()
    await cells("crossed")

    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "HTTP on a WebSocket path: 426",
        "WebSocket on / 403",
        "WebSocket on /ws/nowhere/ 403",
    ]
    assert told.err == ""


# --- A5: views on one server ---------------------------------------------------------------------------------------


async def test_a_template_view_and_a_hello_view_share_one_server(project):
    """On one server, the template view renders, and the WebSocket view says hello and closes with 1000."""
    page = await project.server.get("/?name=<bob>")
    async with project.server.connect("/ws/hello/kitchen/") as ws:
        said = await ws.recv()
        await ws.wait_closed()

    assert (page.text, said, ws.close_code) == ("<h1>Hello, &lt;bob&gt;</h1>", "Welcome to the kitchen", 1000)


async def test_the_page_is_served_and_its_twin_gets_every_tick(project, cells, capsys):
    """The page with the script comes from its address, and a client that does the same gets each tick back."""
    await cells("page", "twin")

    page = await project.server.get("/ticks/")
    assert page.status_code == 200
    assert "setInterval" in page.text
    assert capsys.readouterr().out.splitlines() == ["tick 1", "tick 2", "tick 3"]


@pytest.mark.needs("chromium")
async def test_the_page_sends_once_a_second_and_closes(project, cells, browser):
    """In a browser it shows its five replies, and the code with which it closed itself."""
    await cells("page")
    page = await browser.new_page()
    await page.goto(f"{project.server.url}/ticks/")
    await page.get_by_text("closed with 1000").wait_for()
    assert await page.locator("li").all_text_contents() == [f"tick {n}" for n in range(1, 6)]


# --- A6: another server --------------------------------------------------------------------------------------------


async def test_the_same_cells_run_under_uvicorn_but_for_the_listed_differences(project, cells, capsys):
    """The project as a module in a second process does what it does under daphne, but for the lesson's table."""
    await cells("tell")
    capsys.readouterr()
    await cells("visit")
    by_daphne = capsys.readouterr().out.splitlines()
    await cells("module")
    capsys.readouterr()
    await cells("under-uvicorn")
    by_uvicorn = capsys.readouterr().out.splitlines()

    assert by_uvicorn[0] == "scope   lifespan with asgi state type"
    keys, more = (set(line.split()[3:]) for line in (by_daphne[0], by_uvicorn[1]))
    assert keys < more
    assert more - keys == {"extensions", "http_version", "scheme", "state"}
    assert by_uvicorn[2:-1] == by_daphne[1:-1]
    assert by_daphne[-1] == "receive {'type': 'websocket.disconnect', 'code': 4000}"
    assert by_uvicorn[-1] == "receive {'type': 'websocket.disconnect', 'code': 4000, 'reason': 'tea is over'}"
    assert await project.visit(project.server.ws_url) == {
        "unknown path": 403,
        "replies": ["tea"],
        "code after a crash": 1011,
    }
    assert await project.under_uvicorn(project.visit) == {
        "unknown path": 403,
        "replies": ["", "tea"],
        "code after a crash": 1006,
    }


async def test_uvicorn_is_ended_even_when_its_visitor_fails(project, cells, monkeypatch):
    """Whatever happens to the visitor, the process is ended by its handle."""
    await cells("tell", "visit", "module", "under-uvicorn")
    started = []

    class Popen(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self)

    async def stumble(address):
        raise LookupError(address)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    with pytest.raises(LookupError, match="ws://127.0.0.1:"):
        await project.under_uvicorn(stumble)

    assert [process.returncode is not None for process in started] == [True]


# --- what is missing -----------------------------------------------------------------------------------------------


async def test_a_foreign_origin_is_let_in_and_nobody_hears_another(project, cells, capsys):
    """Without Channels nothing checks the Origin, and no connection reaches another."""
    await cells("missing")

    assert capsys.readouterr().out.splitlines() == ["alice: Is anybody there?", "bob:   nothing"]


def _types(trace):
    return [event.type.removeprefix("websocket.") for event in trace]
