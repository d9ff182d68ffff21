"""The chat's page, the users to write to, and signing in; the pages may stand in a frame, where lessons show them."""

from django.contrib.auth import get_user_model
from django.contrib.auth.views import LoginView, LogoutView
from django.http import JsonResponse
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe


@require_safe
@xframe_options_exempt
@ensure_csrf_cookie
def page(request):
    """The chat; who is not signed in gets it too, with a way to do so."""
    return render(request, "chat/chat.html")


@require_safe
def users(request):
    """Those whom a signed-in user can write to: `[{"id": 1, "username": "alice"}, …]`, by name; 401 for others."""
    if not request.user.is_authenticated:
        return JsonResponse({"detail": "sign in first"}, status=401)
    active = get_user_model().objects.filter(is_active=True).order_by("username")
    return JsonResponse(list(active.values("id", "username")), safe=False)


@method_decorator(xframe_options_exempt, name="dispatch")
class Login(LoginView):
    """Django's own, with `registration/login.html`. A `next` may be relative: that holds behind a proxy, too."""


@method_decorator(xframe_options_exempt, name="dispatch")
class Logout(LogoutView):
    """Django's own; by POST only."""
