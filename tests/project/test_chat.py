"""The chat of the reference project, on a live server: who gets what, and what is left when somebody goes."""

import asyncio
import contextlib
import json
import threading

import pytest
from django.core.cache import cache

from labserver.project.chat import presence
from labserver.project.consumers import StrictJsonConsumer

from ..conftest import in_database

CHAT = "/infra/ws/"


@pytest.fixture(autouse=True)
def late(server):
    """Consumers can be imported only when Django is set up, which the first server does."""
    global consumers, ChatConsumer
    from labserver.project.chat import consumers
    from labserver.project.chat.consumers import ChatConsumer

    cache.clear()  # one of these tests leaves an entry behind, which would end by itself


def message(text, to=None):
    """What a page sends."""
    return json.dumps({"type": "demo-message-send", "content": json.dumps({"text": text, "toUserId": to})})


async def heard(ws):
    """The inner JSON of the next message to this client, or the words of an error or of the system."""
    answer = json.loads(await ws.recv())
    if answer["type"] == "demo-message-receive":
        return json.loads(answer["content"])
    return answer["type"], answer["content"]


async def until(condition):
    """Wait until something is so, a few seconds at the most."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_ping_gets_pong(enter):
    """The heartbeat is answered before anything is parsed."""
    async with enter(CHAT, "alice") as alice:
        await alice.send("ping")
        assert await alice.recv() == "pong"


@pytest.mark.parametrize("everyone", [None, "", 0])
async def test_without_a_recipient_everybody_gets_it(enter, ids, everyone):
    """A message to nobody in particular reaches all who are connected, its sender too."""
    async with enter(CHAT, "alice") as alice, enter(CHAT, "bob") as bob, enter(CHAT, "carol") as carol:
        await alice.send(message(" hello ", everyone))
        for member in (alice, bob, carol):
            assert await heard(member) == {"fromUserId": ids["alice"], "text": "hello", "single": False}


async def test_a_single_message_reaches_every_tab_of_its_recipient_and_nobody_else(enter, ids):
    """Both tabs of bob get it; alice and carol hear nothing of it. Closing one tab breaks nothing for the other."""
    async with enter(CHAT, "alice") as alice, enter(CHAT, "bob") as bob, enter(CHAT, "carol") as carol:
        async with enter(CHAT, "bob") as tab:
            await alice.send(message("psst", ids["bob"]))
            for each in (bob, tab):
                assert await heard(each) == {"fromUserId": ids["alice"], "text": "psst", "single": True}
        await alice.send(message("still there?", str(ids["bob"])))
        assert (await heard(bob))["text"] == "still there?"
        await bob.send(message("to all"))
        for member in (alice, carol):
            assert (await heard(member))["text"] == "to all"


async def test_who_is_not_connected_cannot_be_written_to_and_the_sender_knows(enter, ids):
    """An error goes to the sender: for a user who has left, for one who never came, for one who does not exist."""
    async with enter(CHAT, "alice") as alice:
        async with enter(CHAT, "bob"):
            pass
        for number in (ids["bob"], ids["carol"], 4711):
            await alice.send(message("hello", number))
            assert await heard(alice) == ("error", f"not delivered: user {number} is not connected")


async def test_who_leaves_leaves_nothing(server, enter, ids):
    """After a disconnect neither the entry in the cache nor the membership is left."""
    async with enter(CHAT, "alice"):
        assert len(presence.channels(ids["alice"])) == 1
        assert server.connections[0].groups == (consumers.EVERYONE,)
    assert presence.channels(ids["alice"]) == []
    assert server.layer.groups == {}


async def test_a_crash_leaves_nothing(server, enter, ids, monkeypatch):
    """Row 76: a consumer that dies has left its group and the cache, though its disconnect never runs."""

    async def crash(self, event):
        raise RuntimeError("planned")

    monkeypatch.setattr(ChatConsumer, "chat_message", crash)
    async with enter(CHAT, "alice") as alice:
        await alice.send(message("hello"))
        await alice.wait_closed()
        assert alice.close_code == 1011
        await until(lambda: not presence.channels(ids["alice"]) and not server.connections)
    left = [event for event in server.trace if event.type == "group_discard"]
    assert left and "by" not in left[0].message  # by the project itself, not by the lab that tidies up


async def test_who_is_not_signed_in_is_told_so_and_closed(server):
    """An anonymous client is accepted, told why, and closed with 4001."""
    async with server.connect(CHAT) as ws:
        assert await heard(ws) == ("error", "sign in first: the chat is for users")
        await ws.wait_closed()
        assert ws.close_code == 4001


async def test_a_user_has_so_many_tabs_and_no_more(enter, monkeypatch):
    """The tab that is one too many is told why and closed with 4000; the others go on."""
    monkeypatch.setattr(presence, "TABS", 2)
    async with enter(CHAT, "alice") as first, enter(CHAT, "alice") as second, enter(CHAT, "alice") as third:
        assert await heard(third) == ("error", "too many connections: 2 tabs of one user are enough")
        await third.wait_closed()
        assert third.close_code == 4000
        await second.send(message("both"))
        assert (await heard(first))["text"] == (await heard(second))["text"] == "both"


@pytest.mark.parametrize("reason", ["too many tabs", "Redis is away"])
async def test_a_page_that_offers_its_token_is_told_too(server, sessions, monkeypatch, reason, caplog):
    """Who is refused and offered ["bearer", token] is accepted with `bearer`: else a browser sees 1006 alone."""
    from django.contrib.auth.models import User
    from rest_framework_simplejwt.tokens import AccessToken

    token = in_database(lambda: str(AccessToken.for_user(User.objects.get(username="alice"))))
    monkeypatch.setattr(presence, "TABS", 0)
    if reason == "Redis is away":
        monkeypatch.delattr(presence, "enter")
    async with server.connect(CHAT, subprotocols=["bearer", token]) as ws:
        assert ws.subprotocol == "bearer"
        assert (await heard(ws))[0] == "error"
        await ws.wait_closed()
        assert ws.close_code == 4000


async def test_a_lease_is_renewed_as_long_as_its_connection_lives(enter, ids, monkeypatch):
    """An entry outlasts its time, because its connection renews it."""
    monkeypatch.setattr(presence, "LEASE", 0.2)
    monkeypatch.setattr(presence, "RENEW", 0.02)
    renewals, renew = [], presence.renew
    monkeypatch.setattr(presence, "renew", lambda *args: renewals.append(renew(*args)) or renewals[-1])
    async with enter(CHAT, "alice"):
        await until(lambda: len(renewals) > 20)
        assert len(presence.channels(ids["alice"])) == 1
    assert {kept for _, kept in renewals} == {True}
    assert presence.channels(ids["alice"]) == []


async def test_a_renewal_under_way_does_not_outlive_its_connection(server, enter, ids, monkeypatch):
    """Who leaves while the entry is being renewed, in a thread that nobody can stop, leaves no entry all the same."""
    began, go_on, done = threading.Event(), threading.Event(), threading.Event()
    renew = presence.renew

    def slow(*args):
        began.set()
        go_on.wait(5)
        found = renew(*args)
        done.set()
        return found

    monkeypatch.setattr(presence, "renew", slow)
    ws = await enter(CHAT, "alice")
    assert await asyncio.to_thread(began.wait, 5)
    await ws.close()
    with contextlib.suppress(TimeoutError):  # one that does not wait for the thread has left by then
        async with asyncio.timeout(0.3):
            while server.connections:
                await asyncio.sleep(0.01)
    go_on.set()
    assert await asyncio.to_thread(done.wait, 5)
    await until(lambda: not presence.channels(ids["alice"]))


async def test_a_lost_entry_is_put_back_and_the_user_is_told(enter, ids, monkeypatch):
    """Row 78: a cache that has forgotten everything is noticed; the user can be written to again, and is told."""
    monkeypatch.setattr(presence, "RENEW", 0.02)
    async with enter(CHAT, "alice") as alice, enter(CHAT, "bob") as bob:
        cache.clear()
        assert await heard(alice) == ("system", consumers.LOST)
        assert await heard(bob) == ("system", consumers.LOST)
        await bob.send(message("hello again", ids["alice"]))
        assert (await heard(alice))["text"] == "hello again"


async def test_a_cache_that_is_away_is_waited_for(enter, ids, monkeypatch, caplog):
    """While the cache fails, private messages get an error, one line is logged, and when it is back, all is well."""
    monkeypatch.setattr(presence, "RENEW", 0.01)
    attempts = []

    def away(*args):
        attempts.append(args)
        raise ConnectionError("nobody there")

    async with enter(CHAT, "alice") as alice, enter(CHAT, "bob") as bob:
        with monkeypatch.context() as patch:
            for name in ("life", "channels"):
                patch.setattr(presence, name, away)
            await alice.send(message("hello", ids["bob"]))
            kind, words = await heard(alice)
            assert kind == "error" and words.startswith("not delivered: the server cannot reach")
            await until(lambda: len(attempts) > 10)
        assert await heard(alice) == ("system", consumers.LOST)
        assert await heard(bob) == ("system", consumers.LOST)
        await alice.send(message("hello", ids["bob"]))
        assert (await heard(bob))["text"] == "hello"
    assert len([record for record in caplog.records if "is away" in record.message]) == 2  # once for each of them


async def test_a_cache_that_fails_while_connecting_is_told(enter, monkeypatch, caplog):
    """What fails before the first message ends in an error and 4000, which a page can show; no user sees details."""

    def away(*args):
        raise ConnectionError("secret address")

    monkeypatch.setattr(presence, "enter", away)
    async with enter(CHAT, "alice") as alice:
        assert await heard(alice) == ("error", "the server cannot connect you at the moment; try again later")
        await alice.wait_closed()
        assert alice.close_code == 4000
    assert "connecting failed" in caplog.text


async def test_a_cache_that_fails_while_leaving_costs_nothing_else(server, enter, monkeypatch, caplog):
    """Who leaves while the cache is away has left the group all the same; the entry ends by itself."""

    def away(*args):
        raise ConnectionError("nobody there")

    monkeypatch.setattr(presence, "leave", away)
    async with enter(CHAT, "alice"):
        pass
    assert server.layer.groups == {}
    assert "could not leave cleanly: nobody there" in caplog.text
    assert not [event for event in server.trace if event.direction == "error"]


async def test_a_group_that_fails_is_told_to_the_sender(enter, monkeypatch, caplog):
    """A layer that does not take a message to everybody costs the message, not the connection."""
    async with enter(CHAT, "alice") as alice:

        async def away(self, event):
            raise ConnectionError("nobody there")

        with monkeypatch.context() as patch:
            patch.setattr(ChatConsumer, "everyone", away)
            await alice.send(message("hello"))
            assert (await heard(alice))[0] == "error"
        await alice.send(message("hello"))
        assert (await heard(alice))["text"] == "hello"
    assert "did not take a message" in caplog.text


async def test_who_is_being_closed_gets_nothing_more_and_breaks_nothing(server, enter, monkeypatch):
    """Messages of the group that reach a consumer after it has closed are dropped; so is what its client still says."""
    monkeypatch.setattr(StrictJsonConsumer, "RATE", 2)
    monkeypatch.setattr(StrictJsonConsumer, "BURST", 5)
    monkeypatch.setattr(StrictJsonConsumer, "PATIENCE", 3)
    async with enter(CHAT, "bob") as bob, enter(CHAT, "alice") as alice:
        for number in range(100):
            await alice.send(message(str(number)))
        await alice.wait_closed()
        assert alice.close_code == 4008
        await bob.send("ping")
        heard_by_bob = 0
        while await bob.recv() != "pong":
            heard_by_bob += 1
        assert 5 <= heard_by_bob <= 8
    assert not [event for event in server.trace if event.direction == "error"]


async def test_a_client_that_has_gone_unnoticed_breaks_nothing(server, enter, ids, monkeypatch, caplog):
    """A message for a client whose end is not known yet is dropped; its consumer goes on until it hears of the end."""

    async def gone(self, *args, **options):
        raise ConnectionError("nobody there")

    caplog.set_level("INFO")
    async with enter(CHAT, "alice") as alice:
        with monkeypatch.context() as patch:
            patch.setattr("channels.generic.websocket.AsyncWebsocketConsumer.send", gone)
            for _ in range(2):
                await alice.send("ping")
            await until(lambda: "came too late: nobody there" in caplog.text)
    assert caplog.text.count("came too late") == 1
    await until(lambda: not presence.channels(ids["alice"]) and not server.connections)
    assert server.layer.groups == {}
    assert not [event for event in server.trace if event.direction == "error"]


async def test_a_burst_reaches_everybody(enter, monkeypatch):
    """Row 75: what one sends at once, all healthy members get, in order."""
    monkeypatch.setattr(StrictJsonConsumer, "BURST", 1000)
    async with enter(CHAT, "alice") as alice, enter(CHAT, "bob") as bob:
        for number in range(500):
            await alice.send(message(str(number)))
        for member in (alice, bob):
            assert [(await heard(member))["text"] for _ in range(500)] == [str(number) for number in range(500)]


async def test_the_users_to_write_to(server, sessions):
    """A signed-in user gets number and name of all active users, by name; others get 401."""
    answer = await server.get("/api/users/", headers={"Cookie": f"sessionid={sessions['alice'][1]}"})
    users = {user["username"]: user["id"] for user in answer.json()}
    assert users.items() >= {name: number for name, (number, _) in sessions.items()}.items()
    assert list(users) == sorted(users)
    stranger = await server.get("/api/users/")
    assert stranger.status_code == 401 and "credentials" in stranger.json()["detail"]


async def test_a_second_close_does_nothing(server):
    """Two reasons to close may come together; the first one counts, and no server has to refuse the second."""
    sent = []

    async def base_send(event):
        sent.append(event)

    consumer = StrictJsonConsumer()
    consumer.base_send = base_send
    await consumer.close(4008)
    await consumer.close(4003)
    await consumer.send("too late")
    assert sent == [{"type": "websocket.close", "code": 4008}]
