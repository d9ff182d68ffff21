"""Behind nginx, for everybody. Used by asgi.py, unless DJANGO_SETTINGS_MODULE names others.

It refuses to start without LABSERVER_SECRET_KEY, LABSERVER_ALLOWED_HOSTS and LABSERVER_REDIS_URL: a guess would be
worse. LABSERVER_TLS=off leaves out what needs HTTPS, to try all of it on one machine.
"""

import os

from django.core.exceptions import ImproperlyConfigured

from .base import *  # noqa: F403
from .base import BASE_DIR, DATABASES, HOSTS, REDIS_URL, SECRET_KEY

missing = []
if len(SECRET_KEY) < 50:
    missing.append(
        "LABSERVER_SECRET_KEY, 50 characters or more, the same for all processes: "
        'export LABSERVER_SECRET_KEY=$(python -c "import secrets; print(secrets.token_urlsafe(48))")'
    )
if not HOSTS:
    missing.append("LABSERVER_ALLOWED_HOSTS, the names of the site: export LABSERVER_ALLOWED_HOSTS=chat.example.org")
if not REDIS_URL:
    missing.append(
        "LABSERVER_REDIS_URL, because the workers share messages and cache through Redis alone: "
        "export LABSERVER_REDIS_URL=redis://127.0.0.1:6379/0"
    )
if missing:
    raise ImproperlyConfigured("expected these variables in the environment:\n- " + "\n- ".join(missing))

ALLOWED_HOSTS = HOSTS
STATIC_ROOT = BASE_DIR / "static_root"  # collectstatic fills it, nginx serves it

# What createsuperuser and changepassword hold a new password to.
_RULES = ("UserAttributeSimilarity", "MinimumLength", "CommonPassword", "NumericPassword")
AUTH_PASSWORD_VALIDATORS = [{"NAME": f"django.contrib.auth.password_validation.{rule}Validator"} for rule in _RULES]

# Several processes write into one file. WAL lets the others read meanwhile; who has to wait to write, waits for up to
# 20 s instead of 5. IMMEDIATE takes the lock when a transaction begins: half-way it may be refused without any waiting.
DATABASES["default"]["OPTIONS"] = {
    "init_command": "PRAGMA journal_mode=WAL",
    "timeout": 20,
    "transaction_mode": "IMMEDIATE",
}

if os.environ.get("LABSERVER_TLS") != "off":
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")  # nginx sets it, whatever a client sends
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^health/$"]  # asked from inside, without TLS
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    # Browsers that were here will not use plain HTTP for this long. An hour is for the first days: it cannot be taken
    # back. When all works, make it a year (31536000).
    SECURE_HSTS_SECONDS = 3600

# `manage.py check --deploy` would ask for two more promises to browsers. Both bind what is not this project's: W005
# all subdomains, W021 a list that is built into browsers. Decide about them for your domain, and remove these then.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
