"""The front page, and a WebSocket client to try paths with."""

from django.shortcuts import render


def front(request):
    """What this server has to offer."""
    return render(request, "console/front.html")


def console(request):
    """A WebSocket client in a page: it connects to `?path=` and shows every message that arrives."""
    return render(request, "console/console.html")
