"""An application by its dotted name, with the code of its project as it is on disk now.

Room: imports modules. Those that changed, and those that use them, are replaced by new ones; the old ones are not
touched, so that connections which run them go on as they were.
"""

import contextlib
import functools
import importlib
import importlib.util
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from labserver.errors import NotAnApplication, SettingsError

from .imports import affected
from .names import missing, parted
from .recorder import is_library, say
from .settings import OURS, VARIABLE

_seen: dict[str, bytes] = {}
"""The source of each module of a project, as it was when the module was imported."""


def imported(dotted: str) -> Any:
    """The object that `package.module:name` means, imported anew where its project has changed on disk.

    Raises NotAnApplication, SettingsError, and what the project's own code raises: then all modules are as they were.
    """
    from django.apps import apps

    name, attribute = parted(dotted)
    before = set(sys.modules)
    try:
        module = importlib.import_module(name)
        if apps.ready and (root := _root(module)):
            _renew(root, name, before)
    except ModuleNotFoundError as error:
        raise NotAnApplication(f"expected to import {name!r}, {missing(name, error)}") from error
    except RuntimeError as error:
        if "INSTALLED_APPS" not in str(error) or os.environ.get(VARIABLE) != OURS:
            raise
        raise SettingsError(
            f"expected to import {name!r}, found a model that is not of the lab's project, whose settings are in use; "
            f"restart the kernel, and name yours before serve(…): %env {VARIABLE}=mysite.settings"
        ) from error
    try:
        return getattr(sys.modules[name], attribute)
    except AttributeError:
        raise NotAnApplication(
            f"expected {name!r} to define {attribute!r}, found no such name; check its spelling"
        ) from None


def _root(module: ModuleType) -> str:
    """The folder that holds the project: where the top package of this module is. Empty for what has no source."""
    depth = module.__name__.count(".") + hasattr(module, "__path__")
    return str(Path(os.path.normpath(_file(module))).parents[depth]) if _file(module) else ""


def _file(module: ModuleType) -> str:
    """The source of a module; empty for whatever else stands among the modules."""
    spec = getattr(module, "__dict__", {}).get("__spec__")  # no getattr of theirs: some modules load others
    file = getattr(spec, "origin", None) or ""
    return file if file.endswith(".py") else ""


def _modules(root: str) -> dict[str, ModuleType]:
    """The modules of the project that are loaded; not its tests, and nothing installed in an environment inside."""
    found = {}
    for name, module in sys.modules.copy().items():  # a list of them may meet the collector, and what that imports
        if not _own(_file(module)).startswith(root + os.sep) or module.__spec__.name != name:
            continue
        if not any(part in ("test", "tests", "conftest") or part.startswith("test_") for part in name.split(".")):
            found[name] = module
    return found


@functools.cache  # of thousands of modules, for each `serve`
def _own(file: str) -> str:
    """One way to write a path, since sys.path may hold "..", and both slashes; empty for what is installed."""
    path = os.path.normpath(file)
    return "" if is_library(Path(path)) else path


def _renew(root: str, name: str, before: set[str]) -> None:
    """Replace what changed, and what uses it, and say so. before: the modules that were there, outdated perhaps."""
    modules = _modules(root)
    now = {each: _source(module) for each, module in modules.items()}
    changed = {each for each in now if _seen.get(each, now[each]) != now[each]}
    changed |= {each for each in before & now.keys() - _seen.keys() if _outdated(modules[each])}
    once = _once() if changed else set()
    packages = {each: module.__spec__.parent for each, module in modules.items()}
    reached = affected(changed, once, now, packages) if changed else set()
    if again := reached - once:
        again |= {name} & modules.keys()  # it holds what settings name: middleware, and the pages
        _replace(name, again, changed, modules)
        if edited := {each for each in changed - once if os.path.exists(_file(modules[each]))}:
            print(f"loaded again, since {_and(edited)} changed: {', '.join(sorted(again))}", flush=True)
    if kept := reached & once:
        say(f"not loaded again: {_and(kept)}; Django loads models, apps and settings once: restart the kernel for that")
    for each, module in _modules(root).items():
        if each not in kept:
            _seen[each] = now[each] if modules.get(each) is module else _source(module)
    if name in before:
        _forget_templates()


def _source(module: ModuleType) -> bytes:
    try:
        return Path(_file(module)).read_bytes()
    except OSError:
        return b""  # it was deleted


def _outdated(module: ModuleType) -> bool:
    """Whether a module that nobody looked at yet was imported from another source than there is now.

    Its bytecode holds the time and the size of the source that it was made of.
    https://docs.python.org/3/reference/import.html#cached-bytecode-invalidation
    """
    try:
        flags, *made_of = struct.unpack("<4x3I", Path(module.__spec__.cached).read_bytes()[:16])
        source = os.stat(_file(module))
    except (OSError, TypeError, struct.error):
        return False  # no bytecode: nobody knows
    there = [int(source.st_mtime) & 0xFFFFFFFF, source.st_size & 0xFFFFFFFF]
    return not flags and not sys.dont_write_bytecode and made_of != there


def _once() -> set[str]:
    """The modules that Django loads once in a process: settings, applications, and those that define models."""
    from django.apps import apps
    from django.conf import settings

    models = {model.__module__ for model in apps.get_models(include_auto_created=True, include_swapped=True)}
    configs = {name for config in apps.get_app_configs() for name in (config.name, type(config).__module__)}
    admin = {name for name in sys.modules if name.endswith(".admin")}  # a model is registered there, once
    return {str(settings.SETTINGS_MODULE)} | models | configs | admin


def _replace(name: str, again: set[str], changed: set[str], old: dict[str, ModuleType]) -> None:
    """Import these anew; if that fails, all is as it was."""
    from django.urls import clear_url_caches

    for each in changed & again:  # bytecode of an edit in the same second, of the same length, is taken for its own
        with contextlib.suppress(OSError, TypeError):
            os.unlink(old[each].__spec__.cached)
    importlib.invalidate_caches()
    for each in again:
        del sys.modules[each]
        above, _, last = each.rpartition(".")
        if above in old and vars(old[above]).get(last) is old[each]:
            delattr(old[above], last)  # `from . import it` takes what it finds here
    try:
        for each in sorted(again):
            if each == name or os.path.exists(_file(old[each])):  # what was deleted is left out; `name` may have moved
                importlib.import_module(each)
    except BaseException:
        sys.modules.update(old)
        raise
    finally:
        clear_url_caches()
        there = old.keys() & sys.modules.keys()
        for each in sorted(there):  # a new package knows its old modules, and an old one the new
            above, _, last = each.rpartition(".")
            if above in there and isinstance(vars(sys.modules[above]).get(last, old[each]), ModuleType):
                setattr(sys.modules[above], last, sys.modules[each])


def _forget_templates() -> None:
    """Templates are read anew: Django keeps them, also with DEBUG, and only its `runserver` looks at the files."""
    from django.template.autoreload import reset_loaders

    reset_loaders()


def _and(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))
