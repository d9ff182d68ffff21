"""Pages, tokens over HTTP, and health/."""

import logging

import pytest
from django.contrib.auth import get_user_model


@pytest.mark.parametrize("path", ["/", "/chat/", "/console/", "/room/lobby/", "/accounts/login/"])
def test_pages_answer(client, path):
    """Each page is there, and may not stand in a frame of another site."""
    response = client.get(path)
    assert response.status_code == 200
    assert response["X-Frame-Options"] == "DENY"


def test_name_and_password_get_a_token(client, db):
    """A token opens the list of users; without one there is none."""
    get_user_model().objects.create_user("alice", password="a password of this test")
    given = client.post("/api/token/", {"username": "alice", "password": "a password of this test"}, "application/json")
    token = given.json()["access"]
    users = client.get("/api/users/", headers={"Authorization": f"Bearer {token}"}).json()
    assert [user["username"] for user in users] == ["alice"]
    assert client.get("/api/users/").status_code == 401


def test_the_front_page_says_who_is_signed_in(client, db):
    """Signing in leads there, and so does signing out, by POST alone."""
    get_user_model().objects.create_user("alice", password="a password of this test")
    fields = {"username": "alice", "password": "a password of this test"}
    page = client.post("/accounts/login/", fields, follow=True)
    assert page.redirect_chain == [("/", 302)] and "<b>alice</b>" in page.text
    assert client.get("/accounts/logout/").status_code == 405
    page = client.post("/accounts/logout/", follow=True)
    assert page.redirect_chain == [("/", 302)] and "alice" not in page.text


@pytest.mark.django_db(transaction=True)
async def test_health_names_each_part(async_client):
    """200, as long as all parts answer."""
    response = await async_client.get("/health/")
    assert response.status_code == 200
    assert response.json() == {"database": "ok", "cache": "ok", "channel layer": "ok"}


@pytest.mark.django_db(transaction=True)
async def test_health_is_503_if_a_part_fails(async_client, settings):
    """The answer names the part, and says no more than the type of its error."""
    backend = "django.core.cache.backends.redis.RedisCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": "redis://127.0.0.1:1/"}}  # nobody listens there
    response = await async_client.get("/health/")
    assert response.status_code == 503
    assert response.json() == {"database": "ok", "cache": "failed: ConnectionError", "channel layer": "ok"}


def test_logs_hide_tokens(caplog):
    """What a server logs with its path, query string and all, is logged without the token."""
    with caplog.at_level(logging.INFO, "uvicorn.error"):
        logging.getLogger("uvicorn.error").info('"WebSocket %s" [accepted]', "/infra/ws/?token=what-nobody-may-see")
    assert caplog.messages == ['"WebSocket /infra/ws/?token=[hidden]" [accepted]']
