"""What checks share: clients are played, order is held, and planted bugs are counted."""

import asyncio
import socket
import threading
import time

import pytest
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.layers import channel_layers, get_channel_layer
from channels.testing import WebsocketCommunicator

from labserver.course.bench import (
    CONNECT,
    LEAVE,
    Bench,
    Crashed,
    caught,
    consumer,
    data,
    in_order,
    own_time,
    ran,
    sent,
    text,
)
from labserver.course.exercise import Misconception
from labserver.live import settling
from labserver.live.server import configure_django


@pytest.fixture(autouse=True)
def django():
    """Consumers need it set up, as a check does it."""
    configure_django()


async def echo(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


class Echo(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data, bytes_data=bytes_data)


class Wired(WebsocketConsumer):
    groups = ["bench"]

    def receive(self, text_data=None, bytes_data=None):
        from asgiref.sync import async_to_sync

        async_to_sync(self.channel_layer.group_send)("bench", {"type": "say", "text": text_data})

    def say(self, event):
        self.send(event["text"])


@pytest.mark.parametrize("application", [echo, Echo.as_asgi()])
async def test_a_played_client_is_answered(application):
    """Raw applications and consumers are played alike; what they send is read off in one line."""
    events = await Bench().play(application, CONNECT, text("hello"), data(b"\x00"), LEAVE)

    assert sent(events) == ["websocket.accept", "hello", b"\x00"]


async def test_each_play_returns_its_own_events():
    """The trace of the bench is that of the last play, and what happened before is still known."""
    bench = Bench()
    await bench.play(echo, CONNECT, LEAVE)
    events = await bench.play(echo, CONNECT, text("x"), LEAVE)

    assert [event.connection for event in events] == ["ws-1"] * 5
    assert bench.trace.events == events
    assert {event.connection for event in bench.whole} == {"ws-1", "ws-2"}


async def test_groups_of_a_check_are_its_own():
    """A consumer under check joins groups that nobody else is in, and its hops are in the trace."""
    bench, outside = Bench(), get_channel_layer()
    channel = await outside.new_channel()
    await outside.group_add("bench", channel)

    with bench.own_layers():
        events = await bench.play(Wired.as_asgi(), CONNECT, text("hi"), LEAVE)

    assert sent(events) == ["websocket.accept", "hi"]
    assert [event.type for event in events if event.direction == "layer"] == [
        "group_add",
        "group_send",
        "receive",
        "group_discard",
    ]
    assert get_channel_layer() is outside
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(outside.receive(channel), 0.01)
    await outside.group_discard("bench", channel)


def test_layers_are_put_back_as_they_were():
    """Whether the live server has wrapped the layers or not, a check leaves them alone."""
    before, marked = channel_layers.make_backend, object()
    try:
        channel_layers.make_backend = marked
        with Bench().own_layers():
            assert channel_layers.make_backend is not marked
        assert channel_layers.make_backend is marked
    finally:
        channel_layers.make_backend = before


async def test_a_crash_is_the_answers(monkeypatch):
    """What the application raises comes out as its own error."""

    async def crashes(scope, receive, send):
        raise LookupError("x")

    with pytest.raises(Crashed, match="x") as caught:
        await Bench().play(crashes, CONNECT)
    assert isinstance(caught.value.error, LookupError)


async def test_where_an_answer_waits_is_shown(monkeypatch):
    """An application that awaits something else than its next event is told the line in which it does."""
    monkeypatch.setattr(settling, "STEP", 0.05)

    async def dozes(scope, receive, send):
        await asyncio.sleep(10)

    with pytest.raises(Misconception) as caught:
        await Bench().play(dozes, CONNECT)
    assert caught.value.lines[-1].endswith("in dozes\n    await asyncio.sleep(10)")


async def test_a_crash_that_a_push_caused_is_found():
    """What a consumer raises because of somebody else's message comes out when the bench looks for rest."""

    class Fragile(AsyncWebsocketConsumer):
        groups = ["bench"]

        async def bench_boom(self, event):
            raise LookupError("boom")

    bench = Bench()
    with bench.own_layers():
        async with bench.join(Fragile.as_asgi()):
            await get_channel_layer().group_send("bench", {"type": "bench.boom"})
            with pytest.raises(Crashed, match="boom"):
                await bench.rest()


async def test_who_does_not_come_to_rest_is_told(monkeypatch):
    """The limit holds for what others cause as well."""
    monkeypatch.setattr(settling, "STEP", 0.05)

    class Slow(AsyncWebsocketConsumer):
        async def receive(self, text_data=None, bytes_data=None):
            await asyncio.sleep(10)

    bench = Bench()
    async with bench.join(Slow.as_asgi()) as alice:
        await alice.starts(text("x"))
        with pytest.raises(Misconception, match="waits for something else"):
            await bench.rest()


def sending(*events):
    """An application that sends these events."""

    async def application(scope, receive, send):
        await receive()
        for event in events:
            await send(event)

    return application


ACCEPT, CLOSE = {"type": "websocket.accept"}, {"type": "websocket.close"}


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([{"type": "websocket.send", "text": "x"}], "Socket has not been accepted"),
        ([ACCEPT, ACCEPT], "'WebSocket' object has no attribute 'handshake_deferred'"),
        ([ACCEPT, {"type": "websocket.send", "text": {"a": 1}}], "'dict' object has no attribute 'encode'"),
        ([ACCEPT, {"type": "websocket.send", "bytes": "x"}], "'str' object has no attribute 'decode'"),
        ([ACCEPT, {**CLOSE, "code": 1008}], "invalid close code 1008"),
        ([ACCEPT, {**CLOSE, "code": "4003"}], "invalid close code '4003'"),
    ],
)
async def test_what_daphne_does_not_take_raises_on_the_bench_too(events, error):
    """An answer crashes where it would crash live."""
    with pytest.raises(Crashed, match=error):
        await Bench().play(sending(*events), CONNECT)


async def test_what_daphne_drops_is_dropped():
    """After a close nothing raises, whatever is sent; before accept a close may have any code."""
    assert await Bench().play(sending({**CLOSE, "code": 5}, ACCEPT, {"type": "websocket.send", "text": 1}), CONNECT)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (Echo(), "an instance of Echo"),
        (Echo.as_asgi(), "<function"),
        (dict, "the class dict has no as_asgi"),
        (None, "None"),
    ],
)
def test_an_answer_that_is_no_consumer_class_is_told(answer, found):
    """An instance, an application, another class: each is called what it is."""
    with pytest.raises(Misconception, match="not a consumer") as caught_:
        consumer(answer)
    assert caught_.value.found.startswith(("found " + found, found))


async def test_both_sides_are_compared():
    """What blocks neither side is the same on both; a close before accept is not."""

    async def refuses(scope, receive, send):
        await receive()
        await send({"type": "websocket.close", "code": 4003})

    assert await Bench().parity(echo, CONNECT, text("a"), LEAVE)
    assert (await Bench().parity(refuses, CONNECT)).live == (("refused", 403),)


async def test_order_is_held():
    """Types have to pass in the order that is named, with anything between; a repeated one has to pass again."""
    events = await Bench().play(echo, CONNECT, text("a"), text("b"), LEAVE)

    in_order(events, "websocket.accept", "websocket.send", "websocket.send", name="n", step="s")
    for types, found in (
        (["websocket.close"], "websocket.close never passed"),
        (["websocket.send", "websocket.accept"], "websocket.accept did not pass after websocket.send"),
        (["websocket.send"] * 3, "websocket.send did not pass after websocket.send"),
    ):
        with pytest.raises(Misconception) as caught:
            in_order(events, *types, name="order", step="Look.")
        assert (caught.value.name, caught.value.found, caught.value.step) == ("order", found, "Look.")


async def mute(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def closes(scope, receive, send):
    await receive()
    await send({"type": "websocket.close"})


async def a_test(application):
    """What a learner would write."""
    communicator = WebsocketCommunicator(application, "/")
    connected, _ = await communicator.connect()
    assert connected
    await communicator.send_to(text_data="x")
    assert await communicator.receive_from(timeout=0.05) == "x"
    await communicator.disconnect()


async def test_the_bugs_that_a_test_catches_are_counted():
    """A bug is caught if the test fails on it, by an assertion or by a time limit; one that it passes is not."""
    assert await caught(a_test, echo, {"mute": mute, "closes": closes, "none": echo}) == {"mute", "closes"}


async def test_a_test_that_hangs_is_a_caught_bug():
    """A test that waits for ever has noticed something; nobody waits with it."""

    async def waits(application):
        communicator = WebsocketCommunicator(application, "/")
        if (await communicator.connect())[0]:
            await communicator.disconnect()
        else:
            await asyncio.Event().wait()

    assert await caught(waits, echo, {"closes": closes}) == {"closes"}


async def test_what_pytest_raises_is_a_failure():
    """`pytest.fail` is the word of a test, though it is no Exception."""

    async def says(application):
        communicator = WebsocketCommunicator(application, "/")
        if not (await communicator.connect())[0]:
            pytest.fail("refused")
        await communicator.disconnect()

    assert await caught(says, echo, {"closes": closes}) == {"closes"}
    assert (await ran(says, closes)).failed


async def test_an_error_of_the_test_itself_is_a_crash():
    """A slip is no assertion: on a right application its error is what the learner needs to see."""

    async def slips(application):
        return {}["no such key"]

    with pytest.raises(Crashed) as crash:
        await caught(slips, echo, {})
    assert isinstance(crash.value.error, KeyError)


async def test_what_ends_a_check_is_not_caught():
    """Whatever is no error of a test, as that which interrupts it, goes on."""

    class Stop(BaseException):
        pass

    async def stops(application):
        raise Stop

    with pytest.raises(Stop):
        await ran(stops, echo)


async def test_a_test_that_fails_on_what_is_right_is_a_misconception():
    """Before bugs count, the test has to pass on an application without any."""

    async def wrong(application):
        raise AssertionError("no")

    with pytest.raises(Misconception, match="fails on a right application") as caught_:
        await caught(wrong, echo, {})
    assert caught_.value.found == "the test raised AssertionError: no"


async def test_a_check_that_is_cancelled_stays_so():
    """The limit of the whole check is not taken for a caught bug."""

    async def waits(application):
        await asyncio.Event().wait()

    task = asyncio.create_task(caught(waits, echo, {}))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_run_tells_how_its_applications_ended():
    """An application that had its disconnect has ended; one that timed out was cancelled; others are still running."""

    async def three(application):
        first, second, third = (WebsocketCommunicator(application, "/") for _ in range(3))
        for each in (first, second, third):
            await each.connect()
        await first.disconnect()
        with pytest.raises(TimeoutError):
            await second.receive_output(timeout=2)

    run = await ran(three, echo)
    assert (run.error, run.ends) == (None, ("ended", "cancelled", "running"))
    assert run.seconds == pytest.approx(2)
    assert [event.type for event in run.trace.events].count("websocket.accept") == 3


async def test_a_run_leaves_nothing_behind():
    """What a test or its application has begun is cancelled, and its groups and its clock are gone."""
    tasks, layers = [], []

    class Starts(AsyncWebsocketConsumer):
        groups = ["all"]

        async def connect(self):
            await self.accept()
            tasks.append(asyncio.create_task(asyncio.Event().wait()))
            layers.append(get_channel_layer())

    async def opens(application):
        await WebsocketCommunicator(application, "/").connect()
        tasks.append(asyncio.create_task(asyncio.Event().wait()))

    loop, before = asyncio.get_running_loop(), dict(channel_layers.backends)
    assert [(await ran(opens, Starts.as_asgi())).error for _ in range(2)] == [None, None]
    assert [task.cancelled() for task in tasks] == [True] * 4
    assert layers[0] is not layers[1]
    assert channel_layers.backends == before
    assert "time" not in vars(loop) and "select" not in vars(loop._selector)


async def test_own_time_leaps_when_nothing_can_run():
    """A long sleep is over at once, in the order in which sleeps end; silence is asked by the same clock."""
    loop, order = asyncio.get_running_loop(), []

    async def sleeps(seconds):
        await asyncio.sleep(seconds)
        order.append(seconds)

    real = time.monotonic()
    with own_time():
        began = loop.time()
        await asyncio.gather(*map(sleeps, (3000, 1000, 2000)))
        assert loop.time() - began == pytest.approx(3000)
        communicator = WebsocketCommunicator(echo, "/")
        await communicator.connect()
        assert await communicator.receive_nothing(timeout=1000)
        await communicator.disconnect()
    assert order == [1000, 2000, 3000]
    assert time.monotonic() - real < 1000


async def test_own_time_waits_for_threads_and_sockets():
    """While a thread works for the loop no time passes, and what has come through a socket is read first."""
    ours, theirs = socket.socketpair()
    with theirs:
        reader, writer = await asyncio.open_connection(sock=ours)
        loop, freed = asyncio.get_running_loop(), threading.Event()
        with own_time():
            began = loop.time()
            loop.call_soon(loop.call_soon, freed.set)
            async with asyncio.timeout(0.001):
                assert await asyncio.to_thread(freed.wait, 10)
            theirs.send(b"x")
            async with asyncio.timeout(1000):
                assert await reader.read(1) == b"x"
            assert loop.time() == began
        writer.close()
        await writer.wait_closed()
