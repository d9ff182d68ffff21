"""Settings of the reference project in the lab, where a kernel or a test makes a fresh key.

LABSERVER_SECRET_KEY has to hold 32 bytes or more; base.py lists the other variables. The database is db.sqlite3 in the
current folder unless LABSERVER_DATABASE says otherwise.
"""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http.request import split_domain_port, validate_host
from django.utils.deprecation import MiddlewareMixin

from .base import *  # noqa: F403
from .base import DATABASES, INSTALLED_APPS, MIDDLEWARE, SECRET_KEY, os

if len(SECRET_KEY.encode()) < 32:
    raise ImproperlyConfigured(
        f"expected LABSERVER_SECRET_KEY to hold 32 bytes or more, found {len(SECRET_KEY.encode())}; in a "
        "notebook, run the cell with serve(…) first, which makes one; elsewhere set it, for example with: "
        'export LABSERVER_SECRET_KEY=$(python -c "import secrets; print(secrets.token_urlsafe(48))")'
    )

INSTALLED_APPS = ["daphne", *INSTALLED_APPS]
DATABASES["default"]["NAME"] = os.environ.get("LABSERVER_DATABASE", "db.sqlite3")

# Lessons show the pages in a frame of the notebook.
MIDDLEWARE = [each for each in MIDDLEWARE if not each.endswith(".XFrameOptionsMiddleware")]

# A hub is known to the browser by a name that no variable tells for sure. So it is taken from the requests that come
# through the hub; without it, all of them would be refused (ALLOWED_HOSTS), and forms once more (CSRF).
if os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or os.environ.get("CODESPACES"):
    MIDDLEWARE = ["labserver.project.settings.ThroughTheHub", *MIDDLEWARE]


class ThroughTheHub(MiddlewareMixin):
    """Allow the host name by which a hub's proxy is asked, and see that the browser spoke HTTPS to it.

    jupyter-server-proxy signs in whoever asks, refuses sockets from foreign pages, and then hands Host and Origin on
    as they came, but not the scheme. It says that it is there (X-ProxyContextPath). The forwarding of a codespace puts
    `localhost` into both, or leaves the codespace's name there. A machine with a browser of its own is no hub: there a
    name that was rebound to 127.0.0.1 has to stay a stranger.
    https://docs.djangoproject.com/en/5.2/ref/csrf/#how-it-works
    """

    def process_request(self, request):
        host = request.headers.get("Host", "")
        codespace = os.environ.get("CODESPACE_NAME")
        if "X-ProxyContextPath" in request.headers or (codespace and host.startswith(f"{codespace}-")):
            name = split_domain_port(host)[0]
            if name and not validate_host(name, settings.ALLOWED_HOSTS):
                settings.ALLOWED_HOSTS.append(name)  # in place: the sockets' check of origins holds this very list
        if request.headers.get("Origin") == f"https://{host}":
            request.scope["scheme"] = "https"
