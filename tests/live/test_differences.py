"""The table of what differs: each row against what is known of communicator, daphne and uvicorn."""

import asyncio
import os
import sys

import pytest
import websockets.asyncio.client
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus, NegotiationError

from labserver import serve
from labserver.live.differences import CASES, Row, Table, differences
from labserver.live.parity_reasons import MIB, NO_REASON

from ..conftest import serving

OK = ("accept", None)
H500, H403, SILENT = (("refused", 500),), (("refused", 403),), (("no answer",),)
C1011, C1006 = (OK, ("close", 1011)), (OK, ("close", 1006))

DIFFER = {
    "close before accept": ((("close", 4003),), H403, H403, "HTTP 403"),
    "message before accept": ((("text", "why not"), ("close", 4003)), H500, H500, "carry a message"),
    "no accept, no close": ((), SILENT, H500, "neither accepts nor closes"),
    "exception in connect": ((("crash", "RuntimeError"),), H500, H500, "the exception itself"),
    "exception after accept": ((OK, ("crash", "RuntimeError")), C1011, C1006, "the exception itself"),
    "no route for the path": ((("crash", "ValueError"),), H500, H500, "No route"),
    "HTTP denial response": ((("refused", 401),), SILENT, (("refused", 401),), "websocket.http.response.start"),
    "subprotocol not offered": (
        (("accept", "chat"),),
        SILENT,
        (("failed", "NegotiationError"),),
        "only from the subprotocols that the client offers",
    ),
    "headers with accept": ((("accept", None, "x-lab: 1"),), (OK,), (("accept", None, "x-lab: 1"),), "headers"),
    "accept twice": ((OK, OK), C1011, C1006, "accepted once"),
    "close(1008)": ((OK, ("close", 1008)), C1011, (OK, ("close", 1008)), "1000 and 3000 to 4999"),
    "close with a reason": (
        (OK, ("close", 4001, "too late")),
        (OK, ("close", 4001)),
        (OK, ("close", 4001, "too late")),
        "without the reason",
    ),
    "message after close": (
        (OK, ("close", 4001), ("text", "late")),
        (OK, ("close", 4001)),
        (OK, ("close", 4001)),
        "after a close goes nowhere",
    ),
    "message after leaving": ((OK, ("text", "goodbye")), (OK,), (OK,), "after the client has left"),
    "empty text": ((OK, ("text", "")), (OK,), (OK, ("text", "")), "no empty messages"),
    "empty bytes": ((OK, ("bytes", b"")), (OK,), (OK, ("bytes", b"")), "no empty messages"),
    "text and bytes at once": (
        (OK, ("text and bytes", "a", b"b")),
        C1011,
        (OK, ("bytes", b"b")),
        "Uvicorn sends the bytes, and forgets the text",
    ),
    "text that is no str": ((OK, ("text", 5)), C1011, C1006, "cannot be sent as it is"),
    "half a character": ((OK, ("text", "\ud83d")), C1011, C1006, "cannot be sent as it is"),
    "unknown event type": ((OK, ("event", "websocket.sent")), (OK,), C1006, "whose type it does not know"),
    "event without a type": ((OK, ("event", None)), C1011, C1006, "without a type"),
    "message over 1 MiB": ((OK, ("text", f"{MIB + 1}")), C1006, (OK, ("text", f"{MIB + 1}")), "longer than 1 MiB"),
    "Origin is checked": ((("close", 1000),), (OK,), (OK,), "no Origin"),
    "Host is read": ((OK, ("crash", "KeyError")), (OK, ("text", "True")), (OK, ("text", "True")), "no headers but"),
    "underscore in a header": (
        (OK, ("text", "[b'1']")),
        (OK, ("text", "[]")),
        (OK, ("text", "[b'1']")),
        "underscore",
    ),
    "header given twice": (
        (OK, ("text", "[b'1', b'2']")),
        (OK, ("text", "[b'1,2']")),
        (OK, ("text", "[b'1', b'2']")),
        "joins headers",
    ),
    'scope["client"]': (
        (OK, ("crash", "KeyError")),
        (OK, ("text", "127.0.0.1")),
        (OK, ("text", "127.0.0.1")),
        "communicator's scope",
    ),
    'scope["http_version"]': (
        (OK, ("crash", "KeyError")),
        C1011,
        (OK, ("text", "1.1")),
        "Uvicorn fills in other keys",
    ),
}
"""Of each case: what communicator, daphne and uvicorn show, and what the reason says."""

SAME = {
    "echo": ((OK, ("text", "5")),) * 2,
    "message of 1 MiB": ((OK, ("text", f"{MIB}")),) * 2,
    "accept, message, close": ((OK, ("text", "why not"), ("close", 4003)),) * 2,
    "return after accept": ((OK,), C1006),
    "escapes in the path": ((OK, ("text", "/café a/")),) * 2,
    "path with two slashes": ((OK, ("text", "/a/")), (OK, ("text", "//rooms/a/"))),
}
"""Of each case: what communicator and daphne show, and what uvicorn shows."""


@pytest.fixture(scope="module")
def computed():
    """The table, computed once for all tests that read it; and the learner's server, which was there meanwhile."""
    server = serve(CASES[0].application)
    server.trace.clear()  # of what other tests have done on the server of this process
    yield asyncio.run(differences()), server
    server.stop()


@pytest.fixture
def table(computed):
    """The table."""
    return computed[0]


def test_every_case_is_in_the_table(table):
    """Those that differ and those that do not, in their order."""
    assert [row.name for row in (*table.rows, *table.same)] == [case.name for case in CASES] == [*DIFFER, *SAME]


@pytest.mark.parametrize("name", DIFFER)
def test_what_differs(table, name):
    """Communicator, daphne and uvicorn show what is known of each, and the reason fits."""
    test, daphne, uvicorn, why = DIFFER[name]
    (row,) = (row for row in table.rows if row.name == name)
    assert (row.communicator, row.daphne, row.uvicorn) == (test, daphne, uvicorn)
    assert why in row.why and NO_REASON not in row.why


@pytest.mark.parametrize("name", SAME)
def test_what_is_the_same(table, name):
    """Communicator and daphne agree; where uvicorn does not, that has its reason."""
    both, uvicorn = SAME[name]
    (row,) = (row for row in table.same if row.name == name)
    assert (row.communicator, row.daphne, row.uvicorn) == (both, both, uvicorn)
    assert bool(row.why) is (both != uvicorn) and NO_REASON not in row.why


async def visit(address, number):
    """What a client of a server in a process of its own sees of a case, in so far as it ends or sends."""
    case = CASES[number]
    headers = [("lab-case", str(number)), *case.headers]
    try:
        ws = await websockets.asyncio.client.connect(
            address + case.path,
            additional_headers=headers,
            origin="http://127.0.0.1",
            subprotocols=case.subprotocols or None,
            proxy=None,
            open_timeout=20,
        )
    except InvalidStatus as refusal:
        return (("refused", refusal.response.status_code),)
    except NegotiationError:
        return (("failed", "NegotiationError"),)
    except InvalidMessage:
        return (("no answer",),)
    added = [f"x-lab: {value}" for value in ws.response.headers.get_all("x-lab")]
    seen = [("accept", ws.subprotocol, *added)]
    expected = next(row for row in EXPECTED if row[0] == case.name)[1]
    try:
        async with asyncio.timeout(20):
            for event in case.scenario[1:]:
                if event["type"] == "websocket.receive":
                    await ws.send(event.get("text") or event["bytes"])
            while len(seen) < len(expected):
                message = await ws.recv()
                seen.append(("text" if isinstance(message, str) else "bytes", message))
    except ConnectionClosed:
        seen.append(("close", ws.close_code, *filter(None, [ws.close_reason])))
    await ws.close()
    return tuple(seen)


EXPECTED = []
SERVED = """
from labserver.live.differences import CASES


async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await CASES[int(dict(scope["headers"])[b"lab-case"])].application(scope, receive, send)
"""


DAPHNE = ("daphne", "-b", "127.0.0.1", "-p", "0", "--websocket_connect_timeout", "2")  # not 5: some get no answer
UVICORN = ("uvicorn", "--host", "127.0.0.1", "--port", "0")


@pytest.mark.parametrize("server, column", [(DAPHNE, 1), (UVICORN, 2)], ids=["daphne", "uvicorn"])
async def test_servers_from_the_command_line_do_the_same(tmp_path, monkeypatch, server, column):
    """Daphne and uvicorn as they are deployed, in a process of their own, without any of the lab's code around them."""
    (tmp_path / "served.py").write_text(SERVED)
    command = ("-m", *server, "served:application")
    settings = {"DJANGO_SETTINGS_MODULE": "labserver.project.settings", "PYTHONPATH": str(tmp_path)}
    known = [(name, row[column]) for name, row in DIFFER.items()]
    known += [(name, row[column - 1]) for name, row in SAME.items()]
    monkeypatch.setattr(sys.modules[__name__], "EXPECTED", known)
    with serving(command, tmp_path, **os.environ | settings) as (address, _):
        address = f"ws://{address.removeprefix('http://')}"
        seen = await asyncio.gather(*(visit(address, number) for number in range(len(CASES))))
    assert list(zip([case.name for case in CASES], seen, strict=True)) == known


def test_it_is_shown_as_text_and_as_a_picture(table):
    """Both say how many differ, name every case, and are the same each time."""
    shown = table._repr_mimebundle_()
    assert shown == table._repr_mimebundle_() and shown["text/plain"] == str(table)
    lines = str(table).splitlines()
    assert lines[0] == "28 cases differ between communicator and daphne, 6 do not"
    assert lines[1].split() == ["case", "communicator", "daphne", "uvicorn"]
    assert lines[2] == "≠ close before accept      close 4003               refused 403              refused 403"
    assert [name for name in (*DIFFER, *SAME) if f" {name} " not in str(table)] == []
    assert "communicator" in shown["image/svg+xml"] and shown["image/svg+xml"].count(">≠<") == 30


def test_a_common_accept_is_left_out():
    """It would fill the table; where it is part of the difference, or nothing differs, it is shown."""
    ws, subprotocol = (("accept", None),), (("accept", "chat"),)
    assert Row("a", (*ws, ("text", "")), ws, ws, "").line.cells == ("a", "text ''", "nothing", "nothing")
    assert Row("a", ws, subprotocol, None, "").line.cells == ("a", "accept", "accept chat", "not installed")
    assert Row("a", ws, ws, ws, "").line.cells == ("a", "accept", "accept", "accept")


async def test_without_uvicorn_its_column_is_empty(monkeypatch):
    """The table is there all the same, and says what to install."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    table = await differences()
    assert {row.uvicorn for row in (*table.rows, *table.same)} == {None}
    assert table.summary.endswith("; uvicorn is not installed: pip install 'channels-lab[deploy]'")
    assert "not installed" in str(table) and [row.name for row in table.rows] == list(DIFFER)


def test_nothing_is_seen_by_the_learners_server(computed):
    """The cases run on servers of their own: the learner's trace stays empty."""
    _, server = computed
    assert not server.trace.events and not server.connections


def test_an_empty_table_is_a_table():
    """Whoever filters the rows can still look at what is left."""
    assert str(Table(())).startswith("0 cases differ")
