"""Which modules of a project are touched by a change of some of them, read from their sources.

Room: pure values.
"""

import ast
from collections.abc import Mapping, Set
from importlib.util import resolve_name


def affected(changed: Set[str], once: Set[str], sources: Mapping[str, bytes], packages: Mapping[str, str]) -> set[str]:
    """What changed, what uses that, and so on.

    changed, once: names of modules; those of `once` stay as they are, so what uses them does as well.
    sources, packages: of each module, by its name, and the package that its relative imports start from.
    """
    uses = {name: _uses(source, packages[name], strings=name not in once) for name, source in sources.items()}
    found: set[str] = set()
    waiting = set(changed)
    while waiting:
        found |= waiting
        waiting = {name for name in uses if uses[name] & (waiting - once)} - found
    return found


def _uses(source: bytes, package: str, strings: bool) -> set[str]:
    """The names that a source imports, and the dotted ones that stand in it as strings: `include("chat.urls")`.

    strings: not those of settings, which hold no more than the name.
    """
    found = set()
    try:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                module = resolve_name("." * node.level + (node.module or ""), package)
                found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
            elif strings and isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
                found.add(node.value)
    except (SyntaxError, ValueError, ImportError):
        pass  # importing it will tell
    return found
