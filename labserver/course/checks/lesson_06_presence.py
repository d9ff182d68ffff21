"""The last exercises of lesson 06, The chat room: who is here, by entries of a cache."""

import asyncio
import contextlib

from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from channels.routing import URLRouter
from django.contrib.auth.models import User
from django.core.cache import cache
from django.urls import path

from labserver.course.bench import LEAVE, sent, text
from labserver.course.exercise import Misconception, exercise
from labserver.live.recorder import own_lines

from .lesson_05 import but, error_of, fragile, stays
from .lesson_06 import decoded
from .lesson_06_cache import RIVAL, own_cache

# --- 06.3 ------------------------------------------------------------------------------------------------------------

TAKEN = ("takes a place that is in use", "Try the keys in their order: cache.add takes one only if it is free.")
LOOKED = (
    "looks first, then writes",
    "cache.add looks and writes at once, and returns whether it got the place. Nobody comes in between.",
)
NOT_MINE = (
    "deletes another's entry",
    "Delete the one key that this tab took, and only if its value is still this tab's own channel.",
)
ENDS = (
    (
        lambda client: client.does(text("boom")),
        "its consumer crashed",
        "disconnect does not run after a crash",
        "What always runs is the end of __call__: await super().__call__(…) in `try`, and delete in `finally`.",
    ),
    (
        lambda client: client.end(),
        "the server ended it, as it does when it stops",
        "the server may end a consumer",
        "A server that shuts down cancels it, and CancelledError is no Exception: delete in `finally`.",
    ),
)


@exercise(
    "06.3",
    title="Three tabs, and no more",
    goal="Give each tab of a user a place of its own, and have it free again when the tab is gone.",
    minutes=12,
    hints=(
        "Two tabs come at the same moment, and both find place 0 free. Which method of the cache settles it?",
        "Go through keys(), and stop at the first for which cache.add(key, self.channel_name) is true. Remember it.",
        "At the end, in `finally` of __call__: if cache.get(key) is still this tab's channel, delete the key. Who was "
        "refused has no key.",
    ),
)
async def three_tabs(answer, bench):
    application = fragile(answer)

    def comes(number=1, name="alice"):
        return bench.join(application, user=User(pk=number, username=name))

    async with own_cache() as moved, contextlib.AsyncExitStack() as stack:
        cache, want = moved.cache, {}

        def held():
            return _held(cache, bench)

        async def opens(key, what):
            client = await stack.enter_async_context(comes())
            stays(client)
            want[key] = f"ws-{bench.joined}"
            _placed(client, key, what, held(), want)
            return client

        one = await opens("tab.1.0", "alice opened a tab")
        two = await opens("tab.1.1", "alice opened a second tab")
        cache.rival = "tab.2.0"
        async with comes(2, "bob") as bob:
            _beside_a_rival(bob, cache.came, held(), want)
            await bob.does(LEAVE)
        want |= {"tab.2.0": RIVAL} if cache.came else {}
        _kept("bob closed his tab, ws-3", held(), want)
        three = await opens("tab.1.2", "alice opened a third tab")
        async with comes() as four:
            await _full(four, held, want)
        await one.does(LEAVE)
        del want["tab.1.0"]
        _kept("alice closed ws-1, the first of three tabs", held(), want)
        await opens("tab.1.0", "alice closed the first of three tabs, and opened another")
        cache.put("tab.1.1", RIVAL)
        want["tab.1.1"] = RIVAL
        await two.does(LEAVE)
        _kept("the cache was emptied, another tab took tab.1.1, and ws-2 left, which had it before", held(), want)
        await three.does(LEAVE)
        for end, what, name, step in ENDS:
            async with comes() as last:
                await error_of(end(last))
            if "tab.1.2" in held():
                found = f"ws-{bench.joined} had tab.1.2, and {what}; now the cache holds {held()}"
                raise Misconception(name, found, step)
        moved.hold_threads()


def _held(cache, bench):
    """What the cache holds, by key, as text: a channel has the name of its connection."""
    channels = {each: f"ws-{number}" for number in range(1, bench.joined + 1) for each in bench.log.channels_of(number)}
    found = {}
    for entry in cache.entries().items():
        key, value = map(str, entry)
        for channel, name in channels.items():
            key, value = key.replace(channel, name), value.replace(channel, name)
        found[key] = value
    return found


def _placed(client, key, what, held, want):
    """Hold that the tab that came last was let in, has this place, and was told so."""
    said, found = sent(client.events), f"{what}, and now the cache holds {held}"
    if said[:1] != ["websocket.accept"]:
        step = "While one of the three keys is free, let the tab in: await self.accept()."
        raise Misconception("refuses although a place is free", f"{what}, and it sent {said}", step)
    if any(value.startswith(("[", "(", "{")) for value in held.values()):
        step = "Of two who read it at once, one is lost. Give each tab a key of its own; cache.add takes it at once."
        raise Misconception("a list is read, then written", found, step)
    if any(held.get(other) != want[other] for other in want if other != key):
        raise Misconception(TAKEN[0], found, TAKEN[1])
    if held == {other: want[other] for other in want if other != key}:
        step = "Store the channel with cache.add, and await it: without await, in_thread(…) does nothing."
        raise Misconception("no entry", found, step)
    if held != want:
        step = "One key for each tab, the first of keys() that is free; and as its value self.channel_name."
        raise Misconception("another entry", found, step)
    if [decoded(each) for each in said[1:]] != [{"place": key}]:
        step = 'After accept, send the key that it has got, once: {"place": key}, as JSON.'
        raise Misconception("tells another place", f"{what}, got {key}, and was told {said[1:]}", step)


def _beside_a_rival(bob, came, held, want):
    """Hold that a tab finds its place, also if the first one was free only when the answer looked."""
    if not came:
        return _placed(bob, "tab.2.0", "bob opened a tab", held, want | {"tab.2.0": "ws-3"})
    what = "bob opened a tab; it found tab.2.0 free, and then another process took it"
    if held.get("tab.2.0") != RIVAL:
        raise Misconception(LOOKED[0], f"{what}. Now the cache holds {held}", LOOKED[1])
    if "ws-3" not in held.values() and sent(bob.events)[:1] == ["websocket.accept"]:
        step = "It returns False if the place is taken: then try the next one."
        raise Misconception("does not look at what add returns", f"{what}. Now the cache holds {held}", step)
    return _placed(bob, "tab.2.1", what, held, want | {"tab.2.0": RIVAL, "tab.2.1": "ws-3"})


def _kept(what, held, want):
    """Hold that who has left has no entry, and everybody else has."""
    found = f"{what}; now the cache holds {held}"
    if not {*held.values()} <= {*want.values()}:
        raise Misconception("stays when it has left", found, "When a tab is gone, delete its key, and that one only.")
    if held != want:
        raise Misconception(NOT_MINE[0], found, NOT_MINE[1])


async def _full(client, held, want):
    """Hold that a fourth tab is refused, and that nothing comes of it."""
    said, what = sent(client.events), "alice had three tabs, and opened a fourth"
    if held() != want:
        raise Misconception(TAKEN[0], f"{what}; now the cache holds {held()}", TAKEN[1])
    if said != ["websocket.close"]:
        name, step = "lets a fourth tab in", "If you got no place: await self.close(), and return."
        if said[:1] == ["websocket.close"]:
            name, step = "close() is not return", "`return` after `await self.close()`."
        elif "websocket.close" in said:
            name, step = "accepts, then closes", "Refuse in the handshake: close without accept."
        raise Misconception(name, f"{what}, and it sent {said}", step)
    if error := await error_of(client.does(LEAVE)):
        found = f"{what}, which was refused; when it was gone, it raised {type(error).__name__}: {error}"
        step = "disconnect and __call__ come to their end for a refused tab as well: it has no key to delete."
        raise Misconception("leaves what it never had", found, step, own_lines(error))
    _kept(f"{what}, which was refused, and left", held(), want)


class _Tabs(AsyncJsonWebsocketConsumer):
    """Right, but for what a subclass changes."""

    place = None

    async def connect(self):
        self.place = await self.call(self.take)
        await (self.full() if self.place is None else self.enter())

    async def enter(self):
        await self.accept()
        await self.send_json({"place": self.place})

    async def full(self):
        await self.close()

    async def call(self, function):
        return await sync_to_async(function, thread_sensitive=False)()

    def keys(self):
        return [f"tab.{self.scope['user'].pk}.{number}" for number in range(3)]

    def take(self):
        return next((key for key in self.keys() if self.takes(key)), None)

    def takes(self, key):
        return cache.add(key, self.channel_name)

    def give_back(self):
        if self.place and cache.get(self.place) == self.channel_name:
            cache.delete(self.place)

    async def __call__(self, scope, receive, send):
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.call(self.give_back)


@three_tabs.wrong(LOOKED[0])
class _Counts(_Tabs):
    def take(self):
        key = self.keys()[len(cache.get_many(self.keys())) % 3]
        cache.set(key, self.channel_name)
        return key


@three_tabs.wrong("does not look at what add returns")
class _Blind(_Tabs):
    def take(self):
        free = [key for key in self.keys() if key not in cache]
        for key in free[:1]:
            cache.add(key, self.channel_name)
        return free[0] if free else None


@three_tabs.wrong("a list is read, then written")
class _List(_Tabs):
    def take(self):
        cache.set("tab.1", [*cache.get("tab.1", []), self.channel_name])
        return "tab.1.0"


@three_tabs.wrong("disconnect does not run after a crash")
class _Disconnects(_Tabs):
    __call__ = AsyncJsonWebsocketConsumer.__call__

    async def disconnect(self, code):
        await self.call(self.give_back)


@three_tabs.wrong("the server may end a consumer")
class _Catches(_Disconnects):
    async def __call__(self, scope, receive, send):
        try:
            await AsyncJsonWebsocketConsumer.__call__(self, scope, receive, send)
        except Exception:
            await self.call(self.give_back)
            raise


@three_tabs.wrong("accepts, then closes")
class _AcceptsFirst(_Tabs):
    async def full(self):
        await self.accept()
        await self.close(4000)


@three_tabs.wrong("close() is not return")
class _GoesOn(_Tabs):
    async def full(self):
        await self.close()
        await self.accept()


def _set_if_free(self, key):
    return cache.get(key) is None and not cache.set(key, self.channel_name)


def _add_if_free(self, key):
    return key not in cache and cache.add(key, self.channel_name)


for _name, _changes in (
    (TAKEN[0], {"takes": lambda self, key: not cache.set(key, self.channel_name)}),
    (TAKEN[0], {"take": lambda self: _Tabs.take(self) or cache.set(self.keys()[2], self.channel_name)}),
    (LOOKED[0], {"takes": _set_if_free}),
    ("no entry", {"takes": lambda self, key: key[-1] == "0"}),
    ("another entry", {"takes": lambda self, key: cache.add(key, "here")}),
    ("tells another place", {"enter": lambda self: self.accept()}),
    ("refuses although a place is free", {"enter": _Tabs.full}),
    ("lets a fourth tab in", {"full": _Tabs.enter}),
    ("leaves what it never had", {"give_back": lambda self: cache.delete(self.place.lower())}),
    (NOT_MINE[0], {"give_back": lambda self: cache.delete(self.place or "")}),
    (NOT_MINE[0], {"give_back": lambda self: cache.delete_many(self.keys())}),
    ("stays when it has left", {"give_back": lambda self: None}),
    ("stays when it has left", {"takes": _add_if_free, "give_back": lambda self: None}),
    ("the event loop waits for the cache", {"call": lambda self, function: asyncio.sleep(0, function())}),
    ("one thread for all", {"call": lambda self, function: sync_to_async(function)()}),
    ("ends at once", {"__call__": lambda self, *arguments: asyncio.sleep(0)}),
):
    three_tabs.wrong(_name)(but(_Tabs, **_changes))


# --- 06.4 ------------------------------------------------------------------------------------------------------------

LEASE = 15
"""Seconds for which an entry may stay if nobody renews it."""

LONG = 300
"""Seconds for which a client is silent, beside the first thirty."""

KEY = "here.alice"


@exercise(
    "06.4",
    title="Repair: gone after five minutes",
    goal="Keep an entry of the cache alive as long as its connection, and not longer than 15 seconds after a kill.",
    minutes=14,
    hints=(
        "A lease: an entry that ends soon, and somebody who renews it. Who can do that while no message comes?",
        "A task, made in connect: again and again it sets the key with a timeout of 15 seconds, through in_thread, and "
        "sleeps for 4.",
        "Whoever makes a task ends it: task.cancel() in disconnect, before super's deletes, and in `finally` of "
        "__call__, for crashes. If you renew with touch, look at what it returns.",
    ),
)
async def lease(answer, bench):
    router = URLRouter([path("here/<slug:name>/", fragile(answer))])
    async with own_cache() as moved:
        async with bench.join(router, path="/here/alice/") as alice:
            stays(alice)
            await moved.settle()
            _there(moved, "alice came")
            for step in [0.5] * 4 * LEASE + [1] * LONG:
                moved.cache.ahead += step
                late = step < 1 and KEY not in moved.cache.entries()  # it ended before its renewal, due now, has begun
                await moved.settle()
                seconds = f"{moved.cache.ahead:g} s"
                if KEY not in moved.cache.entries():
                    raise await _gone(moved, bench, router, seconds)
                _there(moved, f"alice was silent for {seconds}")
                if late:
                    found = f"alice's entry ended after {seconds}, and only then it was renewed"
                    step = f"Renew it well before its end: every 4 seconds, if it lasts for {LEASE}."
                    raise Misconception("renewed too late", found, step)
            moved.cache.clear()
            await moved.by(LEASE)
            if KEY not in moved.cache.entries():
                found = f"the cache was emptied, and {LEASE} seconds later alice still had no entry"
                step = "touch returns False if there is no entry to prolong: then set it again. Or set it each time."
                raise Misconception("a lost entry stays lost", found, step)
            moved.cache.slow, deleted = LEASE, moved.cache.deleted
            await alice.does(LEAVE)
            await moved.settle()
            moved.cache.slow = 0
            if moved.cache.entries() and moved.cache.deleted > deleted:
                found = "alice left, and while her entry was deleted, its renewal came due: now it is there again"
                step = "Cancel the task first, then delete: in disconnect, before super's."
                raise Misconception("cancels after it has deleted", found, step)
            if moved.cache.entries():
                step = "Here deletes it in disconnect. If you write one, call super's, or delete the key yourself."
                raise Misconception("stays when it has left", "alice left, and her entry is still there", step)
            step = "Cancel the task when the connection ends."
            await _ended(moved, "alice left", "the task outlives its client", step)
        async with bench.join(router, path="/here/alice/") as alice:
            await error_of(alice.does(text("boom")))
            await moved.settle()
            step = "disconnect does not run then. Cancel it in `finally` of __call__, around super's."
            await _ended(moved, "her consumer crashed", "nothing ends the task after a crash", step)
        moved.hold_threads()


def _there(moved, what):
    """Hold that there is an entry, and that it would end soon if the process was killed now."""
    if KEY not in moved.cache.entries():
        step = f"When a client has come, there is an entry {KEY}: set it before accept."
        raise Misconception("no entry", f"{what}, and the cache holds {moved.cache.entries()}", step)
    left = moved.cache.left(KEY)
    if left is None or left > LEASE:
        stay = "for ever" if left is None else f"for {left:.0f} seconds more"
        found = f"{what}; if the process was killed now, her entry would stay {stay}"
        step = f"Give set, add and touch a timeout of {LEASE} seconds: without one they take 300. And renew the entry."
        raise Misconception("a killed process leaves a ghost", found, step)


async def _gone(moved, bench, router, seconds):
    """Why the entry of a client that is silent has gone."""
    found = f"alice was connected, and silent; after {seconds} her entry had gone"
    for error in filter(None, (task.exception() for task in moved.tasks if task.done() and not task.cancelled())):
        found = f"{found}. A task of the consumer had raised {type(error).__name__}: {error}"
        step = "Mend that first. Nobody hears of an error in a task."
        return Misconception("its task crashes", found, step, own_lines(error))
    moved.cache.clear()
    async with bench.join(router, path="/here/alice/") as talker:
        stayed = True
        for second in range(2 * LEASE):
            await moved.by(1)
            stayed &= KEY in moved.cache.entries()
            if second % 5 == 0:  # a few, for the sake of the picture
                await talker.does(text("I am here"))
                await moved.settle()
    if stayed:
        found = f"{found}. With a message every five seconds it stayed"
        step = "A client may be silent. Renew in a task that runs beside the handlers: asyncio.create_task, in connect."
        return Misconception("renews only when a message comes", found, step)
    step = "Somebody has to renew it before it ends, again and again: a task, with touch or set, every 4 seconds."
    return Misconception("the entry ends before its connection", found, step)


async def _ended(moved, what, name, step):
    """Hold that nothing goes on."""
    going, before = moved.going(), len(moved.cache.threads)
    await moved.by(2 * LEASE)
    calls = len(moved.cache.threads) - before
    if going or calls or moved.cache.entries():
        found = (
            f"{what}; {len(going)} of its tasks went on, called the cache {calls} times within {2 * LEASE} s, and it "
            f"holds {list(moved.cache.entries())}"
        )
        raise Misconception(name, found, step)


class _Here(AsyncWebsocketConsumer):
    """Right, but for what a subclass changes."""

    task = None

    async def connect(self):
        self.key = f"here.{self.scope['url_route']['kwargs']['name']}"
        await self.first()
        await self.accept()
        self.task = asyncio.create_task(self.renew())

    async def call(self, function, *args):
        return await sync_to_async(function, thread_sensitive=False)(*args)

    async def first(self):
        await self.call(cache.set, self.key, self.channel_name, 15)

    async def again(self):
        await self.first()

    async def renew(self):
        while True:
            await asyncio.sleep(4)
            await self.again()

    async def disconnect(self, code):
        self.stop()
        await self.call(cache.delete, self.key)

    def stop(self):
        if self.task:
            self.task.cancel()

    async def __call__(self, scope, receive, send):
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.stop()


@lease.wrong("the event loop waits for the cache")
class _Direct(_Here):
    async def call(self, function, *args):
        return function(*args)


async def _without_a_pause(self):
    while True:
        await self.again()


async def _late(self):
    while await asyncio.sleep(15, True):
        await self.again()


async def _deletes_first(self, code):
    await self.call(cache.delete, self.key)
    self.stop()


class _Flag(_Here):
    gone = False

    def stop(self):
        self.gone = True

    async def again(self):
        if not self.gone:
            await self.first()


for _name, _changes in (
    ("a killed process leaves a ghost", {"first": lambda self: self.call(cache.set, self.key, "alice", None)}),
    ("a killed process leaves a ghost", {"first": lambda self: self.call(cache.set, self.key, "alice", 86400)}),
    ("a killed process leaves a ghost", {"again": lambda self: self.call(cache.touch, self.key)}),
    ("a killed process leaves a ghost", {"again": lambda self: self.call(cache.touch, self.key, None)}),
    ("a lost entry stays lost", {"again": lambda self: self.call(cache.touch, self.key, 15)}),
    ("cancels after it has deleted", {"disconnect": _deletes_first}),
    ("cancels after it has deleted", {"disconnect": lambda self, code: self.call(cache.delete, self.key)}),
    ("cancels after it has deleted", {"stop": lambda self: None}),
    ("the task outlives its client", {"stop": _Flag.stop, "again": _Flag.again, "gone": False}),
    ("nothing ends the task after a crash", {"__call__": AsyncWebsocketConsumer.__call__}),
    (
        "renews only when a message comes",
        {"renew": lambda self: asyncio.sleep(0), "receive": lambda self, text_data: self.again()},
    ),
    ("the entry ends before its connection", {"renew": lambda self: asyncio.sleep(0)}),
    ("the entry ends before its connection", {"again": lambda self: self.call(cache.add, self.key, "alice", 15)}),
    ("its task crashes", {"again": lambda self: self.call(cache.touch, self.kee, 15)}),
    ("renews without a pause", {"renew": _without_a_pause}),
    ("renewed too late", {"renew": _late}),
    ("no entry", {"first": lambda self: asyncio.sleep(0)}),
    ("stays when it has left", {"disconnect": AsyncWebsocketConsumer.disconnect}),
    ("one thread for all", {"call": lambda self, function, *args: sync_to_async(function)(*args)}),
    ("one thread for all", {"first": lambda self: cache.aset(self.key, "alice", 15)}),
    ("ends at once", {"__call__": lambda self, *arguments: asyncio.sleep(0)}),
    ("waits for something else", {"connect": lambda self: asyncio.Event().wait()}),
):
    lease.wrong(_name)(but(_Here, **_changes))
