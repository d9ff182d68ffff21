"""The rows of a picture: which events, between which lanes, with which words."""

from types import SimpleNamespace

import pytest

from labserver.trace.rows import CELL, CLIENT, CONSUMER, LAYER, SERVER, sheet

SCOPE = {"type": "websocket", "path": "/ws/"}
CONNECT = ("receive", "websocket.connect", {})
ACCEPT = ("send", "websocket.accept", {})


def event(direction, type, message, connection="ws-1"):
    """An event as a trace holds it."""
    return SimpleNamespace(connection=connection, direction=direction, type=type, message={"type": type, **message})


def rows(*events, connection="ws-1"):
    """The rows of these events."""
    return sheet([event(*e, connection=connection) for e in events], {"ws-1": SCOPE}, 10, 10).rows


@pytest.mark.parametrize(
    ("told", "connection", "lanes"),
    [
        (CONNECT, "ws-1", (CLIENT, CONSUMER)),
        (ACCEPT, "ws-1", (CONSUMER, CLIENT)),
        (("layer", "group_add", {}), "ws-1", (CONSUMER, LAYER)),
        (("layer", "receive", {}), "ws-1", (LAYER, CONSUMER)),
        (("layer", "group_send", {}), "cell", (CELL, LAYER)),
        (("layer", "receive", {}), "cell", (LAYER, CELL)),
        (("error", "ValueError", {}), "ws-1", (CONSUMER, CONSUMER)),
        (("error", "ValueError", {}), "cell", (CELL, CELL)),
    ],
)
def test_an_arrow_joins_two_lanes(told, connection, lanes):
    """Client and application talk through the server, both a consumer and a cell use the layer; an error stays."""
    row = rows(told, connection=connection)[0]
    assert (row.source, row.target) == lanes


def test_a_row_has_the_words_of_its_event():
    """A row says what the event carries, what passed on the wire, and which way."""
    connect, accept, send, close = rows(
        CONNECT, ACCEPT, ("send", "websocket.send", {"text": "hi"}), ("send", "websocket.close", {"code": 1000})
    )
    assert (connect.type, connect.wire, connect.inward) == ("websocket.connect", "GET /ws/ Upgrade: websocket", True)
    assert (accept.payload, accept.inward) == ("", False)
    assert (send.payload, send.wire, send.mark) == ("text='hi'", "text frame", "")
    assert (close.payload, close.mark) == ("code=1000 (normal)", "close")


@pytest.mark.parametrize(
    ("code", "words"),
    [(1001, "code=1001 (going away)"), (1006, "code=1006"), (4001, "code=4001"), ("x", "code='x'"), ([], "code=[]")],
)
def test_a_close_code_that_has_a_name_is_named(code, words):
    """Known codes are named, but for those that the wire's half tells already."""
    assert rows(CONNECT, ACCEPT, ("receive", "websocket.disconnect", {"code": code}))[-1].payload == words


def test_odd_words_stay_on_their_line():
    """Neither a type nor a path nor a note can break a picture."""
    scopes = {"ws-1": {"type": "websocket", "path": "/a\nb at 0x7f01"}}
    events = [event(*CONNECT), event("send", "odd\x00\ud800", {}), event("error", "E", {"where": "a\nb"})]
    first, second, third = sheet(events, scopes, 10, 10).rows
    assert first.wire == "GET /a\\nb at 0x… Upgrade: websocket"
    assert second.type == "odd\\x00\\ud800" and second.note.isprintable()
    assert third.note == "a\\nb"


@pytest.mark.parametrize(
    ("count", "head", "omitted", "tail"),
    [(0, 0, 0, 0), (3, 3, 0, 0), (5, 5, 0, 0), (6, 3, 1, 2), (100, 3, 95, 2)],
)
def test_a_long_trace_is_drawn_in_part(count, head, omitted, tail):
    """Of more events than fit the first and the last are drawn, and the others counted."""
    events = [event("send", "websocket.send", {"text": str(n)}) for n in range(count)]
    page = sheet(events, {}, 3, 2)
    assert (len(page.head), page.omitted, len(page.tail), page.total) == (head, omitted, tail, count)
    assert [row.payload for row in page.tail] == [f"text='{n}'" for n in range(count - tail, count)]


def test_what_is_left_out_counts_for_the_state():
    """An accept that is not drawn has happened all the same."""
    events = [event(*CONNECT), event(*ACCEPT)] + [event("send", "websocket.send", {"text": "hi"})] * 3
    page = sheet(events, {"ws-1": SCOPE}, 1, 1)
    assert page.tail[0].mark == "" and page.omitted == 3


@pytest.mark.parametrize(
    ("events", "lanes", "title", "connections"),
    [
        ([], (CLIENT, SERVER, CONSUMER), "consumer", 0),
        ([event(*CONNECT)], (CLIENT, SERVER, CONSUMER), "consumer", 1),
        ([event("receive", "http.request", {}, "http-1")], (CLIENT, SERVER, CONSUMER), "application", 1),
        ([event("receive", "http.request", {}, "http-1"), event(*CONNECT)], (CLIENT, SERVER, CONSUMER), "consumer", 2),
        ([event("layer", "group_add", {})], (CLIENT, SERVER, CONSUMER, LAYER), "consumer", 1),
        ([event("layer", "group_send", {}, "cell")], (CLIENT, SERVER, CONSUMER, LAYER, CELL), "consumer", 0),
        ([event("error", "E", {}, "cell")], (CLIENT, SERVER, CONSUMER, CELL), "consumer", 0),
    ],
)
def test_lanes_are_there_when_something_touches_them(events, lanes, title, connections):
    """Layer and cell have a lane when they take part; with HTTP alone the third lane is the application's."""
    page = sheet(events, {}, 10, 10)
    assert (page.lanes, page.titles[CONSUMER], page.connections) == (lanes, title, connections)


def test_what_the_lab_did_is_not_taken_for_the_consumers():
    """A group_discard that labserver made for a crashed consumer says so; one of the consumer's own says nothing."""
    own, labs = rows(
        ("layer", "group_discard", {"group": "a"}), ("layer", "group_discard", {"group": "a", "by": "labserver"})
    )
    assert own.note == ""
    assert labs.note == "labserver tidied up after the consumer; Channels alone would leave it in its group"
