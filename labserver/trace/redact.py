"""Nothing secret is shown: tokens, cookies, passwords and Authorization headers are replaced before anybody looks.

Room: pure values, called by `events`, and by the judge of exercises for what crashes say. A trace is pasted into issues
and projected in classrooms, so redaction is not an option that can be forgotten.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

HIDDEN = "[redacted]"

Hide = Callable[[str, str], str]
"""What stands in the place of a secret, given it and the name that it goes by; of what it returned before, the same."""


def hidden(secret: str, name: str) -> str:
    """What people see of every secret."""
    return HIDDEN


_NAMES = r"(?:[\w-]*token|access|refresh|[\w-]*password|[\w-]*secret|[\w-]*api[_-]?key|sessionid|jwt)"
_SECRET = re.compile(rf"(?i){_NAMES}")  # as the name of a header or of an entry in a dictionary
_HEADERS = {"authorization", "cookie", "proxy-authorization", "set-cookie", "x-csrftoken"}
_JWT = re.compile(r"eyJ[\w-]{4,}\.[\w-]+\.[\w-]*")  # RFC 7519: a JSON object, base64url: starts with {"
_BEARER = re.compile(r"(?i)\b(bearer\s+)([\w.~+/-]{16,}=*)")  # RFC 6750
_QUERY = re.compile(rf"""(?i)(?<![\w-])({_NAMES})=(["']?)([^&\s"']+)""")
_PAIR = re.compile(  # "token": "…" in JSON, 'token': '…' in Python, \"token\": \"…\" in JSON within JSON, "pin": 12
    rf"""(?i)((\\*["']){_NAMES}\2\s*[:=]\s*)(?:(\\*["'])((?:(?!\3)(?:\\.|[^\\]))*)(?:\3|$)|[\d.]+)""", re.DOTALL
)
_COOKIE = re.compile(r"([^=;\s]+)(?:=([^;]*))?")  # RFC 6265, section 4.2; browsers send some without a name, too
_CHANNEL = re.compile(r"specific\.[\w.]*!\w+")  # channels' name for the channel of one consumer


def text(value: str, channels: Mapping[str, str] = {}, hide: Hide = hidden) -> str:  # noqa: B006 - read only
    """The text without secrets, and with the owner's name in the place of a random channel name."""
    if "eyJ" in value:
        value = _JWT.sub(lambda m: hide(m[0], "token"), value)
    if "earer" in value or "EARER" in value:
        value = _BEARER.sub(lambda m: m[1] + hide(m[2], "token"), value)
    if "=" in value:
        value = _QUERY.sub(lambda m: f"{m[1]}={m[2]}{hide(m[3], m[1])}", value)
    if ":" in value:
        value = _PAIR.sub(lambda m: _pair(m, hide), value)
    if "specific." in value:
        value = _CHANNEL.sub(lambda m: f"<channel of {channels[m[0]]}>" if m[0] in channels else "<channel>", value)
    return value


def _pair(found: re.Match, hide: Hide) -> str:
    name = re.search(_NAMES, found[1], re.IGNORECASE)[0]
    if found[3]:
        return f"{found[1]}{found[3]}{hide(found[4], name)}{found[3]}"
    quote = found[2] if hide is hidden else ""  # a number: what people see of it is to stay JSON
    return f"{found[1]}{quote}{hide(found[0].removeprefix(found[1]), name)}{quote}"


def message(value: Any, channels: Mapping[str, str] = {}, hide: Hide = hidden) -> Any:  # noqa: B006 - read only
    """The message with every text and every header in it redacted, and every entry whose name tells of a secret."""
    if isinstance(value, str):
        return text(value, channels, hide)
    if isinstance(value, bytes):
        return text(value.decode("latin-1"), channels, hide).encode("latin-1")  # keeps every byte of any payload
    if isinstance(value, dict):
        return {key: _entry(key, entry, channels, hide) for key, entry in value.items()}
    if isinstance(value, list):
        return [message(entry, channels, hide) for entry in value]
    return value


def _entry(key: Any, value: Any, channels: Mapping[str, str], hide: Hide) -> Any:
    if key == "headers" and isinstance(value, list):
        return [_header(pair, hide) for pair in value]
    if isinstance(key, str) and _SECRET.fullmatch(key) and value:
        return hide(str(value), key)
    return message(value, channels, hide)


def _header(pair: Any, hide: Hide) -> Any:
    """An ASGI header, `[name, value]` in bytes, without a value that is a secret."""
    if isinstance(pair, list) and len(pair) == 2:
        name, value = (each.decode("latin-1") if isinstance(each, bytes) else str(each) for each in pair)
        if name.lower() in _HEADERS or _SECRET.fullmatch(name):
            return [pair[0], _secret_header(name.lower(), value, hide).encode("latin-1")]
    return message(pair, hide=hide)


def _secret_header(name: str, value: str, hide: Hide) -> str:
    """The value of a header that is a secret: all of it, but for the names of cookies and the scheme of a token."""
    if hide is hidden:
        return HIDDEN
    if name in ("cookie", "set-cookie"):  # what follows in a Set-Cookie is no secret
        return _COOKIE.sub(lambda m: _cookie(m, hide), value, count=name == "set-cookie")
    scheme, space, credentials = value.partition(" ")
    if space and name in ("authorization", "proxy-authorization"):
        return f"{scheme} {hide(credentials, 'token')}"
    return hide(value, name)


def _cookie(found: re.Match, hide: Hide) -> str:
    return hide(found[0], "cookie") if found[2] is None else f"{found[1]}={hide(found[2], found[1])}"


def scope(value: dict[str, Any], hide: Hide = hidden) -> dict[str, Any]:
    """The scope with secrets redacted in its path, query string, headers and subprotocols."""
    return message(value, hide=hide)
