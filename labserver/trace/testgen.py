"""A trace as pytest source: the same conversation with Channels' communicators, and what the application sent.

Room: pure values, called by `events.Trace.to_test`. What it writes is an ordinary test module of a project: it imports
pytest and `channels.testing`, and nothing of labserver. https://channels.readthedocs.io/en/stable/topics/testing.html
"""

import keyword
import re
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from labserver.errors import NotRecorded

from .conversation import Step, apart, steps
from .literal import LIKE, WIDTH, Writer, quoted_bytes
from .protocol import AnyEvent
from .testbody import Body, Needs

_NOWHERE = "mysite.asgi:application"


class Hidden:
    """Stands for `redact.hidden`: gives every secret a place, and a name for the fixture that goes there."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.names: dict[int, str] = {}

    def __call__(self, secret: str, name: str) -> str:
        if re.fullmatch(r"\x02\d+\x03", secret):
            return secret
        if secret not in self.places:
            number = self.places[secret] = len(self.places) + 1
            base = re.sub(r"\W", "_", name.lower())
            taken = [each for each in self.names.values() if re.fullmatch(rf"{base}(_\d+)?", each)]
            self.names[number] = f"{base}_{len(taken) + 1}" if taken else base
        return f"\x02{self.places[secret]}\x03"


def source(
    name: str,
    served: Mapping[str, str],
    events: Sequence[AnyEvent],
    scopes: dict[str, dict[str, Any]],
    omitted: int,
    secrets: Mapping[int, str],
) -> str:
    """The source of a test module.

    name: of the test; `test_` is put before it if it is missing. served: for each connection, where its application can
    be imported, `package.module:expression`; empty if nobody knows. events, scopes: with each
    secret in its place (see `Hidden`), named by `secrets`.
    Raises NotRecorded if there is nothing in it that a test could play.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise NotRecorded(f"expected a name for a function, such as test_chat, found {name!r}")
    name = name if name.startswith("test_") else f"test_{name}"
    parts = apart(steps(events, scopes, omitted), events)
    if not parts:
        raise NotRecorded("expected a trace of at least one connection, found none; connect to the server first")
    module = _Module(served, scopes, secrets)
    for number, part in enumerate(parts, 1):
        module.test(name if len(parts) == 1 else f"{name}_{number}", part)
    return module.text()


class _Module:
    """Collects what a module of tests needs, and its tests."""

    def __init__(self, served: Mapping[str, str], scopes: dict[str, dict[str, Any]], secrets: Mapping[int, str]):
        self.applications = _Applications(served)
        self.needs = Needs(scopes, self.applications.names)
        self.writer = Writer(secrets)
        self.tests: list[str] = []
        self.fixtures: set[str] = set()

    def test(self, name: str, part: list[Step]) -> None:
        """Add one test."""
        self.writer.used = set()
        body = Body(self.needs, self.writer, part)
        lines = body.lines()
        fixtures = sorted(self.writer.used)
        self.fixtures |= set(fixtures)
        marks = ["@pytest.mark.asyncio"]
        if fixtures:  # whoever looks a token or a session up asks the database
            marks.insert(0, "@pytest.mark.django_db(transaction=True)")
        head = self.writer.call(f"async def {name}", [("", lambda *room, name=name: name) for name in fixtures], 0)
        self.tests.append("\n".join([*marks, f"{head}:", f'    """{body.sentence()}"""', *lines]) + "\n")

    def text(self) -> str:
        """The whole module."""
        needs, parts = self.needs, [self._docstring(), ""]
        if self.writer.likes:
            needs.standard.add("import re")
        if needs.standard:
            parts += [*sorted(needs.standard, key=lambda line: (not line.startswith("import"), line)), ""]
        parts += ["import pytest"]
        if needs.layer:
            parts += ["from channels.layers import get_channel_layer"]
        parts += [f"from channels.testing import {', '.join(sorted(needs.testing))}", ""]
        parts += [*sorted({*needs.exceptions, *self.applications.imports})]
        if self.applications.assigned or needs.pages:
            parts += ["", *self.applications.assigned]
        for pairs, name in needs.pages.items():
            parts.append(f"{name} = {self.writer.call('', [('', _pair(pair)) for pair in pairs], 0, '[]')}")
        if self.writer.likes:
            parts += ["", "", LIKE.rstrip()]
        return "\n".join(parts) + "\n\n\n" + "\n\n".join(self.tests)

    def _docstring(self) -> str:
        head = '"""Recorded from a live server: what its clients did, and what the application sent.'
        if not self.fixtures:
            return f'{head}"""'
        names = ", ".join(f"`{name}`" for name in sorted(self.fixtures, key=lambda name: (len(name), name)))
        told = fill(f"Secrets are not kept. Write a fixture for each, in conftest.py: {names}.", WIDTH)
        return f'{head}\n\n{told}\n"""'


def _pair(pair: tuple[bytes, bytes]) -> Any:
    """A header, as the argument of a list."""
    return lambda *room: f"({', '.join('b' + quoted_bytes(each.decode('latin-1')) for each in pair)})"


class _Applications:
    """What stands for the application of each connection, and the lines that a module needs for it."""

    def __init__(self, served: Mapping[str, str]):
        self.names: dict[str, str] = {}
        self.imports: list[str] = []
        self.assigned: list[str] = []
        places = {place: f"application_{number}" for number, place in enumerate(dict.fromkeys(served.values()), 1)}
        if len(places) == 1:
            places = dict.fromkeys(places, "application")
        for place, name in places.items():
            self._add(place or _NOWHERE, name, not place)
        self.names = {connection: places[place] for connection, place in served.items()}

    def _add(self, place: str, name: str, unknown: bool) -> None:
        module, _, expression = place.partition(":")
        first, dot, rest = expression.partition(".")
        note = "  # put your own here: what was recorded has no name to import" if unknown else ""
        if module == "__main__":
            note = "  # the notebook; in a project, the module that it is in"
        alias = "" if dot or first == name else f" as {name}"
        self.imports.append(f"from {module} import {first}{alias}{note}")
        if dot:
            self.assigned.append(f"{name} = {first}.{rest}")
