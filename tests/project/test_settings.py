"""Settings of the reference project: what the environment says, and what it must not leave out."""

import importlib.util
import runpy
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured

SETTINGS = importlib.util.find_spec("labserver.project.settings").origin
KEY = "k" * 32


@pytest.fixture
def settings(monkeypatch):
    """The settings as this environment makes them."""

    def settings(**variables):
        for name in ("SECRET_KEY", "DATABASE", "REDIS_URL", "ALLOWED_HOSTS"):
            monkeypatch.delenv(f"LABSERVER_{name}", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(f"LABSERVER_{name}", value)
        return runpy.run_path(SETTINGS)

    return settings


@pytest.mark.parametrize(
    ("variables", "found"), [({}, 0), ({"SECRET_KEY": "short"}, 5), ({"SECRET_KEY": "k" * 31}, 31)]
)
def test_a_short_key_refuses_to_start(settings, variables, found):
    """Row 27: without a secret key of 32 bytes the project does not start, and says how to make one."""
    with pytest.raises(ImproperlyConfigured, match=f"to hold 32 bytes or more, found {found};.*set it.*token_urlsafe"):
        settings(**variables)


def test_the_key_is_counted_in_bytes(settings):
    """Eight characters of four bytes each are long enough."""
    assert settings(SECRET_KEY="𝄞" * 8)["SECRET_KEY"] == "𝄞" * 8


def test_without_redis_the_layer_is_in_memory(settings):
    """By default nothing but Python is needed."""
    found = settings(SECRET_KEY=KEY)
    assert found["CHANNEL_LAYERS"]["default"]["BACKEND"] == "channels.layers.InMemoryChannelLayer"
    assert "CACHES" not in found
    assert found["DATABASES"]["default"]["NAME"] == "db.sqlite3"
    assert found["ALLOWED_HOSTS"] == ["127.0.0.1", "localhost", "[::1]"]
    assert found["DEBUG"] is False


def test_a_redis_url_turns_layer_and_cache(settings):
    """One address turns the channel layer and the cache to Redis."""
    url = "redis://127.0.0.1:6379/3"
    found = settings(SECRET_KEY=KEY, REDIS_URL=url)
    [host] = found["CHANNEL_LAYERS"]["default"]["CONFIG"]["hosts"]
    assert host["address"] == url
    assert host["socket_timeout"] is None  # members may be silent for longer than redis 8 would wait
    assert found["CHANNEL_LAYERS"]["default"]["BACKEND"].startswith("channels_redis.")
    assert found["CACHES"]["default"]["LOCATION"] == url


def test_a_redis_url_without_the_packages_says_how_to_get_them(settings, monkeypatch):
    """Without channels_redis the project does not start on Redis, and names what to install."""
    monkeypatch.setitem(sys.modules, "channels_redis.pubsub", None)
    with pytest.raises(ImproperlyConfigured, match="pip install channels-redis 'redis<8'"):
        settings(SECRET_KEY=KEY, REDIS_URL="redis://127.0.0.1:6379/3")


def test_database_and_hosts_come_from_the_environment(settings, tmp_path):
    """The database file and further host names are the machine's to say."""
    path = str(tmp_path / "lab.sqlite3")
    found = settings(SECRET_KEY=KEY, DATABASE=path, ALLOWED_HOSTS="lab.example,other.example")
    assert found["DATABASES"]["default"]["NAME"] == path
    assert found["ALLOWED_HOSTS"][3:] == ["lab.example", "other.example"]
