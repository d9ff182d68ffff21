"""What a close code or a status code may be used for, and what it is called."""

import pytest

from labserver.trace.codes import CLOSE_CODES, closable, close_name, status_line


@pytest.mark.parametrize("code", [1000, 3000, 3999, 4000, 4001, 4999])
def test_an_application_may_close_with_1000_and_3000_to_4999(code):
    """RFC 6455 leaves 1000 and 3000 to 4999 to the application."""
    assert closable(code)


@pytest.mark.parametrize("code", [0, 999, 1001, 1005, 1006, 1008, 1011, 2999, 5000, -1, True, 1000.0, "1000", None])
def test_all_other_codes_are_the_servers(code):
    """Every other code, and everything that is not an int, is refused by daphne."""
    assert not closable(code)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (1000, "normal"),
        (1001, "going away"),
        (1002, "protocol error"),
        (1005, "no code"),
        (1006, "connection lost without a close frame"),
        (1009, "message too big"),
        (1011, "server error"),
        (3000, "registered"),
        (3999, "registered"),
        (4000, "application's own"),
        (4999, "application's own"),
        (1999, "unknown"),
        ("x", "not a close code"),
        (True, "not a close code"),
    ],
)
def test_a_close_code_has_a_name(code, name):
    """Every close code is told in a few words, whatever it is."""
    assert close_name(code) == name


def test_every_known_code_is_named_as_in_the_table():
    """The table and the function agree."""
    assert {code: close_name(code) for code in CLOSE_CODES} == CLOSE_CODES


@pytest.mark.parametrize(
    ("status", "line"),
    [(200, "200 OK"), (404, "404 Not Found"), ("403", "403 Forbidden"), (299, "299"), (None, "None"), ("odd", "odd")],
)
def test_a_status_has_its_phrase(status, line):
    """A status is shown as on the wire; one without a phrase is shown as it is."""
    assert status_line(status) == line
