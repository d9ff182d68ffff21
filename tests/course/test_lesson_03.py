"""What the checks of lesson 03 do to a database."""

from asgiref.sync import sync_to_async
from django.conf import settings

from labserver.course.checks import lesson_03
from labserver.course.exercise import catalogue


async def test_another_projects_database_is_left_alone(monkeypatch):
    """Users are made in the lab's own database alone; under other settings the check takes those that are there."""
    from django.contrib.auth.models import User

    assert catalogue()
    assert "alice" in await sync_to_async(lesson_03._users)()
    await User.objects.filter(username="bob").adelete()
    monkeypatch.setattr(settings, "SETTINGS_MODULE", "mysite.settings")
    assert "bob" not in await sync_to_async(lesson_03._users)()
