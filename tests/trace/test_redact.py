"""Secrets never reach a picture."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labserver.trace import redact

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyIjoxfQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Token {JWT} in words", "Token [redacted] in words"),
        ("Authorization: Bearer 0123456789abcdef", "Authorization: Bearer [redacted]"),
        ("BEARER 0123456789abcdef", "BEARER [redacted]"),
        ("/ws/?token=abc&page=2", "/ws/?token=[redacted]&page=2"),
        ("access_token=a refresh=b sessionid=c csrftoken=d", None),
        ("login(password='abc', user='x')", "login(password='[redacted]', user='x')"),
        ('{"token": "a\\"b", "x": 1}', '{"token": "[redacted]", "x": 1}'),
        ("{'Password': 'abc'}", "{'Password': '[redacted]'}"),
        (r'{"body": "{\"refresh\": \"abc\"}"}', r'{"body": "{\"refresh\": \"[redacted]\"}"}'),
        ('{"secret": 1234}', '{"secret": "[redacted]"}'),
        ('{"token": "cut off at the lim', '{"token": "[redacted]"'),
    ],
)
def test_a_secret_in_a_text_is_hidden(text, shown):
    """Tokens are found in plain text, queries, JSON, Python, JSON within JSON, and where the text was cut."""
    found = redact.text(text)
    assert found == (shown or "access_token=[redacted] refresh=[redacted] sessionid=[redacted] csrftoken=[redacted]")
    assert redact.text(found) == found


@pytest.mark.parametrize(
    "text",
    ["hello", "page=2", '{"content": "my token: x"}', '{"token": null}', "tokens=3", "bearer of news", "eyJ", "a: b"],
)
def test_everything_else_is_left_alone(text):
    """Words that only look like a secret are shown."""
    assert redact.text(text) == text


def test_channel_names_become_the_names_of_their_connections():
    """A random channel name is told by its owner; an unknown one is just a channel."""
    shown = redact.text("from specific.a1!Xy to specific.a1!Zz", {"specific.a1!Xy": "ws-1"})
    assert shown == "from <channel of ws-1> to <channel>"


def test_a_message_is_redacted_through_and_through():
    """Strings, bytes, lists and dictionaries are searched; an entry named like a secret is hidden whole."""
    message = {
        "type": "x",
        "text": "token=abc",
        "bytes": b"\xff token=abc",
        "n": [1, None, {"api_key": 12, "token": "", "refresh": "abc"}],
        7: "token=abc",
    }
    assert redact.message(message) == {
        "type": "x",
        "text": "token=[redacted]",
        "bytes": b"\xff token=[redacted]",
        "n": [1, None, {"api_key": "[redacted]", "token": "", "refresh": "[redacted]"}],
        7: "token=[redacted]",
    }


def test_headers_that_carry_secrets_are_hidden():
    """Cookie, Authorization and everything named like a token are hidden in ASGI headers, however they are written."""
    headers = [
        [b"Cookie", b"a=b"],
        [b"host", b"x"],
        ["X-API-Key", "abc"],
        [b"x-refresh-token", b"1"],
        [b"odd"],
        5,
        "ab",
    ]
    assert redact.message({"headers": headers}) == {
        "headers": [
            [b"Cookie", b"[redacted]"],
            [b"host", b"x"],
            ["X-API-Key", b"[redacted]"],
            [b"x-refresh-token", b"[redacted]"],
            [b"odd"],
            5,
            "ab",
        ]
    }


def test_headers_that_are_no_list_are_searched_like_anything_else():
    """A message of an application's own may use the word for something else."""
    assert redact.message({"headers": "token=abc"}) == {"headers": "token=[redacted]"}


def test_a_scope_is_redacted():
    """Query string, headers and subprotocols of a scope show no secret."""
    scope = {"path": "/", "query_string": b"token=abc", "subprotocols": [JWT], "headers": [[b"authorization", b"x"]]}
    assert redact.scope(scope) == {
        "path": "/",
        "query_string": b"token=[redacted]",
        "subprotocols": ["[redacted]"],
        "headers": [[b"authorization", b"[redacted]"]],
    }


@given(st.text(), st.sampled_from(["token", "access", "password"]), st.text(min_size=1))
def test_a_secret_in_json_is_hidden_whatever_it_is(before, name, secret):
    """Whatever a password contains, nothing of it remains."""
    hidden = redact.text(json.dumps({"say": before, name: secret}))
    assert json.loads(hidden)[name] == "[redacted]"


@given(st.binary())
def test_bytes_stay_bytes(payload):
    """A binary payload of any content can be redacted, and one without a secret comes out as it went in."""
    assert isinstance(redact.message(payload), bytes)
    if b"=" not in payload and b":" not in payload and b"eyJ" not in payload and b"earer" not in payload.lower():
        assert redact.message(payload) == payload


# --- what else may stand in the place of a secret ------------------------------------------------------------------


class Numbered:
    """Gives every secret a number, and keeps the name that it went by."""

    def __init__(self):
        self.secrets = {}

    def __call__(self, secret, name):
        self.secrets.setdefault(secret, name)
        return f"<{list(self.secrets).index(secret) + 1}>"


@pytest.mark.parametrize(
    ("text", "shown", "secrets"),
    [
        (f"Token {JWT}", "Token <1>", {JWT: "token"}),
        ("Bearer 0123456789abcdef", "Bearer <1>", {"0123456789abcdef": "token"}),
        ("/?access_token=abc&b=1&password=abc", "/?access_token=<1>&b=1&password=<1>", {"abc": "access_token"}),
        ('{"csrftoken": "abc", "x": 1}', '{"csrftoken": "<1>", "x": 1}', {"abc": "csrftoken"}),
        ('{"token": ""}', '{"token": "<1>"}', {"": "token"}),
        ('{"secret": 1234}', '{"secret": <1>}', {"1234": "secret"}),
        ("{'Password': 'a'}", "{'Password': '<1>'}", {"a": "Password"}),
    ],
)
def test_a_secret_is_given_with_the_name_it_goes_by(text, shown, secrets):
    """Who wants something else in the place of a secret gets the secret, exactly, and its name."""
    hide = Numbered()
    assert redact.text(text, hide=hide) == shown
    assert hide.secrets == secrets


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        (b"Cookie", b"sessionid=abc; theme=dark", b"sessionid=<1>; theme=<2>"),
        (b"cookie", b"sessionid=abc; alone; a=", b"sessionid=<1>; <2>; a=<3>"),
        (b"set-cookie", b"sessionid=abc; Path=/; HttpOnly", b"sessionid=<1>; Path=/; HttpOnly"),
        (b"authorization", b"Bearer abc", b"Bearer <1>"),
        (b"authorization", b"abc", b"<1>"),
        (b"Proxy-Authorization", b"Digest a=b, c=d", b"Digest <1>"),
        (b"x-api-key", b"two words", b"<1>"),
        (b"X-CSRFToken", b"abc", b"<1>"),
        (b"x-room", b"blue", b"blue"),
    ],
)
def test_of_a_secret_header_what_is_no_secret_is_kept(name, value, shown):
    """Names of cookies and the scheme of a token are no secrets; of any other secret header nothing is kept."""
    assert redact.scope({"headers": [[name, value]]}, Numbered()) == {"headers": [[name, shown]]}
    hidden = b"[redacted]" if value != shown else value
    assert redact.scope({"headers": [[name, value]]}) == {"headers": [[name, hidden]]}


def test_a_whole_message_is_searched_for_whoever_hides():
    """Entries, lists and bytes are hidden in the same way as by default."""
    hide = Numbered()
    message = {"api_key": 12, "n": [{"refresh": "abc"}, b"token=abc"], "headers": [["x-token", "t"], ["odd=token=x"]]}
    assert redact.message(message, hide=hide) == {
        "api_key": "<1>",
        "n": [{"refresh": "<2>"}, b"token=<2>"],
        "headers": [["x-token", b"<3>"], ["odd=token=<4>"]],
    }
    assert hide.secrets == {"12": "api_key", "abc": "refresh", "t": "x-token", "x": "token"}
