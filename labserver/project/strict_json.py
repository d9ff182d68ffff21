"""JSON from strangers: what RFC 8259 leaves open is closed here, and every refusal is a ValueError that says why.

Python's own `json.loads` takes NaN, Infinity and doubled keys, turns 1e999 into infinity, passes halves of surrogate
pairs that no frame can carry, and ends in RecursionError, which is no ValueError, on deep nesting.
"""

import json
import math

DEPTH = 32
"""How deep arrays and objects may be nested."""

DIGITS = 400
"""How long an integer may be."""


def loads(text: str):
    """The value that this text holds. Raises ValueError, with a reason fit for the client, if it is not plain JSON."""
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except RecursionError:
        raise ValueError(f"nested deeper than {DEPTH} levels") from None
    _look_through(value)
    return value


def _object(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _constant(name):
    raise ValueError(f"{name} is no JSON")


def _float(digits):
    number = float(digits)
    if math.isinf(number):
        raise ValueError("a number is too big")
    return number


def _int(digits):
    if len(digits) > DIGITS:
        raise ValueError(f"an integer has more than {DIGITS} digits")
    return int(digits)


def _look_through(value):
    """Without recursion, since depth is one of the things to find."""
    level = [value]
    for _ in range(DEPTH + 1):
        inner = []
        for each in level:
            if isinstance(each, str):
                _encodable(each)
            elif isinstance(each, dict):
                inner += [*each, *each.values()]
            elif isinstance(each, list):
                inner += each
        if not inner:
            return
        level = inner
    raise ValueError(f"nested deeper than {DEPTH} levels")


def _encodable(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair stands alone") from None
