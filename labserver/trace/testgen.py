"""A trace as pytest source: the same conversation with Channels' communicators, and what the application sent.

Room: pure values, called by `events.Trace.to_test`. What it writes is an ordinary test module of a project: it imports
pytest and `channels.testing`, and nothing of labserver. https://channels.readthedocs.io/en/stable/topics/testing.html
"""

import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from textwrap import fill
from typing import Any

from labserver.errors import NotAnApplication, NotRecorded

from .conversation import Step, apart, steps
from .literal import LIKE, WIDTH, Writer, is_place, place
from .protocol import AnyEvent
from .testbody import Body, Import, Needs

_NOWHERE = "mysite.asgi:application"

_TAKEN = re.compile(
    r"(application|ws|http)(_\d+)?|(http_\d+_)?response|body|connected|json|pytest|re|request|subprotocol"
)
"""Names that mean something else inside a test, or to pytest."""


class Hidden:
    """Stands for `redact.hidden`: gives every secret a place, and a name for the fixture that goes there."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.names: dict[int, str] = {}

    def __call__(self, secret: str, name: str) -> str:
        if is_place(secret):
            return secret
        if secret not in self.places:
            number = self.places[secret] = len(self.places) + 1
            base = re.sub(r"\W", "_", name.lower())
            if not base.isidentifier() or keyword.iskeyword(base) or _TAKEN.fullmatch(base):
                base = f"secret_{base}"
            names = chain([base], (f"{base}_{again}" for again in count(2)))
            self.names[number] = next(each for each in names if each not in self.names.values())
        return place(self.places[secret])


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
    Raises NotRecorded if there is nothing in it that a test could play; NotAnApplication for a name of another form.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise NotRecorded(f"expected a name for a function, such as test_chat, found {name!r}")
    name = name if name.startswith("test_") else f"test_{name}"
    parts = apart(steps(events, scopes, omitted), events)
    if not parts:
        raise NotRecorded("expected a trace of at least one connection, found none; connect to the server first")
    module = _Module(served, scopes, secrets)
    for part in parts:
        module.test(part)
    return module.text(name)


class _Module:
    """Collects what a module of tests needs, and its tests."""

    def __init__(self, served: Mapping[str, str], scopes: dict[str, dict[str, Any]], secrets: Mapping[int, str]):
        self.applications = _Applications(served)
        self.needs = Needs(scopes, self.applications.names)
        self.writer = Writer(secrets)
        self.tests: list[tuple[list[str], list[str]]] = []
        self.fixtures: set[str] = set()

    def test(self, part: list[Step]) -> None:
        """Add one test: the fixtures that it needs, and its lines; one that is there already is not added again."""
        self.writer.used = set()
        body = Body(self.needs, self.writer, part)
        lines = body.lines()
        fixtures = sorted(self.writer.used)
        self.fixtures |= set(fixtures)
        test = fixtures, [f'    """{body.sentence()}"""', *lines]
        if test not in self.tests:  # a page that is loaded twice
            self.tests.append(test)

    def _source(self, name: str, fixtures: list[str], lines: list[str]) -> str:
        marks = ["@pytest.mark.asyncio"]
        if fixtures:  # whoever looks a token or a session up asks the database
            marks.insert(0, "@pytest.mark.django_db(transaction=True)")
        parameters = [("", lambda *room, fixture=fixture: fixture) for fixture in fixtures]
        head = self.writer.call(f"async def {name}", parameters, 0, room=1)
        return "\n".join([*marks, f"{head}:", *lines]) + "\n"

    def text(self, name: str) -> str:
        """The whole module, its tests numbered if there are several."""
        names = [name] if len(self.tests) == 1 else [f"{name}_{number}" for number in range(1, len(self.tests) + 1)]
        tests = [self._source(name, *test) for name, test in zip(names, self.tests, strict=True)]
        needs, parts = self.needs, [self._docstring(), ""]
        if self.writer.likes:
            needs.standard.add(("re", ""))
        foreign = {("pytest", ""), *(("channels.testing", name) for name in needs.testing), *needs.foreign}
        if needs.layer:
            foreign.add(("channels.layers", "get_channel_layer"))
        for imported in (needs.standard, foreign, {*needs.own, *self.applications.imports}):
            parts += [*_imports(imported, self.applications.notes), ""] if imported else []
        parts += self.applications.assigned
        for pairs, name in needs.pages.items():
            headers = [self.writer.header(*pair) for pair in pairs]
            parts.append(f"{name} = {self.writer.call('', headers, 0, '[]', len(name) + 3)}")
        if self.writer.likes:
            parts += ["", "", LIKE.rstrip()]
        return "\n".join(parts).rstrip() + "\n\n\n" + "\n\n".join(tests)

    def _docstring(self) -> str:
        head = '"""Recorded from a live server: what its clients did, and what the application sent.'
        if not self.fixtures:
            return f'{head}"""'
        names = ", ".join(f"`{name}`" for name in sorted(self.fixtures, key=lambda name: (len(name), name)))
        told = fill(f"Secrets are not kept. Write a fixture for each, in conftest.py: {names}.", WIDTH)
        return f'{head}\n\n{told}\n"""'


def _imports(imported: Iterable[Import], notes: Mapping[Import, str]) -> list[str]:
    """Import lines in the order of isort: whole modules, then names, those of a module together; notes stand above."""
    whole = sorted(f"import {module}" for module, name in imported if not name)
    by_module: dict[str, list[list[str]]] = {}
    for module, name in sorted(imported, key=lambda each: (_natural(each[0]), _of_kind(each[1]))):
        if name:
            statements = by_module.setdefault(module, [])
            if statements and " as " not in statements[-1][-1] + name:
                statements[-1].append(name)
            else:
                statements.append([name])
    lines = []
    for module, statements in by_module.items():
        for names in statements:
            line = f"from {module} import {', '.join(names)}"
            if len(line) > WIDTH:
                line = f"from {module} import (\n    " + ",\n    ".join(names) + ",\n)"
            noted = [f"# {notes[module, name]}" for name in names if (module, name) in notes]
            lines += [*([""] if lines and noted else []), *noted, line]
    return whole + lines


def _natural(name: str) -> list[tuple[str, int]]:
    """For sorting without regard to case, with 2 before 10."""
    return [(word, int(number or 0)) for word, number in re.findall(r"(\D*)(\d*)", name.lower())]


def _of_kind(name: str) -> tuple[int, list[tuple[str, int]]]:
    """For sorting constants before classes before all else."""
    first = name.partition(" ")[0]
    kind = 0 if first.isupper() and len(first) > 1 else 1 if first[:1].isupper() else 2
    return kind, _natural(name)


class _Applications:
    """What stands for the application of each connection, and what a module has to import for it.

    notes: what there is to say of an import.
    """

    def __init__(self, served: Mapping[str, str]):
        self.imports: set[Import] = set()
        self.notes: dict[Import, str] = {}
        self.assigned: list[str] = []
        self._modules: dict[str, str] = {}
        places = {each: f"application_{number}" for number, each in enumerate(dict.fromkeys(served.values()), 1)}
        if len(places) == 1:
            places = dict.fromkeys(places, "application")
        for where, name in places.items():
            self._add(where, name)
        self.names = {connection: places[where] for connection, where in served.items()}

    def _add(self, where: str, name: str) -> None:
        module, _, expression = (where or _NOWHERE).partition(":")
        if not module or not expression:
            raise NotAnApplication(f"expected 'package.module:name', found {where!r}; write for example {_NOWHERE!r}")
        first, dot, rest = expression.partition(".")
        local = name
        if dot:  # the class of a consumer, of which another module may have one by the same name
            local = first if self._modules.setdefault(first, module) == module else f"{first}_{len(self.imports) + 1}"
            self.assigned.append(f"{name} = {local}.{rest}")
        imported = module, first if local == first else f"{first} as {local}"
        self.imports.add(imported)
        if not where:
            self.notes[imported] = "put your own here: what was recorded has no name to import"
        elif module == "__main__":
            self.notes[imported] = "the notebook; in a project, the module that it is in"
