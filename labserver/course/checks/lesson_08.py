"""The first two exercises of lesson 08, tests you can trust. Their solutions stand in `solutions/08_testing.ipynb`."""

import asyncio
import contextlib
import inspect

from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from channels.testing import WebsocketCommunicator

from labserver.course.bench import passes, ran
from labserver.course.exercise import Misconception, exercise
from labserver.live.recorder import own_lines

from .lesson_05 import but

TIMEOUT = (
    "a time-out cancels the application",
    "A receive_output that times out ends the consumer. Where nothing should come, ask receive_nothing.",
)
CANNOT_FAIL = (
    "cannot fail",
    "Is there an assert for each thing that you want? Does a try around it catch what it raises?",
)


def a_test(answer):
    """Hold that an answer is a test: `async def test_…(application)`."""
    if not inspect.iscoroutinefunction(answer):
        step = "Write `async def test_…(application):`, and hand over its name, without brackets."
        raise Misconception("not a test", f"found {answer!r:.40}", step)


def asked(run):
    """Hold that a test has played a client to the application."""
    if not run.ends:
        step = "Open a WebsocketCommunicator(application, …), with the application that the test is handed."
        raise Misconception("never asks the application", "your test ended, and nobody had connected", step)


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
        (4001, "a refusal has no code in a test", "connect() returns (False, code) for a close before accept."),
        (1006, "the code reaches the page", "Before accept there is no WebSocket that could carry a code."),
    ),
    (
        _Closes,
        (4001, "an accepted close has no code in a test", "The last event is websocket.close. What does it hold?"),
        (4001, "a page never sees a code", "Accept came first: there is a WebSocket, and a close frame carries it."),
    ),
    (
        _Greets,
        ("error", "connect() takes what comes", "connect() reads one event, and asserts that it is an accept."),
        (1006, "a greeting before accept arrives", "Daphne cannot send before accept: it ends the handshake."),
    ),
    (
        _Forbids,
        (1008, "a test refuses bad codes", "A communicator hands on what the consumer sends. It knows no rules."),
        (1011, "an application may close with any code", "Daphne takes 1000, and 3000 to 4999. What does it say else?"),
    ),
    (
        _Crashes,
        ("error", "a crash stays in the consumer", "In a test both run in one loop: receive_output raises its error."),
        (1011, "a page gets the error", "The server sees that the application has failed, and says so with a code."),
    ),
    (
        _Empty,
        ("", "a test drops an empty text", "The consumer sends an event with text '', and the test reads that."),
        ("nothing", "an empty text arrives", "Not all that a consumer sends becomes a frame: section 5 of the lesson."),
    ),
    (
        _Leaves,
        ("bye", "a test ends with the close", "A communicator's queue takes whatever is sent, also after a close."),
        (4000, "a page hears what comes after a close", "A close frame is the last one on a WebSocket."),
    ),
)
"""Each consumer; what a test sees last, and a page; the misconception of whoever says otherwise, and what to do."""


@exercise(
    "08.1",
    title="Two who look at the same thing",
    goal="Say for each of seven consumers what a test with a communicator sees last, and what a page sees last.",
    minutes=6,
    hints=(
        "The test reads the events that the consumer sends, as they are. The page reads what a server makes of them.",
        "Which codes can reach a page? Those after accept, and of these 1000 and 3000 to 4999; else the server has "
        "one of its own.",
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
        for who, said, (seen, name, step) in zip(("test", "page"), pair, sides, strict=True):
            if isinstance(said, str) and said.isdigit():
                found = f"for consumer {number} you answered {said!r}, which is a text"
                raise Misconception("a number in quotes", found, f"Write a number, without quotes: {said}.")
            if said != seen:
                found = f"consumer {number}: you answered {said!r:.20} for the {who}, which sees something else"
                raise Misconception(name, found, step)


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
        seen_last.wrong(SITUATIONS[_number][1 + _side][1])([*_RIGHT[:_number], _pair, *_RIGHT[_number + 1 :]])


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
    run = await ran(answer, Refusal.as_asgi())
    bench.trace = run.trace
    if run.failed:
        await _misread(answer, run)
    passes(run)
    asked(run)
    slow = await ran(answer, but(Refusal, pause=0.6).as_asgi())
    if slow.failed:
        found = f"a consumer that needs 0.6 s for each event is right too, and there the test raised {named(slow)}"
        step = "Leave the time-outs as they are: who waits for an event goes on as soon as it comes."
        raise Misconception("in a hurry", found, step, own_lines(slow.error))
    passes(slow)
    if "cancelled" in run.ends:
        found = "your test passes, but its communicator cancelled the consumer: it never came to its disconnect()"
        raise Misconception(TIMEOUT[0], found, TIMEOUT[1])
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
    if "running" in run.ends:
        found = "when your test returned, the consumer was still there, and waited for a websocket.disconnect"
        step = "End with await communicator.disconnect(): a close of the consumer is not the end of its application."
        raise Misconception("leaves the communicator running", found, step)


async def _misread(answer, run):
    """Name the misconception of a test that fails on what is right, if it is known."""
    if isinstance(run.error, TimeoutError | asyncio.CancelledError):
        found = f"the test raised {named(run)}; the communicator had cancelled the consumer by then"
        raise Misconception(TIMEOUT[0], found, TIMEOUT[1], own_lines(run.error))
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


def named(run):
    """The class of what a test has raised."""
    return type(run.error).__name__


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
refusal.wrong("leaves the communicator running")(_test(ends=False)(_by_hand()))
refusal.wrong("not a test")(Refusal)


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
