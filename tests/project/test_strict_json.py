"""JSON from strangers: what is taken, and that each refusal is a ValueError with a reason."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labserver.project.strict_json import DEPTH, DIGITS, loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)  # fmt: skip


@given(VALUES)
def test_plain_json_is_taken_as_it_is(value):
    """Whatever Python writes without its extensions is read back the same."""
    assert loads(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NaN", "NaN is no JSON"),
        ("[-Infinity]", "-Infinity is no JSON"),
        ("1e999", "a number is too big"),
        ('{"a": {"b": 1, "b": 1}}', "a key stands twice"),
        ("[" * (DEPTH + 1) + "]" * (DEPTH + 1) , None),
        ("[" * (DEPTH + 1) + "1" + "]" * (DEPTH + 1), "nested deeper than 32 levels"),
        ("[" * 100_000, "nested deeper than 32 levels"),
        ('{"a":' * 40 + "1" + "}" * 40, "nested deeper than 32 levels"),
        ("9" * (DIGITS + 1), "more than 400 digits"),
        ("9" * DIGITS, None),
        ('["\\ud83d"]', "half of a surrogate pair"),
        ('{"\\udca9": 1}', "half of a surrogate pair"),
        ('"\\ud83d\\udca9"', None),
        ("", "Expecting value"),
        ("\N{ZERO WIDTH NO-BREAK SPACE}1", "BOM"),
    ],
)  # fmt: skip
def test_what_is_refused_is_refused_with_a_reason(text, reason):
    """Numbers that are none, doubled keys, depth, length and halves of characters; what is just within is taken."""
    if reason is None:
        loads(text)
    else:
        with pytest.raises(ValueError, match=reason):
            loads(text)
