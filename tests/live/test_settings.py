"""Django's set-up: with whose settings, and what is told when it cannot be."""

import os
import subprocess
import sys
import time
import types

import pytest
from django.conf import settings as current

from labserver import serve
from labserver.errors import NotAnApplication, SettingsError
from labserver.live import settings


@pytest.fixture(autouse=True, scope="module")
def django():
    """Django with the lab's settings."""
    settings.configure_django()


CONFIGURE = """
import os
from django.conf import settings
{before}
from labserver import serve
from channels.generic.websocket import AsyncWebsocketConsumer
class Echo(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=f"{{text_data}} {{self.channel_layer is not None}}")
server = serve(Echo.as_asgi())
from websockets.sync.client import connect
with connect(server.ws_url, proxy=None) as ws:
    ws.send("layer:")
    print(ws.recv(timeout=5))
print(settings.DEBUG, settings.SETTINGS_MODULE or "by hand")
print(os.environ.get("LABSERVER_DATABASE", "none").endswith("db.sqlite3"))
server.stop()
"""


def in_a_fresh_process(source, **variables):
    """What a fresh Python prints."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LABSERVER_", "DJANGO_"))} | variables
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_first_serve_configures_django():
    """A first serve sets Django up with the lab's project, a secret and a database file of its own."""
    assert in_a_fresh_process(CONFIGURE.format(before="")) == [
        "layer: True",
        "False labserver.project.settings",
        "True",
    ]


ZONE = """
import os, time
if {unset}:
    os.environ.pop("TZ", None)
    time.tzset()
before = os.environ.get("TZ"), time.localtime(0).tm_hour
from labserver import serve
async def application(scope, receive, send): ...
serve(application).stop()
print((os.environ.get("TZ"), time.localtime(0).tm_hour) == before)
"""


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="Windows has no time zone for a process")
@pytest.mark.parametrize("unset", [False, True])
def test_the_time_zone_stays_that_of_the_kernel(unset):
    """Django's settings set the clock of a whole process; a kernel keeps the learner's, named or not."""
    assert in_a_fresh_process(ZONE.format(unset=unset), TZ="<+03>-3") == ["True"]


def test_the_environment_is_kept_where_it_says_something(monkeypatch):
    """What the environment says about the lab's project is left as it is."""
    monkeypatch.setattr("django.conf.settings", types.SimpleNamespace(configured=False))
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    monkeypatch.setenv("LABSERVER_DATABASE", "mine.sqlite3")
    monkeypatch.setenv("LABSERVER_SECRET_KEY", "k" * 32)
    settings.configure_django()
    assert os.environ["DJANGO_SETTINGS_MODULE"] == "labserver.project.settings"
    assert (os.environ["LABSERVER_DATABASE"], os.environ["LABSERVER_SECRET_KEY"]) == ("mine.sqlite3", "k" * 32)


def test_a_database_may_be_chosen(tmp_path):
    """The database file may be named by the environment."""
    lines = in_a_fresh_process(CONFIGURE.format(before=""), LABSERVER_DATABASE=str(tmp_path / "mine"))
    assert lines == ["layer: True", "False labserver.project.settings", "False"]


@pytest.mark.parametrize("setup", ["", "\nimport django; django.setup()"])
def test_settings_of_the_users_own_are_kept(setup):
    """A user who has configured Django, with or without channel layers, keeps those settings."""
    lines = in_a_fresh_process(CONFIGURE.format(before=f"settings.configure(DEBUG=True){setup}"))
    assert lines == ["layer: False", "True by hand", "False"]


def test_a_settings_module_of_the_users_own_is_kept(tmp_path):
    """A user's DJANGO_SETTINGS_MODULE is used as it stands, with daphne among its apps and set up first."""
    (tmp_path / "mysettings.py").write_text(
        "DEBUG = True\nSECRET_KEY = 'x'\nINSTALLED_APPS = ['daphne', 'channels', 'django.contrib.staticfiles']\n"
        "STATIC_URL = 'static/'\nASGI_APPLICATION = 'a.b'\n"
        "CHANNEL_LAYERS = {'default': {'BACKEND': 'channels.layers.InMemoryChannelLayer'}}\n"
    )
    for before in ("", "import django; django.setup()"):
        lines = in_a_fresh_process(
            CONFIGURE.format(before=before), DJANGO_SETTINGS_MODULE="mysettings", PYTHONPATH=str(tmp_path)
        )
        assert lines == ["layer: True", "True mysettings", "False"]


# --- a project's own --------------------------------------------------------------------------------------------------

NAMES_ITS_OWN = """
import os
{choice}
import django
from django.conf import settings
django.setup()
async def application(scope, receive, send): ...
"""

CHOICES = (
    'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings_of_theirs")',
    "os.environ['DJANGO_SETTINGS_MODULE'] = 'settings_of_theirs'",
)

SERVE = """
import os, sys
sys.path.insert(0, {folder!r})
from labserver import serve
server = serve("asgi_of_theirs:application")
from django.conf import settings
print(settings.SETTINGS_MODULE, settings.STATIC_URL, "LABSERVER_SECRET_KEY" in os.environ)
server.stop()
"""


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A folder with a project's `asgi` module, which names the project's settings; it is on sys.path."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "asgi_of_theirs.py").write_text(NAMES_ITS_OWN.format(choice=CHOICES[0]))
    (tmp_path / "settings_of_theirs.py").write_text("SECRET_KEY = 'x'\nSTATIC_URL = '/theirs/'\nDEBUG = True\n")
    return tmp_path


@pytest.mark.parametrize("choice", CHOICES)
def test_the_ways_to_name_settings_are_known(theirs, choice):
    """Both ways in which people write it are found."""
    (theirs / "asgi_of_theirs.py").write_text(NAMES_ITS_OWN.format(choice=choice))
    assert settings._named_by("asgi_of_theirs:application") == "settings_of_theirs"


def test_the_settings_that_an_asgi_module_names_are_taken(theirs):
    """Without a DJANGO_SETTINGS_MODULE, a project is set up as its own `asgi` module would do it."""
    assert in_a_fresh_process(SERVE.format(folder=str(theirs))) == ["settings_of_theirs /theirs/ False"]


def test_the_lab_s_settings_are_not_those_of_a_project(theirs, monkeypatch):
    """A project that comes after something else was served is told to come first, in a fresh kernel."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", settings.OURS)
    with pytest.raises(SettingsError, match="expected Django with the settings settings_of_theirs that asgi_of_theirs"):
        serve("asgi_of_theirs:application")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "settings_of_theirs.for_notebooks")
    settings.configure_django("asgi_of_theirs:application")  # theirs, too: which ones is their choice
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", settings.OURS)
    settings.configure_django("labserver.project.asgi:application")


@pytest.mark.parametrize("application", [None, 5, "sys:path", "__main__:application", "labserver.errors:LabError"])
def test_what_names_no_settings_leaves_the_choice_to_the_lab(application):
    """Callables, modules without a source, and those without a name for settings say nothing."""
    assert settings._named_by(application) is None


@pytest.mark.parametrize(
    ("application", "text"),
    [
        ("no_such_package.asgi:application", "found no module named 'no_such_package' in the folders of sys.path"),
        ("labserver.project.agsi:application", "found no module 'agsi' in 'labserver.project', which has asgi, "),
    ],
)
def test_a_module_that_is_missing_is_told_before_the_lab_s_settings_are_taken(application, text, monkeypatch):
    """A notebook in the wrong folder, or a misspelt name, can be mended without a restart."""
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    monkeypatch.setattr("django.conf.settings", types.SimpleNamespace(configured=False))
    with pytest.raises(NotAnApplication, match=text):
        settings.configure_django(application)
    assert "DJANGO_SETTINGS_MODULE" not in os.environ


def test_misspelt_settings_are_told_with_those_there_are(monkeypatch):
    """A settings module that is not there is an error with the names that are, and a second attempt may follow."""

    def setup():
        import labserver.project.setings  # noqa: F401

    monkeypatch.setattr("django.setup", setup)
    with pytest.raises(SettingsError) as caught:
        settings._set_up(types.SimpleNamespace(loading=False), "labserver.project.setings")
    assert str(caught.value).startswith(
        "expected to set Django up with labserver.project.setings, found no module 'setings' in 'labserver.project', "
        "which has asgi, "
    )
    assert str(caught.value).endswith("urls; check its spelling")


def test_a_set_up_that_failed_half_way_asks_for_a_restart(monkeypatch):
    """Once applications have begun to load, only a fresh kernel can do it again: both errors say so."""
    apps = types.SimpleNamespace(loading=False)

    def setup():
        apps.loading = True
        import no_such_application  # noqa: F401

    monkeypatch.setattr("django.setup", setup)
    with pytest.raises(SettingsError, match="no module named 'no_such_application', which it needs.*; then restart"):
        settings._set_up(apps, "mysite.settings")
    with pytest.raises(SettingsError, match="found an earlier attempt that failed half-way.*restart the kernel"):
        settings._set_up(apps, "mysite.settings")


@pytest.mark.parametrize(
    ("hosts", "debug", "host"),
    [
        (["*"], False, None),
        (["127.0.0.1"], False, None),
        ([], True, None),
        ([], False, "…"),
        ([".chat.example"], True, "chat.example"),
        (["chat.example", "b"], False, "chat.example"),
    ],
)
def test_a_project_that_does_not_let_us_in_is_told_what_to_do(monkeypatch, hosts, debug, host):
    """Where ALLOWED_HOSTS is without 127.0.0.1, it is said what clients will get, and two ways on."""
    monkeypatch.setattr(current, "ALLOWED_HOSTS", hosts)
    monkeypatch.setattr(current, "DEBUG", debug)
    told = settings.strangers()
    assert (told == []) == (host is None)
    if host:
        assert f"is {hosts}, without 127.0.0.1" in told[0]
        assert 'ALLOWED_HOSTS.append("127.0.0.1")' in told[1] and f'origin="https://{host}"' in told[2]


def test_settings_made_by_hand_name_no_site(monkeypatch):
    """Who configures Django in a cell, for a lesson or a try, has no site with hosts."""
    monkeypatch.setattr(current, "ALLOWED_HOSTS", [])
    monkeypatch.setattr(current, "SETTINGS_MODULE", None)
    assert settings.strangers() == []


@pytest.mark.parametrize(
    ("middleware", "value", "told"),
    [
        ([settings._FRAMES], "DENY", True),
        ([settings._FRAMES], "sameorigin", True),  # the notebook comes from another port
        ([settings._FRAMES], "ALLOWALL", False),
        ([], "DENY", False),
    ],
)
def test_a_project_that_forbids_frames_is_told_what_to_do(monkeypatch, middleware, value, told):
    """Where its pages come with a header that keeps them out of a notebook; what it advises takes it away."""
    monkeypatch.setattr(current, "MIDDLEWARE", middleware)
    monkeypatch.setattr(current, "X_FRAME_OPTIONS", value)
    lines = settings.framed()
    assert bool(lines) == told
    if told:
        assert f"X_FRAME_OPTIONS is {value}" in lines[0]
        exec(lines[1].partition("do not know: ")[2])
        assert settings.framed() == []
