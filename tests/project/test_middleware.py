"""What stands before every consumer: a connecting that fails for a reason of ours is answered, others are not."""

import pytest
from channels.testing import ApplicationCommunicator

from labserver.live.server import configure_django
from labserver.project.middleware import ExplainFailures

SCOPE = {"type": "websocket", "path": "/infra/ws/", "headers": []}
CONNECT = {"type": "websocket.connect"}


@pytest.fixture(autouse=True)
def django():
    """Channels' testing module needs settings."""
    configure_django()


def failing(*, after=(), words="the database is away", waits=False):
    """An application that fails, after it has sent these events."""

    async def application(scope, receive, send):
        if waits:
            await receive()
        for event in after:
            await send(event)
        raise ValueError(words)

    return ExplainFailures(application)


@pytest.mark.parametrize(
    ("offered", "answer"),
    [({}, None), ({"subprotocols": ["bearer", "a.b.c"]}, "bearer"), ({"subprotocols": ["x"]}, None)],
)
@pytest.mark.parametrize("waits", [True, False])
async def test_a_failure_before_the_answer_is_accept_error_close(waits, offered, answer, caplog):
    """Whether or not the application had taken the connect event, the client gets 4000 and a reason.

    It is accepted with the subprotocol that carries tokens, if it offers that: browsers want one of those they offer.
    """
    communicator = ApplicationCommunicator(failing(waits=waits), SCOPE | offered)
    await communicator.send_input(CONNECT)
    assert await communicator.receive_output() == {"type": "websocket.accept", "subprotocol": answer}
    assert "try again later" in (await communicator.receive_output())["text"]
    assert await communicator.receive_output() == {"type": "websocket.close", "code": 4000}
    await communicator.wait()
    assert "the database is away" in caplog.text


@pytest.mark.parametrize(
    "application",
    [failing(waits=True, after=[{"type": "websocket.accept"}]), failing(words="No route found for path 'x'.")],
    ids=["accepted already", "no route"],
)
async def test_other_failures_stay_errors(application):
    """A crash after the answer is the server's to close with 1011, and a path without a route is no failure of ours."""
    communicator = ApplicationCommunicator(application, SCOPE)
    await communicator.send_input(CONNECT)
    with pytest.raises(ValueError):
        await communicator.wait()
