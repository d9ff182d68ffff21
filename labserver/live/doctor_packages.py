"""What the doctor looks at in Python: its version, the packages against what they ask for, and files that hide them.

Room: metadata and folders; imports none of the packages that it judges. What is asked for stands in pyproject.toml
alone, and comes here as the metadata of what is installed.
"""

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .doctor import FAIL, NOTE, OK, Finding, pip_install

DISTRIBUTION = "channels-lab"

SHOWN = (
    "django channels daphne twisted autobahn websockets ipykernel jupyterlab jupyter-server-proxy nest-asyncio2"
).split()
"""The packages that get a line of their own even if all is well."""

EXTRAS = {
    "redis": "lessons 05 and 09",
    "deploy": "lessons 02 and 09",
    "validate": "`labserver validate`",
}
"""Optional packages by the name of their extra, and what needs them."""

OURS = frozenset({"labserver", "test", "tests"})
"""Names that hide nothing that anybody looks for."""


def python() -> Iterator[Finding]:
    """The version of Python, and which one it is: a notebook's kernel may be another one."""
    from packaging.specifiers import SpecifierSet

    asked, version = importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"], platform.python_version()
    if SpecifierSet(asked).contains(version, prereleases=True):
        yield Finding(OK, f"Python {version} at {sys.executable}")
    else:
        fix = "make an environment with a Python of that range: README.md, Start"
        yield Finding(FAIL, f"Python {version}: {DISTRIBUTION} asks for {asked}", fix)


def kernel() -> Iterator[Finding]:
    """Whether this is the Python of the notebook in which it is called with an exclamation mark."""
    import psutil

    for parent in psutil.Process().parents():
        words = _command_line(parent)
        if any(word.startswith("ipykernel") for word in words) and os.path.isabs(words[0]):
            if _folder(words[0]) != _folder(sys.executable):
                found = f"this doctor is that of {sys.executable}, the notebook's kernel seems to be {words[0]}"
                fix = "ask the kernel itself: %run -m labserver doctor; if that fails, change the kernel (menu Kernel)"
                yield Finding(NOTE, found, fix)
            return


def kernelspec() -> Iterator[Finding]:
    """Whether a notebook that is opened here gets this Python: a kernel of that name may be another environment's.

    https://jupyter-client.readthedocs.io/en/stable/kernels.html#kernel-specs
    """
    from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager

    if "JPY_SESSION_NAME" in os.environ:  # in a notebook that has its kernel
        return
    spec = KernelSpecManager().get_kernel_spec(NATIVE_KERNEL_NAME)
    started = spec.argv[0]
    if os.path.isabs(started) and _folder(started) != _folder(sys.executable):
        text = f"notebooks start {started}, not this environment's Python: the kernel in {spec.resource_dir} says so"
        fix = f'"{sys.executable}" -m jupyter kernelspec remove {NATIVE_KERNEL_NAME}; then restart the kernel'
        yield Finding(FAIL, text, fix)
    else:
        yield Finding(OK, f"notebooks start this Python ({spec.display_name})")


def _folder(path: str) -> str:
    return os.path.normcase(os.path.dirname(path))


def _command_line(process: Any) -> list[str]:
    import psutil

    try:
        return process.cmdline() or [""]
    except psutil.Error:  # somebody else's
        return [""]


def packages() -> Iterator[Finding]:
    """All that channels-lab needs, and all that these need in turn."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    queue, seen, fine = [(DISTRIBUTION, text, frozenset()) for text in _asked(DISTRIBUTION)], set(), set()
    while queue:
        by, text, extras = queue.pop(0)
        if (text, extras) in seen:
            continue
        seen.add((text, extras))
        requirement = Requirement(text)
        if not _applies(requirement, extras):
            continue
        name, found = canonicalize_name(requirement.name), _unmet(requirement)
        if found:
            yield Finding(FAIL, f"{found}: {by} asks for {_bare(requirement)}", pip_install([_bare(requirement)]))
            continue
        if name in SHOWN and name not in fine:
            yield Finding(OK, f"{requirement.name} {_version(name)}")
        fine.add(name)
        queue += [(name, each, frozenset(requirement.extras)) for each in _asked(name)]
    yield Finding(OK, f"{len(fine)} packages as {DISTRIBUTION} and they themselves ask for")


def extras() -> Iterator[Finding]:
    """What only some lessons need: missing is a note, of the wrong version is a fault."""
    from packaging.requirements import Requirement

    for extra, purpose in EXTRAS.items():
        of_it = [each for each in map(Requirement, _asked(DISTRIBUTION)) if each.marker]
        wanted = [each for each in of_it if _applies(each, {extra}) and not _applies(each, ())]
        missing = [_bare(each) for each in wanted if _version(each.name) is None]
        wrong = [each for each in wanted if _bare(each) not in missing and _unmet(each)]
        if missing:
            text = f"not installed: {', '.join(missing)}; only for {purpose}"
            yield Finding(NOTE, text, pip_install(missing))
        for each in wrong:
            yield Finding(FAIL, f"{_unmet(each)}: expected {_bare(each)} for {purpose}", pip_install([_bare(each)]))
        if not missing and not wrong:
            yield Finding(OK, f"{', '.join(f'{each.name} {_version(each.name)}' for each in wanted)} (for {purpose})")


def archived() -> Iterator[Finding]:
    """The package that tutorials name, and that is no longer maintained (https://github.com/erdewit/nest_asyncio)."""
    if version := _version("nest-asyncio"):
        text = f"nest-asyncio {version} is archived: with it, cells queued after asyncio.run never run"
        yield Finding(NOTE, text, "import nest_asyncio2 instead, as lesson 00 does")


def hidden() -> Iterator[Finding]:
    """Files beside the notebooks that Python takes for a module: a kernel looks into the notebook's folder first.

    A module that this process has loaded by now is one that notebooks need as well.
    """
    packages = {name for name in importlib.metadata.packages_distributions() if not name.startswith("_")} - OURS
    found = False
    for folder in _folders(Path.cwd()):
        for path in sorted(folder.iterdir()):
            name = path.stem if path.suffix == ".py" else path.name if os.path.isfile(path / "__init__.py") else ""
            if name in packages or name in sys.stdlib_module_names - OURS:
                found = True
                level = FAIL if name in packages or name in sys.modules else NOTE
                yield Finding(level, f"{path} hides the module {name!r} from notebooks", "give it another name")
    if not found:
        yield Finding(OK, "no file beside the notebooks hides a package")


def _folders(here: Path) -> list[Path]:
    """This folder, and those in it that hold notebooks."""
    below = [path for path in sorted(here.iterdir()) if os.path.isdir(path) and any(path.glob("*.ipynb"))]
    return [here, *below]


def _asked(name: str) -> list[str]:
    return importlib.metadata.requires(name) or []


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _applies(requirement: Any, extras: Iterable[str]) -> bool:
    """Whether it counts on this system, for who has asked for these extras."""
    return not requirement.marker or any(requirement.marker.evaluate({"extra": each}) for each in extras or ("",))


def _unmet(requirement: Any) -> str:
    """What is there instead of what is asked for; nothing if that is there."""
    version = _version(requirement.name)
    if version is None:
        return f"{requirement.name} is not installed"
    return "" if requirement.specifier.contains(version, prereleases=True) else f"{requirement.name} {version}"


def _bare(requirement: Any) -> str:
    """It without the conditions under which it counts."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


CHECKS = (python, hidden, kernel, kernelspec, packages, extras, archived)
