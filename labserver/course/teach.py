"""`labserver teach`: for instructors, a page to print, slides, or a copy of a lesson that ends early.

Room: asks the checks what they tell apart, and writes files into one folder; what is in them, the other modules whose
names begin with `teach` say. The originals are read alone.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from labserver.errors import FolderError

from . import teach_cut, teach_page, teach_slides
from .exercise import Exercise, catalogue
from .judge import judge
from .teach_lesson import COURSE, Lesson, LessonError, find, read
from .teach_page import Mistakes

SLIP = re.compile(r"(?:not an?|not one|another) ")
"""How names begin that tell of a slip rather than of a misunderstanding: nothing to expect, and to prepare for."""


def run(lessons: Sequence[str], *, slides: bool, until: str | None, out: str) -> int:
    """The command: write what is asked for into the folder `out`; returns the exit status.

    Raises LessonError if a lesson or a section is not there, and FolderError if a file cannot be written.
    """
    if until is not None and len(lessons) != 1:
        raise LessonError(f"expected one lesson with --until, found {len(lessons)}; for example: teach 03 --until 4")
    files = find(lessons, COURSE / "notebooks")
    if until is not None:
        _store(*teach_cut.cut(files[0], until, Path(out)))
    elif slides:
        for path in files:
            _store(Path(out) / f"{path.stem}_slides.html", teach_slides.deck(read(path)))
    else:
        name = f"{files[0].stem}_page.html" if lessons and len(files) == 1 else "pages.html"
        _store(Path(out) / name, teach_page.pages([(each, expected(each)) for each in map(read, files)]))
    return 0


def expected(lesson: Lesson) -> list[Mistakes]:
    """What the checks of this lesson's exercises tell apart; asks them, which takes ten seconds for some lessons."""
    exercises = [each for each in catalogue().values() if each.id.startswith(f"{lesson.number}.")]
    print(f"lesson {lesson.number}: asking the checks of {len(exercises)} exercises what they say", flush=True)
    return [Mistakes(each.id, each.title, each.minutes, _steps(each)) for each in exercises]


def _steps(exercise: Exercise) -> dict[str, str]:
    """Each misconception with the next step that a learner is told."""
    first = dict(reversed(exercise.planted))  # wrong answers; there may be several of a name
    names = dict.fromkeys(name for name, _ in exercise.planted)
    return {name: _step(exercise, name, first[name]) for name in names if not SLIP.match(name)}


def _step(exercise: Exercise, name: str, answer: object) -> str:
    """What the check tells; an empty text where this machine is too slow or too busy for the check to see it."""
    result = judge(exercise, answer)
    return result.step if result.name == name else ""


def _store(path: Path, content: str) -> None:
    """Write a file, and say so; ours are replaced, but for notebooks, in which somebody may have worked."""
    data = content.encode()
    try:
        if path.exists() and path.read_bytes() != data and teach_page.GENERATOR.encode() not in path.read_bytes():
            raise FolderError(
                f"expected no {path}, or one that `labserver teach` has written and nobody has changed, found another; "
                "move it away, or name another folder with --out"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise FolderError(f"expected to write {path}, found: {error}; name another folder with --out") from error
    print(f"written: {path}", flush=True)
