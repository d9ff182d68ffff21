"""Where a test and a client see something else: small applications, played through each, and put into one table.

Room: cases for `parity`; nothing of what the table says is written down here but the names of the cases. The
communicator, daphne and uvicorn are asked each time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import URLRouter
from channels.security.websocket import OriginValidator

from labserver.errors import UvicornMissing
from labserver.trace.compare_svg import Line, side_by_side, text

from .parity import Parity
from .parity_play import Request, communicated, served
from .parity_reasons import MIB, NOTHING, Seen
from .parity_servers import PlainServer, on_daphne, on_uvicorn
from .server import configure_django

CONNECT = {"type": "websocket.connect"}
ACCEPT = {"type": "websocket.accept"}
LEAVE = {"type": "websocket.disconnect", "code": 1000}
HELLO = {"type": "websocket.receive", "text": "hello"}

MISSING = "not installed"


@dataclass(frozen=True)
class Case:
    """An application, and what one client does with it; the rest as in `parity`."""

    name: str
    application: Callable
    scenario: tuple[dict[str, Any], ...] = (CONNECT,)
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    subprotocols: tuple[str, ...] = ()

    @property
    def request(self) -> Request:
        """What its client asks for."""
        return Request.of(self.path, self.headers, self.subprotocols)


@dataclass(frozen=True)
class Row:
    """What came of a case: what a client sees of each, and why. `uvicorn` is None where it is not installed."""

    name: str
    communicator: Seen
    daphne: Seen
    uvicorn: Seen | None
    why: str

    @property
    def line(self) -> Line:
        """The row as it is drawn: an accept that all begin with is left out."""
        columns = [each for each in (self.communicator, self.daphne, self.uvicorn) if each is not None]
        differs, common = len(set(columns)) > 1, [each[:1] for each in columns]
        start = int(differs and common[0] == (("accept", None),) and len(set(common)) == 1)
        cells = [_words(each[start:]) for each in columns]
        return Line((self.name, *cells, *[MISSING] * (3 - len(cells))), differs, self.why)


def _words(seen: Seen) -> str:
    """What one sees, in a line."""
    return ", ".join(f"{kind} {_rest(kind, rest)}".rstrip() for kind, *rest in seen or (NOTHING,))


def _rest(kind: str, rest: Sequence[Any]) -> str:
    """What one sees of an event beside its kind: messages and reasons as Python writes them."""
    quoted = kind in ("text", "bytes", "text and bytes", "close")
    return " ".join(repr(part) if quoted else str(part) for part in rest if part is not None)


@dataclass(frozen=True)
class Table:
    """All cases; in `rows` those in which communicator and daphne differ, in `same` those in which they agree."""

    rows: tuple[Row, ...]
    same: tuple[Row, ...] = field(default=())

    @property
    def summary(self) -> str:
        """What came of it, in a line."""
        said = f"{len(self.rows)} cases differ between communicator and daphne, {len(self.same)} do not"
        missing = any(row.uvicorn is None for row in (*self.rows, *self.same))
        return said + f"; uvicorn is {MISSING}: pip install 'channels-lab[deploy]'" * missing

    def __str__(self) -> str:
        return f"{self.summary}\n{text(_COLUMNS, self._lines)}"

    @property
    def _lines(self) -> Sequence[Line]:
        return [row.line for row in (*self.rows, *self.same)]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        picture = side_by_side("What a test sees, and what a client sees", self.summary, _COLUMNS, self._lines)
        return {"text/plain": str(self), "image/svg+xml": picture}


_COLUMNS = ("case", "communicator", "daphne", "uvicorn")


async def differences() -> Table:
    """Play all cases through the communicator, on daphne and, if it is installed, on uvicorn.

    Raises TimeLimit if an application does not react within `settling.STEP` seconds.
    """
    configure_django()
    tests = [await communicated(case.scenario, case.application, case.request) for case in CASES]
    async with on_daphne() as server:
        daphne = await _all(server)
    uvicorn: Sequence[Seen | None]
    try:
        async with on_uvicorn() as server:
            uvicorn = await _all(server)
    except UvicornMissing:
        uvicorn = [None] * len(CASES)
    rows, same = [], []
    for case, (test, evidence), one, two in zip(CASES, tests, daphne, uvicorn, strict=True):
        found = Parity(test, one, two, evidence)
        why = found.differences[0].why if found.differences else ""
        (same if found else rows).append(Row(case.name, test, one, two, why))
    return Table(tuple(rows), tuple(same))


async def _all(server: PlainServer) -> list[Seen]:
    return [await served(case.scenario, case.application, case.request, server) for case in CASES]


# --- the applications ---------------------------------------------------------------------------------------------


def sends(*events: dict[str, Any], returns: bool = False) -> Callable:
    """An application that answers websocket.connect with these events, and stays (or returns)."""

    async def application(scope, receive, send):
        await receive()
        for event in events:
            await send(event)
        if not returns:
            await receive()

    return application


def tells(what: Callable[[dict], Any]) -> Callable:
    """An application that accepts, and says what it finds in its scope."""

    async def application(scope, receive, send):
        await receive()
        await send(ACCEPT)
        await send(message(str(what(scope))))
        await receive()

    return application


def message(said: Any) -> dict[str, Any]:
    """A text message from the application."""
    return {"type": "websocket.send", "text": said}


def close(code: int, **more: Any) -> dict[str, Any]:
    """A close from the application."""
    return {"type": "websocket.close", "code": code, **more}


def denial(part: str, **more: Any) -> dict[str, Any]:
    """A part of an HTTP response: https://asgi.readthedocs.io/en/latest/extensions.html#websocket-denial-response"""
    return {"type": f"websocket.http.response.{part}", **more}


def values(scope: dict, name: bytes) -> list[bytes]:
    """All values of a header."""
    return [value for key, value in scope["headers"] if key == name]


async def measures(scope, receive, send):
    """Says how long each message is."""
    while (event := await receive())["type"] != "websocket.disconnect":
        await send(
            ACCEPT if event["type"] == "websocket.connect" else message(str(len(event.get("text") or event["bytes"])))
        )


async def says_goodbye(scope, receive, send):
    """Says something when its client has left."""
    await receive()
    await send(ACCEPT)
    await receive()
    await send(message("goodbye"))


class Refuses(AsyncWebsocketConsumer):
    """Refuses every client, with a code."""

    channel_layer_alias = ""

    async def connect(self):
        await self.close(4003)


class Crashes(AsyncWebsocketConsumer):
    """Has a bug in connect."""

    channel_layer_alias = ""

    async def connect(self):
        raise RuntimeError("a bug in connect")


class CrashesLater(AsyncWebsocketConsumer):
    """Has a bug in receive."""

    channel_layer_alias = ""

    async def receive(self, text_data=None, bytes_data=None):
        raise RuntimeError("a bug in receive")


CASES = (
    Case("close before accept", Refuses.as_asgi()),
    Case("message before accept", sends(message("why not"), close(4003))),
    Case("no accept, no close", sends(returns=True)),
    Case("exception in connect", Crashes.as_asgi()),
    Case("exception after accept", CrashesLater.as_asgi(), (CONNECT, HELLO, LEAVE)),
    Case("no route for the path", URLRouter([]), path="/nowhere/"),
    Case("HTTP denial response", sends(denial("start", status=401), denial("body", body=b"who are you?"))),
    Case("subprotocol not offered", sends({**ACCEPT, "subprotocol": "chat"}), subprotocols=("other",)),
    Case("headers with accept", sends({**ACCEPT, "headers": [(b"x-lab", b"1")]})),
    Case("accept twice", sends(ACCEPT, ACCEPT)),
    Case("close(1008)", sends(ACCEPT, close(1008))),
    Case("close with a reason", sends(ACCEPT, close(4001, reason="too late"))),
    Case("message after close", sends(ACCEPT, close(4001), message("late"))),
    Case("message after leaving", says_goodbye, (CONNECT, LEAVE)),
    Case("empty text", sends(ACCEPT, message(""))),
    Case("empty bytes", sends(ACCEPT, {"type": "websocket.send", "bytes": b""})),
    Case("text and bytes at once", sends(ACCEPT, {**message("a"), "bytes": b"b"})),
    Case("text that is no str", sends(ACCEPT, message(5))),
    Case("half a character", sends(ACCEPT, message("\ud83d"))),
    Case("unknown event type", sends(ACCEPT, {"type": "websocket.sent", "text": "a"})),
    Case("event without a type", sends(ACCEPT, {"text": "a"})),
    Case("message over 1 MiB", measures, (CONNECT, {"type": "websocket.receive", "bytes": bytes(MIB + 1)}, LEAVE)),
    Case("Origin is checked", OriginValidator(measures, ["127.0.0.1"])),
    Case("Host is read", tells(lambda scope: len(dict(scope["headers"])[b"host"]) > 0)),
    Case("underscore in a header", tells(lambda scope: values(scope, b"x_lab")), headers=(("x_lab", "1"),)),
    Case("header given twice", tells(lambda scope: values(scope, b"x")), headers=(("x", "1"), ("x", "2"))),
    Case('scope["client"]', tells(lambda scope: scope["client"][0])),
    Case('scope["http_version"]', tells(lambda scope: scope["http_version"])),
    # what is the same, at least for communicator and daphne
    Case("echo", measures, (CONNECT, HELLO, LEAVE)),
    Case("message of 1 MiB", measures, (CONNECT, {"type": "websocket.receive", "bytes": bytes(MIB)}, LEAVE)),
    Case("accept, message, close", sends(ACCEPT, message("why not"), close(4003))),
    Case("return after accept", sends(ACCEPT, returns=True), (CONNECT, LEAVE)),
    Case("escapes in the path", tells(lambda scope: scope["path"]), path="/caf%C3%A9%20a/"),
    Case("path with two slashes", tells(lambda scope: scope["path"]), path="//rooms/a/"),
)
"""Small applications and what a client does; the first that differ, then those that do not."""
