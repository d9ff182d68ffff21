"""Columns side by side: as a picture, and as text."""

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labserver.trace import payload
from labserver.trace.compare_svg import COLUMNS, HEAD, NOTHING, TAIL, Line, side_by_side, text

from .test_svg import NS, shapes, words

NAMES = ("recorded", "replayed")
SAME, OTHER = Line(("accept", "accept")), Line(("close 4003", "refused 403"), True, "There is no WebSocket yet.")


def draw(*rows, columns=NAMES, summary="1 difference"):
    """The picture as a tree."""
    return ElementTree.fromstring(side_by_side("A replay", summary, columns, rows))


def places(tree, *said):
    """Where each of these texts stands."""
    found = {"".join(each.itertext()): (int(each.get("x")), int(each.get("y"))) for each in tree.iter(f"{NS}text")}
    return [found[each] for each in said]


def test_cells_stand_side_by_side_under_their_names():
    """One line for each row, one place for each column, the note below its row."""
    tree = draw(SAME, OTHER)
    assert words(tree) == [
        *("A replay", "1 difference", *NAMES, "accept", "accept"),
        *("≠", "close 4003", "refused 403", "There is no WebSocket yet."),
    ]
    sign, one, two, note = places(tree, "≠", "close 4003", "refused 403", "There is no WebSocket yet.")
    assert sign[0] < one[0] < two[0] and one[1] == two[1] < note[1] and one[0] == note[0]


def test_what_differs_is_marked_by_more_than_a_colour():
    """A sign and a frame; what is the same has neither."""
    assert shapes(draw(SAME), "rect") == ["card", "lane", "lane"]
    assert shapes(draw(OTHER), "rect") == ["card", "lane", "lane", "lane", "chip refused"]


def test_the_picture_describes_itself():
    """A screen reader is told what is compared and what came of it; without a summary nothing stands in its place."""
    labels = {each.get("id"): each.text for each in draw(SAME) if each.get("id")}
    assert labels == {"lab-title": "A replay", "lab-desc": "1 difference"}
    assert words(draw(SAME, summary="")) == ["A replay", *NAMES, "accept", "accept"]


def test_what_is_long_is_broken_and_cut():
    """Three lines a cell, and the next row begins below them."""
    tree = draw(Line(("x" * 500, "short")), SAME)
    long = [each for each in words(tree) if each.startswith("xx")]
    assert len(long) == 3 and long[-1].endswith("…")
    assert places(tree, long[-1])[0][1] < places(tree, "accept")[0][1]


def test_nothing_to_compare_is_said():
    """No rows: a line of words in their place."""
    assert words(draw())[-1] == NOTHING


def test_of_many_rows_the_middle_is_left_out():
    """How many, and how many of them differ, is said in the picture and in the text."""
    rows = [SAME] * HEAD + [SAME, OTHER] + [SAME] * TAIL
    assert "2 rows left out, 1 of them differ" in words(draw(*rows))
    lines = text(NAMES, rows).splitlines()
    assert lines[HEAD + 1] == "… 2 rows left out, 1 of them differ" and len(lines) == 1 + HEAD + 1 + TAIL


def test_the_text_has_a_sign_and_notes():
    """`≠` before what differs, the note below it, unless no notes are wanted."""
    expected = ["  recorded    replayed", "  accept      accept", "≠ close 4003  refused 403"]
    assert text(NAMES, [SAME, OTHER]).splitlines() == [*expected, "  └ There is no WebSocket yet."]
    assert text(NAMES, [SAME, OTHER], notes=False).splitlines() == expected


def test_a_long_note_goes_on_in_line():
    """The second line of a note stands below the first."""
    assert text(NAMES, [Line(("a", "b"), True, "word " * 30)]).splitlines()[-1].startswith("    word")


def test_a_row_with_a_cell_too_few_is_an_error():
    """It says how many columns there are, and what to do."""
    for make in (lambda rows: side_by_side("", "", NAMES, rows), lambda rows: text(NAMES, rows)):
        with pytest.raises(ValueError, match=r"a cell for each of 2 columns \(recorded, replayed\), found 1 in Line"):
            make([Line(("alone",))])


def test_nothing_in_it_differs_from_run_to_run():
    """Addresses, ports and control characters do not get in; markup is words."""
    row = Line(("<b> at 127.0.0.1:4711", "<object at 0x7f0000000000>\n"))
    assert words(draw(row, columns=("a & b", "c")))[2:] == [
        *("a & b", "c"),
        *("<b> at 127.0.0.1:PORT", "<object at 0x…>\\n"),
    ]


@given(
    st.lists(st.tuples(st.text(), st.text(), st.text(), st.booleans(), st.text()), max_size=4),
    st.text(),
)
def test_whatever_is_said_can_be_drawn(told, title):
    """Every text gives a well-formed picture, and lines that are not too wide."""
    rows = [Line(cells, differs, note) for *cells, differs, note in told]
    columns = ("communicator", "daphne", "uvicorn")
    ElementTree.fromstring(side_by_side(title, title, columns, rows))
    assert all(payload.columns(line) <= COLUMNS for line in text(columns, rows).splitlines())
