"""The log: rows of atoms, bounded, invisible to the garbage collector."""

import gc
import threading
from enum import IntEnum

import pytest

from labserver.trace.log import CELL, PAYLOAD_LIMIT, Log, plain, thaw

RECEIVE = {"type": "websocket.receive", "text": "hi"}


def recorded(log, start=0, stop=None):
    """The messages of the log's rows."""
    return [thaw(*row[3:]) for row in log.rows(start, stop)[0]]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "hi"},
        {"text": "the other way round", "type": "websocket.receive"},
        {"type": "websocket.receive", "bytes": b"\x00\xff"},
        {"type": "websocket.receive", "text": None, "bytes": b"x"},
        {"type": "websocket.close", "code": 4001, "reason": "bye \ud800"},
        {"type": "group_send", "group": "blue", "message": {"type": "chat.message", "n": [1, 2.5, None, True]}},
        {"type": "receive", "message": {"type": "chat.message"}},
    ],
)
def test_what_was_recorded_is_what_is_read(message):
    """A message of any shape comes out of the log as it went in."""
    log = Log()
    log.add(1, "send", message)
    assert recorded(log) == [message]


def test_a_message_without_a_proper_type_is_recorded_too():
    """A broken application must not break the recorder: a type that is no string is recorded as its repr."""
    log = Log()
    log.add(1, "send", {"code": 1000, "text": "no type"})
    log.add(1, "send", {"type": 7, "text": "odd"})
    log.add(1, "send", {1: "odd", 2: "odder"})
    assert [row[3] for row in log.rows(0, None)[0]] == ["None", "7", "None"]
    assert recorded(log)[0] == {"code": 1000, "text": "no type"}


def test_a_row_is_made_of_atoms_that_the_collector_does_not_track():
    """Nothing in a row is tracked by the garbage collector, and neither is the row's storage as it grows."""
    log = Log()
    log.add(1, "receive", RECEIVE)
    log.add(1, "send", {"type": "websocket.close", "code": 1000, "reason": None})
    assert not any(gc.is_tracked(value) for row in log.rows(0, None)[0] for value in row)


def test_recording_100_000_events_causes_no_collection():
    """The recorder allocates nothing that the garbage collector counts, so no collection starts."""
    log, collections = Log(), []
    add, count = log.add, iter(range(100_000))
    gc.collect()
    gc.callbacks.append(lambda phase, info: collections.append(info))
    try:
        for _ in count:
            add(1, "receive", RECEIVE)
    finally:
        gc.callbacks.pop()
    assert collections == []
    assert log.total == 100_000


def test_the_oldest_rows_go_when_the_log_is_full():
    """A log keeps the newest rows only, and says how many are gone."""
    log = Log(limit=3)
    for n in range(5):
        log.add(1, "receive", {"type": "websocket.receive", "text": str(n)})
    rows, omitted = log.rows(0, None)
    assert [row[-1] for row in rows] == ["2", "3", "4"]
    assert omitted == 2


@pytest.mark.parametrize(
    ("start", "stop", "texts", "omitted"),
    [
        (0, None, ["2", "3", "4"], 2),
        (1, None, ["2", "3", "4"], 1),
        (3, None, ["3", "4"], 0),
        (5, None, [], 0),
        (0, 4, ["2", "3"], 2),
        (0, 2, [], 2),
        (1, 1, [], 0),
        (0, 9, ["2", "3", "4"], 2),
    ],
)
def test_a_stretch_of_the_log_can_be_read(start, stop, texts, omitted):
    """Rows are counted from the log's beginning, also when the first of them are gone."""
    log = Log(limit=3)
    for n in range(5):
        log.add(1, "receive", {"type": "websocket.receive", "text": str(n)})
    rows, gone = log.rows(start, stop)
    assert ([row[-1] for row in rows], gone) == (texts, omitted)


def test_an_empty_log_has_no_rows():
    """Before the first event there is nothing, and nothing is missing."""
    assert Log().rows(0, None) == ([], 0)


def test_rows_stay_whole_while_another_thread_writes():
    """A reader sees whole rows with consecutive numbers, whatever the writer does meanwhile."""
    log, done = Log(limit=200), threading.Event()

    def write():
        for n in range(20_000):
            log.add(n, "receive", {"type": "websocket.receive", "text": str(n)})
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        numbers = [(row[1], row[-1]) for row in log.rows(0, None)[0]]
        assert [(n, str(n)) for n, _ in numbers] == numbers
        assert [n for n, _ in numbers] == list(range(numbers[0][0], numbers[0][0] + len(numbers))) if numbers else True
    writer.join()


def test_a_connection_is_announced_by_its_scope():
    """A connection gets a number; of its scope the parts that a picture needs are kept."""
    log = Log()
    log.add(CELL, "layer", {"type": "group_add", "group": "blue"})
    number = log.open({"type": "http", "path": "/", "headers": [(b"host", b"x")], "client": ["127.0.0.1", 5]})
    assert log.scope(number) == {"type": "http", "path": "/", "headers": [[b"host", b"x"]]}
    assert (log.kind(number), log.opened(number)) == ("http", 1)


def test_a_connection_knows_where_its_application_can_be_imported():
    """What was served then is kept with each connection; nobody knows it of a connection that is forgotten."""
    log = Log(limit=2)
    assert log.last == 0
    first = log.open({"type": "websocket"}, "mysite.asgi:application")
    second = log.open({"type": "websocket"})
    assert (log.served(first), log.served(second), log.last) == ("mysite.asgi:application", "", second)
    log.open({"type": "http"})
    assert (log.served(first), log.served(99), log.last) == ("", "", 3)


def test_a_forgotten_connection_is_taken_for_a_websocket():
    """Scopes are bounded as rows are: the oldest goes, and reading it is no error."""
    log = Log(limit=2)
    first, *_ = [log.open({"type": "http", "path": "/"}) for _ in range(3)]
    assert (log.scope(first), log.kind(first), log.opened(first)) == ({"type": "websocket"}, "websocket", 0)


def test_connections_are_named_in_order_of_arrival():
    """WebSockets, HTTP requests and whatever else comes are counted apart; code outside any connection is `cell`."""
    log = Log()
    numbers = [log.open({"type": kind, "path": "/"}) for kind in ("websocket", "http", "websocket", "lifespan")]
    assert log.names(set(numbers)) == {0: "cell", 1: "ws-1", 2: "http-1", 3: "ws-2", 4: "lifespan-1"}
    assert log.names({3}) == {0: "cell", 3: "ws-1"}


def test_a_channel_belongs_to_a_connection():
    """A random channel name leads to its connection, so that pictures can name it."""
    log = Log(limit=2)
    for number in (1, 2, 3):
        log.name_channel(f"specific.a!{number}", number)
    assert [log.owner(f"specific.a!{n}") for n in (1, 2, 3)] == [CELL, 2, 3]
    assert log.channels_of(3) == ["specific.a!3"]
    assert log.channel_names({3: "ws-1"}) == {"specific.a!3": "ws-1"}


class Safe(str):
    """As Django's SafeString: `str()` of it is the object itself."""

    def __str__(self):
        return self


class Colour(IntEnum):
    RED = 4001


class Broken:
    def __repr__(self):
        raise ValueError("no repr")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (Safe("hi"), "hi"),
        (Colour.RED, 4001),
        (type("Float", (float,), {})(0.5), 0.5),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        ((1, (2,)), [1, [2]]),
        ({(1, 2): 3, 4: 5, Safe("k"): 6}, {"(1, 2)": 3, 4: 5, "k": 6}),
        ({"b", "a"}, "{'a', 'b'}"),
        (frozenset(), "{}"),
        (Broken(), "<Broken>"),
        ("x" * (PAYLOAD_LIMIT + 1), "x" * PAYLOAD_LIMIT + f"… ({PAYLOAD_LIMIT + 1} characters)"),
        (b"x" * (PAYLOAD_LIMIT + 1), b"x" * PAYLOAD_LIMIT + b"... (%d bytes)" % (PAYLOAD_LIMIT + 1)),
        (list(range(5000)), list(range(1000))),
    ],
)
def test_anything_becomes_plain(value, kept):
    """Whatever an application puts into a message is stored as plain values of bounded size."""
    assert plain(value) == kept
    assert type(plain(value)) is type(kept)


def test_a_message_that_contains_itself_is_cut():
    """A message may be nested without end; the recorder keeps the first levels."""
    message: dict = {"type": "chat.message"}
    message["message"] = message
    log = Log()
    log.add(1, "layer", message)
    assert repr(recorded(log)[0]).endswith("'…'" + "}" * 20)


def test_a_long_payload_is_cut_with_its_length():
    """One payload never takes more than the limit, on the short way into the log either."""
    log = Log()
    log.add(1, "receive", {"type": "websocket.receive", "text": "x" * 1_000_000})
    assert recorded(log)[0]["text"].endswith("… (1000000 characters)")
