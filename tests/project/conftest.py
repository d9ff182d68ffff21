"""What the tests of the reference project share: the project on a live server."""

import pytest

from labserver import serve


@pytest.fixture
def server():
    """The reference project, live; stopped after the test."""
    server = serve("labserver.project.asgi:application")
    server.trace.clear()
    yield server
    server.stop()
