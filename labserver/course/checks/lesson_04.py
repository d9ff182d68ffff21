"""The exercises of lesson 04, Routing. Their solutions stand in `solutions/04_routing.ipynb`."""

import asyncio
import contextlib
import inspect

from channels.auth import AuthMiddleware, AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.generic.http import AsyncHttpConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator, OriginValidator
from channels.sessions import SessionMiddleware, SessionMiddlewareStack
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.urls import path, re_path

from labserver.course.bench import CONNECT, LEAVE, Crashed, sent, text
from labserver.course.exercise import Misconception, exercise

# --- 04.1 ------------------------------------------------------------------------------------------------------------


@exercise(
    "04.1",
    title="Two routes",
    goal="Write the routes that lead to a hall, and to a seat in a hall.",
    minutes=7,
    hints=(
        "Section 1 of the lesson has such a route. Where does its pattern begin and end? What stands behind the class?",
        "A converter is written <slug:hall>. Which one makes a number? Look at what Seat does with the argument.",
        'One of them: path("ws/hall/<slug:hall>/", Hall.as_asgi()). The other goes on with seat/<int:…>/.',
    ),
)
async def routes(answer, bench):
    if not isinstance(answer, list) or not all(hasattr(each, "pattern") for each in answer):
        raise Misconception("not a list of routes", f"found {answer!r:.60}", "Keep the list, with path(…) in it.")
    router = URLRouter(answer)
    for where, expected in PLACES.items():
        said = await _visited(bench, router, where)
        if said is None:
            await _explain_no_route(answer, bench, router, where)
        if said != [expected]:
            raise Misconception(
                "another route matches first",
                f"at {where} it answered {said}",
                "The first route that matches is taken. path() matches to the end, re_path() only with a $ there.",
            )
    for where, expected in PLACES.items():
        elsewhere = where.replace("main", "side")
        async with bench.join(router, path=where) as alice, bench.join(router, path=elsewhere) as bob:
            await alice.does(text("where?"))
            told = sent(alice.events)[1:], sent(bob.events)[1:]
        if told != ([expected], []):
            raise Misconception(
                "one object for all",
                f"at {where} alice asked where she is, and was told {told[0]}; bob, at {elsewhere}, was told {told[1]}",
                "Do not make the object yourself: as_asgi() makes one for each connection.",
            )


PLACES = {
    "/ws/hall/main/": "hall main",
    "/ws/hall/main/seat/7/": "hall main, seat 7, beside seat 8",
    "/ws/hall/main/seat/12/": "hall main, seat 12, beside seat 13",
}
"""Addresses, and what the consumer there answers."""

CRASHES = {
    (TypeError, False): (
        "the class is not an application",
        "as_asgi() makes an application of a consumer class. Write it behind the class.",
    ),
    (TypeError, True): (
        "the argument is still text",
        "<int:…> makes a number of it. A part without a converter is text, and so is each group of re_path().",
    ),
    (KeyError, True): (
        "another name for the argument",
        "The name in the pattern is the key in scope['url_route']['kwargs']. Which keys does the consumer use?",
    ),
}
"""What it means if this error comes before accept (False) or after it (True), and what to do."""


async def _visited(bench, router, where):
    """What a client there is told when it asks where it is; None if it is not let in."""
    accepted = False
    try:
        async with bench.join(router, path=where) as client:
            accepted = "websocket.accept" in sent(client.events)
            await client.does(text("where?"))
            return sent(client.events)[1:] if accepted else None
    except Crashed as crash:
        kind = type(crash.error), accepted
        if kind not in CRASHES:
            raise
        name, step = CRASHES[kind]
        raise Misconception(name, f"at {where} it raised {kind[0].__name__}: {crash.error}", step) from None


async def _explain_no_route(answer, bench, router, where):
    if any(str(each.pattern).lstrip("^").startswith("/") for each in answer):
        raise Misconception(
            "a slash at the start",
            f"no route matches {where}: the router takes the first slash away before it looks",
            'Begin the pattern without a slash: "ws/…".',
        )
    if await _visited(bench, router, where.rstrip("/")) is not None:
        raise Misconception(
            "no slash at the end",
            f"{where.rstrip('/')} is accepted, and {where} is not",
            "The address has a slash at its end, so the pattern needs one too. Nobody redirects a WebSocket.",
        )
    raise Misconception(
        "no route for an address", f"no route matches {where}", "Compare the pattern with the address, part by part."
    )


class _Hall(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        place = self.scope["url_route"]["kwargs"]
        await self.send(f"hall {place['hall']}")


class _Seat(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        place = self.scope["url_route"]["kwargs"]
        await self.send(f"hall {place['hall']}, seat {place['seat']}, beside seat {place['seat'] + 1}")


_hall, _seat = _Hall.as_asgi(), _Seat.as_asgi()
_to_hall, _to_seat = path("ws/hall/<slug:hall>/", _hall), path("ws/hall/<slug:hall>/seat/<int:seat>/", _seat)

routes.wrong("not a list of routes")(_to_seat)
routes.wrong("not a list of routes")([_hall, _seat])
routes.wrong("the class is not an application")([_to_hall, path("ws/hall/<slug:hall>/seat/<int:seat>/", _Seat)])
routes.wrong("one object for all")([path("ws/hall/<slug:hall>/", _Hall()), _to_seat])
routes.wrong("one object for all")([_to_hall, path("ws/hall/<slug:hall>/seat/<int:seat>/", _Seat())])
routes.wrong("a slash at the start")([path("/ws/hall/<slug:hall>/", _hall), _to_seat])
routes.wrong("a slash at the start")([_to_hall, re_path(r"^/ws/hall/(?P<hall>\w+)/seat/(?P<seat>\d+)/$", _seat)])
routes.wrong("no slash at the end")([_to_hall, path("ws/hall/<slug:hall>/seat/<int:seat>", _seat)])
routes.wrong("no route for an address")([_to_hall])
routes.wrong("another route matches first")([re_path(r"ws/hall/(?P<hall>\w+)/", _hall), _to_seat])
routes.wrong("another name for the argument")([path("ws/hall/<slug:name>/", _hall), _to_seat])
routes.wrong("the argument is still text")([_to_hall, path("ws/hall/<hall>/seat/<seat>/", _seat)])


# --- 04.2 ------------------------------------------------------------------------------------------------------------


@exercise(
    "04.2",
    title="Members only",
    goal="Write a middleware that refuses strangers, and adds the role of everybody else to the scope.",
    minutes=9,
    hints=(
        "scope['user'] is always there. How do you tell an AnonymousUser from a user? Section 4 of the lesson says it.",
        "To refuse is to send websocket.close before anybody has accepted. After that, what must not happen any more?",
        "dict(scope, role=…) is a copy with one key more. Hand it to self.inner, with receive and send.",
    ),
)
async def members_only(answer, bench):
    if not inspect.isclass(answer):
        raise Misconception("not a middleware class", f"found {answer!r:.40}", "Hand the class itself to check().")
    given, handed = [], []

    async def inner(scope, receive, send):
        given.extend(each.scope for each in bench.recorder.live.values())
        handed.append(scope)
        await _Lounge.as_asgi()(scope, receive, send)

    application = answer(inner)
    alice, bob = User(username="alice"), User(username="bob", is_staff=True)
    for user, role in ((alice, "member"), (bob, "staff")):
        given.clear()
        handed.clear()
        said = sent(await bench.play(application, CONNECT, LEAVE, user=user))
        if not handed:
            raise Misconception(
                "nobody calls the inner application",
                f"{user} has logged in, and the inner application was never called; the client got {said}",
                "Go on to the next application: await self.inner(…, receive, send).",
            )
        if "role" in given[0]:
            raise Misconception(
                "changes the scope of others",
                "after it, the role is also in the scope that the middleware was given",
                "Others may hold that dictionary. Make a copy, add the role to the copy, and hand that on.",
            )
        if lost := given[0].keys() - handed[0].keys():
            raise Misconception(
                "a new scope is not a copy",
                f"the inner application's scope has no {', '.join(sorted(lost))}",
                "Hand on all that was in the scope: dict(scope, role=…).",
            )
        if not said:
            raise Misconception(
                "takes an event away",
                "the inner application waits for websocket.connect, and somebody else has received it",
                "Do not call receive() in the middleware. All that you need is in the scope.",
            )
        if "websocket.close" in said:
            raise Misconception(
                "closes on members too",
                f"{user} has logged in, and it sent {said}",
                "Close on strangers alone, and return; what stands after `await self.inner(…)` runs when it has ended.",
            )
        if said != ["websocket.accept", f"{user} is {role}"]:
            raise Misconception(
                "another role",
                f"{user} should be {role!r}, and the inner application found {handed[0].get('role')!r}",
                "Add the role under the key 'role': what `await role_of(…)` returns for this user.",
            )
    handed.clear()
    try:
        said = sent(await bench.play(application, CONNECT, LEAVE, user=AnonymousUser()))
    except Crashed as crash:
        raise Misconception(
            "a crash is no refusal",
            f"for a stranger it raised {type(crash.error).__name__}, which is HTTP 500 for the client",
            "Nobody makes a 403 of an exception here, as Django does for views: send websocket.close, and return.",
        ) from None
    if handed and "websocket.close" in said:
        raise Misconception(
            "close is not return",
            "it refused a stranger, went on, and called the inner application all the same",
            "`return` after the close.",
        )
    if handed:
        raise Misconception(
            "lets strangers in",
            "the inner application was called for an AnonymousUser",
            "Look at scope['user'].is_authenticated. An AnonymousUser is an object too, and so it counts as true.",
        )
    if not said:
        raise Misconception(
            "to say nothing is not to refuse",
            "it returned for a stranger and sent nothing, so the client waits",
            "Refuse with send: an event of the type websocket.close.",
        )
    if said[0] != "websocket.close":
        raise Misconception(
            "accepts, then closes",
            f"for a stranger it sent {said}",
            "Refuse in the handshake: send websocket.close, and nothing before it.",
        )
    handed.clear()
    pair = [bench.play(application, CONNECT, LEAVE, user=user) for user in (AnonymousUser(), alice)]
    await asyncio.gather(*pair, return_exceptions=True)
    if any(not scope["user"].is_authenticated for scope in handed):
        raise Misconception(
            "keeps a connection on self",
            "a stranger and alice came at once, and the inner application was called for the stranger too",
            "There is one object of your class for all connections. Use a local variable instead of self.",
        )
    async with contextlib.AsyncExitStack() as stack:
        visits = (stack.enter_async_context(bench.join(application, user=user)) for user in (alice, bob))
        at_once = [sent(client.events)[1:] for client in await asyncio.gather(*visits)]
    if at_once != [["alice is member"], ["bob is staff"]]:
        raise Misconception(
            "keeps a connection on self",
            f"alice and bob came at once; alice was told {at_once[0]}, and bob {at_once[1]}",
            "There is one object of your class for all connections. Use a local variable instead of self.",
        )


class _Lounge(AsyncWebsocketConsumer):
    """Tells who came in, as what."""

    async def connect(self):
        await self.accept()
        await self.send(f"{self.scope.get('user')} is {self.scope.get('role')}")


async def _role_of(user):
    await asyncio.sleep(0.01)
    return "staff" if user.is_staff else "member"


class _Middleware:
    def __init__(self, inner):
        self.inner = inner

    async def enter(self, scope, receive, send):
        await self.inner(dict(scope, role=await _role_of(scope["user"])), receive, send)


members_only.wrong("not a middleware class")(_Middleware(_hall))


@members_only.wrong("nobody calls the inner application")
class _Forgets(_Middleware):
    async def __call__(self, scope, receive, send):
        await send({"type": "websocket.accept"})


@members_only.wrong("changes the scope of others")
class _InPlace(_Middleware):
    async def __call__(self, scope, receive, send):
        scope["role"] = await _role_of(scope["user"])
        await self.inner(scope, receive, send)


@members_only.wrong("a new scope is not a copy")
class _NewScope(_Middleware):
    async def __call__(self, scope, receive, send):
        await self.inner({"user": scope["user"], "role": await _role_of(scope["user"])}, receive, send)


@members_only.wrong("takes an event away")
class _Receives(_Middleware):
    async def __call__(self, scope, receive, send):
        await receive()
        await self.enter(scope, receive, send)


@members_only.wrong("another role")
class _AllMembers(_Middleware):
    async def __call__(self, scope, receive, send):
        await self.inner(dict(scope, role="member"), receive, send)


@members_only.wrong("lets strangers in")
class _Open(_Middleware):
    async def __call__(self, scope, receive, send):
        await self.enter(scope, receive, send)


@members_only.wrong("close is not return")
class _GoesOn(_Middleware):
    async def __call__(self, scope, receive, send):
        if not scope["user"].is_authenticated:
            await send({"type": "websocket.close"})
        await self.enter(scope, receive, send)


@members_only.wrong("to say nothing is not to refuse")
class _Silent(_Middleware):
    async def __call__(self, scope, receive, send):
        if scope["user"].is_authenticated:
            await self.enter(scope, receive, send)


@members_only.wrong("accepts, then closes")
class _Polite(_Middleware):
    async def __call__(self, scope, receive, send):
        if scope["user"].is_authenticated:
            await self.enter(scope, receive, send)
        else:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 4003})


@members_only.wrong("a crash is no refusal")
class _Raises(_Middleware):
    async def __call__(self, scope, receive, send):
        if not scope["user"].is_authenticated:
            raise PermissionDenied
        await self.enter(scope, receive, send)


@members_only.wrong("closes on members too")
class _ClosesAll(_Middleware):
    async def __call__(self, scope, receive, send):
        # in one line: coverage on Python 3.11 loses its way after the inner application has ended
        return await self.enter(scope, receive, send), await send({"type": "websocket.close"})


@members_only.wrong("keeps a connection on self")
class _OnSelf(_Middleware):
    async def __call__(self, scope, receive, send):
        if scope["user"].is_authenticated:
            self.scope = dict(scope)
            self.scope["role"] = await _role_of(scope["user"])
            await self.inner(self.scope, receive, send)
        else:
            await send({"type": "websocket.close"})


@members_only.wrong("keeps a connection on self")
class _UserOnSelf(_Middleware):
    async def __call__(self, scope, receive, send):
        self.user = scope["user"]
        role = await _role_of(self.user)
        if self.user.is_authenticated:
            await self.inner(dict(scope, role=role), receive, send)
        else:
            await send({"type": "websocket.close"})


# --- 04.3 ------------------------------------------------------------------------------------------------------------

FOREIGN = (
    (
        "https://evil.example",
        "lets every page in",
        'The server has to look at the origin: OriginValidator around the router, with your two origins and no "*".',
    ),
    (
        "http://shop.example",
        "a host is not an origin",
        "An origin is scheme, host and port. Write the scheme too; without a port, it means the usual one.",
    ),
    (
        "https://ads.shop.example",
        "a dot lets all subdomains in",
        "Leave out the dot before the host: it stands for the host and all of its subdomains.",
    ),
    (
        "https://shop.example.evil.example",
        "the beginning is not the whole",
        "Anybody can have a host that begins so. Compare the whole origin, or leave it to OriginValidator.",
    ),
    (
        "https://shop.example:8443",
        "a host is not an origin",
        "An origin is scheme, host and port. Compare all three.",
    ),
    (
        None,
        "no origin is no permission",
        "Whoever sends no Origin header is refused as well. OriginValidator does that.",
    ),
)
"""Origins that are refused, and what it means if one is not."""


@exercise(
    "04.3",
    title="One foreign page",
    goal="Write an application that serves the page over HTTP, and lets pages of exactly two origins into the chat.",
    minutes=7,
    hints=(
        "Two things to do: choose by kind, and compare the origin. Which of the two concerns WebSockets only?",
        "OriginValidator(application, [...]) takes exact origins: the scheme and the host of the page, as a browser "
        "sends them.",
        'ProtocolTypeRouter({"http": page, "websocket": …}), and the validator stands only where the dots are.',
    ),
)
async def two_origins(answer, bench):
    for origin in ("https://chat.example", "https://shop.example"):
        if not await _lets_in(answer, bench, origin):
            if await _lets_in(answer, bench, origin.replace("https", "wss")):
                raise Misconception(
                    "the socket's address is not the origin",
                    f"it refuses {origin}, and would let wss:{origin.removeprefix('https:')} in",
                    "The origin is that of the page, and a page begins with https.",
                )
            raise Misconception(
                "refuses a page that may come in",
                f"a page of {origin} was refused",
                "Name both origins. AllowedHostsOriginValidator knows the hosts of ALLOWED_HOSTS alone.",
            )
    page = await _page(answer)
    for origin, name, step in FOREIGN:
        if not await _lets_in(answer, bench, origin):
            continue
        if b"access-control-allow-origin" in str(page).lower().encode():
            raise Misconception(
                "CORS is for HTTP",
                f"a page of {origin} was let in; the header of the HTTP response does not matter to a WebSocket",
                "No browser checks this for you. Look at the origin in the server: OriginValidator.",
            )
        raise Misconception(
            name, f"a page of {origin} was let in" if origin else "a client without an origin was let in", step
        )


async def _lets_in(application, bench, origin):
    headers = [(b"origin", origin.encode())] if origin else []
    events = await bench.play(application, CONNECT, LEAVE, path="/ws/chat/", headers=headers)
    return "websocket.accept" in sent(events)


async def _page(application):
    """What a request for the page is answered with."""
    requests, answers = asyncio.Queue(), asyncio.Queue()
    requests.put_nowait({"type": "http.request", "body": b""})
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    try:
        await asyncio.ensure_future(application(scope, requests.get, answers.put))  # a task, as servers make one
    except ValueError as error:
        if "OriginValidator" in str(error):
            raise Misconception(
                "the validator around everything",
                f"a request for the page raised ValueError: {error}",
                'Put the validator around the value of "websocket" only.',
            ) from None
        answers.put_nowait({"error": str(error)})
    first = answers.get_nowait() if answers.qsize() else {}
    if first.get("status") != 200:
        raise Misconception(
            "no entry for HTTP",
            f"a request for the page came to {first.get('error', 'no response')}",
            'ProtocolTypeRouter takes a dictionary. Give it "http" too, with the page.',
        )
    return first


class _Page(AsyncHttpConsumer):
    async def handle(self, body):
        await self.send_response(200, b"The page")


class _Cors:
    """As such a middleware would: it allows all pages to read the response."""

    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        async def and_allow(message):
            allowed = [*message.get("headers", []), (b"Access-Control-Allow-Origin", b"https://shop.example")]
            await send({**message, "headers": allowed} if message["type"] == "http.response.start" else message)

        await self.inner(scope, receive, and_allow)


class _OwnCheck:
    """A validator of one's own, which lets in what `allowed` finds good."""

    def __init__(self, inner, allowed):
        self.inner, self.allowed = inner, allowed

    async def __call__(self, scope, receive, send):
        if self.allowed(dict(scope["headers"]).get(b"origin")):
            await self.inner(scope, receive, send)
        else:
            await send({"type": "websocket.close"})


_ORIGINS = ["https://chat.example", "https://shop.example"]
_chat, _page_of_chat = URLRouter([path("ws/chat/", AsyncWebsocketConsumer.as_asgi())]), _Page.as_asgi()


def _both(sockets):
    return ProtocolTypeRouter({"http": _page_of_chat, "websocket": sockets})


two_origins.wrong("lets every page in")(_both(_chat))
two_origins.wrong("lets every page in")(_both(OriginValidator(_chat, ["*"])))
two_origins.wrong("CORS is for HTTP")(_Cors(_both(_chat)))
two_origins.wrong("the validator around everything")(OriginValidator(_both(_chat), _ORIGINS))
two_origins.wrong("no entry for HTTP")(ProtocolTypeRouter({"websocket": OriginValidator(_chat, _ORIGINS)}))
two_origins.wrong("refuses a page that may come in")(_both(AllowedHostsOriginValidator(_chat)))
two_origins.wrong("refuses a page that may come in")(_both(OriginValidator(_chat, _ORIGINS[:1])))
two_origins.wrong("the socket's address is not the origin")(
    _both(OriginValidator(_chat, ["wss://chat.example", "wss://shop.example"]))
)
two_origins.wrong("a host is not an origin")(_both(OriginValidator(_chat, ["chat.example", "shop.example"])))
two_origins.wrong("a host is not an origin")(
    _both(_OwnCheck(_chat, lambda origin: (origin or b"").partition(b":8")[0].decode() in _ORIGINS))
)
two_origins.wrong("a dot lets all subdomains in")(
    _both(OriginValidator(_chat, ["https://chat.example", "https://.shop.example"]))
)
two_origins.wrong("the beginning is not the whole")(
    _both(_OwnCheck(_chat, lambda origin: (origin or b"").decode().startswith(tuple(_ORIGINS))))
)
two_origins.wrong("no origin is no permission")(
    _both(_OwnCheck(_chat, lambda origin: origin is None or origin.decode() in _ORIGINS))
)


# --- 04.4 ------------------------------------------------------------------------------------------------------------

OURS = (b"origin", b"https://chat.example")
EVIL = (b"origin", b"https://evil.example")

MISSING = {
    "No cookies in scope": (
        "the session before the cookies",
        "The session's key is in a cookie. SessionMiddlewareStack reads the cookies too.",
    ),
    "cannot find session": (
        "the user before the session",
        "The outermost runs first, and the session names the user. AuthMiddlewareStack has the right order inside.",
    ),
    "'greeting'": (
        "nobody adds the greeting",
        "The consumer needs scope['greeting']. Put Greeting around the router.",
    ),
}
"""What an error says if a part does not find what it needs; what that means, and what to do."""


@exercise(
    "04.4",
    title="The right order",
    goal="Put the parts of an application together so that each finds what it needs, and foreign pages cost no query.",
    minutes=7,
    hints=(
        "Begin inside, with the consumer. What does it need, and which part adds that? And what does that part need?",
        "The outermost runs first. Which part should say no before any other has done its work?",
        "From the outside in: the origin; cookies, session and user (one stack has them); the greeting; the routes.",
    ),
)
async def right_order(answer, bench):
    said, crash = await _visit(answer, bench, OURS)
    if crash is not None:
        await _explain_missing(answer, bench, crash)
    if said != ["websocket.accept", "Hello, guest"]:
        raise Misconception(
            "does not greet its own pages",
            f"for a page of https://chat.example it sent {said}",
            "URLRouter(routes) is the innermost part: path() does not see a router that stands in a middleware.",
        )
    said, _ = await _visit(answer, bench, EVIL)
    if said != ["websocket.close"]:
        raise Misconception(
            "lets foreign pages in",
            f"for a page of https://evil.example it sent {said}",
            "Use own_pages: it refuses foreign pages.",
        )
    _, crash = await _visit(answer, bench, EVIL, cookie=True)
    if _asked_database(crash):
        raise Misconception(
            "foreign pages cost a query",
            "a page of https://evil.example sent a cookie, and the session was looked up before it was refused",
            "The outermost runs first. Let own_pages be that.",
        )
    said, crash = await _visit(answer, bench, OURS, cookie=True)
    if not _asked_database(crash) and settings.SESSION_ENGINE.endswith("db"):  # other engines ask elsewhere
        raise Misconception(
            "nobody looks up the user",
            f"a client sent a session's cookie, nobody asked the database for that session, and it sent {said}",
            "AuthMiddlewareStack looks up who has logged in. Do not put a user of your own into the scope.",
        )


class _Asked(Exception):
    """Raised instead of a query."""


def _refuse(execute, sql, params, many, context):
    raise _Asked(sql)


def _asked_database(crash):
    return crash is not None and isinstance(crash.error, _Asked)


async def _visit(application, bench, origin, *, cookie=False, **scope):
    """What a page gets, and the crash, if it is one. No query gets through: it crashes, and that tells of it."""

    def watch():  # in the thread that queries run in; it belongs to this check, and so does its connection
        connection.execute_wrappers[:] = [_refuse]

    await database_sync_to_async(watch)()
    headers = [origin, (b"cookie", f"{settings.SESSION_COOKIE_NAME}={'k' * 32}".encode())] if cookie else [origin]
    try:
        return sent(await bench.play(application, CONNECT, LEAVE, path="/ws/hello/", headers=headers, **scope)), None
    except Crashed as crash:
        return [], crash


async def _explain_missing(answer, bench, crash):
    error = f"it raised {type(crash.error).__name__}: {crash.error}"
    for words, (name, step) in MISSING.items():
        if words in error:
            raise Misconception(name, error, step)
    if "'user'" not in error:
        raise crash
    _, later = await _visit(answer, bench, OURS, cookie=True, user=AnonymousUser())  # as if there were a user already
    if _asked_database(later):
        raise Misconception(
            "the greeting before the user",
            f"{error}; the user is added only inside of it",
            "The outermost runs first. Put Greeting inside the part that adds the user.",
        )
    raise Misconception(
        "nobody adds the user",
        error,
        "A session holds the user's id alone. AuthMiddlewareStack looks the user up.",
    )


class _Greeting:
    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        name = scope["user"].username or "guest"
        await self.inner(dict(scope, greeting=f"Hello, {name}"), receive, send)


class _Hello(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        await self.send(self.scope["greeting"])


class _Guest:
    """Makes everybody a guest."""

    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        await self.inner(dict(scope, user=AnonymousUser()), receive, send)


def _own_pages(inner):
    return OriginValidator(inner, ["https://chat.example"])


_hello = URLRouter([path("ws/hello/", _Hello.as_asgi())])
_greeted = _Greeting(_hello)

right_order.wrong("the user before the session")(_own_pages(AuthMiddleware(SessionMiddlewareStack(_greeted))))
right_order.wrong("the user before the session")(_own_pages(AuthMiddleware(_greeted)))
right_order.wrong("the session before the cookies")(_own_pages(SessionMiddleware(AuthMiddleware(_greeted))))
right_order.wrong("nobody adds the user")(_own_pages(SessionMiddlewareStack(_greeted)))
right_order.wrong("the greeting before the user")(_own_pages(_Greeting(AuthMiddlewareStack(_hello))))
right_order.wrong("nobody adds the greeting")(_own_pages(AuthMiddlewareStack(_hello)))
right_order.wrong("foreign pages cost a query")(AuthMiddlewareStack(_own_pages(_greeted)))
right_order.wrong("foreign pages cost a query")(AuthMiddlewareStack(_Greeting(_own_pages(_hello))))
right_order.wrong("lets foreign pages in")(AuthMiddlewareStack(_greeted))
right_order.wrong("nobody looks up the user")(_own_pages(_Guest(_greeted)))
right_order.wrong("does not greet its own pages")(
    URLRouter([path("", _own_pages(AuthMiddlewareStack(_Greeting(_hello))))])
)
