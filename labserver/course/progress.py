"""What the learner has done, kept between kernels, and its picture.

Room: one JSON file, `progress.json`, in the learner's data folder or in the folder that LABSERVER_STATE names, and
what stands beside it under the same name; its picture is `bars`. It keeps counts and
marks: no name of a person, no source code, no time. Nothing that is wrong with the file or its folder may break a
check: a broken file is set aside, and where nothing can be written this process remembers.

Two kernels may write at once. Each reads the file again, merges what it knows itself and replaces the file in one
step; what a race has lost comes back with the next write of the kernel that knows it. So that a reset does not come
back with it, the file counts the resets, and what is known from before the latest one is forgotten.
"""

import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import platformdirs

from . import bars
from .bars import Mark

VERSION = 1
"""Of the file's format."""

MOST_BROKEN = 20
"""Broken files that are kept beside the state; with one more, it is left where it is and nothing is written."""

EMPTY = "No exercises found: the catalogue is empty. Reinstall channels-lab, or write the first check: CONTRIBUTING.md."

_LARGEST = 10**9  # a count beyond it was not written by us, and one of some thousand digits could not be written again
_PAUSES = (0.01, 0.02, 0.04)  # on Windows a file cannot be replaced at the very moment that somebody reads it


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one exercise: tries, hints shown, whether it was passed, whether the solution was shown."""

    tries: int = 0
    hints: int = 0
    passed: bool = False
    solution: bool = False

    def merged(self, other: "Record") -> "Record":
        """The more of both."""
        return Record(*(max(getattr(self, each.name), getattr(other, each.name)) for each in fields(self)))


@dataclass(frozen=True, slots=True)
class _Content:
    """What the file holds."""

    resets: int = 0
    exercises: Mapping[str, Record] = field(default_factory=dict)

    def merged(self, other: "_Content") -> "_Content":
        """The one with the later reset; after the same reset, of each exercise the more of both."""
        if self.resets != other.resets:
            return max(self, other, key=lambda each: each.resets)
        both = {id: record.merged(self.exercises.get(id, Record())) for id, record in sorted(other.exercises.items())}
        return replace(self, exercises={**self.exercises, **both})


_lock = threading.Lock()  # checks run on threads
_memory: dict[Path, _Content] = {}  # by file, because LABSERVER_STATE may change
_warned: set[Path] = set()


def location() -> Path:
    """The state's file, as LABSERVER_STATE is now."""
    folder = os.environ.get("LABSERVER_STATE") or platformdirs.user_data_dir("channels-lab", appauthor=False)
    return Path(os.path.expanduser(folder), "progress.json")


class State:
    """What the learner has done. Every method looks at the file anew, for another kernel may have written it."""

    @classmethod
    def load(cls) -> "State":
        """The state, its file looked at: whatever is wrong with it is said now, on stderr. Never raises."""
        state = cls()
        state.records()
        return state

    def records(self) -> dict[str, Record]:
        """What is known of every exercise, by id; ids that no lesson has any more included."""
        with _lock:
            return dict(_known(location())[0].exercises)

    def record(self, id: str) -> Record:
        """What is known of one exercise."""
        return self.records().get(id, Record())

    def tried(self, id: str, passed: bool) -> Record:
        """Count a try; a pass stays one, whatever comes after it."""
        return self._update(id, lambda old: replace(old, tries=old.tries + 1, passed=old.passed or bool(passed)))

    def hinted(self, id: str) -> int:
        """Count a hint; returns how many have been shown now."""
        return self._update(id, lambda old: replace(old, hints=old.hints + 1)).hints

    def revealed(self, id: str) -> Record:
        """Note that the solution was shown."""
        return self._update(id, lambda old: replace(old, solution=True))

    def reset(self, id_or_lesson: str | None = None) -> tuple[str, ...]:
        """Forget an exercise (`"01.2"`), a lesson (`"01"`) or everything; returns the ids of what was forgotten."""
        gone: list[str] = []

        def forget(old: _Content) -> _Content:
            gone.extend(id for id in old.exercises if id_or_lesson in (None, id, id.partition(".")[0]))
            kept = {id: record for id, record in old.exercises.items() if id not in gone}
            return _Content(old.resets + 1, kept)

        _change(forget)
        return tuple(sorted(gone))

    def _update(self, id: str, act: Callable[[Record], Record]) -> Record:
        def update(old: _Content) -> _Content:
            return replace(old, exercises={**old.exercises, id: act(old.exercises.get(id, Record()))})

        return _change(update).exercises[id]


def _change(act: Callable[[_Content], _Content]) -> _Content:
    with _lock:
        file = location()
        known, writable = _known(file)
        _memory[file] = after = act(known)
        if writable:
            _write(file, after)
        return after


def _known(file: Path) -> tuple[_Content, bool]:
    """What the file and this process know together, and whether the file may be replaced."""
    found, writable = _read(file)
    _memory[file] = _memory.get(file, _Content()).merged(found)
    return _memory[file], writable


def _read(file: Path) -> tuple[_Content, bool]:
    """What the file holds, and whether it may be replaced: what cannot be read or set aside must not be lost."""
    try:
        raw = _patiently(file.read_bytes)
    except FileNotFoundError:
        return _Content(), True
    except OSError as error:
        _warn(file, error.strerror)
        return _Content(), False
    content, wrong = _parse(raw)
    return content, not wrong or _set_aside(file, wrong)


def _parse(raw: bytes) -> tuple[_Content, str]:
    """What can be read of the file, and what is wrong with it: empty if nothing is."""
    try:
        data = json.loads(raw.decode("utf-8-sig"))  # an editor on Windows may have put a mark in front
    except (ValueError, RecursionError):
        return _Content(), "is not valid JSON"
    if type(data) is not dict or type(data.get("exercises")) is not dict:
        return _Content(), "is not a record of progress"
    if type(data.get("version")) is not int or data["version"] != VERSION:
        return _Content(), "is of another version"
    exercises = {id: Record(**values) for id, values in data["exercises"].items() if _valid(values)}
    content = _Content(data["resets"] if _count(data.get("resets")) else 0, exercises)
    return content, "" if _plain(content) == data else "is not as it was written"


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST


def _valid(values: Any) -> bool:
    if type(values) is not dict or set(values) != {each.name for each in fields(Record)}:
        return False
    return all(_count(values[name]) for name in ("tries", "hints")) and all(
        type(values[name]) is bool for name in ("passed", "solution")
    )


def _plain(content: _Content) -> dict[str, Any]:
    exercises = {id: asdict(record) for id, record in sorted(content.exercises.items())}
    return {"version": VERSION, "resets": content.resets, "exercises": exercises}


def _set_aside(file: Path, wrong: str) -> bool:
    """Rename a broken file to a name that nothing has yet; returns whether its place is free now."""
    for number in range(1, MOST_BROKEN + 1):
        target = file.with_name(f"{file.name}.broken{f'-{number}' if number > 1 else ''}")
        try:
            target.open("xb").close()  # the name is ours: a rename alone would overwrite what is there
        except FileExistsError:
            continue
        except OSError:
            break
        try:
            _patiently(os.replace, file, target)
        except OSError as error:
            with suppress(OSError):
                target.unlink()
            if isinstance(error, FileNotFoundError):
                return True  # another kernel was quicker
            break
        _say(f"{file.name} {wrong}; it is set aside as {target}, and what could be read of it still counts.")
        return True
    _warn(file, f"it {wrong} and could not be set aside")
    return False


def _write(file: Path, content: _Content) -> None:
    # tempfile would not do: in a folder that cannot be written it tries for very long on Windows
    temporary = file.with_name(f"{file.name}.{uuid.uuid4().hex}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(json.dumps(_plain(content), indent=1).encode() + b"\n")
            _patiently(os.replace, temporary, file)
        finally:
            with suppress(OSError):
                temporary.unlink()  # there only if it could not take its place
    except OSError as error:
        _warn(file, error.strerror)


def _patiently(act: Callable[..., Any], *arguments: Any) -> Any:
    for pause in _PAUSES:
        try:
            return act(*arguments)
        except PermissionError:
            time.sleep(pause)
    return act(*arguments)


def _warn(file: Path, why: str | None) -> None:
    """Once for each file: what is done is remembered in this process alone."""
    if file not in _warned:
        _warned.add(file)
        _say(
            f"your progress cannot be kept in {file} ({why}); it lasts until this kernel ends. "
            "Set LABSERVER_STATE to a folder that can be written."
        )


def _say(text: str) -> None:
    with suppress(OSError, ValueError):  # an answer may have closed the stream
        print(f"channels-lab: {text}", file=sys.stderr)


class Progress:
    """A bar per lesson, as things stand when it is made; `str()` is for the terminal, a notebook shows the picture.

    catalogue: the lessons in order, by stem; of each its exercises in order, as id and title.
    """

    def __init__(self, catalogue: Mapping[str, Sequence[tuple[str, str]]], state: State):
        records = state.records()
        self.lessons = {
            stem: [(id, _mark(records.get(id, Record()))) for id, _ in exercises]
            for stem, exercises in catalogue.items()
            if exercises
        }
        every = [exercise for exercises in catalogue.values() for exercise in exercises]
        done = [_mark(records.get(id, Record())) is Mark.PASSED for id, _ in every]
        self.passed, self.total = sum(done), len(done)
        self.next = every[done.index(False)] if False in done else None

    @property
    def summary(self) -> str:
        """The total, and the first exercise that is not passed."""
        if not self.total:
            return EMPTY
        then = f"next: {' '.join(self.next)}" if self.next else "nothing is left to do"
        return f"{self.passed} of {self.total} passed; {then}"

    def __repr__(self) -> str:
        return f"<Progress: {self.passed} of {self.total} passed>"

    def __str__(self) -> str:
        stems = max((len(stem) for stem in self.lessons), default=0)
        marks = max((len(lesson) for lesson in self.lessons.values()), default=0)
        lines = [
            f"{stem:<{stems}}  {''.join(mark for _, mark in lesson):<{marks}}  {bars.passed(lesson)}"
            for stem, lesson in self.lessons.items()
        ]
        return "\n".join([*lines, self.summary])

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/plain": str(self), "image/svg+xml": bars.svg(self.lessons, self.summary)}


def _mark(record: Record) -> Mark:
    return Mark.PASSED if record.passed else Mark.AHEAD if record == Record() else Mark.BEGUN
