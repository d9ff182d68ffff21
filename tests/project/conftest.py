"""What the tests of the reference project share: the project on a live server, and users who are signed in."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from labserver import serve
from labserver.project import demo


@pytest.fixture
def server():
    """The reference project, live; stopped after the test."""
    server = serve("labserver.project.asgi:application")
    server.trace.clear()
    yield server
    server.stop()


def _sign_in(name):
    from django.contrib.auth import get_user_model
    from django.db import connections
    from django.test import Client

    try:
        client = Client()
        client.force_login(user := get_user_model().objects.get(username=name))
        return user.pk, client.cookies["sessionid"].value
    finally:
        connections.close_all()


@pytest.fixture
def sessions(server):
    """For alice, bob and carol: the number of the user, and the key of a session."""
    demo.create_users()
    with ThreadPoolExecutor(1) as executor:  # a test's own thread may run an event loop, where the ORM refuses to work
        return {name: executor.submit(_sign_in, name).result() for name in demo.USERS}


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
