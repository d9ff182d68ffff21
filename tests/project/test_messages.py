"""Rows 29 to 46 of the table of bad inputs: what clients may send to rooms and to the chat, and what it gets them."""

import json

import pytest
from websockets.exceptions import ConnectionClosedError

from labserver.project import consumers
from labserver.project.consumers import StrictJsonConsumer

ROOM, CHAT = "/ws/room/blue/", "/infra/ws/"
DEEP = "[" * 2000 + "]" * 2000


def chat(inner):
    """A message to the chat whose inner JSON is this text."""
    return json.dumps({"type": "demo-message-send", "content": inner})


def fine(path):
    """A message that everybody in the place gets."""
    return chat('{"text": "still here"}') if path == CHAT else '{"type": "message", "content": "still here"}'


EVERYWHERE = {
    "29 not JSON": ["hello", "{", "{'type': 'message'}", "pin", " ping"],
    "30 empty": ["", " "],
    "31 binary": [b"", b"\x00\xff", b'{"type": "message", "content": 1}'],
    "32 no object": ["3", "null", "[]", '"message"', "true"],
    "33 type missing or unknown": ["{}", '{"content": "x"}', '{"type": "massage", "content": "x"}', '{"type": ["x"]}'],
    "41 a type of the server": [
        '{"type": "response", "content": "x"}',
        '{"type": "error", "content": "x"}',
        '{"type": "system", "content": "x"}',
        '{"type": "demo-message-receive", "content": "x"}',
    ],
    "42 a type of the layer": [
        '{"type": "send.response", "content": "x"}',
        '{"type": "chat.message", "content": "x", "from_user_id": 2}',
        '{"type": "websocket.disconnect", "content": "x", "code": 1000}',
    ],
}
VALUES = {
    "34 no number of JSON": ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"],
    "35 a doubled key": ['{"a": 1, "a": 1}'],
    "36 too deep": [DEEP, '{"a":' * 2000 + "1" + "}" * 2000, "[" * 100_000],
    "37 too long an integer": ["9" * 5000, "-" + "9" * 5000],
    "38 half of a pair": ['"\\ud800"', '{"\\udfff": 1}'],
}
ROWS = [(path, row, text) for row, texts in EVERYWHERE.items() for text in texts for path in (ROOM, CHAT)]
for row, values in VALUES.items():
    for value in values:
        ROWS.append((ROOM, row, f'{{"type": "message", "content": {value}}}'))
        ROWS.append((CHAT, row, f'{{"type": "demo-message-send", "content": {value}}}'))
        ROWS.append((CHAT, row, chat(f'{{"text": {value}}}')))
        ROWS.append((CHAT, row, chat(f'{{"text": "x", "toUserId": {value}}}')))
ROWS += [(ROOM, "43 too big", json.dumps({"type": "message", "content": "x" * 65_536}))]
ROWS += [(CHAT, "43 too big", chat(json.dumps({"text": "x" * 65_536})))]
UMLAUTS = chat(json.dumps({"text": "ü" * 33_000}, ensure_ascii=False)).replace("\\u00fc", "ü")
ROWS += [(CHAT, "43 too big in bytes", UMLAUTS)]
ROWS += [
    (CHAT, "40 triple JSON", chat(json.dumps(json.dumps({"text": "x"})))),
    (CHAT, "39 not in JSON", '{"type": "demo-message-send", "content": {"text": "x"}}'),
    (CHAT, "42 a type of the layer", chat('{"type": "chat.message", "from_user_id": 2}')),
    (CHAT, "blank text", chat('{"text": " \\n\\t "}')),
    (CHAT, "blank text", chat('{"text": ""}')),
    (CHAT, "no text", chat('{"toUserId": 1}')),
    (CHAT, "no text", chat('{"text": 3}')),
    (CHAT, "no user", chat('{"text": "x", "toUserId": true}')),
    (CHAT, "no user", chat('{"text": "x", "toUserId": false}')),
    (CHAT, "no user", chat('{"text": "x", "toUserId": 1.0}')),
    (CHAT, "no user", chat('{"text": "x", "toUserId": -1}')),
    (CHAT, "no user", chat('{"text": "x", "toUserId": "\\u0661"}')),
    (CHAT, "no user", chat('{"text": "x", "toUserId": "bob"}')),
    (CHAT, "no user", chat('{"text": "x", "toUserId": [2]}')),
    (CHAT, "no user", chat('{"text": "x", "toUserId": 9999999999999999999}')),
    (CHAT, "unknown recipient", chat('{"text": "x", "toUserId": 4711}')),
]


@pytest.mark.parametrize("path", [ROOM, CHAT])
async def test_what_cannot_be_understood_gets_an_error_and_nothing_else_happens(enter, server, path, monkeypatch):
    """Each bad message is answered with an error to its sender alone, and both stay connected."""
    monkeypatch.setattr(StrictJsonConsumer, "BURST", 10_000)
    async with enter(path, "alice") as alice, enter(path, "bob") as bob:
        for row, text in [(row, text) for where, row, text in ROWS if where == path]:
            await alice.send(text)
            answer = json.loads(await alice.recv())
            assert answer["type"] == "error" and isinstance(answer["content"], str), row
        await alice.send(fine(path))
        assert "still here" in await alice.recv()
        assert "still here" in await bob.recv()  # the first thing that bob hears of all this
    assert not [event for event in server.trace if event.direction == "error"]


async def test_json_in_json_is_decoded_and_its_text_stripped(enter, ids):
    """Row 39: the content is a JSON text; what arrives is one, too, with the sender's number."""
    async with enter(CHAT, "alice") as alice:
        await alice.send(chat('{"text": "  <script>alert(1)</script>\\n", "type": "chat.message", "fromUserId": 7}'))
        answer = json.loads(await alice.recv())
        assert answer.keys() == {"type", "content"} and answer["type"] == "demo-message-receive"
        expected = {"fromUserId": ids["alice"], "text": "<script>alert(1)</script>", "single": False}
        assert json.loads(answer["content"]) == expected


async def test_a_pong_that_nobody_asked_for_is_ignored(enter):
    """Row 45: nothing happens."""
    async with enter(CHAT, "alice") as alice:
        await alice.pong(b"unasked")
        await alice.send("ping")
        assert await alice.recv() == "pong"


@pytest.mark.parametrize("path", [ROOM, CHAT])
async def test_a_flood_is_slowed_down_and_then_closed(enter, server, path, monkeypatch):
    """Row 46: after the burst each message waits; who goes on is told why, and closed with 4008. Nobody else is."""
    monkeypatch.setattr(StrictJsonConsumer, "PATIENCE", 50)
    async with enter(path, "bob") as bob, enter(path, "alice") as alice:
        for _ in range(400):
            await alice.send("x")
        answers = []
        with pytest.raises(ConnectionClosedError):
            while True:
                answers.append(json.loads(await alice.recv())["content"])
        assert alice.close_code == 4008
        assert answers.pop().startswith("too many messages")
        assert StrictJsonConsumer.BURST + 48 < len(answers) < 300  # all of the burst, and the late ones but the last
        seen = [event.at for event in server.trace if event.type == "websocket.send" and event.connection == "ws-2"]
        assert seen[-1] - seen[StrictJsonConsumer.BURST] > 49 / StrictJsonConsumer.RATE * 0.9
        await bob.send(fine(path))
        assert "still here" in await bob.recv()


class Clock:
    """Stands in for the module `time`; moves when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        """The time of this clock."""
        return self.now


async def test_who_keeps_to_the_limit_again_is_forgiven(enter, monkeypatch):
    """Late messages count only until the client has been quiet for half of the burst's time."""
    clock = Clock()
    monkeypatch.setattr(consumers, "time", clock)
    monkeypatch.setattr(StrictJsonConsumer, "BURST", 4)
    monkeypatch.setattr(StrictJsonConsumer, "PATIENCE", 8)
    async with enter(CHAT, "alice") as alice:
        for _ in range(4):
            for _ in range(4 + 7):  # seven of them late: one more would be the end
                await alice.send("ping")
            for _ in range(4 + 7):
                assert await alice.recv() == "pong"
            clock.now += 1
