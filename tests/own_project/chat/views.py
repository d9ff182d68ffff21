"""The page of a room."""

from django.shortcuts import render


def room(request, room_name):
    """The page on which a person chats."""
    return render(request, "chat/room.html", {"room_name": room_name})
