"""The `labserver` command.

Room: reads arguments and hands over; every command's work is done, and tested, in its own room. A room is imported when
its command runs: the doctor has to work where a package of another one is missing.
"""

import argparse
import builtins
import importlib
import os
import sys
from collections.abc import Sequence

from labserver.errors import LabError

WORK = {
    "demo": "labserver.live.demo.main",
    "doctor": "labserver.live.doctor.run",
    "validate": "labserver.validation.command.validate",
    "refresh": "labserver.validation.refresh.refresh",
    "exercises": "labserver.course.derive.run",
    "teach": "labserver.course.teach.run",
    "new-project": "labserver.course.new_project.run",
    "wheelhouse": "labserver.course.wheelhouse.run",
}
"""The function that does a command's work. It takes the command's arguments by their names, and returns the status."""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    top = argparse.ArgumentParser(prog="labserver", description="A live Channels server in a notebook, and its checks.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("demo", help="a conversation on a live server, as a text diagram, in seconds")
    commands.add_parser("doctor", help="what is wrong on this machine, line by line, each fault with its fix")
    _notebooks(commands)
    exercises = commands.add_parser("exercises", help="derive exercises/ from solutions/, or check that it is so")
    either = exercises.add_mutually_exclusive_group(required=True)
    either.add_argument("--write", action="store_true", help="write each file that is missing or stale")
    either.add_argument(
        "--check", action="store_false", dest="write", help="write nothing; fail if a byte would change"
    )
    teach = commands.add_parser("teach", help="for instructors: a page to print, slides, or a lesson that ends early")
    teach.add_argument("lessons", nargs="*", metavar="LESSON", help="the number of a lesson, such as 03 (default: all)")
    kind = teach.add_mutually_exclusive_group()
    kind.add_argument("--slides", action="store_true", help="slides that work offline, the answers one step later")
    kind.add_argument("--until", metavar="SECTION", help="a copy that ends after this section, or exercise (03.2)")
    teach.add_argument("--out", default="teach", metavar="DIR", help="the folder to write into (default: teach)")
    project = commands.add_parser("new-project", help="write a Django project of its own: the chat, ready to deploy")
    project.add_argument("folder", metavar="DIR", help="a folder that is empty or does not exist yet")
    commands.add_parser("wheelhouse", help="for rooms without internet: fill wheelhouse/ for every laptop")
    return top


def _notebooks(commands: argparse._SubParsersAction) -> None:
    validate = commands.add_parser("validate", help="run notebooks and hold them to what they claim")
    refresh = commands.add_parser("refresh", help="run notebooks again and store their outputs")
    for command in (validate, refresh):
        command.add_argument("paths", nargs="+", metavar="PATH", help="a notebook, a folder of them, or a pattern")
        command.add_argument(
            "--timeout", type=_seconds, default=30, metavar="SECONDS", help="for each cell (default: 30)"
        )
        command.add_argument(
            "--workers", type=_count, metavar="N", help="notebooks at a time (default: two a processor)"
        )
    flag = {"action": "store_true"}
    validate.add_argument("--once", **flag, help="only compare with the stored outputs, do not run the cells again")
    validate.add_argument("--queued", **flag, help="send all cells of the first run at once, as Run All does")
    validate.add_argument("--fast", **flag, help="only notebooks that have changed since they passed here")
    validate.add_argument("--update", **flag, help="store the outputs of notebooks that differ; read the report first")
    validate.add_argument("--style", **flag, help="tell also how a notebook differs from the measure of a lesson")
    validate.add_argument("--sanitize", metavar="FILE", help="what is not compared: lines 'regex: …', 'replace: …'")
    validate.add_argument("--junit", metavar="FILE", dest="junit_file", help="write the verdicts as JUnit XML")


def _seconds(text: str) -> float:
    if not 0 < float(text) < 1e6:
        raise ValueError
    return float(text)


def _count(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


_seconds.__name__, _count.__name__ = "number of seconds", "number of notebooks"  # argparse: invalid … value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 good, 1 something failed, 2 it could not be run as asked."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a file or a pipe on Windows may not know the characters of a diagram
            stream.reconfigure(errors="backslashreplace")
    options = vars(parser().parse_args(arguments))
    command = options.pop("command")
    room, _, name = WORK[command].rpartition(".")
    try:
        work = getattr(_imported(room, command), name)
        status = work(**options)
        sys.stdout.flush()
        return status
    except LabError as error:
        print(f"labserver: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        if not _unread():
            raise
        return 1


def _unread() -> bool:
    """Whether nobody reads what is printed any more (`| head`); then nothing more is said, at the end neither.

    https://docs.python.org/3/library/signal.html#note-on-sigpipe
    """
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _imported(room: str, command: str):
    try:
        return importlib.import_module(room)
    except ModuleNotFoundError as missing:
        extra = "[validate]" if ".validation" in room else ""
        raise LabError(
            f"expected the module {missing.name} for `labserver {command}`, found none; install it with "
            f"`python -m pip install 'channels-lab{extra}'`, or ask `labserver doctor`"
        ) from missing


if __name__ == "__main__":
    status = main()
    if not hasattr(builtins, "__IPYTHON__"):  # %run shows a traceback for an exit status
        sys.exit(status)
