"""The last exercises of lesson 05, Groups: who is a member, and what one slow member does to a group."""

import asyncio
import json

from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from channels.routing import URLRouter
from django.contrib.auth.models import User
from django.urls import path

from labserver.course.bench import LEAVE, consumer, sent, text
from labserver.course.exercise import Misconception, exercise
from labserver.live.recorder import own_lines

from .lesson_05 import but, error_of, fragile, group_send, groups_left, stays

# --- 05.4 ------------------------------------------------------------------------------------------------------------


@exercise(
    "05.4",
    title="Who is here?",
    goal="Tell everybody in a room who is there, whenever somebody comes or goes.",
    minutes=14,
    hints=(
        "Section 7 of the lesson has one list for all. Now there are rooms: what must you know of each tab?",
        "A dictionary that all consumers share: for each channel its room and its user. A list of names is made of it.",
        "Send the list to the room's group after each change: in connect when you have joined, in `finally` of "
        "__call__ when you have taken yourself out. sorted(set(…)) orders the names, and counts each once.",
    ),
)
async def presence(answer, bench):
    router = URLRouter([path("ws/room/<slug:room>/", fragile(answer))])

    def comes(name, room="tea"):
        return bench.join(router, path=f"/ws/room/{room}/", user=User(username=name))

    async with comes("carol") as carol:
        stays(carol)
        if "carol" not in _last(carol):
            _hold("the newcomer is told nothing", "carol came", ["carol"], carol=carol)
        _hold("an old list", "carol came into an empty room", ["carol"], carol=carol)
        async with comes("bob") as bob:
            _hold("each has a list of its own", "bob came", ["bob", "carol"], bob=bob)
            _hold("tells the newcomer alone", "bob came", ["bob", "carol"], carol=carol)
            if all(event.type != "receive" for event in carol.events):
                found = "carol was sent a list, and her consumer had no message from the channel layer"
                step = "Tell the room's group, with group_send: it reaches consumers of other processes, too."
                raise Misconception("goes past the channel layer", found, step)
            async with comes("alice", "coffee") as alice:
                _hold("one list for all rooms", "alice came into another room", ["alice"], alice=alice)
                _hold("one list for all rooms", "alice came into another room", ["bob", "carol"], carol=carol, bob=bob)
                await alice.does(LEAVE)
            async with comes("bob") as tab:
                _hold("the newcomer is told nothing", "bob opened a second tab", ["bob", "carol"], bob=tab)
                await tab.does(LEAVE)
            _hold("a tab is not a user", "bob closed his second tab", ["bob", "carol"], carol=carol, bob=bob)
            async with comes("bob") as tab:
                await bob.does(LEAVE)
                _hold("a tab is not a user", "bob closed his first tab of two", ["bob", "carol"], carol=carol, bob=tab)
                await tab.does(LEAVE)
        _hold("does not tell who went", "bob closed his last tab", ["carol"], carol=carol)
        async with comes("alice") as alice:
            await error_of(alice.does(text("boom")))
        _hold("a crash is going, too", "alice came, and her consumer crashed", ["carol"], carol=carol)
        await carol.does(LEAVE)
    if left := groups_left(bench):
        step = "Whoever goes leaves the group as well, after a crash too: group_discard, in `finally`."
        raise Misconception("its channel stays in the group", f"all have gone, and {left} still have members", step)


STEPS = {
    "the newcomer is told nothing": "Join the group first, then accept, and then send the list to the group.",
    "an old list": "Names of an earlier check are in your list. Run its cell again, so that it is empty; if they come "
    "back, look for an end of a connection that takes no name out.",
    "each has a list of its own": "Each connection has a consumer of its own. Keep the list where all of them find it.",
    "tells the newcomer alone": "group_send reaches everybody in the room's group; send reaches this one client.",
    "one list for all rooms": "Send to the group of this room, and list the names of this room.",
    "a tab is not a user": "Keep a name until its last tab is gone: remember the channels, and whose they are.",
    "does not tell who went": "Take the name out first, then send the new list to the group.",
    "a crash is going, too": "disconnect does not run after a crash. Take the name out, and tell the others, in "
    "`finally` of __call__.",
    "counts tabs": "A set has each name once.",
    "in no order": "Sort the names: sorted() makes a list of a set.",
}
"""What to do about each misconception."""


def _hold(name, what, names, **clients):
    """Hold that these names are what these clients were told last; raises Misconception."""
    for who, client in clients.items():
        last = _last(client)
        if sorted({*last}) == names != last:
            name = "counts tabs" if len(last) > len(names) else "in no order"
        if last != names:
            found = f"{what}, and the newest list that {who} was sent is {last}" if last else f"{who} was sent no list"
            raise Misconception(name, found, STEPS[name])


def _last(client):
    """The list that a client was told last, or none; raises Misconception for a message of another form."""
    last = []
    for each in sent(client.events)[1:]:
        try:
            content = json.loads(each)
        except (TypeError, ValueError):
            content = None
        match content:
            case {"here": [*names], **more} if not more:
                last = [str(name) for name in names]
            case _:
                step = 'Send JSON text, and nothing else, in this form: {"here": ["alice", "bob"]}.'
                raise Misconception("another form", f"a client got {each!r:.60}", step)
    return last


class _Here(AsyncJsonWebsocketConsumer):
    """Right, but for what a subclass changes."""

    old = {}

    def __init_subclass__(cls):  # the class that the check makes of it gets a new list, so that checks do not mix
        cls.tabs = dict(cls.old)

    async def connect(self):
        self.room, self.user = self.scope["url_route"]["kwargs"]["room"], self.scope["user"].username
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()
        self.enter()
        await self.tell()

    def enter(self):
        self.tabs[self.channel_name] = self.room, self.user

    def drop(self):
        self.tabs.pop(self.channel_name, None)

    def names(self):
        return sorted({user for room, user in self.tabs.values() if room == self.room})

    async def tell(self):
        await self.channel_layer.group_send(self.room, {"type": "room.here", "here": self.names()})

    async def room_here(self, event):
        await self.send_json({"here": event["here"]})

    async def leave(self):
        self.drop()
        await self.channel_layer.group_discard(self.room, self.channel_name)
        await self.tell()

    async def __call__(self, scope, receive, send):
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.leave()


@presence.wrong("a crash is going, too")
class _Disconnect(_Here):
    async def disconnect(self, code):
        await super().leave()

    async def leave(self):
        self.tabs = {}


@presence.wrong("its channel stays in the group")
class _Member(_Here):
    async def leave(self):
        self.drop()
        await self.tell()


@presence.wrong("the newcomer is told nothing")
class _TooEarly(_Here):
    async def connect(self):
        self.room, self.user = self.scope["url_route"]["kwargs"]["room"], self.scope["user"].username
        self.enter()
        await self.tell()
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()


@presence.wrong("tells the newcomer alone")
class _Alone(_Here):
    async def tell(self):
        if self.channel_name in self.tabs:
            await self.send_json({"here": self.names()})


@presence.wrong("goes past the channel layer")
class _Direct(_Here):
    def enter(self):
        self.tabs[self] = self.room, self.user

    async def tell(self):
        for each in self.tabs:
            await each.send_json({"here": self.names()})


@presence.wrong("does not tell who went")
class _TellsFirst(_Here):
    async def leave(self):
        await self.tell()
        self.drop()


presence.wrong("another form")(but(_Here, room_here=lambda self, event: self.send_json(event["here"])))
presence.wrong("another form")(but(_Here, room_here=lambda self, event: self.send_json(event)))
presence.wrong("another form")(but(_Here, room_here=lambda self, event: self.send(str({"here": event["here"]}))))
presence.wrong("an old list")(but(_Here, old={"a channel": ("tea", "bob")}))
presence.wrong("in no order")(but(_Here, names=lambda self: _Here.names(self)[::-1]))
presence.wrong("ends at once")(but(_Here, __call__=lambda self, *arguments: asyncio.sleep(0)))


@presence.wrong("each has a list of its own")
class _Own(_Here):
    def enter(self):
        self.tabs = {self.channel_name: (self.room, self.user)}


@presence.wrong("one list for all rooms")
class _OneList(_Here):
    def names(self):
        return sorted({user for _, user in self.tabs.values()})


@presence.wrong("counts tabs")
class _Tabs(_Here):
    def names(self):
        return sorted(user for room, user in self.tabs.values() if room == self.room)


@presence.wrong("a tab is not a user")
class _Names(_Here):
    def enter(self):
        self.tabs[self.room, self.user] = self.room, self.user

    def drop(self):
        self.tabs.pop((self.room, self.user), None)


@presence.wrong("a tab is not a user")
class _FirstTab(_Names):
    first = False

    def enter(self):
        self.first = (self.room, self.user) not in self.tabs
        super().enter()

    def drop(self):
        if self.first:
            super().drop()


# --- 05.5 ------------------------------------------------------------------------------------------------------------

BEYOND = 30
"""More charts than there are, unless somebody draws one price again and again."""


@exercise(
    "05.5",
    title="One slow member",
    goal="Let a member whose charts take long skip old prices, so that it never misses the newest one.",
    minutes=14,
    hints=(
        "While a handler works, nobody reads its channel. What is the least that price_new can do?",
        "It notes the price on self, and sees to it that one task is at work. The task draws and sends, until there is "
        "no newer price.",
        "A loop in the task: take self.newest and set it to None, then `await self.send(await self.draw(…))`. Start it "
        "with asyncio.create_task if there is none, or if it is done(). In `finally` of __call__, cancel() it, if any.",
    ),
)
async def slow_member(answer, bench):
    consumer(answer)
    drawn, drawing, pens = [], [], asyncio.Semaphore(0)

    class Gated(answer):
        async def draw(self, price):
            if self.scope["path"] != "/slow/":
                await asyncio.sleep(0)
                return await super().draw(price)
            drawn.append(price)
            drawing.append(price)
            try:
                await pens.acquire()
            finally:
                drawing.remove(price)
            return await super().draw(price)

    async def send_price(price):
        await group_send("prices", type="price.new", price=price)
        await _settle(bench)

    Gated.__name__ = Gated.__qualname__ = answer.__name__
    application, tasks = fragile(Gated), _tasks()

    async def until(condition):
        reached = await _until(condition)
        errors = [task.exception() for task in tasks if task.done() and not task.cancelled()]
        for error in filter(None, errors):
            found = f"a task of the consumer raised {type(error).__name__}: {error}"
            step = "Mend that first. Nobody hears of an error in a task: the client waits."
            raise Misconception("its task crashes", found, step, own_lines(error))
        return reached

    async with bench.join(application) as carol:
        stays(carol)
        error = await error_of(carol.does(LEAVE))
    if error is not None:
        found = f"a client left before any price came, and it raised {type(error).__name__}"
        step = "Somebody may leave before a task has begun: cancel it only if there is one."
        raise Misconception("no price has come yet", found, step, own_lines(error))
    async with bench.join(application, path="/slow/") as alice, bench.join(application, path="/fast/") as bob:
        for price in (1, 2, 3, 4):
            await send_price(price)
            if not await until(lambda wanted=f"chart of {price}": wanted in sent(bob.events)):
                break
        if sent(bob.events)[1:] != [f"chart of {price}" for price in (1, 2, 3, 4)]:
            step = "Send this consumer's client what self.draw returns, once. What you note stays on self."
            found = f"a fast member had time for each of the prices 1 to 4, and got {sent(bob.events)[1:]}"
            raise Misconception("another chart, or none", found, step)
        if not await until(lambda: drawn):
            step = "Draw with `await self.draw(price)`, and leave draw as it is."
            raise Misconception("draws in another way", "the slow member's draw was not called", step)
        if len(drawing) > 1:
            found = f"while it drew the chart of 1, it began those of {drawn[1:]} as well"
            step = "One drawing at a time. The task that is at work takes the newest price when it has done the last."
            raise Misconception("a task for each price", found, step)
        if len(drawn) > 1:
            found = f"it began the charts of {drawn}, and gave up each for the next"
            step = "Let the drawing that has begun come to its end: if prices come fast, no chart is ever done."
            raise Misconception("begins again with each price", found, step)
        pens.release()
        await until(lambda: drawn[1:])
        found = "while it drew the chart of 1, the prices 2, 3 and 4 came; then it"
        if not drawn[1:]:
            step = "Note a price that comes while you are at work. When the chart is done, look whether there is one."
            raise Misconception("loses the newest", f"{found} drew nothing more", step)
        if drawn[1:] != [4]:
            step = "Keep one price only, the newest: each new one takes its place."
            raise Misconception("works off what is old", f"{found} drew {drawn[1]}", step)
        pens.release()
        await until(lambda: "chart of 4" in sent(alice.events))
        if "chart of 1" not in sent(alice.events):
            step = "Send each chart that is done, also if there is a newer price: if prices come fast, there always is."
            found = f"it drew the charts of 1 and of 4, and sent {sent(alice.events)[1:]}"
            raise Misconception("throws a chart away", found, step)
        await send_price(5)
        await until(lambda: drawn[2:])
        pens.release()
        if not await until(lambda: sent(alice.events)[3:]):
            step = "A task that is done does not begin again: start a new one, or let it wait for the next price."
            found = f"it drew {drawn}, and sent {sent(alice.events)[1:]}; price 5 had come when the others were done"
            raise Misconception("stops for good", found, step)
        await send_price(6)
        await until(lambda: drawn[3:])
        await alice.does(LEAVE)
        ended = await until(lambda: not drawing)
    if not ended:
        step = "Cancel the task when the connection ends, as in lesson 03."
        raise Misconception("the task outlives its client", "the client left, and it went on to draw", step)
    async with bench.join(application, path="/slow/") as alice:
        await send_price(7)
        await until(lambda: drawing)
        await error_of(alice.does(text("boom")))
        ended = await until(lambda: not drawing)
    if not ended:
        found = "its consumer crashed while it drew, and it went on to draw"
        step = "disconnect does not run after a crash. Cancel the task in `finally` of __call__."
        raise Misconception("the task outlives a crash", found, step)


async def _settle(bench):
    """Wait until all are at rest; tell apart why they are not."""
    try:
        await bench.rest()
    except Misconception as stuck:
        if sum(event.type == "websocket.send" for event in bench.trace) > BEYOND:
            found = "one price came, and it drew and sent its chart again and again"
            step = "When you take a price to draw it, set what you noted back to None; and wait if there is none."
            raise Misconception("draws the same price again", found, step) from None
        found = "while a chart was drawn, the handler did not come back: what comes next waits in a channel of 100"
        step = "price_new should note the price and return. Let a task do what takes long."
        raise Misconception("the handler does the slow work", found, step, stuck.lines) from None


def _tasks():
    """The tasks that are made from now on."""
    tasks = []

    def make(loop, coroutine, **options):
        tasks.append(asyncio.Task(coroutine, loop=loop, **options))
        return tasks[-1]

    asyncio.get_running_loop().set_task_factory(make)
    return tasks


async def _until(condition):
    """Wait, for half a second at most, until this is so; returns whether it is."""
    for _ in range(100):
        if condition():
            return True
        await asyncio.sleep(0.005)
    return False


class _Prices(AsyncWebsocketConsumer):
    """Right, but for its end, and for what a subclass changes."""

    groups = ["prices"]
    newest = task = None

    async def draw(self, price):
        return f"chart of {price}"

    async def price_new(self, event):
        self.newest = event["price"]
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self.work())

    async def work(self):
        while self.newest is not None:
            price, self.newest = self.newest, None
            await self.show(price)

    async def show(self, price):
        await self.send(await self.draw(price))


@slow_member.wrong("the handler does the slow work")
class _Given(_Prices):
    async def price_new(self, event):
        await self.show(event["price"])


@slow_member.wrong("a task for each price")
class _Tasks(_Prices):
    async def price_new(self, event):
        self.task = asyncio.create_task(self.show(event["price"]))


@slow_member.wrong("begins again with each price")
class _Restarts(_Prices):
    async def price_new(self, event):
        if self.task:
            self.task.cancel()
        self.task = asyncio.create_task(self.show(event["price"]))


@slow_member.wrong("loses the newest")
class _Busy(_Prices):
    async def price_new(self, event):
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self.show(event["price"]))


@slow_member.wrong("works off what is old")
class _Queue(_Prices):
    async def connect(self):
        await self.accept()
        self.queue = asyncio.Queue()
        self.task = asyncio.create_task(self.work())

    async def price_new(self, event):
        self.queue.put_nowait(event["price"])

    async def work(self):
        while True:
            await self.show(await self.queue.get())


@slow_member.wrong("stops for good")
class _Once(_Prices):
    async def price_new(self, event):
        self.newest = event["price"]
        if self.task is None or self.scope["path"] == "/fast/":
            self.task = asyncio.create_task(self.work())


@slow_member.wrong("throws a chart away")
class _Throws(_Prices):
    async def show(self, price):
        chart = await self.draw(price)
        if self.newest is None:
            await self.send(chart)


@slow_member.wrong("draws the same price again")
class _Again(_Prices):
    async def work(self):
        while True:
            await self.show(self.newest)


@slow_member.wrong("another chart, or none")
class _OneSlot(_Prices):
    slot = []

    async def price_new(self, event):
        self.slot[:] = [event["price"]]
        self.task = asyncio.create_task(self.work())

    async def work(self):
        while self.slot:
            await self.show(self.slot.pop())


slow_member.wrong("draws in another way")(but(_Prices, show=lambda self, price: self.send(f"chart of {price}")))
slow_member.wrong("its task crashes")(but(_Prices, show=lambda self, price: self.send(price)))
slow_member.wrong("the task outlives its client")(_Prices)
slow_member.wrong("the task outlives a crash")(
    but(_Prices, disconnect=lambda self, code: asyncio.sleep(0, self.task and self.task.cancel()))
)


@slow_member.wrong("no price has come yet")
class _CancelsNone(_Prices):
    async def disconnect(self, code):
        self.task.cancel()


slow_member.wrong("ends at once")(but(_Prices, __call__=lambda self, *arguments: asyncio.sleep(0)))
