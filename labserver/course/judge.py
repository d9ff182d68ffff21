"""Runs an answer where it can do no harm, and says what came of it.

Room: the thread, the time limit and what an answer may print. It runs in a thread with an event loop of its own:
neither the kernel's loop nor the server's waits for it. What is still busy at the limit is interrupted from outside.
"""

import ast
import asyncio
import contextlib
import ctypes
import inspect
import io
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext

from labserver.errors import ExerciseError, NotAnApplication
from labserver.live.recorder import hints, own_lines, running_lines
from labserver.trace import protocol, redact
from labserver.trace.events import Trace

from .bench import Bench, Crashed
from .exercise import Exercise, Misconception
from .result import Result

LIMIT = 3.0
"""Seconds that a check may take."""

GRACE = 0.5
"""Seconds that an interrupted answer gets to end."""

OUTPUT = 400
"""Characters of an answer's prints, and of its error's text, that are shown."""

LINES = 6
"""Lines of the learner's own that a result shows: a recursion has a thousand."""

SHOWN = 24
"""Events, the newest, that a result shows."""

STUB = "your code here"
"""What the stub of an exercise says in its comment, where the answer belongs."""


_judging = threading.Lock()


class Interrupted(BaseException):
    """Raised inside an answer that is busy when its time is up; `except Exception` does not stop it."""


def judge(exercise: Exercise, answer: Any) -> Result:
    """Run the check of an exercise on an answer; never raises for what the answer does.

    Raises ExerciseError if it is called by an answer.
    """
    if not _judging.acquire(blocking=False):
        raise ExerciseError(
            f'expected check("{exercise.id}", …) in a cell, found it inside an answer; move it out: is it indented?'
        )
    try:
        return _judged(exercise, answer)
    finally:
        _judging.release()


def _judged(exercise: Exercise, answer: Any) -> Result:
    run, printed = _Run(exercise, answer), _Bounded()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), _no_exit(), run.bench.own_layers():
        run.start()
        run.join(LIMIT)
        stuck = run.is_alive()
        lines = run.interrupt()[-LINES:] if stuck else ()
    if not stuck and run.error is None and (broken := _broken_rule(run.bench.whole)) is None:
        return Result(exercise.id, "passed", lines=tuple(run.told or ()), output=printed.text)
    if _has_stub(answer):
        step = f"Put your own code where it says “... # {STUB}”, run that cell, and check again."
        return Result(exercise.id, "unattempted", step=step)
    trace = run.bench.trace if stuck or run.error else run.bench.whole
    shown = trace.newest(SHOWN) if len(trace) else None
    return Result(exercise.id, *(_stuck(lines) if stuck else _explained(run.error or broken)), shown, printed.text)


def _broken_rule(trace: Trace) -> Misconception | None:
    """What the protocol forbids is wrong, even where the exercise asked for something else."""
    readings = protocol.readings(trace.events, trace.scopes)
    notes = [reading.note for reading in readings if reading.mark is protocol.Mark.BROKEN]
    if not notes:
        return None
    step = "Look for the row with ✗: this event should not be there, or comes too late."
    return Misconception("breaks a rule of the protocol", notes[0], step)


class _Run(threading.Thread):
    """One check of one answer; a daemon, so that one that cannot be interrupted does not keep the kernel alive."""

    def __init__(self, exercise: Exercise, answer: Any):
        super().__init__(name=f"check {exercise.id}", daemon=True)
        self.bench = Bench()
        self.error: BaseException | None = None
        self.told: Iterable[str] | None = None
        self._check = exercise.check(answer, self.bench)
        self._context = ThreadSensitiveContext()
        self._threads = ThreadPoolExecutor(max_workers=1)
        SyncToAsync.context_to_thread_executor[self._context] = self._threads  # ours, to know whom to interrupt

    def run(self) -> None:
        try:
            asyncio.run(self._limited())
        except BaseException as error:  # SystemExit and KeyboardInterrupt of the answer are its own
            self.error = error

    async def _limited(self) -> None:
        asyncio.get_running_loop().set_exception_handler(_but_ours)
        async with self._context:  # sync consumers get a thread of their own: one that blocks holds up nobody else
            self.told = await self._check

    def interrupt(self) -> tuple[str, ...]:
        """End it where it can be ended; returns the learner's own lines that were running.

        A thread that waits outside Python hears of it only when it wakes: it is left behind.
        """
        frames = sys._current_frames()
        threads = [self, *(thread for thread in self._threads._threads if not _idle(frames.get(thread.ident)))]
        lines = tuple(line for thread in threads for line in running_lines(frames.get(thread.ident)))
        for thread in threads:
            _raise_in(thread)
        self.join(GRACE)
        return lines


def _idle(frame: FrameType | None) -> bool:
    """Whether a worker's thread only waits for work: what is raised there it would print, in the next check maybe."""
    return frame is None or frame.f_globals.get("__name__") == "concurrent.futures.thread"


def _but_ours(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say what a loop has to say of errors that nobody awaits; not of those that we raised in the answer's tasks."""
    if not isinstance(context.get("exception"), Interrupted):
        loop.default_exception_handler(context)


def _raise_in(thread: threading.Thread) -> None:
    """Raise Interrupted in another thread.

    CPython 3.11 keeps a flag up for all threads until one of them has raised its exception; while it is up, a thread
    that is traced (by a debugger, by coverage) does not get on. So this thread raises one too, at once.
    """
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    with contextlib.suppress(Interrupted):
        for each in (thread.ident, threading.get_ident(), 0, 0, 0):  # pragma: no branch - raised before its end
            raise_in(ctypes.c_ulong(each), ctypes.py_object(Interrupted))


def _explained(error: BaseException) -> tuple[str, str, str, str, tuple[str, ...]]:
    """The outcome, its name, what was found, the next step, and the learner's own lines."""
    if isinstance(error, Crashed):
        error = error.error
    if isinstance(error, Misconception):
        return "wrong", error.name, error.found, error.step, error.lines
    if isinstance(error, NotAnApplication):
        return "wrong", "not an ASGI application", str(error), "Give check() the application itself.", ()
    name, lines = type(error).__name__, tuple(own_lines(error)[-LINES:])
    where = "The lines of yours that led to it are above, the last one nearest to it." if lines else ""
    step = " ".join(hints(error)) or where or "Read the error's own words: which call of yours makes it?"
    return "crashed", name, _cut(str(error)), step, lines


def _cut(words: str) -> str:
    words = redact.text(words)  # an error may quote the token that led to it
    return words if len(words) <= OUTPUT else words[:OUTPUT] + "…"


def _stuck(lines: tuple[str, ...]) -> tuple[str, str, str, str, tuple[str, ...]]:
    found = f"it was still busy after {LIMIT:g} s, here, and had to be interrupted"
    step = "Look for a loop that does not end, or for a call that blocks, such as time.sleep; await instead."
    return "wrong", "never gives way", found, step, lines


class _Bounded(io.TextIOBase):
    """Keeps the beginning of what is printed, and counts the rest."""

    def __init__(self) -> None:
        self._kept, self._length = "", 0

    def write(self, text: str) -> int:
        self._kept += text[: max(0, OUTPUT - len(self._kept))]
        self._length += len(text)
        return len(text)

    @property
    def text(self) -> str:
        """What is kept, with a note of what is not."""
        more = self._length - len(self._kept)
        return self._kept + (f"… ({more} more characters)" if more else "")


@contextlib.contextmanager
def _no_exit() -> Iterator[None]:
    """In a notebook `exit()` asks IPython to end the kernel: while an answer runs, it ends the answer."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        yield
        return

    def ask_exit() -> None:
        raise SystemExit

    shell.ask_exit = ask_exit
    try:
        yield
    finally:
        del shell.ask_exit


def _has_stub(answer: Any) -> bool:
    """Whether the answer still holds an exercise's stub: an Ellipsis, a function with one, or a class without one."""
    if answer is ... or type(answer) in (list, tuple):
        return answer is ... or any(each is ... for each in answer)
    with contextlib.suppress(Exception):  # of an answer whose attributes are code
        answer = getattr(answer, "consumer_class", answer)
    own = [each for each in getattr(answer, "__mro__", ()) if not each.__module__.startswith(("builtins", "channels."))]
    found = [value for each in own for value in vars(each).values()] if inspect.isclass(answer) else [answer]
    functions = [each for each in found if inspect.isfunction(each)]
    return any(map(_is_stub, functions)) or (bool(own) and not functions)


def _is_stub(function: Callable) -> bool:
    try:
        source = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(source)
    except (OSError, SyntaxError):
        return False  # typed into a console: nothing to read
    dots = [n for n in ast.walk(tree) if isinstance(n, ast.Expr) and getattr(n.value, "value", None) is ...]
    return bool(dots) and STUB in source
