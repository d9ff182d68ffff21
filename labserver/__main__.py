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
    commands.add_parser("doctor", help="what is wrong on this machine, line by line, each fault with its fix")
    exercises = commands.add_parser("exercises", help="derive exercises/ from solutions/, or check that it is so")
    either = exercises.add_mutually_exclusive_group(required=True)
    either.add_argument("--write", action="store_true", help="write each file that is missing or stale")
    either.add_argument("--check", action="store_true", help="write nothing; fail if a byte would change")
    teach = commands.add_parser("teach", help="for instructors: a page to print, slides, or a lesson that ends early")
    teach.add_argument("lessons", nargs="*", metavar="LESSON", help="the number of a lesson, such as 03 (default: all)")
    kind = teach.add_mutually_exclusive_group()
    kind.add_argument("--slides", action="store_true", help="slides that work offline, the answers one step later")
    kind.add_argument("--until", metavar="SECTION", help="a copy that ends after this section, or exercise (03.2)")
    teach.add_argument("--out", default="teach", metavar="DIR", help="the folder to write into (default: teach)")
    project = commands.add_parser("new-project", help="write a Django project of its own: the chat, ready to deploy")
    project.add_argument("folder", metavar="DIR", help="a folder that is empty or does not exist yet")
    commands.add_parser("wheelhouse", help="for rooms without internet: fill wheelhouse/ with what is installed")
    for name, purpose in (
        ("validate", "run notebooks and hold them to what they claim"),
        ("refresh", "run notebooks again and store their outputs"),
    ):
        command = commands.add_parser(name, help=purpose)
        command.add_argument("paths", nargs="+", metavar="PATH", help="a notebook, a folder of them, or a pattern")
        command.add_argument("--timeout", type=float, default=30, metavar="SECONDS", help="for each cell (default: 30)")
        command.add_argument("--workers", type=int, metavar="N", help="notebooks at a time (default: two a processor)")
        if name == "validate":
            _how(command)
    return top


def _how(validate: argparse.ArgumentParser) -> None:
    flag = {"action": "store_true"}
    validate.add_argument("--once", **flag, help="only compare with the stored outputs, do not run the cells again")
    validate.add_argument("--queued", **flag, help="send all cells of the first run at once, as Run All does")
    validate.add_argument("--fast", **flag, help="only notebooks that have changed since they passed here")
    validate.add_argument("--update", **flag, help="store the outputs of notebooks that differ; read the report first")
    validate.add_argument("--style", **flag, help="tell also how a notebook differs from the measure of a lesson")
    validate.add_argument("--sanitize", metavar="FILE", help="what is not compared: lines 'regex: …', 'replace: …'")
    validate.add_argument("--junit", metavar="FILE", dest="junit_file", help="write the verdicts as JUnit XML")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 good, 1 something failed, 2 it could not be run as asked."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "demo":
            from labserver.live import demo

            return demo.main()
        if options.command == "doctor":
            from labserver.live import doctor

            return doctor.run()
        if options.command == "exercises":
            from labserver.course import derive

            return derive.run(options.write)
        if options.command == "teach":
            from labserver.course import teach

            return teach.run(options.lessons, slides=options.slides, until=options.until, out=options.out)
        if options.command == "new-project":
            from labserver.course import new_project

            return new_project.run(options.folder)
        if options.command == "wheelhouse":
            from labserver.course import wheelhouse

            return wheelhouse.run()
        if options.command == "validate":
            from labserver.validation import command

            return command.validate(**{name: value for name, value in vars(options).items() if name != "command"})
        from labserver.validation import refresh

        return refresh.refresh(options.paths, timeout=options.timeout, workers=options.workers)
    except LabError as error:
        print(f"labserver: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
