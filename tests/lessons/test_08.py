"""What lesson 08 shows holds: what a communicator hands over, what a server does, and which tests pass for what reason.

The cells that run pytest are judged by what their pytest says.
"""

import asyncio
import contextlib
import sys

import pytest
from websockets.exceptions import InvalidStatus

COMMUNICATORS = ("setup", "echo")
"""The cells up to the first communicator."""

FILES = (*COMMUNICATORS, "pytest", "first", "ini")
"""The cells up to a pytest that runs async tests."""

EXPIRED = (*COMMUNICATORS, "expired")
"""The cells up to the consumer that speaks while it refuses."""

CONNECTED = (*EXPIRED, "left", "connected")
"""The cells up to the connections that end by themselves."""

VISITORS = (*CONNECTED, "routed", "wild", "middleware")
"""The cells up to visitors with headers and cookies."""


FAIL = {"crashed": ZeroDivisionError}
"""The cell that fails on purpose."""


@pytest.fixture
async def workshop(lesson, monkeypatch):
    """`space = await workshop(*FILES)` runs these cells of lesson 08; those that fail on purpose have to do so."""
    from django.core.cache import cache

    async def run(*ids):
        for id in ids:
            with pytest.raises(FAIL[id]) if id in FAIL else contextlib.nullcontext():
                await lesson("08_testing", id)
        return await lesson("08_testing")

    yield run
    if folder := getattr(await lesson("08_testing"), "folder", None):
        folder.cleanup()
    cache.clear()


@pytest.fixture
def printed(workshop, capsys):
    """`await printed("manual")` is what these cells print, by line."""

    async def run(*ids):
        capsys.readouterr()
        await workshop(*ids)
        return capsys.readouterr().out.rstrip().splitlines()

    return run


def outcomes(lines):
    """What pytest says of each test: `{"test_echo": "PASSED"}`."""
    found = [line.split(" - ")[0].split(maxsplit=1) for line in lines if line[:6] in ("PASSED", "FAILED", "ERROR ")]
    return {name.rpartition("::")[2]: outcome for outcome, name in found}


async def by_hand(consumer, count):
    """The first events that this consumer sends to a client that only connects."""
    from channels.testing import WebsocketCommunicator

    communicator = WebsocketCommunicator(consumer.as_asgi(), "/")
    await communicator.send_input({"type": "websocket.connect"})
    events = [await communicator.receive_output(5) for _ in range(count)]
    assert await communicator.receive_nothing()
    await communicator.disconnect(timeout=5)
    return events


async def refused(space, consumer):
    """The status with which the live server refuses a client of this consumer."""
    space.server.application = consumer.as_asgi()
    with pytest.raises(InvalidStatus) as refusal:
        await space.server.connect("/")
    return refusal.value.response.status_code


# --- communicators ----------------------------------------------------------------------------------------------------


async def test_a_communicator_connects_sends_receives_and_leaves(printed):
    """The first test: accepted without a subprotocol, echoed, ended."""
    assert await printed("setup", "echo") == ["(True, None)", "hello"]


async def test_beneath_it_are_raw_events(workshop, printed):
    """`ApplicationCommunicator` takes and gives ASGI events, and waits for the end."""
    await workshop(*COMMUNICATORS)

    assert await printed("raw") == [
        "{'type': 'websocket.accept', 'subprotocol': None}",
        "{'type': 'websocket.send', 'text': 'hello'}",
    ]


async def test_no_header_is_sent_by_itself(workshop, printed):
    """A view without a Host is a bad request, and with one it is asked who is there."""
    await workshop(*COMMUNICATORS)

    assert await printed("http") == ["[] 400", "[(b'host', b'localhost')] 401"]


# --- pytest -----------------------------------------------------------------------------------------------------------


async def test_an_async_test_needs_a_plugin_and_its_mode(workshop, printed):
    """The same file fails without a line of it run, and passes once the settings are there."""
    await workshop(*COMMUNICATORS, "pytest")

    first = await printed("first")
    assert outcomes(first) == {"test_echo": "FAILED"} and "async def functions are not natively" in first[0]
    assert outcomes(await printed("ini")) == {"test_echo": "PASSED"}


async def test_the_kernel_goes_on_while_pytest_runs(workshop):
    """Other tasks of the loop have their turn before the process has ended."""
    space = await workshop(*FILES)
    running = asyncio.create_task(space.run_tests("test_echo.py"))
    async with asyncio.timeout(60):
        async with space.server.connect("/ws/echo/") as ws:
            await ws.send("meanwhile")
            assert await ws.recv() == "meanwhile"
        assert not running.done()
        await running


async def test_a_pytest_that_does_not_start_is_not_silent(workshop, capsys):
    """What pytest complains of is printed where there is no summary."""
    space = await workshop(*FILES)
    capsys.readouterr()
    await space.run_tests("no_such_file.py")

    assert "no_such_file.py" in capsys.readouterr().out


async def test_each_test_has_a_loop_of_its_own(workshop, printed):
    """Two tests do not share their loop, and a connection for several tests is refused with the reason."""
    await workshop(*FILES)
    lines = await printed("loops")

    assert outcomes(lines) == {"test_first": "PASSED", "test_second": "FAILED", "test_shared": "ERROR"}
    assert any("ScopeMismatch" in line for line in lines)


# --- E1 to E4: what is sent at close time -----------------------------------------------------------------------------


async def test_the_hasty_consumer_speaks_and_closes_while_connecting(workshop):
    """E1: one message and one close, nothing between and nothing after."""
    space = await workshop(*EXPIRED)

    assert await by_hand(space.Expired, 2) == [
        {"type": "websocket.send", "text": '{"type": "jwt-expired"}'},
        {"type": "websocket.close"},
    ]


async def test_connect_eats_the_first_message(workshop, printed):
    """E2: connect() fails on it without a word, and what can be received afterwards is the close alone."""
    await workshop(*COMMUNICATORS)

    assert await printed("expired") == [
        "connect raises AssertionError()",
        """receive_json_from raises AssertionError("Expected type 'websocket.send', but was 'websocket.close'")""",
    ]


async def test_events_by_hand_show_all(workshop, printed):
    """E3: the JSON, a close that has neither code nor reason, and then nothing."""
    await workshop(*EXPIRED)

    assert await printed("manual") == ["{'type': 'jwt-expired'}", "{'type': 'websocket.close'}", "True"]


async def test_what_a_close_holds_and_what_connect_makes_of_it(workshop, printed):
    """E3: code and reason stand in the event if they were given; connect() shows a code, or makes 1000 up."""
    await workshop(*EXPIRED)

    assert [line.split(maxsplit=0 if "reason" in line else 1)[-1] for line in await printed("closes")] == [
        "{}                                    (False, 1000)",
        "{'code': 4003}                        (False, 4003)",
        "close(4003, reason)    {'code': 4003, 'reason': 'expired'}   (False, 4003)",
        "{'code': 4003}                        AssertionError",
    ]


async def test_todays_asgiref_tells_of_a_crash_at_the_next_call(workshop, printed):
    """E3: the silence in which the consumer crashes is still silence; the next question raises its error."""
    await workshop(*EXPIRED)

    assert await printed("crashed") == ["True"]


async def test_a_time_out_cancels_and_receive_nothing_does_not(workshop, printed):
    """E4: after a time-out the consumer is dead and says so; after receive_nothing() it still echoes."""
    await workshop(*EXPIRED)

    assert await printed("silence") == [
        "times_out: TimeoutError · CancelledError",
        "receive_nothing: True · hello",
    ]


async def test_who_is_not_disconnected_stays_in_its_groups(workshop, printed):
    """E4: forgotten, and cancelled too, a consumer is a member; only disconnect() ends it."""
    await workshop(*EXPIRED)

    assert await printed("left") == [
        "forgotten:    1",
        "thrown away:  1 and the consumer was cancelled: True",
        "disconnected: 0",
    ]


async def test_connections_end_with_their_test(workshop, printed):
    """E4: `connected` disconnects after a failing assertion as well, and names the code of a refusal."""
    space = await workshop(*EXPIRED, "left")

    assert await printed("connected") == ["failed: it was silent · members: 0"]
    await workshop("parity")
    with pytest.raises(AssertionError, match="refused with 4003"):
        async with space.connected(space.Refused.as_asgi()):
            pass


async def test_a_time_out_inside_of_connected_is_told_as_it_is(workshop):
    """E4: who receives in vain gets TimeoutError, not the CancelledError of a disconnect() that came too late."""
    space = await workshop(*CONNECTED)
    with pytest.raises(TimeoutError):
        async with space.connected(space.Echo.as_asgi()) as communicator:
            await communicator.receive_from(timeout=0.01)


# --- E5: parity -------------------------------------------------------------------------------------------------------


async def test_before_accept_no_client_sees_what_a_test_sees(workshop):
    """E5: the communicator gives code and message, the live server HTTP 403 and 500."""
    space = await workshop(*CONNECTED, "parity")
    refusal, hasty = [await space.parity(space.client, each.as_asgi()) for each in (space.Refused, space.Expired)]

    assert (refusal.communicator, refusal.live) == ((("close", 4003),), (("refused", 403),))
    assert hasty.communicator == (("text", '{"type": "jwt-expired"}'), ("close", 1000))
    assert hasty.live == (("refused", 500),)
    assert await refused(space, space.Refused) == 403  # on the learner's own server as well
    assert await refused(space, space.Expired) == 500


async def test_the_table_of_differences_is_computed(workshop, printed):
    """E5: on daphne codes and messages before accept are lost; five rows are read first, then there is the table."""
    space = await workshop(*CONNECTED, "parity")
    lines = await printed("differences", "table")
    rows = {row.name: row for row in space.table.rows}
    assert [line for line in lines if not line.startswith(" ")] == space.five
    assert lines[1:3] == ["  test   (('close', 4003),)", "  client (('refused', 403),)"]
    assert "accept, message, close" in {row.name for row in space.table.same}

    assert len(rows) >= 12
    assert (rows["close before accept"].communicator, rows["close before accept"].daphne) == (
        (("close", 4003),),
        (("refused", 403),),
    )


async def test_accept_send_close_is_the_same_for_both(workshop, printed):
    """E5: no difference, the code arrives, and the test of it is an ordinary one."""
    space = await workshop(*CONNECTED, "parity")
    assert (await printed("patient"))[:3] == [
        "{'type': 'jwt-expired'}",
        "{'type': 'websocket.close', 'code': 4003}",
        "True",
    ]
    found = await space.parity(space.client, space.Patient.as_asgi())
    assert found and found.live[-1] == ("close", 4003)


# --- paths, users, groups ---------------------------------------------------------------------------------------------


async def test_what_a_communicators_scope_lacks(workshop, printed):
    """Addresses and headers; without a router what the path says, and with it there is still no user."""
    await workshop(*CONNECTED)

    assert await printed("scope", "routed") == [
        "only in the live scope: ['asgi', 'client', 'raw_path', 'root_path', 'server']",
        "its headers: []",
        "for the consumer: 'url_route'",
        "for the consumer: 'user'",
    ]


async def test_a_user_in_the_scope_proves_nothing(workshop, printed):
    """Seen in the wild: the test is green, and the client gets HTTP 500."""
    await workshop(*VISITORS[:-2])

    assert await printed("wild") == ["the test:   (True, None)", "the client: HTTP 500"]


async def test_the_whole_application_is_tested_with_its_door(workshop, printed):
    """A foreign origin is refused, nobody is told to sign in, a session and a token open."""
    await workshop(*VISITORS[:-1])

    assert [line.partition(":")[2].strip() for line in await printed("middleware")] == [
        "(False, 1000)",
        "{'type': 'error', 'content': 'sign in first: rooms are for users'}",
        "(True, None)",
        "(True, None)",
    ]


async def test_a_group_is_tested_with_several_communicators(workshop, printed):
    """Alice and bob get the message; the next thing that carol in another room gets is her own."""
    await workshop(*VISITORS)

    assert [line.partition(":")[2].strip() for line in await printed("groups")] == [
        "{'type': 'response', 'content': 'hello'}",
        "{'type': 'response', 'content': 'hello'}",
        "{'type': 'response', 'content': 'who cooks?'}",
    ]


# --- the database -----------------------------------------------------------------------------------------------------


async def test_async_tests_need_a_database_without_a_transaction(workshop, printed):
    """With a transaction rows stay and fixtures are not seen; without one all is well, in another database."""
    await workshop(*FILES, *VISITORS[2:-1])

    lines = await printed("database")
    assert outcomes(lines) == {
        "test_unmarked": "FAILED",
        "test_create": "PASSED",
        "test_empty": "FAILED",
        "test_row": "FAILED",
        "test_token": "FAILED",
    }
    assert any("test_row" in line and "table is locked" in line for line in lines)
    lines = await printed("transaction")
    assert outcomes(lines) == dict.fromkeys(("test_create", "test_empty", "test_row", "test_token"), "PASSED")
    assert lines[-1].endswith("['alice', 'bob', 'carol']")


# --- recordings -------------------------------------------------------------------------------------------------------


async def test_a_recording_becomes_a_test_that_tells_versions_apart(workshop, printed):
    """The generated test holds no cookie, passes on what was recorded, and fails on the changed consumer."""
    space = await workshop(*FILES, *VISITORS[2:])
    source = "\n".join(await printed("recording"))
    assert not [each for each in (space.alice_headers, space.bob_headers) if each["Cookie"].partition("=")[2] in source]

    assert outcomes(await printed("fixtures", "run-recording")) == {"test_room": "PASSED", "test_changed": "FAILED"}


async def test_a_replay_shows_what_is_missing(workshop, printed, monkeypatch):
    """The project answers as it did; of the changed consumer bob gets nothing, and that is the only difference."""
    space = await workshop(*FILES, *VISITORS[2:], "recording", "fixtures", "run-recording")
    monkeypatch.setattr(sys, "path", sys.path[:])
    try:
        assert (await printed("replay"))[0] == "differences from the project: 0"
        [missing] = (await space.trace.replay("forgetful:application")).differences
        assert "response" in str(missing) and "hello" in str(missing)
    finally:
        sys.modules.pop("forgetful", None)


# --- flaky tests, a live server ---------------------------------------------------------------------------------------


async def test_only_who_waits_for_an_event_is_steady(workshop, printed):
    """Hoping fails on a slow machine; looking for a condition and waiting for a message pass on both."""
    await workshop(*CONNECTED, "flaky")

    results = [line.rpartition(" ")[2] for line in await printed("try-out")]
    assert results == ["passed", "failed", "passed", "passed", "passed", "passed"]


async def test_a_live_server_in_a_test_needs_a_database_in_a_file(workshop, printed):
    """With the database in memory the class refuses; with a file a websockets client is echoed."""
    await workshop(*FILES)
    lines = await printed("live")

    assert [line[:6] for line in lines if line] == ["ERROR ", "PASSED"]
    assert "can not be used with in memory" in lines[0]
