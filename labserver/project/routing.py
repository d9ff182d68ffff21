"""Which consumer answers which WebSocket path."""

from django.urls import path

from .chat.consumers import ChatConsumer
from .chat.tokens import TokenAuthMiddleware
from .echo.consumers import EchoConsumer
from .rooms.consumers import RoomConsumer

websocket_urlpatterns = [
    path("ws/echo/", EchoConsumer.as_asgi()),
    path("ws/room/<str:group_name>/", RoomConsumer.as_asgi()),
    path("infra/ws/", TokenAuthMiddleware(ChatConsumer.as_asgi())),
]
