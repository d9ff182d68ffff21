"""A dotted name, with the code of its project as it is on disk now: what is loaded again, and what is not."""

import importlib
import os
import sys

import pytest
from django.urls import clear_url_caches, resolve
from django.urls.exceptions import Resolver404

from labserver.errors import NotAnApplication, SettingsError
from labserver.live import reload
from labserver.live.reload import imported
from labserver.live.settings import OURS, configure_django

FILES = {
    "shop/__init__.py": "",
    "shop/asgi.py": "from .routing import routes\nasync def application(scope, receive, send): return routes[0]()\n",
    "shop/routing.py": "from . import consumers\nroutes = [consumers.greet]\n",
    "shop/consumers.py": "WORD = 'one'\ndef greet(): return WORD\n",
    "shop/state.py": "people = []\n",
    "shop/urls.py": "from django.urls import include, path\nurlpatterns = [path('in/', include('shop.inner.urls'))]\n",
    "shop/inner/__init__.py": "from .part import NAME\nfrom .same import same\n",
    "shop/inner/same.py": "def same(): ...\n",
    "shop/inner/part.py": "NAME = 'part'\n",
    "shop/inner/urls.py": "from django.urls import path\nurlpatterns = [path('old/', print)]\n",
    "shop/tests.py": "",
}
EVERY = ["shop", "shop.state", "shop.urls", "shop.inner", "shop.inner.urls", "shop.tests"]


class Project:
    """A project on disk, which a test edits."""

    def __init__(self, folder):
        self.folder = folder
        for file, source in FILES.items():
            self.write(file, source)

    def write(self, file, source):
        """Write a file of it."""
        (self.folder / file).parent.mkdir(exist_ok=True, parents=True)
        (self.folder / file).write_text(source)

    def edit(self, file, old, new):
        """Exchange a word in a file, and leave the file's time as it was: an edit within a second looks like that."""
        path = self.folder / file
        before = path.stat()
        path.write_text(path.read_text().replace(old, new))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def forget():
    """Forget all modules of the project."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("shop", "shop_words")]:
        del sys.modules[name]


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A project that has been imported; all of it is forgotten afterwards."""
    configure_django()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(reload, "_seen", {})
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    project = Project(tmp_path)
    imported("shop.asgi:application")
    for name in EVERY:
        importlib.import_module(name)
    imported("shop.asgi:application")
    yield project
    forget()


async def said():
    """What the application says, as a new connection finds it."""
    return await imported("shop.asgi:application")(None, None, None)


async def test_nothing_changed_is_nothing_loaded(shop, capsys):
    """Served again as it was, a project is the same one, and nothing is printed."""
    assert imported("shop.asgi:application") is imported("shop.asgi:application")
    assert await said() == "one"
    assert capsys.readouterr() == ("", "")


async def test_an_edit_reaches_those_who_use_it_and_nobody_else(shop, capsys):
    """What changed is loaded again with what imports it, and said; other modules keep what they hold."""
    old, people = imported("shop.asgi:application"), sys.modules["shop.state"].people
    consumers = sys.modules["shop.consumers"]
    shop.edit("shop/consumers.py", "one", "two")
    assert await said() == "two"
    assert capsys.readouterr().out == (
        "loaded again, since shop.consumers changed: shop.asgi, shop.consumers, shop.routing\n"
    )
    assert sys.modules["shop.state"].people is people
    assert sys.modules["shop"].consumers is sys.modules["shop.consumers"] is not consumers
    assert await old(None, None, None) == "one"  # with all that its functions use
    assert await said() == "two" and capsys.readouterr().out == ""


async def test_a_name_that_is_gone_is_gone(shop):
    """A new module holds nothing of the old one, so that a name which somebody still uses is missed."""
    shop.write("shop/consumers.py", "def greet(): return WORD\n")
    with pytest.raises(NameError):
        await said()


@pytest.mark.parametrize("broken", ["def greet(:", "raise KeyError('at import')", "greet = 1 / 0"])
async def test_a_broken_edit_changes_nothing(shop, capsys, broken):
    """What fails while it is loaded raises its own error, and all modules stay; the next attempt starts afresh."""
    before = dict(sys.modules)
    shop.edit("shop/routing.py", "[", "2 * [")
    shop.write("shop/consumers.py", broken)
    with pytest.raises((SyntaxError, KeyError, ZeroDivisionError)):
        imported("shop.asgi:application")
    assert {name: sys.modules[name] for name in before if name.startswith("shop")} == {
        name: module for name, module in before.items() if name.startswith("shop")
    }
    assert sys.modules["shop"].consumers is before["shop.consumers"]
    assert capsys.readouterr().out == ""
    shop.write("shop/consumers.py", "def greet(): return 'three'\n")
    assert await said() == "three"
    assert "since shop.consumers and shop.routing changed" in capsys.readouterr().out


async def test_pages_are_asked_for_anew(shop, monkeypatch):
    """An edited module of URLs takes effect, also one that is included by name."""
    monkeypatch.setattr("django.conf.settings.ROOT_URLCONF", "shop.urls")
    clear_url_caches()
    assert resolve("/in/old/").func is print
    shop.edit("shop/inner/urls.py", "old", "new")
    imported("shop.asgi:application")
    assert resolve("/in/new/").func is print
    with pytest.raises(Resolver404):
        resolve("/in/old/")
    clear_url_caches()


async def test_templates_are_read_anew(shop, monkeypatch):
    """Django keeps the templates that it has read; whoever serves again wants the files as they are."""
    read = []
    monkeypatch.setattr("django.template.autoreload.reset_loaders", lambda: read.append(True))
    imported("shop.asgi:application")
    assert read


async def test_a_package_keeps_its_modules(shop, capsys):
    """A package that is loaded again knows those of its modules that are not."""
    urls = sys.modules["shop.inner.urls"]
    shop.edit("shop/inner/part.py", "'part'", "'more'")
    imported("shop.asgi:application")
    assert capsys.readouterr().out == (
        "loaded again, since shop.inner.part changed: shop.asgi, shop.inner, shop.inner.part\n"
    )
    assert sys.modules["shop.inner"].NAME == "more"
    assert sys.modules["shop.inner"].urls is urls
    assert sys.modules["shop.inner"].same is sys.modules["shop.inner.same"].same
    shop.edit("shop/inner/same.py", "...", "pass")
    imported("shop.asgi:application")
    assert sys.modules["shop.inner"].same is sys.modules["shop.inner.same"].same


async def test_a_deleted_module_is_forgotten(shop):
    """A file that is gone is no module any more; who imports it still gets Python's error, with what there is."""
    (shop.folder / "shop/state.py").unlink()
    imported("shop.asgi:application")
    assert "shop.state" not in sys.modules
    (shop.folder / "shop/consumers.py").unlink()
    shop.write("shop/routing.py", "from .consumers import greet\nroutes = [greet]\n")
    with pytest.raises(
        NotAnApplication, match="no module 'consumers' in 'shop', which has asgi, inner, routing, tests"
    ):
        imported("shop.asgi:application")


async def test_what_django_loads_once_stays(shop, capsys, monkeypatch):
    """Models, apps and settings are not loaded again: that is said, and what uses them is left alone."""
    monkeypatch.setattr(reload, "_once", lambda: {"shop.consumers"})
    application = imported("shop.asgi:application")
    shop.edit("shop/consumers.py", "one", "two")
    for _ in range(2):  # until the kernel is restarted, or the edit is taken back
        assert imported("shop.asgi:application") is application
        told = capsys.readouterr()
        assert told.out == "" and told.err == (
            "not loaded again: shop.consumers; Django loads models, apps and settings once: "
            "restart the kernel for that\n"
        )
    shop.edit("shop/consumers.py", "two", "one")
    shop.edit("shop/state.py", "[]", "{}")
    shop.write("shop/state.py", "from .consumers import WORD\n")
    imported("shop.asgi:application")
    assert capsys.readouterr() == ("loaded again, since shop.state changed: shop.asgi, shop.state\n", "")


def test_settings_apps_models_and_admin_are_loaded_once():
    """Whatever Django registers once in a process is known by what it holds, not only by its name."""
    configure_django()
    import django.contrib.admin  # noqa: F401

    once = reload._once()
    assert {"labserver.project.settings", "django.contrib.auth", "django.contrib.auth.apps"} <= once
    assert {"django.contrib.auth.models", "django.contrib.auth.base_user", "django.contrib.admin"} & once == {
        "django.contrib.auth.models",
        "django.contrib.admin",
    }


@pytest.mark.parametrize("bytecode", ["of an earlier source", "of the same", "none", "broken", "unwritten", "by hash"])
def test_a_module_that_was_imported_before_may_be_outdated(shop, monkeypatch, capsys, bytecode):
    """What a cell has imported before the first serve is compared with the source that its bytecode was made of."""
    reload._seen.clear()
    cached = sys.modules["shop.consumers"].__spec__.cached
    source = shop.folder / "shop/consumers.py"
    if bytecode != "of the same":
        source.write_text(source.read_text().replace("one", "changed"))
    match bytecode:
        case "none":
            os.unlink(cached)
        case "broken":
            with open(cached, "wb"):
                pass
        case "unwritten":
            monkeypatch.setattr(sys, "dont_write_bytecode", True)
        case "by hash":
            with open(cached, "r+b") as file:
                file.seek(4)
                file.write(b"\x01")
    imported("shop.asgi:application")
    assert ("since shop.consumers changed" in capsys.readouterr().out) == (bytecode == "of an earlier source")


def test_an_application_of_a_package_and_of_no_file(shop, capsys):
    """The project is looked for where its top package is, also for an application that stands in a package."""
    shop.write("shop/inner/__init__.py", "from .part import NAME\nasync def application(scope, receive, send): ...\n")
    imported("shop.inner:application")
    assert "since shop.inner changed" in capsys.readouterr().out
    shop.edit("shop/inner/part.py", "'part'", "'more'")
    imported("shop.inner:application")
    assert "loaded again, since shop.inner.part changed: shop.inner, shop.inner.part" in capsys.readouterr().out
    shop.edit("shop/state.py", "[]", "{}")
    assert imported("sys:exit") is sys.exit
    assert imported("shop.tests:__name__") == "shop.tests"  # tests are no part of what is served
    assert "since shop.state changed: shop.state\n" in capsys.readouterr().out


def test_before_django_is_set_up_names_are_only_imported(shop, monkeypatch, capsys):
    """Where there is no Django yet, nothing is compared."""
    monkeypatch.setattr("django.apps.apps.ready", False)
    shop.edit("shop/consumers.py", "one", "two")
    imported("shop.asgi:application")
    assert capsys.readouterr().out == ""


async def test_a_project_is_known_by_whatever_path_it_was_found(shop, monkeypatch, capsys):
    """`sys.path` may hold a path with dots in it, as a notebook in a folder beside it writes it."""
    forget()
    shop.write("shop_words.py", "WORD = 'one'\n")
    importlib.import_module("shop_words")
    shop.write("shop/consumers.py", "import shop_words\ndef greet(): return shop_words.WORD\n")
    (shop.folder.parent / "notebooks").mkdir()
    monkeypatch.setattr(sys, "path", [f"{shop.folder.parent}/notebooks/../{shop.folder.name}", *sys.path])
    assert await said() == "one"
    shop.edit("shop_words.py", "one", "two")
    assert await said() == "two"
    assert "since shop_words changed" in capsys.readouterr().out


async def test_a_project_that_moved_is_found_where_it_is(shop, tmp_path, monkeypatch, capsys):
    """A module whose folder is gone, as a temporary one is, is imported from where it is now; or told to be missing."""
    old, new = shop.folder / "shop_words.py", tmp_path / "elsewhere"
    old.write_text("async def application(scope, receive, send): return 'old'\n")
    assert await imported("shop_words:application")(None, None, None) == "old"
    old.unlink()
    with pytest.raises(NotAnApplication, match="no module named 'shop_words' in the folders of sys.path"):
        imported("shop_words:application")
    new.mkdir()
    (new / "shop_words.py").write_text("async def application(scope, receive, send): return 'new'\n")
    monkeypatch.syspath_prepend(new)
    moved = imported("shop_words:application")
    assert await moved(None, None, None) == "new" and imported("shop_words:application") is moved
    assert capsys.readouterr().out == ""  # nobody has edited anything


def test_only_the_project_s_own_modules_count(shop, monkeypatch, capsys):
    """What is installed inside of the project's folder, and a module under a second name, are left alone."""
    shop.write("env/site-packages/shop_words.py", "WORD = 'one'\n")
    monkeypatch.syspath_prepend(shop.folder / "env" / "site-packages")
    words = importlib.import_module("shop_words")
    monkeypatch.setitem(sys.modules, "a_second_name", sys.modules["shop.state"])
    imported("shop.asgi:application")
    shop.edit("env/site-packages/shop_words.py", "one", "two")
    imported("shop.asgi:application")
    assert sys.modules["shop_words"] is words and capsys.readouterr().out == ""
    shop.edit("shop/state.py", "[]", "{}")
    imported("shop.asgi:application")
    assert capsys.readouterr().out == "loaded again, since shop.state changed: shop.asgi, shop.state\n"


async def test_a_new_module_is_found_at_once(shop):
    """Python remembers what is in a folder, by the folder's time; a file of the same moment is found all the same."""
    folder = shop.folder / "shop"
    before = folder.stat()
    shop.write("shop/fresh.py", "def greet(): return 'fresh'\n")
    shop.write("shop/consumers.py", "from .fresh import greet\n")
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await said() == "fresh"


@pytest.mark.parametrize("settings", [OURS, "shop.settings"])
def test_a_model_of_a_project_whose_settings_nobody_named(shop, monkeypatch, settings):
    """Where a project's `asgi` names no settings, its first model shows it: the error says where to name them."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", settings)
    shop.write("shop/consumers.py", "from django.db import models\nclass Message(models.Model): ...\n")
    kind, text = (
        (SettingsError, "restart the kernel, and name yours") if settings == OURS else (RuntimeError, "explicit")
    )
    with pytest.raises(kind, match=text):
        imported("shop.asgi:application")
    shop.write("shop/consumers.py", "raise RuntimeError('of their own')")
    with pytest.raises(RuntimeError, match="of their own"):
        imported("shop.asgi:application")


def test_a_name_that_the_module_has_not_is_told(shop):
    """A misspelt name of an application is told as such."""
    with pytest.raises(NotAnApplication, match="expected 'shop.asgi' to define 'app', found no such name"):
        imported("shop.asgi:app")
