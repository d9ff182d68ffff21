"""Nothing secret is shown: tokens, cookies, passwords and Authorization headers are replaced before anybody looks.

Room: pure values, called by `events` alone. A trace is pasted into issues and projected in classrooms, so redaction
is not an option that can be forgotten.
"""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "[redacted]"

_HEADERS = {b"authorization", b"cookie", b"proxy-authorization", b"set-cookie", b"x-csrftoken"}
_JWT = re.compile(r"eyJ[\w-]{4,}\.[\w-]+\.[\w-]*")  # RFC 7519: a JSON object, base64url: starts with {"
_QUERY = re.compile(r"(?i)\b((?:access_|refresh_|csrf)?token|access|refresh|password|secret|api_?key|sessionid)=([^&\s\"']+)")
_JSON = re.compile(r"(?i)(\"(?:access|refresh|token|password|secret|sessionid)\"\s*:\s*)\"(?:[^\"\\]|\\.)*\"")
_CHANNEL = re.compile(r"specific\.[\w.]*!\w+")  # channels' name for the channel of one consumer


def text(value: str, channels: Mapping[str, str] = {}) -> str:  # noqa: B006 - read only
    """The text without secrets, and with the owner's name in the place of a random channel name."""
    if "eyJ" in value:
        value = _JWT.sub(HIDDEN, value)
    if "=" in value:
        value = _QUERY.sub(lambda m: f"{m[1]}={HIDDEN}", value)
    if '"' in value:
        value = _JSON.sub(lambda m: f'{m[1]}"{HIDDEN}"', value)
    if "specific." in value:
        value = _CHANNEL.sub(lambda m: f"<channel of {channels[m[0]]}>" if m[0] in channels else "<channel>", value)
    return value


def message(value: Any, channels: Mapping[str, str] = {}) -> Any:  # noqa: B006 - read only
    """The message with every text and every header in it redacted."""
    if isinstance(value, str):
        return text(value, channels)
    if isinstance(value, bytes):
        hidden = text(value.decode("latin-1"), channels)  # latin-1 keeps every byte, whatever the payload is
        return hidden.encode("latin-1")
    if isinstance(value, dict):
        return {k: headers(v) if k == "headers" else message(v, channels) for k, v in value.items()}
    if isinstance(value, list):
        return [message(v, channels) for v in value]
    return value


def headers(value: Any) -> Any:
    """ASGI headers, `[[name, value], …]` in bytes, without the values that are secrets."""
    if not isinstance(value, list):
        return message(value)
    return [
        [pair[0], HIDDEN.encode()] if len(pair) == 2 and _lower(pair[0]) in _HEADERS else message(pair) for pair in value
    ]


def scope(value: dict[str, Any]) -> dict[str, Any]:
    """The scope with secrets redacted in its query string, headers and subprotocols."""
    return message(value)


def _lower(name: Any) -> bytes:
    return name.lower() if isinstance(name, bytes) else str(name).lower().encode()
