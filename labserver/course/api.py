"""What a learner calls: `check`, `hint`, `solution`, `progress`, `reset`.

Room: joins the catalogue (`exercise`), the judge and the learner's state (`progress`); the only place that knows where
solutions are kept.
"""

import html
import json
from pathlib import Path
from typing import Any

from labserver.errors import ExerciseError

from . import judge
from .exercise import catalogue, find
from .progress import Progress, Record, State

SOLUTIONS = Path(__file__).parents[2] / "solutions"
"""The notebooks that hold the solutions; a cell that is tagged with an exercise's id belongs to it."""

TRIES = 3
"""After this many tries the solution may be seen."""


class Words:
    """A text for the learner; a notebook shows it as it stands."""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": self.text, "text/html": f"<pre>{html.escape(self.text)}</pre>"}


def check(id: str, answer: Any) -> judge.Result:
    """Judge an answer to an exercise, for example `check("01.2", shout)`; within about three seconds.

    Returns a Result whose `outcome` is `passed`, `wrong`, `crashed` or `unattempted`. Raises ExerciseError for an
    unknown id, and nothing for whatever the answer does.
    """
    __tracebackhide__ = True
    result = judge.judge(find(id), answer)
    if result.outcome != "unattempted":
        State().tried(id, result.outcome == "passed")
    return result


def hint(id: str) -> Words:
    """The next hint to an exercise; after the last one, that again. Raises ExerciseError for an unknown id."""
    __tracebackhide__ = True  # IPython shows the learner's own line instead of this one
    hints = find(id).hints
    number = min(State().hinted(id), len(hints))
    record = State().record(id)
    when = "is open" if _is_open(record) else f"opens after {TRIES} tries, or a pass"
    more = "" if number < len(hints) else f"\nThat was the last one. solution({id!r}) {when}."
    return Words(f"Hint {number} of {len(hints)}: {hints[number - 1]}{more}")


def solution(id: str, *, force: bool = False) -> Words:
    """A solution, after a pass or three tries; at once with `force=True`, for instructors.

    Raises ExerciseError for an unknown id, before the time, and where the solutions are not installed.
    """
    __tracebackhide__ = True
    find(id)
    record = State().record(id)
    if not (force or _is_open(record)):
        raise ExerciseError(
            f"expected a pass or {TRIES} tries of {id}, found {record.tries}; hint({id!r}) helps without giving it away"
        )
    for notebook in sorted(SOLUTIONS.glob(f"{id.partition('.')[0]}_*.ipynb")):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if id in cell["metadata"].get("tags", ())]
        if sources:
            State().revealed(id)
            return Words("\n\n".join(_without_markers(source) for source in sources))
    raise ExerciseError(
        f"expected a solution of {id} in {SOLUTIONS.name}/ beside the package, found none; it comes with the course's "
        "folder, not with an installed package"
    )


def progress() -> Progress:
    """How far you are: a bar for each lesson."""
    lessons: dict[str, list[tuple[str, str]]] = {}
    for each in catalogue().values():
        lessons.setdefault(f"lesson {each.id.partition('.')[0]}", []).append((each.id, each.title))
    return Progress(lessons, State.load())


def reset(id_or_lesson: str | None = None) -> Words:
    """Forget the tries of an exercise (`"01.2"`), of a lesson (`"01"`), or all of them; says which those were."""
    return Words(f"Forgotten: {', '.join(State().reset(id_or_lesson)) or 'nothing, for nothing was tried'}.")


def _is_open(record: Record) -> bool:
    return record.passed or record.tries >= TRIES


def _without_markers(source: str) -> str:
    return "\n".join(line for line in source.split("\n") if not line.lstrip().startswith("### "))
