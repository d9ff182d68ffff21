"""Each reason, by what it is given for; each is measured in test_differences."""

from labserver.live.parity_reasons import (
    MIB,
    NO_REASON,
    NOTHING,
    OF_DAPHNE,
    OF_UVICORN,
    Evidence,
    reason,
)

OK, TEXT = ("accept", None), ("text", "a")
H403, H500, SILENT = ("refused", 403), ("refused", 500), ("no answer",)
C1006, C1011, CRASH = ("close", 1006), ("close", 1011), ("crash", "KeyError")


def why(test, daphne, *uvicorn, before=(), **evidence):
    """Why a row differs; before: the rows above it; a single event is what all saw."""
    rows = [each if isinstance(each[0], tuple) else (each,) * (2 + len(uvicorn)) for each in before]
    return reason([*rows, (test, daphne, *uvicorn)], len(rows), Evidence(**evidence))


DAPHNES = [
    why(TEXT, NOTHING, before=[OK, ("close", 4001)]),
    why(("close", 4003), H403),
    why(TEXT, H500),
    why(("crash", "ValueError"), H500, error="ValueError: No route found for path 'x'"),
    why(CRASH, H500, error="KeyError: 'user'"),
    why(CRASH, C1011, before=[OK], error="KeyError: 'client'"),
    why(CRASH, TEXT, before=[OK], error="KeyError: b'host'"),
    why(CRASH, C1011, before=[OK], error="KeyError: 'user'"),
    why(("close", 1008), C1011, before=[OK]),
    why(("close", 4001, "late"), ("close", 4001), before=[OK]),
    why(("accept", None, "x-lab: 1"), OK),
    why(("accept", "chat"), SILENT, offered=("other",)),
    why(OK, C1011, before=[OK]),
    why(("text and bytes", "a", b"b"), C1011, before=[OK]),
    why(("bytes", b""), NOTHING, before=[OK]),
    why(("text", 5), C1011, before=[OK]),
    why(TEXT, C1006, before=[OK], longest=MIB + 1),
    why(("close", 1000), OK),
    why(("refused", 401), SILENT),
    why(NOTHING, SILENT),
    why(("event", "x"), NOTHING, before=[OK]),
    why(("event", None), C1011, before=[OK]),
    why(TEXT, ("text", "b"), before=[OK], headers=("x_lab",)),
    why(TEXT, ("text", "b"), before=[OK], headers=("x", "x")),
    why(TEXT, NOTHING, before=[OK], before_leaving=1),
    why(TEXT, NOTHING, before=[(("text", "b"), H500)]),
]

UVICORNS = [
    why(("text", ""), NOTHING, ("text", ""), before=[OK]),
    why(CRASH, C1011, TEXT, before=[OK], error="KeyError: 'client'"),
    why(CRASH, C1011, C1006, before=[OK]),
    why(("event", "x"), NOTHING, C1006, before=[OK]),
    why(TEXT, TEXT, ("text", "b"), before=[OK], path="//a"),
    why(NOTHING, NOTHING, C1006, before=[OK]),
    why(("accept", "chat"), SILENT, ("failed", "NegotiationError")),
    why(NOTHING, SILENT, H500),
    why(TEXT, TEXT, NOTHING, before=[(OK, OK, C1006)]),
    why(("text and bytes", "a", b"b"), C1011, ("bytes", b"b"), before=[OK]),
]


def test_every_reason_of_daphne_is_given_for_something():
    """One after the other, in the order in which they are looked for."""
    assert DAPHNES == [said for _, said in OF_DAPHNE]


def test_every_reason_of_uvicorn_is_given_for_something():
    """It stands behind that of daphne, if both go their own way."""
    pairs = zip(UVICORNS, (said for _, said in OF_UVICORN), strict=True)
    assert [(found, said) for found, said in pairs if not found.endswith(said) or NO_REASON in found] == []


def test_what_is_the_same_has_no_reason():
    """A row in which all see the same is not explained."""
    assert why(OK, OK) == why(OK, OK, OK) == ""


def test_an_unknown_event_may_come_first():
    """Before accept daphne ignores it as well; after the end it is not daphne's to ignore."""
    assert why(("event", "x"), NOTHING).startswith("Daphne ignores events")
    assert why(("event", "x"), NOTHING, before=[(CRASH, H500)]).startswith("The client's connection had ended")


def test_a_known_reason_stands_beside_an_unknown_one():
    """What is known of daphne is said although uvicorn's own way is a riddle."""
    found = why(("close", 1008), C1011, ("close", 1002))
    assert found.startswith("An application may close with 1000") and found.endswith(NO_REASON)
    assert why(TEXT, ("text", "b"), ("text", "c")) == NO_REASON
