"""A trace and what another application made of it: which answers differ, in text and in a picture."""

from xml.etree import ElementTree

import pytest

from labserver.trace.conversation import Answer, Step
from labserver.trace.events import Event
from labserver.trace.replay import Replay, same

UUID = "0a1b2c3d-0000-4000-8000-123456789abc"


def event(type, direction="send", connection="ws-1", **message):
    return Event(connection, direction, type, {"type": type, **message}, 0.0)


def say(text, connection="ws-1"):
    return event("websocket.send", connection=connection, text=text)


CONNECT = event("websocket.connect", "receive")
ACCEPT = event("websocket.accept")
CRASH = event("ValueError", "error", text="no", where="cell, line 1", module="builtins")


def step(cause, *answers):
    return Step(cause, [Answer(each, 0.0) for each in answers])


def replay(was, now, *more):
    """The replay of one step, or of several."""
    pairs = [(was, now), *more]
    return Replay([step(CONNECT, *before) for before, _ in pairs], [after for _, after in pairs])


def test_the_same_answers_are_no_difference():
    """Where all answers are what they were, there is nothing to show but them."""
    found = replay([ACCEPT, say("a")], [ACCEPT, say("a")], ([], []))
    assert found.differences == () and bool(found)
    assert str(found).splitlines() == [
        "no difference: all 2 answers are what they were",
        "  recorded                        replayed",
        "  ws-1 → websocket.connect        ws-1 → websocket.connect",
        "  ws-1 ← websocket.accept         ws-1 ← websocket.accept",
        "  ws-1 ← websocket.send text='a'  ws-1 ← websocket.send text='a'",
        "  ws-1 → websocket.connect        ws-1 → websocket.connect",
    ]
    assert repr(found) == str(found)


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        ([say("a")], [say("b")], "recorded websocket.send text='a', replayed websocket.send text='b'"),
        (
            [event("websocket.close", code=4001)],
            [event("websocket.close", code=4002)],
            "recorded websocket.close code=4001, replayed websocket.close code=4002",
        ),
        ([ACCEPT], [CRASH], "recorded websocket.accept, replayed ValueError no"),
        ([say("a")], [], "recorded websocket.send text='a', replayed nothing"),
        ([], [say("a")], "recorded nothing, replayed websocket.send text='a'"),
        (
            [event("http.response.start", status=200)],
            [event("http.response.start", status=404)],
            "recorded http.response.start status=200, replayed http.response.start status=404",
        ),
    ],
    ids=["text", "code", "crash", "missing", "additional", "status"],
)
def test_one_other_answer_is_one_difference(was, now, words):
    """Another text, code, crash or status, a missing or an additional answer: one difference, in words and picture."""
    found = replay([*was], [*now], ([say("z")], [say("z")]))
    (difference,) = found.differences
    assert (difference.connection, difference.after) == ("ws-1", CONNECT)
    assert (difference.recorded, difference.replayed) == (*was, *([None] * (not was))) + (*now, *([None] * (not now)))
    assert str(difference) == f"ws-1, after websocket.connect: {words}"
    assert not found
    title, _, *lines = str(found).splitlines()
    assert title == "1 of 2 answers differs"
    assert [line[:1] for line in lines] == [" ", "≠", " ", " "]
    bundle = found._repr_mimebundle_()
    assert bundle["text/plain"] == str(found)
    assert bundle["image/svg+xml"].count(">≠<") == 1
    ElementTree.fromstring(bundle["image/svg+xml"])


def test_a_picture_has_both_versions_side_by_side():
    """Each event from outside stands in both columns, each answer in its own."""
    found = replay([ACCEPT, say("old")], [ACCEPT, say("new")])
    picture = found._repr_mimebundle_()["image/svg+xml"]
    texts = ["".join(each.itertext()) for each in ElementTree.fromstring(picture).iter() if each.tag.endswith("text")]
    assert texts[0] == "The same clients, another application"
    assert {"recorded", "replayed", "1 of 2 answers differs"} <= set(texts)
    assert texts.count("ws-1 → websocket.connect") == texts.count("ws-1 ← websocket.accept") == 2
    assert texts.count("ws-1 ← websocket.send text='old'") == texts.count("ws-1 ← websocket.send text='new'") == 1


def test_a_missing_answer_shifts_no_others():
    """What is the same before and after a change stands side by side: an answer left out is one difference."""
    was, now = [say(each) for each in "abcde"], [say(each) for each in "abde"]
    (difference,) = replay(was, now).differences
    assert (difference.recorded, difference.replayed) == (say("c"), None)
    (difference,) = replay(now, was).differences
    assert (difference.recorded, difference.replayed) == (None, say("c"))
    assert len(replay(was, [say(each) for each in "axyde"]).differences) == 2
    assert replay([say("a")], [say("a"), say("a")]).differences[0].recorded is None


def test_connections_are_compared_apart():
    """Who of two members answers first is no difference; what one of them does not get is one."""
    one, two = say("hi", "ws-1"), say("hi", "ws-2")
    assert replay([one, two], [two, one]).differences == ()
    (difference,) = replay([one, two], [one]).differences
    assert difference.connection == "ws-2"
    (difference,) = replay([one], [one, two]).differences
    assert difference.connection == "ws-2" and str(replay([one, two], [])).startswith("2 of 2 answers differ\n")


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (ACCEPT, event("websocket.accept", subprotocol=None, headers=[]), True),
        (ACCEPT, event("websocket.accept", subprotocol="chat"), False),
        (event("websocket.close"), event("websocket.close", code=1000, reason=None), True),
        (event("websocket.close"), event("websocket.close", code=0), False),
        (event("websocket.send", text="a", bytes=None), say("a"), True),
        (say("a"), event("websocket.send", bytes=b"a"), False),
        (say(""), event("websocket.send", bytes=b""), False),
        (say(f"id {UUID}"), say(f"id {UUID.replace('0', '1')}"), True),
        (say("at 10:00:00"), say("at noon"), False),
        (CRASH, event("ValueError", "error", text="no", where="views.py, line 7"), True),
        (CRASH, event("ValueError", "error", text="yes"), False),
        (CRASH, event("KeyError", "error", text="no"), False),
        (event("ValueError", "error"), event("ValueError", "error", text=""), True),
        (CRASH, event("ValueError", "send", text="no"), False),
        (event("http.response.body", body=b"a"), event("http.response.body", body=b"a", more_body=False), True),
        (event("http.response.body", body=b"a"), event("http.response.body", body=b"a", more_body=True), False),
        (None, None, False),
        (ACCEPT, None, False),
        (None, ACCEPT, False),
    ],
)
def test_what_a_client_would_not_notice_is_the_same(one, other, equal):
    """Defaults that are left out, where an error happened, and what changes from run to run make no difference."""
    assert same(one, other) is equal


@pytest.mark.parametrize(
    ("headers", "equal"),
    [
        ([[b"Content-Type", b"text/html"], [b"date", b"today"]], True),
        ([[b"content-type", b"text/plain"]], False),
        ([[b"content-type", b"text/html"], [b"location", b"/login/"]], False),
        ([], False),
        (None, False),
    ],
)
def test_of_a_response_status_type_and_target_count(headers, equal):
    """Of an HTTP response's headers those are compared that a client acts upon."""
    one = event("http.response.start", status=200, headers=[[b"content-type", b"text/html"]])
    assert same(one, event("http.response.start", status=200, headers=headers)) is equal
