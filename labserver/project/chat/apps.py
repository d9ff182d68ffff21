"""What must be so before the chat starts."""

from importlib.metadata import version

from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from . import logs


class ChatConfig(AppConfig):
    """The chat's application."""

    name = "labserver.project.chat"

    def ready(self):
        """Keep tokens out of logs, and refuse a channel layer that would lose its members."""
        logs.install()
        self.check_layers()

    def check_layers(self):
        """Raise ImproperlyConfigured for a Redis layer that would throw out whoever hears nothing for five seconds.

        From its version 8 on, the package redis ends a read after five seconds unless told otherwise; a consumer that
        waits for its next message takes that for a fault, and dies: https://github.com/django/channels_redis/issues/422
        """
        for alias, layer in settings.CHANNEL_LAYERS.items():
            if layer["BACKEND"].startswith("channels_redis.") and int(version("redis").partition(".")[0]) >= 8:
                for host in layer.get("CONFIG", {}).get("hosts", [{}]):
                    if not isinstance(host, dict) or "socket_timeout" not in host:
                        raise ImproperlyConfigured(
                            f'expected "socket_timeout": None for each host of the channel layer {alias!r}, found '
                            f"redis {version('redis')} with its limit of five seconds, after which idle connections "
                            'die; write {"address": "redis://…", "socket_timeout": None}, or install \'redis<8\''
                        )
