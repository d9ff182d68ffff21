"""Who a socket is: an access token of simplejwt, checked before the consumer and again while it is open.

A token may come as `?token=…`, as `Authorization: Bearer …` (browsers cannot), or as a subprotocol after `bearer`; in
one of these ways, once. Whoever is refused is told so where a browser can see it: accept, a reason, then the code.
"""

import re
import time
from urllib.parse import parse_qsl

from channels.auth import get_user
from channels.db import database_sync_to_async
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed, ExpiredTokenError
from rest_framework_simplejwt.tokens import AccessToken

from ..middleware import SUBPROTOCOL, refuse

LONGEST = 4096
"""Characters of a token; ours have about 330."""

LOOK_AGAIN = 4
"""Seconds until an open connection is held to its token or session again."""

NONE, INVALID = 4001, 4003
"""Close codes: no token at all; one that is not valid (any more)."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")


class Refused(Exception):
    """A token, or the lack of one, that ends the connection: `code` and the `message` for the client."""

    def __init__(self, code, why):
        super().__init__(why)
        self.code = code
        self.message = {"type": "error", "content": why}


class Expired(Refused):
    """The token was valid, and is so no more; a fresh one will do."""

    def __init__(self):
        super().__init__(INVALID, "the token has expired")
        self.message = {"type": "jwt-expired"}


class TokenAuthMiddleware:
    """Put the user of a token into the scope, with its claims; without a token the session's user stays there."""

    def __init__(self, application):
        self.application = application

    async def __call__(self, scope, receive, send):
        try:
            token = carried(scope)
            if token is not None:
                user, claims = await identify(token)
                scope = {**scope, "user": user, "token": claims}
        except Refused as refused:
            await receive()  # websocket.connect
            await refuse(scope, send, refused.code, refused.message)
        else:
            await self.application(scope, receive, send)


def carried(scope):
    """The token that a scope carries, None if there is none. Raises Refused for more than one, and for what is none."""
    try:
        pairs = parse_qsl(scope["query_string"].decode(), errors="strict", max_num_fields=100)
    except UnicodeDecodeError:
        raise Refused(INVALID, "the query string is not UTF-8") from None
    except ValueError:
        raise Refused(NONE, "too many parameters") from None
    found = [value for name, value in pairs if name == "token"]
    for name, value in scope["headers"]:
        scheme, _, rest = value.decode("latin-1").partition(" ")
        if name == b"authorization" and scheme.lower() == "bearer":
            found.append(rest.strip())
    offered = scope.get("subprotocols", [])
    if SUBPROTOCOL in offered:
        found += [each for each in offered if each != SUBPROTOCOL][:1]
    if len(found) > 1:
        raise Refused(INVALID, "more than one token")
    return found[0] if found and found[0] else None


async def identify(token):
    """The user and the claims of an access token. Raises Refused, with 4003."""
    if not isinstance(token, str) or len(token) > LONGEST or not _TOKEN.fullmatch(token):
        raise Refused(INVALID, "this is not a token")
    try:
        claims = AccessToken(token)
    except ExpiredTokenError:
        raise Expired from None
    except Exception:  # PyJWT lets more than its own errors out: RecursionError for a header nested too deep
        raise Refused(INVALID, "the token is not valid") from None
    return await user_of(claims), claims


async def user_of(claims):
    """The user of these claims, as the database has them now. Raises Refused if there is none who may connect."""
    if claims["exp"] <= time.time():
        raise Expired
    try:
        return await database_sync_to_async(JWTAuthentication().get_user)(claims)
    except AuthenticationFailed as error:
        raise Refused(INVALID, f"the token is not valid any more: {error.detail['detail']}") from None
    except (TypeError, ValueError):  # a user_id that is no number
        raise Refused(INVALID, "the token is not valid") from None


async def still_valid(scope):
    """Raise Refused if the token or the session of an open connection does not hold any more."""
    if claims := scope.get("token"):
        await user_of(claims)
        return
    kept = scope["session"]
    session = type(kept._wrapped)(kept.session_key)  # read again: this connection's own copy is as old as itself
    if not (await get_user({"session": session})).is_authenticated:
        raise Refused(NONE, "you are signed out")
