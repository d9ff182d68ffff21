"""A trace as plain text."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labserver.trace import diagram
from labserver.trace.payload import columns

ECHO = {"type": "websocket", "path": "/ws/echo/"}
ROOM = {"type": "websocket", "path": "/ws/room/blue/"}


def trace(told):
    """Events from lines of (connection, direction, type, message)."""
    return tuple(SimpleNamespace(connection=c, direction=d, type=t, message={"type": t, **m}) for c, d, t, m in told)


CONNECT = ("ws-1", "receive", "websocket.connect", {})
ACCEPT = ("ws-1", "send", "websocket.accept", {})
MESSAGE = {"type": "chat.message", "text": "hi"}

PICTURES = {
    "an echo": (
        [
            CONNECT,
            ACCEPT,
            ("ws-1", "receive", "websocket.receive", {"text": "hi"}),
            ("ws-1", "send", "websocket.send", {"bytes": b"hi"}),
            ("ws-1", "receive", "websocket.disconnect", {"code": 1000}),
        ],
        """\
     client consumer
ws-1   │──────→│  websocket.connect    GET /ws/echo/ Upgrade: websocket
ws-1   │←──────│  websocket.accept     101 Switching Protocols
ws-1   │──────→│  websocket.receive    text='hi'
ws-1   │←──────│  websocket.send       bytes=b'hi'
ws-1   │══════→│  websocket.disconnect code=1000 (normal)""",
    ),
    "a refusal": (
        [
            CONNECT,
            ("ws-1", "send", "websocket.close", {"code": 4001}),
            ("ws-1", "receive", "websocket.disconnect", {"code": 1006}),
        ],
        """\
     client consumer
ws-1   │──────→│  websocket.connect    GET /ws/echo/ Upgrade: websocket
ws-1   │✗- - - │  websocket.close      code=4001  ✗ refused: 403 Forbidden
                  └ closed before it was accepted: the client gets HTTP 403, never 4001
ws-1   │    ──→│  websocket.disconnect code=1006""",
    ),
    "a close and a late message": (
        [
            CONNECT,
            ACCEPT,
            ("ws-1", "send", "websocket.close", {"code": 4001}),
            ("ws-1", "send", "websocket.send", {"text": "late"}),
        ],
        """\
     client consumer
ws-1   │──────→│  websocket.connect    GET /ws/echo/ Upgrade: websocket
ws-1   │←──────│  websocket.accept     101 Switching Protocols
ws-1   │←══════│  websocket.close      code=4001
ws-1   │    ✗──│  websocket.send       text='late'  ✗ broken rule
                  └ websocket.send after the close: nothing may follow""",
    ),
    "a crash": (
        [
            CONNECT,
            ACCEPT,
            (
                "ws-1",
                "error",
                "ValueError",
                {"text": "Socket has not been accepted, so cannot send over it", "where": "cell, line 4, in receive"},
            ),
            ("ws-1", "layer", "group_discard", {"group": "blue"}),
        ],
        """\
     client consumer layer
ws-1   │──────→│       │  websocket.connect    GET /ws/echo/ Upgrade: websocket
ws-1   │←──────│       │  websocket.accept     101 Switching Protocols
ws-1   │←- - - ✗       │  ValueError           ✗ crash: close frame 1011
                          └ Socket has not been accepted, so cannot send over it
                          └ cell, line 4, in receive
ws-1   │       │──────→│  group_discard        blue""",
    ),
    "a push from a cell": (
        [
            ("cell", "layer", "group_send", {"group": "blue", "message": MESSAGE}),
            ("ws-1", "layer", "receive", {"message": MESSAGE}),
            ("ws-1", "send", "websocket.send", {"text": "hi"}),
            ("cell", "error", "KeyError", {"text": "'x'"}),
        ],
        """\
     client consumer layer    cell
cell   │       │       │←──────│  group_send           blue chat.message text='hi'
ws-1   │       │←──────│       │  receive              chat.message text='hi'
ws-1   │←──────│       │       │  websocket.send       text='hi'
cell   │       │       │       ✗  KeyError             'x'  ✗ crash""",
    ),
    "an HTTP request": (
        [
            ("http-100", "receive", "http.request", {"body": b"a=1"}),
            ("http-100", "send", "http.response.start", {"status": 404}),
            ("http-100", "send", "http.response.body", {"body": b"no"}),
        ],
        """\
       client application
http-100 │──────→│  http.request         body=b'a=1'  GET …
http-100 │←──────│  http.response.start  status=404  404 Not Found
http-100 │←──────│  http.response.body   body=b'no'""",
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_conversation_is_drawn_line_by_line(name):
    """One event a line: connection, arrow between lanes, type, payload, and what the client sees instead."""
    told, drawn = PICTURES[name]
    scopes = {"ws-1": ECHO | {"continued": "push" in name}}
    assert diagram.text(trace(told), scopes) == drawn


def test_an_empty_trace_says_what_to_do():
    """Nothing to draw is no empty picture but a next step."""
    assert diagram.text((), {}) == diagram.NOTHING
    assert diagram.text((), {}, omitted=3).splitlines() == ["… 3 earlier events left out", diagram.NOTHING]


def test_what_was_left_out_is_said_first():
    """The reader knows from the first line that the beginning is missing."""
    assert diagram.text(trace([CONNECT]), {}, omitted=1512).startswith("… 1,512 earlier events left out\n")


def test_a_long_trace_is_cut_in_the_middle():
    """Of 10,000 events the first and the last are shown, and a line in between counts the others."""
    lines = diagram.text(
        trace([CONNECT, ACCEPT] + [("ws-1", "send", "websocket.send", {"text": "hi"})] * 9_998), {}
    ).splitlines()
    assert len(lines) == 1 + diagram.HEAD + 1 + diagram.TAIL
    assert lines[diagram.HEAD + 1] == "… 9,600 events left out"


def test_an_exception_that_does_not_fit_gets_lines_of_its_own():
    """What an exception says is worth more lines, but no more than three."""
    told = trace([CONNECT, ("ws-1", "error", "ValueError", {"text": "word " * 100})])
    lines = diagram.text(told, {"ws-1": ECHO}).splitlines()
    assert len(lines) == 6 and lines[3].startswith(" " * 18 + "└ word") and lines[5].endswith("…")


anything = st.tuples(
    st.sampled_from(["ws-1", "ws-2", "http-1", "cell"]),
    st.sampled_from(["receive", "send", "layer", "error"]),
    st.sampled_from(["websocket.connect", "websocket.accept", "websocket.send", "websocket.close", "receive"])
    | st.text(),
    st.dictionaries(
        st.sampled_from(["text", "bytes", "code", "message", "group", "where"]) | st.text(),
        st.text() | st.binary() | st.integers() | st.dictionaries(st.text(), st.text()),
    ),
)


@given(st.lists(anything, max_size=10))
def test_no_line_is_wider_than_a_terminal(told):
    """Whatever happened: every line fits, can be encoded, and has nothing in it that a terminal would obey."""
    drawn = diagram.text(trace(told), {"ws-1": ROOM})
    for line in drawn.split("\n"):
        assert columns(line) <= diagram.WIDTH and line == line.rstrip() and line.isprintable()
    drawn.encode()


def test_svg_is_offered_beside_the_text():
    """Both forms are called in the same way."""
    assert diagram.svg((), {}, 0).startswith("<svg")
