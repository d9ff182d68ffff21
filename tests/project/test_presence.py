"""Entries of tabs in Django's cache: one place for each, leases, and what a place that was lost means."""

import pytest

from labserver.live.server import configure_django
from labserver.project.chat import presence

USER = 7


@pytest.fixture(autouse=True)
def empty():
    """A cache without entries, before and after."""
    configure_django()
    from django.core.cache import cache

    cache.clear()
    yield cache
    cache.clear()


def test_each_tab_has_a_place_of_its_own():
    """Two tabs of a user are two entries; the channels of both are found, those of others are not."""
    first, second = presence.enter(USER, "a"), presence.enter(USER, "b")
    presence.enter(8, "c")
    assert first != second
    assert presence.channels(USER) == ["a", "b"]
    presence.leave("a", first)
    assert presence.channels(USER) == ["b"]
    assert presence.enter(USER, "d") == first  # a place that is free again is taken again


def test_places_are_limited():
    """A user who holds all places gets none."""
    for number in range(presence.TABS):
        assert presence.enter(USER, str(number))
    assert presence.enter(USER, "one too many") is None


def test_a_place_is_left_by_its_own_tab_only():
    """An old tab that leaves late does not take away what belongs to another one by now; no place is no error."""
    place = presence.enter(USER, "new")
    presence.leave("old", place)
    presence.leave("new", None)
    assert presence.channels(USER) == ["new"]


def test_a_lost_place_is_taken_again(empty):
    """A renewal says whether the entry was still there, and makes another one if not."""
    place = presence.enter(USER, "a")
    assert presence.renew(USER, "a", place) == (place, True)
    empty.clear()
    assert presence.enter(USER, "b") == place  # meanwhile it belongs to somebody else
    again, kept = presence.renew(USER, "a", place)
    assert not kept and again != place
    assert sorted(presence.channels(USER)) == ["a", "b"]


def test_without_redis_there_is_one_life():
    """A cache within this process lives as long as it."""
    assert presence.life() is None
