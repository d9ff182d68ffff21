"""The exercises of lesson 05, Groups. Their solutions stand in `solutions/05_groups.ipynb`."""

import asyncio
import json
import re

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from django.urls import path

from labserver.course.bench import CONNECT, LEAVE, Crashed, consumer, sent, text
from labserver.course.exercise import Misconception, exercise
from labserver.live.recorder import own_lines


async def group_send(group, **message):
    await get_channel_layer().group_send(group, message)


def groups_left(bench):
    """The groups that have a member."""
    return sorted(set().union(*(groups for layer in bench.layers.each() for groups in layer.memberships.values())))


class _Boom(Exception):
    """What a fragile consumer raises."""


def fragile(answer):
    """The application of an answer whose consumer crashes on the text `boom`, whatever it does with other texts."""
    consumer(answer)

    class Fragile(answer):
        def websocket_receive(self, message):  # what it returns is awaited, if the consumer is async
            if message.get("text") == "boom":
                raise _Boom("somebody sent boom")
            return super().websocket_receive(message)

    Fragile.__name__ = Fragile.__qualname__ = answer.__name__
    return consumer(Fragile)


def stays(client):
    """Hold that its application is still there, to be sent the next event; raises Misconception."""
    if not client.running:
        step = "If you write __call__, it has to do what it did before as well: await super().__call__(…)."
        raise Misconception("ends at once", "its application returned while the client was there", step)


def but(base, **changes):
    """A class like this one, but for these attributes."""
    return type(base.__name__, (base,), changes)


async def error_of(doing):
    """The error with which the application ended while it did this; None if it raised none."""
    try:
        await doing
    except Crashed as crash:
        return crash.error


# --- 05.1 ------------------------------------------------------------------------------------------------------------

NEWS = (("tea.ready", "cups", "tea: {}"), ("oven.door_open", "seconds", "oven: {}"))
"""The type of a message, the key beside it, and the line that a client gets."""

MANY = 30
"""More messages than the check sends."""


@exercise(
    "05.1",
    title="Two messages, two handlers",
    goal="Write the two methods that handle the messages of a kitchen, and send the client one line for each.",
    minutes=5,
    hints=(
        "Section 2 of the lesson: the type board.news leads to a method of Board. What is it called?",
        "Each dot of the type becomes an underscore, and all else stays. Beside self, the method gets one argument: "
        "the message, which is a dictionary.",
    ),
)
async def handlers(answer, bench):
    application, expected = consumer(answer), ["websocket.accept"]
    try:
        async with bench.join(application) as alice:
            for number in (3, 40):
                for kind, key, line in NEWS:
                    message, _ = {"type": kind, key: number}, expected.append(line.format(number))
                    await group_send("kitchen", **message)
                    await _at_rest(bench, message)
                    if sent(alice.events) != expected:
                        raise _unsaid(alice.events, expected, message)
    except Crashed as crash:
        raise _explained(crash.error) or crash from None


async def _at_rest(bench, message):
    try:
        await bench.rest()
    except Misconception:
        if sum(event.type == "group_send" for event in bench.trace) < MANY:
            raise
        found = f"for {message} its handler sent a message to the group, which came to the same handler, and so on"
        step = "The message has arrived. What is left to do is to tell the client: self.send(…)."
        raise Misconception("a handler sends to its own group", found, step) from None


def _explained(error):
    """The misconception that an error shows; None if it shows none."""
    said = str(error)
    if isinstance(error, ValueError) and "No handler" in said:
        step = "The method's name is the type, with _ in the place of each dot, and nothing before or behind it."
        return Misconception("the method has another name", f"it raised {said}", step)
    if isinstance(error, KeyError) or isinstance(error, AttributeError) and said.endswith(("'cups'", "'seconds'")):
        found, step = f"its handler raised {error!r}", "The message is a dictionary. Its keys are in the table above."
        return Misconception("looks for something else in the message", found, step, own_lines(error))
    if isinstance(error, AttributeError) and said == "'dict' object has no attribute 'encode'":
        step = "self.send of this class takes the message itself, not an event: the line that the client gets."
        return Misconception("sends an event", "it handed a dictionary to self.send", step, own_lines(error))
    if not isinstance(error, TypeError) or own_lines(error):
        return None
    if "await" in said:
        step = "This consumer is async: write async def, and await self.send(…)."
        return Misconception("a plain def in an async consumer", f"Channels awaited it: {said}", step)
    step = "Channels calls it with one argument: async def …(self, event). What you need is in event."
    return Misconception("a handler gets one argument", f"it raised {said}", step)


def _unsaid(events, expected, message):
    """The misconception of a client that got something else, or nothing."""
    new = sent(events)[len(expected) - 1 :]
    if new:
        step = f"Send the line {expected[-1]!r} for it, once; the number is in the message."
        return Misconception("another line", f"for {message} it sent {new}", step)
    if all(event.type != "receive" for event in events):
        step = "Keep the line groups = ['kitchen']: it makes the consumer's channel a member."
        return Misconception("is no member", f"{message} went to the group, and did not come to the consumer", step)
    step = "AsyncWebsocketConsumer: async def, and await self.send(…). WebsocketConsumer: neither async nor await."
    return Misconception("nothing is sent", f"its handler was called for {message}, and it sent nothing", step)


class _Kitchen(AsyncWebsocketConsumer):
    groups = ["kitchen"]

    async def tea_ready(self, event):
        await self.send(f"tea: {event['cups']}")

    async def oven_door_open(self, event):
        await self.send(f"oven: {event['seconds']}")


@handlers.wrong("the method has another name")
class _On(AsyncWebsocketConsumer):
    groups = ["kitchen"]
    on_tea_ready, on_oven_door_open = _Kitchen.tea_ready, _Kitchen.oven_door_open


for _misconception, _tea_ready in (
    ("a plain def in an async consumer", lambda self, event: None),
    ("a handler gets one argument", lambda self: self.send("tea: 3")),
    ("a handler gets one argument", lambda self, event, cups: self.send(f"tea: {cups}")),
    ("looks for something else in the message", lambda self, event: self.send(event["text"])),
    ("looks for something else in the message", lambda self, event: self.send(f"tea: {event.cups}")),
    ("sends an event", lambda self, event: self.send({"text": f"tea: {event['cups']}"})),
    ("another line", lambda self, event: self.send(json.dumps(event))),
    ("another line", lambda self, event: self.send("tea: 3")),
    ("nothing is sent", lambda self, event: asyncio.sleep(0)),
    ("a handler sends to its own group", lambda self, event: self.channel_layer.group_send("kitchen", event)),
    ("waits for something else", lambda self, event: asyncio.Event().wait()),
):
    handlers.wrong(_misconception)(but(_Kitchen, tea_ready=_tea_ready))

handlers.wrong("another line")(but(_Kitchen, oven_door_open=lambda self, event: self.send("oven: 3")))
handlers.wrong("is no member")(but(_Kitchen, groups=()))


# --- 05.2 ------------------------------------------------------------------------------------------------------------

GOOD = ("tea", "7", "tea-2", "x" * 30)

SCRIPTS = (
    "letters and digits of all scripts",
    r"isalnum, \w and \d know far more than ASCII; the layer's own rule lets some of it through. Write out a-z0-9-.",
)
MORE = ("more characters than the rule names", "Allow a-z, 0-9 and the hyphen alone, and take the name as it is.")
BAD = {
    " tea": ("does not look at the name first", "Before group_add, ask whether the whole name keeps the rule."),
    "tea time": ("the beginning is not the whole", "re.match stops where the pattern stops. re.fullmatch goes on."),
    "café": SCRIPTS,
    "tea٣": SCRIPTS,
    "tea\n": ("$ is not the end", "$ matches before a last line break too. Use re.fullmatch, which needs no $."),
    "TEA": MORE,
    "tea_2": MORE,
    "x" * 31: ("no limit to the length", "Thirty characters are the most: in a pattern that is {1,30}."),
}
"""Names that are refused, what it means if one is not, and what to do."""


@exercise(
    "05.2",
    title="A quiz for each name",
    goal="Let a client into the group that its URL names, and refuse it if the name is not a good one.",
    minutes=8,
    hints=(
        "Look at the Room in section 3 of the lesson. Which three things does connect do, before it joins?",
        "Write the characters out, [a-z0-9-], and how many there may be. Which function of re wants the whole text?",
        "A bad name: await self.close(), and return. A good one: self.group first, then group_add, then accept.",
    ),
)
async def room_name(answer, bench):
    router = URLRouter([path("ws/quiz/<str:name>/", consumer(answer))])
    for name in GOOD:
        await _joins(router, bench, name)
    for name, (misconception, step) in BAD.items():
        try:
            events, crash = await bench.play(router, CONNECT, LEAVE, path=f"/ws/quiz/{name}/"), None
        except Crashed as crashed:
            events, crash = bench.trace.events, crashed.error
        kinds, said, found = [event.type for event in events], sent(events), f"for {name!r:.40} it"
        if said[:1] == ["websocket.close"]:
            _nothing_more(kinds, said, crash, found)
        elif crash is not None:
            if "Group name" not in str(crash):
                misconception, step = "a crash is no refusal", "To refuse is: await self.close(), and return."
            effect = "after it had accepted" if said else "which is HTTP 500"
            raise Misconception(misconception, f"{found} raised {type(crash).__name__}, {effect}", step)
        elif not said:
            step = "Refuse with await self.close(): without a word from you the client waits."
            raise Misconception("to say nothing is not to refuse", f"{found} sent nothing", step)
        elif "websocket.close" in said:
            step = "Refuse in the handshake: look at the name first, and accept only a good one."
            raise Misconception("accepts, then closes", f"{found} sent {said}", step)
        else:
            raise Misconception(misconception, f"{found} let the client in", step)


async def _joins(router, bench, name):
    """Hold that a client with a good name is in the group of that name, until it leaves."""
    here, elsewhere = f"/ws/quiz/{name}/", "/ws/quiz/elsewhere/"
    async with bench.join(router, path=here) as alice, bench.join(router, path=elsewhere) as bob:
        if not sent(alice.events):
            step = "When it has joined, say so to the client: await self.accept()."
            raise Misconception("neither accepts nor refuses", f"for {name!r} it sent nothing: the client waits", step)
        if sent(alice.events) != ["websocket.accept"]:
            step = "Accept one to thirty characters of a-z, 0-9 and the hyphen; each of them may stand anywhere."
            raise Misconception("refuses a good name", f"for {name!r} it sent {sent(alice.events)}", step)
        kinds = [event.type for event in alice.events]
        if "group_add" in kinds[kinds.index("websocket.accept") :]:
            step = "Join, and then accept: who has been accepted counts on the next question."
            raise Misconception("accepts before it joins", f"for {name!r} it called group_add after accept", step)
        await group_send(f"quiz.{name}", type="quiz.question", text="2 + 2?")
        await bench.rest()
        if (sent(alice.events)[1:], sent(bob.events)[1:]) != (["2 + 2?"], []):
            found = f"clients in {name!r} and in 'elsewhere' joined {groups_left(bench)}"
            step = "Join the group whose name is quiz. and then the name, before you accept: group_add(group, channel)."
            raise Misconception("another group", found, step)
        await alice.does(LEAVE)
        await bob.does(LEAVE)
    if left := groups_left(bench):
        step = "disconnect takes the channel out of self.group: so set self.group in connect."
        raise Misconception("never leaves", f"two clients have left, and {left} still have members", step)


def _nothing_more(kinds, said, crash, found):
    """Hold that a refused client was no member, and that nothing followed on the refusal."""
    closed = kinds.index("websocket.close")
    if "group_add" in kinds[:closed]:
        step = "Look at the name first: until disconnect runs, this client would hear what is said in the group."
        raise Misconception("joins before it refuses", f"{found} called group_add, and then refused", step)
    left = "websocket.disconnect" in kinds
    if len(said) > 1 or "group_add" in kinds or crash is not None and not left:
        step = "`return` after `await self.close()`: it does not end your method."
        raise Misconception("close() is not return", f"{found} refused, and went on to join", step)
    if crash is not None:
        step = "disconnect runs after a refusal too. Set self.group only for a name that you have found good."
        found = f"{found} refused, and then disconnect raised {type(crash).__name__}"
        raise Misconception("leaves what it never joined", found, step)


class _Quiz(AsyncWebsocketConsumer):
    """Lets in whom `is_good` finds good."""

    group, prefix = None, "quiz."
    is_good = staticmethod(re.compile(r"[a-z0-9-]{1,30}").fullmatch)

    @property
    def name(self):
        return self.scope["url_route"]["kwargs"]["name"]

    async def connect(self):
        await (self.join() if self.is_good(self.name) else self.refuse())

    async def refuse(self):
        await self.close()

    async def join(self):
        self.group = self.prefix + self.name
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        if self.group:
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def quiz_question(self, event):
        await self.send(event["text"])


for _misconception, _is_good in (
    ("does not look at the name first", str),
    ("does not look at the name first", re.compile("[a-z0-9-]{1,30}").search),
    ("the beginning is not the whole", re.compile("[a-z0-9-]{1,30}").match),
    (SCRIPTS[0], lambda name: name.replace("-", "").isalnum() and name == name.lower() and len(name) <= 30),
    (SCRIPTS[0], re.compile(r"[a-z\d-]{1,30}").fullmatch),
    (SCRIPTS[0], re.compile(r"[\w-]{1,30}").fullmatch),
    ("$ is not the end", re.compile(r"^[a-z0-9-]{1,30}$").match),
    (MORE[0], re.compile("[A-Za-z0-9_-]{1,30}").fullmatch),
    (MORE[0], re.compile("[a-z0-9_-]{1,30}").fullmatch),
    ("no limit to the length", re.compile("[a-z0-9-]+").fullmatch),
    ("refuses a good name", lambda name: name.isascii() and name.islower() and name.isalnum()),
):
    room_name.wrong(_misconception)(but(_Quiz, is_good=staticmethod(_is_good)))

room_name.wrong("another group")(but(_Quiz, prefix=""))
room_name.wrong("never leaves")(but(_Quiz, disconnect=AsyncWebsocketConsumer.disconnect))
room_name.wrong("neither accepts nor refuses")(but(_Quiz, accept=lambda self: asyncio.sleep(0)))
room_name.wrong("a crash is no refusal")(but(_Quiz, refuse=lambda self: {}["bad name"]))
room_name.wrong("to say nothing is not to refuse")(but(_Quiz, refuse=lambda self: asyncio.sleep(0)))


@room_name.wrong(SCRIPTS[0])
class _LayersRule(_Quiz):
    async def connect(self):
        try:
            await self.join()
        except TypeError:
            self.group = None
            await self.close()


@room_name.wrong("close() is not return")
class _GoesOn(_Quiz):
    async def refuse(self):
        await self.close()
        await self.join()


@room_name.wrong("joins before it refuses")
class _JoinsFirst(_Quiz):
    async def refuse(self):
        await self.channel_layer.group_add("quiz.none", self.channel_name)
        await self.close()


@room_name.wrong("leaves what it never joined")
class _GroupFirst(_Quiz):
    async def connect(self):
        self.group = f"quiz.{self.name}"
        await super().connect()


@room_name.wrong("a crash is no refusal")
class _AcceptsAndCrashes(_Quiz):
    async def refuse(self):
        await self.accept()
        raise KeyError(self.name)


@room_name.wrong("accepts before it joins")
class _JoinsLast(_Quiz):
    async def join(self):
        self.group = self.prefix + self.name
        await self.accept()
        await self.channel_layer.group_add(self.group, self.channel_name)


@room_name.wrong("accepts, then closes")
class _AcceptsFirst(_Quiz):
    async def refuse(self):
        await self.accept()
        await self.close(4004)


# --- 05.3 ------------------------------------------------------------------------------------------------------------


@exercise(
    "05.3",
    title="Repair: a room that nobody leaves",
    goal="Mend a consumer that stays in every room: it shall be in one at most, and in none after its end.",
    minutes=9,
    hints=(
        "Two leaks: one when the client goes on to the next room, one when the connection ends. Which ends are there?",
        "Section 7 of the lesson: what runs after a leave, after a crash, and when the server ends the consumer?",
        "The end is `finally` in __call__, around super's. In receive: leave self.room, if there is one, before you "
        "join the next; and note the new one when group_add has come back.",
    ),
)
async def leaves(answer, bench):
    application = fragile(answer)
    async with bench.join(application) as alice:
        stays(alice)
        error = await error_of(alice.does(LEAVE))
    if error is not None:
        found = f"a client came and left again, and it raised {type(error).__name__}"
        step = "Somebody may leave without having been in a room: group_discard only if there is one."
        raise Misconception("nobody has gone anywhere yet", found, step)
    async with bench.join(application) as alice:
        for room in ("tea", "coffee", "coffee"):
            await alice.does(text(room))
        told, groups = sent(alice.events)[1:], groups_left(bench)
        await alice.does(LEAVE)
    went, left = "it went to tea, to coffee, and once more to coffee", groups_left(bench)
    if told != ["you are in tea", "you are in coffee", "you are in coffee"]:
        step = "Answer each message with one line, as Walker does."
        raise Misconception("another reply", f"{went}, and sent {told}", step)
    if "room.coffee" not in groups:
        step = "Leave the old room first, then join the new one: they may be the same."
        raise Misconception("goes out, and not in", f"{went}, and its groups are {groups}", step)
    if len(groups) > 1:
        step = "Before you join the next room, leave the one you are in: group_discard(self.room, self.channel_name)."
        raise Misconception("stays in the old room", f"{went}, and its groups are {groups}", step)
    if left:
        step = "When a client leaves, take its channel out of its room."
        raise Misconception("stays when it has left", f"{went}, and left; it is still in {left}", step)
    async with bench.join(application) as alice, bench.join(application) as bob:
        await alice.does(text("tea"))
        await bob.does(text("coffee"))
        await alice.does(LEAVE)
        groups = groups_left(bench)
        await bob.does(LEAVE)
    if groups != ["room.coffee"]:
        found = f"alice went to tea, bob to coffee, and alice left; then the groups with a member are {groups}"
        step = "Take out this channel alone, of the room that stands on self: what stands in the class is everybody's."
        raise Misconception("one room for all connections", found, step)
    for do, name, what, step in ENDS:
        async with bench.join(application) as bob:
            await bob.does(text("tea"))
            error = await error_of(do(bob))
        if error is None and "crash" in name:
            step = "Let the exception go on, to the server and into the log: use `finally`, or `raise` it again."
            raise Misconception("swallows the exception", f"{what}, and its application did not raise it", step)
        if left := groups_left(bench):
            raise Misconception(name, f"{what}, and its channel is still in {left}", step)


ENDS = (
    (
        lambda client: client.does(text("boom")),
        "disconnect does not run after a crash",
        "it went to tea, and its consumer crashed",
        "What always runs is the end of __call__: await super().__call__(…) in `try`, and leave in `finally`.",
    ),
    (
        lambda client: client.end(),
        "a cancellation is no Exception",
        "it went to tea, and the server ended its application, as it does when it stops",
        "CancelledError passes by `except Exception`. `finally` sees every end.",
    ),
    (
        lambda client: client.does(text("a bad name"), LEAVE),
        "notes a room before it is in",
        "it went to tea, and then to 'a bad name', where group_add raises TypeError",
        "self.room should name the room that it is in: set it when group_add has come back.",
    ),
)
"""Ways in which a connection ends: how, what it means if its channel stays in a room, what happened, what to do."""


class _Walker(AsyncWebsocketConsumer):
    """Right but for its `plan`: - leaves the old room, ~ does so if it is another, + joins the new one, = notes it."""

    room, plan = None, "-+="

    async def receive(self, text_data=None, bytes_data=None):
        old, new = self.room, f"room.{text_data}"
        for each in self.plan:
            if old and (each == "-" or each == "~" and old != new):
                await self.channel_layer.group_discard(old, self.channel_name)
            elif each == "+":
                await self.channel_layer.group_add(new, self.channel_name)
            elif each == "=":
                self.room = new
        await self.send(f"you are in {text_data}")

    async def leave(self):
        if self.room:
            await self.channel_layer.group_discard(self.room, self.channel_name)


class _Finally(_Walker):
    async def __call__(self, scope, receive, send):
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.leave()


_Disconnects = but(_Walker, disconnect=lambda self, code: self.leave())
leaves.wrong("stays in the old room")(but(_Finally, plan="+="))
leaves.wrong("goes out, and not in")(but(_Finally, plan="+-="))
leaves.wrong("notes a room before it is in")(but(_Finally, plan="=+~"))
leaves.wrong("stays when it has left")(_Walker)
leaves.wrong("disconnect does not run after a crash")(_Disconnects)
leaves.wrong("another reply")(but(_Finally, send=lambda self, text: asyncio.sleep(0)))
leaves.wrong("nobody has gone anywhere yet")(
    but(_Walker, disconnect=lambda self, code: self.channel_layer.group_discard(self.room, self.channel_name))
)
leaves.wrong("one room for all connections")(but(_Finally, leave=lambda self: self.channel_layer.flush()))


@leaves.wrong("one room for all connections")
class _Shared(_Finally):
    rooms = set()

    async def receive(self, text_data=None, bytes_data=None):
        await self.leave()
        self.rooms.add(f"room.{text_data}")
        await self.channel_layer.group_add(f"room.{text_data}", self.channel_name)
        await self.send(f"you are in {text_data}")

    async def leave(self):
        while self.rooms:
            await self.channel_layer.group_discard(self.rooms.pop(), self.channel_name)


leaves.wrong("ends at once")(but(_Walker, __call__=lambda self, *arguments: asyncio.sleep(0)))


@leaves.wrong("swallows the exception")
class _Swallows(_Walker):
    async def __call__(self, scope, receive, send):
        try:
            await super().__call__(scope, receive, send)
        except Exception as error:
            print(error)
        await self.leave()


@leaves.wrong("a cancellation is no Exception")
class _Excepts(_Disconnects):
    async def __call__(self, scope, receive, send):
        try:
            await super().__call__(scope, receive, send)
        except Exception:
            await self.leave()
            raise
