"""What the checks of lesson 03 do to a database, and to a slip."""

from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from labserver.course.exercise import catalogue, find
from labserver.course.judge import judge


async def test_another_projects_database_is_left_alone(monkeypatch):
    """Users are made in the lab's own database alone; under other settings the check takes those that are there."""
    assert catalogue()  # only now Django is set up
    from django.contrib.auth.models import User

    from labserver.course.checks import lesson_03

    assert "alice" in await sync_to_async(lesson_03._users)()
    await User.objects.filter(username="bob").adelete()
    monkeypatch.setattr(settings, "SETTINGS_MODULE", "mysite.settings")
    assert "bob" not in await sync_to_async(lesson_03._users)()


def test_a_slip_is_no_misconception():
    """A name that does not exist is called a crash, and not taken for a message that was not expected."""

    class Slips(AsyncWebsocketConsumer):
        async def receive(self, text_data=None, bytes_data=None):
            await self.send(answer)  # noqa: F821

    result = judge(find("03.3"), Slips)
    assert (result.outcome, result.name) == ("crashed", "NameError")
