"""What the exercises of lesson 08 say of consumers is so, live; and who tests in another way passes too."""

import asyncio
import contextlib
import json
from pathlib import Path

import pytest
from channels.testing import WebsocketCommunicator

from labserver.course.bench import CONNECT, Bench, own_time, ran, text
from labserver.course.checks import lesson_08_mutants, lesson_08_steady
from labserver.course.checks.lesson_08 import SITUATIONS
from labserver.course.exercise import catalogue, find
from labserver.course.judge import judge
from labserver.live.parity import parity

SOLUTION = Path(__file__).parents[2] / "solutions/08_testing.ipynb"


@pytest.fixture(scope="module")
def names():
    """All that the solution's notebook defines."""
    catalogue()
    names = {}
    for cell in json.loads(SOLUTION.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and not cell["id"].startswith("check-"):
            exec("".join(cell["source"]), names)
    return names


async def test_the_table_is_what_a_test_sees(names):
    """The notebook's own function, run on the notebook's consumers, sees last what the check takes for right."""
    consumers = [names[each] for each in ("One", "Two", "Three", "Four", "Five", "Six", "Seven")]
    with Bench().own_layers(), own_time():  # a layer of the live server answers from another loop, in another time
        assert [await names["last_seen"](each) for each in consumers] == [test[0] for _, test, _ in SITUATIONS]


@pytest.mark.parametrize(("consumer", "page"), [(each, page[0]) for each, _, page in SITUATIONS])
async def test_the_table_is_what_a_page_sees(consumer, page):
    """On a live daphne the last thing is what the check takes for right; a refused page is told 1006 by its browser."""
    kind, value = (await parity([CONNECT, text("x")], consumer.as_asgi())).live[-1]
    assert page == {"refused": 1006, "accept": "nothing"}.get(kind, value)


async def test_the_solutions_pass_on_the_notebooks_own_consumers(names):
    """What is given in the notebook is what the check plays, though the check's is in pieces."""
    for test, consumer in (("test_refused", "Expired"), ("test_steady", "Room")):
        assert (await ran(names[test], names[consumer].as_asgi())).error is None
    for test in names["tests"]:
        assert (await ran(test, names["Chat"].as_asgi())).error is None


async def test_the_flaky_test_is_flaky(names):
    """The test that is to be rewritten passes on a quick room, and fails on a slow one."""
    quick, slow = (lesson_08_steady.room(saves=saves) for saves in ((0, 0.01), (0.4, 0.4)))
    assert (await ran(names["test_flaky"], quick)).error is None
    assert (await ran(names["test_flaky"], slow)).failed


def test_a_refusal_may_be_tested_with_connect():
    """Who lets connect() read the accept, and looks at what it returns, asserts as much as by hand."""

    async def with_connect(application):
        communicator = WebsocketCommunicator(application, "/")
        accepted, _ = await communicator.connect(timeout=5)
        assert accepted
        try:
            assert await communicator.receive_json_from(timeout=5) == {"type": "jwt-expired"}
            assert await communicator.receive_output(timeout=5) == {"type": "websocket.close", "code": 4003}
            assert await communicator.receive_nothing()
        finally:
            if not communicator.future.cancelled():
                await communicator.disconnect()

    assert judge(find("08.2"), with_connect).outcome == "passed"


def test_silence_may_be_proved_by_the_next_message(names):
    """A last message of which all know the answer shows as well that nothing came before it."""

    async def with_a_last_one(application):
        alice, bob = (WebsocketCommunicator(application, "/ws/room/") for _ in range(2))
        for each in (alice, bob):
            await each.connect()
            await each.receive_json_from()
        await alice.send_json_to({"text": "one"})
        await bob.send_json_to({"text": "two"})
        for each in (alice, bob):
            heard = {(await each.receive_json_from())["text"], (await each.receive_json_from())["text"]}
            assert heard == {"one", "two"}
        await alice.send_json_to({"text": "three"})
        for each in (alice, bob):
            assert await each.receive_json_from() == {"type": "message", "text": "three"}
            await each.disconnect()

    assert judge(find("08.3"), with_a_last_one).outcome == "passed"


BAD = (
    "[" * 100_000,
    '{"text": 5}',
    '{"text": "a", "to": "al ice"}',
    '{"text": "a", "to": ""}',
    '{"text": "a", "to": []}',
)
"""What a client may send to the chat, though it is no message, beside what the solution sends."""


@pytest.mark.parametrize("where", ["the notebook's", "the check's"])
async def test_the_chat_keeps_its_promises(names, where):
    """What is no message, or no name, is answered with an error, and the connection goes on."""
    chat = names["Chat"] if where == "the notebook's" else lesson_08_mutants.Chat

    async def bad(application):
        async with names["joined"](application, "alice") as alice, names["joined"](application, "bob") as bob:
            for said in BAD:
                await alice.send_to(said)
                assert (await alice.receive_json_from())["type"] == "error"
            await alice.send_to(bytes_data=b"hello")
            assert (await alice.receive_json_from())["type"] == "error"
            await alice.send_json_to({"text": "hello", "to": "bob"})
            assert await bob.receive_json_from() == names["message"]("alice", "hello", private=True)
            assert await alice.receive_nothing()

    assert (await ran(bad, chat.as_asgi())).error is None


@pytest.mark.parametrize("name", [b"al%20ice", b"al%FFice", b"al\xffice", b"a" * 100, b""])
@pytest.mark.parametrize("where", ["the notebook's", "the check's"])
async def test_the_chat_refuses_what_is_no_name(names, where, name):
    """Without a name that a group can have the client is told so, and closed with 4001; what it sends goes nowhere."""
    chat = names["Chat"] if where == "the notebook's" else lesson_08_mutants.Chat

    async def nameless(application):
        async with names["joined"](application, "bob") as bob:
            communicator = WebsocketCommunicator(application, "/ws/")
            communicator.scope["query_string"] = b"name=" + name
            assert (await communicator.connect())[0]
            assert (await communicator.receive_json_from())["type"] == "error"
            assert await communicator.receive_output() == {"type": "websocket.close", "code": 4001}
            await communicator.send_json_to({"text": "hello"})
            await communicator.disconnect()
            assert await bob.receive_nothing()

    assert (await ran(nameless, chat.as_asgi())).error is None


def test_a_message_without_a_connection_is_no_crash(names):
    """The chat is not blamed, nor is it the test's, where a client leaves that has never come."""

    async def leaves(application):
        await WebsocketCommunicator(application, "/ws/").disconnect()

    assert judge(find("08.4"), [leaves, *names["tests"]]).outcome == "passed"


def test_what_is_no_test_is_told_what_it_is(names):
    """Called already, not awaited, or a list: each is said without an address."""

    async def yields(application):
        yield

    called = names["test_refused"](None)
    told = [judge(find("08.2"), each) for each in (called, yields, [names["test_refused"]], 5)]
    assert [each.name for each in told] == ["not a test"] * 4
    assert [each.found.partition(":")[0] for each in told] == [
        "found what test_refused(…) returns",
        "nothing of yields can be awaited",
        "found an instance of list",
        "found an instance of int",
    ]


def test_a_failing_assertion_says_what_the_test_had_read(names):
    """The event is shown, if there is one."""

    async def compares(application):
        communicator = WebsocketCommunicator(application, "/")
        await communicator.send_input({"type": "websocket.connect"})
        assert await communicator.receive_output() == {"type": "websocket.accept"}

    async def reads_nothing(application):
        communicator = WebsocketCommunicator(application, "/")
        await communicator.send_input({"type": "websocket.connect"})
        assert await communicator.receive_nothing()

    found = [judge(find("08.2"), each).found for each in (compares, reads_nothing)]
    assert found[0].endswith("had read is {'type': 'websocket.accept', 'subprotocol': None}")
    assert found[1].startswith("the test raised AssertionError") and "had read" not in found[1]


def test_who_waits_for_a_first_event_is_told_that_nothing_came():
    """Without websocket.connect no consumer says a word."""

    async def forgets(application):
        await WebsocketCommunicator(application, "/").receive_output()

    result = judge(find("08.2"), forgets)
    assert result.name == "a time-out cancels the application" and result.found.startswith("nothing had come; ")


def test_stopping_by_force_is_no_peaceful_end(names):
    """A communicator that is stopped has cancelled its application, without any time-out."""

    async def stops(application):
        communicator = WebsocketCommunicator(application, "/")
        await communicator.connect()
        assert await communicator.receive_json_from() == {"type": "jwt-expired"}
        assert await communicator.receive_output() == {"type": "websocket.close", "code": 4003}
        assert await communicator.receive_nothing()
        communicator.stop()
        await asyncio.wait([communicator.future])

    assert judge(find("08.2"), stops).name == "leaves the communicator running"


def test_one_test_is_a_list_of_one(names):
    """One test instead of a list is as good, and the bar counts what it catches."""
    result = judge(find("08.4"), names["test_private"])
    assert (result.outcome, result.found) == ("wrong", "2 of 10 bugs caught")
    assert result.lines[0].endswith("████░░░░░░░░░░░░░░░░  2 of 10")
    named = [line.removeprefix("  ✓ caught    ") for line in result.lines if "✓" in line]
    assert named == [name for name, _, _ in lesson_08_mutants.BUGS if name.startswith("a private message")]
    assert sum("○ survives" in line for line in result.lines) == 8
    assert result.trace is None


def test_an_error_that_only_a_slow_consumer_brings_is_a_crash():
    """A slip in what a test does after a time-out is shown as it is."""

    async def slips(application):
        communicator = WebsocketCommunicator(application, "/")
        await communicator.connect()
        with contextlib.suppress(TimeoutError):
            await communicator.receive_json_from(timeout=0.1)
            await communicator.disconnect()
            return
        raise KeyError("late")

    result = judge(find("08.2"), slips)
    assert (result.outcome, result.name) == ("crashed", "KeyError")


@pytest.mark.parametrize("id", ["08.2", "08.3", "08.4"])
def test_an_error_of_the_test_is_no_misconception(id):
    """A name that does not exist is a crash, with the learner's line."""

    async def slips(application):
        await WebsocketCommunicator(applicaton, "/").connect()  # noqa: F821

    result = judge(find(id), slips)
    assert (result.outcome, result.name) == ("crashed", "NameError")
    assert "applicaton" in result.lines[-1]
