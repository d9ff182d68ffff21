"""What came of an answer, as the learner sees it: words for the terminal, words and a picture for the notebook.

Room: values and their two forms, the same bytes on every run. Who judges is `judge`.
"""

import base64
import html
from dataclasses import dataclass
from typing import Any

from labserver.trace.events import Trace

MARKS = {"passed": "✓", "wrong": "✗", "crashed": "✗", "unattempted": "○"}
"""A sign for each outcome, so that colour is not needed to tell them apart."""


@dataclass(frozen=True)
class Result:
    """What came of an answer.

    id: the exercise. outcome: `passed`, `wrong`, `crashed` or `unattempted`. name: the misconception, or the error's
    class. found: what the answer did. step: what to do next. lines: the learner's own lines, of a traceback or of
    where it was busy. trace: the events that convict the answer, or None. output: what the answer printed, cut.
    """

    id: str
    outcome: str
    name: str = ""
    found: str = ""
    step: str = ""
    lines: tuple[str, ...] = ()
    trace: Trace | None = None
    output: str = ""

    def _parts(self) -> list[str]:
        head = f"{MARKS[self.outcome]} {self.id} {self.outcome}"
        parts = [": ".join(part for part in (head, self.name, self.found) if part), *self.lines]
        parts += [f"→ {self.step}"] if self.step else []
        parts += [f"it printed: {self.output}".rstrip()] if self.output else []
        return parts

    def __str__(self) -> str:
        return "\n".join(self._parts() + ([str(self.trace)] if self.trace is not None else []))

    def __repr__(self) -> str:
        return str(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        head, *_ = self._parts()
        page = f"<p><b>{html.escape(head)}</b></p>"
        page += f"<pre>{html.escape(chr(10).join(self.lines))}</pre>" if self.lines else ""
        page += f"<p>→ {html.escape(self.step)}</p>" if self.step else ""
        page += f"<pre>it printed: {html.escape(self.output)}</pre>" if self.output else ""
        if self.trace is not None:
            picture = self.trace._repr_mimebundle_()["image/svg+xml"]
            encoded = base64.b64encode(picture.encode()).decode()
            page += f'<img alt="What happened on the wire" src="data:image/svg+xml;base64,{encoded}">'
        return {"text/plain": str(self), "text/html": page}
