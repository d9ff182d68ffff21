"""Which consumer answers which WebSocket path."""

from django.urls import path

from .echo.consumers import EchoConsumer

websocket_urlpatterns = [
    path("ws/echo/", EchoConsumer.as_asgi()),
]
