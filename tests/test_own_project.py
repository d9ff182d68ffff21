"""A project that is not ours, served from a notebook: the small chat of `tests/own_project`."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labserver.live.redis import RedisServer

HERE = Path(__file__).parent
SECTION = (HERE.parent / "README.md").read_text(encoding="utf-8").partition("\n## Your own project\n")[2]
SECTION = SECTION.partition("\n## ")[0]

BLOCKS = re.findall(r"```python\n(.*?)```", SECTION, re.S)

TALK = """
async with server.connect("/ws/chat/blue/") as ws:
    await ws.send('{"message": "hi"}')
    print("got", await ws.recv())
"""

PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin", "-p", "pytest_django.plugin")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project, with its database; kernels and commands that use it are not measured."""
    folder = tmp_path_factory.mktemp("own") / "project"
    shutil.copytree(HERE / "own_project", folder, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("COVERAGE_", "DJANGO_"))]:
            patch.delenv(name)
        command(folder, "manage.py", "migrate", "--verbosity=0")
        yield folder


def command(folder, *arguments, **environment):
    """What a Python command prints in the project's folder; it must end well."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def edit(folder, file, old, new):
    """Exchange a word in a file of the project."""
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture(scope="module")
def served(project, new_kernel):
    """A kernel in the project's folder, and what stood under the cell with the README's code."""
    kernel = new_kernel(project)
    yield kernel, kernel.run(BLOCKS[0])
    kernel.end()


def test_the_project_knows_nothing_of_labserver():
    """The project is one as anybody's: no file of it names ours."""
    sources = [path for path in (HERE / "own_project").rglob("*") if path.suffix in (".py", ".html")]
    assert len(sources) > 10
    assert not [path for path in sources if "labserver" in path.read_text(encoding="utf-8")]


def test_the_code_of_the_readme_serves_and_traces_it(served, project):
    """A notebook in the project's folder serves it with its own settings, layer and database, and sees what happens."""
    kernel, printed = served
    assert printed.startswith('kept: hello\n{"message": "hello"}\n1\n')
    for line in ("group_add            chat_blue", "group_send           chat_blue chat.message message='hello'"):
        assert line in printed
    assert kernel.run("from django.conf import settings\nprint(settings.SETTINGS_MODULE)") == "mysite.settings\n"
    assert kernel.run("print(settings.DATABASES['default']['NAME'])") == f"{project / 'db.sqlite3'}\n"
    assert kernel.run("from channels.layers import get_channel_layer\nprint(get_channel_layer().capacity)") == "7\n"
    assert "<title>blue</title>" in kernel.run('print((await server.get("/chat/blue/")).text)')


def test_faults_are_told_in_the_cell(served):
    """A traceback, a path without a route and a synchronous query are told where they happen."""
    kernel, _ = served
    crash = kernel.wait(kernel.send(TALK.replace('{"message": "hi"}', "no JSON")))
    assert crash.error["ename"] == "ConnectionClosedError"
    assert "/ws/chat/blue/ crashed: the client gets close code 1011" in crash.text
    assert re.search(r"consumers.py, line \d+, in receive\n +message = json.loads", crash.text)
    lost = kernel.wait(kernel.send(TALK.replace("/ws/chat/blue/", "/ws/nowhere/")))
    assert lost.error["ename"] == "InvalidStatus" and r"the routes are: ws/chat/(?P<room_name>\w+)/$" in lost.text
    assert kernel.fail("Message.objects.count()")[0] == "SynchronousOnlyOperation"
    asked = "import asyncio\nprint(len([m async for m in Message.objects.all()]) == "
    assert kernel.run(f"{asked}await asyncio.to_thread(Message.objects.count))") == "True\n"


def test_what_was_recorded_is_a_test_of_the_project(served, project):
    """`to_test` writes a module that passes under the project's pytest, on a database of the test's own.

    Pages are recorded as well; without the host of the recording, Django's own tests would refuse them.
    """
    kernel, _ = served
    page = 'with server.record() as visit:\n    await server.get("/chat/blue/")\nprint(visit.to_test("test_page"))'
    (project / "test_page.py").write_text(kernel.run(page), encoding="utf-8")
    (project / "test_chat.py").write_text(kernel.run('print(trace.to_test("test_chat"))'), encoding="utf-8")
    (project / "pytest.ini").write_text("[pytest]\nDJANGO_SETTINGS_MODULE = mysite.settings\n")
    (project / "conftest.py").write_text(BLOCKS[1], encoding="utf-8")
    before = kernel.run("print(await Message.objects.acount())")
    assert "2 passed" in command(project, *PYTEST, "test_chat.py", "test_page.py", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert kernel.run("print(await Message.objects.acount())") == before


def test_an_edit_is_served_by_the_same_cell(served, project):
    """After an edit, the cell that serves gives new connections the new code; open ones keep theirs, and a broken edit
    changes nothing."""
    kernel, _ = served
    kernel.run('old = await server.connect("/ws/chat/blue/")')
    edit(project, "chat/consumers.py", 'SIGN = ""', 'SIGN = "new: "')
    again = 'server = serve("mysite.asgi:application")'
    assert kernel.run(again) == (
        "loaded again, since chat.consumers changed: chat.consumers, chat.routing, mysite.asgi\n"
    )
    assert kernel.run(TALK) == 'kept: hi\ngot {"message": "new: hi"}\n'
    assert kernel.run("print(await old.recv())\nawait old.close()") == '{"message": "hi"}\n'

    edit(project, "chat/consumers.py", "self.send(", "self.send(]")
    assert kernel.fail(again)[0] == "SyntaxError"
    assert 'got {"message": "new: hi"}' in kernel.run(TALK)
    edit(project, "chat/consumers.py", "self.send(]", "self.send(")


def test_pages_and_templates_are_served_anew_and_models_ask_for_a_restart(served, project):
    """Views, URLs and templates follow an edit as well; an edited model is told to need a fresh kernel."""
    kernel, _ = served
    edit(project, "chat/templates/chat/room.html", "<h1>Room", "<h1>The room")
    edit(project, "chat/views.py", '{"room_name": room_name}', '{"room_name": room_name.upper()}')
    edit(project, "chat/models.py", "max_length=50", "max_length=60")
    assert kernel.run('server = serve("mysite.asgi:application")') == (
        "loaded again, since chat.views changed: chat.urls, chat.views, mysite.asgi, mysite.urls\n"
        "not loaded again: chat.models; Django loads models, apps and settings once: restart the kernel for that\n"
    )
    assert "<h1>The room BLUE</h1>" in kernel.run('print((await server.get("/chat/blue/")).text)')


STRICT = """
from .settings import *
DEBUG = False
ALLOWED_HOSTS = ["chat.example"]
INSTALLED_APPS = INSTALLED_APPS[1:]
MIDDLEWARE = [*MIDDLEWARE, "django.middleware.clickjacking.XFrameOptionsMiddleware"]
del CHANNEL_LAYERS
"""


def test_each_obstacle_names_the_next_step_and_the_step_leads_on(project, new_kernel):
    """A notebook elsewhere, misspelt names, foreign hosts, no daphne and no layer: doing as one is told is enough."""
    (project / "notebooks").mkdir()
    (project / "mysite" / "strict.py").write_text(STRICT)
    kernel = new_kernel(project / "notebooks")
    again = 'server = serve("mysite.asgi:application")'
    try:
        kernel.run("from labserver import serve")
        name, text = kernel.fail(again)
        assert name == "NotAnApplication" and f"it is in {project}: " in text
        kernel.run(text.partition(f"it is in {project}: ")[2])

        name, text = kernel.fail(again.replace("asgi:", "agsi:"))
        assert name == "NotAnApplication" and "no module 'agsi' in 'mysite', which has asgi, settings, strict" in text
        kernel.run("%env DJANGO_SETTINGS_MODULE=mysite.setings")
        name, text = kernel.fail(again)
        assert name == "SettingsError" and "no module 'setings' in 'mysite', which has asgi, settings, strict" in text

        kernel.run("%env DJANGO_SETTINGS_MODULE=mysite.strict")
        told = kernel.run(again)
        assert "ALLOWED_HOSTS of mysite.strict is ['chat.example'], without 127.0.0.1" in told
        name, text = kernel.fail(again.replace(":application", ":app"))
        assert name == "NotAnApplication" and "expected 'mysite.asgi' to define 'app'" in text
        assert "HTTP 403" in kernel.fail(TALK)[1]
        assert kernel.run('print((await server.get("/chat/blue/")).status_code)') == "400\n"
        kernel.run(re.search("for this kernel alone: (.*)", told)[1])
        assert kernel.run('print((await server.get("/chat/blue/")).status_code)') == "200\n"
        assert "X_FRAME_OPTIONS is DENY: browsers do not show" in kernel.run('server.page("/chat/blue/")')

        crash = kernel.wait(kernel.send(TALK))
        assert "crashed: the handshake gets HTTP 500" in crash.text
        assert "'NoneType' object has no attribute 'group_add'" in crash.text
    finally:
        kernel.end()


SHELL = """
from labserver import serve
server = serve("mysite.asgi:application")
from websockets.sync.client import connect
with server.record() as trace:
    with connect(server.ws_url + "/ws/chat/red/", origin=server.url, proxy=None) as ws:
        ws.send('{"message": "by Redis"}')
        print(ws.recv(timeout=5))
print("group_send" in str(trace), server.layer)
server.stop()
"""

WITH_REDIS = """
import os
from .settings import *
CHANNEL_LAYERS = {"default": {
    "BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [os.environ["REDIS"]]},
}}
"""


@pytest.mark.needs("redis-server")
def test_manage_py_shell_serves_it_with_its_own_redis(project):
    """Where Django is set up already, as in `manage.py shell`, the project is served as it is, with its Redis layer."""
    (project / "mysite" / "redis.py").write_text(WITH_REDIS)
    with RedisServer() as redis:
        printed = command(
            project, "manage.py", "shell", "-c", SHELL, DJANGO_SETTINGS_MODULE="mysite.redis", REDIS=redis.url
        )
    assert re.search(r'^\{"message": ".*by Redis"\}$', printed, re.M)
    assert "True RedisChannelLayer: " in printed
