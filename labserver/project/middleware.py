"""What a client may not decide: who the server is, and where the project is mounted."""

from django.conf import settings
from django.http.request import split_domain_port, validate_host


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
