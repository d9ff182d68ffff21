"""One scenario several times, side by side: through a communicator, on daphne, and on uvicorn if it is asked for.

Room: puts together what `parity_play` sees on the servers of `parity_servers`, and why (`parity_reasons`). Those
servers are its own, beside the learner's: nothing of it is seen in `server.trace`, and nobody else is connected to
them. They are plain ones, as they would be deployed: what the lab's own server does better (a path without a route, a
frame that breaks the rules) they leave as it is.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any, NamedTuple

from labserver.trace.compare_svg import Line, side_by_side, text

from .parity_play import Request, communicated, served
from .parity_reasons import NOTHING, Evidence, Seen, reason
from .parity_servers import import_uvicorn, on_daphne, on_uvicorn


class Difference(NamedTuple):
    """A row in which not all see the same, and why. `uvicorn` is None where it was not asked for."""

    communicator: tuple
    live: tuple
    uvicorn: tuple | None
    why: str


@dataclass(frozen=True)
class Parity:
    """What a client sees of each; true if communicator and live do not differ. `str()` puts them side by side.

    live: through daphne. uvicorn: None if it was not asked for.
    """

    communicator: Seen
    live: Seen
    uvicorn: Seen | None = None
    evidence: Evidence = field(default=Evidence(), repr=False, compare=False)

    def __bool__(self) -> bool:
        return self.communicator == self.live

    def __str__(self) -> str:
        return text(self._names, self._lines, notes=False)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The rows in which they differ; each says why."""
        return tuple(Difference(*row[:2], row[2] if row[2:] else None, why) for row, why in self._rows() if why)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        number = len(self.differences)
        summary = f"{number} difference{'s' * (number != 1)}" if number else "no difference"
        return {
            "text/plain": text(self._names, self._lines),
            "image/svg+xml": side_by_side("What a client sees", summary, self._names, self._lines),
        }

    @property
    def _names(self) -> tuple[str, ...]:
        return ("communicator", "live server") if self.uvicorn is None else ("communicator", "daphne", "uvicorn")

    @property
    def _lines(self) -> list[Line]:
        return [Line(tuple(" ".join(map(str, cell)) for cell in row), bool(why), why) for row, why in self._rows()]

    def _rows(self) -> list[tuple[tuple, str]]:
        """What belongs together in one row, and why it differs; empty if it does not."""
        rows = _aligned(self.communicator, [self.live] if self.uvicorn is None else [self.live, self.uvicorn])
        return [(row, reason(rows, at, self.evidence)) for at, row in enumerate(rows)]


def _aligned(first: Seen, others: Sequence[Seen]) -> list[tuple[tuple, ...]]:
    """Rows of equals, as far as there are any; between them what takes the place of what, or of `NOTHING`."""
    rows: list[tuple[tuple, ...]] = []
    for own, *slots in zip([(), *([each] for each in first)], *(_beside(first, each) for each in others), strict=True):
        rows += zip_longest(own, *slots, fillvalue=NOTHING)
    return rows


def _beside(first: Seen, other: Seen) -> list[list[tuple]]:
    """What the other saw before all of the first, then what it saw beside each of them and behind it."""
    slots: list[list[tuple]] = [[] for _ in range(len(first) + 1)]
    matcher = SequenceMatcher(None, [*map(repr, first)], [*map(repr, other)], autojunk=False)  # some have no hash
    for _, start, end, low, high in matcher.get_opcodes():
        for i in range(low, high):
            slots[min(start + i - low + 1, end)].append(other[i])
    return slots


async def parity(
    scenario: Iterable[dict[str, Any]],
    application: Callable,
    *,
    path: str = "/",
    headers: Iterable[tuple[bytes | str, bytes | str]] = (),
    subprotocols: Iterable[str] = (),
    uvicorn: bool = False,
) -> Parity:
    """Play a client to the application, once through `WebsocketCommunicator`, on daphne, and if asked for on uvicorn.

    scenario: the client's events as an application receives them: `websocket.connect` first, then
    `websocket.receive`, and `websocket.disconnect` for leaving. Each is sent when the one before is dealt with.
    headers: what all send. Clients of a server send Host and Origin beside it, as browsers do; a communicator does not.
    Raises TimeLimit if the application neither ends nor asks for its next event within `settling.STEP` seconds;
    UvicornMissing if uvicorn is asked for and is not installed.
    """
    events, request = list(scenario), Request.of(path, headers, subprotocols)
    if uvicorn:
        import_uvicorn()  # so that nothing is played if it is missing
    test, evidence = await communicated(events, application, request)
    async with on_daphne() as server:
        live = await served(events, application, request, server)
    if not uvicorn:
        return Parity(test, live, None, evidence)
    async with on_uvicorn() as server:
        return Parity(test, live, await served(events, application, request, server), evidence)
