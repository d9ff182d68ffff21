"""Users to try things out with, made by an explicit call only: `from labserver.project import demo`, and then
`demo.create_users()`.
"""

from concurrent.futures import ThreadPoolExecutor

import django
from django.apps import apps
from django.db import connections

USERS = ("alice", "bob", "carol")
"""The names of the demonstration users."""

PASSWORD = "lab"
"""The password of each of them: public, so never for a site that others can reach."""


def create_users() -> None:
    """Make the tables if they are missing, and the users alice, bob and carol with the password `lab`.

    A second call leaves them as they are, or puts them back: active, with that password. Other users are not touched.
    Raises ImproperlyConfigured where Django has no settings (in a notebook, run the cell with serve(…) first).

    The work is done in a thread of its own, and this function waits for it. Django's ORM refuses synchronous calls in
    a thread that runs an event loop (SynchronousOnlyOperation), and a notebook's cells run in such a thread. So this
    may be called from a cell, from a script and from `manage.py shell` alike. While it works (a second or so: hashing
    passwords is slow on purpose) that loop stands still; in an async function of a real site, write instead
    `await sync_to_async(create_users)()`.
    """
    with ThreadPoolExecutor(1, "demo users") as executor:
        executor.submit(_create_users).result()


def _create_users() -> None:
    if not apps.ready:
        django.setup()
    from django.contrib.auth import get_user_model
    from django.contrib.auth.hashers import make_password
    from django.core.management import call_command

    User = get_user_model()  # only now: models need the set-up
    encoded = ""  # one salted hash for all three: making one and checking one are slow on purpose
    try:
        call_command("migrate", verbosity=0, interactive=False)
        for name in USERS:
            user = User.objects.filter(username=name).first() or User(username=name)
            if user.password and (user.password == encoded or user.check_password(PASSWORD)):
                encoded = user.password
            else:
                user.password = encoded = encoded or make_password(PASSWORD)
            user.is_active = True
            user.save()
    finally:
        connections.close_all()  # those of this thread, which ends here
