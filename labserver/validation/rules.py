"""The rules of a sanitize file: what is not compared, because it is another on each run. Each rule is watched itself.

Room: texts; runs nothing. The file has nbval's form (https://nbval.readthedocs.io): a line `regex: …`, and below it a
line `replace: …`, as often as needed; other lines are for people.

A rule that matches nothing is a promise that nobody needs. One that hides too much makes a comparison that cannot fail:
one that matches the empty text, a whole output, or more than a line.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from labserver.errors import ValidationError

from .book import Problem, shown


@dataclass(frozen=True, slots=True)
class Rule:
    """One pattern and what it is replaced by; its name tells where it stands."""

    name: str
    pattern: re.Pattern[str]
    replacement: str

    def greedy(self, match: re.Match[str]) -> bool:
        """Whether this match hides too much."""
        hidden = match[0].strip()
        return not hidden or "\n" in hidden or hidden == match.string.strip()


class Rules:
    """Rules in their order, and how often each has matched."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = rules
        self._hits: dict[str, list[int]] = {}

    @classmethod
    def read(cls, path: str | None) -> Self:
        """The rules in a file; none for None. Raises ValidationError for a file that is none, naming the line."""
        if path is None:
            return cls()
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise ValidationError(f"expected a sanitize file, but found {type(error).__name__}: {error}") from error
        return cls([cls._rule(path, n, *lines[n : n + 2]) for n, line in enumerate(lines) if line.startswith("regex:")])

    @staticmethod
    def _rule(path: str, position: int, regex: str, replace: str = "") -> Rule:
        name = f"{shown(Path(path))}, line {position + 1}"
        if not replace.startswith("replace:"):
            raise ValidationError(f"expected a line 'replace: …' after {name}, but found {replace!r}")
        replacement = replace.removeprefix("replace:").removeprefix(" ")
        try:
            pattern = re.compile(regex.removeprefix("regex:").removeprefix(" "))
            pattern.sub(replacement, "")
        except re.error as error:
            raise ValidationError(f"expected a regular expression of Python in {name}, but found: {error}") from error
        return Rule(f"{name} ({pattern.pattern})", pattern, replacement)

    def hide(self, text: str) -> str:
        """The text after all rules, one after the other; what they match is counted."""
        for rule in self._rules:
            matches = list(rule.pattern.finditer(text))
            if matches:
                hits = self._hits.setdefault(rule.name, [0, 0])
                hits[0] += len(matches)
                hits[1] += sum(map(rule.greedy, matches))
                text = rule.pattern.sub(rule.replacement, text)
        return text

    def taken(self) -> dict[str, list[int]]:
        """By rule, how often it has matched, and how often too much, since the last call."""
        hits, self._hits = self._hits, {}
        return hits

    def idle(self, hits: Mapping[str, Sequence[int]]) -> list[str]:
        """What is to be said of rules that matched nothing at all."""
        return [f"{rule.name} matches nothing; delete it" for rule in self._rules if rule.name not in hits]

    def judged(self, hits: Mapping[str, Sequence[int]]) -> list[Problem]:
        """The rules that hide too much."""
        return [
            Problem(
                "",
                f"{name} hides too much: {greedy} of its {total} matches are empty, a whole output, or more than one "
                "line; make it narrower, or mark the cell: `# NBVAL_IGNORE_OUTPUT: why`",
            )
            for name, (total, greedy) in hits.items()
            if greedy
        ]


NONE = Rules()
"""No rules: everything is compared."""
