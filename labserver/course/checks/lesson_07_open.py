"""The third exercise of lesson 07, JWT on a socket. Its solution stands in `solutions/07_jwt_auth.ipynb`."""

import asyncio
import contextlib
import json
import math
import time

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth.models import User
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, UntypedToken

from labserver.course.bench import LEAVE, Crashed, sent, text
from labserver.course.exercise import Misconception, exercise
from labserver.live.recorder import own_lines

from .lesson_05 import but, error_of, fragile, stays
from .lesson_06 import decoded, heard
from .lesson_06_cache import own_cache
from .lesson_07_users import moved_time

# --- 07.3 ------------------------------------------------------------------------------------------------------------

LIFE, FRESH = 302, 577
"""Seconds that tokens of the check live. Pauses of 7 to 10, 30, 60, 100 s do not end just after both."""

LATE = 5
"""Seconds after which somebody whose token has ended must be told, as the text of the exercise says."""

MUCH_LATER = 120
"""Seconds in which somebody who looks too seldom does look."""

CARRIERS = ("asyncio", "asgiref", "channels", "labserver.course.bench", "labserver.course.judge", "labserver.live")
"""Modules whose tasks are not the answer's."""

ALICE, BOB = (User(pk=pk, username=name, password=f"a hash for {name}") for pk, name in ((1, "alice"), (2, "bob")))

NOT_MOVED = (
    "a fresh token changes nothing",
    "Keep the fresh claims where the task looks: self.scope['claims'] = …. And let the task read them at each look.",
)
SLEEPS_ONCE = (
    "sleeps until the first end",
    "The end moves. When the task wakes, let it look at self.scope['claims'] anew, and sleep again if there is time.",
)
NONE = (
    "None makes a new token",
    "AccessToken(None) checks nothing: it makes a token, without a user_id. Check content.get('content') or ''.",
)
ONE_FOR_ALL = (
    "one task for all",
    "What stands on the class, or in the module, belongs to all clients. Keep the task on self: self.task = …",
)
NOT_GOOD = (
    ("what is no token", "a fresh token is not checked", "AccessToken(…) checks it as if it had just come."),
    ("a token that has expired", "a fresh token is not checked", "AccessToken(…) checks it as if it had just come."),
    (
        "a refresh token",
        "a refresh token is no access token",
        "AccessToken checks the type too; UntypedToken does not.",
    ),
    (
        "bob's token",
        "another user's token is taken",
        "Compare its user_id with that of the claims before: the connection stays the user's for whom it was made.",
    ),
    ("the number 7", "a fresh token is not checked", "A client may send anything. AccessToken raises TokenError."),
    ("null", *NONE),
    ("nothing, without the key content,", *NONE),
)
"""What alice sends as her fresh token; what it means if it is taken, and what to do."""


def token(user, kind=AccessToken, **claims):
    made = kind.for_user(user)
    made.payload.update(claims)
    return made


def fresh(*content):
    """A refresh with this content, or without any."""
    return text(json.dumps({"type": "demo-token-refresh"} | dict(zip(["content"], content, strict=False))))


@exercise(
    "07.3",
    title="When the token ends",
    goal="End a connection when its token ends, unless a fresh token of the same user has come over it.",
    minutes=14,
    hints=(
        "Section 6 of the lesson: who can look at the claims while no message comes? And who ends that again?",
        "A task, made in connect: it sleeps for 4 seconds, looks at self.scope['claims'], and goes on. __call__ with "
        "`finally` cancels it, also after a crash.",
        "In receive_json: claims = AccessToken(content.get('content') or '') in a try, then compare user_id, then put "
        "them into self.scope['claims'] and answer.",
    ),
)
async def ends(answer, bench):
    application = fragile(answer)
    async with own_cache() as moved:
        with moved_time(moved) as clock:
            await _silent(moved, bench, application, clock)
            await _renewed(moved, bench, application)
            for event, what, name, step in (
                (LEAVE, "alice left", "the task outlives its client", "Cancel the task when the connection ends."),
                (
                    text("boom"),
                    "alice's consumer crashed",
                    "nothing ends the task after a crash",
                    "disconnect does not run then. Cancel the task in `finally` of __call__, around super's.",
                ),
            ):
                before = len(moved.tasks)
                async with _comes(moved, bench, application) as alice:
                    await error_of(alice.does(event))
                    await _passes(moved, 20)
                    running = [task for task in moved.tasks[before:] if not task.done()]
                if running:
                    raise Misconception(name, f"{what}; 20 s later a task of hers was still running", step)
            await _two(moved, bench, application)


@contextlib.asynccontextmanager
async def _comes(moved, bench, application, user=ALICE):
    """Alice, or another user, whose token lives for LIFE seconds from now on."""
    claims = token(user, exp=math.ceil(time.time()) + LIFE)
    async with bench.join(application, user=user, claims=claims) as alice:
        stays(alice)
        await moved.settle()
        if sent(alice.events) != ["websocket.accept"]:
            found = f"{user} came with a token of {LIFE} s, and it sent {sent(alice.events)}"
            raise Misconception("another beginning", found, "Accept her, and say nothing until there is something.")
        yield alice


async def _passes(moved, seconds):
    for _ in range(seconds):
        await moved.by(1)


async def _two(moved, bench, application):
    """Hold that each of two clients has a task of its own."""
    async with _comes(moved, bench, application) as alice, _comes(moved, bench, application, BOB) as bob:
        await alice.does(LEAVE)
        await _passes(moved, LIFE + LATE)
        told = "websocket.close" in sent(bob.events)
    if not told:
        found = f"alice and bob came, and alice left; {LATE} s after the end of his token bob was still connected"
        raise Misconception(ONE_FOR_ALL[0], found, ONE_FOR_ALL[1])


async def _silent(moved, bench, application, clock):
    """Hold that a client that says nothing is told when its token ends, then and not earlier."""
    first = len(moved.tasks)
    async with _comes(moved, bench, application) as alice:
        before = clock.reads
        await _passes(moved, LIFE - 4)
        if clock.reads - before > 4 * LIFE:
            found = f"in {LIFE} seconds it read the clock {clock.reads - before} times"
            step = "Between two looks the task sleeps: await asyncio.sleep(4). sleep(0) does not."
            raise Misconception("looks without a pause", found, step)
        found = f"alice's token lives for {LIFE} s"
        if len(sent(alice.events)) > 1:
            found = f"{found}; before its end it sent {sent(alice.events)[1:]}"
            raise Misconception("ends before the token", found, "Compare claims['exp'] with time.time(), both seconds.")
        await _passes(moved, 4 + LATE)
        found = f"{found}; {LATE} s after its end she had been sent {sent(alice.events)[1:]}"
        if len(sent(alice.events)) == 1:
            _crashed_task(moved.tasks[first:], found)
            if clock.reads == before and any(map(_is_theirs, moved.going())):
                found = f"{found}. A task of yours was there, and never asked time.time(), the one clock that is moved"
                step = "Compare exp with time.time(): claims['exp'] <= time.time(). check_exp() keeps an old time."
                raise Misconception("another clock", found, step)
            await _seldom(moved, alice, 1, found)
            error, got = await heard(bench, alice, text("ping"), alice=alice)
            name, step = (
                "nobody looks again",
                "Let a task look: asyncio.create_task in connect, and a loop that sleeps.",
            )
            if error is None and got["alice"] != ["pong"]:
                name, found = (
                    "looks only when a message comes",
                    f"{found}. After her next message it sent {got['alice']}",
                )
                step = "A client may be silent for hours. Look in a task beside the handlers: asyncio.create_task."
            raise Misconception(name, found, step)
        _told(alice, 1, found)


async def _seldom(moved, alice, since, found):
    """Hold that alice is not told much later than she should have been."""
    await _passes(moved, MUCH_LATER)
    if len(sent(alice.events)) > since:
        found = f"{found}. Some time in the next {MUCH_LATER} s it sent {sent(alice.events)[since:]}"
        raise Misconception("looks too seldom", found, "Within five seconds: let the task look every four seconds.")


def _is_theirs(task):
    """Whether a task that has not ended is one of the answer's own, and not of what carries it."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame is not None and not frame.f_globals["__name__"].startswith(CARRIERS)


def _told(alice, since, found):
    """Hold that alice was told `jwt-expired`, and closed with 4003."""
    events = [event for event in alice.events if event.direction == "send"][since:]
    said = sent(alice.events)[since:]
    if "websocket.close" not in said:
        raise Misconception("tells, and leaves it open", found, "Close then: await self.close(code=4003).")
    code = events[said.index("websocket.close")].message.get("code")
    if said[0] == "websocket.close":
        step = 'Before the close: await self.send_json({"type": "jwt-expired"}). A page acts on it.'
        raise Misconception("closes without the message", found, step)
    if decoded(said[0]) != {"type": "jwt-expired"} or len(said) != 2:
        raise Misconception("another message", found, 'Send {"type": "jwt-expired"}, once, and close.')
    if code != 4003:
        found = f"{found}; the code was {code}"
        raise Misconception("another code", found, "Close with 4003: get another token. Without one it is 1000.")


def _crashed_task(tasks, found):
    for error in filter(None, (task.exception() for task in tasks if task.done() and not task.cancelled())):
        found = f"{found}. A task of the consumer had raised {type(error).__name__}: {error}"
        step = "Mend that first. Nobody hears of an error in a task."
        raise Misconception("its task crashes", found, step, own_lines(error))


async def _renewed(moved, bench, application):
    """Hold that a fresh token of the same user keeps the connection, and that nothing else does."""
    first = len(moved.tasks)
    async with _comes(moved, bench, application) as alice:
        end = math.ceil(time.time()) + FRESH
        await _passes(moved, 100)
        refresh = str(token(ALICE, RefreshToken, exp=end))
        bad = ("x.y.z",), (str(token(ALICE, exp=1)),), (refresh,), (str(token(BOB, exp=end)),), (7,), (None,), ()
        for content, (what, name, step) in zip(bad, NOT_GOOD, strict=True):
            error, got = await heard(bench, alice, fresh(*content), alice=alice)
            _is_not_taken(error, got["alice"], what, name, step)
        before = len(sent(alice.events))
        await alice.does(fresh(str(token(ALICE, exp=end))))
        got = [*map(decoded, sent(alice.events)[before:])]
        found = f"alice sent a fresh token of hers, after 100 s, and got {got}"
        if got != [{"type": "demo-token-accepted"}]:
            step = 'Take an access token of the same user, and answer {"type": "demo-token-accepted"}, once.'
            raise Misconception("another answer to a fresh token", found, step)
        since = len(sent(alice.events))
        await _passes(moved, LIFE)
        if len(sent(alice.events)) > since:
            kept = [each.scope["claims"].get("exp") for each in bench.recorder.live.values()]
            name, step = SLEEPS_ONCE if end in kept else NOT_MOVED
            found = f"{found}. It ends {FRESH - 100} s later; after {LIFE} s it sent {sent(alice.events)[since:]}"
            raise Misconception(name, found, step)
        await _passes(moved, FRESH - 100 - LIFE + LATE)
        found = f"{found}. {LATE} s after the end of the fresh token it had sent {sent(alice.events)[since:]}"
        if len(sent(alice.events)) == since:
            _crashed_task(moved.tasks[first:], found)
            await _seldom(moved, alice, since, found)
            step = "A fresh token ends, too: look at its claims just as at those before."
            raise Misconception("after a fresh token nobody looks", found, step)
        _told(alice, since, found)


def _is_not_taken(error, got, what, name, step):
    if error is not None:
        found = f"alice sent {what} as her fresh token, and it raised {type(error).__name__}: the connection ends"
        known = isinstance(error, TokenError | AttributeError | LookupError | TypeError | ValueError)
        if name != NONE[0]:
            step = "AccessToken raises TokenError. Catch that, and send an error; her own token is still good."
            name = "a bad token ends the connection"
        raise Misconception(name, found, step, own_lines(error)) if known else Crashed(error)
    found = f"alice sent {what} as her fresh token, and got {got}"
    match got:
        case [{"type": "error", "content": str(_)}]:
            return
    if "websocket.close" in got:
        step = "Send the error, and leave the connection open: her own token is still good."
        raise Misconception("a bad token ends the connection", found, step)
    if any(isinstance(each, dict) and each.get("type") == "demo-token-accepted" for each in got):
        raise Misconception(name, found, step)
    step = 'Send one {"type": "error", "content": "…"}, with a text of yours.'
    raise Misconception("no error told", found, step)


class _Ends(AsyncJsonWebsocketConsumer):
    """Right, but for what a subclass changes."""

    task, kind = None, AccessToken
    caught = TokenError

    async def connect(self):
        await self.accept()
        self.task = asyncio.create_task(self.watch())

    async def __call__(self, scope, receive, send):
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self.task:
                self.task.cancel()

    def left(self):
        return self.scope["claims"]["exp"] - time.time()

    async def watch(self):
        while self.left() > 0:
            await asyncio.sleep(4)
        await self.tell()

    async def tell(self):
        await self.send_json({"type": "jwt-expired"})
        await self.close(4003)

    async def receive(self, text_data=None, bytes_data=None, **kwargs):
        if text_data == "ping":
            await self.send("pong")
        else:
            await super().receive(text_data, bytes_data, **kwargs)

    def same(self, claims):
        return claims["user_id"] == self.scope["claims"]["user_id"]

    async def receive_json(self, content):
        try:
            claims = self.made(content)
        except self.caught:
            await self.refuse()
            return
        if not self.same(claims):
            await self.refuse()
            return
        self.take(claims)
        await self.send_json({"type": "demo-token-accepted"})

    def made(self, content):
        return self.kind(content.get("content") or "")

    def take(self, claims):
        self.scope["claims"] = claims

    async def refuse(self):
        await self.send_json({"type": "error", "content": "not good"})


@ends.wrong("nothing ends the task after a crash")
class _Disconnects(_Ends):
    __call__ = AsyncJsonWebsocketConsumer.__call__

    async def disconnect(self, code):
        self.task.cancel()


@ends.wrong("looks only when a message comes")
class _AtMessages(_Ends):
    async def watch(self):
        """Nothing."""

    async def receive(self, text_data=None, bytes_data=None, **kwargs):
        await (super().receive(text_data) if self.left() > 0 else self.tell())


@ends.wrong(SLEEPS_ONCE[0])
class _SleepsOnce(_Ends):
    async def watch(self):
        await asyncio.sleep(self.left())
        await self.tell()


@ends.wrong("after a fresh token nobody looks")
class _Stops(_Ends):
    def take(self, claims):
        super().take(claims)
        self.task.cancel()


@ends.wrong(ONE_FOR_ALL[0])
class _OnTheClass(_Ends):
    async def connect(self):
        await super().connect()
        _OnTheClass.task = vars(self).pop("task")


@ends.wrong(ONE_FOR_ALL[0])
class _TheFirstOnly(_Ends):
    """While one is watched, nobody else is."""

    watched = False

    async def watch(self):
        if not _TheFirstOnly.watched:
            _TheFirstOnly.watched = True
            try:
                await super().watch()
            finally:
                _TheFirstOnly.watched = False


@ends.wrong(NONE[0])
class _TakesNone(_Ends):
    """A new token is nobody's, and this one does not mind."""

    def made(self, content):
        return self.kind(content.get("content"))

    def same(self, claims):
        return claims.get("user_id", "1") == "1"


@ends.wrong("a fresh token is not checked")
class _Believes(_Ends):
    async def receive_json(self, content):
        await self.send_json({"type": "demo-token-accepted"})


async def _told_every_time(self):
    while True:
        await asyncio.sleep(4)
        if self.left() <= 0:
            await self.send_json({"type": "jwt-expired"})


async def _without_a_pause(self):
    while True:
        self.left()
        await asyncio.sleep(0)


def _every(seconds):
    async def watch(self):
        while self.left() > 0:
            await asyncio.sleep(seconds)
        await self.tell()

    return watch


async def _check_exp(self):
    while True:
        self.scope["claims"].check_exp()
        await asyncio.sleep(4)


async def _after_60(self):
    await asyncio.sleep(60)
    await self.tell()


async def _welcome(self):
    await self.accept()
    await self.send_json({"type": "welcome"})


for _name, _changes in (
    ("looks without a pause", {"watch": _without_a_pause}),
    ("nobody looks again", {"watch": lambda self: asyncio.sleep(0)}),
    *(("looks too seldom", {"watch": _every(seconds)}) for seconds in (30, 100, 101)),
    ("another clock", {"watch": _check_exp}),
    (NONE[0], {"made": lambda self, content: self.kind(content["content"])}),
    (NONE[0], {"made": lambda self, content: self.kind(content.get("content"))}),
    ("its task crashes", {"left": lambda self: self.scope["exp"]}),
    ("the task outlives its client", {"__call__": AsyncJsonWebsocketConsumer.__call__}),
    ("ends before the token", {"watch": _after_60}),
    ("closes without the message", {"tell": lambda self: self.close(4003)}),
    ("tells, and leaves it open", {"watch": _told_every_time}),
    ("another code", {"tell": lambda self: self.send_json({"type": "jwt-expired"}, close=True)}),
    ("another message", {"tell": lambda self: self.send_json({"type": "error"}, close=4003)}),
    (NOT_MOVED[0], {"take": lambda self, claims: None}),
    ("another user's token is taken", {"same": lambda self, claims: True}),
    ("a refresh token is no access token", {"kind": UntypedToken}),
    ("a bad token ends the connection", {"caught": ()}),
    ("a bad token ends the connection", {"refuse": lambda self: self.tell()}),
    ("no error told", {"refuse": lambda self: asyncio.sleep(0)}),
    ("another answer to a fresh token", {"same": lambda self, claims: False}),
    ("another beginning", {"connect": _welcome}),
    ("ends at once", {"__call__": lambda self, *arguments: asyncio.sleep(0)}),
):
    ends.wrong(_name)(but(_Ends, **_changes))
