"""What chat and rooms are built on: strict JSON, errors that clients are told, and limits. The echo has none of it."""

import asyncio
import logging
import time

from channels.generic.websocket import AsyncJsonWebsocketConsumer

from . import strict_json
from .middleware import answer

logger = logging.getLogger(__name__)


class StrictJsonConsumer(AsyncJsonWebsocketConsumer):
    """JSON in, JSON out. What cannot be understood is answered with `{"type": "error", "content": why}`.

    A client that sends faster than `RATE` messages a second, after the first `BURST`, is read more slowly; one that
    goes on is closed with 4008. Subclasses do in `leave` what must happen however the connection ends.
    """

    LONGEST = 64 * 1024
    """Bytes of a message."""

    RATE, BURST, PATIENCE = 50, 100, 250
    """Messages a second in the long run; how many may come at once; how many late ones end the connection."""

    closing = False
    """Whether the connection is over, or nearly: the channel layer and the client may not know yet."""

    _earned = _late = 0
    _since = None

    async def __call__(self, scope, receive, send):
        """Run the consumer, and then `leave`: `disconnect` is not called when a handler raises."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            try:
                await self.leave()
            except Exception as error:  # what it could not undo in Redis ends there by itself
                logger.warning("%s: could not leave cleanly: %s", scope["path"], error)

    async def leave(self):
        """Undo what connecting did. Called once, after a disconnect, a crash and a cancellation alike."""

    async def accept(self, subprotocol=None, headers=None):
        """Accept; with the subprotocol of a page that sends its token as one, unless another is given."""
        await super().accept(subprotocol or answer(self.scope), headers)

    async def refuse(self, code, why):
        """Say why, and close. Accepts first: a browser is told neither reason nor code of a refused handshake."""
        await self.accept()
        await self.error(why)
        await self.close(code)

    async def send(self, text_data=None, bytes_data=None, close=False):
        """Send, unless the connection is over: what a group still has for it would be an error then."""
        if self.closing:
            return
        try:
            await super().send(text_data, bytes_data, close)
        except Exception as error:  # servers have errors of their own for a client that has gone
            self.closing = True
            logger.info("%s: a message came too late: %s", self.scope["path"], error)

    async def send_json(self, content, close=False):
        """Send as JSON; by `send`, which Channels' own method passes by."""
        await self.send(await self.encode_json(content), close=close)

    async def close(self, code=None, reason=None):
        """Close; a second time does nothing."""
        if not self.closing:
            self.closing = True
            await super().close(code, reason)

    async def error(self, why):
        """Tell this client alone."""
        await self.send_json({"type": "error", "content": why})

    async def pass_on(self, sending):
        """Await what the channel layer is to send; if that fails, the client knows and may try again."""
        try:
            await sending
        except Exception:
            logger.exception("the channel layer did not take a message")
            await self.error("not delivered: the server cannot reach its channel layer; try again in a moment")

    async def websocket_receive(self, message):
        """Slow down who sends too much, before anything is read."""
        if self.closing:
            return
        now = time.monotonic()
        if self._since is None:
            self._since, self._earned = now, self.BURST
        self._earned = min(self.BURST, self._earned + (now - self._since) * self.RATE)
        self._since = now
        self._earned -= 1
        if self._earned > self.BURST / 2:
            self._late = 0
        elif self._earned < 0:
            self._late += 1
            await asyncio.sleep(1 / self.RATE)  # meanwhile nothing else of this client is read
        if self._late < self.PATIENCE:
            await super().websocket_receive(message)
        else:
            await self.error(f"too many messages: {self.RATE} a second are enough")
            await self.close(4008)

    async def receive(self, text_data=None, bytes_data=None):
        """Decode a message strictly; `receive_json` gets what was in it."""
        if text_data is None:
            await self.error("expected text, found bytes")
        elif len(text_data.encode()) > self.LONGEST:
            await self.error(f"expected at most {self.LONGEST:,} bytes, found {len(text_data.encode()):,}")
        else:
            try:
                content = strict_json.loads(text_data)
            except ValueError as error:
                await self.error(f"expected JSON: {error}")
            else:
                await self.receive_json(content)
