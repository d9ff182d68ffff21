"""Trace: what people read of a log."""

import subprocess
import sys
import threading

import pytest

from labserver.errors import NotRecorded, TimeLimit
from labserver.trace.events import CELL, LIMIT, WAIT_LIMIT, Event, Log, Trace, plain

SCOPE = {"type": "websocket", "path": "/ws/echo/", "query_string": b"token=abc", "headers": [(b"cookie", b"a=b")]}


def echo(log, text="hi"):
    """Record a short conversation; returns the connection's number."""
    number = log.open(SCOPE)
    log.add(number, "receive", {"type": "websocket.connect"})
    log.add(number, "send", {"type": "websocket.accept"})
    log.add(number, "receive", {"type": "websocket.receive", "text": text})
    log.add(number, "send", {"type": "websocket.send", "text": text})
    return number


def test_the_names_that_other_rooms_use():
    """The live room imports these names from here."""
    assert (CELL, LIMIT, WAIT_LIMIT, plain([1])) == (0, 10_000, 5.0, [1])


def test_events_are_values_in_order():
    """A trace is a sequence of events with connection, direction, type, message and seconds since its start."""
    log = Log()
    trace = Trace(log)
    echo(log)
    events = trace.events
    assert [(e.connection, e.direction, e.type) for e in events] == [
        ("ws-1", "receive", "websocket.connect"),
        ("ws-1", "send", "websocket.accept"),
        ("ws-1", "receive", "websocket.receive"),
        ("ws-1", "send", "websocket.send"),
    ]
    assert events[2].message == {"type": "websocket.receive", "text": "hi"}
    assert 0 <= events[0].at <= events[3].at < 60
    assert tuple(trace) == events
    assert (len(trace), repr(trace)) == (4, "<Trace of 4 events>")


def test_an_event_cannot_be_changed():
    """An event is a frozen value: what happened has happened."""
    with pytest.raises(AttributeError):
        Event("ws-1", "send", "websocket.accept", {}, 0.0).type = "x"


def test_secrets_are_redacted_before_anybody_looks():
    """Neither the events nor the scopes of a trace show a token or a cookie."""
    log = Log()
    trace = Trace(log)
    echo(log, '{"token": "s3cret"}')
    shown = f"{trace.events} {trace.scopes} {trace} {trace._repr_mimebundle_()}"
    assert "s3cret" not in shown and "abc" not in shown and "a=b" not in shown
    assert trace.scopes["ws-1"]["query_string"] == b"token=[redacted]"


def test_a_trace_begins_where_it_was_made_and_ends_where_it_was_closed():
    """A trace of one scenario holds neither what was before nor what comes after, and numbers from 1."""
    log = Log()
    echo(log)
    trace = Trace(log)
    echo(log, "inside")
    trace.close()
    echo(log, "after")
    assert {e.connection for e in trace} == {"ws-1"}
    assert [e.message.get("text") for e in trace if e.type == "websocket.send"] == ["inside"]


def test_the_newest_events_are_a_trace_of_their_own():
    """Of a long trace the end can be shown alone; of a short one that is all of it; what comes later is not in it."""
    log = Log()
    trace = Trace(log)
    number = log.open({"type": "websocket"})
    for text in "abc":
        log.add(number, "receive", {"type": "websocket.receive", "text": text})
    newest, all_of_it = trace.newest(2), trace.newest(9)
    trace.close()
    closed = trace.newest(1)
    log.add(number, "receive", {"type": "websocket.receive", "text": "late"})
    for each, texts in ((newest, ["b", "c"]), (all_of_it, ["a", "b", "c"]), (closed, ["c"])):
        assert [event.message["text"] for event in each] == texts


def test_a_cleared_trace_starts_again():
    """After clear() nothing is in the trace, and the next connection is number 1."""
    log = Log()
    trace = Trace(log)
    echo(log)
    trace.clear()
    assert trace.events == ()
    echo(log)
    assert trace.names == {0: "cell", 2: "ws-1"}


def test_a_connection_that_was_there_before_is_known_to_be_open():
    """What an old connection does in a new trace is no broken rule: its handshake was before."""
    log = Log()
    number = echo(log)
    trace = Trace(log)
    log.add(number, "send", {"type": "websocket.send", "text": "news"})
    log.add(CELL, "layer", {"type": "group_send", "group": "blue", "message": {"type": "x"}})
    assert trace.scopes["ws-1"]["continued"] is True
    assert "broken" not in str(trace)
    echo(log)
    assert "continued" not in trace.scopes["ws-2"]


def test_connections_that_are_still_open_keep_their_place_in_the_count():
    """A live connection has its number even if nothing happened on it in this trace."""
    log = Log()
    old = echo(log)
    trace = Trace(log, live=lambda: {old})
    echo(log)
    assert trace.names == {0: "cell", 1: "ws-1", 2: "ws-2"}


def test_events_that_the_log_dropped_are_counted():
    """When more happens than is kept, the trace says how many events are missing."""
    log = Log(limit=5)
    trace = Trace(log)
    echo(log)
    echo(log)
    assert (len(trace), trace.omitted) == (5, 3)
    assert str(trace).startswith("… 3 earlier events left out")


def test_a_channel_is_shown_by_its_connection():
    """Random channel names differ from run to run, so a trace names the connection that a channel belongs to."""
    log = Log()
    trace = Trace(log)
    number = echo(log)
    log.name_channel("specific.abc!xyz", number)
    silent = log.open(SCOPE)
    log.add(CELL, "layer", {"type": "send", "channel": silent, "message": {"type": "x", "to": "specific.abc!xyz"}})
    log.add(CELL, "layer", {"type": "send", "channel": "specific.other!xyz", "message": {"type": "x"}})
    log.add(CELL, "layer", {"type": "group_add", "group": "blue", "channel": 99})
    assert [e.message for e in trace.events[-3:]] == [
        {"type": "send", "channel": "ws-2", "message": {"type": "x", "to": "<channel of ws-1>"}},
        {"type": "send", "channel": "<channel>", "message": {"type": "x"}},
        {"type": "group_add", "group": "blue", "channel": "a channel"},
    ]


def test_a_trace_shows_itself_as_text_and_as_a_picture():
    """A notebook gets plain text and SVG of the same events, the same bytes each time."""
    log = Log()
    trace = Trace(log)
    echo(log)
    bundle = trace._repr_mimebundle_()
    assert bundle["text/plain"] == str(trace)
    assert bundle["image/svg+xml"].startswith("<svg")
    assert trace._repr_mimebundle_() == bundle


def test_the_same_scenario_gives_the_same_bytes():
    """Another log, other times, other connection numbers: the same picture."""
    pictures = set()
    for before in (0, 3):
        log = Log()
        for _ in range(before):
            echo(log)
        trace = Trace(log)
        echo(log)
        pictures.add(tuple(trace._repr_mimebundle_().values()))
    assert len(pictures) == 1


def test_waiting_returns_the_event_waited_for():
    """A wait is over as soon as the event has come as often as asked, on the connection asked for."""
    log = Log()
    trace = Trace(log)
    echo(log, "one")
    threading.Timer(0.02, echo, (log, "two")).start()
    assert trace.wait_for("websocket.send", count=2).message["text"] == "two"
    assert trace.wait_for("websocket.send", connection="ws-2").message["text"] == "two"


def test_waiting_has_a_limit_and_says_what_is_missing():
    """A wait that fails names what was awaited and shows what did happen instead."""
    log = Log()
    trace = Trace(log)
    echo(log)
    with pytest.raises(TimeLimit, match=r"2 × websocket.send within 0.01 s, found 1; (.|\n)*websocket.connect"):
        trace.wait_for("websocket.send", count=2, timeout=0.01)
    with pytest.raises(TimeLimit, match="websocket.close on ws-1 within"):
        trace.wait_for("websocket.close", connection="ws-1", timeout=0)


def test_ten_thousand_events_are_drawn_in_bounded_size():
    """A full log is drawn as text and as a picture whose size does not grow with it; `make bench` has the time."""
    log = Log()
    trace = Trace(log)
    for _ in range(LIMIT // 4 + 10):
        echo(log, '{"type": "message", "content": "hello"}')
    bundle = trace._repr_mimebundle_()
    assert len(trace) == LIMIT
    assert len(bundle["image/svg+xml"]) < 200_000 and len(bundle["text/plain"].splitlines()) < 410


def test_a_trace_becomes_a_test():
    """The test plays what is in the trace, on the application that was served then or the one that is named."""
    log = Log()
    echo(log, "before")
    trace = Trace(log)
    number = log.open({**SCOPE, "query_string": b""}, "chat.asgi:application")
    log.add(number, "receive", {"type": "websocket.connect"})
    log.add(number, "send", {"type": "websocket.close", "code": 4001})
    source = trace.to_test("refusal")
    assert "from chat.asgi import application\n" in source and "async def test_refusal(a):" in source
    assert 'receive_output() == {"type": "websocket.close", "code": 4001}' in source and "before" not in source
    assert "from other import site as application\n" in trace.to_test("refusal", application="other:site")
    trace.clear()
    with pytest.raises(NotRecorded, match="found none"):
        trace.to_test("refusal")


async def test_a_trace_is_played_by_whoever_it_was_given():
    """The player gets the steps with all that clients sent, the same as people may see them, scopes, and the target."""
    played = []

    async def play(*what):
        played.append(what)
        return "a replay"

    log = Log()
    trace = Trace(log, play=play)
    echo(log, '{"token": "s3cret"}')
    assert await trace.replay("target") == await trace.newest(9).replay("target") == "a replay"
    (exact, shown, scopes, target), _ = played
    assert [step.cause.type for step in exact] == [step.cause.type for step in shown] != []
    assert exact[1].cause.message["text"] == '{"token": "s3cret"}' and target == "target"
    assert "s3cret" not in str(shown)
    assert scopes["ws-1"] == log.scope(1)
    with pytest.raises(NotRecorded, match="expected a trace of a live server, found one without"):
        await Trace(log).replay("target")


def test_the_room_imports_no_framework():
    """Traces are read and drawn without Django, Twisted, Jupyter or a network library."""
    source = (
        "import sys, pkgutil, importlib, labserver.trace as t; before = set(sys.modules);"
        "[importlib.import_module(f'labserver.trace.{m.name}') for m in pkgutil.iter_modules(t.__path__)];"
        "print({m.partition('.')[0] for m in sys.modules.keys() - before})"
    )
    loaded = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout
    unwanted = {"django", "channels", "daphne", "twisted", "autobahn", "IPython", "ipykernel", "jupyter_client"}
    unwanted |= {"asyncio", "socket", "ssl"}
    assert {name for name in unwanted if f"'{name}'" in loaded} == set()
