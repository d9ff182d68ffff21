"""A trace as a sequence diagram."""

import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labserver.trace.svg import HEAD, NOTHING, TAIL, svg

SCOPE = {"type": "websocket", "path": "/ws/echo/"}
CONNECT = ("ws-1", "receive", "websocket.connect", {})
ACCEPT = ("ws-1", "send", "websocket.accept", {})
MESSAGE = {"type": "chat.message", "text": "hi"}
NS = "{http://www.w3.org/2000/svg}"


def trace(told):
    """Events from lines of (connection, direction, type, message)."""
    return tuple(SimpleNamespace(connection=c, direction=d, type=t, message={"type": t, **m}) for c, d, t, m in told)


def draw(*told, omitted=0, scopes=None):
    """The picture as a tree."""
    return ElementTree.fromstring(svg(trace(told), {"ws-1": SCOPE} if scopes is None else scopes, omitted))


def words(tree):
    """All texts in the picture, in the order drawn."""
    return ["".join(each.itertext()) for each in tree.iter(f"{NS}text")]


def shapes(tree, name):
    """The classes of all shapes of a kind, in the order drawn."""
    return [each.get("class") for each in tree.iter(NS + name)]


def test_an_echo_is_drawn_between_three_lanes():
    """Client and server exchange what passes on the wire; server and consumer exchange ASGI events."""
    tree = draw(
        CONNECT,
        ACCEPT,
        ("ws-1", "receive", "websocket.receive", {"text": "hi"}),
        ("ws-1", "send", "websocket.send", {"text": "hi"}),
    )
    found = words(tree)
    assert found[:3] == ["client", "server", "consumer"]
    for each in (
        "websocket.connect",
        "GET /ws/echo/",
        "Upgrade: websocket",
        "101 Switching Protocols",
        "text frame",
        "websocket.send text='hi'",
    ):
        assert each in found
    assert found.count("ws-1") == 4
    assert shapes(tree, "path") == ["head asgi", "head wire"] * 4


def test_the_picture_describes_itself():
    """A screen reader is told what the picture is and how much is in it."""
    tree = draw(CONNECT, ACCEPT, ("ws-2", "receive", "websocket.connect", {}), omitted=1000)
    assert tree.get("role") == "img"
    labels = {each.get("id"): each.text for each in tree if each.get("id")}
    assert [labels[each] for each in tree.get("aria-labelledby").split()] == [
        "What happened on the wire",
        "2 connections, 1,003 events",
    ]
    assert draw(CONNECT)[1].text == "1 connection, 1 event"


def test_the_picture_scales_down_and_never_up():
    """It has a width of its own, a view box, and gives way to a narrow page."""
    tree = draw(CONNECT)
    assert tree.get("width") == "820" and tree.get("viewBox").startswith("0 0 900 ")
    assert "max-width:100%" in tree.get("style")


def test_a_refusal_is_dashed_and_ends_in_a_cross():
    """The client gets 403: said in words, by a dashed line and by a cross at the client's end."""
    tree = draw(CONNECT, ("ws-1", "send", "websocket.close", {"code": 4001}))
    assert {"403 Forbidden", "REFUSED", "websocket.close code=4001"} <= set(words(tree))
    assert "closed before it was accepted: the client gets HTTP 403, never 4001" in words(tree)
    assert shapes(tree, "path")[-2:] == ["head refused", "cross refused"]


def test_a_crash_begins_with_a_cross():
    """An exception goes from the consumer to the server, and the client gets what the server makes of it."""
    tree = draw(CONNECT, ACCEPT, ("ws-1", "error", "ValueError", {"text": "boom", "where": "cell, line 4"}))
    assert {"close frame 1011", "CRASH", "ValueError boom", "cell, line 4"} <= set(words(tree))
    assert shapes(tree, "path")[-3:] == ["head crash", "cross crash", "head crash"]


def test_a_close_is_a_double_line():
    """A close is told by its shape and by its code."""
    tree = draw(CONNECT, ACCEPT, ("ws-1", "send", "websocket.close", {"code": 4001}))
    assert "close frame 4001" in words(tree)
    assert shapes(tree, "line").count("line close") == 4


def test_a_broken_rule_does_not_get_through():
    """What the protocol forbids ends in a cross half-way, with the rule in words."""
    tree = draw(CONNECT, ("ws-1", "send", "websocket.send", {"text": "early"}))
    assert {"BROKEN RULE", "accept before you send: the server raises"} <= set(words(tree))
    assert shapes(tree, "path")[-1] == "cross broken"
    back = draw(CONNECT, ("ws-1", "receive", "websocket.disconnect", {}), CONNECT)
    assert shapes(back, "path")[-1] == "cross broken"


def test_a_note_without_a_mark_stands_alone():
    """What daphne does not send is told, but it is nobody's mistake."""
    tree = draw(CONNECT, ACCEPT, ("ws-1", "send", "websocket.send", {"text": ""}))
    assert "daphne sends nothing for an empty message" in words(tree)
    assert "chip" not in " ".join(shapes(tree, "rect"))


def test_the_layer_and_the_cell_have_lanes_of_their_own():
    """Hops through the channel layer go to and from its lane; a cell pushes from its own."""
    tree = draw(
        ("ws-1", "layer", "group_add", {"group": "blue"}),
        ("cell", "layer", "group_send", {"group": "blue", "message": MESSAGE}),
        ("ws-1", "layer", "receive", {"message": MESSAGE}),
        ("ws-1", "layer", "group_send", {"group": "blue", "message": MESSAGE | {"sender": "a long name indeed, yes"}}),
        ("cell", "error", "KeyError", {"text": "'x'"}),
        scopes={},
    )
    found = words(tree)
    assert found[:5] == ["client", "server", "consumer", "channel layer", "cell"]
    assert "group_send blue chat.message text='hi'" in found
    assert "receive chat.message text='hi'" in found
    assert "KeyError 'x'" in found
    assert shapes(tree, "path").count("head layer") == 4
    assert shapes(tree, "path")[-1] == "cross crash"


def test_a_long_payload_goes_below_its_arrow():
    """What does not fit beside the type stands below, in two lines at most."""
    tree = draw(CONNECT, ACCEPT, ("ws-1", "receive", "websocket.receive", {"text": "word " * 60}))
    found = words(tree)
    at = found.index("websocket.receive")
    assert found[at + 1].startswith("text=(300 characters) 'word word") and found[at + 2].endswith("…")


def test_a_long_path_is_broken():
    """A long path takes two lines before it is cut."""
    tree = draw(CONNECT, scopes={"ws-1": {"path": "/ws/a/very/long/path/that/fits/nowhere/" * 3}})
    found = words(tree)
    at = next(i for i, each in enumerate(found) if each.startswith("GET /ws/a/"))
    assert found[at + 1].endswith("…") and found[at + 2] == "Upgrade: websocket"


def test_an_empty_trace_says_what_to_do():
    """Nothing to draw is no empty picture but a next step."""
    assert NOTHING in words(draw())


def test_a_long_trace_is_cut_in_the_middle():
    """Of 10,000 events the first and the last are drawn; what is left out is said where it is missing."""
    tree = draw(*[CONNECT] * 10_000, omitted=512)
    assert "512 earlier events left out" in words(tree)
    assert f"{10_000 - HEAD - TAIL:,} events left out" in words(tree)
    assert words(tree).count("ws-1") == HEAD + TAIL


def test_the_picture_brings_its_own_background():
    """The page may be light or dark: the picture stands on its own card, in either colour scheme."""
    tree = draw(CONNECT)
    assert shapes(tree, "rect")[0] == "card"
    assert "prefers-color-scheme:dark" in tree.find(f"{NS}style").text


def test_the_same_events_give_the_same_bytes():
    """A picture can be stored and compared."""
    told = trace([CONNECT, ACCEPT])
    assert svg(told, {"ws-1": SCOPE}) == svg(told, {"ws-1": SCOPE})


@pytest.mark.parametrize("odd", ["]]>", "<b>&amp;</b>", "\x00\x1b", "\ud800", "\uffff", "🎉", "\"'", "\u202e"])
def test_odd_payloads_are_escaped(odd):
    """Markup, control characters, lone surrogates and emoji come out as what they are."""
    tree = draw(CONNECT, ACCEPT, ("ws-1", "send", "websocket.send", {"text": odd}))
    assert f"websocket.send text={odd!r}" in words(tree)


anything = st.tuples(
    st.sampled_from(["ws-1", "http-1", "cell"]) | st.text(min_size=1),
    st.sampled_from(["receive", "send", "layer", "error"]),
    st.sampled_from(["websocket.connect", "websocket.accept", "websocket.send", "websocket.close", "receive"])
    | st.text(),
    st.dictionaries(
        st.sampled_from(["text", "bytes", "code", "message", "group", "where"]) | st.text(),
        st.text() | st.binary() | st.integers() | st.dictionaries(st.text(), st.text()),
    ),
)


@given(st.lists(anything, max_size=8), st.text())
def test_any_trace_is_a_picture(told, path):
    """Whatever happened, the picture is well-formed XML that can be encoded."""
    source = svg(trace(told), {"ws-1": {"path": path}})
    ElementTree.fromstring(source.encode())
    assert len(words(ElementTree.fromstring(source))) >= len(told)
