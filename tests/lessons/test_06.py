"""What lesson 06 shows holds on the live server: who gets what, each fault of the copied chat, and each mend."""

import asyncio
import json
import time
from unittest.mock import patch

import pytest

CLIENTS = ("setup", "nested", "members", "group-chat", "clients")
"""The cells up to three clients who are signed in."""

TABS = ("heartbeat", "heard", "single", "ways", "presence", "tabs-chat")
"""The cells up to the chat that knows several tabs."""

ALL = (*TABS, "clock", "lease", "bad", "json-loads", "strict", "read", "strict-chat", "flood")
"""The cells up to the finished chat."""


@pytest.fixture
async def room(lesson):
    """`space = await room("single", …)` runs these cells of lesson 06, after the first ones, which all need."""
    space = await lesson("06_chat_room", *CLIENTS)
    space.asyncio, space.patch = asyncio, patch  # the cell `order` imports them, and takes its time

    async def run(*ids):
        return await lesson("06_chat_room", *ids)

    yield run
    from django.core.cache import cache

    cache.clear()


async def at_rest(space, sending):
    """Await what a client does, and then until the server has done all that comes of it."""
    async with space.server.record():
        await sending


async def all_heard(space, *clients):
    """What each of these clients has heard, as the lesson's own tool tells it."""
    return [await space.heard(client) for client in clients]


def outcomes(output):
    """The lines of a table that a cell has printed: the name in the first 17 columns, and the rest."""
    return {line[:17].strip(): line[17:] for line in output.splitlines()}


# --- D3: JSON in JSON -------------------------------------------------------------------------------------------------


async def test_json_in_json_reaches_everyone(room):
    """D3: the text arrives stripped, in an inner JSON with its sender's number, for all; a blank one does not."""
    space = await room()
    space.serve_chat(space.GroupChat)
    async with space.join("alice") as alice, space.join("bob") as bob:
        await alice.send(space.message(" \n "))
        await alice.send(space.message("  hello "))
        for ws in (alice, bob):
            outer = json.loads(await ws.recv())
            assert outer.keys() == {"type", "content"} and outer["type"] == "demo-message-receive"
            inner = {"fromUserId": space.ids["alice"], "text": "hello", "single": False}
            assert json.loads(outer["content"]) == inner


@pytest.mark.parametrize("everyone", [None, "", 0])
async def test_no_recipient_is_everyone(room, everyone):
    """D3: `toUserId` null, "" and 0 reach all; so they do in the tutorial's chat and in the finished one."""
    space = await room(*ALL)
    for chat in (space.CacheChat, space.CalmChat):
        space.serve_chat(chat)
        async with space.join("alice") as alice, space.join("bob") as bob:
            await space.say(alice, "hello", everyone)
            assert await all_heard(space, alice, bob) == ["hello (to all)"] * 2


async def test_a_single_message_is_for_one_user(room):
    """D3: bob hears it, as a number and as digits in a text; carol does not, nor does alice, unless it is for her."""
    space = await room(*ALL)
    for chat in (space.TabsChat, space.CalmChat):
        space.serve_chat(chat)
        async with space.join("alice") as alice, space.join("bob") as bob, space.join("carol") as carol:
            await space.say(alice, "psst", space.ids["bob"])
            await space.say(alice, "again", str(space.ids["bob"]))
            assert await all_heard(space, alice, bob, carol) == ["nothing", "psst (single) · again (single)", "nothing"]
            await space.say(alice, "note", space.ids["alice"])
            assert await all_heard(space, alice, bob) == ["note (single)", "nothing"]


async def test_the_trace_shows_one_send_for_a_single_message(room):
    """D3: the lesson's trace holds one `send` to bob's channel, and no `group_send`."""
    space = await room("heartbeat", "heard", "single", "single-talk")

    assert [event.type for event in space.trace if event.direction == "layer"] == ["send", "receive"]
    assert [event.connection for event in space.trace if event.type == "websocket.send"] == ["ws-2"]


# --- D2: the heartbeat ------------------------------------------------------------------------------------------------


async def test_a_ping_that_is_parsed_is_the_end(room, capsys):
    """D2, naive: a ping frame never reaches the consumer, and the text `ping` ends the connection with 1011."""
    space = await room()
    space.serve_chat(space.GroupChat)
    await room("ping")

    assert space.alice.close_code == 1011
    assert [event.message.get("text") for event in space.trace if event.direction == "receive"] == ["ping"]
    assert "JSONDecodeError" in capsys.readouterr().err


async def test_ping_gets_pong(room):
    """D2: the heartbeat is answered before anything is parsed, by the first chat that has it and by the last one."""
    space = await room(*ALL)
    for chat in (space.HeartbeatChat, space.CalmChat):
        space.serve_chat(chat)
        async with space.join("alice") as alice:
            await alice.pong(b"unasked")  # row 45: ignored
            await alice.send("ping")
            assert await alice.recv() == "pong"


# --- fault 3: a sync call of the cache --------------------------------------------------------------------------------


async def test_a_slow_cache_stops_everybody_unless_it_is_asked_in_a_free_thread(room, capsys):
    """Fault 3: with `cache.set` and with `aset` bob waits for alice's cache; in a thread of its own he does not."""
    await room("heartbeat", "heard", "single", "ways")
    capsys.readouterr()
    await room("order")

    assert capsys.readouterr().out.splitlines() == [
        "CacheChat   the cache answers alice → bob hears pong",
        "AsetChat    the cache answers alice → bob hears pong",
        "ThreadChat  bob hears pong → the cache answers alice",
    ]


# --- fault 5: several tabs --------------------------------------------------------------------------------------------


async def test_a_second_tab_takes_the_entry_and_the_first_one_deletes_it(room, capsys):
    """Fault 5: of two tabs only the new one hears alice; when the old one has closed, none does."""
    await room("heartbeat", "heard", "single")
    capsys.readouterr()
    await room("tabs-fault")

    found = "old: nothing\nnew: both are open (single)\nnew: nothing\nalice: nothing\n"
    assert capsys.readouterr().out == found


@pytest.mark.parametrize("name", ["UserGroups", "TabsChat", "CalmChat"])
async def test_every_tab_hears_and_closing_one_breaks_nothing(room, capsys, name):
    """Fault 5, mended: by a group for each user, and by an entry for each tab."""
    space = await room(*ALL, "tabs-fault", "user-groups")
    capsys.readouterr()
    await space.two_tabs(getattr(space, name))

    found = "old: both are open (single)\nnew: both are open (single)\nnew: one is closed (single)\nalice: nothing\n"
    assert capsys.readouterr().out == found


async def test_add_takes_a_free_place_once(room, capsys):
    """Fault 5: a list that two tabs read at once loses one of them; `add` gives a place to the first alone."""
    space = await room("heartbeat", "heard", "single")
    capsys.readouterr()
    await room("places")
    assert capsys.readouterr().out == "['tab two']\n[True, False, True]\n"

    await room("presence")
    taken = [space.take_place(7, f"tab {number}") for number in range(space.PLACES + 1)]
    assert taken == [*space.places(7), None]
    space.give_back(taken[0], "tab 1")  # not its own
    assert len(space.channels_of(7)) == space.PLACES


# --- fault 6: who gets told what --------------------------------------------------------------------------------------


async def test_an_unknown_recipient_is_told_to_the_sender(room):
    """Fault 6: the tutorial's chat and groups say nothing; then the sender, and nobody else, gets an error."""
    space = await room(*ALL, "tabs-fault", "user-groups")
    for chat in (space.CacheChat, space.UserGroups):
        space.serve_chat(chat)
        async with space.join("alice") as alice:
            await space.say(alice, "hello?", space.ids["carol"])
            assert await space.heard(alice) == "nothing", chat
    for chat in (space.TabsChat, space.CalmChat):
        space.serve_chat(chat)
        async with space.join("alice") as alice, space.join("bob") as bob:
            for nobody in (space.ids["carol"], 4711):
                await space.say(alice, "hello?", nobody)
                answers = await all_heard(space, alice, bob)
                assert answers == ["error: not delivered: this user is not connected", "nothing"], chat


@pytest.mark.parametrize("name", ["TabsChat", "CalmChat"])
async def test_a_full_channel_is_told_to_the_sender(room, name):
    """Fault 6: who writes to a tab that does not read stays connected, and is told; the other tab gets the message."""
    space = await room(*ALL)
    space.CalmChat.BURST = space.CalmChat.credit = 1000
    space.serve_chat(getattr(space, name))
    async with space.join("alice") as alice, space.join("bob") as bob:
        await all_heard(space, alice, bob)
        space.cache.set(space.places(space.ids["bob"])[5], "nobody-reads-this")
        for number in range(101):  # a channel holds 100
            await space.say(alice, f"{number}", space.ids["bob"])
        told, got = await all_heard(space, alice, bob)
        assert told == "error: not delivered to one tab of this user: it is too slow"
        assert got == " · ".join(f"{number} (single)" for number in range(101))


# --- D4: leaving ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["TabsChat", "CalmChat"])
async def test_who_leaves_leaves_nothing(room, name):
    """D4: on disconnect the entry and the membership go."""
    space = await room(*ALL)
    space.serve_chat(getattr(space, name))
    async with space.join("bob") as bob:
        await space.heard(bob)
        assert len(space.channels_of(space.ids["bob"])) == 1
        assert list(space.server.layer.groups) == ["chat"]
    assert space.channels_of(space.ids["bob"]) == []
    assert dict(space.server.layer.groups) == {}


async def test_a_crash_leaves_a_ghost_until_leave_stands_in_finally(room, capsys):
    """D4: after a crash the tutorial's entry stays; the mended chat has left the cache and, by itself, the group."""
    space = await room(*TABS, "tabs-fault", "tabs-talk")
    out = capsys.readouterr().out
    assert "after a crash, CacheChat: alice hears nothing\n" in out
    assert "after a crash, TabsChat: alice hears error: not delivered: this user is not connected\n" in out
    assert out.endswith("left behind: [] {}\n")

    for chat, ghost in ((space.CacheChat, True), (space.TabsChat, False)):
        space.cache.clear()
        space.server.trace.clear()
        space.serve_chat(chat)
        async with space.join("bob") as bob:
            await at_rest(space, bob.send("not JSON"))
            await bob.wait_closed()
        entries = [space.cache.get(key) for key in (space.ids["bob"], *space.places(space.ids["bob"]))]
        assert any(entries) is ghost
        left = [event.message for event in space.server.trace if event.type == "group_discard"]
        assert ("by" in left[0]) is ghost  # tidied up by the lab, or by the consumer


# --- fault 4: five minutes --------------------------------------------------------------------------------------------


async def test_after_five_minutes_nobody_is_there(room, capsys):
    """Fault 4: at 299 seconds bob hears alice, at 300 he does not, in the tutorial's chat and with entries for tabs."""
    await room(*TABS)
    capsys.readouterr()
    await room("clock")

    assert capsys.readouterr().out.splitlines() == [
        "CacheChat, 299 s: bob psst (single), alice nothing",
        "CacheChat, 300 s: bob nothing, alice nothing",
        "TabsChat, 299 s: bob psst (single), alice nothing",
        "TabsChat, 300 s: bob nothing, alice error: not delivered: this user is not connected",
    ]


async def test_only_the_cache_sees_the_moved_clock(room):
    """The lesson's clock is that of two modules of the cache, and it is put back."""
    from django.core.cache.backends import base, locmem

    space = await room(*TABS, "clock")
    with space.cache_clock() as clock:
        clock.ahead = 1000
        assert locmem.time.time() - time.time() > 900 and base.time.time() - time.time() > 900
        assert space.time.time() - time.time() < 900
    assert locmem.time is time and base.time is time


async def test_a_lease_lasts_as_long_as_its_connection(room, capsys):
    """Fault 4, mended: bob is there after 312 seconds; of two ghosts the one with a lease is gone after 15."""
    await room(*TABS, "clock", "lease")
    capsys.readouterr()
    await room("lease-talk")

    out = capsys.readouterr().out.splitlines()
    assert out[0] == "bob: 312 s later (single)"
    assert out[2] == """after 15 s: ["carol's channel"]"""


async def test_a_lost_place_is_taken_again(room):
    """A connection whose lease ran out, as after a sleep, can be written to again."""
    space = await room(*TABS, "clock", "lease")
    space.RENEW = 0.01
    space.serve_chat(space.LeasedChat)
    with space.cache_clock() as clock:
        async with space.join("alice") as alice, space.join("bob") as bob:
            await space.heard(bob)
            clock.ahead = 1000
            async with asyncio.timeout(5):
                while not space.channels_of(space.ids["bob"]):
                    await asyncio.sleep(0.005)
            await space.say(alice, "awake?", space.ids["bob"])
            assert await space.heard(bob) == "awake? (single)"


async def test_an_error_of_the_cache_does_not_end_the_lease(room):
    """Fault 4: the first entry is a lease, and the task that renews it outlives an exception."""
    space = await room(*TABS, "clock", "lease")
    space.RENEW = 0.01
    right, failed = space.lease, []

    def fails_twice(*args):
        if not space.cache.get("away") or len(failed) == 2:
            return right(*args)
        failed.append(args)
        raise ConnectionError("the cache is away")

    space.lease = fails_twice
    space.serve_chat(space.LeasedChat)
    with space.cache_clock() as clock:
        async with space.join("bob") as bob:
            await space.heard(bob)
            space.cache.set("away", True, timeout=None)
            clock.ahead = 1000
            async with asyncio.timeout(5):
                while not space.channels_of(space.ids["bob"]):
                    await asyncio.sleep(0.005)
    assert len(failed) == 2


async def test_the_first_entry_is_a_lease(room):
    """Fault 4: a process that is killed before the first renewal leaves an entry for 15 seconds, not for 300."""
    space = await room(*TABS, "clock", "lease")
    space.serve_chat(space.LeasedChat)
    with patch.object(space.LeasedChat, "renew", lambda self: asyncio.sleep(0)), space.cache_clock() as clock:
        async with space.join("bob") as bob:
            await space.heard(bob)
            found = []
            for clock.ahead in (14, 15):
                found.append(len(space.channels_of(space.ids["bob"])))
    assert found == [1, 0]


# --- bad messages -----------------------------------------------------------------------------------------------------


async def test_bad_messages_end_the_connection_or_vanish(room, capsys):
    """Before the mend they are crashes, 1011, and silence."""
    await room(*TABS, "clock", "lease")
    capsys.readouterr()
    await room("bad")

    found = outcomes(capsys.readouterr().out)
    assert [name for name, outcome in found.items() if outcome == "nothing"] == ["a blank text", "another type"]
    assert list(found.values()).count("closed with 1011") == 7


DEEP = "[" * 2000 + "]" * 2000
VALUES = [
    "NaN",
    "Infinity",
    "-1e999",
    '{"a": 1, "a": 1}',
    DEEP,
    "9" * 5000,
    '"\\ud800"',
    '{"\\udfff": 1}',
    "[2]",
    "true",
]


async def test_whatever_a_client_sends_it_gets_one_error(room):
    """Rows 29 to 43: each is answered with an error to its sender alone, and both stay connected."""
    space = await room(*ALL)
    wrong = [*space.bad.values(), "", b"", "3", "null", '{"type": ["x"]}', "[" * 2000, space.message("x" * 65_536)]
    wrong += [space.message("ü" * 33_000).replace(r"\\u00fc", "ü"), '{"type": "chat.message", "content": "{}"}']
    for value in VALUES:
        wrong.append(f'{{"type": "demo-message-send", "content": {value}}}')
        for inner in (f'{{"text": {value}}}', f'{{"text": "x", "toUserId": {value}}}'):
            wrong.append(json.dumps({"type": "demo-message-send", "content": inner}))
    for nobody in (False, 1.0, -1, "\u0661", "9" * 300, 10**20, "bob", "0", "00", "07", {}):
        wrong.append(space.message("x", nobody))
    wrong.append(json.dumps({"type": "demo-message-send", "content": json.dumps(space.message("three times"))}))
    space.CalmChat.BURST = space.CalmChat.credit = 1000
    space.serve_chat(space.CalmChat)
    async with space.join("alice") as alice, space.join("bob") as bob:
        for message in wrong:
            await at_rest(space, alice.send(message))
            answer = await space.heard(alice)
            assert answer.startswith("error: ") and " · " not in answer, message[:80]
        await space.say(alice, "<script>alert(1)</script>")
        assert await all_heard(space, alice, bob) == ["<script>alert(1)</script> (to all)"] * 2


async def test_strict_json_refuses_what_loads_lets_through(room):
    """Rows 34 to 38: `json.loads` takes most of them; `strict` raises ValueError for each, and takes what is fine."""
    space = await room(*TABS, "json-loads", "strict")

    assert [name for name, text in space.odd.items() if space.tried(json.loads, text).startswith("accepted")] == [
        "not a number",
        "too big",
        "a key twice",
        "half a pair",
        "fine",
    ]
    assert space.strict(space.odd.pop("fine")) == {"text": "\U0001f600"}
    for name, text in space.odd.items():
        with pytest.raises(ValueError):
            space.strict(text)
            pytest.fail(name)
    assert space.strict('{"a": [1, 2.5, null, true, "ü"]}') == {"a": [1, 2.5, None, True, "ü"]}


async def test_a_stranger_is_told_why(room):
    """Who is not signed in is accepted, gets an error, and is closed with 4001."""
    space = await room(*ALL)
    space.serve_chat(space.CalmChat)
    async with space.server.connect("/infra/ws/") as stranger:
        assert json.loads(await stranger.recv()) == {"type": "error", "content": "sign in first"}
        await stranger.wait_closed()
    assert stranger.close_code == 4001
    assert dict(space.server.layer.groups) == {}


async def test_a_flood_is_slowed_down_and_closed(room, capsys):
    """Row 46: the strict chat passes a flood of good messages on; the calm one closes it, and nothing crashes."""
    space = await room(*ALL)
    capsys.readouterr()
    await room("flood-talk")

    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "StrictChat: alice at last: hello (to all) · hello (to all)",
        "  bob got 100 of her 400: True, all of them: True, and at last: is anybody there? (to all)",
        "CalmChat: alice at last: error: too many messages · closed with 4008",
        "  bob got 100 of her 400: True, all of them: False, and at last: is anybody there? (to all)",
    ]
    assert 100 <= space.counts[1] < 200 and printed.err == ""


async def test_a_closing_consumer_sends_nothing_more(room):
    """Row 46: what the group still has for a consumer that has closed is dropped, and so is what its client sends."""
    space = await room(*ALL)
    space.CalmChat.BURST = space.CalmChat.credit = 0
    space.CalmChat.PATIENCE = 1

    async def close(self, code):
        await space.HeartbeatChat.close(self, code)
        await self.chat_message(self.event("too late", single=False))
        await self.websocket_receive({"type": "websocket.receive", "text": "ping"})

    with patch.object(space.CalmChat, "close", close):
        space.serve_chat(space.CalmChat)
        async with space.join("alice") as alice:
            assert await space.heard(alice) == "error: too many messages · closed with 4008"


async def test_who_is_quiet_again_is_forgiven(room):
    """Row 46: late messages count until the credit is back by half."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            """The time of this clock."""
            return self.now

    space = await room(*ALL)
    space.time = clock = Clock()
    space.serve_chat(space.CalmChat)
    space.CalmChat.BURST = space.CalmChat.credit = 4
    async with space.join("alice") as alice:
        for _ in range(3):
            for _ in range(4 + space.CalmChat.PATIENCE - 1):
                await alice.send("ping")
                assert await alice.recv() == "pong"
            clock.now += 1


# --- D5 and D6: the page, two users -----------------------------------------------------------------------------------


async def test_the_page_and_its_twins(room, capsys):
    """D5 and D6: the page, its script and its users are served; alice and bob talk both ways, single and to all."""
    space = await room(*ALL)
    capsys.readouterr()
    await room("page")
    assert capsys.readouterr().out.splitlines() == [
        "alice: <b>hello</b> (to all) · only you (single)",
        "bob: <b>hello</b> (to all) · and only you (single)",
    ]

    page = await space.server.get("/chat/", headers=space.cookies["alice"])
    script = await space.server.get("/static/chat/chat.js")
    users = await space.server.get("/api/users/", headers=space.cookies["alice"])
    assert (page.status_code, script.status_code, users.status_code) == (200, 200, 200)
    assert "alice" in page.text and "You are not signed in" in (await space.server.get("/chat/")).text
    assert {user["username"]: user["id"] for user in users.json()}.items() >= space.ids.items()


async def test_the_finished_chat_does_what_the_project_does(room):
    """D6: one conversation of alice and two tabs of bob's, bad messages included, goes the same way with both."""
    space = await room(*ALL, "compare")

    assert space.ours == space.theirs
    assert [line[:3] for line in space.ours[:3]] == [
        ["hello", "hello (to all)", "hello (to all)"],
        ["to bob", "nothing", "psst (single)"],
        ["as text", "nothing", "psst (single)"],
    ]
    assert {tuple(line[1:]) for line in space.ours[3:]} == {("error", "nothing", "nothing")}


async def test_the_project_tells_its_users_that_something_was_lost(room, capsys):
    """The lesson's last look at the project: an emptied cache is noticed, and alice gets a system message."""
    await room(*ALL, "compare")
    capsys.readouterr()
    await room("reference")

    *source, last = capsys.readouterr().out.splitlines()
    assert last.startswith("system the connection to the other users was interrupted")
    assert len([line for line in source if line.startswith("def ")]) == 3


async def test_the_page_talks_to_the_learners_own_chat(room):
    """D5: where the finished chat is served, the page still is, at the address from which it opens its socket."""
    space = await room(*ALL)
    space.serve_chat(space.CalmChat)

    assert (await space.server.get("/chat/", headers=space.cookies["bob"])).status_code == 200
    async with space.join("alice") as alice, space.join("bob") as bob:
        await space.say(bob, "hello")
        assert await all_heard(space, alice, bob) == ["hello (to all)"] * 2
