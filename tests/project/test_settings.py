"""Settings of the reference project: what the environment says, and what it must not leave out."""

import importlib
import os
import re
import stat
import sys

import pytest
from django.conf import settings as current
from django.core.exceptions import DisallowedHost, ImproperlyConfigured, ValidationError
from django.test import AsyncRequestFactory

from labserver import project
from labserver.live.server import configure_django

PACKAGE = "labserver.project.settings"
KEY = "k" * 32
SITE = {"SECRET_KEY": "k" * 50, "ALLOWED_HOSTS": "chat.example", "REDIS_URL": "redis://127.0.0.1:6379/3"}


@pytest.fixture
def settings(monkeypatch):
    """The settings as this environment makes them; those of other tests stay loaded."""

    def settings(kind="", **variables):
        for name in ("SECRET_KEY", "DATABASE", "REDIS_URL", "ALLOWED_HOSTS", "TLS"):
            monkeypatch.delenv(f"LABSERVER_{name}", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(f"LABSERVER_{name}", value)
        monkeypatch.setattr(project, "settings", None, raising=False)  # the import below sets it: put back at the end
        for name in [PACKAGE, *(f"{PACKAGE}.{each}" for each in ("base", "development", "production"))]:
            monkeypatch.setitem(sys.modules, name, None)  # so that what the import leaves there is removed at the end
            del sys.modules[name]
        return vars(importlib.import_module(f"{PACKAGE}{kind}"))

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


def test_the_lab_shows_pages_in_frames(settings):
    """A notebook may frame the pages of the lab; those of a site nobody may."""
    frames = "django.middleware.clickjacking.XFrameOptionsMiddleware"
    assert frames not in settings(SECRET_KEY=KEY)["MIDDLEWARE"]
    assert frames in settings(".development", SECRET_KEY=KEY)["MIDDLEWARE"]
    assert frames in settings(".production", **SITE)["MIDDLEWARE"]


def test_only_runserver_needs_daphne(settings):
    """daphne comes first where runserver is used; workers of gunicorn do without it, and so without Twisted."""
    assert settings(SECRET_KEY=KEY)["INSTALLED_APPS"][0] == "daphne"
    assert settings(".development", SECRET_KEY=KEY)["INSTALLED_APPS"][0] == "daphne"
    assert "daphne" not in settings(".production", **SITE)["INSTALLED_APPS"]


def test_development_keeps_a_key_in_a_file(settings, tmp_path):
    """A key is made once, for its owner alone, and kept; one from the environment comes first."""
    found = settings(".development", SECRET_KEY=KEY)
    assert found["SECRET_KEY"] == KEY and found["DEBUG"] is True
    path = tmp_path / ".secret_key"
    key = found["_kept_key"](path)
    assert len(key) >= 50 and found["_kept_key"](path) == key
    assert os.name == "nt" or stat.S_IMODE(path.stat().st_mode) == 0o600


def test_production_names_all_that_is_missing(settings):
    """Without its three variables it does not start, and says of each how to set it."""
    with pytest.raises(ImproperlyConfigured) as caught:
        settings(".production", SECRET_KEY=KEY)  # long enough for the lab, not for a site
    for name in ("SECRET_KEY=$(python -c", "ALLOWED_HOSTS=", "REDIS_URL=redis://"):
        assert f"export LABSERVER_{name}" in str(caught.value)


@pytest.mark.parametrize("name", ["SECRET_KEY", "ALLOWED_HOSTS", "REDIS_URL"])
def test_production_names_only_what_is_missing(settings, name):
    """Two of the three are not enough, and the error speaks of the third alone."""
    with pytest.raises(ImproperlyConfigured) as caught:
        settings(".production", **{**SITE, name: KEY if name == "SECRET_KEY" else ""})
    assert str(caught.value).count("\n- LABSERVER_") == 1 and f"\n- LABSERVER_{name}" in str(caught.value)


def test_production_is_safe_with_tls(settings):
    """Cookies, redirects and HSTS are for TLS; only the health check answers without; the names are the given ones."""
    found = settings(".production", **SITE)
    assert found["ALLOWED_HOSTS"] == ["chat.example"]
    assert found["DEBUG"] is False
    assert found["SECURE_SSL_REDIRECT"] and found["SESSION_COOKIE_SECURE"] and found["CSRF_COOKIE_SECURE"]
    assert found["SECURE_HSTS_SECONDS"] > 0
    assert found["SECURE_PROXY_SSL_HEADER"] == ("HTTP_X_FORWARDED_PROTO", "https")
    assert [re.search(each, "health/") is not None for each in found["SECURE_REDIRECT_EXEMPT"]] == [True]
    assert "WAL" in found["DATABASES"]["default"]["OPTIONS"]["init_command"]


def test_production_holds_new_passwords_to_rules(settings):
    """`manage.py createsuperuser` takes no password that is short, common, a number alone, or like the name."""
    configure_django()
    from django.contrib.auth.models import User
    from django.contrib.auth.password_validation import get_password_validators, validate_password

    rules = get_password_validators(settings(".production", **SITE)["AUTH_PASSWORD_VALIDATORS"])
    for password in ("j4-Kq", "password123", "4711081523421", "bob-bob-bob"):
        with pytest.raises(ValidationError):
            validate_password(password, User(username="bob-bob-bob"), rules)
    validate_password("long enough for a test", User(username="bob-bob-bob"), rules)


def test_production_can_be_tried_without_tls(settings):
    """LABSERVER_TLS=off leaves out what needs TLS, and that alone."""
    found = settings(".production", TLS="off", **SITE)
    assert not {name for name in found if name.startswith(("SECURE_", "SESSION_COOKIE", "CSRF_COOKIE"))}
    assert found["STATIC_ROOT"].name == "static_root"


PLACES = ("JUPYTERHUB_SERVICE_PREFIX", "CODESPACES", "CODESPACE_NAME")


@pytest.fixture
def behind(settings, monkeypatch):
    """The lab's middlewares in this place; `pass_through` lets one request pass those that this place has added."""
    monkeypatch.setattr(current, "ALLOWED_HOSTS", ["127.0.0.1", "localhost"])

    def behind(**place):
        for name in PLACES:
            monkeypatch.delenv(name, raising=False)
        for name, value in place.items():
            monkeypatch.setenv(name, value)
        return settings(SECRET_KEY=KEY)

    return behind


def pass_through(found, host, **headers):
    """A request for this host, after the hub's middleware has seen it."""
    assert found["MIDDLEWARE"][0] == f"{PACKAGE}.ThroughTheHub"
    request = AsyncRequestFactory().get("/", headers=headers)
    request.META["HTTP_HOST"] = host  # the factory has put one of its own there
    assert found["ThroughTheHub"](lambda request: None).process_request(request) is None
    return request


def test_on_a_machine_with_a_browser_no_name_is_taken_from_a_request(behind):
    """A name that was rebound to 127.0.0.1 stays a stranger: what learns the name of a hub is not there."""
    assert not [name for name in behind()["MIDDLEWARE"] if "Hub" in name]


def test_a_hub_is_allowed_by_the_name_that_it_is_asked_by(behind):
    """What the hub's proxy hands on is answered, in the list that the origins of sockets are compared with."""
    found, allowed = behind(JUPYTERHUB_SERVICE_PREFIX="/user/alice/"), current.ALLOWED_HOSTS
    for _ in range(2):
        request = pass_through(found, "hub.example:8443", **{"x-proxycontextpath": "/user/alice/proxy/4321"})
        assert request.get_host() == "hub.example:8443"
    assert current.ALLOWED_HOSTS is allowed and allowed == ["127.0.0.1", "localhost", "hub.example"]


def test_on_a_hub_who_comes_without_its_proxy_teaches_nothing(behind):
    """A client in the kernel that names a foreign host is refused, as in any other place."""
    found = behind(JUPYTERHUB_SERVICE_PREFIX="/user/alice/")
    for request in (pass_through(found, "evil.example"), pass_through(found, "", **{"x-proxycontextpath": "/"})):
        with pytest.raises(DisallowedHost):
            request.get_host()
    assert current.ALLOWED_HOSTS == ["127.0.0.1", "localhost"]


def test_a_codespace_is_allowed_by_its_own_name_alone(behind):
    """A forwarded port of this codespace is answered; one of another codespace is not."""
    found = behind(CODESPACES="true", CODESPACE_NAME="lab-1")
    assert pass_through(found, "lab-1-4321.app.github.dev").get_host() == "lab-1-4321.app.github.dev"
    with pytest.raises(DisallowedHost):
        pass_through(found, "evil-1-4321.app.github.dev").get_host()


@pytest.mark.parametrize(
    ("origin", "secure"),
    [
        ("https://localhost:4321", True),
        ("http://localhost:4321", False),
        ("https://evil.example", False),
        ("null", False),
    ],
)
def test_a_form_that_came_by_https_is_known_by_its_origin(behind, origin, secure):
    """The proxy does not say that the browser spoke HTTPS; an origin of the same host does, and no other one."""
    request = pass_through(behind(CODESPACES="true"), "localhost:4321", origin=origin)
    assert request.is_secure() is secure
