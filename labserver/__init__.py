"""Channels Lab: a live Channels server inside the notebook, with its wire shown as pictures.

Room: the public names, loaded when first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "LiveServer": "labserver.live.server",
    "serve": "labserver.live.server",
    "Trace": "labserver.trace.events",
    "check": "labserver.course.api",
    "hint": "labserver.course.api",
    "progress": "labserver.course.api",
    "reset": "labserver.course.api",
    "solution": "labserver.course.api",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__


def load_ipython_extension(shell: Any) -> None:
    """What `%load_ext labserver` calls: from now on a cell may begin with `%%needs nginx`, see `course.needs`."""
    import_module("labserver.course.needs").register(shell)
