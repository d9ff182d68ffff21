"""When an application has dealt with an event: it has ended, or it waits for the next one."""

import asyncio
import contextlib

import pytest

from labserver.errors import TimeLimit
from labserver.live import settling
from labserver.live.settling import dealt_with, received, recording
from labserver.trace.events import Log

EVENT = {"type": "websocket.receive", "text": "a"}


@contextlib.asynccontextmanager
async def running(application):
    """A recorder that runs this application for a client, and puts what the client sends."""
    recorder, queue = recording(Log()), asyncio.Queue()
    recorder.swap(application)
    task = asyncio.create_task(recorder({"type": "websocket", "path": "/"}, queue.get, None))
    await asyncio.sleep(0)
    try:
        yield recorder, queue.put_nowait
    finally:
        task.cancel()
        await asyncio.wait([task])


async def listens(scope, receive, send):
    """Receives, whatever comes."""
    while True:
        await receive()


async def test_an_event_is_dealt_with_when_the_application_asks_for_the_next():
    """Not before it has received as many as were sent."""
    async with running(listens) as (recorder, put):
        for number in (1, 2):
            put(EVENT)
            await dealt_with(recorder, 1, number)
            assert received(recorder.log, 1) == number and received(recorder.log, 2) == 0


async def test_all_is_dealt_with_when_the_application_has_ended():
    """However many events it was sent."""

    async def leaves(scope, receive, send):
        await receive()

    async with running(leaves) as (recorder, put):
        put(EVENT)
        await dealt_with(recorder, 1, 5)
        assert not recorder.live and received(recorder.log, 1) == 1


async def test_what_is_on_its_way_through_a_layer_is_waited_for():
    """The application is at rest when its channel is, too; that is asked for again and again."""
    asked = []

    def idle(number):
        asked.append(number)
        return len(asked) > 5

    async with running(listens) as (recorder, put):
        put(EVENT)
        await dealt_with(recorder, 1, 1, idle)
    assert len(asked) > 5 and set(asked) == {1}


@pytest.mark.parametrize("events", [0, 1])
async def test_an_application_that_waits_for_something_else_is_told(monkeypatch, events):
    """A limit keeps an application that never comes back from holding the caller."""
    monkeypatch.setattr(settling, "STEP", 0.05)

    async def dozes(scope, receive, send):
        await asyncio.sleep(10)

    async with running(dozes) as (recorder, put):
        put(EVENT)
        expected = rf"within 0\.05 s of event {events}, found it waiting for something else"
        with pytest.raises(TimeLimit, match=expected):
            await dealt_with(recorder, 1, events)


async def test_a_recorder_beside_the_servers_says_nothing(capsys):
    """It records for whoever asked for it, and tells the learner nothing under the cell."""

    async def crashes(scope, receive, send):
        raise RuntimeError

    recorder = recording(log := Log())
    recorder.swap(crashes)
    with pytest.raises(RuntimeError):
        await recorder({"type": "websocket", "path": "/"}, None, None)
    assert log.total == 1 and capsys.readouterr() == ("", "")
