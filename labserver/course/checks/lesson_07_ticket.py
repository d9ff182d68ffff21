"""The fourth exercise of lesson 07, JWT on a socket. Its solution stands in `solutions/07_jwt_auth.ipynb`."""

import asyncio
import contextlib
import hashlib
import inspect
import operator
import secrets
import threading
import time
import uuid
from unittest.mock import patch
from urllib.parse import parse_qs

from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.core.cache import cache

from labserver.course.bench import CONNECT, LEAVE, sent
from labserver.course.exercise import Misconception, exercise

from .lesson_05 import but
from .lesson_06_cache import own_cache

# --- 07.4 ------------------------------------------------------------------------------------------------------------

ONCE = (
    "a ticket that is good twice",
    "Whoever finds it in a log comes second. Delete it when it is used: cache.delete(key).",
)
AT_ONCE = (
    "looks first, deletes later",
    "Between get and delete another one may come. delete returns whether the key was still there: only then let in.",
)
FROM_CLIENT = (
    "the client names the user",
    "Keep the number in the cache, under the ticket, and take it from there alone.",
)
OTHER_KEYS = (
    "a client chooses a key of the cache",
    "Put a word in front, which no other key begins with: f'ticket.{ticket}'.",
)
NO_TICKET = ("anything lets in", "cache.get returns None for what is not there: refuse then, and return.")
GUESSED = (
    "a ticket that can be guessed",
    "Who knows the user and about the time can try. Return a random text: secrets.token_urlsafe(16).",
)
DIFFERENT = 10
"""Letters in which two random tickets differ at least; two numbers of a clock differ in less."""

FOREIGN = "tab.1.0"


@exercise(
    "07.4",
    title="A ticket for one use",
    goal="Issue tickets that stand for a user, for half a minute and one use, and let in whoever brings one.",
    minutes=11,
    hints=(
        "Section 5 of the lesson: what does the cache keep, under which key, for how long?",
        "Two may come with the same ticket at the same moment. Which call of the cache tells that you were the first?",
        "In a function for in_thread: user_id = cache.get(key), and it counts only if cache.delete(key) returns True.",
    ),
)
async def tickets(answer, bench):
    if not inspect.isclass(answer):
        raise Misconception("not a middleware class", f"found {answer!r:.40}", "Hand the class itself to check().")
    handed = []

    async def inner(scope, receive, send):
        handed.append(scope.get("user_id"))
        await AsyncJsonWebsocketConsumer.as_asgi()(scope, receive, send)

    application = answer(inner)

    async def visit(said):
        """The numbers of the users that got in with this query string."""
        handed.clear()
        await bench.play(application, CONNECT, LEAVE, query_string=said.encode())
        return [*handed]

    async def issued(user_id):
        if inspect.iscoroutinefunction(application.issue):
            step = "A view calls it in a thread: write def, without async, and call the cache directly."
            raise Misconception("issue is not async", "issue is an async method", step)
        ticket = await sync_to_async(application.issue, thread_sensitive=False)(user_id)
        if not isinstance(ticket, str) or len(ticket) < 16:
            raise Misconception(GUESSED[0], f"issue({user_id}) returned {ticket!r:.20}", GUESSED[1])
        return f"ticket={ticket}"

    async with own_cache() as moved:
        two_pages = await _two_of_one_user(issued)
        _refused(bench, await visit(""), "somebody came without a ticket", *NO_TICKET)
        ticket = await issued(1)
        _entered(await visit(f"{ticket}&user_id=2&user=2"), 1, "user 1 brought the ticket")
        _refused(bench, await visit(ticket), "somebody brought the ticket again", *ONCE)
        _refused(bench, await visit("ticket=made-up-by-somebody"), "somebody made up a ticket", *NO_TICKET)
        for each in two_pages:
            if not await visit(each):
                step = "The entry's key is the ticket, its value the user: so each ticket has an entry of its own."
                raise Misconception("one ticket for each user", "two tickets of user 3, and one was refused", step)
        one, two = await issued(1), await issued(2)
        forged = one.replace("ticket=1", "ticket=2")
        if forged != one:  # its random part may begin so, too: then it is unknown
            _refused(bench, await visit(forged), "user 1 changed the 1 in the ticket to a 2", *FROM_CLIENT)
        await moved.by(26)
        _entered(await visit(two), 2, "user 2 brought a ticket, 26 s old")
        late = await issued(1)
        await moved.by(33)
        step = "Give the entry a timeout: cache.set(key, user_id, 30). Without one it stays for five minutes."
        _refused(bench, await visit(late), "somebody brought a ticket, 33 s old", "a ticket that lives too long", step)
        moved.cache.put(FOREIGN, 2)
        _refused(bench, await visit(f"ticket={FOREIGN}"), f"the cache has an entry {FOREIGN!r} of others", *OTHER_KEYS)
        await _both_at_once(bench, application, moved.cache, await issued(1), handed)
        moved.hold_threads()


async def _two_of_one_user(issued):
    """Two tickets that user 3 gets at the same moment. Hold that one does not tell the other."""
    now = time.time()
    with patch.object(time, "time", lambda: now), patch.object(time, "time_ns", lambda: int(now * 1e9)):
        one, two = await issued(3), await issued(3)
    if len(one) == len(two) and sum(map(operator.ne, one, two)) < DIFFERENT:
        raise Misconception(GUESSED[0], f"at the same moment user 3 got {one!r} and {two!r}", GUESSED[1])
    return one, two


async def _both_at_once(bench, application, store, ticket, handed):
    """Hold that of two who come at the same moment one gets in."""
    get, together = store.get, threading.Barrier(2)

    def get_together(*args, **options):
        found = get(*args, **options)
        with contextlib.suppress(threading.BrokenBarrierError):  # the other one does not come as far as this
            together.wait(0.5)
        return found

    handed.clear()
    with patch.object(store, "get", get_together):
        query_string = ticket.encode()
        await asyncio.gather(*(bench.play(application, CONNECT, query_string=query_string) for _ in "ab"))
    if len(handed) != 1:
        found = f"two came with the same ticket at the same moment, and {len(handed)} got in"
        raise Misconception(AT_ONCE[0], found, AT_ONCE[1])


def _entered(users, expected, what):
    if not users:
        step = "The ticket is good for 30 s: await self.inner(dict(scope, user_id=…), receive, send)."
        raise Misconception("refuses a good ticket", f"{what}, and the inner application was not called", step)
    if users != [expected]:
        found = f"{what}, and the inner application found the user {users[0]!r:.40}"
        known = str(users[0]) == "2" != str(expected)
        step = "Put the number that issue was given, as it was, into a copy of the scope: dict(scope, user_id=…)."
        raise Misconception(*((FROM_CLIENT[0], found, FROM_CLIENT[1]) if known else ("another user", found, step)))


def _refused(bench, users, what, name, step):
    said = sent(bench.trace.events)
    found = f"{what}; it sent {said}"
    if users:
        if said != ["websocket.accept"]:
            name, step = "close is not return", "Refuse, and `return`; or call self.inner in an else."
        raise Misconception(name, f"{found}, and the inner application was called", step)
    if "websocket.close" not in said:
        raise Misconception("to say nothing is not to refuse", found, "Refuse: await refuse(receive, send).")


class _Tickets:
    """Right, but for what a subclass changes."""

    life, word = 30, "ticket."

    def __init__(self, inner):
        self.inner = inner

    def made(self, user_id):
        return secrets.token_urlsafe(16)

    def issue(self, user_id):
        ticket = self.made(user_id)
        cache.set(self.word + ticket, user_id, self.life)
        return ticket

    def redeem(self, ticket):
        user_id = cache.get(self.word + ticket)
        return user_id if self.delete(self.word + ticket) else None

    def delete(self, key):
        return cache.delete(key)

    async def call(self, function, *args):
        return await sync_to_async(function, thread_sensitive=False)(*args)

    async def __call__(self, scope, receive, send):
        said = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        user_id = await self.call(self.redeem, said.get("ticket", ""))
        if self.is_good(user_id):
            await self.hand_on(scope, receive, send, user_id, said)
        else:
            await self.refuse(scope, receive, send)

    def is_good(self, user_id):
        return user_id is not None

    async def hand_on(self, scope, receive, send, user_id, said):
        await self.inner(dict(scope, user_id=user_id), receive, send)

    async def refuse(self, scope, receive, send):
        await send({"type": "websocket.close"})


class _InTicket(_Tickets):
    """The number of the user stands in the ticket, in front of the random part."""

    def issue(self, user_id):
        return f"{user_id}.{super().issue(user_id)}"

    def redeem(self, ticket):
        user_id, _, rest = ticket.partition(".")
        return int(user_id) if rest and super().redeem(rest) else None


@tickets.wrong("one ticket for each user")
class _OnePerUser(_Tickets):
    """The cache keeps one ticket under the number of a user."""

    def issue(self, user_id):
        ticket = f"{user_id}.{secrets.token_urlsafe(16)}"
        cache.set(f"{self.word}{user_id}", ticket, self.life)
        return ticket

    def redeem(self, ticket):
        user_id = ticket.partition(".")[0]
        good = cache.get(self.word + user_id) == ticket and cache.delete(self.word + user_id)
        return int(user_id) if good else None


async def _goes_on(self, scope, receive, send):
    await send({"type": "websocket.close"})
    await self.inner(scope, receive, send)


async def _issue(self, user_id):
    """A ticket, for whoever awaits it."""


for _name, _changes in (
    ("issue is not async", {"issue": _issue}),
    (ONCE[0], {"delete": lambda self, key: True, "redeem": lambda self, ticket: cache.get(self.word + ticket)}),
    (AT_ONCE[0], {"redeem": lambda self, ticket: (cache.get(self.word + ticket), cache.delete(self.word + ticket))[0]}),
    ("a ticket that lives too long", {"life": None}),
    ("a ticket that lives too long", {"life": 300}),
    ("a ticket that lives too long", {"life": 40}),
    ("refuses a good ticket", {"life": 5}),
    ("refuses a good ticket", {"life": 22}),
    (OTHER_KEYS[0], {"word": ""}),
    (NO_TICKET[0], {"is_good": lambda self, user_id: True}),
    ("close is not return", {"refuse": _goes_on}),
    ("to say nothing is not to refuse", {"refuse": lambda self, scope, receive, send: asyncio.sleep(0)}),
    ("a ticket that can be guessed", {"issue": lambda self, user_id: f"ticket-{user_id}"}),
    ("a ticket that can be guessed", {"issue": lambda self, user_id: None}),
    ("a ticket that can be guessed", {"made": lambda self, user_id: str(time.time_ns())}),
    ("a ticket that can be guessed", {"made": lambda self, user_id: str(uuid.uuid1())}),
    (
        "a ticket that can be guessed",
        {"made": lambda self, user_id: hashlib.sha256(f"{user_id} {time.time()}".encode()).hexdigest()},
    ),
    ("another user", {"hand_on": lambda self, scope, receive, send, *more: self.inner(scope, receive, send)}),
    (
        FROM_CLIENT[0],
        {
            "hand_on": lambda self, scope, receive, send, user_id, said: self.inner(
                dict(scope, user_id=said.get("user_id")), receive, send
            )
        },
    ),
    ("the event loop waits for the cache", {"call": lambda self, function, *args: asyncio.sleep(0, function(*args))}),
    ("one thread for all", {"call": lambda self, function, *args: sync_to_async(function)(*args)}),
):
    tickets.wrong(_name)(but(_Tickets, **_changes))

tickets.wrong(FROM_CLIENT[0])(_InTicket)
tickets.wrong("not a middleware class")(_Tickets(None))
