"""Why a test and a client see something else: one sentence for each difference that is known.

Room: pure values; no Django, no network. A reason looks at what was seen (`Seen`) and at what else is known of the
communicator's run (`Evidence`). What no reason fits is said to be unknown.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

MIB = 2**20

Seen = tuple[tuple, ...]
"""What a client sees, in order: `("accept", subprotocol)` and behind it the headers that the application added,
`("text", …)`, `("bytes", …)`, `("close", code)` and behind it the reason if there is one, `("refused", HTTP status)`,
`("no answer",)` to a handshake, `("failed", error)` for an answer that the client takes for an illegal one, and what
only a test is told: `("crash", error)`, `("text and bytes", …, …)` in one event, `("event", type)`."""

NOTHING = ("nothing",)
"""Stands where others see something."""

NO_REASON = (
    "No reason for this is known here: serve() the application, connect, and look at server.trace for what it sent."
)


@dataclass(frozen=True)
class Evidence:
    """What else is known of the communicator's run.

    error: what the application raised, as `Type: text`. path: as it was asked for. offered: subprotocols. headers:
    their names in small letters. longest: characters or bytes of the client's longest message. before_leaving: how much
    the application had sent when its client left; None if it stayed.
    """

    error: str = ""
    path: str = "/"
    offered: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    longest: int = 0
    before_leaving: int | None = None

    @property
    def repeats_headers(self) -> bool:
        return len(set(self.headers)) < len(self.headers)


def reason(rows: Sequence[Seen], at: int, evidence: Evidence) -> str:
    """Why this row differs: a sentence for communicator and daphne, and one for uvicorn if it goes its own way.

    rows: what each sees, side by side: communicator, daphne and perhaps uvicorn. Empty if they see the same.
    """
    test, daphne, *more = rows[at]
    uvicorn = more[0] if more else daphne
    test_before, *before = zip(*rows[:at], strict=True) if at else ((), ())
    test_before = tuple(cell for cell in test_before if cell != NOTHING)
    row = _Row(test, daphne, uvicorn, test_before, before[0], before[-1], evidence)
    found = [_first(OF_DAPHNE, row)] if test != daphne else []
    found += [_first(OF_UVICORN, row)] if uvicorn != daphne else []
    known = [why for why in found if why]
    return " ".join(known + [NO_REASON] * (len(known) < len(found)))


@dataclass(frozen=True)
class _Row:
    """What each sees in a row, what each saw before it, and the evidence."""

    test: tuple
    daphne: tuple
    uvicorn: tuple
    test_before: Seen
    daphne_before: Seen
    uvicorn_before: Seen
    evidence: Evidence

    @property
    def kind(self) -> str:
        return self.test[0]

    @property
    def is_message(self) -> bool:
        return self.kind in ("text", "bytes", "text and bytes")

    @property
    def missing_key(self) -> str:
        """The key that the application looked for in its scope, as Python writes it."""
        return self.evidence.error.removeprefix("KeyError: ") if self.kind == "crash" else ""

    @property
    def after_leaving(self) -> bool:
        """Whether the application sent it after its client had left."""
        before = self.evidence.before_leaving
        return before is not None and self.kind != "crash" and len(self.test_before) >= before

    @property
    def over(self) -> bool:
        """Whether a client of daphne had seen the end before."""
        return any(each[0] in ENDED for each in self.daphne_before)


Reasons = tuple[tuple[Callable[[_Row], Any], str], ...]


def _first(reasons: Reasons, row: _Row) -> str:
    return next((why for fits, why in reasons if fits(row)), "")


def _may_close_with(code: Any) -> bool:
    """Whether daphne lets an application close with this code (RFC 6455, 7.4.2)."""
    return isinstance(code, int) and (code == 1000 or 3000 <= code <= 4999)


ENDED = ("refused", "close", "no answer", "failed")
"""After these a client sees nothing more."""

SCOPE = frozenset(
    repr(key) for key in "asgi client extensions http_version raw_path root_path scheme server state".split()
)
"""What a server puts into a scope and a communicator does not, as a KeyError writes it."""

CLOSED_1006, CLOSED_1011, HTTP_403, HTTP_500 = ("close", 1006), ("close", 1011), ("refused", 403), ("refused", 500)

OF_DAPHNE: Reasons = (
    (
        lambda row: row.kind not in (NOTHING[0], "crash") and any(each[0] == "close" for each in row.test_before),
        "What is sent after a close goes nowhere: the connection is over. Only a communicator keeps it.",
    ),
    (
        lambda row: row.kind == "close" and row.daphne == HTTP_403,
        "Before accept there is no WebSocket yet that could carry a close code: the server answers the handshake with "
        "HTTP 403, and a browser reports 1006.",
    ),
    (
        lambda row: row.is_message and not row.test_before and row.daphne == HTTP_500,
        "Before accept there is no WebSocket yet that could carry a message: the server raises in the application, and "
        "answers the handshake with HTTP 500.",
    ),
    (
        lambda row: row.kind == "crash" and row.daphne == HTTP_500 and "No route found" in row.evidence.error,
        "No route matches the path: a test gets the router's ValueError, a client gets HTTP 500.",
    ),
    (
        lambda row: row.kind == "crash" and row.daphne == HTTP_500,
        "A test gets the exception itself; a client, whose handshake is not answered yet, gets HTTP 500.",
    ),
    (
        lambda row: row.missing_key in SCOPE,
        "A communicator's scope has type, path, query_string, headers and subprotocols alone; a server fills in more, "
        "and each server other things.",
    ),
    (
        lambda row: row.missing_key.startswith("b'"),
        "A communicator sends no headers but those that the test gives it; a client sends Host, a browser Origin too.",
    ),
    (
        lambda row: row.kind == "crash" and row.daphne == CLOSED_1011,
        "A test gets the exception itself; a client of daphne gets the close code 1011.",
    ),
    (
        lambda row: row.kind == "close" and row.daphne == CLOSED_1011 and not _may_close_with(row.test[1]),
        "An application may close with 1000 and 3000 to 4999: daphne raises for another code, and closes with 1011.",
    ),
    (
        lambda row: row.kind == "close" and len(row.test) > 2 and row.daphne == row.test[:2],
        "Daphne sends the close code without the reason.",
    ),
    (
        lambda row: row.kind == "accept" and len(row.test) > 2 and row.daphne == row.test[:2],
        "Daphne accepts without the headers that the application adds.",
    ),
    (
        lambda row: row.kind == "accept" and row.test[1] and row.test[1] not in row.evidence.offered,
        "A server may choose only from the subprotocols that the client offers: daphne fails without a word, and the "
        "client waits for its answer until the handshake's time is up, after 5 s.",
    ),
    (
        lambda row: row.kind == "accept" and row.test_before and row.daphne == CLOSED_1011,
        "A connection is accepted once: the server raises in the application at the second time.",
    ),
    (
        lambda row: row.kind == "text and bytes" and row.daphne == CLOSED_1011,
        "A message is text or bytes: daphne raises in an application that sends both in one event.",
    ),
    (
        lambda row: row.is_message and not row.test[1] and row.daphne == NOTHING,
        "Daphne sends no empty messages.",
    ),
    (
        lambda row: row.is_message and row.daphne == CLOSED_1011,
        "What cannot be sent as it is (text that is no str or no Unicode, bytes that are no bytes) makes the server "
        "raise in the application; a communicator checks nothing.",
    ),
    (
        lambda row: row.daphne == CLOSED_1006 and row.evidence.longest > MIB,
        "Daphne drops a client whose message is longer than 1 MiB, without a close frame; a communicator has no limit.",
    ),
    (
        lambda row: row.kind == "close" and row.daphne[0] == "accept" and "origin" not in row.evidence.headers,
        "A communicator sends no Origin but the one that the test gives it: who checks it refuses the test, and lets "
        "a browser in.",
    ),
    (
        lambda row: row.kind == "refused" and row.daphne[0] == "no answer",
        "Daphne does not know websocket.http.response.start, and ignores it: the client waits for its answer until the "
        "handshake's time is up, after 5 s.",
    ),
    (
        lambda row: row.test == NOTHING and row.daphne[0] == "no answer",
        "The application neither accepts nor closes: connect() of a communicator gives up after 1 s, the client of a "
        "server waits until the handshake's time is up, on daphne after 5 s.",
    ),
    (
        lambda row: row.kind == "event" and row.test[1] and row.daphne == NOTHING and not row.over,
        "Daphne ignores events whose type it does not know; a communicator hands over whatever is sent.",
    ),
    (
        lambda row: row.kind == "event" and row.daphne == CLOSED_1011,
        "An event without a type makes the server raise in the application; a communicator hands it over.",
    ),
    (
        lambda row: row.is_message and row.daphne[0] == row.kind and any("_" in name for name in row.evidence.headers),
        "Daphne leaves out headers with an underscore in their names: behind a proxy they could pass for others.",
    ),
    (
        lambda row: row.is_message and row.daphne[0] == row.kind and row.evidence.repeats_headers,
        "Daphne joins headers of the same name into one, with commas.",
    ),
    (
        lambda row: row.after_leaving and row.daphne == NOTHING,
        "It is sent after the client has left: the server drops it, a communicator keeps it.",
    ),
    (
        lambda row: row.daphne == NOTHING and row.over,
        "The client's connection had ended with the row above.",
    ),
)
"""Why communicator and daphne differ, by what was seen: the first that fits. Measured; see `live/differences.py`."""

OF_UVICORN: Reasons = (
    (
        lambda row: row.uvicorn == row.test and row.kind != NOTHING[0],
        "Uvicorn passes it on.",
    ),
    (
        lambda row: row.missing_key in SCOPE,
        "Uvicorn fills in other keys than daphne.",
    ),
    (
        lambda row: row.uvicorn == CLOSED_1006 and row.daphne[0] == "close",
        "When an application raises, uvicorn ends the connection without a close frame: 1006.",
    ),
    (
        lambda row: row.uvicorn == CLOSED_1006 and row.kind == "event",
        "Uvicorn raises in the application, and ends the connection without a close frame: 1006.",
    ),
    (
        lambda row: row.evidence.path.startswith("//"),
        "Daphne and the communicator take what follows two slashes for a host; uvicorn leaves the path as it is.",
    ),
    (
        lambda row: row.uvicorn == CLOSED_1006 and row.daphne == NOTHING,
        "When an application returns, uvicorn ends the connection without a close frame (1006); daphne leaves it open.",
    ),
    (
        lambda row: row.uvicorn[0] == "failed" and row.daphne[0] == "no answer",
        "Uvicorn sends it, and the client breaks the handshake off.",
    ),
    (
        lambda row: row.uvicorn == HTTP_500 and row.daphne[0] == "no answer",
        "Uvicorn answers HTTP 500 as soon as the application has returned.",
    ),
    (
        lambda row: row.uvicorn == NOTHING and CLOSED_1006 in row.uvicorn_before,
        "Uvicorn had ended the connection with the row above.",
    ),
    (
        lambda row: row.kind == "text and bytes" and row.uvicorn == ("bytes", row.test[2]),
        "Uvicorn sends the bytes, and forgets the text.",
    ),
)
"""Why uvicorn and daphne differ."""
