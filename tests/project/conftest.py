"""What the tests of the reference project share: the project on a live server, and users who are signed in."""

import pytest

from labserver import serve
from labserver.project import demo

from ..conftest import PROJECT, in_database


@pytest.fixture
def server():
    """The reference project, live; stopped after the test."""
    server = serve(PROJECT)
    server.trace.clear()
    yield server
    server.stop()


def _sign_in(name):
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client()
    client.force_login(user := get_user_model().objects.get(username=name))
    return user.pk, client.cookies["sessionid"].value


@pytest.fixture
def sessions(server):
    """For alice, bob and carol: the number of the user, and the key of a session."""
    demo.create_users()
    return in_database(lambda: {name: _sign_in(name) for name in demo.USERS})


@pytest.fixture
def ids(sessions):
    """The numbers of alice, bob and carol."""
    return {name: number for name, (number, _) in sessions.items()}


@pytest.fixture
def enter(server, sessions):
    """A function that connects a user to a path, by the cookie of a session."""

    def enter(path, name):
        return server.connect(path, additional_headers={"Cookie": f"sessionid={sessions[name][1]}"})

    return enter
