"""Exercise 09.4: a client that comes back. Its solution stands in `solutions/09_deployment.ipynb`.

The one check with real sockets: the answer is a client, and `websockets` plays its server, on a port of the check's
own. Nobody waits: what the answer sleeps is noted, and passes at once.
"""

import asyncio
import contextlib
import logging
import os
import random
from http import HTTPStatus
from unittest.mock import patch

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from labserver.course.exercise import Misconception, exercise

DOWN = 12
"""How many attempts in a row find a server that is not ready yet."""

LIMIT = 2.0
"""Seconds of real time for one visit; on a quiet machine it takes a few hundredths."""

LONGEST = 120.0
"""Seconds that a client may stay away."""

LOST = (ConnectionClosed, InvalidHandshake, OSError, TimeoutError)
"""What `websockets` raises for a server that is not there, or not there any more."""


@exercise(
    "09.4",
    title="A client that comes back",
    goal="Write a client that comes back when its connection is lost, and stays away when it is told to.",
    minutes=14,
    hints=(
        "Which endings mean “try again”, and which mean “no”? The code says it, if there is one.",
        "websockets can do most of it: `async for ws in connect(url):` comes back by itself, with pauses that grow.",
        "In that loop: read messages in a try, except ConnectionClosed: pass; then look at ws.close_code.",
    ),
)
async def back(answer, bench):
    # Chance at its upper end: so the pauses are what they are between two servers that are never ready.
    with patch("random.random", lambda: 0.999), patch("random.uniform", lambda low, high: high):
        heard, waits, told = await _visit(answer, [1012, *["down"] * DOWN, "lost", 1001, 4003])
    if heard != [f"message {n}" for n in range(1, 5)]:
        found = f"the server sent message 1 to message 4 on four connections, and heard is {heard}"
        raise Misconception("does not keep what it heard", found, "Append each message to heard as soon as it comes.")
    _says_why(told, 4003)
    shown = f"between {DOWN} attempts it waited {', '.join(f'{each:.3g}' for each in waits)} s"
    if waits[-1] <= 1.5 * waits[1] and max(waits) < LONGEST:
        step = "Double the pause after each attempt that fails, up to a limit."
        raise Misconception("its pauses do not grow", shown, step)
    if max(waits) > LONGEST:
        step = (
            f"Nobody waits for hours in front of a page: let no pause be longer than {LONGEST:g} s, say min(delay, 60)."
        )
        raise Misconception("stays away for too long", shown, step)
    (_, one, told), (_, other, _) = [await _visit(answer, [*["down"] * DOWN, 1000]) for _ in range(2)]
    _says_why(told, 1000)
    if one == other:
        step = "Thirty browsers lose their worker in one second. Add chance: delay * random.uniform(0.5, 1)."
        raise Misconception("all come at the same moment", f"two clients, both: {shown}", step)


def _says_why(told, code):
    if told != code:
        found = f"it was closed with {code}, and returned {told!r:.40}"
        raise Misconception("does not say why it ended", found, "Return the code of that close: ws.close_code.")


class _Server:
    """Plays a server to one client. script: what each attempt finds.

    A number is a close code, after one message; "lost" a connection that ends without a close frame; "down" is HTTP
    503. pauses: for each attempt, how long the client slept before it.
    """

    def __init__(self, script):
        self.script = script
        self.pauses, self.too_often = [], asyncio.Event()
        self.slept = 0.0

    @property
    def came(self):
        return self.script[: len(self.pauses)]

    def begin(self, connection, request):
        self.pauses.append(self.slept)
        self.slept = 0.0
        if len(self.pauses) > len(self.script):
            self.too_often.set()
        elif self.came[-1] != "down":
            return None
        return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "not yet\n")

    async def talk(self, ws):
        ending = self.came[-1]
        await ws.send(f"message {sum(each != 'down' for each in self.came)}")
        if ending == "lost":
            await (await ws.ping())  # so the message has arrived
            ws.transport.abort()
        else:
            await ws.close(ending)

    @contextlib.contextmanager
    def noting(self, is_client):
        """What the client sleeps is noted, and passes at once; `websockets` has tasks that sleep for themselves."""
        sleep = asyncio.sleep

        async def noted(delay, result=None):
            if is_client(asyncio.current_task()):
                self.slept += delay
                delay = 0
            return await sleep(delay, result)

        with patch("asyncio.sleep", noted), patch.dict(os.environ, {"no_proxy": "127.0.0.1"}):
            yield


async def _visit(answer, script):
    """What a client heard, the pauses between its attempts to come to a server that is down, and what it returned.

    Raises Misconception unless it comes as often as the script says, and then ends.
    """
    played, heard, tasks = _Server(script), [], []
    quiet = logging.Logger("server", logging.CRITICAL + 1)  # these endings are on purpose
    async with serve(played.talk, "127.0.0.1", 0, process_request=played.begin, logger=quiet) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with played.noting(lambda task: task in tasks[:1]):
            tasks += [asyncio.create_task(_run(answer, url, heard)), asyncio.create_task(played.too_often.wait())]
            try:
                await asyncio.wait(tasks, timeout=LIMIT, return_when=asyncio.FIRST_COMPLETED)
                _as_asked(played, tasks[0])
                down = script.index("down")
                return heard, played.pauses[down + 1 : down + DOWN], tasks[0].result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


async def _run(answer, url, heard):
    return await answer(url, heard)


def _as_asked(played, task):
    """Hold that the client came as often as the script says, with pauses, and then ended."""
    came, last = played.came, "nothing"
    if came:
        last = {"down": "HTTP 503", "lost": "no close frame at all"}.get(came[-1], f"the code {came[-1]}")
    if any(came[at - 1] == came[at] == "down" and not played.pauses[at] for at in range(1, len(came))):
        found = f"the server answered HTTP 503, and it came again without a pause; it came {len(came)} times"
        step = "Await asyncio.sleep(…) after an attempt that failed: a server that starts has enough to do."
        raise Misconception("does not wait", found, step)
    if played.too_often.is_set():
        found = f"its last connection ended with {last}, and it came again"
        step = "4000 to 4999 are the application's own no, and 1000 is a goodbye: return the code."
        raise Misconception("comes back after a no", found, step)
    if not task.done():
        found = f"it came {len(came)} times, the last time it found {last}; {LIMIT:g} s later it had not come again"
        step = "Is everything in one loop? Does your reading end when the connection does?"
        raise Misconception("neither comes nor ends", found, step)
    error = task.exception()
    if error is not None and not isinstance(error, LOST):
        raise error
    if error is not None or came != played.script:
        name = "gives up when the server is away" if came[-1:] == ["down"] else "gives up when it is cut off"
        found = f"it found {last}, and {f'raised {type(error).__name__}' if error else 'returned'}"
        step = "Catch that, and try again: the server comes back."
        if error is None:
            step = "1001 ends `async for message in ws` without an error: ws.close_code tells. Let the loop go on."
        raise Misconception(name, found, step)


def _pauses(first=0.5, factor=2.0, most=60.0, chance=True):
    delay = first
    while True:
        yield delay * (random.uniform(0.5, 1) if chance else 1)
        delay = min(delay * factor, most)


def _follow(
    is_no=lambda code: code is not None and (code == 1000 or code >= 4000), keep=list.append, told=int, **pauses
):
    """A right client, but for these."""

    async def follow(url, heard):
        waits = _pauses(**pauses)
        while True:
            try:
                async with connect(url) as ws:
                    waits = _pauses(**pauses)
                    with contextlib.suppress(ConnectionClosed):
                        while True:
                            keep(heard, await ws.recv())
            except LOST:
                await asyncio.sleep(next(waits))
                continue
            if is_no(ws.close_code):
                return told(ws.close_code)

    return follow


for _name, _answer in (
    ("comes back after a no", _follow(is_no=lambda code: False)),
    ("comes back after a no", _follow(is_no=lambda code: code == 1000)),
    ("does not keep what it heard", _follow(keep=lambda heard, message: heard.__setitem__(slice(None), [message]))),
    ("does not wait", _follow(first=0)),
    ("its pauses do not grow", _follow(factor=1)),
    ("stays away for too long", _follow(factor=10, most=3600)),
    ("stays away for too long", _follow(most=1e9)),
    ("all come at the same moment", _follow(chance=False)),
    ("does not say why it ended", _follow(told=lambda code: None)),
    ("does not say why it ended", _follow(told=lambda code: code if code >= 4000 else None)),
):
    back.wrong(_name)(_answer)


@back.wrong("gives up when it is cut off")
async def _once(url, heard):
    async with connect(url) as ws:
        async for message in ws:
            heard.append(message)


@back.wrong("gives up when it is cut off")
async def _takes_silence_for_a_goodbye(url, heard):
    return await _follow(is_no=lambda code: code in (1000, 1001) or code >= 4000)(url, heard)


@back.wrong("gives up when the server is away")
async def _needs_a_server(url, heard):
    while True:
        async with connect(url) as ws:
            with contextlib.suppress(ConnectionClosed):
                async for message in ws:
                    heard.append(message)


@back.wrong("neither comes nor ends")
async def _waits_for_more(url, heard):
    async with connect(url) as ws:
        heard.append(await ws.recv())
        await asyncio.Event().wait()
