"""Which view answers which HTTP path."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path
from rest_framework_simplejwt.views import TokenObtainPairView

from .chat import views as chat
from .console import views as console
from .health import health
from .rooms import views as rooms

urlpatterns = [
    path("", console.front),
    path("console/", console.console),
    path("chat/", chat.page),
    path("room/<str:group_name>/", rooms.room),
    path("api/token/", TokenObtainPairView.as_view(serializer_class=chat.PairSerializer)),
    path("api/token/refresh/", chat.Refresh.as_view()),
    path("api/users/", chat.users),
    path("accounts/login/", LoginView.as_view(), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("health/", health),
]
