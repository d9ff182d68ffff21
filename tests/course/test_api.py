"""What a learner calls."""

import json

import pytest

from labserver import check, hint, progress, reset, solution
from labserver.course import api
from labserver.errors import ExerciseError


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """A learner who has done nothing yet."""
    monkeypatch.setenv("LABSERVER_STATE", str(tmp_path / "state"))


GUESS = ["connect", "accept", "send", "close"]


def test_a_check_counts_as_a_try():
    """Tries and passes are remembered; looking at an untouched exercise is no try."""
    assert check("01.1", [...]).outcome == "unattempted"
    assert "lesson 01  ·····" in str(progress())
    assert check("01.1", []).outcome == "wrong"
    assert "lesson 01  ○····" in str(progress())
    assert check("01.1", GUESS).outcome == "passed"
    assert "lesson 01  ✓····" in str(progress())


def test_hints_are_a_ladder():
    """Each call gives the next hint; after the last one it stays, and says where the solution is."""
    said = [hint("01.1").text for _ in range(3)]
    assert said[0].startswith("Hint 1 of 2: ") and said[1].startswith("Hint 2 of 2: ") and said[2] == said[1]
    assert "solution('01.1')" in said[1] and "solution" not in said[0]


def test_the_solution_opens_after_three_tries_or_a_pass_or_by_force():
    """Before that it says what helps instead."""
    with pytest.raises(ExerciseError, match=r"a pass or 3 tries of 01\.1, found 0; hint"):
        solution("01.1")
    for _ in range(3):
        check("01.1", [])
    shown = solution("01.1")
    assert '"accept"' in repr(shown) and "SOLUTION" not in shown.text
    assert shown._repr_mimebundle_()["text/html"].startswith("<pre>prediction = [")
    assert "return" in solution("01.2", force=True).text


def test_a_solution_that_is_not_installed_is_said(tmp_path, monkeypatch):
    """Without the course's folder, or without a tagged cell in it, the error says where solutions are."""
    monkeypatch.setattr(api, "SOLUTIONS", tmp_path)
    (tmp_path / "01_x.ipynb").write_text(json.dumps({"cells": [{"source": ["x"], "metadata": {}}]}))
    with pytest.raises(ExerciseError, match=r"a solution of 01\.1 in .* found none"):
        solution("01.1", force=True)


def test_reset_forgets():
    """After a reset nothing has been tried."""
    check("01.1", GUESS)
    assert str(reset("01")) == "Forgotten: 01.1."
    assert str(reset("99")) == "Forgotten: nothing, for nothing was tried."
    assert "lesson 01  ·····" in str(progress())


def test_unknown_ids_are_errors():
    """An id that is not there is said at once by every function."""
    for call in (lambda: check("7", 1), lambda: hint("7"), lambda: solution("7")):
        with pytest.raises(ExerciseError, match="expected the id of an exercise, found '7'"):
            call()
