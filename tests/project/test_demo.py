"""The demonstration users: made on demand, from any kind of caller, and the same however often."""

import io
import os
import subprocess
import sys
import threading

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import override_settings

from labserver.project import demo

from ..conftest import in_database

SCRIPT = """
from labserver.project import demo
demo.create_users()
from django.contrib.auth.models import User
print(*sorted(User.objects.values_list("username", flat=True)))
print(all(user.check_password("lab") for user in User.objects.all()))
"""


def users():
    """The users by name; imported late, as models need Django's setup."""
    from django.contrib.auth.models import User

    return in_database(lambda: {user.username: user for user in User.objects.all()})


def script(tmp_path, **environment):
    """Run SCRIPT in a process of its own, with a database that does not exist yet."""
    base = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    base |= {"LABSERVER_SECRET_KEY": "k" * 32, "LABSERVER_DATABASE": str(tmp_path / "demo.sqlite3")} | environment
    return subprocess.run([sys.executable, "-c", SCRIPT], env=base, capture_output=True, text=True, timeout=60)


async def test_a_cell_may_call_it(server):
    """In a thread whose event loop runs, as a notebook's does, the call makes the three users, each with `lab`."""
    demo.create_users()

    found = users()
    assert set(demo.USERS) <= set(found)
    assert all(found[name].check_password(demo.PASSWORD) and found[name].is_active for name in demo.USERS)


def test_a_script_may_call_it(tmp_path):
    """In a plain script it sets Django up, makes the missing tables, and leaves a database that the script can use."""
    done = script(tmp_path, DJANGO_SETTINGS_MODULE="labserver.project.settings")

    assert done.stdout.split("\n")[:2] == ["alice bob carol", "True"], done.stderr
    assert done.stderr == ""


def test_without_settings_it_says_what_django_says(tmp_path):
    """Where Django has no settings, the caller gets Django's own error."""
    done = script(tmp_path)

    assert ImproperlyConfigured.__name__ in done.stderr and "DJANGO_SETTINGS_MODULE" in done.stderr


def test_a_second_call_changes_nothing(server):
    """Users that are as they should be keep their ids and their passwords, and with these their sessions."""
    demo.create_users()
    before = {name: (user.pk, user.password) for name, user in users().items()}
    demo.create_users()

    assert {name: (user.pk, user.password) for name, user in users().items()} == before


def test_a_changed_user_is_put_back(server):
    """A lesson may change a password or disable a user; the next call gives back what the course says of them."""
    demo.create_users()

    def change():
        from django.contrib.auth.models import User

        bob = User.objects.get(username="bob")
        bob.is_active = False
        bob.set_password("forgotten")
        bob.save()

    in_database(change)
    demo.create_users()

    bob = users()["bob"]
    assert bob.is_active and bob.check_password(demo.PASSWORD)


def test_other_users_are_left_alone(server):
    """Whoever else is in the database stays as they are."""
    from django.contrib.auth.models import User

    demo.create_users()
    in_database(lambda: User.objects.create_user("dora", password="her own", is_active=False))
    try:
        demo.create_users()
        dora = users()["dora"]
        assert not dora.is_active and dora.check_password("her own")
    finally:
        in_database(lambda: User.objects.filter(username="dora").delete())


def test_no_thread_is_left(server):
    """The thread that did the work has ended when the call returns."""
    demo.create_users()

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("demo users")]


def command(*arguments):
    """Run `manage.py demo` in the database of the live server; returns what it printed."""
    out = io.StringIO()
    in_database(lambda: call_command("demo", *arguments, stdout=out))
    return out.getvalue()


def test_the_command_makes_them_with_a_password_that_it_prints(server):
    """`manage.py demo` gives the three users one random password; a second call gives them another one."""
    first, second = (command().rpartition(" ")[2].strip() for _ in range(2))
    assert len(first) >= 12 and first != second
    assert all(users()[name].check_password(second) and users()[name].is_active for name in demo.USERS)


def test_the_command_takes_a_password(server):
    """`--password` gives one."""
    assert command("--password", "of this test") == (
        "The users alice, bob, carol are there, each with the password: of this test\n"
    )
    assert users()["carol"].check_password("of this test")


@pytest.mark.parametrize("debug", [False, True])
def test_the_command_leaves_a_site_with_users_alone(server, monkeypatch, debug):
    """Where other users are, alice may be somebody: nothing is changed, not even the tables, and it says what to do."""
    from django.contrib.auth.models import User

    from labserver.project.chat.management.commands import demo as module

    command("--password", "before")
    in_database(lambda: User.objects.create_user("dora", password="her own"))
    monkeypatch.delattr(module, "call_command")  # nothing is migrated
    try:
        with override_settings(DEBUG=debug), pytest.raises(CommandError, match="nothing was changed.*createsuperuser"):
            command("--password", "after")
        assert users()["alice"].check_password("before")
    finally:
        in_database(lambda: User.objects.filter(username="dora").delete())
