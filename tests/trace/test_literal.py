"""Values as Python source: equal to what they were made from, in lines that fit, and as formatters write them."""

import json
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labserver.trace import literal
from labserver.trace.literal import LIKE, WIDTH, Writer, alike, escaped, json_of, pattern, place, raw
from labserver.trace.log import PAYLOAD_LIMIT, plain
from labserver.trace.payload import columns

UUID = "0a1b2c3d-0000-4000-8000-123456789abc"
TEXTS = st.text() | st.text("\"'\\ \n\tab é字", max_size=300) | st.text("ab ", min_size=80, max_size=400)


def values(keys):
    """What JSON can hold, with such keys."""
    return st.recursive(
        st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | TEXTS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


VALUES = values(TEXTS)
INDENTS = st.integers(0, 20).map(lambda level: 4 * level)
ROOMS = st.integers(0, 60)


def like():
    """A namespace with what a test has for values that change."""
    space = {"re": re}
    exec(LIKE, space)
    return space


SPACE = like()


def value_of(source, **secrets):
    """What a source means, where it stands at the end of a line."""
    return eval(f"(\n{source}\n)", SPACE | secrets)


def places(name="token"):
    """A writer that knows one secret, and the place of it."""
    return Writer({1: name}), place(1)


# --- what they mean -----------------------------------------------------------------------------------------------


@given(VALUES | st.binary(max_size=300), INDENTS, ROOMS)
def test_what_a_client_sends_is_written_exactly(value, indent, room):
    """The source of any value of JSON, text or bytes gives it back, wherever it stands."""
    found = value_of(Writer({}).sent(value, indent, room))
    assert found == value and type(found) is type(value)


@given(VALUES | st.binary(max_size=300), INDENTS, ROOMS)
def test_what_is_expected_equals_what_it_was_made_from(value, indent, room):
    """A value equals its own expectation, whatever stands for the parts of it that change."""
    assert value == value_of(Writer({}).expected(value, indent, room))


@given(st.text("ab", max_size=3), st.sampled_from(["x", "\n", '"', "'"]), st.integers(38, 500), INDENTS, ROOMS)
def test_letters_that_are_repeated_are_counted(before, letter, count, indent, room):
    """A text with a long run of a letter is a short sum, and the same text."""
    for value in (before + letter * count, (letter * count + before) * 2):
        for each in (value, value.encode()):
            source = Writer({}).sent(each, indent, room)
            assert value_of(source) == each
            assert len(source) < 400 + 10 * indent


@pytest.mark.parametrize("long", ["x" * (PAYLOAD_LIMIT + 9), b"x" * (PAYLOAD_LIMIT + 9)])
def test_what_was_cut_off_is_taken_for_more_of_the_same(long):
    """Of a long payload the log keeps the beginning and the length; the source has that length."""
    assert literal.cut(plain(long)) and not literal.cut(long)
    assert value_of(Writer({}).sent(plain(long), 4)) == long


def test_a_cut_is_found_anywhere():
    """Whether anything was cut off is known of a whole message."""
    cut = plain("x" * (PAYLOAD_LIMIT + 1))
    assert literal.cut({"a": ["b", {"c": cut}]}) and literal.cut([cut.encode("latin-1", "replace"), cut])
    assert not literal.cut({"a": ["b", {"c": 1}], 2: None})


@pytest.mark.parametrize("number", [float("inf"), float("-inf")])
def test_a_number_without_a_literal_is_written_as_a_call(number):
    """Infinity has no literal; it is not taken for a time."""
    assert value_of(Writer({}).expected([number], 4)) == [number]


# --- what changes -------------------------------------------------------------------------------------------------

CHANGING = [
    (f"id {UUID}!", f"id {UUID.replace('0', '7').upper()}!"),
    ("at 2026-11-21T10:00:00.123456Z", "at 2027-01-02 23:59:59+01:00"),
    ("at 2026-11-21 10:00: hello", "at 2026-12-24 20:15: hello"),
    ("it is 10:00:00", "it is 23:59:59.5"),
    ("session " + "a1" * 16, "session " + "Z9" * 20),
    ("<Chat object at 0x7f0011223344>", "<Chat object at 0x55AA>"),
    ("listening at http://127.0.0.1:8000/", "listening at http://127.0.0.1:61234/"),
    ("localhost:80", "localhost:8080"),
    ("token=[redacted]&a=(b)", "token=anything at all&a=(b)"),
    ("I am <channel of ws-1>", "I am specific.3f2a!Xy12"),
    ("to <channel>.", "to specific.a.b!Zz."),
]


@pytest.mark.parametrize(("text", "other"), CHANGING)
def test_what_changes_from_run_to_run_is_a_pattern(text, other):
    """Random identifiers, times, addresses and secrets match what looks like them, and nothing that does not."""
    looks = pattern(text)
    assert re.fullmatch(looks, other)
    assert "<channel" in text or re.fullmatch(looks, text)
    assert not re.fullmatch(looks, other + "more?") or text.startswith("token")
    writer = Writer({})
    assert value_of(writer.expected(text, 4)) == other
    assert writer.likes and alike(text, other.replace("anything at all", "[redacted]")) == ("specific" not in other)


@pytest.mark.parametrize(
    "text", ["", "hello", "version 4.3.2", "1-2-3", "12:30", "x" * 40, "1" * 40, "127.0.0.2:80", "0x12", "2026-11-21"]
)
def test_everything_else_is_no_pattern(text):
    """What only resembles a random value is compared as it is."""
    assert pattern(text) is None
    assert Writer({}).expected(text, 4) in (f'"{text}"', f'"{text[:1]}" * 40')


@given(st.lists(st.sampled_from([each for pair in CHANGING[:-2] for each in pair]) | st.text(max_size=5)).map(" ".join))
def test_a_pattern_matches_its_own_text(text):
    """Whatever stands around what changes, the pattern of a text matches it."""
    if looks := pattern(text):
        assert re.fullmatch(looks, text)


@given(st.text())
def test_an_escaped_text_matches_itself_alone(text):
    """As a regular expression a text means itself, whatever signs are in it."""
    assert re.fullmatch(escaped(text), text) and not re.fullmatch(escaped(text), text + "x")


@given(st.text("\"'\\é\n\tab.") | st.text())
def test_a_regular_expression_is_its_source(text):
    """The literal of an expression is that expression."""
    assert eval(raw(escaped(text))) == escaped(text)


@pytest.mark.parametrize(
    ("expression", "source"),
    [
        ("abc", '"abc"'),
        (r"\d+", r'r"\d+"'),
        (r'"\d"', "r'\"\\d\"'"),
        ('say "hi"', "'say \"hi\"'"),
        ("both \"'", "'both \"\\''"),
        ("a\n", r'"a\n"'),
        ("end\\\\", r'r"end\\"'),
    ],
)
def test_a_regular_expression_is_raw_where_that_helps(expression, source):
    """A raw literal is for expressions with backslashes."""
    assert eval(raw(expression)) == expression
    assert raw(expression) in (source, '"both \\"\'"')


def test_a_copy_of_what_a_client_sent_is_expected_exactly():
    """A random value that came from the client is the same on every run."""
    writer = Writer({})
    writer.sent({"id": UUID}, 4)
    assert writer.expected(f"you are {UUID}", 4) == f'"you are {UUID}"'
    assert not writer.likes
    assert writer.expected(UUID.replace("0", "1"), 4).startswith("Like(")
    assert pattern(f"{UUID} at 10:00:00", [UUID]) == rf"{UUID} at \d\d:\d\d:[\d.]+"


@pytest.mark.parametrize(
    ("value", "source"),
    [
        (1_900_000_000, "Like(int)"),
        (1_900_000_000.5, "Like(float)"),
        (1_499_999_999, "1499999999"),
        (4_000_000_000, "4000000000"),
        (True, "True"),
        ({"at": [1_900_000_000]}, '{"at": [Like(int)]}'),
    ],
)
def test_seconds_since_1970_are_any_number_of_that_type(value, source):
    """A time of our days is matched by its type; a client's own is sent as it was."""
    assert Writer({}).expected(value, 4) == source
    assert value_of(Writer({}).sent(value, 4)) == value


def test_like_tells_values_apart():
    """What stands in a test equals all of a type, or a text that matches as a whole; and shows what it wants."""
    Like = SPACE["Like"]
    assert Like(int) == 5 and Like(int) != 5.0 and Like(int) != True  # noqa: E712 - what a bool is taken for
    assert "a1" == Like(r"a\d") and "a12" != Like(r"a\d") and 1 != Like(r"\d")
    assert repr(Like(r"a\d")) == "Like('a\\\\d')"


# --- secrets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("{}", "token"),
        ("Bearer {}", 'f"Bearer {token}"'),
        ('a "{}" {{b}}', "f'a \"{token}\" {{b}}'"),
        (b"{}", "token.encode()"),
        (b"a={}", 'f"a={token}".encode()'),
        ("é={}".encode(), 'f"é={token}".encode()'),
        (b"\xff={}", 'f"\xff={token}".encode("latin-1")'),
        ({"token": "{}"}, '{"token": token}'),
        ("{}" + "x" * 50, 'token + "x" * 50'),
        ("a {} b" + "x" * 50, 'f"a {token} b" + "x" * 50'),
        (b"{}" + b"x" * 50, 'token.encode() + b"x" * 50'),
        ("\\{}\\x021", 'f"\\\\{token}\\\\x021"'),
    ],
)
def test_a_secret_is_the_name_of_its_fixture(value, source):
    """Where a secret stood, its fixture stands: alone, within a text, or within bytes of any encoding."""
    writer, there = places()

    def filled(each):
        if isinstance(each, dict):
            return {key: filled(inner) for key, inner in each.items()}
        if isinstance(each, bytes):
            return each.replace(b"{}", there.encode()).replace(b"{{b}}", b"{b}")
        return each.replace("{}", there).replace("{{b}}", "{b}")

    assert writer.sent(filled(value), 4) == source
    assert writer.used == {"token"}
    meant = value_of(source, token="s3")
    assert there not in str(meant) and "s3" in str(meant)


def test_a_secret_that_a_client_has_sent_is_expected_back():
    """Of a secret that only the application knows a test can tell nothing; of another one, that it came back."""
    writer, there = places()
    assert writer.expected(f"yours: {there}", 4) == 'Like("yours: .+")'
    writer.sent(there, 4)
    assert writer.expected(f"yours: {there}", 4) == 'f"yours: {token}"'
    assert writer.expected(f"mine: {place(2)}", 4) == 'Like("mine: .+")'


@given(st.text())
def test_the_place_of_a_secret_is_no_text_of_a_client(text):
    """A serial protocol may frame its numbers with control characters: that is no secret."""
    assert value_of(Writer({}).sent(f"\x0212{text}\x03", 4)) == f"\x0212{text}\x03"
    assert json.loads(json_of(f'["{place(1)}"]')) == [place(1)] and literal.is_place(place(1))


# --- how they look ------------------------------------------------------------------------------------------------


@given(values(st.text("ab é", max_size=9)) | st.binary(max_size=300), st.sampled_from([0, 4, 8]), ROOMS)
def test_no_line_is_too_long(value, indent, room):
    """Texts are broken where they do not fit, words kept whole; short keys leave room for that at any usual depth."""
    first, *others = Writer({}).sent(value, indent, room).split("\n")
    assert all(columns(line) <= WIDTH for line in others)
    assert indent + room + columns(first) <= WIDTH or not (others or isinstance(value, (str, bytes, list, dict)))


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("don't", '"don\'t"'),
        ('say "hi"', "'say \"hi\"'"),
        ("\"'", '"\\"\'"'),
        ('""\'', "'\"\"\\''"),
        (b"\"'", 'b"\\"\'"'),
        ("\x1b\n字", r'"\x1b\n字"'),
        ([], "[]"),
        ({}, "{}"),
        ((1, None), "[1, None]"),
        ({"a" * 90: 1}, '{"a" * 90: 1}'),
        (
            "one two " * 10,
            '(\n        "' + "one two " * 9 + 'one "\n        "two "\n    )',
        ),
        ("x" * 30 + " " + "y" * 38, '(\n        "' + "x" * 30 + " " + "y" * 38 + '"\n    )'),
    ],
)
def test_values_are_written_as_formatters_do(value, source):
    """Double quotes unless that takes more escapes; what is too long in brackets, in one piece if it can be."""
    assert Writer({}).sent(value, 4, 16) == source


def test_repeated_letters_in_a_long_text_stay_counted():
    """Each part of the sum in a line, and the words between them in as many as they need."""
    assert Writer({}).expected("one two three four, " * 5 + "é" * 300, 4, 11) == (
        "(\n"
        '        "one two three four, one two three four, one two three four, one two three "\n'
        '        + "four, one two three four, "\n'
        '        + "é" * 300\n'
        "    )"
    )


def test_a_call_is_broken_as_formatters_do():
    """In one line; else with all arguments in one; else with a line for each. What has no name keeps one for each."""
    writer = Writer({})

    def call(what, *arguments, **options):
        pairs = [("", lambda *room, each=each: each) for each in arguments]
        return writer.call(what, pairs, 4, **options)

    a = "a" * 40
    b = "b" * 32
    assert call("call") == "call()"
    assert call("call_it", a, b + "b") == f"call_it({a}, {b}b)"
    assert call("call_it", a, b + "bb") == f"call_it(\n        {a}, {b}bb\n    )"
    assert call("call_it", a, b + "b", room=1) == f"call_it(\n        {a}, {b}b\n    )"
    assert call("call_it", a, a) == f"call_it(\n        {a},\n        {a},\n    )"
    assert call("", a, a, room=1) == f"(\n        {a},\n        {a},\n    )"
    assert call("", a, a, brackets="[]", room=1) == f"[\n        {a},\n        {a},\n    ]"


def test_what_is_written_is_what_ruff_writes(tmp_path):
    """The formatter of the field changes nothing in values of all kinds, in all the places of a test."""
    texts = st.text("ab \"'\\é字\x00", max_size=120) | st.text("xyz ", max_size=200)
    runs = st.tuples(texts, st.sampled_from("xé\"'"), st.integers(40, 500)).map(lambda run: run[0] + run[1] * run[2])
    values = st.recursive(
        texts | runs | st.sampled_from([UUID, None, 1, 1_900_000_000, 0.5, UUID * 3]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=9), inner, max_size=3),
        max_leaves=8,
    )
    lines = ["async def test():"]

    @given(values | runs.map(lambda run: run.encode()) | texts.map(lambda text: text.encode()))
    def write(value):
        writer = Writer({})
        lines.append(f"    body = {writer.expected(value, 4, 7)}")
        lines.append(f"    assert await ws.receive_from() == {writer.expected(value, 4, 34)}")
        for name in ("", "text_data="):
            argument = (name, lambda indent, room: writer.sent(value, indent, room))
            lines.append(f"    {writer.call('await ws.send_to', [argument], 4)}")

    write()
    file = tmp_path / "written.py"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    told = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--no-cache", "--diff", file],
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert told.returncode == 0, told.stdout + told.stderr


# --- alike --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": [1, "x"]}, {"a": [1, "x"]}, True),
        ({"a": [1, "x"]}, {"a": [1, "y"]}, False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1, 2], [1], False),
        ([], {}, False),
        (1, True, False),
        (1, 1.0, False),
        (1_900_000_000, 1_900_000_001, True),
        (1_900_000_000, 1_900_000_001.5, False),
        (1_900_000_000, 5, False),
        (5, 1_900_000_000, False),
        (float("inf"), float("inf"), True),
        (UUID, UUID.replace("0", "1"), True),
        (UUID, "hello", False),
        ("hello", UUID, False),
        ("at 10:00:00", "it 10:00:00", False),
        (b"at 10:00:00", b"at 10:00:01", True),
        (b"\xff", b"\xfe", False),
        (b"a", "a", False),
        (None, None, True),
    ],
)
def test_values_are_alike_but_for_what_changes(one, other, same):
    """Two versions of a value are the same where only what changes from run to run differs."""
    assert alike(one, other) is same


@given(VALUES)
def test_a_value_is_like_itself(value):
    """Nothing differs from itself."""
    assert alike(value, value)
