"""What a long run shows while it runs."""

import io
from pathlib import Path

import pytest

from labserver.validation import progress as room
from labserver.validation.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def seen(written: str) -> list[str]:
    """The lines of a terminal after all this was written to it."""
    lines = []
    for line in written.split("\n"):
        for part in line.split("\r\x1b[K"):
            line = part
        lines.append(line)
    return lines


def test_a_terminal_has_a_line_that_is_written_over():
    """It names the notebooks that run, lines that stay stand above it, and in the end it is gone."""
    stream = Terminal()
    with Progress(stream) as progress:
        progress.cells(Path("a.ipynb"), 1, 3)
        progress.cells(Path("b.ipynb"), 4, 9)
        assert seen(stream.getvalue()) == ["a 1/3 · b 4/9"]
        progress.print("ok  a")
        progress.cells(Path("a.ipynb"), 3, 3)
        assert seen(stream.getvalue()) == ["ok  a", "b 4/9"]
    assert seen(stream.getvalue()) == ["ok  a", ""]


def test_the_line_is_no_longer_than_the_terminal_is_wide(monkeypatch):
    """A line that wraps could not be written over."""
    monkeypatch.setenv("COLUMNS", "9")
    stream = Terminal()
    Progress(stream).cells(Path("a-long-name.ipynb"), 1, 3)
    assert seen(stream.getvalue()) == ["a-long-n"]


@pytest.mark.parametrize(("every", "lines"), [(0.0, ["      cells done: a 1/2"]), (3600.0, [])])
def test_a_log_has_a_line_now_and_then(monkeypatch, every, lines):
    """At most one in so many seconds, without control characters, and none when nothing runs."""
    monkeypatch.setattr(room, "EVERY", every)
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.cells(Path("a.ipynb"), 1, 2)
        progress.cells(Path("a.ipynb"), 2, 2)
    assert stream.getvalue().splitlines() == lines
