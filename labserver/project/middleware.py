"""What stands before every consumer: what a client may not decide, and what it is told when we fail."""

import asyncio
import json
import logging

from django.conf import settings
from django.http.request import split_domain_port, validate_host

logger = logging.getLogger(__name__)

SUBPROTOCOL = "bearer"
"""Offered by a page in front of its token: `new WebSocket(url, ["bearer", token])`."""


class ClientChecks:
    """Refuse a WebSocket under a foreign Host, and ignore a client's own root path.

    Django checks the Host of HTTP requests itself (ALLOWED_HOSTS). Nobody does so for WebSockets, and a page whose DNS
    name was rebound to this machine sends its own name as Host. Daphne takes the root path from a request's header;
    only the project knows it: FORCE_SCRIPT_NAME.
    """

    def __init__(self, application):
        self.application = application

    async def __call__(self, scope, receive, send):
        scope = {**scope, "root_path": settings.FORCE_SCRIPT_NAME or ""}
        if scope["type"] == "websocket" and not self.is_ours(scope):
            await send({"type": "websocket.close"})
            return
        await self.application(scope, receive, send)

    def is_ours(self, scope):
        """Whether the Host header names one of ALLOWED_HOSTS; one that is missing or doubled names none."""
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        return len(hosts) == 1 and validate_host(split_domain_port(hosts[0])[0], settings.ALLOWED_HOSTS)


class ExplainFailures:
    """Answer a WebSocket whose connecting fails for a reason of ours: accept, an error, then close with 4000.

    The database or Redis may be away before the consumer's first line runs. A server would answer with HTTP 500, of
    which a browser sees nothing, so a page could not tell "try again" from "never". Paths without a route stay errors.
    So does a database that takes long: after five seconds daphne cuts the line without a word.
    """

    LIMIT = 4
    """Seconds that connecting may take."""

    def __init__(self, application):
        self.application = application

    async def __call__(self, scope, receive, send):
        connecting = answered = False

        async def noted_receive():
            nonlocal connecting
            event = await receive()
            connecting = connecting or event["type"] == "websocket.connect"
            return event

        async def noted_send(event):
            nonlocal answered
            answered = True
            limit.reschedule(None)
            await send(event)

        try:
            async with asyncio.timeout(self.LIMIT) as limit:
                await self.application(scope, noted_receive, noted_send)
        except Exception as error:
            if answered or str(error).startswith("No route found"):
                raise
            logger.exception("%s: connecting failed", scope["path"])
            if not connecting:
                await receive()
            why = "the server cannot connect you at the moment; try again later"
            await refuse(scope, send, 4000, {"type": "error", "content": why})


def answer(scope):
    """The subprotocol to accept with: a browser that offered some takes a connection without any of them for failed."""
    return SUBPROTOCOL if SUBPROTOCOL in scope.get("subprotocols", ()) else None


async def refuse(scope, send, code, message):
    """Accept, say why, and close: a browser is told neither reason nor code of a handshake that is refused."""
    await send({"type": "websocket.accept", "subprotocol": answer(scope)})
    await send({"type": "websocket.send", "text": json.dumps(message)})
    await send({"type": "websocket.close", "code": code})
