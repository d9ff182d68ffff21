"""Values as Python source: secrets as the names of fixtures, what differs from run to run as a pattern.

Room: pure values, called by `testgen` for what it writes, and by `replay` for what it compares.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from .payload import columns

Argument = tuple[str, Callable[[int, int], str]]
"""What stands before an argument (`headers=`), and what writes it, given the indentation of its line and the columns
that are taken by what stands around it."""

WIDTH = 88
"""Columns of a line: what the formatters of the field allow by default."""

LIKE = '''\
class Like:
    """Equal to every value of a type, or to every text that matches a pattern."""

    def __init__(self, kind):
        self.kind = kind

    def __eq__(self, other):
        if isinstance(self.kind, type):
            return type(other) is self.kind
        return isinstance(other, str) and re.fullmatch(self.kind, other) is not None

    def __repr__(self):
        return f"Like({self.kind!r})"
'''
"""What stands in a test for values that differ from run to run."""

_CHANGING = re.compile(
    r"(?P<uuid>\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b)"
    r"|(?P<moment>\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)"
    r"|(?P<clock>\b\d\d:\d\d:\d\d(?:\.\d+)?\b)"
    r"|(?P<digest>\b(?=[a-zA-Z]*\d)(?=\d*[a-zA-Z])[0-9a-zA-Z]{32,}\b)"
    r"|(?P<address>\b0x[0-9a-fA-F]{4,}\b)"
    r"|(?P<port>(?<=127\.0\.0\.1:)\d+|(?<=localhost:)\d+)"
    r"|(?P<channel><channel(?: of [\w-]+)?>)"
    r"|(?P<secret>\[redacted\]|\x02\x05\d+\x05\x03)"
)
_PATTERNS = {
    "uuid": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "moment": r"\d{4}-\d\d-\d\d[T ][\d:.]+(Z|[+-][\d:]+)?",
    "clock": r"\d\d:\d\d:[\d.]+",
    "digest": r"[0-9a-zA-Z]+",
    "address": r"0x[0-9a-fA-F]+",
    "port": r"\d+",
    "channel": r"specific\.[\w.]*!\w+",
    "secret": r".+",
}
_EPOCH = (1_500_000_000, 4_000_000_000)  # seconds since 1970, from 2017 on
_SPECIAL = re.compile(r"([.^$*+?{}\[\]\\|()])")
_PLACE = re.compile(r"\x02\x05(\d+)\x05\x03")


def place(number: int) -> str:
    """What stands for a secret until the source is written: no text that a client sends, in what any bytes can hold."""
    return f"\x02\x05{number}\x05\x03"


def json_of(text: str) -> str:
    """A text in which the places of secrets stand as JSON writes them."""
    return _PLACE.sub(lambda m: json.dumps(m[0])[1:-1], text)


def is_place(text: str) -> bool:
    """Whether a text is the place of a secret, and nothing else."""
    return _PLACE.fullmatch(text) is not None


def pattern(text: str, known: Iterable[str] = ()) -> str | None:
    """A regular expression for what a text looks like if it holds anything that differs from run to run, or None.

    known: texts of which it can only be a copy, such as what clients sent.
    """
    found, end = "", 0
    for match in _CHANGING.finditer(text):
        if not any(match[0] in each for each in known):
            found += escaped(text[end : match.start()]) + _PATTERNS[match.lastgroup]
            end = match.end()
    return found + escaped(text[end:]) if end else None


def escaped(text: str) -> str:
    """A text as a regular expression; unlike `re.escape`, with nothing in it that a reader could do without."""
    return _SPECIAL.sub(r"\\\1", text)


def alike(one: Any, other: Any) -> bool:
    """Whether two values are the same but for what differs from run to run."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(alike(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, bytes) and isinstance(other, bytes):
        one, other = one.decode("latin-1"), other.decode("latin-1")
    if isinstance(one, str) and isinstance(other, str):
        looks = pattern(one)
        return one == other if looks is None else pattern(other) == looks
    return type(one) is type(other) and (one == other or _moment(one) and _moment(other))


def _moment(value: Any) -> bool:
    return type(value) in (int, float) and _EPOCH[0] <= value < _EPOCH[1]


_LEAST = 24  # columns of a piece of a long text, however deep it stands
_ENDLESS = -1_000_000  # columns that are taken, for what is to stand in one line


class Writer:
    """Writes values for one module of tests, and knows what they need of it.

    secrets: the name of the fixture of each secret, by the number that stands in its place. known: what clients have
    sent so far. likes: whether the module needs `LIKE`.
    """

    def __init__(self, secrets: Mapping[int, str]):
        self.secrets = secrets
        self.known: list[str] = []
        self.given: set[int] = set()
        self.likes = False
        self.used: set[str] = set()

    def sent(self, value: Any, indent: int, room: int = 0) -> str:
        """What a client sends, exactly; `room` columns of the line are taken by what stands around it."""
        self.known += _texts(value)
        self.given |= {int(number) for text in _texts(value) for number in _PLACE.findall(text)}
        return self._value(value, indent, room, exact=True)

    def expected(self, value: Any, indent: int, room: int = 0) -> str:
        """What an application is to send: as it was, but for what differs from run to run."""
        return self._value(value, indent, room, exact=False)

    def call(self, what: str, arguments: list[Argument], indent: int, brackets: str = "()", room: int = 0) -> str:
        """A call of this with these arguments: in one line, else in two, else with a line for each argument."""
        flat = ", ".join(before + write(0, _ENDLESS) for before, write in arguments)
        if indent + room + columns(what + flat) + 2 <= WIDTH or not arguments:
            return f"{what}{brackets[0]}{flat}{brackets[1]}"
        inner = " " * (indent + 4)
        lines = [f"{inner}{before}{write(indent + 4, len(before) + 1)},\n" for before, write in arguments]
        if indent + 4 + columns(flat) <= WIDTH and what and brackets == "()":  # of a tuple each entry gets a line
            lines = [f"{inner}{flat}\n"]
        return f"{what}{brackets[0]}\n{''.join(lines)}{' ' * indent}{brackets[1]}"

    def header(self, name: bytes, value: bytes) -> Argument:
        """A header that a client sends, as an argument."""
        pair = [("", lambda indent, room, each=each: self.sent(each, indent, room)) for each in (name, value)]
        return "", lambda indent, room: self.call("", pair, indent, room=room)

    def _value(self, value: Any, indent: int, room: int, exact: bool) -> str:
        if isinstance(value, str):
            return self._text(value, indent, room, exact)
        if isinstance(value, bytes):
            return self._bytes(value, indent, room)
        if isinstance(value, dict):
            pairs = [(f"{self._value(k, 0, _ENDLESS, True)}: ", v) for k, v in value.items()]
            return self._container("{}", pairs, indent, room, exact)
        if isinstance(value, (list, tuple)):
            return self._container("[]", [("", v) for v in value], indent, room, exact)
        if not exact and _moment(value):
            self.likes = True
            return f"Like({type(value).__name__})"
        if isinstance(value, float) and not math.isfinite(value):
            return f'float("{value}")'
        return repr(value)

    def _container(self, brackets: str, items: list, indent: int, room: int, exact: bool) -> str:
        line = ", ".join(key + self._value(value, 0, _ENDLESS, exact) for key, value in items)
        if indent + room + columns(line) + 2 <= WIDTH:
            return f"{brackets[0]}{line}{brackets[1]}"
        inner = indent + 4
        lines = [f"{' ' * inner}{key}{self._value(value, inner, columns(key) + 1, exact)},\n" for key, value in items]
        return f"{brackets[0]}\n{''.join(lines)}{' ' * indent}{brackets[1]}"

    def _text(self, value: str, indent: int, room: int, exact: bool) -> str:
        if not exact and (looks := pattern(value, [*self.known, *map(place, self.given)])):
            self.likes = True
            return self.call("Like", [("", lambda *room: raw(looks))], indent, room=room)
        return self._literal(value, indent, room, self._plain_text)

    def _bytes(self, value: bytes, indent: int, room: int) -> str:
        return self._literal(value.decode("latin-1"), indent, room, self._plain_bytes)

    def _literal(self, text: str, indent: int, room: int, write: Callable[[str], str]) -> str:
        """A text as one literal, or as several in brackets, or as a sum if letters are repeated often."""
        runs = _runs(text)
        if any(letter for letter, _ in runs):
            return _sum(runs, indent, room, write)
        source = write(text)
        if indent + room + columns(source) <= WIDTH or _PLACE.search(text):
            return source
        return _in_pieces(text, indent, write)

    def _plain_text(self, text: str) -> str:
        return self._with_secrets(text) if _PLACE.search(text) else quoted(text)

    def _plain_bytes(self, text: str) -> str:
        if not _PLACE.search(text):
            return f"b{quoted_bytes(text)}"
        try:
            return f"{self._with_secrets(text.encode('latin-1').decode())}.encode()"
        except UnicodeDecodeError:
            return f'{self._with_secrets(text)}.encode("latin-1")'

    def _with_secrets(self, value: str) -> str:
        names = [self.secrets[int(number)] for number in _PLACE.findall(value)]
        self.used.update(names)
        if re.fullmatch(_PLACE, value):
            return names[0]
        source = quoted(value.replace("{", "{{").replace("}", "}}"))
        return "f" + re.sub(r"\\x02\\x05(\d+)\\x05\\x03", lambda m: f"{{{self.secrets[int(m[1])]}}}", source)


_RUN = re.compile(r"(.)\1{39,}", re.DOTALL)


def _runs(text: str) -> list[tuple]:
    """A text in pieces: `("x", 500)` for a letter that is repeated often, `("", "abc")` for what is between."""
    text = _CUT.sub(lambda m: m[1] * (int(m[2]) - m.start()), text)
    found, end = [], 0
    for run in _RUN.finditer(text):
        found += [("", text[end : run.start()])] if run.start() > end else []
        found.append((run[1], len(run[0])))
        end = run.end()
    return found + ([("", text[end:])] if end < len(text) else [])


_CUT = re.compile(r"(?<=(.))(?:… |\.\.\. )\((\d+) (?:characters|bytes)\)$")
"""How `log.plain` ends what it cuts; whatever was cut off is taken for more of the last letter."""


def cut(value: Any) -> bool:
    """Whether the recording kept only the beginning of a text."""
    return any(_CUT.search(text) for text in _texts(value))


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for pair in value.items() for each in pair for text in _texts(each)]
    if isinstance(value, (list, tuple)):
        return [text for each in value for text in _texts(each)]
    if isinstance(value, bytes):
        return [value.decode("latin-1")]
    return [value] if isinstance(value, str) else []


def quoted(text: str) -> str:
    """A text as a literal, in the quotes that formatters prefer."""
    return _requoted(repr(text))


def _requoted(source: str) -> str:
    """What `repr` wrote, in double quotes unless that takes more escapes."""
    inner = source[1:-1]
    if source[0] == '"' or inner.count("'") < inner.count('"'):
        return source
    inner = re.sub(r"\\(.)", lambda m: "'" if m[1] == "'" else m[0], inner)  # no escape is one of the next sign
    return '"' + inner.replace('"', '\\"') + '"'


def quoted_bytes(text: str) -> str:
    """Bytes, given as latin-1 text, as a literal without its b."""
    return _requoted(repr(text.encode("latin-1"))[1:])


def raw(expression: str) -> str:
    """A regular expression as a raw literal where one can hold it."""
    if '"' not in expression and expression.isprintable():
        return f'r"{expression}"' if "\\" in expression else f'"{expression}"'
    if "'" not in expression and expression.isprintable():
        return f"r'{expression}'" if "\\" in expression else f"'{expression}'"
    return quoted(expression)


def _sum(runs: list[tuple], indent: int, room: int, write: Callable[[str], str]) -> str:
    """The pieces of `_runs` as a sum: in one line, else in brackets."""
    operands = [f"{write(letter)} * {rest}" if letter else write(rest) for letter, rest in runs]
    flat = " + ".join(operands)
    if indent + room + columns(flat) <= WIDTH:
        return flat
    if indent + 4 + columns(flat) > WIDTH:  # each in a line, and long ones in several
        space = WIDTH - indent - 6
        operands = [
            part
            for (letter, rest), operand in zip(runs, operands, strict=True)
            for part in ([operand] if letter or _PLACE.search(rest) else map(write, _pieces(rest, space, write)))
        ]
        flat = f"\n{' ' * (indent + 4)}+ ".join(operands)
    return f"(\n{' ' * (indent + 4)}{flat}\n{' ' * indent})"


def _in_pieces(text: str, indent: int, write: Callable[[str], str]) -> str:
    """A long text as several literals, one a line, in brackets."""
    inner = " " * (indent + 4)
    lines = "".join(f"{inner}{write(piece)}\n" for piece in _pieces(text, WIDTH - indent - 4, write))
    return f"(\n{lines}{' ' * indent})"


def _pieces(text: str, space: int, write: Callable[[str], str]) -> Iterator[str]:
    """The pieces of a text, each as long as fits this many columns when written; words are kept whole if possible."""
    space = max(space, _LEAST)
    while columns(write(text[:space])) > space or len(text) > space:
        end = space - 2
        while columns(write(text[:end])) > space:
            end -= 1
        end = text.rfind(" ", end // 2, end) + 1 or end
        yield text[:end]
        text = text[end:]
    yield text
