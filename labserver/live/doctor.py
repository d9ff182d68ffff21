"""`labserver doctor`: what is right and wrong on this machine, line by line, each fault with its fix below it.

Room: shows what the checks in `doctor_packages`, `doctor_network` and `doctor_machine` find. What is broken may be an
import, so nothing is imported before it is needed, and a check that crashes is a finding like any other.
"""

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

OK, NOTE, FAIL = "ok", "note", "FAIL"
"""Fine; something optional is missing, or worth knowing; a lesson will not run because of this."""

PARTS = ("doctor_packages", "doctor_machine", "doctor_network")
"""Causes come before what follows from them."""

SERVER = ("django", "channels", "daphne")
"""A Python without any of these is another one than the course's."""


@dataclass(frozen=True)
class Finding:
    """One line of the report, and for all but OK the next one: what to do."""

    level: str
    text: str
    fix: str = ""


def pip_install(requirements: Iterable[str]) -> str:
    """The command that installs into this very environment."""
    return " ".join([f'"{sys.executable}" -m pip install', *(f'"{each}"' for each in requirements)])


def run() -> int:
    """Examine this machine and print each finding as soon as it is there; returns 1 if anything FAILs, else 0."""
    print("Channels Lab examines this machine. ok: fine; note: only some lessons need it; FAIL: mend this.", flush=True)
    levels = []
    for finding in _findings():
        levels.append(finding.level)
        _tell(f"{finding.level:<5} {finding.text}")
        if finding.fix:
            _tell(f"      fix: {finding.fix}")
    failed, noted = levels.count(FAIL), levels.count(NOTE)
    print(f"{levels.count(OK)} ok, {noted} {'note' if noted == 1 else 'notes'}, {failed} FAIL.", end=" ")
    print("Mend the first FAIL first." if failed else "The lessons can begin.", flush=True)
    return 1 if failed else 0


def _tell(line: str) -> None:
    """Print it at once; what the console cannot show, the name of a folder say, with backslashes."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def _findings() -> Iterator[Finding]:
    elsewhere = list(_guarded(_environment, "the look for this environment"))
    yield from elsewhere
    if elsewhere:
        return
    for part in PARTS:
        yield from _guarded(lambda part=part: _of(part), f"the part {part}")


def _environment() -> Iterator[Finding]:
    """Whether this Python is one that the course was installed into: of any other, nothing else is worth saying.

    The course's own metadata say nothing: they lie in its folder, where any Python finds them.
    """
    import importlib.metadata

    found = {(each.metadata["Name"] or "").lower() for each in importlib.metadata.distributions()}
    if found.isdisjoint(SERVER):
        text = f"this is not the course's environment: {sys.executable} has no {', no '.join(SERVER)}"
        folder, windows = Path(__file__).parents[2] / ".venv", ("Scripts", "python.exe")
        own = folder.joinpath(*windows if os.name == "nt" else ("bin", "python"))
        ask = f'"{own}" -m labserver doctor' if own.exists() else "make it: README.md, Start; then ask its own doctor"
        yield Finding(FAIL, text, ask)


def _of(part: str) -> Iterator[Finding]:
    for check in importlib.import_module(f"labserver.live.{part}").CHECKS:
        yield from _guarded(check, f"the check {check.__name__!r}")


def _guarded(check: Callable[[], Iterable[Finding]], name: str) -> Iterator[Finding]:
    """What a check finds; if it crashes, that it did."""
    try:
        yield from check()
    except (Exception, SystemExit) as error:
        found = " ".join(f"{type(error).__name__}: {error}".split())
        missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        fix = pip_install([missing]) if missing else "mend what FAILs above it; if nothing does, report this line"
        yield Finding(FAIL, f"{name} crashed: {found}", fix)
