"""The exercises of lesson 03, Consumers. Their solutions stand in `solutions/03_consumers.ipynb`."""

import asyncio
import contextlib
import json
import time

from asgiref.sync import async_to_sync
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from django.contrib.auth.models import User
from django.core.exceptions import SynchronousOnlyOperation
from django.core.management import call_command

from labserver.course.bench import CONNECT, LEAVE, Crashed, consumer, data, sent, text
from labserver.course.exercise import Misconception, exercise

# --- 03.1 ------------------------------------------------------------------------------------------------------------


@exercise(
    "03.1",
    title="Slow work, and nobody waits",
    goal="Call the blocking function slow for each message and send its result, without holding up other clients.",
    minutes=6,
    hints=(
        "Look at section 4 of the lesson: which of the four consumers calls something that blocks, and nobody waits?",
        "asyncio.to_thread(slow, text_data) runs slow in another thread. It gives you something to await.",
    ),
)
async def slow_work(answer, bench):
    application = consumer(answer)
    async with bench.join(application) as alice, bench.join(application) as bob:
        await alice.starts(text("abc"))
        await asyncio.sleep(0.02)  # her handler has begun; one that blocks is done by now, and so is this sleep
        await bob.starts(text("xyz"))
        await bench.rest()
        for _ in range(100):  # the work may stand in a task, which no handler waits for
            if len(sent(alice.events)) == len(sent(bob.events)) == 2:
                break
            await asyncio.sleep(0.01)
    if sent(alice.events)[1:] != ["cba"] or sent(bob.events)[1:] != ["zyx"]:
        raise Misconception(
            "another reply",
            f"for 'abc' and 'xyz' the clients got {sent(alice.events)[1:]} and {sent(bob.events)[1:]}",
            "Send what slow(text_data) returns, once for each message.",
        )
    order = [(event.type, event.message.get("text")) for event in bench.trace]
    if order.index(("websocket.send", "cba")) < order.index(("websocket.receive", "xyz")):
        raise Misconception(
            "async does not stop a call from blocking",
            "the second client's message was not even received before the first one was done",
            "The event loop stood still. Let the call run in another thread, and await it.",
        )
    done = [event.at for event in bench.trace if event.type == "websocket.send"]
    if abs(done[0] - done[1]) > 0.25:  # one after the other they are 0.3 s apart
        raise Misconception(
            "one thread for all",
            "both messages were received at once, and then worked on one after the other",
            "database_sync_to_async and sync_to_async share one thread. asyncio.to_thread has more of them.",
        )


def _slow(words):
    time.sleep(0.3)
    return words[::-1]


@slow_work.wrong("async does not stop a call from blocking")
class _Blocks(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=_slow(text_data))


@slow_work.wrong("another reply")
class _Forgets(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data)


@slow_work.wrong("one thread for all")
class _Shares(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=await database_sync_to_async(_slow)(text_data))


slow_work.wrong("not a consumer")(_Blocks.as_asgi)


# --- 03.2 ------------------------------------------------------------------------------------------------------------


@exercise(
    "03.2",
    title="Names from the database",
    goal="Answer each message with the names of all users, in alphabetical order, with a comma and a space between.",
    minutes=6,
    hints=(
        "When does a queryset ask the database: when you write it, or when you go through it?",
        "Go through it inside a function that you hand to database_sync_to_async, and return a list.",
        "Or go through it with `async for user in User.objects.order_by('username')`.",
    ),
)
async def names(answer, bench):
    application = consumer(answer)
    expected = ", ".join(await database_sync_to_async(_users)())
    try:
        events = await bench.play(application, CONNECT, text("who?"), LEAVE)
    except Crashed as crash:
        if isinstance(crash.error, SynchronousOnlyOperation):
            raise Misconception(
                "the query runs in the event loop",
                "Django refused it: SynchronousOnlyOperation. A queryset asks the database when you go through it",
                "Go through it in a function for database_sync_to_async, or with `async for`.",
            ) from None
        if isinstance(crash.error, RuntimeError) and "AsyncToSync" in str(crash.error):
            raise Misconception(
                "async_to_sync in async code",
                "async_to_sync waits for a loop, and this thread's loop is the one that would have to run",
                "async_to_sync is for sync code. Here you can simply await.",
            ) from None
        raise
    if sent(events)[1:] != [expected]:
        raise Misconception(
            "another reply",
            f"it sent {sent(events)[1:]}, and the users are {expected!r}",
            "Order by username, join with ', ', and send it once.",
        )


def _users():
    """The names that the answer should find; in the lab's own database there are some."""
    from django.conf import settings

    if settings.SETTINGS_MODULE == "labserver.project.settings":
        call_command("migrate", verbosity=0, interactive=False)
        for name in ("carol", "alice", "bob"):
            User.objects.get_or_create(username=name)
    return list(User.objects.order_by("username").values_list("username", flat=True))


@names.wrong("the query runs in the event loop")
class _Sync(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(", ".join(user.username for user in User.objects.order_by("username")))


@names.wrong("the query runs in the event loop")
class _Lazy(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        users = await database_sync_to_async(User.objects.order_by)("username")
        await self.send(", ".join(user.username for user in users))


@names.wrong("async_to_sync in async code")
class _Backwards(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        async_to_sync(self.send)("alice")


@names.wrong("another reply")
class _Unordered(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(", ".join([user.username async for user in User.objects.order_by("-username")]))


# --- 03.3 ------------------------------------------------------------------------------------------------------------


@exercise(
    "03.3",
    title="Whatever a client sends",
    goal='Answer {"double": 21} with {"result": 42} and anything else with {"error": …}, and never end the connection.',
    minutes=10,
    hints=(
        "It may be no text, no JSON, or JSON of another shape. In which line do you meet each of the three?",
        "Bytes come with text_data None. json.loads raises ValueError; for very many brackets, RecursionError.",
        "What is left may be a list, null, or a dictionary without a number: `match content: case {'double': int(n)}`.",
    ),
)
async def survives(answer, bench):
    application = consumer(answer)
    bad = [
        ("bad JSON ends the connection", text("hello")),
        ("an empty text is a message too", text("")),
        ("bytes are messages too", data(b"\x00\xff")),
        ("valid JSON of another shape", text("[1]")),
        ("a value of another type", text('{"double": null}')),
        ("a value of another type", text('{"double": "21"}')),
        ("a value of another type", text('{"double": 1.5}')),
        ("nested too deep", text("[" * 100_000)),
    ]
    await bench.play(application, CONNECT, LEAVE)  # what crashes here is no misunderstanding about messages
    for name, event in bad:
        shown = repr(event.get("text", event.get("bytes")))[:20]
        try:
            replies = sent(await bench.play(application, CONNECT, event, text('{"double": 21}'), LEAVE))[1:]
        except Crashed as crash:
            if isinstance(crash.error, NameError):
                raise  # a slip, no misunderstanding; often a `return` that is missing after the answer
            step = "Catch it where it comes up, and answer with an error."
            raise Misconception(name, f"for {shown} it raised {type(crash.error).__name__}", step) from None
        if not replies or _read(replies[-1]) != {"result": 42}:
            raise Misconception(
                "another result",
                f'after {shown} it answered {{"double": 21}} with {replies[-1:]}',
                'A good message is answered with {"result": 42}, whatever came before it.',
            )
        if len(replies) == 2 and "result" in _read(replies[0]):
            step = "Only a whole number can be doubled here: look at the type of the value."
            raise Misconception(name, f"for {event['text']} it sent {replies[0]}", step)
        if len(replies) != 2 or "error" not in _read(replies[0]):
            raise Misconception("no error told", f"for {shown} it sent {replies[:-1]}", 'Send {"error": …}, once.')


def _read(reply):
    try:
        found = json.loads(reply)
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


class _Doubles(AsyncJsonWebsocketConsumer):
    """Survives as much as `caught` says."""

    caught = ()

    async def receive(self, text_data=None, bytes_data=None):
        try:
            content = json.loads(self.taken(text_data, bytes_data))
            await self.send_json({"result": self.doubled(content)})
        except self.caught:
            await self.send_json({"error": "I can double numbers"})

    def taken(self, text_data, bytes_data):
        return text_data

    def doubled(self, content):
        return content["double"] * 2


survives.wrong("bad JSON ends the connection")(_Doubles)


@survives.wrong("an empty text is a message too")
class _NotEmpty(AsyncJsonWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        try:
            await super().receive(text_data, bytes_data)
        except json.JSONDecodeError:
            await self.send_json({"error": "no JSON"})

    async def receive_json(self, content):
        await self.send_json({"result": content["double"] * 2})


@survives.wrong("bytes are messages too")
class _TextOnly(_Doubles):
    caught = (json.JSONDecodeError,)


@survives.wrong("valid JSON of another shape")
class _AnyShape(_Doubles):
    caught = (ValueError,)

    def taken(self, text_data, bytes_data):
        return text_data or ""


@survives.wrong("a value of another type")
class _AnyValue(_AnyShape):
    def doubled(self, content):
        if not isinstance(content, dict) or "double" not in content:
            raise ValueError
        return content["double"] * 2


@survives.wrong("a value of another type")
class _TwiceTheText(_AnyShape):
    caught = (ValueError, TypeError, RecursionError)


@survives.wrong("nested too deep")
class _AnyDepth(_AnyShape):
    caught = (ValueError, TypeError)

    def doubled(self, content):
        if not isinstance(content["double"], int):
            raise TypeError
        return content["double"] * 2


@survives.wrong("no error told")
class _Silent(AsyncJsonWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        if text_data == '{"double": 21}':
            await self.send_json({"result": 42})


@survives.wrong("no error told")
class _Words(_Silent):
    async def receive(self, text_data=None, bytes_data=None):
        await super().receive(text_data)
        if text_data == "hello":
            await self.send(text_data="what?")


@survives.wrong("another result")
class _OnlyErrors(AsyncJsonWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send_json({"error": "no"})


# --- 03.4 ------------------------------------------------------------------------------------------------------------

TICKS = 0.15
"""Seconds for which the check listens to an application that should be silent; it ticks every 0.05."""


@exercise(
    "03.4",
    title="A ticker that ends with its client",
    goal="Make the ticker's task end when its client leaves, and also when its consumer crashes.",
    minutes=8,
    hints=(
        "disconnect runs when a client leaves. Does it run after an exception? Section 8 of the lesson shows it.",
        "What always runs is the end of __call__. Call super's inside `try`, and cancel the task in `finally`.",
    ),
)
async def ticker(answer, bench):
    application = consumer(answer)
    async with bench.join(application) as alice:
        await asyncio.sleep(TICKS)
        if "tick" not in sent(alice.events):
            raise Misconception("does not tick", "no tick came", "Keep `connect`, which starts the task.")
        await _next_tick(alice)
        await alice.does(LEAVE)
        outlived = await _goes_on(alice)
    if outlived:
        raise Misconception(
            "the task outlives its client",
            "after websocket.disconnect it went on to tick, to nobody",
            "Cancel self.task when the connection ends.",
        )
    async with bench.join(application) as bob:
        await asyncio.gather(bob.does(text("boom")), return_exceptions=True)  # it crashes, as it should
        outlived = await _goes_on(bob)
    if outlived:
        raise Misconception(
            "nothing ends the task after a crash",
            "its consumer has crashed, and it went on to tick, to nobody",
            "disconnect does not run then, nor what stands after super().__call__: cancel it in a `finally`.",
        )


async def _next_tick(client):
    """Wait for a tick: whoever leaves right after one leaves Channels the whole pause to end the consumer in.

    It does so by way of a thread. A tick that falls into that moment is sent to nobody, and is no fault of the answer.
    """
    before = len(sent(client.events))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            while len(sent(client.events)) == before:
                await asyncio.sleep(0.001)


async def _goes_on(client):
    """Whether anything is still sent."""
    before = len(sent(client.events))
    await asyncio.sleep(TICKS)
    return len(sent(client.events)) > before


class _Ticker(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        self.task = asyncio.create_task(self.ticks())

    async def ticks(self):
        while True:
            await self.send("tick")
            await asyncio.sleep(0.05)

    async def receive(self, text_data=None, bytes_data=None):
        raise ZeroDivisionError


ticker.wrong("the task outlives its client")(_Ticker)


@ticker.wrong("nothing ends the task after a crash")
class _Disconnects(_Ticker):
    async def disconnect(self, code):
        self.task.cancel()


@ticker.wrong("does not tick")
class _Still(_Ticker):
    async def connect(self):
        await self.accept()


# --- 03.5 ------------------------------------------------------------------------------------------------------------


@exercise(
    "03.5",
    title="Agree on a subprotocol",
    goal="Accept with chat.v2 if the client offers it; refuse every other client, and do nothing more for it.",
    minutes=5,
    hints=(
        "What the client offers is the list self.scope['subprotocols']. It may be empty.",
        "`await self.close()` refuses, and goes on to the next line. What ends a method?",
    ),
)
async def subprotocol(answer, bench):
    application = consumer(answer)
    for offer in (["chat.v2"], ["chat.v1", "chat.v2"], [], ["chat.v20"]):
        events = await bench.play(application, CONNECT, LEAVE, subprotocols=offer)
        replies = [event for event in events if event.direction == "send"]
        kinds = [event.type for event in replies]
        if not kinds:
            raise Misconception("no answer", f"for the offer {offer} it sent nothing", "Accept, or close.")
        agreed = replies[0].message.get("subprotocol")
        if kinds[0] == "websocket.accept" and agreed is not None and agreed not in offer:
            raise Misconception(
                "a subprotocol that was not offered",
                f"for the offer {offer} it accepted with {agreed!r}; on daphne the handshake then never ends",
                "Look into self.scope['subprotocols'] before you name one.",
            )
        if "chat.v2" in offer and kinds[0] == "websocket.close":
            raise Misconception(
                "refuses who may come in",
                f"for the offer {offer} it refused, although chat.v2 is among it",
                "A client may offer several: ask whether 'chat.v2' is in the list.",
            )
        if "chat.v2" in offer and (kinds != ["websocket.accept"] or agreed != "chat.v2"):
            raise Misconception(
                "does not agree on chat.v2",
                f"for the offer {offer} it sent {kinds} with the subprotocol {agreed!r}",
                "Name it: `await self.accept(subprotocol='chat.v2')`.",
            )
        if "chat.v2" not in offer and kinds[0] != "websocket.close":
            raise Misconception(
                "lets everybody in", f"for the offer {offer} it accepted", "Call `await self.close()` for this client."
            )
        if "chat.v2" not in offer and len(kinds) > 1:
            raise Misconception(
                "close() is not return",
                f"for the offer {offer} it refused, went on, and sent {kinds[1]}",
                "`return` after `await self.close()`.",
            )


class _Chat(AsyncWebsocketConsumer):
    @property
    def offered(self):
        return "chat.v2" in self.scope["subprotocols"]


@subprotocol.wrong("a subprotocol that was not offered")
class _Fixed(_Chat):
    async def connect(self):
        await self.accept(subprotocol="chat.v2")


@subprotocol.wrong("close() is not return")
class _GoesOn(_Chat):
    async def connect(self):
        if not self.offered:
            await self.close()
        await self.accept(subprotocol="chat.v2" if self.offered else None)


@subprotocol.wrong("lets everybody in")
class _Open(_Chat):
    async def connect(self):
        await self.accept(subprotocol="chat.v2" if self.offered else None)


@subprotocol.wrong("refuses who may come in")
class _Only(_Chat):
    async def connect(self):
        if self.scope["subprotocols"] != ["chat.v2"]:
            return await self.close()
        await self.accept(subprotocol="chat.v2")


@subprotocol.wrong("lets everybody in")
class _Alike(_Chat):
    async def connect(self):
        if "chat.v2" not in str(self.scope["subprotocols"]):
            return await self.close()
        await self.accept(subprotocol="chat.v2" if self.offered else None)


@subprotocol.wrong("does not agree on chat.v2")
class _Wordless(_Chat):
    async def connect(self):
        await self.accept()


@subprotocol.wrong("no answer")
class _Undecided(_Chat):
    async def connect(self):
        await asyncio.sleep(0)
