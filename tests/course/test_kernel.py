"""Checks in a real kernel: whatever an answer does, the cell ends, and kernel and server go on."""

import json

import pytest

START = """
from labserver import check, serve
import asyncio, time
from channels.generic.websocket import WebsocketConsumer

async def application(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": "serves on"})

server = serve(application)
result = lambda answer: print(repr(check("01.2", answer)).splitlines()[0][:80])
"""

AFTER = """
async with server.connect("/") as ws:
    await ws.send("?")
    print(await ws.recv())
"""

ANSWERS = {
    "loops": ("while True: pass", "01.2 wrong: never gives way"),
    "blocks": ("time.sleep(8)", "01.2 wrong: never gives way"),
    "waits": ("await asyncio.Event().wait()", "01.2 wrong: waits for something else"),
    "floods": ("for _ in range(100_000): print('flood' * 10)", "01.2 wrong: forgot accept"),
    "exits": ("exit()", "01.2 crashed: SystemExit"),
    "raises": ("raise KeyboardInterrupt", "01.2 crashed: KeyboardInterrupt"),
}


@pytest.fixture(scope="module")
def kernel(new_kernel):
    """One kernel for all of it: each answer comes after the ones before."""
    kernel = new_kernel()
    kernel.run(START)
    yield kernel
    kernel.end()


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_ends_in_a_result_and_harms_nothing(kernel, name):
    """The check returns its result, prints nothing else, and the server answers afterwards."""
    line, said = ANSWERS[name]
    assert said in kernel.run(f"async def {name}(scope, receive, send):\n    {line}\n\nresult({name})")
    assert kernel.run(AFTER) == "serves on\n"


def test_a_consumer_in_a_thread_is_stopped_too(kernel):
    """A sync consumer runs in a thread; an endless loop there ends as well, with its own line shown."""
    cell = """
class Endless(WebsocketConsumer):
    def connect(self):
        while True:
            len("x")

print(check("01.2", Endless.as_asgi()).lines[-1])
"""
    assert "in connect" in kernel.run(cell)
    assert kernel.run(AFTER) == "serves on\n"


def test_a_result_is_shown_by_itself(kernel):
    """As the last line of a cell, a check shows its plain and its rich form."""
    cell = "import json; print(json.dumps(sorted(check('01.2', application)._repr_mimebundle_())))"
    assert json.loads(kernel.run(cell)) == ["text/html", "text/plain"]
