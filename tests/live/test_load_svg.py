"""Loads side by side, as text and as a picture."""

import xml.etree.ElementTree as ElementTree

from labserver.live.load import Load
from labserver.live.load_svg import ratio, svg, text

LOADS = [
    Load("daphne", 50, 50, 2000.4, 20.0, 40.0),
    Load("gunicorn, 2 workers", 50, 50, 5000.0, 8.04, 10.0, {}, 0.95),
    Load("<nginx>", 50, 48, 1000.0, 30.0, 80.0, {"closed by the server with code 1012": 2}),
    Load("nobody", 1500, 0, 0.0, None, None, {"not connected: ConnectionRefusedError": 1500}),
]


def words(source):
    """The texts of a picture, in order."""
    return [
        "".join(each.itertext()) for each in ElementTree.fromstring(source).iter("{http://www.w3.org/2000/svg}text")
    ]


def bars(source):
    """How long the bars are, in order."""
    found = ElementTree.fromstring(source).iter("{http://www.w3.org/2000/svg}rect")
    return [int(each.get("width")) for each in found if "head" in each.get("class")]


def test_the_text_has_a_line_for_each():
    """Values and their ratio to the first row stand in columns, what went wrong stands below."""
    assert text(LOADS).splitlines() == [
        "                     connections held  messages            median  99 % within",
        "daphne                       50 of 50   2,000/s  1.00×    20.0 ms      40.0 ms  1.00×",
        "gunicorn, 2 workers          50 of 50   5,000/s  2.50×     8.0 ms      10.0 ms  0.25×",
        "  the clients alone took 95% of a processor: the server may carry more",
        "<nginx>                      48 of 50   1,000/s  0.50×    30.0 ms      80.0 ms  2.00×",
        "  ✗ closed by the server with code 1012: 2",
        "nobody                     0 of 1,500       0/s  0.00×  no answer    no answer      –",
        "  ✗ not connected: ConnectionRefusedError: 1,500",
    ]


def test_the_picture_says_the_same():
    """All is there in words, so that colour and length are never the only sign."""
    assert words(svg(LOADS)) == [
        *("Load", "as ratios to the first row", "messages per second", "more is better"),
        *("99 % answered within", "less is better", "held"),
        *("daphne", "1.00× 2,000/s", "1.00× 40.0 ms", "50 of 50"),
        *("gunicorn, 2 workers", "2.50× 5,000/s", "0.25× 10.0 ms", "50 of 50"),
        "the clients alone took 95% of a processor: the server may carry more",
        *("<nginx>", "0.50× 1,000/s", "2.00× 80.0 ms", "✗ 48 of 50", "✗ closed by the server with code 1012: 2"),
        *("nobody", "0.00× 0/s", "– no answer", "✗ 0 of 1,500"),
        "✗ not connected: ConnectionRefusedError: 1,500",
    ]


def test_bars_are_as_long_as_their_share():
    """The longest one of each column fills it; nothing is a hair."""
    assert bars(svg(LOADS)) == [60, 75, 150, 19, 30, 150, 1, 1]


def test_a_first_row_without_an_answer_has_no_ratios():
    """Nothing is divided by nothing, and no mark is drawn."""
    picture = svg([LOADS[3]])
    assert 'class="life"' not in picture
    assert bars(picture) == [1, 1]
    assert "– no answer" in words(picture)
    assert [ratio(2, 1), ratio(2, 0), ratio(2, None), ratio(None, 1)] == ["2.00×", "–", "–", "–"]


def test_the_picture_is_the_same_each_time_and_for_both_themes():
    """Its bytes depend on the values alone; it brings its colours, for light and dark."""
    assert svg(LOADS) == svg(list(LOADS))
    assert "prefers-color-scheme:dark" in svg(LOADS)


def test_no_load_at_all():
    """It says that there is nothing."""
    assert text([]) == "Nothing was measured."
    assert "Nothing was measured." in words(svg([]))
