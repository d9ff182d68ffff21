"""Close codes of WebSockets and status codes of HTTP: which may be used, and what they are called.

Room: pure values, called by `protocol` and by whoever explains a code to a person.
"""

from http import HTTPStatus
from typing import Any

CLOSE_CODES = {
    1000: "normal",
    1001: "going away",
    1002: "protocol error",
    1003: "unsupported data",
    1005: "no code",
    1006: "connection lost without a close frame",
    1007: "invalid data",
    1008: "policy violation",
    1009: "message too big",
    1010: "missing extension",
    1011: "server error",
    1012: "service restart",
    1013: "try again later",
    1014: "bad gateway",
    1015: "TLS handshake failed",
}
"""Names of the close codes of https://www.iana.org/assignments/websocket/websocket.xhtml."""


def closable(code: Any) -> bool:
    """Whether an application may close with this code: 1000 and 3000 to 4999 (RFC 6455, section 7.4; autobahn)."""
    return type(code) is int and (code == 1000 or 3000 <= code <= 4999)


def close_name(code: Any) -> str:
    """What a close code means, in a few words."""
    if type(code) is int and 3000 <= code <= 4999:
        return "registered" if code < 4000 else "application's own"
    return CLOSE_CODES.get(code, "unknown") if type(code) is int else "not a close code"


def status_line(status: Any) -> str:
    """`200 OK`: a status code and its name (RFC 9110, section 15)."""
    try:
        return f"{int(status)} {HTTPStatus(int(status)).phrase}"
    except (TypeError, ValueError):
        return str(status)
