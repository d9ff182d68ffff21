"""What lesson 07 shows holds on live servers: each fault of the copied consumer, each mend, who can read a token."""

import asyncio
import base64
import contextlib
import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import jwt
import pytest
from websockets.exceptions import InvalidStatus

TUTORIAL = ("setup", "login", "forge", "tutorial", "serve-at", "who")
"""The cells up to the copied consumer and its seven visitors."""

MIDDLEWARE = (*TUTORIAL, "hasty", "find", "validate", "looked-up", "middleware", "hello")
"""The cells up to the middleware; `hasty` fails on purpose, and leaves an import."""

WAYS = (*MIDDLEWARE, "ticket", "carriers", "carriers-of-pages", "ways")
"""The cells up to the four ways."""

OPEN = (*WAYS, "watched", "accidents")
"""The cells up to the consumer that looks again."""

YOURS, COPIED, WATCHED, RENEWABLE = (f"/{name}/infra/ws/" for name in ("yours", "tutorial", "watched", "renewable"))
HOUR = 3600


@pytest.fixture
async def room(lesson, monkeypatch):
    """`space = await room(*TUTORIAL)` runs these cells of lesson 07; the one that fails on purpose may do so."""

    async def run(*ids):
        for id in ids:
            with pytest.raises(InvalidStatus) if id == "hasty" else contextlib.nullcontext():
                await lesson("07_jwt_auth", id)
        return await lesson("07_jwt_auth")

    yield run
    from django.core.cache import cache

    cache.clear()


async def printed(room, capsys, *ids):
    """What these cells print, by line."""
    capsys.readouterr()
    await room(*ids)
    return capsys.readouterr().out.splitlines()


async def ending(space, address, **options):
    """The messages that a refused client gets, and the code."""
    async with space.server.connect(address, **options) as ws:
        last = [json.loads(await ws.recv())]
        await ws.wait_closed()
        return last, ws.close_code


def signed(space, *, key=None, algorithm="HS256", headers=None, **changes):
    """A signed token of alice's with other claims; None takes a claim away."""
    from django.conf import settings

    claims = space.AccessToken.for_user(space.users["alice"]).payload | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key or settings.SECRET_KEY, algorithm, headers)


def raw(header, payload):
    """A token whose parts are these texts, with the right signature."""
    from django.conf import settings
    from jwt.algorithms import HMACAlgorithm

    header, payload = (base64.urlsafe_b64encode(text.encode()).rstrip(b"=") for text in (header, payload))
    body = header + b"." + payload
    signature = HMACAlgorithm(HMACAlgorithm.SHA256).sign(body, settings.SECRET_KEY.encode())
    return (body + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


# --- what a token is --------------------------------------------------------------------------------------------------


async def test_a_token_is_opened_without_a_key_and_changed_in_vain(room, capsys):
    """The claims are read by hand; a changed token, and one with another key, is refused."""
    out = await printed(room, capsys, "setup", "login", "forge")

    assert out == [
        "wrong password: HTTP 401",
        "refresh: {'alg': 'HS256', 'typ': 'JWT'} user 1, 1440 minutes",
        "access: {'alg': 'HS256', 'typ': 'JWT'} user 1, 5 minutes",
        "['exp', 'hash_password', 'iat', 'jti', 'token_type', 'user_id']",
        "as it came: user 1",
        "changed: Token is invalid",
        "her own key: Token is invalid",
    ]


async def test_each_kind_of_token_is_good_for_its_own_purpose(room, capsys):
    """A refresh token gets an access token and no page; an access token gets a page and no other token."""
    await room("setup", "login", "forge")
    out = await printed(room, capsys, "kinds")

    assert [line.partition(" → ")[2] for line in out] == [
        "HTTP 401",
        "HTTP 200 ['access']",
        "HTTP 200",
        "HTTP 401 ['detail', 'code']",
    ]


# --- D1: the copied consumer ------------------------------------------------------------------------------------------


async def test_the_copied_consumer_does_what_its_tutorial_says(room):
    """D1: a valid token: the user id into the scope, the channel into the cache, the group joined, accepted."""
    space = await room(*TUTORIAL)
    space.server.trace.clear()
    async with space.server.connect(f"{COPIED}?token={space.token_of('alice')}") as ws:
        await ws.send("ping")
        assert await ws.recv() == "pong for user 1"  # it is read from the scope
        assert list(space.server.layer.groups) == ["chat"]
        assert space.cache.get("1").startswith("specific.")  # a channel of one consumer


@pytest.mark.parametrize(("query", "code"), [("", 4001), ("?token=x.y.z", 4003), ("no user_id", 4000)])
async def test_no_code_of_the_copied_consumer_arrives(room, query, code):
    """D1, fault 1: it closes with 4001, 4003 and 4000 before it accepts, and the client gets HTTP 403 for each."""
    space = await room(*TUTORIAL)
    if code == 4000:
        query = f"?token={signed(space, user_id=None)}"
    with space.server.record() as trace:
        assert await space.ask(f"{COPIED}{query}") == "HTTP 403"
    assert [event.message["code"] for event in trace if event.type == "websocket.close"] == [code]


async def test_the_copied_consumer_lets_five_of_seven_in(room, capsys):
    """Faults 2 and 3 and 4: a refresh token, a deleted and a disabled user, an old password: all get in."""
    await room(*TUTORIAL[:-1])

    assert await printed(room, capsys, "who") == [
        "access        pong for user 1",
        "garbage       HTTP 403",
        "expired       HTTP 403",
        "refresh       pong for user 1",
        "deleted user  pong for user 4711",
        "is_active     pong for user 2",
        "password      pong for user 2",
    ]


async def test_a_disabled_user_stays_connected(room, capsys):
    """Fault 5: the page refuses bob, and the socket goes on answering him."""
    await room(*TUTORIAL)

    assert await printed(room, capsys, "stay") == ["the page: HTTP 401", "the socket: pong for user 2"]


async def test_a_user_is_put_back_whatever_happens(room):
    """`changed` restores what it changed, after an error as well."""
    space = await room(*TUTORIAL)
    before = await space.User.objects.aget(username="bob")
    with pytest.raises(ZeroDivisionError):
        async with space.changed("bob", is_active=False, password="another"):
            assert not (await space.User.objects.aget(username="bob")).is_active
            raise ZeroDivisionError
    after = await space.User.objects.aget(username="bob")
    assert (after.is_active, after.password) == (True, before.password)


async def test_two_servers_write_tokens_into_their_logs(room, capsys):
    """Fault 6: uvicorn writes those of WebSockets, without its access log as well; daphne those of pages alone."""
    await room(*TUTORIAL, "running")

    assert await printed(room, capsys, "search") == [
        "uvicorn                  WebSocket: True   page: True",
        "uvicorn --no-access-log  WebSocket: True   page: False",
        "daphne                   WebSocket: False  page: True",
    ]


async def test_a_server_that_does_not_start_says_why(room):
    """`running` raises with the log of a process that ended, instead of waiting for it."""
    space = await room(*TUTORIAL, "running", "search")
    with pytest.raises(RuntimeError, match="no such thing"):
        async with space.running("daphne", "raise ValueError('no such thing')"):
            pass


async def test_the_copied_consumer_asks_its_cache_on_the_event_loop(room):
    """Fault 7: `cache.set` runs where everybody's code runs, and not in a thread of its own."""
    space = await room(*TUTORIAL)
    found = []

    def spy(*args, **options):
        found.append(asyncio.get_running_loop().is_running())  # raises in a thread without a loop

    with space.patch("django.core.cache.backends.locmem.LocMemCache.set", spy):
        assert await space.ask(f"{COPIED}?token={space.token_of('alice')}") == "pong for user 1"
    assert found == [True]


# --- E1: a message while connecting -----------------------------------------------------------------------------------


async def test_a_message_before_accept_never_arrives(room, capsys):
    """E1: on the live server it is a crash and HTTP 500; the close is never reached."""
    space = await room(*TUTORIAL, "hasty")

    assert "Socket has not been accepted" in capsys.readouterr().err
    sent = [event.type for event in space.trace if event.direction == "send"]
    assert sent == ["websocket.send"]
    assert await space.ask("/hasty/") == "HTTP 500"


async def test_parity_shows_what_no_client_gets(room, capsys):
    """E1: the communicator hands the message and the close over, the live server does not."""
    await room(*TUTORIAL, "hasty")
    out = await printed(room, capsys, "parity")

    assert out[1:3] == ['≠ text {"type": "jwt-expired"}  refused 500', "≠ close 1000                    nothing"]
    assert [line[0] for line in out[3:]] == [" "] * 4


async def test_accept_send_close_arrives(room):
    """E1, the better form: a live client gets the JSON and the code 4003."""
    space = await room(*TUTORIAL, "hasty", "parity")
    space.serve_at("patient/", space.Patient.as_asgi())

    assert await ending(space, "/patient/") == ([{"type": "jwt-expired"}], 4003)


# --- D1: the middleware -----------------------------------------------------------------------------------------------


async def test_the_middleware_lets_one_of_seven_in(room, capsys):
    """D1, mended: only alice's access token; all others, and a failure of ours, get a reason and a code."""
    await room(*MIDDLEWARE[:-1])

    assert await printed(room, capsys, "hello") == [
        "access        pong for alice",
        "garbage       the token is not valid · 4003",
        "expired       jwt-expired · 4003",
        "refresh       the token is not valid · 4003",
        "deleted user  User not found · 4003",
        "is_active     User is inactive · 4003",
        "password      The user's password has been changed. · 4003",
        "no token      no token, sign in first · 4001",
        "our fault     try again later · 4000",
        "the tutorial  HTTP 500",
    ]


HEADER = '{"alg": "HS256", "typ": "JWT"}'
BAD = {
    "1 none": lambda space: "",
    "2 empty": lambda space: "?token=",
    "3 another name": lambda space: f"?Token={space.token_of('alice')}",
    "4 two": lambda space: f"?token={space.token_of('alice')}&token=x",
    "5 not UTF-8": lambda space: "?token=%ff%fe",
    "6 two thousand parameters": lambda space: "?" + "&".join(f"a{number}=1" for number in range(2000)),
    "7 expired": lambda space: f"?token={signed(space, exp=int(time.time()) - HOUR)}",
    "8 exp now": lambda space: f"?token={signed(space, exp=int(time.time()))}",
    "9 nbf in the future": lambda space: f"?token={signed(space, nbf=int(time.time()) + HOUR)}",
    "10 iat in the future": lambda space: f"?token={signed(space, iat=int(time.time()) + HOUR)}",
    "11 no exp": lambda space: f"?token={signed(space, exp=None)}",
    "12 alg none": lambda space: f"?token={jwt.encode({'user_id': '1'}, None, 'none')}",
    "13 another alg": lambda space: f"?token={signed(space, algorithm='HS512')}",
    "14 RS256 by name": lambda space: "?token=" + raw('{"alg": "RS256"}', "{}"),
    "15 wrong key": lambda space: f"?token={signed(space, key='k' * 48)}",
    "16 unknown crit": lambda space: f"?token={signed(space, headers={'crit': ['exotic'], 'exotic': 1})}",
    "17 a list": lambda space: f"?token={raw(HEADER, '[1]')}",
    "17 exp a text": lambda space: f"?token={signed(space, exp='tomorrow')}",
    "18 deep header": lambda space: "?token=" + raw('{"alg":' + "[" * 2000 + "]" * 2000 + "}", "{}"),
    "19 eleven KB": lambda space: f"?token={signed(space, key='k' * 48, more='x' * 8000)}",
    "21 refresh": lambda space: f"?token={space.token_of('alice', space.RefreshToken)}",
    "22 no such user": lambda space: f"?token={signed(space, user_id=4711)}",
    "24 user_id a word": lambda space: f"?token={signed(space, user_id='alice')}",
    "24 user_id a list": lambda space: f"?token={signed(space, user_id=[1])}",
    "24 user_id too big": lambda space: f"?token={signed(space, user_id=10**30)}",
    "no user_id": lambda space: f"?token={signed(space, user_id=None)}",
    "no jti": lambda space: f"?token={signed(space, jti=None)}",
}
NO_TOKEN = ("1 ", "2 ", "3 ", "6 ")
EXPIRED = ("7 ", "8 ")


async def test_every_bad_token_is_told_why(room):
    """Rows 1 to 24: the learner's middleware accepts, says why, and closes with 4001 or 4003, as the project does."""
    space = await room(*MIDDLEWARE)
    for row, query in BAD.items():
        kind = "jwt-expired" if row.startswith(EXPIRED) else "error"
        for address in (YOURS, "/infra/ws/"):
            (message,), code = await ending(space, address + query(space))
            assert (message["type"], code) == (kind, 4001 if row.startswith(NO_TOKEN) else 4003), (row, address)
            assert kind == "error" or message == {"type": "jwt-expired"}


async def test_the_reason_of_our_fault_is_logged(room, caplog):
    """Row 28: the client gets 4000 and no detail; the log has the traceback."""
    space = await room(*MIDDLEWARE)
    with space.patch.object(space.JWTAuthentication, "get_user", side_effect=OSError("the database is away")):
        (message,), code = await ending(space, f"{YOURS}?token={space.token_of('alice')}")
    assert (message, code) == ({"type": "error", "content": "try again later"}, 4000)
    (record,) = (each for each in caplog.records if each.name == space.__name__)
    assert record.levelno == logging.ERROR and "the database is away" in str(record.exc_info[1])


async def test_a_crash_of_the_consumer_is_no_refusal(room, capsys):
    """What the consumer raises after accept stays a crash, with 1011: no second accept."""
    space = await room(*MIDDLEWARE)

    class Fragile(space.Hello):
        """Accepts, and breaks at the first message."""

        async def receive(self, *args, **options):
            raise ZeroDivisionError

    space.serve_at("fragile/", space.TokenAuth(Fragile.as_asgi()))
    with space.server.record() as trace:
        async with space.server.connect(f"/fragile/?token={space.token_of('alice')}") as ws:
            await ws.send("ping")
            await ws.wait_closed()
    assert ws.close_code == 1011
    assert [event.type for event in trace if event.direction == "send"] == ["websocket.accept"]
    assert "ZeroDivisionError" in capsys.readouterr().err


async def test_the_user_goes_into_a_copy_of_the_scope(room):
    """The scope that a server holds is not changed."""
    space = await room(*MIDDLEWARE)
    found = []

    async def inner(scope, receive, send):
        found.append(scope)

    scope = {"type": "websocket", "query_string": f"token={space.token_of('alice')}".encode()}
    await space.TokenAuth(inner)(scope, None, None)
    assert scope.keys() == {"type", "query_string"}
    assert found[0]["user"] == space.users["alice"] and found[0]["claims"]["user_id"] == "1"


# --- four ways to carry it --------------------------------------------------------------------------------------------


async def test_a_ticket_is_good_once(room, capsys):
    """The first redeems it, the second and whoever makes one up do not; of eight at once one does."""
    space = await room(*MIDDLEWARE)
    assert await printed(room, capsys, "ticket") == ["'a token'", "''", "''"]

    ticket = space.issue("a token")
    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(space.redeem, [ticket] * 8)) == [""] * 7 + ["a token"]
    assert [space.redeem(odd) for odd in ("", "x" * 300, "x" * 21 + "\n", "\u0661" * 22)] == [""] * 4


async def test_a_ticket_is_good_for_half_a_minute(room):
    """At 29 seconds it opens the door, at 30 it does not."""
    space = await room(*WAYS)
    for seconds, outcome in ((29, "pong for alice"), (30, "the token is not valid · 4003")):
        address = f"/ticket/?ticket={space.issue(space.token_of('alice'))}"
        async with space.later(seconds):
            assert await space.ask(address) == outcome


async def test_the_table_of_ways_is_computed(room):
    """Who finds what travelled, and what it still opens: only the ticket is worth nothing to its finder."""
    space = await room(*WAYS, "running", "search", "table")

    assert [[cell.strip() for cell in row.strip("|").split("|")] for row in space.rows[2:]] == [
        ["query string", "yes", "yes", "yes", "yes", "no", "in", "in", "in", "4003"],
        ["first message", "yes", "no", "no", "in part", "no", "in", "in", "in", "4003"],
        ["subprotocol", "yes", "no", "no", "yes", "no", "in", "in", "in", "4003"],
        ["ticket", "yes", "yes", "yes", "yes", "no", "in", "4003", "4003", "4003"],
        ["header", "no", "no", "no", "yes", "no", "in", "in", "in", "4003"],
    ]


@pytest.mark.parametrize(("key", "code"), [(None, 1000), ("k" * 48, 4003)])
async def test_a_subprotocol_is_answered_without_the_token(room, key, code):
    """`bearer` is named to whom it was offered, in a refusal as well: browsers give up otherwise."""
    space = await room(*WAYS)
    async with space.server.connect("/subprotocol/", subprotocols=["bearer", signed(space, key=key)]) as ws:
        assert ws.subprotocol == "bearer"
        if not key:
            await ws.send("ping")
        assert await space.last_words(ws) == ("the token is not valid · 4003" if key else "pong for alice")
    assert ws.close_code == code
    assert (await ending(space, "/subprotocol/"))[1] == 4001


async def test_who_says_nothing_first_is_told_to_go(room):
    """Without a first message there is 4001 at the limit; who leaves before it leaves nothing behind."""
    space = await room(*WAYS)
    async with space.server.connect("/message/"):
        pass
    space.InFirstMessage.LIMIT = 0.05
    assert (await ending(space, "/message/"))[1] == 4001
    assert space.server.connections == ()


async def test_the_clock_is_put_back(room):
    """`later` moves four modules' clocks and no other, and undoes it after an error too."""
    space = await room(*WAYS)
    with pytest.raises(ZeroDivisionError):
        async with space.later(1000):
            from django.core.cache.backends import locmem

            assert space.time.time() - time.time() > 900 and locmem.time.time() - time.time() > 900
            raise ZeroDivisionError
    assert space.time is time and locmem.time is time


# --- while it is open -------------------------------------------------------------------------------------------------


async def test_four_accidents_end_an_open_connection(room, capsys):
    """Row 26 and fault 5, mended: expiry, log-out, disabling and a new password; the copied consumer notices none."""
    await room(*WAYS, "watched")
    out = await printed(room, capsys, "accidents")

    assert out[1::2] == ["                   tutorial: pong for user 3"] * 4
    assert [line.partition("yours:    ")[2] for line in out[::2]] == [
        "jwt-expired · 4003",
        "you are signed out · 4001",
        "User is inactive · 4003",
        "The user's password has been changed. · 4003",
    ]


async def test_a_signed_out_token_does_not_come_back(room):
    """Log-out: the cancelled token is refused at the door, another one of the same user is not."""
    space = await room(*OPEN)
    cancelled, other = space.token_of("carol"), space.token_of("carol")
    async with space.signed_out(cancelled):
        assert await space.ask(f"{WATCHED}?token={cancelled}") == "you are signed out · 4001"
        assert await space.ask(f"{WATCHED}?token={other}") == "pong for carol"


async def test_a_slow_cache_holds_nobody_else(room):
    """Fault 7, mended: while the cache keeps alice waiting at the door, bob is looked up and let in."""
    space = await room(*MIDDLEWARE)
    token, began, goes_on = space.token_of("alice"), threading.Event(), threading.Event()
    get = space.LocMemCache.get

    def slow(self, key, *args, **options):
        if key == f"signed-out.{space.AccessToken(token)['jti']}":
            began.set()
            assert goes_on.wait(20)
        return get(self, key, *args, **options)

    with space.patch.object(space.LocMemCache, "get", slow):
        alice = asyncio.create_task(space.ask(f"{YOURS}?token={token}"))
        try:
            assert await asyncio.to_thread(began.wait, 10)
            async with asyncio.timeout(10):
                assert await space.ask(f"{YOURS}?token={space.token_of('bob')}") == "pong for bob"
            assert not alice.done()
        finally:
            goes_on.set()
        assert await alice == "pong for alice"


async def test_none_makes_a_token_that_is_nobodys(room, capsys):
    """What simplejwt makes of None has no user, and the lesson's look-up refuses it."""
    space = await room(*MIDDLEWARE[:-3])
    assert "AccessToken(None): ['exp', 'iat', 'jti', 'token_type']" in capsys.readouterr().out

    await room("looked-up")
    with pytest.raises(space.Refused):
        await space.looked_up(space.validated(None))


async def test_a_failing_look_is_no_reason_to_close(room, caplog):
    """While the database is away nobody is thrown out; the next look finds what is wrong."""
    space = await room(*OPEN)
    space.LOOK_AGAIN = 0.01
    async with space.server.connect(f"{WATCHED}?token={space.token_of('carol')}") as ws:
        with space.patch.object(space.JWTAuthentication, "get_user", side_effect=OSError("away")) as spy:
            async with asyncio.timeout(5):
                while spy.call_count < 3:
                    await asyncio.sleep(0.005)
            await ws.send("ping")
            assert await ws.recv() == "pong for carol"
        async with space.changed("carol", is_active=False):
            assert await space.last_words(ws) == "User is inactive · 4003"
    assert "could not be looked up" in caplog.text


async def test_no_task_outlives_its_connection(room, capsys):
    """After a crash, where disconnect() does not run, the task that looks again is cancelled."""
    space = await room(*OPEN)
    consumers = []

    class Crashing(space.Watched):
        """Breaks at the first message."""

        async def receive(self, *args, **options):
            consumers.append(self)
            raise ZeroDivisionError

    space.serve_at("crashing/", space.TokenAuth(Crashing.as_asgi()))
    async with space.server.record():
        async with space.server.connect(f"/crashing/?token={space.token_of('carol')}") as ws:
            await ws.send("ping")
            await ws.wait_closed()
    async with asyncio.timeout(5):
        while not consumers[0].watching.done():
            await asyncio.sleep(0.005)
    assert "ZeroDivisionError" in capsys.readouterr().err


async def test_a_fresh_token_keeps_the_connection(room, capsys):
    """A bad token and another user's are errors; a fresh one of the same user carries it beyond 300 seconds."""
    space = await room(*OPEN, "renewable")
    assert await printed(room, capsys, "renewable-talk") == [
        "after 300 s: pong for alice",
        "after 600 s: jwt-expired · 4003",
    ]
    sent = [event.message.get("text") for event in space.trace if event.type == "websocket.send"]
    assert [json.loads(text) for text in sent if text.startswith("{")] == [
        {"type": "error", "content": "the token is not valid"},
        {"type": "error", "content": "another user's token: connect with it"},
        {"type": "demo-token-accepted"},
        {"type": "jwt-expired"},
    ]


async def test_a_look_at_the_old_token_does_not_end_the_fresh_one(room):
    """A look that began before the refresh, and finds the old token expired after it, closes nothing."""
    space = await room(*OPEN, "renewable")
    fresh, real, found = space.validated(space.token_of("alice")), space.user_of, []

    class Refreshed(space.Renewable):
        """Tells the test which one it is."""

        async def connect(self):
            found.append(self)
            await super().connect()

    def look(claims):
        if found and claims is not fresh:  # the middleware has looked before
            found[0].scope["claims"] = fresh
            raise space.Refused(4003, "the old token has expired", space.EXPIRED)
        return real(claims)

    space.serve_at("refreshed/", space.TokenAuth(Refreshed.as_asgi()))
    space.LOOK_AGAIN = 0.01
    with space.patch.object(space, "user_of", wraps=look) as spy:
        async with space.server.connect(f"/refreshed/?token={space.token_of('alice')}") as ws:
            await space.looks(spy)
            assert found[0].scope["claims"] is fresh
            await ws.send("ping")
            assert await ws.recv() == "pong for alice"


async def test_odd_refreshes_change_nothing(room):
    """What is no token is an error, what is no refresh is ignored, and the connection goes on."""
    space = await room(*OPEN, "renewable", "renewable-talk")
    async with space.server.connect(f"{RENEWABLE}?token={space.token_of('alice')}") as ws:
        for content in (None, 3, [], {"token": 1}):
            await ws.send(json.dumps({"type": "demo-token-refresh", "content": content}))
            assert json.loads(await ws.recv())["type"] == "error"
        await ws.send("[]")
        await ws.send("ping")
        assert await ws.recv() == "pong for alice"


# --- logs -------------------------------------------------------------------------------------------------------------


async def test_the_canary_is_found_only_where_nothing_hides_it(room, capsys):
    """Fault 6, mended: not with the filter, not in the project's log, not in daphne's, not in the trace."""
    await room(*WAYS, "running", "search", "hide")
    out = await printed(room, capsys, "canary")

    assert [line[28:].split() for line in out[:7]] == [
        ["FOUND"],
        ["not", "found", "hidden"],
        ["not", "found"],
        *[["not", "found", "hidden"]] * 4,
    ]
    assert out[7] == "/query/ b'token=[redacted]' []" and out[9] == "/subprotocol/ b'' ['bearer', '[redacted]']"


@pytest.mark.parametrize("left_out", [None, "uvicorn.access", "uvicorn.error"])
async def test_the_filter_needs_both_loggers(room, left_out):
    """The line of a WebSocket is that of uvicorn.error, the line of a page that of uvicorn.access; each is kept."""
    space = await room(*TUTORIAL, "running", "search", "hide")
    code = space.HIDE.replace(f'"{left_out}"', '"nobody"') + space.PLAIN
    async with space.running("uvicorn", code) as process:
        await space.visit(process.address, "/ws/?token=of-a-socket&room=lab")
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.get(f"http://{process.address}/?token=of-a-page&room=lab")
    assert ("of-a-socket" in process.log, "of-a-page" in process.log) == (
        left_out == "uvicorn.error",
        left_out == "uvicorn.access",
    )
    assert process.log.count("room=lab") == 2


# --- the project ------------------------------------------------------------------------------------------------------


async def test_alice_and_bob_talk_with_tokens(room, capsys):
    """The reference chat: one token in a query string, one in a subprotocol, messages both ways."""
    await room(*OPEN)

    assert await printed(room, capsys, "twins") == [
        'bob:   {"fromUserId": 1, "text": "hello", "single": false}',
        'alice: {"fromUserId": 1, "text": "hello", "single": false}',
        'alice: {"fromUserId": 2, "text": "only you", "single": true}',
        "bob's subprotocol: bearer",
    ]


async def test_the_project_refuses_each_bad_token(room, capsys):
    """Three times 4001, one expired, and 4003 for all others."""
    await room(*OPEN)
    out = await printed(room, capsys, "bad")

    assert [line[-4:] for line in out] == ["4001"] * 3 + ["4003"] * 13
    assert [line.split()[0] for line in out if "jwt-expired" in line] == ["expired"]


async def test_the_project_ends_what_may_not_go_on(room, capsys):
    """Tokens end by expiry, disabling and a new password, a session by signing out; a token outlives that."""
    await room(*OPEN)

    assert [line[19:] for line in await printed(room, capsys, "project")] == [
        "jwt-expired · 4003",
        "the token is not valid any more · 4003",
        "the token is not valid any more · 4003",
        "you are signed out · 4001",
        "pong",
    ]


async def test_the_pages_in_the_frames_are_served(room):
    """The two frames lead to the console, and their addresses to the copied consumer and to the mended one."""
    space = await room(*MIDDLEWARE)

    assert (await space.server.get("/console/?path=/yours/infra/ws/")).status_code == 200
    assert await space.ask(COPIED) == "HTTP 403"
    assert await space.ask(YOURS) == "no token, sign in first · 4001"
