"""The channel layer as a picture of three lanes."""

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labserver.trace.layer import EMPTY, LOCAL, Channel, Layer
from labserver.trace.layer_svg import svg

from .test_layer import CLASS, socket
from .test_svg import NS, shapes, words


def draw(*channels, others=()):
    """The picture as a tree."""
    return ElementTree.fromstring(svg([Layer("InMemoryChannelLayer", channels=channels), *others]))


def lines(tree):
    """The classes of all lines from groups to channels."""
    return [each.get("class") for each in tree.iter(f"{NS}path") if "C" in each.get("d")]


def test_groups_channels_and_connections_have_a_lane_each():
    """From left to right: a group with its size, a channel with what waits, a connection with path and state."""
    tree = draw(socket(1, "room", waiting=3), socket(2, "room"))
    found = words(tree)
    assert found[:4] == ["InMemoryChannelLayer: 1 group, 2 channels", "groups", "channels", "connections"]
    assert found[4:6] == ["room", "2 channels"]
    assert found[6:] == [
        *("channel of ws-1", "3 of 100 waiting", "ws-1", "/ws/room/", "open"),
        *("channel of ws-2", "0 of 100 waiting", "ws-2", "/ws/room/", "open"),
    ]
    assert lines(tree) == ["line layer"] * 2


def test_the_picture_describes_itself():
    """A screen reader is told what the picture is and how much is in it."""
    tree = draw(socket(1, "room"), others=[Layer("RedisChannelLayer", "chat")])
    labels = {each.get("id"): each.text for each in tree if each.get("id")}
    assert labels["lab-title"] == "The channel layer"
    assert labels["lab-desc"] == (
        "InMemoryChannelLayer: 1 group, 1 channel; RedisChannelLayer 'chat': 0 groups, 0 channels"
    )


def test_what_is_full_and_what_was_dropped_is_said():
    """A chip for each, beside the full bar; colour is not the only sign."""
    found = words(draw(socket(1, waiting=100, dropped=1025)))
    assert {"full", "1,025 dropped", "100 of 100 waiting"} <= set(found)
    assert "dropped" not in " ".join(words(draw(socket(1, waiting=100))))


def test_a_bar_grows_with_what_waits():
    """One message can be seen, and no bar is longer than its place."""
    tree = draw(*(socket(1, waiting=n, capacity=c) for n, c in ((0, 10), (1, 1000), (5, 10), (10, 10), (4, 0))))
    bars = [each for each in tree.iter(f"{NS}rect") if each.get("height") == "9"]
    places = [each.get("width") for each in bars if each.get("class") == "lane"]
    assert [each.get("width") for each in bars if each.get("class") != "lane"] == ["3", "42", "84", "84"]
    assert places == ["84"] * 5


def test_a_channel_that_outlives_its_connection_is_a_leak():
    """It is dashed, its line to the connection ends in a cross, and the word for it is there."""
    tree = draw(socket(1, "room", state="gone"), socket(2, "room"))
    assert {"gone", "connection over"} <= set(words(tree))
    assert lines(tree) == ["line crash", "line layer"] and "cross crash" in shapes(tree, "path")
    assert "chip refused" in shapes(tree, "rect") and "gone" not in words(draw(socket(1)))


def test_channels_of_no_connection_say_where_they_come_from():
    """A cell has its pill; a channel with a name of its own has none."""
    found = words(draw(Channel("cell", waiting=0, capacity=9), Channel(name="thumbnails", waiting=0, capacity=9)))
    assert found[-6:] == [
        *("cell", "made in a cell"),
        *("channel thumbnails", "0 of 9 waiting", "in no group", "named by the code: no connection"),
    ]


def test_what_is_not_counted_has_no_bar():
    """Where waiting messages are not known, no empty bar claims that there are none."""
    tree = draw(Channel("ws-1", path="/", state="open", groups=("room",)))
    assert {"waiting: not counted", LOCAL} <= set(words(tree))
    assert not [each for each in tree.iter(f"{NS}rect") if each.get("height") == "9"]


def test_an_empty_layer_is_a_sentence():
    """No lanes with nothing in them, but a next step."""
    assert words(draw()) == ["InMemoryChannelLayer: 0 groups, 0 channels", EMPTY]


def test_many_lines_are_fainter():
    """Where lines lie upon one another, they let each other through."""
    few, many = draw(socket(1, "a")), draw(*(socket(n, "a", "b") for n in range(30)))
    assert [tree.find(f"{NS}g").get("stroke-opacity") for tree in (few, many)] == ["1", "0.6"]
    assert len(lines(many)) == 60


@pytest.mark.parametrize("channels", [30, 3])
def test_no_two_boxes_of_a_lane_overlap(channels):
    """Groups stand near their members, and as many below one another as there are."""
    rows = [socket(n, "all", f"user.{n}", f"x.{n % 2}") for n in range(channels)]
    tree = draw(*rows)
    tops = sorted(int(each.get("y")) for each in tree.iter(f"{NS}rect") if each.get("width") == "200")
    assert len(tops) == min(30, channels + 3) and all(b - a >= 44 for a, b in zip(tops, tops[1:], strict=False))
    assert tops[0] > 0 and tops[-1] + 44 < int(tree.get("viewBox").split()[3])


def test_the_same_state_gives_the_same_bytes():
    """A picture can be stored and compared."""
    assert svg([CLASS]) == svg([CLASS])


anything = st.builds(
    Channel,
    connection=st.sampled_from(["ws-1", "cell", "gone"]) | st.text(),
    name=st.text(max_size=40),
    path=st.text(),
    state=st.sampled_from(["", "open", "gone"]),
    groups=st.lists(st.text(min_size=1), unique=True, max_size=4).map(tuple),
    waiting=st.integers(0, 200),
    capacity=st.integers(0, 100),
    dropped=st.integers(0, 10**9),
)


@given(st.lists(anything, max_size=35))
def test_any_layer_is_a_picture(channels):
    """Whatever it holds, the picture is well-formed XML that can be encoded."""
    ElementTree.fromstring(svg([Layer("x", channels=tuple(channels))]).encode())
