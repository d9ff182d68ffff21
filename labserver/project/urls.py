"""Which view answers which HTTP path."""

from django.urls import path

from .console import views

urlpatterns = [
    path("", views.front),
    path("console/", views.console),
]
