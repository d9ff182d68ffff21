"""When the applications that a recorder runs have dealt with what their clients did: then the next event may follow.

Room: a recorder and its log, on whichever loop asks; no server, no clients, no Django.
"""

import asyncio
import time
from collections.abc import Callable

from labserver.errors import TimeLimit
from labserver.trace.events import Log

from .recorder import Recorder

STEP = 1.0
"""Seconds that an application may take to deal with one event."""


def recording(log: Log, kind: type[Recorder] = Recorder) -> Recorder:
    """A recorder beside that of the server: it says nothing under the cell, and has no groups to leave."""
    return kind(log, _nobody, tell=lambda *lines: None)


async def _nobody(connection: int | None) -> None:
    """There is nobody else to tell of a crash."""


def received(log: Log, connection: int) -> int:
    """How many events the application of a connection has received, as far back as the log goes."""
    return sum(row[1:3] == (connection, "receive") for row in log.rows(0, None)[0])


async def dealt_with(
    recorder: Recorder, connection: int, events: int, idle: Callable[[int], bool] = lambda number: True
) -> None:
    """Wait until an application has ended, or has received so many events and, as all others, waits for the next.

    connection: its number in the recorder's log. idle: whether nothing is on its way to a connection through the
    channel layer. Raises TimeLimit after `STEP` seconds.
    """
    end, log = time.monotonic() + STEP, recorder.log
    quiet, total = 0, -1
    while quiet < 3:  # a message that was just put into a channel has not woken its consumer yet
        there = connection not in recorder.live or received(log, connection) >= events
        rest = there and all(each.waiting and idle(number) for number, each in list(recorder.live.items()))
        quiet = quiet + 1 if rest and total == log.total else 0
        total = log.total
        if time.monotonic() > end:
            raise TimeLimit(
                f"expected the application to end or to `await receive()` within {STEP:g} s of event {events}, found "
                "it waiting for something else; look at what it awaits there"
            )
        await asyncio.sleep(0.001)
