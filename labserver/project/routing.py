"""Which consumer answers which WebSocket path."""

from django.urls import path

from .echo.consumers import EchoConsumer
from .rooms.consumers import RoomConsumer

websocket_urlpatterns = [
    path("ws/echo/", EchoConsumer.as_asgi()),
    path("ws/room/<str:group_name>/", RoomConsumer.as_asgi()),
]
