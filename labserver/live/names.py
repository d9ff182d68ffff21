"""Where an application can be imported, so that a test made from a recording finds it.

Room: looks at modules that are loaded, imports none.
"""

import sys
from typing import Any

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
        for name, module in list(sys.modules.items())
        if getattr(module, "__dict__", {}).get(_USUAL) is application  # no getattr of theirs: some modules load others
    ]
    return f"{min(found, key=lambda name: (name.startswith('__'), name))}:{_USUAL}" if found else ""
