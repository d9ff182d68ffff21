"""Messages in few characters, the same on every run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labserver.trace.payload import columns, describe, shorten, show, stable, visible, wrap


@pytest.mark.parametrize(
    ("direction", "message", "words"),
    [
        ("receive", {"type": "websocket.connect"}, ""),
        ("send", {"type": "websocket.send", "text": "hi"}, "text='hi'"),
        ("send", {"type": "websocket.send", "text": None, "bytes": b"\x00hi"}, "bytes=b'\\x00hi'"),
        ("send", {"type": "websocket.send", "text": ""}, "text=''"),
        ("send", {"type": "websocket.close", "code": 4001, "reason": "bye"}, "code=4001 reason='bye'"),
        ("send", {"type": "http.response.start", "status": 200, "headers": [[b"a", b"b"]]}, "status=200"),
        ("receive", {"type": "http.request", "body": b"", "more_body": False}, ""),
        ("send", {"type": "websocket.send", "text": '{"a": "é"}'}, 'text=\'{"a": "é"}\''),
        ("layer", {"type": "group_add", "group": "blue"}, "blue"),
        ("layer", {"type": "group_send", "group": "blue", "message": {"type": "x.y", "a": 0}}, "blue x.y a=0"),
        ("layer", {"type": "send", "channel": "ws-2", "message": {"n": None}}, "ws-2 n=None"),
        ("layer", {"type": "receive", "message": "odd"}, "'odd'"),
        ("error", {"type": "ValueError", "text": "boom\n at 0x7f01", "where": "x"}, "boom\\n at 0x…"),
        ("error", {"type": "ValueError"}, ""),
        ("error", {"type": "ValueError", "text": "x" * 201}, "x" * 200 + "…"),
    ],
)
def test_a_message_is_described_by_what_it_carries(direction, message, words):
    """A description names each value by its key as ASGI does; a group message is told by group, type and entries."""
    assert describe(direction, message) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("x" * 300, "(300 characters) '" + "x" * 200 + "…"),
        (b"x" * 3000, "(3,000 bytes) b'" + "x" * 200 + "…"),
        ("x" * 300 + "… (20000 characters)", "(20,000 characters) '" + "x" * 200 + "…"),
        (b"x" * 300 + b"... (20000 bytes)", "(20,000 bytes) b'" + "x" * 200 + "…"),
        ([1, "a"], "[1, 'a']"),
        (list(range(1000)), str(list(range(1000)))[:400]),
    ],
)
def test_a_long_value_is_told_by_its_length_and_its_beginning(value, words):
    """A very long payload is shown by how long it is, also when the log has cut it."""
    assert show(value) == words


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("<Consumer object at 0x7f3a5c>", "<Consumer object at 0x…>"),
        ("0x00007f3a5c01", "0x…"),
        ("0xff0000", "0xff0000"),
        ("ws://127.0.0.1:41234/ws/ and localhost:80", "ws://127.0.0.1:PORT/ws/ and localhost:PORT"),
        ("at 12:30", "at 12:30"),
        ("/tmp/ipykernel_123/456.py, line 3", "cell, line 3"),
        (r"C:\Temp\ipykernel_123\456.py", "cell"),
        ("<ipython-input-3-abc>", "cell"),
    ],
)
def test_what_differs_from_run_to_run_is_taken_out(text, same):
    """Addresses in memory, ports and the names of cells are different on each run, so they are not shown."""
    assert stable(text) == same


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a b", "a b"),
        ("a\nb\t\x1b", "a\\nb\\t\\x1b"),
        ("\ud800", "\\ud800"),
        ("\u202eevil", "\\u202eevil"),
        ("é 🎉", "é 🎉"),
    ],
)
def test_what_cannot_be_seen_is_escaped(text, seen):
    """Control characters, lone surrogates and direction marks are written as Python writes them."""
    assert visible(text) == seen


@pytest.mark.parametrize(
    ("text", "width"), [("", 0), ("abc", 3), ("日本", 4), ("🎉", 2), ("e\u0301", 1), ("é", 1), ("a\u200db", 2)]
)
def test_columns_are_counted_as_a_terminal_counts(text, width):
    """East Asian letters and emoji take two columns, combining marks none."""
    assert columns(text) == width


@pytest.mark.parametrize(
    ("text", "width", "short"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("日本語日本", 6, "日本…"),
        ("日本", 1, "…"),
        ("a\u0301bc", 2, "a\u0301…"),
    ],
)
def test_a_text_is_cut_to_its_width(text, width, short):
    """What does not fit ends in an ellipsis and fits then."""
    assert shorten(text, width) == short


@pytest.mark.parametrize(
    ("text", "width", "lines", "found"),
    [
        ("", 10, 2, [""]),
        ("one two", 10, 2, ["one two"]),
        ("one two three", 8, 2, ["one two", "three"]),
        ("one two three", 7, 2, ["one two", "three"]),
        ("/ws/a/very/long/path", 12, 2, ["/ws/a/very/", "long/path"]),
        ("a bcdefghijklmnop", 8, 3, ["a bcdefg", "hijklmno", "p"]),
        ("one two three four five", 8, 2, ["one two", "three f…"]),
    ],
)
def test_a_text_is_broken_into_lines(text, width, lines, found):
    """Lines break after a space or a slash if there is one near the end; what is too much is cut."""
    assert wrap(text, width, lines) == found


words = st.text(st.characters(codec="utf-8")).map(visible)


@given(words, st.integers(2, 40), st.integers(1, 4))
def test_no_line_is_too_wide(text, width, lines):
    """Whatever the text, its lines fit, and nothing but spaces is lost where there are lines enough."""
    found = wrap(text, width, lines)
    assert len(found) <= lines and all(columns(line) <= width for line in found)
    if "…" not in "".join(found):
        assert "".join(found).replace(" ", "") == text.replace(" ", "")


@given(st.one_of(st.text(), st.binary(), st.recursive(st.none() | st.text(), lambda x: st.dictionaries(st.text(), x))))
def test_any_value_is_shown_on_one_line_that_can_be_encoded(value):
    """No payload breaks the line, the terminal or the encoding."""
    assert show(value).isprintable()
    show(value).encode()
