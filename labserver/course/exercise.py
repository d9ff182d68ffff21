"""An exercise: what it asks, how its answer is judged, and which wrong answers it must tell apart.

Room: values, and the catalogue of all exercises, read from `checks/lesson_NN.py`. Running an answer is `judge`.
"""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from labserver.errors import ExerciseError
from labserver.live.server import configure_django

CATALOGUE = "labserver.course.checks"


class Misconception(Exception):
    """Raised by a check: the answer shows this misunderstanding.

    name: the misconception in a few words, the same for each answer that shows it.
    found: what the answer did, as the trace shows it. step: one thing to do next. lines: the learner's own, if the
    fault can be found in some.
    """

    def __init__(self, name: str, found: str, step: str, lines: Iterable[str] = ()):
        super().__init__(name)
        self.name = name
        self.found = found
        self.step = step
        self.lines = tuple(lines)


@dataclass(frozen=True)
class Exercise:
    """One exercise of a lesson; made by `exercise`, above the function that checks an answer.

    id: `"01.2"`, the second of lesson 01. goal: one sentence. minutes: how long it takes. hints: a ladder, each of
    about forty words. check: awaited with the answer and a `bench.Bench`; raises Misconception, or returns if the
    answer is right: nothing, or lines to show. planted: wrong answers that people give, each after the name of the
    misconception it shows.
    """

    id: str
    title: str
    goal: str
    minutes: int
    hints: tuple[str, ...]
    check: Callable[[Any, Any], Awaitable[Iterable[str] | None]]
    planted: list[tuple[str, Any]] = field(default_factory=list)

    def wrong(self, misconception: str) -> Callable[[Any], Any]:
        """Plant a wrong answer: the decorated function is one that shows this misconception."""

        def plant(answer: Any) -> Any:
            self.planted.append((misconception, answer))
            return answer

        return plant


def exercise(id: str, *, title: str, goal: str, minutes: int, hints: tuple[str, ...]) -> Callable[..., Exercise]:
    """Make an exercise of the function that checks its answer."""

    def make(check: Callable[[Any, Any], Awaitable[Iterable[str] | None]]) -> Exercise:
        return Exercise(id, title, goal, minutes, hints, check)

    return make


@cache
def catalogue() -> dict[str, Exercise]:
    """Every exercise by its id, in order."""
    configure_django()  # checks are written with consumers, routes and models
    package = importlib.import_module(CATALOGUE)
    modules = [importlib.import_module(f"{CATALOGUE}.{found.name}") for found in pkgutil.iter_modules(package.__path__)]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Exercise)]
    return {each.id: each for each in sorted(found, key=lambda each: each.id)}


def find(id: str) -> Exercise:
    """The exercise of that id; raises ExerciseError."""
    __tracebackhide__ = True
    known = catalogue()
    if id not in known:
        raise ExerciseError(f"expected the id of an exercise, found {id!r}; they are {', '.join(known)}")
    return known[id]
