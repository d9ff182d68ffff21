"""The chat: to everyone, to one, in several tabs."""

CHAT = "/infra/ws/"


async def test_without_a_recipient_everybody_gets_it(enter, users):
    """A message to nobody in particular reaches all, its sender too."""
    clients = [await enter(CHAT, user=user) for user in users.values()]
    await clients[0].say("hello")
    for client in clients:
        assert await client.heard() == ("hello", users["alice"].id, False)


async def test_a_single_message_reaches_all_tabs_of_its_recipient_and_nobody_else(enter, users):
    """bob has two tabs open; carol and alice herself hear nothing."""
    alice, bob, tab, carol = [await enter(CHAT, user=users[name]) for name in ("alice", "bob", "bob", "carol")]
    await alice.say("psst", users["bob"].id)
    assert await bob.heard() == await tab.heard() == ("psst", users["alice"].id, True)
    assert await carol.receive_nothing()
    assert await alice.receive_nothing()


async def test_closing_one_tab_leaves_the_other_one_connected(enter, users):
    """The entry of a tab goes with that tab alone."""
    alice, bob, tab = [await enter(CHAT, user=users[name]) for name in ("alice", "bob", "bob")]
    await tab.disconnect()
    await alice.say("still there?", users["bob"].id)
    assert await bob.heard() == ("still there?", users["alice"].id, True)


async def test_who_is_not_connected_gets_nothing_and_the_sender_knows(enter, users):
    """An error goes back to the sender."""
    alice = await enter(CHAT, user=users["alice"])
    await alice.say("hello", users["bob"].id)
    assert await alice.heard() == ("error", f"not delivered: user {users['bob'].id} is not connected")


async def test_the_heartbeat_is_answered(enter, users):
    """`ping` gets `pong`, before anything is parsed."""
    alice = await enter(CHAT, user=users["alice"])
    await alice.send_to(text_data="ping")
    assert await alice.receive_from() == "pong"
