"""A token that is planted everywhere is found nowhere: neither in what the lab shows nor in what servers write."""

import asyncio
import contextlib
import json
import logging
import os
import re
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from labserver import serve
from labserver.project.chat import logs

from ..conftest import DAPHNE, PROJECT, UVICORN, serving

CANARY = "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOiJDQU5BUlkifQ.Q0FOQVJZ-Q0FOQVJZ"
PIECES = (CANARY, CANARY.split(".")[1], "Q0FOQVJZ-Q0FOQVJZ")
COMMANDS = {
    "daphne": (*DAPHNE, "-v", "2"),
    "uvicorn": (*UVICORN, "--log-level", "debug"),
    "uvicorn, websockets": (*UVICORN, "--ws", "websockets"),
}


async def plant(address):
    """Carry the canary to the chat in every way there is."""
    options = {"origin": f"http://{address}", "proxy": None}
    ways = [
        {"query": f"?token={CANARY}"},
        {"query": f"?Token={CANARY}&other={CANARY}"},
        {"additional_headers": {"Authorization": f"Bearer {CANARY}"}},
        {"additional_headers": {"Cookie": f"jwt={CANARY}"}},
        {"subprotocols": ["bearer", CANARY]},
    ]
    for way in ways:
        async with asyncio.timeout(10):
            async with connect(f"ws://{address}/infra/ws/{way.pop('query', '')}", **options, **way) as ws:
                assert CANARY not in await ws.recv()
                await ws.wait_closed()


@pytest.mark.parametrize("name", COMMANDS)
def test_no_server_writes_a_token(name, tmp_path):
    """Log and output of daphne and of uvicorn hold no piece of it, and uvicorn's do say where it stood.

    Without the project's filter uvicorn writes `?token=…` twice for each WebSocket.
    """
    with serving(COMMANDS[name], tmp_path, **os.environ) as (address, log):
        asyncio.run(plant(address))
    written = log.read_text()
    assert "/infra/ws/" in written
    assert not [piece for piece in PIECES if piece in written]
    assert name == "daphne" or "token=[hidden]" in written


async def test_the_lab_shows_no_token(capsys, caplog):
    """Neither the trace as text, as a picture and as values, nor what is printed, logged and represented, holds it."""
    caplog.set_level(logging.DEBUG)
    server = serve(PROJECT)
    server.trace.clear()
    try:
        await plant(server.url.removeprefix("http://"))
        async with contextlib.AsyncExitStack() as stack:
            with contextlib.suppress(Exception):
                await stack.enter_async_context(server.connect(f"/nowhere/?token={CANARY}"))
            ws = await stack.enter_async_context(server.connect(f"/ws/echo/?token={CANARY}"))
            await ws.send(json.dumps({"type": "demo-token-refresh", "content": CANARY}))
            await ws.recv()
            shown = [repr(server.connections), str(server.layer), repr(server)]
        await server.get(f"/api/users/?token={CANARY}", headers={"Authorization": f"Bearer {CANARY}"})
        shown += [str(server.trace), repr(server.trace), str(server.trace.events)]
        shown += [str(value) for value in server.trace._repr_mimebundle_().values()]
        assert len(server.trace.events) > 20
    finally:
        server.stop()
    printed = capsys.readouterr()
    ours = [record for record in caplog.records if not record.name.startswith(("websockets.client", "http"))]
    for text in (*shown, printed.out, printed.err, *(record.getMessage() for record in ours)):
        assert not [piece for piece in PIECES if piece in text]


@pytest.mark.parametrize(
    ("message", "arguments", "expected"),
    [
        ('"WebSocket %s" [accepted]', ("/w/?a=1&token=abc&b=2",), '"WebSocket /w/?a=1&token=[hidden]&b=2" [accepted]'),
        (f"plain {CANARY}", (), "plain [hidden]"),
        ("%(token)s", ({"token": "kept"},), "kept"),
        ("%s %d", ("Token=x", 3), "Token=[hidden] 3"),
        (ValueError("no text"), (), "no text"),
    ],
)  # fmt: skip
def test_a_record_keeps_all_but_the_token(message, arguments, expected):
    """The filter changes tokens alone, whatever the record is made of."""
    record = logging.LogRecord("uvicorn.error", logging.INFO, "x.py", 1, message, arguments, None)
    assert logs.HideTokens().filter(record)
    assert record.getMessage() == expected


@pytest.mark.parametrize("folder", ["notebooks", "exercises", "solutions"])
def test_no_notebook_has_stored_a_token(folder):
    """Neither source nor output of any notebook holds a whole JWT, though lesson 07 makes many."""
    whole = re.compile(r"\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")
    books = sorted((Path(__file__).parents[2] / folder).glob("*.ipynb"))
    assert books
    assert not [book.name for book in books if whole.search(book.read_text(encoding="utf-8"))]
