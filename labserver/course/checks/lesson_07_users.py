"""What the checks of lesson 07 run answers with: users in a database of their own, tokens of theirs, a moved clock."""

import contextlib
import contextvars
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.db import connections, router
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

ALIAS = "a check's own"

_inside = contextvars.ContextVar("whether a check's own database counts", default=False)
_clock = contextvars.ContextVar("a check's own clock", default=None)


class _Router:
    """Leads to the check's own database, inside the check alone; nobody else's queries come there."""

    def db_for_read(self, model, **hints):
        return ALIAS if _inside.get() else None

    db_for_write = db_for_read


class Users:
    """alice, bob and carol, whose numbers are 1, 2 and 3."""

    def __init__(self):
        with connections[ALIAS].schema_editor() as editor:
            editor.create_model(User)
        self.made = {name: User(username=name, password=f"a hash for {name}") for name in ("alice", "bob", "carol")}
        for user in self.made.values():
            user.save()

    def token(self, name, kind=AccessToken, **claims):
        """A token of this user, with these claims changed, signed with the key of the settings."""
        token = kind.for_user(self.made[name])
        token.payload.update(claims)
        return str(token)

    def refresh_token(self, name):
        return self.token(name, RefreshToken)

    @contextlib.asynccontextmanager
    async def changed(self, name, **fields):
        """Inside it, the database holds something else of this user."""
        user = self.made[name]
        change = database_sync_to_async(User.objects.filter(pk=user.pk).update)
        await change(**fields)
        try:
            yield
        finally:
            await change(**{field: getattr(user, field) for field in fields})


@contextlib.asynccontextmanager
async def own_users():
    """Inside it, users are those of the check's own database, for all that the check runs and for nobody else."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        own = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(Path(folder, "users")), "OPTIONS": {}}
        more = {**connections.settings, ALIAS: connections.settings["default"] | own | {"CONN_MAX_AGE": 0}}
        token = _inside.set(True)
        try:
            with patch.object(connections, "settings", more), patch.object(router, "routers", [_Router()]):
                yield await database_sync_to_async(Users)()
        finally:
            _inside.reset(token)


class _Clock:
    """The clock of a check, which counts how often it was read."""

    def __init__(self, moved):
        self._moved, self.reads = moved, 0

    def ahead(self):
        """Seconds by which it was moved."""
        self.reads += 1
        return self._moved.cache.ahead


@contextlib.contextmanager
def moved_time(moved):
    """Inside it, `time.time` goes with the clock of `own_cache`, for all that the check runs and for nobody else."""
    now, clock = time.time, _Clock(moved)
    token = _clock.set(clock)
    try:
        with patch.object(time, "time", lambda: now() + (each.ahead() if (each := _clock.get()) else 0)):
            yield clock
    finally:
        _clock.reset(token)
