"""The third exercise of lesson 08: a flaky test made steady. Its solution stands in `solutions/08_testing.ipynb`."""

import asyncio
import contextlib
import itertools

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.testing import WebsocketCommunicator

from labserver.course.bench import ran
from labserver.course.exercise import Misconception, exercise
from labserver.live.recorder import own_lines

from .lesson_05 import but
from .lesson_08 import asks_nobody
from .lesson_08_watch import CANNOT_FAIL, RUNNING, TIMEOUT, a_test, asked, fair, in_peace, named, not_cancelled, watched


class Room(AsyncJsonWebsocketConsumer):
    """As the exercise has it, but that its pauses are known.

    joins, saves: seconds that each member takes to become ready, and its text to be saved, in the order of coming.
    """

    joins = saves = (0, 0)

    async def connect(self):
        self.number, self.tasks = next(self.numbers), set()
        await self.accept()
        await asyncio.sleep(self.joins[self.number % 2])
        await self.channel_layer.group_add("room", self.channel_name)
        await self.send_json({"type": "ready"})

    async def disconnect(self, code):
        await self.channel_layer.group_discard("room", self.channel_name)

    async def receive_json(self, content):
        self.tasks.add(asyncio.create_task(self.keep(content["text"])))

    async def keep(self, text):
        await asyncio.sleep(self.saves[self.number % 2])
        await self.tell({"type": "room.message", "text": text, "by": self.channel_name})

    async def tell(self, event):
        await self.channel_layer.group_send("room", event)

    async def room_message(self, event):
        await self.send_json({"type": "message", "text": event["text"]})


def room(joins=(0, 0), saves=(0, 0.01), **changes):
    """An application with these pauses: if nobody says otherwise, the first one's text is saved first."""
    return but(Room, joins=joins, saves=saves, numbers=itertools.count(), **changes).as_asgi()


async def _twice(self, event):
    for _ in range(1 + self.number % 2):
        await Room.tell(self, event)


def _only(heard):
    async def room_message(self, event):
        if heard(self, event):
            await Room.room_message(self, event)

    return room_message


def _says(text):
    async def room_message(self, event):
        await self.send_json({"type": "message", "text": text(self, event)})

    return room_message


def _first(self, event):
    type(self).first = getattr(self, "first", event["text"])
    return self.first


ORDER = (
    "an order that nobody promised",
    "Both are saved in the background. Receive two messages, and compare them without their order.",
)
LATE = (
    "sends before both are ready",
    "accept comes first, and joining later. Wait for each member's ready before anybody sends.",
)
SLOW = (
    (((0, 0.6), (0, 0.01)), "the second member needs 0.6 s to become ready", *LATE),
    (((0.6, 0), (0, 0.01)), "the first member needs 0.6 s to become ready", *LATE),
    (
        ((0, 0), (0.6, 0.61)),
        "saving a text takes 0.6 s",
        "hopes that it is there by then",
        "receive_json_from() goes on as soon as the message comes. Give it its second, and sleep nowhere.",
    ),
    (((0, 0), (0.6, 0)), "the second text is saved before the first one", *ORDER),
)
"""Rooms that are right: the pauses, in words, the misconception of a test that fails there, and what to do."""
WRONG_TEXT = ("does not look which texts come", "Compare what each member got with what was sent, both texts.")
MISSES = ("does not look at both members", "Each of the two should get both texts, the sender's own as well.")
ROOMS = (
    ("the sender does not hear her own text", _only(lambda self, event: event["by"] != self.channel_name), *MISSES),
    ("nobody but the sender hears a text", _only(lambda self, event: event["by"] == self.channel_name), *MISSES),
    ("the first text is told twice, and the second one never", _says(_first), *WRONG_TEXT),
    ("texts come in capital letters with an !", _says(lambda self, event: event["text"].upper() + "!"), *WRONG_TEXT),
)
"""Wrong rooms: what is wrong, the handler that makes it so, the misconception of a test that passes, what to do."""


@exercise(
    "08.3",
    title="A flaky test, made steady",
    goal="Rewrite a test that sleeps and hopes so that it passes on slow and quick rooms, and fails on wrong ones.",
    minutes=12,
    hints=(
        "What does the test wait for in each of its sleeps? Which message tells you that this has happened?",
        "Each member gets ready, then two messages. receive_json_from() waits for the next one, up to a second.",
        'Nobody promised which text is saved first: compare sorted(m["text"] for m in heard). At the end nothing '
        "more should come, receive_nothing(), and each of them leaves, disconnect().",
    ),
)
async def steady(answer, bench):
    a_test(answer)

    async def runs(*pauses, **changes):
        run = await watched(answer, room(*pauses, **changes))
        bench.trace = run.trace
        return run

    quick = run = await runs()
    if run.failed and (await ran(answer, room((0, 0), (0.01, 0)))).error is None:
        raise Misconception(ORDER[0], "your test passes if the second text is saved first, and fails else", ORDER[1])
    fair(run)
    asked(run)
    not_cancelled(run)
    for pauses, what, name, step in SLOW:
        run = await runs(*pauses)
        if isinstance(run.error, asyncio.CancelledError):
            found = f"where {what}, a wait of yours ended, and what came after it raised CancelledError"
            step = "Do not try again after a time-out: the consumer is gone. Wait once, with time enough."
            raise Misconception(TIMEOUT[0], found, step, own_lines(run.error))
        if run.failed:
            found = f"where {what}, your test raised {named(run)}"
            raise Misconception(name, found, step, own_lines(run.error))
        fair(run)
    if quick.seconds > 1:
        bench.trace = quick.trace
        found = f"on the quickest of rooms, where all is there at once, your test takes {quick.seconds:.1f} s"
        if quick.seconds - sum(quick.silences) <= 1:
            found += f"; it has {len(quick.silences)} silences, the longest of {max(quick.silences):.1f} s"
            step = "Who is silent is waited for to the end. Keep silences short: receive_nothing() alone takes 0.1 s."
            raise Misconception("long silences", found, step)
        step = "A sleep is too short on one day, and too long on all others. Wait for the messages, by receiving them."
        raise Misconception("waits for the clock", found, step)
    survivors = [each for each in ROOMS if (await runs(room_message=each[1])).error is None]
    if survivors:
        what, handler, name, step = survivors[0]
        if len(survivors) == len(ROOMS):
            name, step = CANNOT_FAIL
        await runs(room_message=handler)
        raise Misconception(name, f"your test passes on a room where {what}", step)
    if (await runs(tell=_twice)).error is None:
        found = "your test passes on a room where the second text comes twice"
        step = "When both texts are there: assert await communicator.receive_nothing(), for each member."
        raise Misconception("does not look for more", found, step)
    bench.trace = quick.trace
    in_peace(quick)


async def _enter(application, ready=True):
    both = [WebsocketCommunicator(application, "/ws/room/") for _ in range(2)]
    for each in both:
        assert (await each.connect())[0]
    for each in both if ready else ():
        assert await each.receive_json_from() == {"type": "ready"}
    return both


async def _talk(both):
    for each, text in zip(both, ("one", "two"), strict=True):
        await each.send_json_to({"text": text})


async def _texts(member, **options):
    return [(await member.receive_json_from(**options))["text"] for _ in range(2)]


def _rewritten(hears, begins=_enter, ends=True):
    """A test in which each of two members hears what was said."""

    async def test_room(application):
        both = await begins(application)
        await _talk(both)
        for each in both:
            await hears(each)
        for each in both if ends else ():
            await each.disconnect()

    return test_room


async def right(member):
    """What the learner should write for each of the two."""
    assert sorted(await _texts(member)) == ["one", "two"]
    assert await member.receive_nothing()


async def _as_given(member):
    await asyncio.sleep(0.3)
    assert await _texts(member, timeout=0.01) == ["one", "two"]
    assert await member.receive_nothing()


async def _sleeps_longer(member):
    await asyncio.sleep(2)
    await right(member)


async def _silent_for_long(member):
    assert sorted(await _texts(member)) == ["one", "two"]
    assert await member.receive_nothing(timeout=0.7)


async def _silent_by_output(member):
    assert sorted(await _texts(member)) == ["one", "two"]
    with contextlib.suppress(TimeoutError):
        raise AssertionError(await member.receive_output(timeout=0.1))


async def _in_order(member):
    assert await _texts(member) == ["one", "two"]
    assert await member.receive_nothing()


async def _backwards(member):
    assert await _texts(member) == ["two", "one"]


async def _tries_again(member):
    texts = []
    while len(texts) < 2:
        with contextlib.suppress(TimeoutError):
            texts.append((await member.receive_json_from(timeout=0.2))["text"])
    assert sorted(texts) == ["one", "two"]


async def _no_more(member):
    assert sorted(await _texts(member)) == ["one", "two"]


async def _any_text(member):
    assert len(await _texts(member)) == 2
    assert await member.receive_nothing()


async def _anything(member):
    await member.receive_json_from()


async def _too_few(member):
    assert await _texts(member) == ["one"]


async def _all_three(member):
    found = [await member.receive_json_from() for _ in range(3)]
    assert sorted(each["text"] for each in found if each["type"] == "message") == ["one", "two"]
    assert await member.receive_nothing()


for _name, _answer in (
    ("hopes that it is there by then", _rewritten(_as_given)),
    ("waits for the clock", _rewritten(_sleeps_longer)),
    ("long silences", _rewritten(_silent_for_long)),
    (TIMEOUT[0], _rewritten(_silent_by_output)),
    (TIMEOUT[0], _rewritten(_silent_by_output, ends=False)),
    (RUNNING, _rewritten(right, ends=False)),
    (ORDER[0], _rewritten(_in_order)),
    (ORDER[0], _rewritten(_backwards)),
    (TIMEOUT[0], _rewritten(_tries_again)),
    ("does not look for more", _rewritten(_no_more)),
    (WRONG_TEXT[0], _rewritten(_any_text)),
    ("cannot fail", _rewritten(_anything)),
    ("fails on a right application", _rewritten(_too_few)),
    (LATE[0], _rewritten(_all_three, lambda application: _enter(application, ready=False))),
    ("never asks the application", asks_nobody),
    ("not a test", "test_room"),
):
    steady.wrong(_name)(_answer)


@steady.wrong(MISSES[0])
async def _bob_alone(application):
    alice, bob = await _enter(application)
    await alice.send_json_to({"text": "one"})
    assert await bob.receive_json_from() == {"type": "message", "text": "one"}
    assert await bob.receive_nothing()
