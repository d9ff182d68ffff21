"""What is kept of a chat."""

from django.db import models


class Message(models.Model):
    """One message in a room."""

    room = models.CharField(max_length=50)
    text = models.TextField()
