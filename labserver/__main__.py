"""The `labserver` command.

Room: reads arguments and hands over; every command's work is done, and tested, in its own room.
"""

import argparse
import sys
from collections.abc import Sequence

from labserver.errors import LabError


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    top = argparse.ArgumentParser(prog="labserver", description="A live Channels server in a notebook, and its checks.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("demo", help="a conversation on a live server, as a text diagram, in seconds")
    exercises = commands.add_parser("exercises", help="derive exercises/ from solutions/, or check that it is so")
    either = exercises.add_mutually_exclusive_group(required=True)
    either.add_argument("--write", action="store_true", help="write each file that is missing or stale")
    either.add_argument("--check", action="store_true", help="write nothing; fail if a byte would change")
    project = commands.add_parser("new-project", help="write a Django project of its own: the chat, ready to deploy")
    project.add_argument("folder", metavar="DIR", help="a folder that is empty or does not exist yet")
    for name, purpose in (
        ("validate", "run notebooks and hold them to what they claim"),
        ("refresh", "run notebooks again and store their outputs"),
    ):
        command = commands.add_parser(name, help=purpose)
        command.add_argument("paths", nargs="+", metavar="PATH", help="a notebook, a folder of them, or a pattern")
        command.add_argument("--timeout", type=float, default=30, metavar="SECONDS", help="for each cell (default: 30)")
        command.add_argument("--workers", type=int, metavar="N", help="notebooks at a time (default: two a processor)")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 good, 1 something failed, 2 it could not be run as asked."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "demo":
            from labserver.live import demo

            return demo.main()
        if options.command == "exercises":
            from labserver.course import derive

            return derive.run(options.write)
        if options.command == "new-project":
            from labserver.course import new_project

            return new_project.run(options.folder)
        if options.command == "validate":
            from labserver.validation import command

            return command.validate(options.paths, timeout=options.timeout, workers=options.workers)
        from labserver.validation import refresh

        return refresh.refresh(options.paths, timeout=options.timeout, workers=options.workers)
    except LabError as error:
        print(f"labserver: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
