"""The first two exercises of lesson 08, tests you can trust. Their solutions stand in `solutions/08_testing.ipynb`."""

import asyncio
import contextlib

from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from channels.testing import WebsocketCommunicator

from labserver.course.bench import ran
from labserver.course.exercise import Misconception, exercise
from labserver.live.recorder import own_lines

from .lesson_05 import but
from .lesson_08_watch import (
    CANNOT_FAIL,
    RUNNING,
    TIMEOUT,
    a_test,
    asked,
    cancelled,
    fair,
    in_peace,
    named,
    not_cancelled,
    watched,
)

# --- 08.1 ------------------------------------------------------------------------------------------------------------


class _Refuses(AsyncWebsocketConsumer):
    async def connect(self):
        await self.close(code=4001)


class _Closes(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        await self.close(code=4001)


class _Greets(AsyncWebsocketConsumer):
    async def connect(self):
        await self.send("hello")
        await self.accept()


class _Forbids(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.close(code=1008)


class _Crashes(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        raise ValueError(text_data)


class _Empty(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send("")


class _Leaves(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.close(code=4000)
        await self.send("bye")


SITUATIONS = (
    (
        _Refuses,
        (4001, (1006,), "a refusal has no code in a test", "For a close connect() returns (False, code)."),
        (1006, (4001,), "the code reaches the page", "Before accept there is no WebSocket that could carry a code."),
    ),
    (
        _Closes,
        (4001, (1000,), "an accepted close has no code in a test", "The last event is websocket.close. What is in it?"),
        (4001, (1006,), "a page never sees a code", "Accept came first: there is a WebSocket, and a close frame."),
    ),
    (
        _Greets,
        ("error", ("hello",), "connect() takes what comes", "connect() reads one event. Which two does it know?"),
        (1006, ("hello",), "a greeting before accept arrives", "Daphne cannot send before accept: no WebSocket opens."),
    ),
    (
        _Forbids,
        (1008, (1011, "error"), "a test refuses bad codes", "A communicator hands on what it gets. It knows no rules."),
        (1011, (1008,), "an application may close with any code", "Daphne takes 1000, 3000 to 4999. And for others?"),
    ),
    (
        _Crashes,
        ("error", (1011, "nothing"), "a crash stays in the consumer", "receive_output raises what a consumer raises."),
        (1011, ("error",), "a page gets the error", "The server sees that the application has failed. It has a code."),
    ),
    (
        _Empty,
        ("", ("nothing",), "a test drops an empty text", "It sends an event with text ''. The test reads it."),
        ("nothing", ("",), "an empty text arrives", "Not all that a consumer sends becomes a frame: section 5."),
    ),
    (
        _Leaves,
        ("bye", (4000,), "a test ends with the close", "A communicator's queue takes what is sent after a close."),
        (4000, ("bye",), "a page hears what comes after a close", "A close frame is the last one on a WebSocket."),
    ),
)
"""Each consumer; what a test sees last, and a page; what shows a misconception, which one, and what to do."""

STATUS = (
    "a status is no close code",
    "A script in a page sees no HTTP status. What does the page's close event say, when no WebSocket has opened?",
)


@exercise(
    "08.1",
    title="Two who look at the same thing",
    goal="Say for each of seven consumers what a test with a communicator sees last, and what a page sees last.",
    minutes=6,
    hints=(
        "The test reads the events that the consumer sends, as they are. The page reads what a server makes of them.",
        "Which codes can reach a page? After accept 1000, and 3000 to 4999; else the server has one of its own. Where "
        "the handshake fails it answers 403 or 500. That is HTTP: what does the page's close event say then?",
        "Four ask what no server would do: a code without a WebSocket, a text before accept, a text after close, a "
        "text of no letters.",
    ),
)
async def seen_last(answer, bench):
    if not isinstance(answer, list | tuple):
        raise Misconception("not a list", f"found {answer!r:.40}", "Keep the list, with seven pairs.")
    answer = [*answer]
    if len(answer) != len(SITUATIONS):
        found = f"your list has {len(answer)} values"
        raise Misconception("not one for each", found, "Seven consumers, seven pairs, in their order.")
    for number, (pair, (_, *sides)) in enumerate(zip(answer, SITUATIONS, strict=True), 1):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            step = "Write two values in brackets: (what the test sees, what the page sees)."
            raise Misconception("not a pair", f"for consumer {number} you answered {pair!r:.40}", step)
        for who, said, (seen, tempting, name, step) in zip(("test", "page"), pair, sides, strict=True):
            if isinstance(said, str) and said.isdigit():
                found = f"for consumer {number} you answered {said!r}, which is a text"
                raise Misconception("a number in quotes", found, f"Write a number, without quotes: {said}.")
            if who == "page" and isinstance(said, int) and 100 <= said < 600:
                raise Misconception(STATUS[0], f"consumer {number}: you answered {said}, which is HTTP", STATUS[1])
            if said != seen:
                found = f"consumer {number}: you answered {said!r:.20} for the {who}, which sees something else"
                raise Misconception(name if said in tempting else f"not what the {who} sees", found, step)


_RIGHT = [(test[0], page[0]) for _, test, page in SITUATIONS]

seen_last.wrong("not a list")({"one": 4001})
seen_last.wrong("not one for each")(_RIGHT[:6])
seen_last.wrong("not a pair")([4001, *_RIGHT[1:]])
seen_last.wrong("a number in quotes")([("4001", 1006), *_RIGHT[1:]])
for _number, _others in enumerate(
    ((1006, 4001), (1000, 1006), ("hello", "hello"), (1011, 1008), (1011, "error"), ("nothing", ""), (4000, "bye"))
):
    for _side, _other in enumerate(_others):
        _pair = [*_RIGHT[_number]]
        _pair[_side] = _other
        seen_last.wrong(SITUATIONS[_number][1 + _side][2])([*_RIGHT[:_number], _pair, *_RIGHT[_number + 1 :]])
seen_last.wrong("a status is no close code")([*_RIGHT[:2], ("error", 500), *_RIGHT[3:]])
seen_last.wrong("not what the page sees")([*_RIGHT[:3], (1008, 1006), *_RIGHT[4:]])
seen_last.wrong("not what the test sees")([*_RIGHT[:3], (1006, 1011), *_RIGHT[4:]])


# --- 08.2 ------------------------------------------------------------------------------------------------------------


class Refusal(AsyncJsonWebsocketConsumer):
    """As the exercise has it, but for what a subclass changes."""

    message, code, pause = {"type": "jwt-expired"}, 4003, 0

    async def connect(self):
        await self.accept()
        await self.reason()
        await asyncio.sleep(self.pause)
        await self.close(code=self.code)
        await self.after()

    async def reason(self):
        await asyncio.sleep(self.pause)
        await self.send_json(self.message)

    async def after(self):
        """Nothing comes after it."""


class _Handshake(Refusal):
    async def connect(self):
        await self.close(code=self.code)


class _TooEarly(Refusal):
    async def connect(self):
        await self.send_json(self.message, close=self.code)


class _Doubled(Refusal):
    async def accept(self):
        await super().accept()
        await super().accept()


async def _welcome(self):
    await self.send_json({"type": "welcome"})


async def _welcome_later(self):
    await asyncio.sleep(0.05)
    await self.send_json({"type": "welcome"})


ACCEPT = ("nothing about accept", "A refusal in the handshake has the code too, and no page hears it. Who accepts?")
MESSAGE = ("nothing about the message", "Compare all of it: == {'type': 'jwt-expired'}.")
CODE = ("nothing about the code", "The page acts on it. The last event should be a websocket.close with 4003.")
AFTER = ("nothing about what follows", "After the close: assert await communicator.receive_nothing().")
REFUSALS = (
    ("never accepts, and closes with 4003", _Handshake, *ACCEPT),
    ("sends and closes, and never accepts", _TooEarly, *ACCEPT),
    ("sends {'type': 'error'} instead", but(Refusal, message={"type": "error"}), *MESSAGE),
    ("sends {'type': 'jwt-expired', 'token': …}", but(Refusal, message={**Refusal.message, "token": "x"}), *MESSAGE),
    ("closes with 4001", but(Refusal, code=4001), *CODE),
    ("closes without a code", but(Refusal, code=None), *CODE),
    ("never closes", but(Refusal, close=lambda self, code: asyncio.sleep(0)), *CODE),
    ("sends a welcome after its close", but(Refusal, after=_welcome), *AFTER),
    ("sends a welcome a little after its close", but(Refusal, after=_welcome_later), *AFTER),
)
"""Wrong consumers: what each does, the misconception of a test that passes on it, and what to do."""


@exercise(
    "08.2",
    title="A refusal that is tested",
    goal="Write a test that holds a refusal to its three events and to silence after them, and ends what it began.",
    minutes=10,
    hints=(
        "Three events leave the consumer. Which of them would connect() take away, and does it matter to you?",
        "send_input({'type': 'websocket.connect'}), then receive_output() once for each event, and compare each.",
        "Silence: assert await communicator.receive_nothing(). The end: await communicator.disconnect(), which a "
        "consumer needs even after its own close.",
    ),
)
async def refusal(answer, bench):
    a_test(answer)
    run = await watched(answer, Refusal.as_asgi())
    bench.trace = run.trace
    if run.failed:
        await _misread(answer, run)
    fair(run)
    asked(run)
    slow = await watched(answer, but(Refusal, pause=0.6).as_asgi())
    if slow.failed:
        found = f"a consumer that needs 0.6 s for each event is right too, and there the test raised {named(slow)}"
        step = "Leave the time-outs as they are: who waits for an event goes on as soon as it comes."
        raise Misconception("in a hurry", found, step, own_lines(slow.error))
    fair(slow)
    not_cancelled(run)
    runs = [await ran(answer, wrong.as_asgi()) for _, wrong, *_ in REFUSALS]
    for (what, _, name, step), wrong in zip(REFUSALS, runs, strict=True):
        if wrong.error is not None:
            continue
        found = f"your test passes also on a consumer that {what}"
        if not any(isinstance(each.error, AssertionError) for each in runs):
            found = f"no assertion of yours fails on any of {len(runs)} consumers that are wrong; one {what}"
            name, step = CANNOT_FAIL
        bench.trace = wrong.trace
        raise Misconception(name, found, step)
    in_peace(run)


async def _misread(answer, run):
    """Name the misconception of a test that fails on what is right, if it is known."""
    if isinstance(run.error, TimeoutError | asyncio.CancelledError) and run.late:
        had = f"the last event that it had read is {run.read}" if run.read else "nothing had come"
        found = f"{had}; it waited for one more, in vain, and that cancelled the consumer"
        raise cancelled(run, found)
    for application, name, found, step in (
        (
            _Doubled,
            "connect() has eaten it",
            "the test waits for an event that connect() has taken already",
            "connect() reads the first event. Read all three by hand: send_input, then receive_output.",
        ),
        (
            _Handshake,
            "connect() tells of the handshake alone",
            "the test takes the first event for the refusal. This consumer accepts first, so connect() returns True",
            "The code comes in the last event: {'type': 'websocket.close', 'code': 4003}.",
        ),
    ):
        if (await ran(answer, application.as_asgi())).error is None:
            raise Misconception(name, found, step, own_lines(run.error))


def _test(ends=True):
    """Make a test of a function that is handed a communicator."""

    def make(body):
        async def test_refused(application):
            communicator = WebsocketCommunicator(application, "/ws/")
            await body(communicator)
            if ends:
                await communicator.disconnect()

        return test_refused

    return make


def _by_hand(message=True, code=True, silence=True):
    """A test that asserts this much."""

    async def body(communicator):
        await communicator.send_input({"type": "websocket.connect"})
        assert (await communicator.receive_output())["type"] == "websocket.accept"
        said = await communicator.receive_json_from()
        assert not message or said == {"type": "jwt-expired"}
        closed = await communicator.receive_output()
        assert closed["type"] == "websocket.close"
        assert not code or closed["code"] == 4003
        assert not silence or await communicator.receive_nothing()

    return body


refusal.wrong("nothing about the message")(_test()(_by_hand(message=False)))
refusal.wrong("nothing about the code")(_test()(_by_hand(code=False)))
refusal.wrong("nothing about what follows")(_test()(_by_hand(silence=False)))
refusal.wrong(RUNNING)(_test(ends=False)(_by_hand()))
refusal.wrong("not a test")(Refusal)
refusal.wrong("not a test")(lambda application: None)


@refusal.wrong("nothing about accept")
@_test()
async def _in_an_except(communicator):
    try:
        accepted, code = await communicator.connect()
        assert not accepted and code == 4003
    except AssertionError:
        assert await communicator.receive_json_from() == {"type": "jwt-expired"}
        assert await communicator.receive_output() == {"type": "websocket.close", "code": 4003}
        assert await communicator.receive_nothing()


@refusal.wrong("connect() has eaten it")
@_test()
async def _eaten(communicator):
    await communicator.connect()
    assert (await communicator.receive_output())["type"] == "websocket.accept"
    assert await communicator.receive_json_from() == {"type": "jwt-expired"}
    assert await communicator.receive_output() == {"type": "websocket.close", "code": 4003}


@refusal.wrong("connect() tells of the handshake alone")
@_test()
async def _by_connect(communicator):
    assert await communicator.connect() == (False, 4003)


async def _nothing_by_output(communicator):
    await _by_hand(silence=False)(communicator)
    try:
        more = await communicator.receive_output(timeout=0.1)
    except TimeoutError:
        more = None
    assert more is None


refusal.wrong(TIMEOUT[0])(_test()(_nothing_by_output))
refusal.wrong(TIMEOUT[0])(_test(ends=False)(_nothing_by_output))


async def _waits(communicator):
    await _by_hand()(communicator)
    await communicator.wait()


refusal.wrong("wait() sends nothing")(_test(ends=False)(_waits))
refusal.wrong("wait() sends nothing")(_test()(_waits))


@refusal.wrong("never ends")
@_test()
async def _loops(communicator):
    await _by_hand()(communicator)
    while await communicator.receive_nothing():
        pass


@refusal.wrong("the application cannot take that")
@_test()
async def _misspelt(communicator):
    await communicator.send_input({"type": "websocket.conect"})
    await communicator.receive_output()


@refusal.wrong("fails on a right application")
@_test()
async def _a_key_is_missing(communicator):
    await communicator.send_input({"type": "websocket.connect"})
    assert await communicator.receive_output() == {"type": "websocket.accept"}


@refusal.wrong("in a hurry")
@_test()
async def _hurried(communicator):
    await communicator.connect()
    assert await communicator.receive_json_from(timeout=0.1) == {"type": "jwt-expired"}
    assert await communicator.receive_output(timeout=0.1) == {"type": "websocket.close", "code": 4003}
    assert await communicator.receive_nothing()


@refusal.wrong("cannot fail")
@_test()
async def _swallows(communicator):
    with contextlib.suppress(AssertionError):
        await _by_hand()(communicator)


@refusal.wrong("cannot fail")
@_test()
async def _asserts_nothing(communicator):
    await communicator.send_input({"type": "websocket.connect"})
    await communicator.receive_output()


@refusal.wrong("never asks the application")
async def asks_nobody(application):
    assert application


@refusal.wrong("fails on a right application")
@_test()
async def _another_close(communicator):
    await communicator.connect()
    assert await communicator.receive_json_from() == {"type": "jwt-expired"}
    assert await communicator.receive_output() == {"type": "websocket.close"}
