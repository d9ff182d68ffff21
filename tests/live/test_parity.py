"""One scenario several times, side by side: the same, or each difference told."""

import sys

import pytest

from labserver.errors import LabError, UvicornMissing
from labserver.live.parity import Difference, Parity, parity
from labserver.live.parity_reasons import NO_REASON
from labserver.live.server import configure_django

CONNECT = {"type": "websocket.connect"}
ACCEPT = {"type": "websocket.accept"}
LEAVE = {"type": "websocket.disconnect", "code": 1001}


@pytest.fixture(autouse=True)
def django():
    """Channels' testing module needs settings."""
    configure_django()


def said(text):
    """A text message from the client."""
    return {"type": "websocket.receive", "text": text}


def connecting(*events):
    """An application that answers websocket.connect with these events, and stays."""

    async def application(scope, receive, send):
        await receive()
        for event in events:
            await send(event)
        while (await receive())["type"] != "websocket.disconnect":
            pass

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


async def test_a_refusal_differs():
    """Before accept a test sees the code, and a client sees HTTP 403."""

    async def refuses(scope, receive, send):
        await receive()
        await send({"type": "websocket.close", "code": 4003})

    found = await parity([CONNECT, LEAVE], refuses)
    assert not found and str(found).endswith("≠ close 4003    refused 403")


async def test_nothing_is_seen_by_the_learners_server(server, echo):
    """It has a server of its own: the learner's trace and connections stay empty."""
    assert await parity([CONNECT, said("a"), LEAVE], echo)
    assert not server.trace.events and not server.connections


async def test_uvicorn_is_asked_only_if_wanted(echo):
    """Without it the field is None; with it, it stands in a third column."""
    assert (await parity([CONNECT, said("a"), LEAVE], echo)).uvicorn is None
    found = await parity([CONNECT, said("a"), LEAVE], echo, uvicorn=True)
    assert found.uvicorn == found.live
    assert str(found).splitlines()[0] == "  communicator  daphne       uvicorn"


async def test_uvicorn_missing_says_what_to_install(echo, monkeypatch):
    """An error of the lab's own, before anything is played."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UvicornMissing, match=r"pip install 'channels-lab\[deploy\]'") as caught:
        await parity([CONNECT], echo, uvicorn=True)
    assert isinstance(caught.value, LabError) and isinstance(caught.value, ImportError)


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


async def test_what_is_no_text_is_compared_all_the_same():
    """An application that sends a dict as text is told so, not the caller of parity."""
    found = await parity([CONNECT], connecting(ACCEPT, {"type": "websocket.send", "text": {"a": [1]}}))
    assert found.differences[0][:3] == (("text", {"a": [1]}), ("close", 1011), None)


def test_the_shorter_side_sees_nothing():
    """Where one side sees more, the other is shown to see nothing."""
    assert str(Parity((("accept", None),), ())).endswith("≠ accept None   nothing")


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


def test_an_unknown_difference_is_honest():
    """Where no reason fits, it says so, and how to look further; for uvicorn too."""
    one, two = (("accept", None), ("text", "1")), (("accept", None), ("text", "2"))
    assert [each.why for each in Parity(one, two).differences] == [NO_REASON]
    assert [each.why for each in Parity(one, one, two).differences] == [NO_REASON]
    assert "serve()" in NO_REASON and "server.trace" in NO_REASON


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
