"""The chat's page, the users to write to, and tokens for those who sign in."""

from django.contrib.auth import get_user_model
from django.shortcuts import render
from django.views.decorators.http import require_safe
from rest_framework.decorators import api_view, permission_classes
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken
from rest_framework_simplejwt.serializers import TokenObtainPairSerializer
from rest_framework_simplejwt.tokens import AccessToken
from rest_framework_simplejwt.views import TokenRefreshView


@require_safe
def page(request):
    """The chat; who is not signed in gets it too, with a way to do so."""
    return render(request, "chat/chat.html")


@api_view(["GET"])
@permission_classes([IsAuthenticated])
def users(request):
    """Those whom a signed-in user can write to: `[{"id": 1, "username": "alice"}, …]`, by name; 401 for others."""
    return Response(get_user_model().objects.filter(is_active=True).order_by("username").values("id", "username"))


class PairSerializer(TokenObtainPairSerializer):
    """simplejwt's, which calls a disabled account a wrong password; whoever knows the right one may know."""

    def validate(self, attrs):
        try:
            return super().validate(attrs)
        except AuthenticationFailed:
            user = get_user_model().objects.filter(username=attrs["username"], is_active=False).first()
            if user and user.check_password(attrs["password"]):
                raise InvalidToken("this account is disabled", "user_inactive") from None
            raise InvalidToken("name and password do not belong together", "wrong_password") from None


class Refresh(TokenRefreshView):
    """simplejwt's, which answers with HTTP 500 for a user who is gone, and with a useless token for a new password."""

    def post(self, request, *args, **kwargs):
        try:
            answer = super().post(request, *args, **kwargs)
            JWTAuthentication().get_user(AccessToken(answer.data["access"]))
        except (get_user_model().DoesNotExist, TypeError, ValueError):
            raise InvalidToken from None
        return answer
