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
    validate = commands.add_parser("validate", help="run notebooks and hold them to what they claim")
    validate.add_argument("paths", nargs="+", metavar="PATH", help="a notebook, a folder of them, or a pattern")
    refresh = commands.add_parser("refresh", help="run notebooks again and store their outputs")
    refresh.add_argument("paths", nargs="+", metavar="PATH", help="a notebook, a folder of them, or a pattern")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 good, 1 something failed, 2 it could not be run as asked."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "demo":
            from labserver.live import demo

            return demo.main()
        if options.command == "validate":
            from labserver.validation import command

            return command.validate(options.paths)
        from labserver.validation import refresh

        return refresh.refresh(options.paths)
    except LabError as error:
        print(f"labserver: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
