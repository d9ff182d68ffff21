"""A result says what it has, in words and in a picture."""

from labserver.course.result import Result
from labserver.trace.events import Log, Trace


def a_trace():
    """A trace of one event."""
    log = Log()
    trace = Trace(log)
    log.add(log.open({"type": "websocket", "path": "/"}), "receive", {"type": "websocket.connect"})
    return trace


def test_a_result_without_anything_is_its_outcome():
    """What is not there is not said."""
    assert str(Result("01.1", "unattempted")) == "○ 01.1 unattempted"
    assert Result("01.1", "passed")._repr_mimebundle_() == {
        "text/plain": "✓ 01.1 passed",
        "text/html": "<p><b>✓ 01.1 passed</b></p>",
    }


def test_a_whole_result_has_its_parts_in_order():
    """Misconception, own lines, one step, what was printed, and the trace."""
    result = Result("01.1", "wrong", "name", "found", "step", ("  cell, line 1",), a_trace(), "printed")
    head = ["✗ 01.1 wrong: name: found", "  cell, line 1", "→ step", "it printed: printed"]
    assert repr(result).splitlines()[:4] == head
    assert "websocket.connect" in str(result)


def test_the_notebook_shows_it_safely():
    """What the learner wrote is shown, not run; the picture has words for those who cannot see it."""
    page = Result("01.1", "crashed", "<b>", "", "<i>", (), a_trace())._repr_mimebundle_()["text/html"]
    assert "&lt;b&gt;" in page and "<p>→ &lt;i&gt;</p>" in page
    assert 'alt="What happened on the wire" src="data:image/svg+xml;base64,' in page
