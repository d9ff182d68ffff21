"""How far a long run has come: on a terminal a line that is written over, in a log a line now and then.

Room: one stream.
"""

import shutil
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TextIO

EVERY = 20.0
"""Seconds between two lines in a log, where nothing can be written over."""


class Progress(AbstractContextManager):
    """The notebooks that are running, each with how many of its cells are done."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._running: dict[Path, tuple[int, int]] = {}
        self._told = time.monotonic()

    def print(self, text: str) -> None:
        """Print lines that stay."""
        self._clear()
        print(text, file=self._stream, flush=True)
        self._told = time.monotonic()

    def cells(self, path: Path, done: int, of: int) -> None:
        """So many cells of a notebook are done."""
        self._running[path] = done, of
        if done == of:
            del self._running[path]
        running = " · ".join(f"{path.stem} {done}/{of}" for path, (done, of) in self._running.items())
        if self._terminal:
            self._clear()
            self._stream.write(running[: shutil.get_terminal_size().columns - 1])
            self._stream.flush()
        elif running and time.monotonic() - self._told >= EVERY:
            self.print(f"      cells done: {running}")

    def __exit__(self, *exc_info: object) -> None:
        self._clear()

    def _clear(self) -> None:
        if self._terminal:
            self._stream.write("\r\x1b[K")
