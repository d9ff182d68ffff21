"""One scenario through the communicator and through daphne: the same, or each difference told."""

import asyncio
import logging
import signal
import sys
import threading

import psutil
import pytest
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import URLRouter
from websockets.exceptions import InvalidURI

from labserver.errors import LabError, TimeLimit
from labserver.live import parity as module
from labserver.live import reactor
from labserver.live.parity import NO_REASON, Difference, Parity, parity
from labserver.live.server import configure_django

CONNECT = {"type": "websocket.connect"}
LEAVE = {"type": "websocket.disconnect", "code": 1001}


@pytest.fixture(autouse=True)
def django():
    """Channels' testing module needs settings."""
    configure_django()


def said(text):
    """A text message from the client."""
    return {"type": "websocket.receive", "text": text}


def answering(*events):
    """An application that accepts, and answers the first message with these events."""

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        for event in events:
            await send(event)

    return application


async def test_what_is_the_same_is_true(echo):
    """An echo of text and bytes is the same through both."""
    found = await parity([CONNECT, said("a"), {"type": "websocket.receive", "bytes": b"b"}, LEAVE], echo)

    assert found
    assert found.live == (("accept", None), ("text", "a"), ("bytes", b"b"))
    assert str(found).splitlines() == [
        "  communicator  live server",
        "  accept None   accept None",
        "  text a        text a",
        "  bytes b'b'    bytes b'b'",
    ]


async def test_a_scenario_may_end_with_the_client_there(echo):
    """Whoever has not left is cut off at the end, on both sides, and nothing of it is left."""
    assert (await parity([CONNECT, said("a")], echo)).live == (("accept", None), ("text", "a"))


async def test_a_message_and_a_close_arrive_on_both():
    """Accept, send, close with a code: a client sees all three, whichever way it asks."""
    last = [{"type": "websocket.send", "text": "bye"}, {"type": "websocket.close", "code": 4003}]
    found = await parity([CONNECT, said("a"), said("b"), LEAVE], answering(*last))

    assert found and found.communicator[1:] == (("text", "bye"), ("close", 4003))


async def test_a_close_without_a_code_is_a_normal_one():
    """1000 stands for a close that names no code."""
    assert (await parity([CONNECT, said("a")], answering({"type": "websocket.close"}))).communicator[-1] == (
        "close",
        1000,
    )


async def test_a_refusal_differs():
    """Before accept a test sees the code, and a client sees HTTP 403."""

    async def refuses(scope, receive, send):
        await receive()
        await send({"type": "websocket.close", "code": 4003})

    found = await parity([CONNECT, LEAVE], refuses)
    assert not found and str(found).endswith("≠ close 4003    refused 403")


async def test_a_crash_differs():
    """A test is told the error, a client the code 1011."""

    async def crashes(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        raise ValueError

    found = await parity([CONNECT, said("never"), LEAVE], crashes)
    assert (found.communicator[-1], found.live[-1]) == (("crash", "ValueError"), ("close", 1011))


async def test_an_application_that_returns_leaves_its_client():
    """Who returns without a word closes nothing, on either side."""
    assert (await parity([CONNECT, said("a"), {**LEAVE, "code": 4000}], answering())).live == (("accept", None),)


async def test_an_application_that_waits_for_something_else_is_told(monkeypatch):
    """A limit keeps an application that never comes back from holding the caller."""
    monkeypatch.setattr(module, "STEP", 0.05)

    async def dozes(scope, receive, send):
        await asyncio.sleep(10)

    with pytest.raises(TimeLimit, match=r"within 0\.05 s of event 1, found it waiting for something else"):
        await parity([CONNECT], dozes)


async def test_a_recorder_beside_the_servers_says_nothing(capsys):
    """It records for whoever asked for it, and tells the learner nothing under the cell."""

    async def crashes(scope, receive, send):
        raise RuntimeError

    recorder = module.recording(log := module.Log())
    recorder.swap(crashes)
    with pytest.raises(RuntimeError):
        await recorder({"type": "websocket", "path": "/"}, None, None)
    assert log.total == 1 and capsys.readouterr() == ("", "")


async def test_nothing_is_seen_by_the_learners_server(server, echo):
    """It has a server of its own: the learner's trace and connections stay empty."""
    assert await parity([CONNECT, said("a"), LEAVE], echo)
    assert not server.trace.events and not server.connections


def test_the_shorter_side_sees_nothing():
    """Where one side sees more, the other is shown to see nothing."""
    assert str(Parity((("accept", None),), ())).endswith("≠ accept None   nothing")


# --- what a client sees ---------------------------------------------------------------------------------------------


def connecting(*events):
    """An application that answers websocket.connect with these events, and stays."""

    async def application(scope, receive, send):
        await receive()
        for event in events:
            await send(event)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    return application


ACCEPT = {"type": "websocket.accept"}


async def test_a_close_right_after_accept_is_seen():
    """A scenario of a connect alone shows what a consumer's connect does to the end."""

    class Full(AsyncWebsocketConsumer):
        async def connect(self):
            await self.accept()
            await self.close(4001)

    for scenario in ([CONNECT], [CONNECT, LEAVE], [CONNECT, said("a"), LEAVE]):
        found = await parity(scenario, Full.as_asgi(), uvicorn=True)
        assert found.live == found.uvicorn == (("accept", None), ("close", 4001))
        assert found.communicator[:2] == found.live


async def test_who_does_not_answer_is_seen_to_say_nothing():
    """No answer to the handshake is what a client sees; nobody waits until the server gives up."""
    found = await parity([CONNECT], connecting())
    assert (found.communicator, found.live) == ((), (("no answer",),))


async def test_a_client_is_gone_in_the_middle_of_its_message():
    """A server that resets the connection while its client still writes is a close without a frame."""
    whole = {"type": "websocket.receive", "bytes": bytes(64 * module.MIB)}
    found = await parity([CONNECT, whole, said("never"), LEAVE], connecting(ACCEPT))
    assert found.live == (("accept", None), ("close", 1006))
    assert "longer than 1 MiB" in found.differences[0].why


async def test_headers_and_subprotocols_go_to_all():
    """As text or as bytes; a Host and an Origin of the caller's own take the place of those that a client sends."""

    async def tells(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][1]})
        wanted = (b"host", b"origin", b"x-lab")
        pairs = sorted((name.decode(), value.decode()) for name, value in scope["headers"] if name in wanted)
        await send({"type": "websocket.send", "text": f"{scope['path']} {scope['query_string']} {pairs}"})
        await receive()

    headers = [("Host", "lab.example"), (b"Origin", b"https://lab.example"), ("X-Lab", "1")]
    found = await parity([CONNECT], tells, path="/ws/?a=1", headers=headers, subprotocols=("a", "b"), uvicorn=True)
    pairs = [("host", "lab.example"), ("origin", "https://lab.example"), ("x-lab", "1")]
    assert found and not found.differences
    assert found.live == found.uvicorn == (("accept", "b"), ("text", f"/ws/ b'a=1' {pairs}"))


async def test_clients_of_a_server_send_host_and_origin():
    """As browsers do; a communicator sends neither, and that is shown."""

    async def tells(scope, receive, send):
        await receive()
        await send(ACCEPT)
        names = {name.decode() for name, _ in scope["headers"]} & {"host", "origin"}
        await send({"type": "websocket.send", "text": " ".join(sorted(names))})
        await receive()

    found = await parity([CONNECT], tells, uvicorn=True)
    assert (found.communicator[1], found.live[1], found.uvicorn[1]) == (
        ("text", ""),
        ("text", "host origin"),
        ("text", "host origin"),
    )


async def test_the_server_is_a_plain_one():
    """A path that no route matches is the router's error in a test, and HTTP 500 on the servers."""
    found = await parity([CONNECT], URLRouter([]), path="/nowhere/", uvicorn=True)
    assert (found.communicator, found.live, found.uvicorn) == (
        (("crash", "ValueError"),),
        (("refused", 500),),
        (("refused", 500),),
    )


async def test_what_is_no_text_is_compared_all_the_same():
    """An application that sends a dict as text is told so, not the caller of parity."""
    found = await parity([CONNECT], connecting(ACCEPT, {"type": "websocket.send", "text": {"a": [1]}}))
    assert found.differences[0][:3] == (("text", {"a": [1]}), ("close", 1011), None)


async def test_another_error_of_the_client_is_not_hidden():
    """A path that no client can ask for is the caller's mistake."""
    with pytest.raises(InvalidURI, match="fragment"):
        await parity([CONNECT], connecting(ACCEPT), path="/a#b")


# --- uvicorn --------------------------------------------------------------------------------------------------------


async def test_uvicorn_is_asked_only_if_wanted(echo):
    """Without it the field is None; with it, it stands in a third column."""
    assert (await parity([CONNECT, said("a"), LEAVE], echo)).uvicorn is None
    found = await parity([CONNECT, said("a"), LEAVE], echo, uvicorn=True)
    assert found.uvicorn == found.live
    assert str(found).splitlines()[0] == "  communicator  daphne       uvicorn"


async def test_uvicorn_missing_says_what_to_install(echo, monkeypatch):
    """An error of the lab's own, before anything is played."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(module.UvicornMissing, match=r"pip install 'channels-lab\[deploy\]'") as caught:
        await parity([CONNECT], echo, uvicorn=True)
    assert isinstance(caught.value, LabError) and isinstance(caught.value, ImportError)


async def test_uvicorn_leaves_nothing(echo, caplog):
    """No task, no thread, no listening socket, no signal handler, no log filter; and nothing is logged."""

    async def tasks():
        return {each for each in asyncio.all_tasks() if each is not asyncio.current_task()}

    async def crashes(scope, receive, send):
        raise RuntimeError

    def listening():
        return {each.laddr for each in psutil.Process().net_connections("tcp") if each.status == psutil.CONN_LISTEN}

    reactor.start()
    await parity([CONNECT], echo, uvicorn=True)
    signals, filters = (signal.SIGINT, signal.SIGTERM), list(logging.getLogger("uvicorn.error").filters)
    before = [signal.getsignal(each) for each in signals], set(threading.enumerate()), listening()
    there = await reactor.hop(tasks())
    assert (await parity([CONNECT], crashes, uvicorn=True)).uvicorn == (("refused", 500),)
    assert ([signal.getsignal(each) for each in signals], set(threading.enumerate()), listening()) == before
    assert await reactor.hop(tasks()) <= there
    assert logging.getLogger("uvicorn.error").filters == filters
    assert not caplog.records


async def test_uvicorn_cancels_who_does_not_leave():
    """An application that goes on although its client has left ends with the server."""
    ended = threading.Event()

    async def stays(scope, receive, send):
        await receive()
        await send(ACCEPT)
        try:
            while True:
                await receive()
        finally:
            ended.set()

    assert (await parity([CONNECT], stays, uvicorn=True)).uvicorn == (("accept", None),)
    assert ended.is_set()


# --- what differs, and why --------------------------------------------------------------------------------------------


async def test_a_difference_says_why():
    """What each saw, and one sentence; uvicorn is None where it was not asked."""
    found = await parity([CONNECT, LEAVE], connecting({"type": "websocket.close", "code": 4003}))
    (one,) = found.differences
    assert isinstance(one, Difference)
    assert (one.communicator, one.live, one.uvicorn) == (("close", 4003), ("refused", 403), None)
    assert one.why.startswith("Before accept there is no WebSocket yet") and "403" in one.why


async def test_what_comes_after_the_end_says_so():
    """The second row of a refusal points to the first."""
    last = [{"type": "websocket.send", "text": "why"}, {"type": "websocket.close"}]
    found = await parity([CONNECT], connecting(*last))
    assert [each.why for each in found.differences][1] == "The client's connection had ended with the row above."


def test_an_unknown_difference_is_honest():
    """Where no reason fits, it says so, and how to look further; for uvicorn too."""
    one, two = (("accept", None), ("text", "1")), (("accept", None), ("text", "2"))
    assert [each.why for each in Parity(one, two).differences] == [NO_REASON]
    assert [each.why for each in Parity(one, one, two).differences] == [NO_REASON]
    assert "serve()" in NO_REASON and "server.trace" in NO_REASON


def test_a_known_reason_stands_beside_an_unknown_one():
    """What is known of daphne is said although uvicorn's own way is a riddle."""
    (one,) = Parity((("close", 1008),), (("close", 1011),), (("close", 1002),)).differences
    assert one.why.startswith("An application may close with 1000") and one.why.endswith(NO_REASON)


def test_who_ended_earlier_has_a_reason():
    """Uvicorn drops an application for an unknown event; what daphne sent after it is not a second riddle."""
    found = Parity(
        (("accept", None), ("event", "x"), ("text", "b")),
        (("accept", None), ("text", "b")),
        (("accept", None), ("close", 1006)),
    )
    assert [each[:3] for each in found.differences] == [
        (("event", "x"), ("nothing",), ("close", 1006)),
        (("text", "b"), ("text", "b"), ("nothing",)),
    ]
    assert found.differences[1].why == "Uvicorn had ended the connection with the row above."


def test_equals_stand_beside_equals():
    """What one left out does not shift what comes after it; what one adds stands alone."""
    a, b, c, d = (("text", each) for each in "abcd")
    found = Parity((a, b, c), (a, c), (d, a, b, c, d))
    assert [each[:3] for each in found.differences] == [
        (("nothing",), ("nothing",), d),
        (b, ("nothing",), b),
        (("nothing",), ("nothing",), d),
    ]


def test_it_is_shown_as_a_picture_and_as_text():
    """Both name the difference and its reason, the same each time; what is the same is said to be."""
    found = Parity((("accept", None), ("close", 4001, "late")), (("accept", None), ("close", 4001)))
    shown = found._repr_mimebundle_()
    assert set(shown) == {"text/plain", "image/svg+xml"} and shown == found._repr_mimebundle_()
    assert shown["text/plain"].splitlines() == [
        "  communicator     live server",
        "  accept None      accept None",
        "≠ close 4001 late  close 4001",
        "  └ Daphne sends the close code without the reason.",
    ]
    assert "1 difference<" in shown["image/svg+xml"] and "without the reason" in shown["image/svg+xml"]
    assert "no difference<" in Parity((), ())._repr_mimebundle_()["image/svg+xml"]
    assert "2 differences<" in Parity((("a",), ("b",)), ())._repr_mimebundle_()["image/svg+xml"]
