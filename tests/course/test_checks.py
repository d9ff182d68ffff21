"""Every exercise keeps its promise: starter, solution, planted mistakes, hints; and nothing stands alone."""

import inspect
import json
import re
from pathlib import Path

import pytest
from django.urls import path

from labserver.course.exercise import catalogue
from labserver.course.judge import judge

ROOT = Path(__file__).parents[2]
EXERCISES = catalogue().values()
CHECK = re.compile(r'^check\("(\d\d\.\d+)", (\w+)\)$', re.M)


def cells(folder, lesson):
    """The code cells of a lesson's exercises."""
    (notebook,) = (ROOT / folder).glob(f"{lesson}_*.ipynb")
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def answer(folder, exercise):
    """What a notebook hands to the check of this exercise."""
    all_cells = cells(folder, exercise.id.partition(".")[0])
    names = {"__name__": "answers"}  # of the module that classes say they are from
    for cell in all_cells:
        given = cell["id"] == "setup" or cell["id"].startswith("given-")
        if given or exercise.id in cell["metadata"].get("tags", ()):
            exec(compile("".join(cell["source"]), _readable(cell), "exec"), names)
    called = dict(CHECK.findall("\n".join("".join(cell["source"]) for cell in all_cells)))
    return names[called[exercise.id]]


def _readable(cell):
    """A file name under which Python finds the cell's source, as IPython does for its cells."""
    import linecache

    source, name = "".join(cell["source"]), f"<{cell['id']}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return name


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_the_starter_is_unattempted_and_the_solution_passes(exercise):
    """Who has not begun is told so, and the solution is right."""
    assert judge(exercise, answer("exercises", exercise)).outcome == "unattempted"
    assert judge(exercise, answer("solutions", exercise)).outcome == "passed"


@pytest.mark.parametrize(
    ("exercise", "name", "planted"),
    [pytest.param(each, *planted, id=f"{each.id} {planted[0]}") for each in EXERCISES for planted in each.planted],
)
def test_each_planted_mistake_is_named(exercise, name, planted):
    """A wrong answer that people give is wrong, by the name of its misconception."""
    result = judge(exercise, planted)
    assert (result.outcome, result.name) == ("wrong", name)
    assert result.found and result.step


class Crash(Exception):
    """What every crashing answer raises."""


async def crash(*arguments):
    """An application, or the method of one."""
    raise Crash("on purpose")


class Number(int):
    """A number that cannot be compared."""

    def __eq__(self, other):
        raise Crash("on purpose")

    __hash__ = int.__hash__


class Guesses(list):
    """A list that cannot be read."""

    def __iter__(self):
        raise Crash("on purpose")


def crashing(right):
    """An answer of the same kind as this right one, that raises when the check uses it."""
    if inspect.isclass(right):
        return type("Crashing", (right,), {"connect" if hasattr(right, "as_asgi") else "__call__": crash})
    if isinstance(right, int):
        return Number(right)
    if isinstance(right, list) and hasattr(right[0], "callback"):
        return [path(str(each.pattern), crash) for each in right]
    return Guesses(right) if isinstance(right, list) else crash


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_a_crash_is_called_a_crash(exercise):
    """An answer that raises is no misconception: its error is named, with where it came from."""
    result = judge(exercise, crashing(answer("solutions", exercise)))
    assert (result.outcome, result.name, result.found) == ("crashed", "Crash", "on purpose")
    assert result.lines[-1].endswith('raise Crash("on purpose")')


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_an_exercise_is_whole(exercise):
    """It has a goal in one sentence, minutes, one to three hints that say something, and a planted mistake."""
    assert ". " not in exercise.goal and exercise.goal.endswith(".")
    assert 1 <= exercise.minutes <= 20 and 1 <= len(exercise.hints) <= 3 and exercise.planted
    assert all(40 <= len(hint) <= 300 for hint in exercise.hints)


def test_nothing_stands_alone():
    """Each exercise has its cell and its check in a notebook, and each notebook's checks have an exercise."""
    for folder in ("solutions", "exercises"):
        called, tagged = set(), set()
        for notebook in (ROOT / folder).glob("*.ipynb"):
            for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
                called |= {id for id, _ in CHECK.findall("".join(cell["source"]))}
                tagged |= {tag for tag in cell["metadata"].get("tags", ()) if re.fullmatch(r"\d\d\.\d+", tag)}
        assert called == tagged == set(catalogue())
