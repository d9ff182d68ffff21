"""Every exercise keeps its promise: starter, solution, planted mistakes, hints; and nothing stands alone."""

import json
import re
from pathlib import Path

import pytest

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
    names = {}
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
    ("exercise", "name"),
    [(each, name) for each in EXERCISES for name in each.planted],
    ids=lambda x: getattr(x, "id", x),
)
def test_each_planted_mistake_is_named(exercise, name):
    """A wrong answer that people give is wrong, by the name of its misconception."""
    result = judge(exercise, exercise.planted[name])
    assert (result.outcome, result.name) == ("wrong", name)
    assert result.found and result.step


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_an_exercise_is_whole(exercise):
    """It has a goal in one sentence, minutes, one to three hints that say something, and a planted mistake."""
    assert exercise.goal.count(".") == 1 and exercise.goal.endswith(".")
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
