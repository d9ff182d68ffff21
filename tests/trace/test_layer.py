"""The channel layer at one moment, as values and as text."""

import pytest

from labserver.trace.layer import DRAWN, EMPTY, LOCAL, UNSET, WIDTH, Channel, Layer, fit


def socket(connection, *groups, waiting=0, **more):
    """The channel of an open connection."""
    about = {"connection": f"ws-{connection}", "path": "/ws/room/", "state": "open", "capacity": 100, **more}
    return Channel(groups=groups, waiting=waiting, **about)


CLASS = Layer(
    "InMemoryChannelLayer",
    channels=(
        socket(1, "room.blue"),
        socket(1, number=2),
        socket(2, "room.blue", "room.red", waiting=100, dropped=1025),
        socket(3, "room.red", waiting=1, state="gone"),
        Channel("gone", number=2, groups=("room.red",), state="gone", waiting=0, capacity=100),
        Channel("cell", groups=("room.red",), waiting=2, capacity=100),
        Channel(name="thumbnails", waiting=7, capacity=100),
    ),
)


def test_the_values_go_by_the_names_of_connections():
    """Groups, waiting and dropped messages are dictionaries that a learner can read and a test can compare."""
    assert CLASS.groups == {"room.blue": ("ws-1", "ws-2"), "room.red": ("ws-2", "ws-3", "gone (2)", "cell")}
    assert CLASS.waiting == {"ws-2": 100, "ws-3": 1, "cell": 2, "thumbnails": 7}
    assert CLASS.dropped == {"ws-2": 1025}
    assert [channel.id for channel in CLASS.channels][:2] == ["ws-1", "ws-1 (2)"]


def test_the_text_says_all_that_the_picture_shows():
    """Groups with their members, channels with what waits and what was lost, connections with what became of them."""
    assert str(CLASS).splitlines() == [
        "InMemoryChannelLayer: 2 groups, 7 channels",
        "groups",
        "  room.blue  ws-1, ws-2",
        "  room.red   ws-2, ws-3, gone (2), cell",
        "channels",
        "  channel of ws-1                     0 of 100 waiting                         open  /ws/room/",
        "  channel 2 of ws-1                   0 of 100 waiting                         open  /ws/room/",
        "  channel of ws-2                     100 of 100 waiting: full, 1,025 dropped  open  /ws/room/",
        "  channel of ws-3                     1 of 100 waiting                         gone: its connection…",
        "  channel 2 of an earlier connection  0 of 100 waiting                         gone: its connection…",
        "  channel of a cell                   2 of 100 waiting                         made in a cell",
        "  channel thumbnails                  7 of 100 waiting                         named by the code: n…",
    ]
    assert repr(CLASS) == "<Layer InMemoryChannelLayer: 2 groups, 7 channels>"


def test_an_empty_layer_says_what_to_do():
    """Nothing to show is a next step; a project without any layer gets another one."""
    assert str(Layer("InMemoryChannelLayer")) == f"InMemoryChannelLayer: 0 groups, 0 channels\n{EMPTY}"
    assert str(Layer("")) == f"No channel layer: 0 groups, 0 channels\n{UNSET}"


def test_channels_without_a_group_are_shown():
    """A channel needs no group, and its lane says that there is none."""
    assert str(Layer("InMemoryChannelLayer", channels=(socket(1),))).splitlines()[1:4] == [
        "groups",
        "  none",
        "channels",
    ]


def test_what_is_not_counted_is_no_zero():
    """A Redis layer does not tell how many messages wait: said in words, and left out of the values."""
    layer = Layer("RedisPubSubChannelLayer", channels=(Channel("ws-1", path="/", state="open", groups=("room",)),))
    assert "channel of ws-1  waiting: not counted  open  /" in str(layer) and str(layer).endswith(LOCAL)
    assert layer.waiting == {} and not layer.channels[0].full


def test_a_channel_without_a_limit_is_never_full():
    """A capacity of 0 means as many as there are."""
    assert not Channel("ws-1", waiting=3, capacity=0).full
    assert Channel("ws-1", waiting=3, capacity=3).full


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([socket(n, "room") for n in range(40, 310)], "and 270 more channels"),
        ([socket(40, "room")], "and 1 more channel"),
        (
            [socket(n, "room", waiting=100) for n in (40, 41, 42)] + [socket(43, "room", state="gone")],
            "and 4 more channels, 3 of them full, 1 of them gone",
        ),
    ],
)
def test_many_channels_are_counted(more, said):
    """The first ones are shown; of the rest it is said how many there are, and what is wrong with them."""
    layer = Layer("InMemoryChannelLayer", channels=(*(socket(n, "room") for n in range(DRAWN)), *more))
    lines = str(layer).splitlines()
    assert lines[-1] == said and sum(" waiting" in line for line in lines) == DRAWN
    assert f"ws-5 and {DRAWN + len(more) - 6} more" in lines[2]


def test_many_groups_are_counted():
    """Groups that stand beside no shown channel, and those beyond what fits, are counted."""
    one = Layer("InMemoryChannelLayer", channels=(socket(1, *(f"room.{n:03}" for n in range(DRAWN + 5))),))
    assert str(one).splitlines()[-1] == "and 5 more groups" and len(one.shown) == DRAWN
    each = Layer("InMemoryChannelLayer", channels=tuple(socket(n, f"user.{n}") for n in range(DRAWN + 1)))
    assert str(each).splitlines()[-2:] == ["and 1 more channel", "and 1 more group"]


def test_groups_stand_beside_their_members():
    """From top to bottom in the order of the channels that they join, so that few lines cross."""
    layer = Layer("x", channels=(socket(1, "z", "y"), socket(2, "a", "y"), socket(3, "a")))
    assert layer.shown == ["z", "y", "a"] and list(layer.groups) == ["a", "y", "z"]


def test_layers_under_other_names_follow():
    """Each has its title, with its alias; the values are those of the first."""
    both = Layer("InMemoryChannelLayer", channels=(socket(1, "a"),), others=(Layer("RedisChannelLayer", "chat"),))
    assert "\n\nRedisChannelLayer 'chat': 0 groups, 0 channels\n" in str(both) and both.groups == {"a": ("ws-1",)}
    assert "RedisChannelLayer &#x27;chat&#x27;" in both._repr_mimebundle_()["image/svg+xml"]


def test_no_line_is_too_wide():
    """Long names of groups, channels and paths are shortened, whatever is in them."""
    name = "organisation.42." + "x" * 80 + ".red"
    rows = (socket(1, name, path="/ws/" + "ü日\n" * 60), Channel(name=name, waiting=0, capacity=9, groups=(name,)))
    lines = str(Layer("InMemoryChannelLayer", channels=rows)).splitlines()
    assert max(map(len, lines)) <= WIDTH and lines[2].startswith(
        "  organisation.42.xxxxxxxxxx…xxxxxxxxx.red  ws-1, organi"
    )


def test_a_name_is_shortened_in_the_middle():
    """Names of groups often differ at their end."""
    assert fit("room.blue", 9) == "room.blue" and fit("room.lilac", 9) == "room.…lac"


def test_a_notebook_gets_text_and_a_picture():
    """Both forms of the same moment; the same bytes whenever somebody looks again."""
    bundle = CLASS._repr_mimebundle_()
    assert bundle["text/plain"] == str(CLASS) and bundle["image/svg+xml"].startswith("<svg ")
    assert bundle == CLASS._repr_mimebundle_()
