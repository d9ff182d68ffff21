"""The ASGI application: Django for HTTP, Channels for WebSockets."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labserver.project.settings")
django_application = get_asgi_application()  # sets Django up; consumers may only be imported after this line

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402
from django.core.exceptions import SuspiciousFileOperation  # noqa: E402
from django.http import Http404  # noqa: E402

from .middleware import ClientChecks, ExplainFailures  # noqa: E402
from .routing import websocket_urlpatterns  # noqa: E402


class StaticFiles(ASGIStaticFilesHandler):
    """Static files from the applications' folders; a path that climbs out of them is a 404, not a crash.

    Where nginx takes /static/ for itself, no such request comes this far.
    """

    def serve(self, request):
        try:
            return super().serve(request)
        except SuspiciousFileOperation as error:
            raise Http404(str(error)) from error


# A page may connect if its Origin is one of ALLOWED_HOSTS, whatever its port: what shows our pages in a frame may be
# another server of the same machine. A request without an Origin, or from "null", is refused.
websockets = AllowedHostsOriginValidator(ExplainFailures(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))))

application = ClientChecks(
    ProtocolTypeRouter(
        {
            "http": StaticFiles(django_application),
            "websocket": websockets,
        }
    )
)
