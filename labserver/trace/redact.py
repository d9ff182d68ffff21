"""Nothing secret is shown: tokens, cookies, passwords and Authorization headers are replaced before anybody looks.

Room: pure values, called by `events`, and by the judge of exercises for what crashes say. A trace is pasted into issues
and projected in classrooms, so redaction is not an option that can be forgotten.
"""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "[redacted]"

_NAMES = r"(?:[\w-]*token|access|refresh|[\w-]*password|[\w-]*secret|[\w-]*api[_-]?key|sessionid|jwt)"
_SECRET = re.compile(rf"(?i){_NAMES}")  # as the name of a header or of an entry in a dictionary
_HEADERS = {"authorization", "cookie", "proxy-authorization", "set-cookie", "x-csrftoken"}
_JWT = re.compile(r"eyJ[\w-]{4,}\.[\w-]+\.[\w-]*")  # RFC 7519: a JSON object, base64url: starts with {"
_BEARER = re.compile(r"(?i)\b(bearer\s+)[\w.~+/-]{16,}=*")  # RFC 6750
_QUERY = re.compile(rf"""(?i)(?<![\w-])({_NAMES})=(["']?)[^&\s"']+""")
_PAIR = re.compile(  # "token": "…" in JSON, 'token': '…' in Python, \"token\": \"…\" in JSON within JSON, "pin": 12
    rf"""(?i)((\\*["']){_NAMES}\2\s*[:=]\s*)(?:(\\*["'])(?:(?!\3)(?:\\.|[^\\]))*(?:\3|$)|[\d.]+)""", re.DOTALL
)
_CHANNEL = re.compile(r"specific\.[\w.]*!\w+")  # channels' name for the channel of one consumer


def text(value: str, channels: Mapping[str, str] = {}) -> str:  # noqa: B006 - read only
    """The text without secrets, and with the owner's name in the place of a random channel name."""
    if "eyJ" in value:
        value = _JWT.sub(HIDDEN, value)
    if "earer" in value or "EARER" in value:
        value = _BEARER.sub(rf"\1{HIDDEN}", value)
    if "=" in value:
        value = _QUERY.sub(rf"\1=\2{HIDDEN}", value)
    if ":" in value:
        value = _PAIR.sub(lambda m: f"{m[1]}{m[3] or m[2]}{HIDDEN}{m[3] or m[2]}", value)
    if "specific." in value:
        value = _CHANNEL.sub(lambda m: f"<channel of {channels[m[0]]}>" if m[0] in channels else "<channel>", value)
    return value


def message(value: Any, channels: Mapping[str, str] = {}) -> Any:  # noqa: B006 - read only
    """The message with every text and every header in it redacted, and every entry whose name tells of a secret."""
    if isinstance(value, str):
        return text(value, channels)
    if isinstance(value, bytes):
        hidden = text(value.decode("latin-1"), channels)  # latin-1 keeps every byte, whatever the payload is
        return hidden.encode("latin-1")
    if isinstance(value, dict):
        return {key: _entry(key, entry, channels) for key, entry in value.items()}
    if isinstance(value, list):
        return [message(entry, channels) for entry in value]
    return value


def _entry(key: Any, value: Any, channels: Mapping[str, str]) -> Any:
    if key == "headers" and isinstance(value, list):
        return [_header(pair) for pair in value]
    if isinstance(key, str) and _SECRET.fullmatch(key) and value:
        return HIDDEN
    return message(value, channels)


def _header(pair: Any) -> Any:
    """An ASGI header, `[name, value]` in bytes, without a value that is a secret."""
    if isinstance(pair, list) and len(pair) == 2:
        name = pair[0].decode("latin-1") if isinstance(pair[0], bytes) else str(pair[0])
        if name.lower() in _HEADERS or _SECRET.fullmatch(name):
            return [pair[0], HIDDEN.encode()]
    return message(pair)


def scope(value: dict[str, Any]) -> dict[str, Any]:
    """The scope with secrets redacted in its path, query string, headers and subprotocols."""
    return message(value)
