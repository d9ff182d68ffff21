"""What lesson 05 shows holds on the live server, with Redis as it is found, and its layers with the substitute too."""

import json

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from labserver.live import redis as redis_module

ROOMS = ("naive", "naive-talk", "room")
"""The cells up to the room that is in order."""

REDIS = (*ROOMS, "view", "view-talk", "full", "process", "redis", "layers")
"""The cells up to the two layers of channels_redis."""


@pytest.fixture
async def groups(lesson):
    """`space = await groups("naive", …)` runs these cells of lesson 05, after the first ones, which all need."""
    space = await lesson("05_groups", "setup", "mailbox", "board")

    async def run(*ids):
        return await lesson("05_groups", *ids)

    yield run
    from channels.layers import channel_layers
    from django.conf import settings
    from django.urls import clear_url_caches

    space.server.stop()
    settings.ROOT_URLCONF = "labserver.project.urls"  # the lesson's notebook was urls.py
    clear_url_caches()
    if hasattr(space, "redis_server"):
        space.redis_server.stop()
    for alias in ("core", "pubsub"):
        channel_layers.backends.pop(alias, None)
        settings.CHANNEL_LAYERS.pop(alias, None)


@pytest.fixture(params=["as found", "substitute"])
def any_redis(request, monkeypatch):
    """The lesson's Redis is the one that this machine has, and then the one that every machine has."""
    if request.param == "substitute":
        monkeypatch.setattr(redis_module.shutil, "which", lambda name: None)


def message(content, type="message"):
    """What a client sends."""
    return json.dumps({"type": type, "content": content})


async def response(ws):
    """The content of the next response that a client gets."""
    answer = json.loads(await ws.recv())
    assert answer.keys() == {"type", "content"} and answer["type"] == "response"
    return answer["content"]


async def refused(server, path, **options):
    """The HTTP status that refuses a handshake."""
    with pytest.raises(InvalidStatus) as refusal:
        await server.connect(path, **options)
    return refusal.value.response.status_code


# --- channel, group, layer --------------------------------------------------------------------------------------------


async def test_a_message_waits_in_its_channel_until_it_is_read(groups):
    """`send` and `group_send` both put a message into the channel, and the picture counts what waits."""
    space = await groups()
    await groups("mailbox")

    assert space.picture.groups == {"letters": ("cell",)}
    assert space.picture.waiting == {"cell": 2}
    assert space.server.layer.channels == ()


async def test_a_push_reaches_each_member_once(groups):
    """One `group_send` from a cell is one `receive` and one message for each of two clients."""
    space = await groups()

    assert space.picture.groups == {"board": ("ws-1", "ws-2")}
    layer = [event.type for event in space.trace if event.direction == "layer"]
    assert layer == ["group_add", "group_add", "group_send", "receive", "receive", "group_discard", "group_discard"]


# --- C2: the room -----------------------------------------------------------------------------------------------------


async def test_every_member_of_the_room_gets_the_response(groups):
    """C2: a `message` from one client becomes a `response` for every member, the sender too, and for nobody else."""
    space = await groups(*ROOMS)
    server = space.server
    server.application = space.sockets(space.Room)
    async with (
        server.connect("/ws/tea/", **space.as_alice) as alice,
        server.connect("/ws/tea/", **space.as_bob) as bob,
        server.connect("/ws/milk/", **space.as_bob) as elsewhere,
    ):
        assert {name: len(members) for name, members in server.layer.groups.items()} == {"room.milk": 1, "room.tea": 2}
        await alice.send(message({"any": ["JSON", 1, None]}))
        assert await response(alice) == await response(bob) == {"any": ["JSON", 1, None]}
        await elsewhere.send(message("only here"))
        assert await response(elsewhere) == "only here"


async def test_a_stranger_is_refused_and_joins_nothing(groups):
    """C2: without a session the handshake gets 403, and the consumer neither joins the group nor accepts."""
    space = await groups(*ROOMS)
    space.server.application = space.sockets(space.Room)
    with space.server.record() as trace:
        assert await refused(space.server, "/ws/tea/") == 403
        forged = {"additional_headers": {"Cookie": "sessionid=forged"}}
        assert await refused(space.server, "/ws/tea/", **forged) == 403
        trace.wait_for("websocket.disconnect", count=2)

    assert {"group_add", "websocket.accept"}.isdisjoint(event.type for event in trace)


async def test_a_member_leaves_its_group_when_its_client_leaves(groups):
    """C2: on disconnect the channel is out of the group, and a later message goes to those who stayed."""
    space = await groups(*ROOMS)
    server = space.server
    server.application = space.sockets(space.Room)
    async with server.connect("/ws/tea/", **space.as_alice) as alice:
        async with server.connect("/ws/tea/", **space.as_bob):
            assert len(server.layer.groups["room.tea"]) == 2
        assert len(server.layer.groups["room.tea"]) == 1
        await alice.send(message("alone"))
        assert await response(alice) == "alone"
    assert server.layer.groups == {}


async def test_after_close_the_method_goes_on(groups):
    """Known fault: without a `return` the refused stranger joins the group, and accept breaks the protocol."""
    space = await groups(*ROOMS)

    stranger = [event.type for event in space.trace if event.connection == "ws-3"]
    assert stranger == [
        "websocket.connect",
        "websocket.close",
        "group_add",
        "websocket.accept",
        "websocket.disconnect",
        "group_discard",
    ]


async def test_what_the_layer_refuses_and_what_it_lets_through(groups, capsys):
    """Known fault: a name straight from the URL may be a TypeError; a last line break and other digits are not."""
    await groups(*ROOMS)
    capsys.readouterr()
    await groups("names")

    said = [line.split()[-1] for line in capsys.readouterr().out.splitlines()[:7]]
    assert said == ["accepted", "TypeError", "TypeError", "accepted", "TypeError", "accepted", "accepted"]


async def test_bad_names_are_refused_before_the_group(groups):
    """Rows 57 and 58: space, slash, 100 characters, a line break, foreign digits: 403, and no group_add."""
    space = await groups(*ROOMS, "knock")
    with space.server.record() as trace:
        for name in ("tea time", "tea\n", "tea٣", "x" * 51, "x" * 100, "café", "a/b", "tea\x00", "tea."):
            assert await space.knock(space.Room, name, space.as_alice) == "HTTP 403", name

    assert "group_add" not in [event.type for event in trace]
    assert await space.knock(space.Room, "x" * 50, space.as_alice) == f"joins {'room.' + 'x' * 50!r}"


async def test_a_bad_name_crashes_the_naive_room(groups):
    """Known fault: the layer's TypeError comes before accept, so the client gets HTTP 500."""
    space = await groups(*ROOMS, "knock")

    assert await space.knock(space.NaiveRoom, "tea time", space.as_alice) == "HTTP 500"
    assert await space.knock(space.NaiveRoom, "tea\n", space.as_alice) == r"joins 'tea\n'"


# --- the client chooses the type --------------------------------------------------------------------------------------


async def test_an_unknown_type_closes_every_member(groups, capsys):
    """Known fault: a client's type, forwarded to the group, ends everybody's connection with 1011."""
    space = await groups(*ROOMS, "types", "wild")

    said = capsys.readouterr().out
    assert "alice is closed with 1011" in said and "bob is closed with 1011" in said
    assert (space.alice.close_code, space.bob.close_code) == (1011, 1011)


async def test_a_server_only_type_leaves_dead_consumers_behind_open_sockets(groups, capsys):
    """Known fault: `websocket.disconnect` from a client ends all consumers, in the room that compares types none.

    A list in its place closes the one connection that it came from.
    """
    await groups(*ROOMS, "wild")
    capsys.readouterr()
    await groups("zombie")

    assert capsys.readouterr().out.splitlines() == [
        "Relay: sockets OPEN and OPEN, consumers at work: 0",
        "Room: sockets OPEN and OPEN, consumers at work: 2",
        'both hear {"type": "response", "content": "still here"} {"type": "response", "content": "still here"}',
        "after [1]: bob is closed with 1011, alice is OPEN",
    ]


# --- from anywhere ----------------------------------------------------------------------------------------------------


async def test_a_view_and_a_thread_push_to_the_group(groups, capsys):
    """A sync Django view, and a sync function in a thread, reach the clients of the group."""
    await groups(*ROOMS, "view", "view-talk")

    assert capsys.readouterr().out.endswith(
        'the page: it boils\nalice: {"text": "somebody looked at the kettle"}\nalice: {"text": "from another thread"}\n'
    )


async def test_async_to_sync_refuses_where_a_loop_runs(groups):
    """In a cell, as in any coroutine, the sync function raises, and nothing is sent."""
    space = await groups(*ROOMS, "view", "view-talk")
    with space.server.record() as trace, pytest.raises(RuntimeError, match="same thread as an async event loop"):
        await groups("sync")

    assert list(trace) == []


async def test_the_sender_is_left_out(groups):
    """A message goes to the others, a second tab of the sender among them; another type goes to nobody."""
    space = await groups(*ROOMS, "sender")
    server = space.server
    async with (
        server.connect("/ws/tea/", **space.as_alice) as alice,
        server.connect("/ws/tea/", **space.as_alice) as tab,
        server.connect("/ws/tea/", **space.as_bob) as bob,
    ):
        await alice.send(json.dumps({"type": "anything"}))
        await alice.send(message("from alice"))
        assert await response(bob) == await response(tab) == "from alice"
        await bob.send(message("from bob"))
        assert await response(alice) == await response(tab) == "from bob"


# --- presence ---------------------------------------------------------------------------------------------------------


async def test_presence_tells_who_comes_and_who_leaves(groups):
    """Members hear the list at each join and each leave; a user with two tabs is there once, until both are closed."""
    space = await groups(*ROOMS, "presence", "ghost", "careful")
    server = space.server
    for consumer in (space.Presence, space.CarefulPresence):
        space.present.clear()
        server.application = space.AuthMiddlewareStack(consumer.as_asgi())
        async with server.connect("/", **space.as_alice) as alice:
            heard = [json.loads(await alice.recv())["present"]]
            async with server.connect("/", **space.as_bob):
                heard.append(json.loads(await alice.recv())["present"])
                async with server.connect("/", **space.as_bob):
                    heard.append(json.loads(await alice.recv())["present"])
                heard.append(json.loads(await alice.recv())["present"])
            heard.append(json.loads(await alice.recv())["present"])
        both = ["alice", "bob"]
        assert heard == [["alice"], both, both, both, ["alice"]], consumer
        assert space.present == {}


async def test_a_stranger_leaves_like_everybody(groups):
    """Who has not signed in has an empty name, and is out of the list and the group when the client has left."""
    space = await groups(*ROOMS, "presence")
    space.server.application = space.AuthMiddlewareStack(space.Presence.as_asgi())
    async with space.server.connect("/") as ws:
        assert json.loads(await ws.recv()) == {"present": [""]}
        assert list(space.server.layer.groups) == ["presence"]

    assert space.server.layer.groups == {} and space.present == {}


async def test_a_crash_leaves_a_ghost(groups):
    """The naive list keeps a user whose consumer crashed, because `disconnect` does not run."""
    space = await groups(*ROOMS, "presence", "ghost")

    assert sorted(space.present.values()) == ["bob"]


async def test_finally_takes_the_ghost_out(groups):
    """With `finally` in `__call__` nobody stays: after a crash, and after the server was stopped."""
    space = await groups(*ROOMS, "presence", "ghost", "careful")
    assert space.present == {}

    await space.server.connect("/", **space.as_alice)
    assert list(space.present.values()) == ["alice"]
    space.server.stop()
    assert space.present == {}


# --- C3: the page -----------------------------------------------------------------------------------------------------


async def test_two_clients_of_the_open_room_hear_each_other(groups):
    """C3, the page's twin: what one client sends on opening reaches the other, without a session."""
    space = await groups(*ROOMS, "view", "view-talk", "page", "twin")
    server = space.server

    assert (await server.get("/page/?name=alice")).status_code == 200
    async with server.connect("/ws/kitchen/") as alice, server.connect("/ws/kitchen/") as bob:
        await alice.send(message("alice: hello"))
        assert await response(alice) == await response(bob) == "alice: hello"
        await bob.send(message("bob: hello"))
        assert await response(alice) == await response(bob) == "bob: hello"
    assert await refused(server, "/ws/kitchen/", origin="https://evil.example") == 403


@pytest.mark.needs("chromium")
async def test_two_pages_see_each_others_messages(groups, browser):
    """C3: a page sends JSON when it opens and shows what comes back; two pages hear each other, and HTML stays text."""
    space = await groups(*ROOMS, "view", "view-talk", "page", "twin")
    pages = []
    for name in ("alice", "bob"):
        pages.append(await browser.new_page())
        await pages[-1].goto(f"{space.server.url}/page/?name={name}")
        await pages[-1].locator("li", has_text=f"{name}: hello").wait_for()
    alice, bob = pages
    await alice.locator("li", has_text="bob: hello").wait_for()
    await bob.locator("input").fill("<b>good</b> morning")
    await bob.locator("button").click()
    await alice.locator("li", has_text="morning").wait_for()
    assert await alice.locator("li").all_text_contents() == ["alice: hello", "bob: hello", "bob: <b>good</b> morning"]


# --- what is lost -----------------------------------------------------------------------------------------------------


async def test_channels_own_layer_keeps_the_first_hundred(groups, capsys):
    """Of 300 messages to a channel that nobody reads, 1 to 100 are kept; `group_send` is silent, `send` raises."""
    space = await groups(*ROOMS, "full")

    assert space.kept == list(range(1, 101))
    assert capsys.readouterr().out.endswith("send: ChannelFull at number 101\n")


async def test_an_expired_message_ends_the_membership(groups, capsys):
    """When a message expires in its channel, or a day is over, the channel is out of its groups, and hears no more."""
    space = await groups(*ROOMS, "view", "view-talk", "full")
    capsys.readouterr()
    await groups("expiry")

    assert capsys.readouterr().out.splitlines() == ["waiting: {} · groups: {'board': {}}"] * 2
    assert (space.stock.channels, space.stock.groups) == ({}, {"board": {}})


async def test_a_burst_to_a_slow_member_is_counted(groups, capsys):
    """Rows 74 and 75: of 120 messages the slow member gets 101, 19 are counted as dropped; the healthy one gets all."""
    await groups(*ROOMS, "view", "view-talk")
    capsys.readouterr()
    space = await groups("burst")

    assert space.picture.dropped == {"ws-2": 19}
    assert space.picture.waiting == {"ws-2": 100}
    said = capsys.readouterr().out
    assert "alice gets 120 messages" in said and "bob gets 101 messages" in said


# --- other processes --------------------------------------------------------------------------------------------------


async def test_the_in_memory_layer_ends_at_the_process(groups, capsys):
    """Another process sends without an error, and the next thing that the client hears is the cell's message."""
    await groups(*ROOMS, "view", "view-talk", "process")

    assert capsys.readouterr().out.endswith('the other process: sent\nalice hears {"text": "from the cell"}\n')


async def test_through_redis_another_process_arrives(groups, capsys):
    """The same process, with Redis between, reaches the client; what goes through the other kind of layer does not."""
    space = await groups(*REDIS)

    assert capsys.readouterr().out.endswith('the other process: sent\nalice hears {"text": "from another process"}\n')
    with space.server.record() as trace:
        await groups("layers")
    sent = [event.message["message"]["text"] for event in trace if event.type == "group_send"]
    assert sent == ["through core"]


async def test_a_worker_gets_the_job_that_was_sent_before_it_started(groups):
    """`runworker` in a process of its own takes the waiting job, answers through the group, and ends with its cell."""
    space = await groups(*REDIS, "worker", "worker-talk")

    assert [event.message["message"]["text"] for event in space.trace if event.type == "receive"] == ["TEA IS READY"]
    assert space.worker.poll() is not None


async def test_two_kinds_of_redis_layer(groups, any_redis, capsys):
    """What core and pub/sub keep, how much, and whether they check names."""
    await groups(*REDIS)
    capsys.readouterr()
    await groups("compare")

    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["in-memory", "kept", "keeps", "100", "name", "refused"],
        ["core", "kept", "keeps", "100", "name", "refused"],
        ["pub/sub", "lost", "keeps", "more", "name", "accepted"],
    ]


async def test_what_core_loses_and_where(groups, capsys):
    """The newest in Redis, the oldest in the process; an expired message ends no membership, `group_expiry` does."""
    await groups(*REDIS)
    for _ in range(2):
        capsys.readouterr()
        await groups("core-full", "core-expiry", "core-expiry")

        assert capsys.readouterr().out.splitlines() == [
            "another one reads: False · kept: 1 to 100, then the next one",
            "another one reads: True  · kept: 51 to 150, then the next one",
            *["arrives: second", "arrives: for this channel"] * 2,
        ]


async def test_who_survives_the_loss_of_redis(groups, any_redis, capsys):
    """After a restart the core layer's members are closed, after FLUSHALL they are deaf; pub/sub's hear again."""
    await groups(*REDIS)
    capsys.readouterr()
    await groups("restart", "restart-table")

    assert capsys.readouterr().out.splitlines() == [
        'PubSubBoard after a restart: {"text": "hello again"}',
        'PubSubBoard after a flushall: {"text": "hello again"}',
        "CoreBoard after a restart: closed with 1011",
        "CoreBoard after a flushall: nothing",
    ]


async def test_an_open_socket_does_not_keep_the_lesson_from_ending(groups):
    """The last cell closes clients of a Redis layer with 1001, and ends Redis."""
    space = await groups(*REDIS)
    ws = await space.server.connect("/")
    await groups("stop")
    with pytest.raises(ConnectionClosed):
        await ws.recv()
    assert ws.close_code == 1001
    assert repr(space.redis_server).endswith(", stopped>")
