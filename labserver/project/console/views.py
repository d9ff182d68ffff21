"""Pages to look at from a notebook; they may stand in a frame, because that is where lessons show them."""

from django.shortcuts import render
from django.views.decorators.clickjacking import xframe_options_exempt


@xframe_options_exempt
def front(request):
    """What this server has to offer."""
    return render(request, "console/front.html")


@xframe_options_exempt
def console(request):
    """A WebSocket client in a page: it connects to `?path=` and shows every message that arrives."""
    return render(request, "console/console.html")
