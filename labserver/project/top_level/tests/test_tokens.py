"""Who a socket is: tokens, and the codes of those who are refused."""

import pytest
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from .conftest import Client

CHAT = "/infra/ws/"


async def refused(client):
    """The first message to a client, and the code that it is closed with."""
    connected, _ = await client.connect(timeout=5)
    assert connected  # a refused handshake would hide the code from browsers
    return (await client.heard())[0], await client.closed()


@pytest.mark.parametrize("way", ["query", "header", "subprotocol"])
async def test_a_token_may_come_in_three_ways(users, way):
    """In the query string, as a header, or as a subprotocol, which is the way for browsers."""
    token = users["alice"].token
    if way == "query":
        client = Client(f"{CHAT}?token={token}")
    elif way == "header":
        client = Client(CHAT, headers=[(b"authorization", f"Bearer {token}".encode())])
    else:
        client = Client(CHAT)
        client.scope["subprotocols"] = ["bearer", token]
    assert await client.connect(timeout=5) == (True, "bearer" if way == "subprotocol" else None)
    await client.say("it is me")
    assert await client.heard() == ("it is me", users["alice"].id, False)
    await client.disconnect()


async def test_without_a_token_4001(transactional_db):
    """Neither token nor session."""
    assert await refused(Client(CHAT)) == ("error", 4001)


async def test_who_is_not_let_in_now_is_told_in_a_browser_too(users, monkeypatch):
    """4000, for one tab too many; with the subprotocol that was offered, since without it a browser would see 1006."""
    monkeypatch.setattr("mysite.chat.presence.TABS", 0)
    client = Client(CHAT)
    client.scope["subprotocols"] = ["bearer", users["alice"].token]
    assert await client.connect(timeout=5) == (True, "bearer")
    assert (await client.heard())[0] == "error"
    assert await client.closed() == 4000


@pytest.mark.parametrize("kind", ["nonsense", "refresh", "expired"])
async def test_with_a_wrong_token_4003(users, kind):
    """What is no token, a refresh token, and one whose time is over."""
    from datetime import timedelta

    if kind == "nonsense":
        token = "nonsense"
    elif kind == "refresh":
        token = RefreshToken()
        token["user_id"] = str(users["alice"].id)
    else:
        token = AccessToken()
        token["user_id"] = str(users["alice"].id)
        token.set_exp(lifetime=-timedelta(seconds=1))
    said = "jwt-expired" if kind == "expired" else "error"
    assert await refused(Client(f"{CHAT}?token={token}")) == (said, 4003)
