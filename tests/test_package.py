"""The house: which room may import which, and what the package shows."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import labserver

PACKAGE = Path(labserver.__file__).parent

MAY_IMPORT = {
    "errors": set(),
    "trace": {"errors"},
    "live": {"errors", "trace"},
    "course": {"errors", "trace", "live"},
    "validation": {"errors"},
    "project": set(),
}
"""Each room, and the rooms that it may import; `live` and `course` may also use the public names of `labserver`."""


def imported(path):
    """The absolute names of all modules that a file imports, inside functions too; `package.name` for each name."""
    package = ("labserver", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (start, node.module) if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room(name):
    """The room that an imported name is in: `labserver.live.server.serve` is in `live`."""
    parts = name.split(".")
    return parts[1] if parts[0] == "labserver" and len(parts) > 1 else None


def modules(where=""):
    """Every Python file of the package, or of one room."""
    found = sorted(path for path in (PACKAGE / where).rglob("*.py") if "__pycache__" not in path.parts)
    assert found
    return found


def test_rooms_import_in_one_direction():
    """errors ← trace ← live ← course; validation uses errors alone, and project nothing else of labserver."""
    public = set(labserver.__all__)
    wrong = []
    for path in modules():
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if own not in MAY_IMPORT:
            continue
        allowed = MAY_IMPORT[own] | {own} | (public if own in ("live", "course") else set())
        wrong += [f"{path.name} imports {name}" for name in imported(path) if room(name) not in allowed | {None}]
    assert wrong == []


def test_every_room_has_its_rule():
    """No module stands outside the rule, but the package's front door and its command."""
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in modules()}
    assert rooms - {"__init__", "__main__"} == set(MAY_IMPORT)


def outsiders(*packages):
    """The modules that import one of these packages."""
    return {
        path.relative_to(PACKAGE).as_posix()
        for path in modules()
        if any(name.split(".")[0] in packages for name in imported(path))
    }


def test_only_the_reactor_knows_twisted_and_daphne():
    """live/reactor.py alone imports Twisted and daphne."""
    assert outsiders("twisted", "daphne", "autobahn") == {"live/reactor.py"}


def test_trace_and_validation_know_no_django():
    """What draws traces and what runs notebooks is free of Django, Channels, Twisted and network clients."""
    for path in modules("trace") + modules("validation"):
        names = {name.split(".")[0] for name in imported(path)}
        assert not names & {"django", "channels", "twisted", "daphne", "websockets", "httpx"}, path.name


def test_importing_the_package_costs_nothing():
    """`import labserver` loads neither Django nor Twisted, and not even its own rooms."""
    source = (
        "import sys, labserver; print([n for n in sys.modules if n.split('.')[0] in {'django', 'twisted', 'channels'}])"
    )
    source += "; print(sorted(n for n in sys.modules if n.startswith('labserver')))"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["[]", "['labserver']"]


def test_every_public_name_is_there_and_has_a_docstring():
    """Each public name loads, has a docstring, and is listed."""
    assert dir(labserver) == labserver.__all__
    assert {"serve", "LiveServer", "Trace"} <= set(labserver.__all__)
    for name in labserver.__all__:
        assert getattr(labserver, name).__doc__, name


def test_an_unknown_name_is_an_attribute_error():
    """What the package does not have is missing in the usual way."""
    try:
        labserver.no_such_name  # noqa: B018
    except AttributeError as error:
        assert str(error) == "module 'labserver' has no attribute 'no_such_name'"
    else:
        raise AssertionError("no error")


def test_every_public_method_has_a_docstring():
    """What a learner can call on a server or a trace says what it does."""
    for owner in (labserver.LiveServer, labserver.Trace):
        for name, member in vars(owner).items():
            if not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
                assert inspect.getdoc(member), f"{owner.__name__}.{name}"


def test_every_module_says_what_it_is_for():
    """Each module that holds anything begins with a docstring."""
    for path in modules():
        source = path.read_text(encoding="utf-8")
        assert not source.strip() or ast.get_docstring(ast.parse(source)), path.relative_to(PACKAGE)
