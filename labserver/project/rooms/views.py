"""The page of a room."""

from django.http import Http404
from django.shortcuts import render
from django.views.decorators.csrf import ensure_csrf_cookie

from .consumers import NAME


@ensure_csrf_cookie
def room(request, group_name):
    """A page that joins the room `group_name`. Raises Http404 for a name that no room can have."""
    if not NAME.fullmatch(group_name):
        raise Http404("no such room")
    return render(request, "rooms/room.html", {"group_name": group_name})
