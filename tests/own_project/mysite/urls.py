"""The pages of the project."""

from django.urls import include, path

urlpatterns = [path("chat/", include("chat.urls"))]
