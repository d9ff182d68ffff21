"""A trace as steps from outside and their answers, and which of them belong together."""

import pytest

from labserver.errors import NotRecorded
from labserver.trace.conversation import Answer, Step, apart, steps
from labserver.trace.events import Event
from labserver.trace.order import SETTLE


def event(connection, direction, type, at=0.0, **message):
    return Event(connection, direction, type, {"type": type, **message}, at)


def received(connection, at=0.0, type="websocket.receive"):
    return event(connection, "receive", type, at)


def sent(connection, at=0.0, type="websocket.send"):
    return event(connection, "send", type, at)


def raised(connection, type="ValueError"):
    return event(connection, "error", type)


def layer(connection, type, group="room"):
    return event(connection, "layer", type, group=group)


def told(found):
    """Steps in short: who caused each, and who answered."""
    return [
        (step.cause.connection, step.cause.type, [answer.event.connection for answer in step.answers]) for step in found
    ]


# --- steps --------------------------------------------------------------------------------------------------------


def test_a_step_is_what_came_from_outside_and_what_followed():
    """Until the next event from outside, whatever an application sent or raised is an answer, on any connection."""
    found = steps(
        [
            received("ws-1", type="websocket.connect"),
            sent("ws-1"),
            received("ws-2", type="websocket.connect"),
            sent("ws-2"),
            layer("ws-2", "group_send"),
            layer("ws-1", "receive"),
            sent("ws-1"),
            received("ws-1"),
            raised("ws-1"),
        ],
        {},
    )
    assert told(found) == [
        ("ws-1", "websocket.connect", ["ws-1"]),
        ("ws-2", "websocket.connect", ["ws-2", "ws-1"]),
        ("ws-1", "websocket.receive", ["ws-1"]),
    ]
    assert [step.connections for step in found] == [{"ws-1"}, {"ws-1", "ws-2"}, {"ws-1"}]


def test_a_call_from_a_cell_is_a_step():
    """What a cell says through the channel layer comes from outside; what it only looks at, or joins, does not."""
    found = steps(
        [
            received("ws-1", type="websocket.connect"),
            layer("cell", "group_add"),
            layer("cell", "group_send"),
            sent("ws-1"),
            layer("cell", "send"),
            layer("cell", "receive"),
            raised("cell"),
        ],
        {},
    )
    assert told(found) == [
        ("ws-1", "websocket.connect", []),
        ("cell", "group_send", ["ws-1"]),
        ("cell", "send", ["cell"]),
    ]
    assert [step.connections for step in found] == [{"ws-1"}, {"ws-1"}, set()]


def test_what_a_cell_raises_before_anybody_comes_is_no_answer():
    """An answer needs a step that it can answer."""
    assert steps([raised("cell")], {}) == []


@pytest.mark.parametrize(
    ("name", "opening"), [("ws-1", "websocket.connect"), ("http-1", "http.request")], ids=["WebSocket", "HTTP"]
)
@pytest.mark.parametrize("before", [[], [layer("ws-1", "group_add"), layer("http-1", "group_add")]])
def test_an_application_that_does_not_look_has_a_client_nevertheless(name, opening, before):
    """Who is answered before anything was received has come; joining a group first makes no difference."""
    found = steps([*before, sent(name), sent(name)], {})
    assert told(found) == [(name, opening, [name, name])]
    assert (found[0].cause.direction, found[0].cause.message) == ("receive", {"type": opening})


def test_what_is_said_of_a_missing_route_is_the_servers():
    """Of a path without a route the error is the answer; the refusal that follows it is not the application's."""
    found = steps([raised("ws-1", "NoRoute"), sent("ws-1", type="websocket.close"), received("ws-2")], {})
    assert told(found) == [("ws-1", "websocket.connect", ["ws-1"]), ("ws-2", "websocket.receive", [])]
    assert found[0].answers[0].event.type == "NoRoute"


def test_an_answer_knows_how_late_it_was():
    """What came later than any reaction came by itself; what is measured is the time since the event before it."""
    events = [
        sent("ws-1", 5.0),
        received("ws-1", 5.0),
        sent("ws-1", 5.0 + SETTLE / 2),
        layer("ws-1", "group_send"),
        sent("ws-1", 5.0 + SETTLE),
    ]
    events[3] = Event("ws-1", "layer", "group_send", {}, 5.0 + SETTLE)
    events.append(sent("ws-1", 5.0 + 3 * SETTLE))
    opening, found = steps(events, {})
    assert opening.answers == [Answer(events[0], 0)]
    assert [answer.by_itself for answer in found.answers] == [False, False, True]
    assert found.answers[2].late == pytest.approx(2 * SETTLE)


def delivery(connection, type, text="hi"):
    return event(connection, "layer", type, group="room", message={"type": "room.message", "text": text})


def test_an_answer_belongs_to_what_was_sent_to_it():
    """A client may go on while its words are on their way: who hears them late answers them, not what came since."""
    found = steps(
        [
            received("ws-1"),
            received("ws-2"),
            received("ws-1"),
            delivery("ws-1", "group_send"),
            received("ws-2"),
            sent("ws-2"),
            delivery("ws-1", "receive"),
            sent("ws-1"),
            delivery("ws-1", "group_send", "on"),
            delivery("ws-2", "receive", "on"),
            sent("ws-2"),
            delivery("ws-2", "receive", "from elsewhere"),
            received("ws-1"),
            sent("ws-1"),
        ],
        {},
    )
    assert told(found)[2:] == [
        ("ws-1", "websocket.receive", ["ws-1", "ws-2"]),
        ("ws-2", "websocket.receive", ["ws-2"]),
        ("ws-1", "websocket.receive", ["ws-1"]),
    ]
    assert not any(answer.raced for step in found for answer in step.answers)


def test_answers_whose_order_is_luck_are_marked():
    """A client's words and a delivery, both there before either was answered: the answers have raced."""
    events = [
        received("ws-1", type="websocket.connect"),
        sent("ws-1"),
        delivery("cell", "group_send"),
        received("ws-1"),
        delivery("ws-1", "receive"),
        sent("ws-1"),
        sent("ws-1"),
        received("ws-1"),
        sent("ws-1"),
    ]
    found = steps(events, {})
    assert [len(step.answers) for step in found] == [1, 0, 2, 1]
    assert [answer.raced for step in found for answer in step.answers] == [False, True, True, False]


@pytest.mark.parametrize(
    ("scopes", "omitted", "found"),
    [
        ({"ws-2": {"continued": True}, "ws-1": {"continued": True}, "ws-3": {}}, 0, "that of ws-1, ws-2 is not in it"),
        ({}, 1200, "1,200 earlier events are gone"),
    ],
)
def test_a_trace_without_its_beginning_is_no_conversation(scopes, omitted, found):
    """Without the handshakes nobody can play the clients; the next step is told."""
    with pytest.raises(NotRecorded, match=f"found that {found}; connect inside of `with server.record\\(\\) as trace"):
        steps([received("ws-1")], scopes, omitted)


# --- apart --------------------------------------------------------------------------------------------------------


def parts(events):
    """The connections of each part."""
    return [sorted(set().union(*(step.connections for step in part))) for part in apart(steps(events, {}), events)]


def test_clients_that_never_meet_are_apart():
    """Each conversation of its own is a part, in the order of their beginnings, with all of its steps."""
    events = [received("ws-2"), received("http-1"), received("ws-2"), sent("ws-2")]
    assert parts(events) == [["ws-2"], ["http-1"]]
    assert [len(part) for part in apart(steps(events, {}), events)] == [2, 1]


def test_who_is_answered_because_of_another_belongs_to_them():
    """A message that reaches somebody else ties the two together, and whoever they are tied to."""
    events = [received("ws-1"), received("ws-2"), received("ws-3"), received("ws-4")]
    events += [received("ws-1"), sent("ws-2"), received("ws-4"), sent("ws-3")]
    assert parts(events) == [["ws-1", "ws-2"], ["ws-3", "ws-4"]]
    assert parts([*events, received("ws-2"), sent("ws-3")]) == [["ws-1", "ws-2", "ws-3", "ws-4"]]


def test_who_shared_a_group_belongs_together():
    """Two members of a group at one time belong together even if nothing was said."""
    one, two = received("ws-1"), received("ws-2")
    join_1, join_2 = layer("ws-1", "group_add"), layer("ws-2", "group_add")
    assert parts([one, join_1, two, join_2]) == [["ws-1", "ws-2"]]
    assert parts([one, join_1, two, layer("ws-2", "group_add", "other")]) == [["ws-1"], ["ws-2"]]
    assert parts([one, join_1, layer("ws-1", "group_discard"), two, join_2]) == [["ws-1"], ["ws-2"]]
    assert parts([one, layer("ws-1", "group_discard", "never joined"), two]) == [["ws-1"], ["ws-2"]]
    assert parts([one, join_1, received("ws-1", type="websocket.disconnect"), two, join_2]) == [["ws-1"], ["ws-2"]]
    assert parts([layer("cell", "group_add"), one, join_1]) == [["ws-1"]]


def test_words_that_nobody_heard_belong_to_nobody():
    """A cell's call that reached nobody is in no part; another is in that of those who heard it, or answered."""
    events = [
        received("ws-1"),
        layer("cell", "group_send"),
        received("ws-1"),
        layer("cell", "group_send"),
        sent("ws-1"),
    ]
    (part,) = apart(steps(events, {}), events)
    assert [step.cause.connection for step in part] == ["ws-1", "ws-1", "cell"]
    events = [received("ws-1"), received("ws-2"), delivery("cell", "group_send")]
    events += [delivery("cell", "receive"), delivery("ws-2", "receive")]
    assert parts(events) == [["ws-1"], ["ws-2"]]
    assert [step.cause.connection for step in apart(steps(events, {}), events)[1]] == ["ws-2", "cell"]


def test_a_step_is_a_value():
    """A step cannot be made another's; its answers begin empty."""
    with pytest.raises(AttributeError):
        Step(received("ws-1")).cause = None
    assert Step(received("ws-1")).answers == []
