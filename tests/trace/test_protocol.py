"""What the events of one connection mean."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labserver.trace.protocol import Mark, State, readings, target

SCOPE = {"type": "websocket", "path": "/ws/echo/", "subprotocols": ["chat"]}
REQUEST = {"type": "http", "method": "POST", "path": "/api/", "query_string": b"a=1"}

CONNECT = ("receive", "websocket.connect", {})
ACCEPT = ("send", "websocket.accept", {})
CLOSE = ("send", "websocket.close", {})
DISCONNECT = ("receive", "websocket.disconnect", {"code": 1000})
TEXT = ("send", "websocket.send", {"text": "hi"})
ERROR = ("error", "ValueError", {"text": "boom", "where": "cell, line 4, in receive"})
ASKED = ("receive", "http.request", {"body": b""})
START = ("send", "http.response.start", {"status": 200})
BODY = ("send", "http.response.body", {"body": b"hi"})
GONE = ("receive", "http.disconnect", {})


def read(*events, connection="ws-1", scope=None):
    """The reading of the last of these events."""
    scope = scope or (REQUEST if connection.startswith("http") else SCOPE)
    told = [SimpleNamespace(connection=connection, direction=d, type=t, message=m) for d, t, m in events]
    return readings(told, {connection: scope})[-1]


@pytest.mark.parametrize(
    ("events", "wire", "mark", "state"),
    [
        ([CONNECT], "GET /ws/echo/ Upgrade: websocket", "", "connecting"),
        ([CONNECT, ACCEPT], "101 Switching Protocols", "", "open"),
        ([CONNECT, ("send", "websocket.accept", {"subprotocol": "chat"})], "101 Switching Protocols", "", "open"),
        ([CONNECT, CLOSE], "403 Forbidden", "refused", "closing"),
        ([CONNECT, CLOSE, DISCONNECT], "", "", "closed"),
        ([CONNECT, ERROR], "500 Internal Server Error", "crash", "closing"),
        ([CONNECT, ERROR, DISCONNECT], "", "", "closed"),
        ([CONNECT, ("error", "NoRoute", {"text": "no route"})], "", "refused", "connecting"),
        ([CONNECT, ("error", "NoRoute", {"text": "no route"}), CLOSE], "403 Forbidden", "refused", "closing"),
        ([CONNECT, ACCEPT, ("receive", "websocket.receive", {"text": "hi"})], "text frame", "", "open"),
        ([CONNECT, ACCEPT, ("receive", "websocket.receive", {"bytes": b""})], "binary frame", "", "open"),
        ([CONNECT, ACCEPT, TEXT], "text frame", "", "open"),
        ([CONNECT, ACCEPT, ("send", "websocket.send", {"text": "", "bytes": b"x"})], "binary frame", "", "open"),
        ([CONNECT, ACCEPT, CLOSE], "close frame 1000", "close", "closing"),
        ([CONNECT, ACCEPT, ("send", "websocket.close", {"code": 4001})], "close frame 4001", "close", "closing"),
        ([CONNECT, ACCEPT, CLOSE, DISCONNECT], "close frame 1000", "close", "closed"),
        ([CONNECT, ACCEPT, ("receive", "websocket.disconnect", {"code": 1006})], "connection lost", "close", "closed"),
        ([CONNECT, ACCEPT, ("receive", "websocket.disconnect", {})], "close frame without a code", "close", "closed"),
        ([CONNECT, ACCEPT, ERROR], "close frame 1011", "crash", "closing"),
        ([CONNECT, ("layer", "group_add", {"group": "x"})], "", "", "connecting"),
        ([CONNECT, ACCEPT, ("receive", "websocket.extension", {})], "", "", "open"),
    ],
)
def test_what_a_websocket_event_puts_on_the_wire(events, wire, mark, state):
    """Each event of a proper conversation means one thing to the client, and moves the connection on."""
    reading = read(*events)
    assert (reading.wire, reading.mark, reading.state) == (wire, mark, state)


@pytest.mark.parametrize(
    ("events", "wire", "mark", "state"),
    [
        ([ASKED], "POST /api/?a=1", "", "connecting"),
        ([ASKED, ("receive", "http.request", {"body": b"more"})], "body", "", "connecting"),
        ([ASKED, START], "200 OK", "", "open"),
        ([ASKED, ("send", "http.response.start", {"status": 404})], "404 Not Found", "", "open"),
        ([ASKED, START, ("send", "http.response.body", {"more_body": True})], "body", "", "open"),
        ([ASKED, START, BODY], "body", "", "closing"),
        ([ASKED, START, BODY, GONE], "", "", "closed"),
        ([ASKED, GONE], "connection lost", "close", "closed"),
        ([ASKED, ERROR], "500 Internal Server Error", "crash", "closing"),
        ([ASKED, START, ERROR], "", "crash", "open"),
        ([ASKED, START, BODY, ERROR], "", "crash", "closing"),
        ([ASKED, ("receive", "http.extension", {})], "", "", "connecting"),
    ],
)
def test_what_an_http_event_puts_on_the_wire(events, wire, mark, state):
    """A request, its response and what may interrupt them are read in the same way."""
    reading = read(*events, connection="http-1")
    assert (reading.wire, reading.mark, reading.state) == (wire, mark, state)


@pytest.mark.parametrize(
    ("events", "rule"),
    [
        ([CONNECT, TEXT], "accept before you send"),
        ([CONNECT, ACCEPT, ACCEPT], "accept once only"),
        ([CONNECT, ("send", "websocket.accept", {"subprotocol": "x"})], "did not offer the subprotocol 'x'"),
        ([CONNECT, ACCEPT, ("send", "websocket.send", {"text": "a", "bytes": b"b"})], "text or bytes, never both"),
        ([CONNECT, ACCEPT, ("send", "websocket.send", {"text": None})], "needs text or bytes"),
        ([CONNECT, ACCEPT, ("send", "websocket.close", {"code": 1008})], "1000 or 3000 to 4999, not 1008"),
        ([CONNECT, ACCEPT, ("send", "websocket.close", {"code": "x"})], "not 'x'"),
        ([CONNECT, ACCEPT, CLOSE, CLOSE], "websocket.close after the close"),
        ([CONNECT, ACCEPT, CLOSE, TEXT], "websocket.send after the close"),
        ([CONNECT, CLOSE, ACCEPT], "websocket.accept after the refusal"),
        ([CONNECT, ACCEPT, DISCONNECT, TEXT], "after the disconnect"),
        ([CONNECT, ACCEPT, DISCONNECT, DISCONNECT], "nothing can be received after the disconnect"),
        ([CONNECT, ("send", "websocket.http.response.start", {"status": 401})], "daphne drops websocket.http"),
        ([CONNECT, ACCEPT, ("error", "Returned", {"text": "…"})], "runs until its connection is closed"),
    ],
)
def test_a_broken_rule_is_named_and_changes_nothing(events, rule):
    """What the specification does not allow puts nothing on the wire, and the note says the rule in plain words."""
    reading = read(*events)
    assert (reading.wire, reading.mark) == ("", Mark.BROKEN)
    assert rule in reading.note
    assert reading.state == read(*events[:-1]).state


@pytest.mark.parametrize(
    ("events", "rule"),
    [
        ([ASKED, BODY], "http.response.start comes before the body"),
        ([ASKED, START, START], "one http.response.start a response"),
        ([ASKED, START, BODY, BODY], "http.response.body after the end"),
        ([ASKED, START, BODY, GONE, BODY], "http.response.body after the end"),
        ([ASKED, TEXT], "not websocket.send"),
    ],
)
def test_a_broken_rule_of_http_is_named(events, rule):
    """The order of a response is held to as well."""
    reading = read(*events, connection="http-1")
    assert (reading.wire, reading.mark) == ("", Mark.BROKEN)
    assert rule in reading.note


@pytest.mark.parametrize(
    ("events", "note"),
    [
        ([CONNECT, CLOSE], "closed before it was accepted: the client gets HTTP 403"),
        (
            [CONNECT, ("send", "websocket.close", {"code": 4001})],
            "closed before it was accepted: the client gets HTTP 403, never 4001",
        ),
        (
            [CONNECT, ("send", "websocket.accept", {"headers": [[b"a", b"b"]]})],
            "daphne drops the headers of websocket.accept",
        ),
        ([CONNECT, ACCEPT, ("send", "websocket.close", {"reason": "bye"})], "daphne drops the reason"),
        ([CONNECT, ACCEPT, ("send", "websocket.send", {"text": ""})], "daphne sends nothing for an empty message"),
        ([CONNECT, ACCEPT, ERROR], "cell, line 4, in receive"),
        (
            [CONNECT, ACCEPT, CLOSE, ERROR],
            "cell, line 4, in receive; the connection was closing already: the client does not notice",
        ),
    ],
)
def test_what_the_client_does_not_see_is_noted(events, note):
    """Where the wire differs from what the application said, a note says so."""
    assert read(*events).note == note


def test_an_error_in_a_cell_reaches_no_client():
    """Code outside any connection has no wire."""
    reading = read(ERROR, connection="cell", scope={})
    assert (reading.wire, reading.mark, reading.note) == ("", Mark.CRASH, "cell, line 4, in receive")


@pytest.mark.parametrize("scope", [{}, SCOPE | {"continued": True}])
@pytest.mark.parametrize(
    ("event", "wire", "mark"),
    [
        (CONNECT, "Upgrade: websocket", ""),
        (ACCEPT, "101 Switching Protocols", ""),
        (TEXT, "text frame", ""),
        (CLOSE, "close frame 1000", "close"),
        (DISCONNECT, "close frame 1000", "close"),
        (ERROR, "close frame 1011", "crash"),
    ],
)
def test_a_connection_that_began_before_the_trace_is_taken_up_where_it_is(scope, event, wire, mark):
    """The first event tells whether the handshake was before; to send then breaks no rule."""
    told = [
        SimpleNamespace(connection="ws-1", direction=d, type=t, message=m)
        for d, t, m in (("layer", "group_add", {}), event)
    ]
    reading = readings(told, {"ws-1": scope} if scope else {})[-1]
    assert wire in reading.wire and reading.mark == mark


@pytest.mark.parametrize(
    ("event", "state"), [(ASKED, "connecting"), (START, "open"), (BODY, "closing"), (GONE, "closed")]
)
def test_a_response_that_began_before_the_trace_is_taken_up_where_it_is(event, state):
    """The same for HTTP."""
    reading = read(event, connection="http-1", scope=REQUEST | {"continued": True})
    assert (reading.mark, reading.state) == ("", state)


def test_connections_are_kept_apart():
    """Each connection has a state of its own, however their events mingle."""
    told = [
        SimpleNamespace(connection=c, direction=d, type=t, message=m)
        for c, (d, t, m) in (("ws-1", CONNECT), ("ws-2", CONNECT), ("ws-1", ACCEPT), ("ws-2", CLOSE), ("ws-1", TEXT))
    ]
    found = readings(told, {"ws-1": SCOPE, "ws-2": SCOPE})
    assert [reading.wire for reading in found[2:]] == ["101 Switching Protocols", "403 Forbidden", "text frame"]


@pytest.mark.parametrize(
    ("scope", "asked"),
    [
        ({}, "…"),
        ({"path": "/a"}, "/a"),
        ({"path": "/a", "query_string": b"b=\xff"}, "/a?b=ÿ"),
        ({"path": "/", "query_string": "c"}, "/?c"),
    ],
)
def test_the_target_is_path_and_query(scope, asked):
    """What the client asked for is its path and query string, as far as they are known."""
    assert target(scope) == asked


messages = st.dictionaries(
    st.sampled_from(["text", "bytes", "code", "status", "subprotocol", "headers", "reason", "more_body", "where"]),
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.lists(st.integers())),
)
anything = st.tuples(
    st.sampled_from(["ws-1", "http-1", "cell"]),
    st.sampled_from(["receive", "send", "layer", "error"]),
    st.sampled_from([t for _, t, _ in (CONNECT, ACCEPT, CLOSE, DISCONNECT, TEXT, ERROR, ASKED, START, BODY, GONE)])
    | st.text(),
    messages,
)


@given(st.lists(anything, max_size=20))
def test_every_event_has_a_reading(drawn):
    """No sequence of events, however broken, is an error; a closed connection stays closed."""
    told = [SimpleNamespace(connection=c, direction=d, type=t, message=m) for c, d, t, m in drawn]
    found = readings(told, {"ws-1": SCOPE})
    assert len(found) == len(told)
    order = list(State)
    for name in ("ws-1", "http-1"):
        steps = [order.index(r.state) for r, e in zip(found, told, strict=True) if e.connection == name]
        if name == "ws-1":  # its beginning is known
            assert steps == sorted(steps)
