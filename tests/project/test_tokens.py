"""Rows 1 to 28 and 68 of the table of bad inputs: tokens, on daphne and on uvicorn, over real sockets."""

import asyncio
import base64
import contextlib
import json
import os
import time

import httpx
import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidMessage, InvalidStatus

from labserver import serve
from labserver.project import demo

from ..conftest import DAPHNE, PROJECT, UVICORN, in_database, serving

CHAT = "/infra/ws/"
DIFFERENCES = {("uvicorn", "6 two thousand parameters"): 400, ("uvicorn", "19 fifteen KB"): 400}
"""Where a server answers by itself, and with what status, before the project is asked: a request line holds 8 KB in
uvicorn, 16 KB in daphne. Beyond that daphne hangs up, and uvicorn says 400 with `--ws websockets`; with its default,
websockets-sansio, it only logs a 414 and leaves the client waiting (uvicorn 0.54)."""
LIMIT = 10
HOUR = 3600


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    """The project under the `daphne` and the `uvicorn` commands, with this process's database and key."""
    serve(PROJECT).stop()  # makes key and database
    demo.create_users()
    commands = {"daphne": DAPHNE, "uvicorn": (*UVICORN, "--ws", "websockets")}
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(serving(command, tmp_path_factory.mktemp(name), **os.environ))[0]
            for name, command in commands.items()
        }


@pytest.fixture
def server():
    """The project in this process, whose clocks and database a test can move."""
    server = serve(PROJECT)
    demo.create_users()
    yield server
    server.stop()


@pytest.fixture
def changed():
    """A function that changes a user in the database; the fixture puts the user back."""
    from django.contrib.auth.models import User

    kept = {}

    def change(name, **fields):
        """Set these fields of a user."""
        found = user(name)
        kept.setdefault(found.pk, (found.is_active, found.password))
        in_database(lambda: User.objects.filter(pk=found.pk).update(**fields))

    yield change
    for number, (is_active, password) in kept.items():
        in_database(lambda: User.objects.filter(pk=number).update(is_active=is_active, password=password))  # noqa: B023


@pytest.fixture(params=["daphne", "uvicorn"])
def enter(request, addresses):
    """A function that connects to the chat with this query string, or with other options."""

    def enter(query="", **options):
        """The connection, to be entered or awaited."""
        address = addresses[request.param]
        options = {"open_timeout": LIMIT, **options}
        return connect(f"ws://{address}{CHAT}{query}", origin=f"http://{address}", proxy=None, **options)

    enter.server = request.param
    return enter


def user(name="alice"):
    """A user, from the database."""
    from django.contrib.auth.models import User

    return in_database(lambda: User.objects.get(username=name))


def claims(name="alice", **changes):
    """The claims of a valid token, with changes; None takes a claim away."""
    from rest_framework_simplejwt.tokens import AccessToken

    found = AccessToken.for_user(user(name)).payload | changes
    return {key: value for key, value in found.items() if value is not None}


def token(name="alice", *, key=None, algorithm="HS256", headers=None, **changes):
    """A signed token."""
    from django.conf import settings

    return jwt.encode(claims(name, **changes), key or settings.SECRET_KEY, algorithm, headers)


def segment(text):
    """A part of a token, as it stands in it."""
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def signed(header, payload):
    """A token whose parts are these texts, with the right signature."""
    from django.conf import settings
    from jwt.algorithms import HMACAlgorithm

    body = f"{segment(header)}.{segment(payload)}"
    signature = HMACAlgorithm(HMACAlgorithm.SHA256).sign(body.encode(), settings.SECRET_KEY.encode())
    return f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


async def ending(entering):
    """What a refused client gets: the message and the close code."""
    async with asyncio.timeout(LIMIT), entering as ws:
        message = json.loads(await ws.recv())
        await ws.wait_closed()
        return message, ws.close_code


async def refused(enter, row, query):
    """As `ending`; if the server refuses by itself, the status, which has to be among the known differences."""
    if (status := DIFFERENCES.get((enter.server, row))) is None:
        return await ending(enter(query))
    with pytest.raises(InvalidStatus) as caught:
        await ending(enter(query))
    assert caught.value.response.status_code == status
    return None


HEADER = '{"alg": "HS256", "typ": "JWT"}'
NO_TOKEN = {
    "1 none": lambda: "",
    "2 empty": lambda: "?token=",
    "3 another name": lambda: f"?Token={token()}",
    "6 two thousand parameters": lambda: "?" + "&".join(f"a{number}=1" for number in range(2000)),
}
BAD = {
    "4 two": lambda: f"?token={token()}&token={token()}",
    "4 two different ones": lambda: f"?token={token()}&token=x",
    "5 not UTF-8": lambda: "?token=%ff%fe",
    "no token at all": lambda: "?token=hello",
    "9 nbf in the future": lambda: f"?token={token(nbf=int(time.time()) + HOUR)}",
    "10 iat in the future": lambda: f"?token={token(iat=int(time.time()) + HOUR)}",
    "11 no exp": lambda: f"?token={token(exp=None)}",
    "12 alg none": lambda: f"?token={jwt.encode(claims(), None, 'none')}",
    "12 alg None": lambda: "?token=" + segment('{"alg": "None"}') + f".{segment(json.dumps(claims()))}.",
    "13 another alg": lambda: f"?token={token(algorithm='HS512')}",
    "14 RS256 by name": lambda: "?token=" + signed('{"alg": "RS256"}', json.dumps(claims())),
    "15 wrong key": lambda: f"?token={token(key='k' * 48)}",
    "16 unknown crit": lambda: f"?token={token(headers={'crit': ['exotic'], 'exotic': 1})}",
    "17 a list": lambda: f"?token={signed(HEADER, '[1]')}",
    "17 exp a text": lambda: f"?token={token(exp='tomorrow')}",
    "17 exp a list": lambda: f"?token={signed(HEADER, json.dumps(claims() | {'exp': []}))}",
    "17 no user_id": lambda: f"?token={token(user_id=None)}",
    "17 no jti": lambda: f"?token={token(jti=None)}",
    "17 no type": lambda: f"?token={token(token_type=None)}",
    "18 deep header": lambda: "?token=" + signed('{"alg":' + "[" * 2000 + "]" * 2000 + "}", "{}"),
    "19 fifteen KB": lambda: f"?token={token(more='x' * 11_000)}",
    "24 user_id a word": lambda: f"?token={token(user_id='alice')}",
    "24 user_id a list": lambda: f"?token={token(user_id=[1])}",
    "24 user_id too big": lambda: f"?token={token(user_id=10**30)}",
    "22 no such user": lambda: f"?token={token(user_id=4711)}",
}


@pytest.mark.parametrize("row", NO_TOKEN)
async def test_without_a_token_there_is_4001(enter, row):
    """Rows 1, 2, 3, 6: accepted, told to sign in, closed with 4001."""
    if answer := await refused(enter, row, NO_TOKEN[row]()):
        message, code = answer
        assert code == 4001 and message["type"] == "error"


@pytest.mark.parametrize("row", BAD)
async def test_a_bad_token_is_4003(enter, row):
    """Rows 4 to 24: accepted, told that the token is not valid, closed with 4003."""
    if answer := await refused(enter, row, BAD[row]()):
        message, code = answer
        assert (code, message["type"]) == (4003, "error"), message


@pytest.mark.parametrize("ago", [HOUR, 1, 0])
async def test_an_expired_token_is_told_apart(enter, ago):
    """Rows 7 and 8: expired, even this very second: jwt-expired, so that a page can refresh, and 4003."""
    assert await ending(enter(f"?token={token(exp=int(time.time()) - ago)}")) == ({"type": "jwt-expired"}, 4003)


DEEP = '{"alg":' + "[" * 100_000 + "]" * 100_000 + "}"


@pytest.mark.parametrize("row", ["18 header 100,000 deep", "20 longer than a request line"])
async def test_a_request_line_beyond_all_limits_is_refused_cleanly(enter, row):
    """Rows 18 and 20: daphne hangs up, uvicorn answers 400; both at once, and then they serve as before."""
    token = signed(DEEP, "{}") if row.startswith("18") else "x" * 100_000
    with pytest.raises(InvalidStatus if enter.server == "uvicorn" else (InvalidMessage, OSError)) as caught:
        await ending(enter(f"?token={token}"))
    if enter.server == "uvicorn":
        assert caught.value.response.status_code == 400
    assert await ending(enter()) == ({"type": "error", "content": "sign in first: the chat is for users"}, 4001)


async def test_a_deep_header_that_fits_is_no_token():
    """Row 18 without a server's limits: the library's RecursionError is a refusal, too."""
    from labserver.project.chat import tokens

    with pytest.raises(tokens.Refused, match="not valid"):
        await tokens.identify(signed('{"alg":' + "[" * 1200 + "]" * 1200 + "}", "{}"))


async def test_a_refresh_token_is_no_access_token(enter):
    """Row 21: it lives for a day and is for one address alone."""
    from rest_framework_simplejwt.tokens import RefreshToken

    refresh = RefreshToken.for_user(user())
    assert (await ending(enter(f"?token={refresh}")))[1] == 4003


async def test_disabled_users_and_old_passwords_are_refused(enter, changed):
    """Rows 23 and 25: what was valid when it was signed is held to the database as it is now."""
    valid = f"?token={token('carol')}"
    async with enter(valid) as ws:
        await ws.send("ping")
        assert await ws.recv() == "pong"
    changed("carol", is_active=False)
    message, code = await ending(enter(valid))
    assert (code, message["content"]) == (4003, "the token is not valid any more: User is inactive")
    changed("carol", is_active=True, password="another")
    message, code = await ending(enter(valid))
    assert code == 4003 and "password" in message["content"]


@pytest.mark.parametrize("way", ["query", "header", "subprotocol"])
async def test_a_token_may_come_in_three_ways(enter, way):
    """As a parameter, as `Authorization: Bearer`, as a subprotocol, which is answered without the token."""
    valid = token()
    options = {
        "query": {"query": f"?token={valid}"},
        "header": {"additional_headers": {"Authorization": f"Bearer {valid}"}},
        "subprotocol": {"subprotocols": ["bearer", valid]},
    }[way]
    async with enter(**options) as ws:
        assert ws.subprotocol == ("bearer" if way == "subprotocol" else None)
        await ws.send("ping")
        assert await ws.recv() == "pong"


async def test_two_ways_at_once_are_two_tokens(enter):
    """Row 4 again: which of them counts would be a guess."""
    valid = token()
    both = enter(f"?token={valid}", additional_headers={"Authorization": f"Bearer {valid}"})
    assert (await ending(both))[1] == 4003


async def test_a_refused_subprotocol_is_told_as_well(enter):
    """A page that offers its token as a subprotocol gets the reason, too, since one is accepted."""
    message, code = await ending(enter(subprotocols=["bearer", token(key="k" * 48)]))
    assert code == 4003 and message["type"] == "error"


async def test_a_token_that_expires_ends_its_connection(enter):
    """Row 26: within five seconds of its end: jwt-expired, and 4003."""
    end = int(time.time()) + 3
    message, code = await ending(enter(f"?token={token(exp=end)}"))
    assert (message, code) == ({"type": "jwt-expired"}, 4003)
    assert end <= time.time() <= end + 5


async def test_a_fresh_token_keeps_the_connection(enter):
    """The same user may go on with another token; another user's, or a bad one, is an error and changes nothing."""
    async with asyncio.timeout(LIMIT), enter(f"?token={token(exp=int(time.time()) + 3)}") as ws:
        for bad in (token("bob"), "x", 3, token(exp=1)):
            await ws.send(json.dumps({"type": "demo-token-refresh", "content": bad}))
            assert json.loads(await ws.recv())["type"] == "error"
        fresh = claims()["exp"]
        await ws.send(json.dumps({"type": "demo-token-refresh", "content": token(exp=fresh)}))
        assert json.loads(await ws.recv()) == {"type": "demo-token-accepted", "content": fresh}
        with pytest.raises(TimeoutError):  # both looks after the old token's end find nothing wrong
            await asyncio.wait_for(ws.recv(), 5)


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "another"}])
async def test_a_disabled_user_or_an_old_password_ends_an_open_connection(server, changed, monkeypatch, change):
    """Nobody stays who could not come again."""
    from labserver.project.chat import tokens

    monkeypatch.setattr(tokens, "LOOK_AGAIN", 0.02)
    async with server.connect(f"{CHAT}?token={token('carol')}") as ws:
        changed("carol", **change)
        message = json.loads(await ws.recv())
        await ws.wait_closed()
        assert message["type"] == "error" and ws.close_code == 4003


@pytest.mark.parametrize("change", ["sign out", {"is_active": False}, {"password": "another"}])
async def test_a_session_that_ends_ends_its_connection(server, changed, monkeypatch, change):
    """Without a token it is the session that must hold: signing out, too, ends what was opened with it."""
    from django.test import Client

    from labserver.project.chat import tokens

    monkeypatch.setattr(tokens, "LOOK_AGAIN", 0.02)
    client = Client()
    in_database(lambda: client.force_login(user("carol")))
    cookie = {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}
    async with server.connect(CHAT, additional_headers=cookie) as ws:
        await ws.send("ping")
        assert await ws.recv() == "pong"
        in_database(client.logout) if change == "sign out" else changed("carol", **change)
        assert json.loads(await ws.recv()) == {"type": "error", "content": "you are signed out"}
        await ws.wait_closed()
        assert ws.close_code == 4001


async def test_a_look_at_the_old_token_does_not_end_a_connection_that_has_a_fresh_one(server, monkeypatch):
    """A token may be replaced while the database is being asked about it."""
    from labserver.project.chat import tokens

    asked, go_on, looks, still_valid = asyncio.Event(), asyncio.Event(), [], tokens.still_valid

    async def slow(scope):
        looks.append(scope)
        if len(looks) == 1:
            loop.call_soon_threadsafe(asked.set)
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(go_on.wait(), loop))
            raise tokens.Expired
        await still_valid(scope)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(tokens, "LOOK_AGAIN", 0.02)
    monkeypatch.setattr(tokens, "still_valid", slow)
    async with asyncio.timeout(LIMIT), server.connect(f"{CHAT}?token={token()}") as ws:
        await asked.wait()
        await ws.send(json.dumps({"type": "demo-token-refresh", "content": token()}))
        assert json.loads(await ws.recv())["type"] == "demo-token-accepted"
        go_on.set()
        while len(looks) < 3:
            await asyncio.sleep(0.01)
        await ws.send("ping")
        assert await ws.recv() == "pong"


async def test_a_database_that_is_away_ends_no_connection(server, monkeypatch, caplog):
    """Row 28, later: who could not be looked up stays, and is looked up again."""
    from labserver.project.chat import tokens

    looks, still_valid = [], tokens.still_valid

    async def away(scope):
        looks.append(scope)
        if len(looks) < 3:
            raise ConnectionError("nobody there")
        await still_valid(scope)

    monkeypatch.setattr(tokens, "LOOK_AGAIN", 0.02)
    monkeypatch.setattr(tokens, "still_valid", away)
    async with server.connect(f"{CHAT}?token={token()}") as ws:
        async with asyncio.timeout(LIMIT):
            while len(looks) < 5:
                await asyncio.sleep(0.01)
        await ws.send("ping")
        assert await ws.recv() == "pong"
    assert caplog.text.count("could not be looked up again: nobody there") == 2


async def test_a_database_that_is_away_while_connecting_is_4000(server, monkeypatch, caplog):
    """Row 28: the client is told that it is not its fault, and may try again; what went wrong stands in the log."""
    from labserver.project.chat import tokens

    async def away(claims):
        raise ConnectionError("secret address")

    monkeypatch.setattr(tokens, "user_of", away)
    message, code = await ending(server.connect(f"{CHAT}?token={token()}"))
    assert code == 4000 and "try again later" in message["content"]
    assert "secret address" in caplog.text


async def test_authentication_that_takes_too_long_is_4000(server, monkeypatch, caplog):
    """Row 68: a refusal with a reason, before daphne would cut the line without a word."""
    from labserver.project.chat import tokens
    from labserver.project.middleware import ExplainFailures

    async def slow(claims):
        await asyncio.sleep(60)

    monkeypatch.setattr(ExplainFailures, "LIMIT", 0.1)
    monkeypatch.setattr(tokens, "user_of", slow)
    message, code = await ending(server.connect(f"{CHAT}?token={token()}"))
    assert code == 4000 and "try again later" in message["content"]


# --- over HTTP -------------------------------------------------------------------------------------------------------


async def post(server, path, **fields):
    """The answer to a form as JSON: its status, and what is in it."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(server.url + path, json=fields, timeout=LIMIT)
    return answer.status_code, answer.json()


async def test_a_token_for_a_password_and_a_fresh_one_for_a_refresh_token(server):
    """Name and password give two tokens; the second gives a fresh first one; both first ones open the chat."""
    status, pair = await post(server, "/api/token/", username="alice", password=demo.PASSWORD)
    assert status == 200 and pair.keys() == {"access", "refresh"}
    status, fresh = await post(server, "/api/token/refresh/", refresh=pair["refresh"])
    assert status == 200
    for access in (pair["access"], fresh["access"]):
        async with server.connect(f"{CHAT}?token={access}") as ws:
            await ws.send("ping")
            assert await ws.recv() == "pong"
    users = await server.get("/api/users/", headers={"Authorization": f"Bearer {fresh['access']}"})
    assert "bob" in [each["username"] for each in users.json()]
    assert (await server.get("/api/users/", headers={"Authorization": "Bearer x.y.z"})).status_code == 401


async def test_what_gets_no_token(server, changed):
    """A wrong password, a disabled user, an access token in the place of a refresh token: 401, with words."""
    assert (await post(server, "/api/token/", username="alice", password="wrong"))[0] == 401
    assert (await post(server, "/api/token/refresh/", refresh=token()))[0] == 401
    assert (await post(server, "/api/token/refresh/", refresh="x"))[0] == 401
    assert (await post(server, "/api/token/refresh/"))[0] == 400
    _, pair = await post(server, "/api/token/", username="carol", password=demo.PASSWORD)
    status, answer = await post(server, "/api/token/", username="carol", password="wrong")
    assert (status, answer["code"]) == (401, "wrong_password")
    changed("carol", is_active=False)
    status, answer = await post(server, "/api/token/", username="carol", password="wrong")
    assert (status, answer["code"]) == (401, "wrong_password")  # only who knows it is told what is wrong
    status, answer = await post(server, "/api/token/", username="carol", password=demo.PASSWORD)
    assert (status, answer["code"]) == (401, "user_inactive")
    status, answer = await post(server, "/api/token/refresh/", refresh=pair["refresh"])
    assert status == 401 and isinstance(answer["detail"], str)


@pytest.mark.parametrize("number", [4711, "alice", 10**30])
async def test_a_refresh_token_of_nobody_is_401(server, number):
    """A refresh token whose user is gone, or is no number, is refused; simplejwt alone would answer with 500."""
    from rest_framework_simplejwt.tokens import RefreshToken

    refresh = RefreshToken.for_user(user())
    refresh["user_id"] = number
    assert (await post(server, "/api/token/refresh/", refresh=str(refresh)))[0] == 401


async def test_a_new_password_ends_refresh_tokens_too(server, changed):
    """A refresh token that is older than the password is refused, and says why; simplejwt alone would take it."""
    _, pair = await post(server, "/api/token/", username="carol", password=demo.PASSWORD)
    changed("carol", password="another")
    status, answer = await post(server, "/api/token/refresh/", refresh=pair["refresh"])
    assert (status, answer["code"]) == (401, "password_changed")
