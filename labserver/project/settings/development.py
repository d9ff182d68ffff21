"""On your own machine: debug pages, `runserver` with WebSockets, nothing to set up. Used by manage.py."""

import os
import secrets

from .base import *  # noqa: F403
from .base import BASE_DIR, INSTALLED_APPS, SECRET_KEY

DEBUG = True
INTERNAL_IPS = ["127.0.0.1", "::1"]  # where the sign-in page tells of the users that `manage.py demo` makes

# First, because runserver is then daphne's, which serves WebSockets too; Django's own one serves HTTP alone.
INSTALLED_APPS = ["daphne", *INSTALLED_APPS]


def _kept_key(path):
    """A key made at the first start and kept in a file, so that a restart signs nobody out. Git ignores the file."""
    try:
        # Only if there is none yet, and for nobody but its owner.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48))
    except FileExistsError:
        pass
    return path.read_text("ascii")


SECRET_KEY = SECRET_KEY or _kept_key(BASE_DIR / ".secret_key")
