"""Settings of the reference project in the lab, where a kernel or a test makes a fresh key.

LABSERVER_SECRET_KEY has to hold 32 bytes or more; base.py lists the other variables. The database is db.sqlite3 in the
current folder unless LABSERVER_DATABASE says otherwise.
"""

from django.core.exceptions import ImproperlyConfigured

from .base import *  # noqa: F403
from .base import DATABASES, INSTALLED_APPS, MIDDLEWARE, SECRET_KEY, os

if len(SECRET_KEY.encode()) < 32:
    raise ImproperlyConfigured(
        f"expected LABSERVER_SECRET_KEY to hold 32 bytes or more, found {len(SECRET_KEY.encode())}; in a "
        "notebook, run the cell with serve(…) first, which makes one; elsewhere set it, for example with: "
        'export LABSERVER_SECRET_KEY=$(python -c "import secrets; print(secrets.token_urlsafe(48))")'
    )

INSTALLED_APPS = ["daphne", *INSTALLED_APPS]
DATABASES["default"]["NAME"] = os.environ.get("LABSERVER_DATABASE", "db.sqlite3")

# Lessons show the pages in a frame of the notebook.
MIDDLEWARE = [each for each in MIDDLEWARE if not each.endswith(".XFrameOptionsMiddleware")]
