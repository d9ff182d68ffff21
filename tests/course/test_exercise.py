"""The catalogue of exercises."""

import pytest

from labserver.course.exercise import catalogue, exercise, find
from labserver.errors import ExerciseError


def test_the_catalogue_is_in_order():
    """Exercises stand by their ids, in order, each under its own."""
    found = catalogue()
    assert list(found) == sorted(found) and all(each.id == id for id, each in found.items())
    assert "01.1" in found


def test_an_unknown_id_names_the_known_ones():
    """Asking for an exercise that is not there says which there are."""
    with pytest.raises(ExerciseError, match=r"found '01\.99'; they are 00\.1, 00\.2"):
        find("01.99")
    assert find("01.2").title == "Shout"


def test_wrong_answers_are_planted_beside_the_check():
    """A planted answer is kept under its misconception, and stays usable itself."""

    @exercise("99.1", title="t", goal="g", minutes=1, hints=("h",))
    async def check(answer, bench):
        pass

    planted = object()
    assert check.wrong("a mistake")(planted) is planted
    assert check.planted == [("a mistake", planted)]
