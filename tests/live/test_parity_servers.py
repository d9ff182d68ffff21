"""Daphne and uvicorn as they are deployed, for as long as they are needed."""

import asyncio
import logging
import signal
import sys
import threading

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from labserver.errors import UvicornMissing
from labserver.live import reactor
from labserver.live.parity_servers import import_uvicorn, on_daphne, on_uvicorn

BOTH = pytest.mark.parametrize("on", [on_daphne, on_uvicorn])


async def answer(server):
    """What the server answers to a request over HTTP, status and text."""
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.get(f"http://127.0.0.1:{server.port}/x")
    return response.status_code, response.text


async def crashes(scope, receive, send):
    """Has a bug."""
    raise RuntimeError


def listening():
    """The addresses on which this process listens."""
    return {each.laddr for each in psutil.Process().net_connections("tcp") if each.status == psutil.CONN_LISTEN}


async def tasks():
    """What runs on this loop."""
    return {each for each in asyncio.all_tasks() if each is not asyncio.current_task()}


@BOTH
async def test_one_application_after_the_other(echo, on):
    """A server has a port of its own, and runs what is put into it."""
    async with on() as server:
        server.application = echo
        assert await answer(server) == (200, "hello from /x")
        server.application = crashes
        assert (await answer(server))[0] == 500


@BOTH
async def test_two_of_a_kind_at_once(echo, on):
    """Nobody takes another one's port, or its application; the second goes on when the first has ended."""
    async with on() as one:
        async with on() as two:
            one.application = two.application = echo
            assert one.port != two.port and await answer(one) == await answer(two)
        assert await answer(one) == (200, "hello from /x")


@BOTH
async def test_the_end_leaves_nothing(echo, on, caplog):
    """No task, no thread, no listening socket, no signal handler, no log filter; and nothing is logged."""
    async with on() as server:
        server.application = echo
        await answer(server)
    signals, filters = (signal.SIGINT, signal.SIGTERM), list(logging.getLogger("uvicorn.error").filters)
    before = [signal.getsignal(each) for each in signals], set(threading.enumerate()), listening()
    there = await reactor.hop(tasks())
    async with on() as server:
        assert ("127.0.0.1", server.port) in listening()
        server.application = crashes
        with pytest.raises(InvalidStatus, match="500"):
            await connect(f"ws://127.0.0.1:{server.port}/", proxy=None)
    assert ([signal.getsignal(each) for each in signals], set(threading.enumerate()), listening()) == before
    assert await reactor.hop(tasks()) <= there
    assert logging.getLogger("uvicorn.error").filters == filters
    assert not caplog.records


async def test_daphne_is_a_plain_one():
    """What the lab's own server answers by a close code, a frame that breaks the rules, ends in a reset."""

    async def accepts(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    async with on_daphne() as server:
        server.application = accepts
        async with connect(f"ws://127.0.0.1:{server.port}/", proxy=None) as ws:
            ws.transport.write(b"\xc1\x80\0\0\0\0")  # a reserved bit is set
            with pytest.raises(ConnectionClosedError):
                await ws.recv()
            assert ws.close_code == 1006


async def test_uvicorn_cancels_who_does_not_leave():
    """An application that goes on although its client has left ends with the server."""
    ended = threading.Event()

    async def stays(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while True:
                await receive()
        finally:
            ended.set()

    async with on_uvicorn() as server:
        server.application = stays
        async with connect(f"ws://127.0.0.1:{server.port}/", proxy=None) as ws:
            pass
        assert (ws.subprotocol, ws.close_code, ended.is_set()) == (None, 1000, False)
    assert ended.is_set()


async def test_uvicorn_missing_says_what_to_install(monkeypatch):
    """An error of the lab's own, with the command."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UvicornMissing, match=r"found none .*pip install 'channels-lab\[deploy\]'"):
        import_uvicorn()
    with pytest.raises(UvicornMissing):
        async with on_uvicorn():
            pass
