"""What all environments share. What differs between machines comes from the environment of the process.

LABSERVER_SECRET_KEY     signs sessions and tokens; all processes of a site need the same one
LABSERVER_DATABASE       path of the SQLite file (default: db.sqlite3 beside manage.py)
LABSERVER_REDIS_URL      turns the channel layer and the cache to Redis, for example redis://127.0.0.1:6379/0
LABSERVER_ALLOWED_HOSTS  names under which browsers reach the site, separated by commas
"""

import os
from datetime import timedelta
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parents[2]

SECRET_KEY = os.environ.get("LABSERVER_SECRET_KEY", "")
DEBUG = False
HOSTS = [host.strip() for host in os.environ.get("LABSERVER_ALLOWED_HOSTS", "").split(",") if host.strip()]
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]", *HOSTS]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "labserver.project.chat",
    "labserver.project.console",
    "labserver.project.echo",
    "labserver.project.rooms",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "labserver.project.urls"
ASGI_APPLICATION = "labserver.project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.debug",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "/"  # not the chat: each of its tabs signs in by itself
STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("LABSERVER_DATABASE") or BASE_DIR / "db.sqlite3",
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework_simplejwt.authentication.JWTAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=5),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=1),
    "CHECK_REVOKE_TOKEN": True,  # a new password ends all tokens; without this they outlive it
}

REDIS_URL = os.environ.get("LABSERVER_REDIS_URL", "")
if REDIS_URL:
    try:
        import channels_redis.pubsub  # noqa: F401
        import redis.asyncio.retry
        import redis.backoff
        import redis.retry
    except ImportError as error:
        raise ImproperlyConfigured(
            f"expected the packages that LABSERVER_REDIS_URL needs, found none ({error}); "
            "get them with: pip install channels-redis 'redis<8'"
        ) from error
    # When Redis is away, an answer now ("not delivered") is better than one after seven seconds of attempts, for which
    # everybody else would wait as well. Once again at once is for a connection that had died unnoticed.
    REDIS_OPTIONS = {
        "socket_connect_timeout": 2,
        "socket_timeout": 2,
        "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 1),
    }
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {
                "hosts": [
                    {
                        "address": REDIS_URL,
                        "socket_connect_timeout": 2,
                        "socket_timeout": None,  # members wait while nobody speaks; redis 8 would give up in 5 s
                        "retry": redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 1),
                    }
                ]
            },
        }
    }
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
            "OPTIONS": REDIS_OPTIONS,
        }
    }
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
