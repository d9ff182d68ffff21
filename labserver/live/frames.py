"""What autobahn leaves to be said about a peer's frames: RFC 6455 wants an answer where it resets the connection.

Room: one mixin over autobahn's protocol, which it imports nothing of; `reactor` puts the two together.
"""

from typing import Any

EMPTY_FRAGMENTS = 100
"""Empty fragments in a row before a peer is told to go: they cost nothing to send, and could go on for ever."""

POLICY_VIOLATION = 1008

CONTROL_CHARACTERS = frozenset(range(32)) - {9} | {127}
"""What no header's value may hold (RFC 9110, 5.5); a tab may stand in it."""


class Strict:
    """For autobahn's WebSocketProtocol: an illegal close is answered, and endless empty fragments end."""

    _answering = False
    _empty = 0

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> Any:
        """Remember that a close frame is being answered (RFC 6455, 7.4)."""
        self._answering = True
        try:
            return super().onCloseFrame(code, reasonRaw)
        finally:
            self._answering = False

    def dropConnection(self, abort: bool = False) -> None:
        """Close the socket; after an illegal close frame in the normal way, so that the 1002 is not lost on the way."""
        super().dropConnection(abort and not (self._answering and self.failedByMe))

    def onMessageBegin(self, isBinary: bool) -> None:
        """A message begins: count anew."""
        self._empty = 0
        super().onMessageBegin(isBinary)

    def onMessageFrameBegin(self, length: int) -> None:
        """A fragment begins."""
        super().onMessageFrameBegin(length)
        self._empty = 0 if length else self._empty + 1
        if self._empty > EMPTY_FRAGMENTS and not self.failedByMe:
            self._fail_connection(POLICY_VIOLATION, "too many empty fragments")
