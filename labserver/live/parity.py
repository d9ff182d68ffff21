"""One scenario twice: through Channels' communicator, and through daphne; what a client sees of each.

Room: the live server's parts, and a communicator. The server it starts is its own, beside the learner's: nothing of
it is seen in `server.trace`, and nobody else is connected to it.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from labserver.errors import TimeLimit
from labserver.trace.events import Log

from .recorder import Recorder

STEP = 1.0
"""Seconds that an application may take to deal with one event."""

Seen = tuple[tuple, ...]
"""What a client sees, in order: `("accept", subprotocol)`, `("text", …)`, `("bytes", …)`, `("close", code)`,
`("refused", HTTP status)`, `("crash", error)` where a test is told of it, and no client is."""


@dataclass(frozen=True)
class Parity:
    """What a client sees of both; true if there is no difference. `str()` puts them side by side."""

    communicator: Seen
    live: Seen

    def __bool__(self) -> bool:
        return self.communicator == self.live

    def __str__(self) -> str:
        rows = [(" ", "communicator", "live server")]
        for test, live in zip_longest(self.communicator, self.live, fillvalue=("nothing",)):
            rows.append((" " if test == live else "≠", " ".join(map(str, test)), " ".join(map(str, live))))
        width = max(len(row[1]) for row in rows)
        return "\n".join(f"{sign} {test:<{width}}  {live}" for sign, test, live in rows)


async def parity(scenario: Iterable[dict[str, Any]], application: Callable, *, path: str = "/") -> Parity:
    """Play a client to the application, once through `WebsocketCommunicator` and once on a live server.

    scenario: the client's events as an application receives them: `websocket.connect` first, then
    `websocket.receive`, and `websocket.disconnect` for leaving. Each is sent when the one before is dealt with.
    Raises TimeLimit if the application neither ends nor asks for its next event within `STEP` seconds.
    """
    events = list(scenario)
    return Parity(await _communicator(events, application, path), await _live(events, application, path))


def recording(log: Log) -> Recorder:
    """A recorder beside that of the server: it says nothing under the cell, and has no groups to leave."""
    return Recorder(log, _nothing, tell=lambda *lines: None)


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
        received = sum(row[1:3] == (connection, "receive") for row in log.rows(0, None)[0])
        there = connection not in recorder.live or received >= events
        rest = there and all(each.waiting and idle(number) for number, each in recorder.live.items())
        quiet = quiet + 1 if rest and total == log.total else 0
        total = log.total
        if time.monotonic() > end:
            raise TimeLimit(
                f"expected the application to end or to `await receive()` within {STEP:g} s of event {events}, found "
                "it waiting for something else; look at what it awaits there"
            )
        await asyncio.sleep(0.001)


async def _communicator(scenario: list[dict[str, Any]], application: Callable, path: str) -> Seen:
    """https://channels.readthedocs.io/en/stable/topics/testing.html"""
    from channels.testing import WebsocketCommunicator

    recorder, seen = recording(Log()), []
    recorder.swap(application)
    communicator = WebsocketCommunicator(recorder, path)
    try:
        for number, event in enumerate(scenario, 1):
            await communicator.send_input(event)
            await asyncio.sleep(0)  # the first time round, its task has not begun
            await dealt_with(recorder, 1, number)
            if not recorder.live:
                break
    finally:
        running = communicator.future
        running.cancel()
        await asyncio.wait([running])
    while not communicator.output_queue.empty():
        seen.append(_as_seen(communicator.output_queue.get_nowait()))
    if not running.cancelled() and (error := running.exception()):
        seen.append(("crash", type(error).__name__))
    return tuple(seen)


def _as_seen(message: dict[str, Any]) -> tuple:
    """What a test reads from an event that the application has sent."""
    if message["type"] == "websocket.accept":
        return "accept", message.get("subprotocol")
    if message["type"] == "websocket.close":
        return "close", message.get("code") or 1000
    return ("bytes", message.get("bytes")) if message.get("text") is None else ("text", message["text"])


async def _live(scenario: list[dict[str, Any]], application: Callable, path: str) -> Seen:
    from websockets.exceptions import ConnectionClosed, InvalidStatus

    from . import client, reactor

    reactor.start()
    recorder, seen = recording(Log()), []
    recorder.swap(application)
    daphne = reactor.Daphne(recorder)
    port = await reactor.hop(_listen(daphne))
    try:
        ws = await client.connect(f"ws://127.0.0.1:{port}{path}", _nothing, origin=f"http://127.0.0.1:{port}")
        seen.append(("accept", ws.subprotocol))
        with suppress(ConnectionClosed):  # what came before it is still there to be read
            for number, event in enumerate(scenario[1:], 2):
                if event["type"] == "websocket.disconnect":
                    break
                await ws.send(event["bytes"] if event.get("text") is None else event["text"])
                await dealt_with(recorder, 1, number)
        if not recorder.live:  # it has ended: a close frame is on its way, unless it said nothing
            with suppress(TimeoutError):
                await asyncio.wait_for(ws.wait_closed(), STEP)
        left = ws.close_code is None
        await ws.close(_code(scenario[-1]))
        with suppress(ConnectionClosed):
            async for message in ws:
                seen.append(("text" if isinstance(message, str) else "bytes", message))
        if not left:
            seen.append(("close", ws.close_code))
    except InvalidStatus as refusal:
        seen.append(("refused", refusal.response.status_code))
    finally:
        await reactor.hop(daphne.close())
    return tuple(seen)


def _code(last: dict[str, Any]) -> int:
    """The code with which the client leaves; of those that it may send."""
    code = last.get("code", 1000)
    return code if 3000 <= code <= 4999 else 1000


async def _listen(daphne: Any) -> int:
    return daphne.listen("127.0.0.1", 0)


async def _nothing(connection: int | None) -> None:
    """There is nobody else to tell."""
