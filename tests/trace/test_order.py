"""Events that raced stand in one order; everything else stays in its order in time."""

import marshal
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from labserver.trace.order import SETTLE, settled

CELL = 0
TICK = SETTLE / 1000


def row(at, connection, direction, type, **message):
    """A row as the log keeps it."""
    return (at, connection, direction, type, None, marshal.dumps({"type": type, **message}))


def names(rows):
    """Connection and type of each row."""
    return [(row[1], row[3]) for row in rows]


def broadcast(text="hi", group="blue"):
    """The layer events of one send to a group: the send, and one delivery."""
    message = {"type": "chat.message", "text": text}
    return ("layer", "group_send", {"group": group, "message": message}), ("layer", "receive", {"message": message})


def in_time(events, start=0.0, step=TICK):
    """Rows of (connection, direction, type, message), one step after another."""
    return [row(start + i * step, c, d, t, **m) for i, (c, d, t, m) in enumerate(events)]


@st.composite
def races(draw, chains):
    """The chains' events interleaved in any order that keeps each chain's own."""
    order = draw(st.permutations([c for c, chain in chains.items() for _ in chain]))
    left = {c: list(chain) for c, chain in chains.items()}
    return [(c, *left[c].pop(0)) for c in order]


SEND, DELIVERY = broadcast()
MEMBERS = {n: [DELIVERY, ("send", "websocket.send", {"text": "hi"})] for n in (1, 2, 3)}


@given(races(MEMBERS))
def test_members_of_a_group_answer_in_one_standing_order(race):
    """Whichever member of a group is served first: the picture shows the send, then each member in order of arrival."""
    rows = in_time([(CELL, *SEND), *race])
    assert names(settled(rows)) == [
        (CELL, "group_send"),
        *((n, type) for n in (1, 2, 3) for type in ("receive", "websocket.send")),
    ]


@given(races({1: MEMBERS[1], 2: MEMBERS[2], 3: MEMBERS[3]}), races(MEMBERS))
def test_two_broadcasts_after_each_other_stay_apart(first, second):
    """Each broadcast is put in order for itself, also when the second begins before the first has settled."""
    rows = in_time([(CELL, *SEND), *first]) + in_time([(CELL, *SEND), *second], start=10 * TICK)
    assert names(settled(rows)) == 2 * [
        (CELL, "group_send"),
        *((n, type) for n in (1, 2, 3) for type in ("receive", "websocket.send")),
    ]


@given(races({1: MEMBERS[1], 2: MEMBERS[2]}))
def test_a_member_that_sends_to_its_group_comes_before_the_deliveries(race):
    """A delivery stands behind the send that caused it, also when the sender is not the first connection."""
    rows = in_time([(2, "receive", "websocket.receive", {"text": "hi"}), (2, *SEND), *race])
    assert names(settled(rows)) == [
        (2, "websocket.receive"),
        (2, "group_send"),
        (1, "receive"),
        (1, "websocket.send"),
        (2, "receive"),
        (2, "websocket.send"),
    ]


@given(races({2: [SEND, SEND], 1: [DELIVERY, DELIVERY]}).filter(lambda race: [c for c, *_ in race].index(2) == 0))
def test_equal_messages_are_told_apart_by_their_number(race):
    """The second of two equal deliveries stands behind the second of two equal sends."""
    deliveries = sends = 0
    for connection, *_ in race:  # only races that can happen
        sends, deliveries = sends + (connection == 2), deliveries + (connection == 1)
        if deliveries > sends:
            return
    rows = in_time([(2, "receive", "websocket.receive", {"text": "go"}), *race])
    assert names(settled(rows))[1:] == [(2, "group_send"), (1, "receive"), (2, "group_send"), (1, "receive")]


def test_a_delivery_without_a_send_of_its_own_waits_for_nobody():
    """A delivery that stands before the only send that equals it was caused by another: it keeps its place."""
    rows = in_time(
        [
            (1, "receive", "websocket.receive", {"text": "go"}),
            (1, *DELIVERY),
            (1, *SEND),
            (1, *DELIVERY),
        ]
    )
    assert settled(rows) == rows


def test_what_comes_from_outside_keeps_its_order_in_time():
    """Clients' events begin a turn each: the later one is drawn later, whatever its connection."""
    rows = in_time(
        [
            (2, "receive", "websocket.connect", {}),
            (1, "receive", "websocket.connect", {}),
            (1, "send", "websocket.accept", {}),
            (2, "send", "websocket.accept", {}),
        ]
    )
    assert names(settled(rows)) == [
        (2, "websocket.connect"),
        (2, "websocket.accept"),
        (1, "websocket.connect"),
        (1, "websocket.accept"),
    ]


def test_a_clients_answer_to_a_close_belongs_to_the_close():
    """A disconnect right after our own close is its echo; so is http.disconnect after the end of a response."""
    rows = in_time(
        [
            (CELL, *SEND),
            (2, *DELIVERY),
            (2, "send", "websocket.close", {}),
            (1, *DELIVERY),
            (1, "send", "websocket.close", {}),
            (2, "receive", "websocket.disconnect", {"code": 1000}),
            (1, "receive", "websocket.disconnect", {"code": 1000}),
        ]
    )
    assert names(settled(rows))[1:] == [
        (n, type) for n in (1, 2) for type in ("receive", "websocket.close", "websocket.disconnect")
    ]


def test_a_disconnect_of_its_own_comes_from_outside():
    """A client that leaves by itself, at once or long after, begins a turn."""
    rows = in_time([(2, "receive", "websocket.disconnect", {}), (1, "receive", "websocket.disconnect", {})])
    rows += in_time([(2, "send", "websocket.close", {})], start=1)
    rows += in_time([(2, "receive", "websocket.disconnect", {}), (1, "send", "websocket.send", {})], start=2)
    assert settled(rows) == rows


def test_what_happens_late_keeps_its_order_in_time():
    """A timer or a handler that slept begins a turn; what happens at about the same time is part of it."""
    rows = [
        row(0.0, 1, "receive", "websocket.connect"),
        row(0.0, 2, "receive", "websocket.connect"),
        row(1.00, 2, "send", "websocket.send", text="tick"),
        row(1.01, 1, "send", "websocket.send", text="tick"),
        row(2.00, 2, "send", "websocket.send", text="tock"),
        row(3.00, 1, "send", "websocket.send", text="tock"),
    ]
    assert [r[0] for r in settled(rows)] == [0.0, 0.0, 1.01, 1.00, 2.00, 3.00]


def test_a_connection_that_begins_with_an_error_is_not_taken_for_an_effect():
    """A client that is refused at once came by itself, even when something late has happened just before."""
    slow = [row(0, 1, "receive", "websocket.connect"), row(2 * SETTLE, 1, "send", "websocket.accept")]
    talk = in_time([(2, "receive", "websocket.connect", {}), (2, "send", "websocket.accept", {})], 2 * SETTLE + TICK)
    refused = in_time([(3, "error", "NoRoute", {}), (3, "send", "websocket.close", {})], 2 * SETTLE + 3 * TICK)
    assert settled(slow + talk + refused) == slow + talk + refused


def test_events_without_a_known_beginning_are_kept_in_time():
    """When the trace starts in the middle, the first things seen have no cause in it and form a turn."""
    rows = [
        row(0.00, 2, "send", "websocket.send"),
        row(0.01, 1, "send", "websocket.send"),
        row(5.00, 3, "send", "websocket.send"),
        row(6.00, 4, "layer", "receive", message={"type": "x"}),
    ]
    assert [r[1] for r in settled(rows)] == [1, 2, 3, 4]


def test_a_late_delivery_is_not_drawn_before_its_send():
    """A delivery that took long joins a turn that began by itself only if that is not ahead of its send."""
    rows = [
        row(0.00, 1, "receive", "websocket.connect"),
        row(1.00, 1, "send", "websocket.send"),  # late: begins a turn by itself
        row(1.00, CELL, *SEND[:2], **SEND[2]),
        row(1.00 + SETTLE * 0.5, 3, "receive", "websocket.connect"),
        row(1.00 + SETTLE * 0.9, 3, "send", "websocket.accept"),
        row(1.00 + SETTLE, 2, *DELIVERY[:2], **DELIVERY[2]),
        row(1.01 + SETTLE, 4, *DELIVERY[:2], **DELIVERY[2]),
    ]
    order = [(r[1], r[3]) for r in settled(rows)]
    assert order.index((0, "group_send")) < order.index((2, "receive")) < order.index((4, "receive"))


events = st.tuples(
    st.integers(0, 3),
    st.sampled_from(
        [
            ("receive", "websocket.connect"),
            ("receive", "websocket.disconnect"),
            ("send", "websocket.close"),
            ("send", "websocket.send"),
            ("layer", "group_send"),
            ("layer", "send"),
            ("layer", "receive"),
            ("error", "ValueError"),
        ]
    ),
    st.sampled_from(["a", "b"]),
    st.sampled_from([TICK, SETTLE / 2, SETTLE * 0.9, SETTLE * 2]),
)


@given(st.lists(events, max_size=30))
def test_nothing_is_lost_and_each_connection_keeps_its_order(drawn):
    """Whatever happened: each row is there once, and the rows of a connection stand in their order in time."""
    at, rows = 0.0, []
    for connection, (direction, type), text, pause in drawn:
        at += pause
        rows.append(row(at, connection, direction, type, message=text))
    result = settled(rows)
    assert sorted(result) == sorted(rows)
    kept = defaultdict(list)
    for each in result:
        kept[each[1]].append(each)
    assert all(mine == sorted(mine) for mine in kept.values())
    assert settled(rows) == result
