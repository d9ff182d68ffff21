"""The first two exercises of lesson 07, JWT on a socket. Their solutions stand in `solutions/07_jwt_auth.ipynb`."""

import asyncio
import contextlib
import inspect
import json
import threading
import time
from unittest.mock import patch
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.exceptions import ObjectDoesNotExist, SynchronousOnlyOperation
from rest_framework.exceptions import APIException
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.tokens import AccessToken, UntypedToken

from labserver.course.bench import CONNECT, LEAVE, Crashed, sent, text
from labserver.course.exercise import Misconception, exercise
from labserver.live.recorder import own_lines

from .lesson_05 import but
from .lesson_06 import decoded
from .lesson_06_cache import own_cache
from .lesson_07_users import own_users


def query(token):
    return f"token={token}".encode()


# --- 07.1 ------------------------------------------------------------------------------------------------------------

REACHES = (
    "the code reaches the page",
    "Does this consumer close before accept, or after it? Before it there is no WebSocket that could carry a code.",
)
NOT_LOOKED_UP = ("the user is looked up", "Which line asks the database for the user? A number in a claim is a text.")
VISITORS = (
    ("without a token", "a missing token lets in", "Look at the first if of connect."),
    ("with an expired token", "an expired token lets in", "UntypedToken raises TokenError for it: exp is checked."),
    (
        "with alice's refresh token",
        "a refresh token is refused",
        "UntypedToken checks the signature and the times. The claim token_type it does not look at.",
    ),
    (
        "with bob's number in alice's claims",
        "changed claims are believed",
        "The signature belongs to the first two parts as they were. UntypedToken compares it.",
    ),
    ("as bob, who is disabled", *NOT_LOOKED_UP),
    (
        "as bob, with a new password since",
        "a new password ends a token",
        "The claim hash_password has to be compared with the user's password. Does anybody read the user here?",
    ),
    (
        "as bob, disabled after accept",
        "a disabled user is thrown out",
        "connect ran once, long ago. Who looks again when a message comes?",
    ),
)
"""Who comes; the misconception of whoever predicts the other outcome, and what to do."""


@exercise(
    "07.1",
    title="Seven visitors",
    goal="Say for each of seven visitors of the copied consumer whether the page gets in, and which code it is told.",
    minutes=7,
    hints=(
        "Take the visitors one by one, and go through connect line by line. Which line refuses, and which never looks?",
        "A page whose handshake is refused is told 1006, whatever code the consumer wrote. Has accept been called?",
        "UntypedToken checks signature and exp, nothing else. Nobody asks the database, neither at first nor later.",
    ),
)
async def seven(answer, bench):
    if not isinstance(answer, list | tuple):
        step = 'Keep the list, with seven values: "in" or a code.'
        raise Misconception("not a list", f"found {answer!r:.40}", step)
    answer = [*answer]
    if len(answer) != len(VISITORS):
        found = f"your list has {len(answer)} values"
        raise Misconception("not one for each", found, "Seven visitors, seven values, in the order of the table.")
    async with own_cache(), own_users() as users:
        for said, seen, (who, name, step) in zip(answer, await _seen(bench, users), VISITORS, strict=True):
            if said == seen:
                continue
            found = f"you answered {said!r:.20} for the page that comes {who}. Played to the consumer: "
            found += "it is answered" if seen == "in" else "the handshake is refused, so the page is told 1006"
            if isinstance(said, str) and said.isdigit():
                found = f"for the page that comes {who} you answered {said!r}, which is a text"
                raise Misconception("a number in quotes", found, f"Write a number, without quotes: {said}.")
            if said not in ("in", 1006, 4000, 4001, 4003):
                raise Misconception("another value", found, 'Answer with "in", 1006, 4000, 4001 or 4003.')
            if seen != "in" and said != "in":
                name, step = REACHES
            raise Misconception(name, found, step)


async def _seen(bench, users):
    """What the page of each visitor sees of the copied consumer, when it sends a text: "in", or a code."""
    alice, bob = users.token("alice"), users.token("bob")
    pieces = list(zip(alice.split("."), bob.split("."), strict=True))
    changed = ".".join((pieces[0][0], pieces[1][1], pieces[2][0]))
    queries = [b"", *map(query, (users.token("alice", exp=1), users.refresh_token("alice"), changed))]
    seen = [await _page(bench, each) for each in queries]
    for change in ({"is_active": False}, {"password": "another"}):
        async with users.changed("bob", **change):
            seen.append(await _page(bench, query(bob)))
    async with bench.join(_Copied.as_asgi(), query_string=query(bob)) as client:
        async with users.changed("bob", is_active=False):
            return [*seen, await _answered(client)]


async def _page(bench, query_string):
    """A browser tells a page 1006 for each handshake that is refused: https://websockets.spec.whatwg.org/."""
    async with bench.join(_Copied.as_asgi(), query_string=query_string) as client:
        return await _answered(client) if "websocket.accept" in sent(client.events) else 1006


async def _answered(client):
    await client.does(text("ping"))
    return "in" if sent(client.events)[1:] == ["pong"] else None


class _Copied(AsyncWebsocketConsumer):
    """As the lesson has it."""

    async def connect(self):
        try:
            parameters = parse_qs(self.scope["query_string"].decode())
            if "token" not in parameters:
                await self.close(code=4001)
                return
            user_id = UntypedToken(parameters["token"][0])["user_id"]
        except TokenError:
            await self.close(code=4003)
            return
        cache.set(user_id, self.channel_name)
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        await self.send("pong")


_RIGHT = [1006, 1006, "in", 1006, "in", "in", "in"]

seven.wrong("not a list")({"no token": 4001})
seven.wrong("not one for each")(_RIGHT[:6])
seven.wrong("another value")([403, *_RIGHT[1:]])
seven.wrong("a number in quotes")(["1006", *_RIGHT[1:]])
seven.wrong(REACHES[0])([4001, 4003, "in", 4003, "in", "in", "in"])
seven.wrong(REACHES[0])([1006, 4003, "in", 4003, "in", "in", "in"])
for _number, _other in enumerate(("in", "in", 1006, "in", 4003, 1006, 4003)):
    seven.wrong(VISITORS[_number][1])([*_RIGHT[:_number], _other, *_RIGHT[_number + 1 :]])


# --- 07.2 ------------------------------------------------------------------------------------------------------------

LOOK_UP = (
    "the user is not looked up",
    "A valid token says who somebody was. JWTAuthentication().get_user finds the user as they are now.",
)
VISITS = (
    ("no token at all", 4001, "error", "a missing token lets in", "carried() returns None then: refuse with 4001."),
    ("what is no token (x.y.z)", 4003, "error", "anything lets in", "AccessToken(token) raises TokenError for it."),
    ("an expired token", 4003, "jwt-expired", "an expired token lets in", "AccessToken(token) raises for it."),
    (
        "a refresh token",
        4003,
        "error",
        "a refresh token lets in",
        "AccessToken checks the type of a token too; UntypedToken takes them all.",
    ),
    ("a token of user 4711, who is not there", 4003, "error", *LOOK_UP),
    ("a token of user 'alice', which is no number", 4003, "error", *LOOK_UP),
    ("a token of bob, who is disabled", 4003, "error", *LOOK_UP),
    (
        "a token of bob, who has a new password since",
        4003,
        "error",
        "a new password changes nothing",
        "JWTAuthentication().get_user compares the password too. Let it find the user.",
    ),
)
"""What somebody comes with; code and type of message that they get; what it means if they get in, and what to do."""

REMEMBERS = (
    "remembers a user",
    "Users change. Ask the database at each visit: database_sync_to_async(JWTAuthentication().get_user)(claims).",
)
THREAD = (
    "the database in the event loop",
    "get_user asks the database, and is sync: await database_sync_to_async(…)(claims).",
)
FORM = 'Send text: json.dumps({"type": "error", "content": "…"}), or {"type": "jwt-expired"} for an expired token.'
THREE = "Three steps: websocket.accept, websocket.send with the reason, websocket.close with the code."


@exercise(
    "07.2",
    title="Refuse so that it is heard",
    goal="Write a middleware that hands users with a good token on, and tells all others why not, then closes.",
    minutes=13,
    hints=(
        "Sections 3 and 4 of the lesson: what must come first, so that a page hears a reason and a code?",
        "Three steps may fail: the token is missing, AccessToken raises, get_user raises. Catch ExpiredTokenError "
        "before TokenError, its parent.",
        "get_user raises AuthenticationFailed, and ValueError for a user_id that is no number. Call it through "
        "database_sync_to_async. Refuse and return, or else call self.inner.",
    ),
)
async def refuses(answer, bench):
    if not inspect.isclass(answer):
        raise Misconception("not a middleware class", f"found {answer!r:.40}", "Hand the class itself to check().")
    handed = []

    async def inner(scope, receive, send):
        handed.append(scope)
        await _Inside.as_asgi()(scope, receive, send)

    middleware, scopes = answer(inner), []

    async def application(scope, receive, send):
        scopes.append(scope)
        await middleware(scope, receive, send)

    async def visit(query_string):
        handed.clear()
        error = None
        try:
            await bench.play(application, CONNECT, LEAVE, query_string=query_string, client=["127.0.0.1", 7])
        except Crashed as crash:
            error = crash.error
        if isinstance(error, SynchronousOnlyOperation):
            found = "Django refused it: SynchronousOnlyOperation"
            raise Misconception(THREAD[0], found, THREAD[1], own_lines(error))
        return [event for event in bench.trace.events if event.direction == "send"], error

    async with own_cache(), own_users() as users:
        _enters(*await visit(query(users.token("alice"))), handed, "alice")
        if handed[0] is scopes[-1] or {"user", "claims"} & scopes[-1].keys():
            step = "Others hold that dict, too. Hand on a copy: dict(scope, user=user, claims=claims)."
            raise Misconception("changes the scope of others", "the scope that came in has new keys", step)
        expired, bob = users.token("alice", exp=int(time.time()) - 1), users.token("bob")
        numbers = [users.token("alice", user_id=number) for number in ("4711", "alice")]
        queries = [b"", *map(query, ("x.y.z", expired, users.refresh_token("alice"), *numbers, bob, bob))]
        changes = [{}] * 6 + [{"is_active": False}, {"password": "another"}]
        for query_string, change, expected in zip(queries, changes, VISITS, strict=True):
            async with users.changed("bob", **change) if change else contextlib.nullcontext():
                _is_refused(*await visit(query_string), handed, *expected)
        async with users.changed("alice", is_active=False):
            what = "alice's token, who was in before, and is disabled now"
            _is_refused(*await visit(query(users.token("alice"))), handed, what, 4003, "error", *REMEMBERS)
        handed.clear()
        tokens = [query(users.token(name)) for name in ("alice", "bob")]
        at_once = await _at_once(bench, application, tokens, scopes)
        mixed = any(str(scope["user"].pk) != scope["claims"]["user_id"] for scope in handed)
        if mixed or at_once != ["hello alice", "hello bob"]:
            found = f"alice and bob came at once; alice was told {at_once[0]!r}, and bob {at_once[1]!r}"
            found += ", with the claims of the other one" if mixed else ""
            step = "There is one object of your class for all connections. Use local variables instead of self."
            raise Misconception("keeps a connection on self", found, step)
        await _falls(bench, answer, query(users.token("alice")))


async def _at_once(bench, application, queries, scopes):
    """The last word to each of the clients who come while the users of all are being looked up."""
    loop, both, find, before = asyncio.get_running_loop(), threading.Event(), JWTAuthentication.get_user, len(scopes)

    def found_late(*args):
        both.wait(0.5)
        return find(*args)

    async def counted(scope, receive, send):
        if len(scopes) - before == len(queries) - 1:
            loop.call_later(0.02, both.set)  # when this one is being looked up as well
        await application(scope, receive, send)

    async with contextlib.AsyncExitStack() as stack:
        with patch.object(JWTAuthentication, "get_user", found_late):
            visits = [stack.enter_async_context(bench.join(counted, query_string=each)) for each in queries]
            clients = await asyncio.gather(*visits)
        return [sent(client.events)[-1] for client in clients]


class _Fault(TokenError, ValueError):
    """What a consumer raises."""


async def _falls(bench, answer, query_string):
    """Hold that an error of the inner application is left alone."""

    async def inner(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        raise _Fault("the consumer has a fault")

    error = None
    try:
        await bench.play(answer(inner), CONNECT, LEAVE, query_string=query_string)
    except Crashed as crash:
        error = crash.error
    said = sent(bench.trace.events)
    if not isinstance(error, _Fault) or said != ["websocket.accept"]:
        found = f"alice came with a good token, and the consumer behind accepted and raised an error; sent was {said}"
        step = "Call self.inner behind the try, not in it: an error of the consumer says nothing of the token."
        raise Misconception("catches the consumer's errors", found, step)


def _enters(events, error, handed, name):
    """Hold that somebody with a good token comes to the inner application, with user and claims."""
    what = f"{name} came with a good token"
    if error is not None and not handed:
        raise Crashed(error)
    said = sent(events)
    if not handed:
        step = "Call self.inner for it. Does an except hide an error? get_user outside of a thread raises one."
        raise Misconception("refuses a good token", f"{what}, and it sent {said}", step)
    if lost := {"type", "path", "query_string", "headers", "client"} - handed[0].keys():
        found = f"the inner application's scope has no {', '.join(sorted(lost))}"
        step = "Hand on all that was in the scope: dict(scope, user=…, claims=…)."
        raise Misconception("a new scope is not a copy", found, step)
    user, claims = handed[0].get("user"), handed[0].get("claims")
    if not isinstance(user, User) or user.username != name:
        step = "Put what get_user returns into the scope, under the key 'user'. Is there an await before it?"
        raise Misconception(
            LOOK_UP[0], f"{what}, and the inner application found as user a {type(user).__name__}", step
        )
    if getattr(claims, "get", {}.get)("user_id") != str(user.pk):
        step = "Put the AccessToken into the scope, under the key 'claims': section 6 needs its exp."
        raise Misconception(
            "without its claims", f"the inner application found as claims a {type(claims).__name__}", step
        )
    if error is not None:
        name, step = (
            "takes over from the consumer",
            "After self.inner has been called, the connection is the consumer's.",
        )
        raise Misconception(name, f"{what}; then it raised {type(error).__name__}: {error}", step, own_lines(error))
    if said != ["websocket.accept", f"hello {name}"]:
        found = f"{what}; the inner application accepts and says hello, and the client got {said}"
        step = "For a good token, send and receive nothing yourself: the consumer does that."
        raise Misconception("takes over from the consumer", found, step)


def _is_refused(events, error, handed, what, code, type, name, step):
    """Hold that somebody is refused: with this code, and with a message of this type before it."""
    said = sent(events)
    if handed:
        if said != ["websocket.accept", f"hello {handed[0].get('user')}"]:  # not what the inner one alone says
            name, step = "close is not return", "Refuse, and `return`; or call self.inner in an else."
        raise Misconception(name, f"somebody came with {what}, and the inner application was called", step)
    if error is not None:
        known = isinstance(error, TokenError | APIException | ValueError | ObjectDoesNotExist)
        found = f"somebody came with {what}, and it raised {error.__class__.__name__}, which is HTTP 500 for the client"
        step = "Catch it, and refuse. Which errors do AccessToken and get_user raise? The lesson's functions have them."
        raise Misconception("a crash is no refusal", found, step, own_lines(error)) if known else Crashed(error)
    ends = [f"close with {event.message.get('code', 'no code')}" if "close" in event.type else "" for event in events]
    shown = [end or each for end, each in zip(ends, said, strict=True)]
    found = f"somebody came with {what}, and it sent {shown}"
    kinds = [event.type.partition(".")[2] for event in events]
    if not kinds:
        raise Misconception("to say nothing is not to refuse", found, THREE)
    if "accept" not in kinds:
        raise Misconception(REACHES[0], f"{found}: for a page that is 1006, without a reason", THREE)
    if "close" not in kinds:
        raise Misconception("tells, and leaves it open", found, "Close it then, with the code.")
    if "send" not in kinds:
        raise Misconception("a code without a message", found, FORM)
    if kinds != ["accept", "send", "close"]:
        raise Misconception("another order", found, THREE)
    if events[2].message.get("code") in (None, 1000):
        step = "1000 means that all went well, and a page would not come again. Name the code: 4001 or 4003."
        raise Misconception("no code is 1000", found, step)
    match decoded(said[1]):
        case {"type": "jwt-expired"}:
            told = "jwt-expired"
        case {"type": "error", "content": str(_)}:
            told = "error"
        case _:
            raise Misconception("another message", found, FORM)
    if told != type:
        step = "Only for an expired token a refresh will do. Catch ExpiredTokenError first, then its parent TokenError."
        raise Misconception("expired is not invalid", found, step)
    if events[2].message["code"] != code:
        step = "4001: there is no token, sign in. 4003: this token is not valid, get another one."
        raise Misconception("the same code for all", found, step)


class _Inside(AsyncWebsocketConsumer):
    """Says who came in."""

    async def connect(self):
        await self.accept()
        await self.send(f"hello {self.scope.get('user')}")


class _No(Exception):
    """What a refusal of `_Auth` has: a code and a message."""


_ERROR, _EXPIRED = {"type": "error", "content": "no"}, {"type": "jwt-expired"}


class _Auth:
    """Right, but for what a subclass changes."""

    kind, missing, invalid, expired = AccessToken, 4001, 4003, _EXPIRED
    caught = (TokenError, APIException, ValueError)

    def __init__(self, inner):
        self.inner = inner

    def find(self, claims):
        return JWTAuthentication().get_user(claims)

    async def user(self, claims):
        return await database_sync_to_async(self.find)(claims)

    async def looked_up(self, scope):
        found = parse_qs(scope["query_string"].decode()).get("token")
        if not found:
            raise _No(self.missing, _ERROR)
        try:
            claims = self.kind(found[0])
            return await self.user(claims), claims
        except ExpiredTokenError:
            raise _No(self.invalid, self.expired) from None
        except self.caught:
            raise _No(self.invalid, _ERROR) from None

    async def __call__(self, scope, receive, send):
        try:
            user, claims = await self.looked_up(scope)
        except _No as no:
            await self.refuse(scope, receive, send, *no.args)
        else:
            await self.hand_on(scope, receive, send, user, claims)

    async def hand_on(self, scope, receive, send, user, claims):
        await self.inner(dict(scope, user=user, claims=claims), receive, send)

    async def refuse(self, scope, receive, send, code, message):
        await receive()
        for event in self.words(code, message):
            await send(event)

    def words(self, code, message):
        return [
            {"type": "websocket.accept"},
            {"type": "websocket.send", "text": json.dumps(message)},
            {"type": "websocket.close", "code": code},
        ]


_words, _refuse = _Auth.words, _Auth.refuse


@refuses.wrong("close is not return")
class _GoesOn(_Auth):
    async def refuse(self, scope, receive, send, code, message):
        await _refuse(self, scope, receive, send, code, message)
        await self.inner(scope, receive, send)


@refuses.wrong("takes over from the consumer")
class _AcceptsFirst(_Auth):
    async def hand_on(self, scope, receive, send, user, claims):
        await send({"type": "websocket.accept"})
        await super().hand_on(scope, receive, send, user, claims)


@refuses.wrong("takes over from the consumer")
class _Receives(_Auth):
    async def hand_on(self, scope, receive, send, user, claims):
        await receive()
        await super().hand_on(scope, receive, send, user, claims)


@refuses.wrong("keeps a connection on self")
class _OnSelf(_Auth):
    async def hand_on(self, scope, receive, send, user, claims):
        self.name = user
        await asyncio.sleep(0.01)
        await super().hand_on(scope, receive, send, self.name, claims)


@refuses.wrong("keeps a connection on self")
class _ClaimsOnSelf(_Auth):
    async def user(self, claims):
        self.claims = claims
        return await super().user(claims)

    async def hand_on(self, scope, receive, send, user, claims):
        await super().hand_on(scope, receive, send, user, self.claims)


@refuses.wrong(REMEMBERS[0])
class _Remembers(_Auth):
    async def user(self, claims):
        known = vars(self).setdefault("known", {})
        if claims["user_id"] not in known:
            known[claims["user_id"]] = await super().user(claims)
        return known[claims["user_id"]]


@refuses.wrong("catches the consumer's errors")
class _InTheTry(_Auth):
    async def hand_on(self, scope, receive, send, user, claims):
        try:
            await super().hand_on(scope, receive, send, user, claims)
        except Exception:
            await self.refuse(scope, receive, send, 4003, _ERROR)


@refuses.wrong("catches the consumer's errors")
class _Swallows(_Auth):
    async def hand_on(self, scope, receive, send, user, claims):
        with contextlib.suppress(ValueError):
            await super().hand_on(scope, receive, send, user, claims)


@refuses.wrong("changes the scope of others")
class _Changes(_Auth):
    async def hand_on(self, scope, receive, send, user, claims):
        scope.update(user=user, claims=claims)
        await self.inner(scope, receive, send)


async def _in_the_loop(self, claims):
    return self.find(claims)


async def _number(self, claims):
    return claims["user_id"]


def _present(self, claims):
    return User.objects.get(pk=claims["user_id"])


def _any(self, claims):
    return User.objects.filter(pk=claims["user_id"]).first() if claims["user_id"].isdigit() else User()


def _active(self, claims):
    user = User.objects.filter(pk=int(claims["user_id"]), is_active=True).first()
    if user is None:
        raise ValueError
    return user


def _twice(self, code, message):
    return [*_words(self, code, message)[:2], *_words(self, code, message)[1:]]


for _name, _changes in (
    (REACHES[0], {"words": lambda self, code, message: _words(self, code, message)[2:]}),
    ("a code without a message", {"words": lambda self, code, message: _words(self, code, message)[::2]}),
    ("tells, and leaves it open", {"words": lambda self, code, message: _words(self, code, message)[:2]}),
    ("to say nothing is not to refuse", {"words": lambda self, code, message: []}),
    ("another order", {"words": _twice}),
    ("no code is 1000", {"words": lambda self, code, message: _words(self, 1000, message)}),
    ("no code is 1000", {"words": lambda self, code, message: _words(self, None, message)}),
    ("another message", {"words": lambda self, code, message: _words(self, code, "you may not")}),
    ("the same code for all", {"missing": 4003}),
    ("the same code for all", {"invalid": 4001}),
    ("expired is not invalid", {"expired": _ERROR}),
    ("expired is not invalid", {"words": lambda self, code, message: _words(self, code, _EXPIRED)}),
    ("a missing token lets in", {"refuse": lambda self, scope, receive, send, *no: self.inner(scope, receive, send)}),
    ("a refresh token lets in", {"kind": UntypedToken}),
    (LOOK_UP[0], {"user": _number}),
    (LOOK_UP[0], {"find": _any}),
    ("a new password changes nothing", {"find": _active}),
    (THREAD[0], {"user": _in_the_loop}),
    ("a crash is no refusal", {"caught": (TokenError, APIException)}),
    ("a crash is no refusal", {"find": _present, "caught": (TokenError, APIException, ValueError)}),
    ("a crash is no refusal", {"caught": TokenError}),
    ("a crash is no refusal", {"caught": ()}),
    ("refuses a good token", {"user": _in_the_loop, "caught": Exception}),
    (
        LOOK_UP[0],
        {"hand_on": lambda self, scope, receive, send, user, claims: self.inner(scope, receive, send)},
    ),
    (
        "without its claims",
        {"hand_on": lambda self, scope, receive, send, user, claims: self.inner(dict(scope, user=user), receive, send)},
    ),
    (
        "a new scope is not a copy",
        {"hand_on": lambda self, scope, receive, send, user, claims: self.inner({"user": user}, receive, send)},
    ),
):
    refuses.wrong(_name)(but(_Auth, **_changes))

refuses.wrong("not a middleware class")(_Auth(_Inside.as_asgi()))
