"""Django's set-up in a kernel: with the settings of whoever's project is served, or with those of the lab.

Room: Django's settings and applications; nothing of servers, but that the lab's reactor goes before Django's apps.
"""

import atexit
import importlib.util
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from labserver.errors import NotAnApplication, SettingsError

from .names import missing, parted

OURS = "labserver.project.settings"
VARIABLE = "DJANGO_SETTINGS_MODULE"

_NAMED = re.compile(rf"""environ(?:\.setdefault\(|\[)\s*["']{VARIABLE}["']\s*(?:,|\]\s*=)\s*["']([\w.]+)["']""")

_FRAMES = "django.middleware.clickjacking.XFrameOptionsMiddleware"


def configure_django(application: Any = None) -> None:
    """Set Django up, with the lab's project and a secret and a database of its own unless the user brought settings.

    application: what will be served. If it is a dotted name, and no settings are chosen yet, those are taken that its
    module names as `django-admin startproject` writes it.
    Raises NotAnApplication, SettingsError.
    """
    from django.apps import apps
    from django.conf import settings

    from . import reactor  # noqa: F401 - before Django's apps: one of them is daphne, and would bring its own reactor

    theirs = _named_by(application)
    chosen = settings.configured or VARIABLE in os.environ
    if chosen and theirs not in (None, OURS) and os.environ.get(VARIABLE) == OURS:
        raise SettingsError(
            f"expected Django with the settings {theirs} that {application.partition(':')[0]} names, found it set up "
            "with the lab's own, since something else was served first; restart the kernel, and serve this one first"
        )
    if not chosen:
        os.environ[VARIABLE] = theirs or OURS
    ours = not chosen and os.environ[VARIABLE] == OURS
    if ours:
        _of_our_own()
    if not apps.ready:
        zone = os.environ.get("TZ")
        _set_up(apps, os.environ.get(VARIABLE, "settings made by hand"))
        if ours:
            _back_to(zone)


def _named_by(application: Any) -> str | None:
    """The settings that the module of a dotted name would choose, if no others are chosen.

    Raises NotAnApplication where there is no such module: before the lab's settings take the place of the project's.
    """
    if not isinstance(application, str):
        return None
    name, _ = parted(application)
    try:
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        source = Path(importlib.util.find_spec(name).origin).read_text(encoding="utf-8")
    except ModuleNotFoundError as error:
        raise NotAnApplication(f"expected to import {name!r}, {missing(name, error)}") from error
    except (AttributeError, TypeError, ValueError, OSError):
        return None  # a module without a source
    named = _NAMED.search(source)
    return named and named[1]


def _of_our_own() -> None:
    """A key and a database for the lab's project, where the environment names none."""
    os.environ.setdefault("LABSERVER_SECRET_KEY", secrets.token_urlsafe(48))
    if "LABSERVER_DATABASE" not in os.environ:
        # A file: with sync and async callers in several threads, an in-memory SQLite is several databases.
        folder = tempfile.mkdtemp(prefix="labserver-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["LABSERVER_DATABASE"] = os.path.join(folder, "db.sqlite3")


def _set_up(apps: Any, module: str) -> None:
    import django

    if apps.loading:
        raise SettingsError(
            f"expected to set Django up with {module}, found an earlier attempt that failed half-way, which Django "
            "does not take up again; mend what that one told, and restart the kernel"
        )
    try:
        django.setup()
    except ModuleNotFoundError as error:
        again = "; then restart the kernel" if apps.loading else ""
        raise SettingsError(f"expected to set Django up with {module}, {missing(module, error)}{again}") from error


def _back_to(zone: str | None) -> None:
    """Undo what Django's settings do to the time zone of the whole process: a kernel's is the learner's, not ours."""
    os.environ.pop("TZ", None)
    if zone is not None:
        os.environ["TZ"] = zone
    getattr(time, "tzset", int)()  # Windows has none


def strangers() -> list[str]:
    """What to tell somebody whose project does not let 127.0.0.1 in: lines, or none if it does.

    https://docs.djangoproject.com/en/stable/ref/settings/#allowed-hosts
    """
    from django.conf import settings
    from django.http.request import validate_host

    hosts = settings.ALLOWED_HOSTS
    if not settings.SETTINGS_MODULE or (settings.DEBUG and not hosts) or validate_host("127.0.0.1", hosts):
        return []
    host = next((each.lstrip(".") for each in hosts), "…")
    return [
        f"ALLOWED_HOSTS of {settings.SETTINGS_MODULE} is {list(hosts)}, without 127.0.0.1, where the server is: pages "
        "get HTTP 400, and AllowedHostsOriginValidator answers sockets with 403",
        '  for this kernel alone: from django.conf import settings; settings.ALLOWED_HOSTS.append("127.0.0.1")',
        f'  or as a client from there: server.connect(path, origin="https://{host}"), '
        f'server.get(path, headers={{"Host": "{host}"}})',
    ]


def framed() -> list[str]:
    """What to tell somebody whose project forbids to show its pages in a frame: lines, or none.

    https://docs.djangoproject.com/en/stable/ref/clickjacking/
    """
    from django.conf import settings

    if _FRAMES not in settings.MIDDLEWARE or settings.X_FRAME_OPTIONS.upper() not in ("DENY", "SAMEORIGIN"):
        return []
    return [
        f"X_FRAME_OPTIONS is {settings.X_FRAME_OPTIONS}: browsers do not show the project's pages inside of a notebook",
        "  open the address in a tab of its own; or, for this kernel alone, with a value that browsers do not know: "
        'from django.conf import settings; settings.X_FRAME_OPTIONS = "ALLOWALL"',
    ]
