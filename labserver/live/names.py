"""Where an application can be imported, so that a test made from a recording finds it; and why a name cannot be.

Room: looks at modules that are loaded and at folders, imports none.
"""

import pkgutil
import sys
from pathlib import Path
from typing import Any

from labserver.errors import NotAnApplication

_USUAL = "application"


def importable(application: Any) -> str:
    """`package.module:expression` that gives this application; empty if there is none.

    application: a dotted name, which is returned as it is; a function or class of a module; what `as_asgi()` of a
    consumer returned; or an object that a module calls `application`. A notebook's own names are in `__main__`.
    """
    if isinstance(application, str):
        return application
    consumer = getattr(application, "consumer_class", None)
    if consumer is not None:
        name = _defined(consumer)
        return f"{name}.as_asgi()" if name and not getattr(application, "consumer_initkwargs", None) else ""
    return _defined(application) or _held(application)


def _defined(thing: Any) -> str:
    """Of a function or class: where it is defined, if that name still means it."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "")
    found = getattr(sys.modules.get(module), name, None)
    return f"{module}:{name}" if found is thing else ""


def _held(application: Any) -> str:
    """Of anything else: the module that calls it `application`; one that a project has before the notebook."""
    found = [
        name
        for name, module in sys.modules.copy().items()
        if getattr(module, "__dict__", {}).get(_USUAL) is application  # no getattr of theirs: some modules load others
    ]
    return f"{min(found, key=lambda name: (name.startswith('__'), name))}:{_USUAL}" if found else ""


def parted(dotted: str) -> tuple[str, str]:
    """The module and the name in it that `package.module:name` means. Raises NotAnApplication for any other form."""
    module, _, name = dotted.partition(":")
    if module and name:
        return module, name
    example = "mysite.asgi:application"
    if "." in module and not name:  # a module, or a name in one
        example = f"{module}:{_USUAL}" if module.endswith(".asgi") else ":".join(module.rsplit(".", 1))
    raise NotAnApplication(f"expected 'package.module:name', found {dotted!r}; write for example {example!r}")


def missing(wanted: str, error: ModuleNotFoundError) -> str:
    """What was found instead of a module that was to be imported, and the next step: the end of an error's text."""
    found = error.name or str(error)
    above, _, last = found.rpartition(".")
    if inside := getattr(sys.modules.get(above), "__path__", None):
        known = ", ".join(sorted(each.name for each in pkgutil.iter_modules(inside)))
        return f"found no module {last!r} in {above!r}, which has {known or 'none'}; check its spelling"
    if not f"{wanted}.".startswith(f"{found}."):
        return (
            f"found no module named {found!r}, which it needs; is this kernel's Python, {sys.executable}, that of the "
            f"project's environment? choose that kernel, or install here what is missing, with %pip install"
        )
    step = f"found no module named {found!r} in the folders of sys.path"
    if folder := _holding(found):
        return f"{step}; it is in {folder}: import sys; sys.path.insert(0, {str(folder)!r})"
    return f"{step}; put the project's there: import sys; sys.path.insert(0, 'the folder that manage.py is in')"


def _holding(package: str) -> Path | None:
    """The folder with this package that is nearest to the current one: above it, or beside what is above it."""
    here = Path.cwd()
    for above in (here, *here.parents)[:4]:
        for found in (above / package, *sorted(above.glob(f"*/{package}"))):
            if any(found.glob("*.py")):
                return found.parent
    return None
