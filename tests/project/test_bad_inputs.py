"""Rows 47 to 64 of the table of bad inputs, byte by byte, on the reference project as the lab serves it."""

import asyncio
import struct

import pytest

TEXT, BINARY, CLOSE, PING, CONTINUATION = 1, 2, 8, 9, 0
MASK = b"\x01\x02\x03\x04"
LIMIT = 10
"""Seconds that a server may take for an answer."""


def frame(opcode, payload=b"", *, final=True, reserved=0, masked=True, length=None):
    """A frame as RFC 6455, 5.2 draws it; `length` says another one than is true."""
    size = len(payload) if length is None else length
    head = bytes([final << 7 | reserved << 4 | opcode])
    if size < 126:
        head += bytes([masked << 7 | size])
    elif size < 1 << 16:
        head += bytes([masked << 7 | 126]) + struct.pack("!H", size)
    else:
        head += bytes([masked << 7 | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    mask = (MASK * len(payload))[: len(payload)]
    return head + MASK + (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(len(payload))


def close(code):
    """A close frame."""
    return frame(CLOSE, struct.pack("!H", code))


class Peer:
    """A client that can say anything."""

    def __init__(self, server):
        self.port = int(server.url.rpartition(":")[2])

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *exc_info):
        self.writer.close()

    async def ask(self, *, path="/ws/echo/", host=None, origin="", headers=(), upgrade=True):
        """Send a request; returns the status of the answer."""
        origin = f"http://127.0.0.1:{self.port}" if origin == "" else origin
        lines = [f"GET {path} HTTP/1.1", f"Host: {host or f'127.0.0.1:{self.port}'}", *headers]
        lines += [f"Origin: {origin}"] if origin else []
        if upgrade:
            lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
            lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        async with asyncio.timeout(LIMIT):
            answer = await self.reader.readuntil(b"\r\n\r\n")
        return int(answer.split(b" ")[1])

    async def answer(self):
        """The next frame: its opcode, and the code if it is a close frame."""
        async with asyncio.timeout(LIMIT):
            first, size = await self.reader.readexactly(2)
            payload = await self.reader.readexactly(size & 127)
        opcode = first & 15
        return opcode, struct.unpack("!H", payload[:2])[0] if opcode == CLOSE else payload


FRAMES = {
    "47 unmasked": ([frame(TEXT, b"hi", masked=False)], 1002),
    "48 bad UTF-8": ([frame(TEXT, b"\xff\xfe")], 1007),
    "48 bad UTF-8 in the second fragment": (
        [frame(TEXT, b"\xce", final=False), frame(CONTINUATION, b"\xed\xa0\x80")],
        1007,
    ),
    "49 fragmented ping": ([frame(PING, b"x", final=False)], 1002),
    "49 ping of 126 bytes": ([frame(PING, b"x" * 126)], 1002),
    "50 reserved bit": ([frame(TEXT, b"x", reserved=4)], 1002),
    "50 reserved opcode": ([frame(3, b"x")], 1002),
    "50 reserved control opcode": ([frame(11)], 1002),
    "51 orphan continuation": ([frame(CONTINUATION, b"x")], 1002),
    "51 message inside a message": ([frame(TEXT, b"x", final=False), frame(TEXT, b"y")], 1002),
    "52 close 999": ([close(999)], 1002),
    "52 close 1005": ([close(1005)], 1002),
    "52 close of one byte": ([frame(CLOSE, b"\x03")], 1002),
    "53 over 1 MiB": ([frame(BINARY, bytes((1 << 20) + 1))], 1009),
    "53 over 1 MiB in fragments": (
        [frame(BINARY, bytes(600_000), final=False), frame(CONTINUATION, bytes(600_000))],
        1009,
    ),
    "53 64 MiB declared": ([frame(BINARY, length=64 << 20)], 1009),
    "54 endless empty fragments": ([frame(TEXT, final=False), *[frame(CONTINUATION, final=False)] * 200], 1008),
}


@pytest.mark.parametrize("name", FRAMES)
async def test_an_illegal_frame_is_answered_by_its_code(server, name):
    """Rows 47 to 54: the close frame says what was wrong; no reset, and the next client is served."""
    frames, code = FRAMES[name]
    async with Peer(server) as peer:
        assert await peer.ask() == 101
        peer.writer.write(b"".join(frames))
        assert await peer.answer() == (CLOSE, code)
    async with Peer(server) as peer:
        assert await peer.ask() == 101
        peer.writer.write(frame(TEXT, b"ok"))
        assert await peer.answer() == (TEXT, b"ok")


async def test_empty_fragments_are_allowed_in_measure(server):
    """RFC 6455 allows empty fragments; a message with some of them is a message, again and again."""
    async with Peer(server) as peer:
        assert await peer.ask() == 101
        for _ in range(3):
            empty = [frame(CONTINUATION, final=False)] * 50
            peer.writer.write(b"".join([frame(TEXT, b"a", final=False), *empty, frame(CONTINUATION, b"b")]))
            assert await peer.answer() == (TEXT, b"ab")


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        pytest.param(403, {"path": "/ws/nowhere/"}, id="55 no such WebSocket path"),
        pytest.param(403, {"path": "/ws/echo/%ff"}, id="56 WebSocket path with %ff"),
        pytest.param(404, {"path": "/%ff", "upgrade": False}, id="56 path with %ff"),
        pytest.param(403, {"origin": None}, id="59 no origin"),
        pytest.param(403, {"origin": "null"}, id="59 origin null"),
        pytest.param(403, {"origin": "http://evil.example"}, id="59 foreign origin"),
        pytest.param(403, {"origin": "http://127.0.0.1.evil.example"}, id="59 origin that begins like ours"),
        pytest.param(101, {"origin": "http://127.0.0.1:1"}, id="60 another port of our host, by policy"),
        pytest.param(400, {"host": "evil.example", "upgrade": False}, id="61 foreign host"),
        pytest.param(403, {"host": "evil.example"}, id="62 foreign host of a WebSocket"),
        pytest.param(400, {"headers": ["Host: evil.example"]}, id="62 two hosts"),
        pytest.param(400, {"headers": ["X-A: a\x01b"]}, id="63 control character"),
        pytest.param(400, {"headers": ["X-A: a\x7fb"], "upgrade": False}, id="63 delete character"),
        pytest.param(101, {"headers": ["X-A: a\tb"]}, id="63 a tab is none"),
        pytest.param(101, {"headers": ["Daphne-Root-Path: /evil"]}, id="64 root path of a WebSocket"),
        pytest.param(200, {"headers": ["Daphne-Root-Path: /evil"], "path": "/console/", "upgrade": False}, id="64"),
    ],
)
async def test_a_bad_request_gets_its_status(server, status, request_):
    """Rows 55 to 64: refused with the status that says so, by the project and the server together."""
    async with Peer(server) as peer:
        assert await peer.ask(**request_) == status
