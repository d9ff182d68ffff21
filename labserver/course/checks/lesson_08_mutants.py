"""The last exercise of lesson 08: tests against planted bugs. Its solution stands in `solutions/08_testing.ipynb`."""

import asyncio
import contextlib
import json
import re
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.testing import WebsocketCommunicator

from labserver.course.bench import caught, ran
from labserver.course.exercise import Misconception, exercise

from .lesson_05 import but
from .lesson_08 import asks_nobody
from .lesson_08_watch import CANNOT_FAIL, a_test, asked, fair, watched


def name_of(text):
    """As the exercise has it: the text, if it is a name, else nothing."""
    return text if re.fullmatch("[A-Za-z0-9]{1,30}", text) else ""


class Chat(AsyncJsonWebsocketConsumer):
    """As the exercise has it, in pieces that a bug can change."""

    name, code = "", 4001
    taken = (ValueError, TypeError, KeyError, AttributeError, RecursionError)

    async def connect(self):
        query = parse_qs(self.scope["query_string"].decode(errors="replace"))
        self.name = name_of(query.get("name", [""])[0])
        if not self.name:
            await self.accept()
            await self.error("who are you?")
            await self.close(self.code)
            return
        for group in ("chat", f"chat.{self.name}"):
            await self.channel_layer.group_add(group, self.channel_name)
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        if not self.name:
            return
        try:
            content = json.loads(text_data or "")
            text = self.read(content["text"])
            to = name_of(content["to"]) if "to" in content else None
        except self.taken:
            await self.error("no message")
            return
        if not text or to == "":
            await self.error("no text, or no name")
            return
        event = {"type": "chat.message", "from": self.sender(content), "text": text, "private": self.private(to)}
        await self.tell(to, event)

    def read(self, text):
        return text.strip()

    def sender(self, content):
        return self.name

    def private(self, to):
        return bool(to)

    async def tell(self, to, event):
        await self.channel_layer.group_send(f"chat.{to}" if to else "chat", event)

    async def error(self, text):
        await self.send_json({"type": "error", "text": text})

    async def chat_message(self, event):
        await self.send_json(event | {"type": "message"})

    async def chat_error(self, event):
        await self.send_json(event | {"type": "error"})

    async def disconnect(self, code):
        if not self.name:
            return
        for group in ("chat", f"chat.{self.name}"):
            await self.channel_layer.group_discard(group, self.channel_name)
        await self.left()

    async def left(self):
        await self.channel_layer.group_send("chat", {"type": "chat.left", "name": self.name})

    async def chat_left(self, event):
        await self.send_json(event | {"type": "left"})


async def _not_to_the_sender(self, event):
    if event["private"] or event["from"] != self.name:
        await Chat.chat_message(self, event)


async def _twice(self, to, event):
    for _ in range(1 if to else 2):
        await Chat.tell(self, to, event)


async def _error_to_all(self, text):
    await self.channel_layer.group_send("chat", {"type": "chat.error", "text": text})
    if not self.name:
        await Chat.error(self, text)


BUGS = (
    (
        "the sender does not hear their own message to all",
        "a message to all: who hears it?",
        {"chat_message": _not_to_the_sender},
    ),
    ("a message to all comes twice", "a message to all: how often?", {"tell": _twice}),
    (
        "a private message goes to everybody",
        "a private message: who must not hear it?",
        {"tell": lambda self, to, event: Chat.tell(self, None, event)},
    ),
    (
        "a private message is not marked as private",
        "a private message: is all of it right?",
        {"private": lambda self, to: False},
    ),
    (
        "a client can write in another one's name",
        "a message that holds more than text and to: is it believed?",
        {"sender": lambda self, content: content.get("from", self.name)},
    ),
    (
        "a text of spaces is a message",
        "a text: which ones are refused?",
        {"read": lambda self, text: text.strip() or text},
    ),
    (
        "what is no JSON ends the connection",
        "what a client sends: does it have to be a message at all?",
        {"taken": tuple({*Chat.taken} - {ValueError})},
    ),
    (
        "an error is told to everybody",
        "an error: who must not hear of it?",
        {"error": _error_to_all},
    ),
    (
        "nobody is told who has left",
        "a member goes: what do the others see?",
        {"left": lambda self: asyncio.sleep(0)},
    ),
    (
        "who has no name is closed without a code",
        "a client without a name: what is the last thing that it gets?",
        {"code": None},
    ),
)
"""Planted bugs: in words; where to look for one that nobody has caught; what it changes."""

SILENCE = {BUGS[number][0] for number in (1, 2, 7)}
"""Bugs of which somebody hears something, and should not."""

REFUSED = {BUGS[number][0] for number in (4, 5, 6, 7, 9)}
"""Bugs that show when a client does what it should not do."""


@exercise(
    "08.4",
    title="Tests that catch bugs",
    goal="Write tests that pass on a chat without bugs, and of which at least one fails for each of ten planted bugs.",
    minutes=17,
    hints=(
        "Go through the list of what the chat promises. For each line: who gets something, what exactly, and who "
        "gets nothing?",
        "Compare whole messages with ==, and ask everybody who should hear nothing: assert await "
        "bob.receive_nothing().",
        "A client that is up to no good: a text of spaces, no JSON, a 'from' of somebody else, no name. After each, "
        "look at the others as well.",
    ),
)
async def catches(answer, bench):
    tests = [*answer] if isinstance(answer, list | tuple) else [answer]
    if not tests:
        raise Misconception("not a test", "found an empty list", "Put the names of your tests into the list.")
    bugs = {name: but(Chat, **changes).as_asgi() for name, _, changes in BUGS}
    found = set()
    for test in tests:
        a_test(test)
        run = await watched(test, Chat.as_asgi())
        bench.trace = run.trace
        fair(run)
        asked(run)
        rest = {name: application for name, application in bugs.items() if name not in found}
        found |= await caught(test, Chat.as_asgi(), rest)
    left = bugs.keys() - found
    if not left:
        return _drawn(found)
    name, step = "some bugs survive", "Take one line with ○, write a test for what it asks, and check again."
    if not found and len(await _passing(tests, _mute)) == len(tests):
        name, step = CANNOT_FAIL
    elif left <= SILENCE:
        name = "nobody looks for what should not come"
        step = "Ask those who should hear nothing (more): assert await bob.receive_nothing()."
    elif left <= REFUSED:
        name = "only friendly clients are played"
        step = "Send what no page of yours would send, and hold the answer, and what others hear."
    bench.trace = bench.trace.newest(0)
    raise Misconception(name, f"{len(found)} of {len(bugs)} bugs caught", step, _drawn(found))


async def _mute(scope, receive, send):
    """Accepts, and says no word: a test that passes on it asks for nothing."""
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def _passing(tests, application):
    return [test for test in tests if (await ran(test, application)).error is None]


def _drawn(found):
    """A bar, and a line for each bug; only what is caught is called by its name."""
    yield f"  {'█' * 2 * len(found)}{'░' * 2 * (len(BUGS) - len(found))}  {len(found)} of {len(BUGS)}"
    for name, where, _ in BUGS:
        yield f"  ✓ caught    {name}" if name in found else f"  ○ survives  {where}"


# What learners write: each of these tests is right, and none of them is enough.


@contextlib.asynccontextmanager
async def _joined(application, *names):
    members = [WebsocketCommunicator(application, f"/ws/?name={name}") for name in names]
    for each in members:
        assert (await each.connect())[0]
    yield members
    for each in members:
        await each.disconnect()


def _message(by, text, private=False):
    return {"type": "message", "from": by, "text": text, "private": private}


async def _to_all(application):
    async with _joined(application, "alice", "bob") as both:
        await both[0].send_json_to({"text": "hello"})
        for each in both:
            assert await each.receive_json_from() == _message("alice", "hello")


async def _to_all_once(application):
    async with _joined(application, "alice", "bob") as both:
        await both[0].send_json_to({"text": "hello"})
        for each in both:
            assert await each.receive_json_from() == _message("alice", "hello")
            assert await each.receive_nothing()


async def _private(application):
    async with _joined(application, "alice", "bob") as (alice, bob):
        await alice.send_json_to({"text": "hello", "to": "bob"})
        assert await bob.receive_json_from() == _message("alice", "hello", private=True)


async def _private_alone(application):
    async with _joined(application, "alice", "bob", "carol") as (alice, bob, carol):
        await alice.send_json_to({"text": "hello", "to": "bob"})
        assert await bob.receive_json_from() == _message("alice", "hello", private=True)
        assert await alice.receive_nothing() and await carol.receive_nothing()


async def _errors(application):
    async with _joined(application, "alice") as (alice,):
        await alice.send_json_to({"text": "  "})
        assert (await alice.receive_json_from())["type"] == "error"
        await alice.send_to("hello")
        assert (await alice.receive_json_from())["type"] == "error"
        await alice.send_json_to({"text": "hello", "from": "bob"})
        assert await alice.receive_json_from() == _message("alice", "hello")


async def _leaves(application):
    async with _joined(application, "bob") as (bob,):
        async with _joined(application, "alice"):
            pass
        assert await bob.receive_json_from() == {"type": "left", "name": "alice"}


async def _nameless(application):
    communicator = WebsocketCommunicator(application, "/ws/")
    await communicator.connect()
    assert (await communicator.receive_json_from())["type"] == "error"
    assert await communicator.receive_output() == {"type": "websocket.close", "code": 4001}
    await communicator.disconnect()


async def _suppressed(application):
    with contextlib.suppress(AssertionError, TimeoutError):
        await _to_all_once(application)


async def _wrong(application):
    async with _joined(application, "alice") as (alice,):
        await alice.send_json_to({"text": "hello"})
        assert await alice.receive_nothing()


async def _others(application):
    async with _joined(application, "alice", "bob") as (alice, bob):
        await alice.send_json_to({"text": "hello"})
        assert (await bob.receive_json_from())["text"] == "hello"


async def _misspelt(application):
    async with _joined(application, "alice") as (alice,):
        await alice.send_input({"type": "websocket.recieve", "text": "hello"})
        assert (await alice.receive_json_from())["type"] == "error"


async def _no_application(): ...


catches.wrong("some bugs survive")(_others)
catches.wrong("some bugs survive")(_to_all)
catches.wrong("some bugs survive")([_to_all, _private_alone, _nameless])
catches.wrong("only friendly clients are played")([_to_all_once, _private_alone, _leaves])
catches.wrong("nobody looks for what should not come")([_to_all, _private, _errors, _leaves, _nameless])
catches.wrong("cannot fail")([_suppressed])
catches.wrong("fails on a right application")([_to_all, _wrong])
catches.wrong("never asks the application")([asks_nobody])
catches.wrong("the application cannot take that")([_to_all, _misspelt])
catches.wrong("takes no application")([_no_application])
catches.wrong("not a test")([])
catches.wrong("not a test")(["_to_all"])
