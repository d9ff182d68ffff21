"""Where an application can be imported."""

import importlib
import sys
import types

import pytest
from channels.generic.websocket import AsyncWebsocketConsumer

from labserver.errors import NotAnApplication
from labserver.live.names import importable, missing, parted


async def application(scope, receive, send):
    """A function of this module."""


class Consumer(AsyncWebsocketConsumer):
    """A consumer of this module."""


class Instance:
    """An application that is an object."""

    async def __call__(self, scope, receive, send): ...


class Outer:
    class Inner(AsyncWebsocketConsumer):
        """A consumer that is no name of its module."""


def meant(found):
    """What a name leads to."""
    module, _, expression = found.partition(":")
    return eval(expression, vars(importlib.import_module(module)))


def test_a_dotted_name_is_its_own():
    """Who served by name is found by that name."""
    assert importable("labserver.project.asgi:application") == "labserver.project.asgi:application"


def test_a_function_is_found_where_it_is_defined():
    """A function or a class of a module has its name there."""
    assert importable(application) == f"{__name__}:application"
    assert meant(importable(application)) is application
    assert importable(Consumer) == f"{__name__}:Consumer"


def test_a_consumer_is_found_by_its_class():
    """What `as_asgi()` has returned is made again from the class."""
    found = importable(Consumer.as_asgi())
    assert found == f"{__name__}:Consumer.as_asgi()"
    assert meant(found).consumer_class is Consumer


def test_a_consumer_with_arguments_is_not_found():
    """Of `as_asgi(…)` with arguments a name alone would be another application."""
    assert importable(Consumer.as_asgi(room="blue")) == ""


@pytest.mark.parametrize("thing", [Outer.Inner.as_asgi(), lambda scope, receive, send: None, Instance(), 5, object()])
def test_what_no_module_names_is_not_found(thing):
    """Nested classes, lambdas and objects have no name to import."""
    assert importable(thing) == ""


def test_a_function_inside_a_function_is_not_found():
    """A local name cannot be imported, whatever else has it."""

    async def application(scope, receive, send): ...

    assert importable(application) == ""


def test_a_name_that_means_something_else_by_now_is_not_found(monkeypatch):
    """A cell that was run again defines another function by the old name."""
    old = application
    monkeypatch.setattr(sys.modules[__name__], "application", Instance())
    assert importable(old) == ""


def test_an_object_is_found_where_a_module_calls_it_application(monkeypatch):
    """A router has no name of its own, but a project's `asgi` module gives it one; it goes before the notebook."""
    router = Instance()
    monkeypatch.setattr(sys.modules["__main__"], "application", router, raising=False)
    assert importable(router) == "__main__:application"
    monkeypatch.setitem(sys.modules, "__mp_main__", sys.modules["__main__"])  # as multiprocessing calls it
    assert importable(router) == "__main__:application"
    project = types.ModuleType("zzz_site.asgi")
    project.application = router
    monkeypatch.setitem(sys.modules, project.__name__, project)
    assert importable(router) == "zzz_site.asgi:application"


def test_modules_that_are_no_modules_are_passed_over(monkeypatch):
    """Some packages put objects of all kinds among the loaded modules, and must not be woken up by a look."""

    class Lazy:
        __slots__ = ()

        def __getattr__(self, name):
            if name == "__dict__":
                raise AttributeError(name)
            raise AssertionError("loaded")

    monkeypatch.setitem(sys.modules, "lazy_one", Lazy())
    monkeypatch.setitem(sys.modules, "none_at_all", None)
    assert importable(Instance()) == ""


# --- what cannot be imported ------------------------------------------------------------------------------------------


def test_django_s_form_of_a_name_is_told_with_the_right_one():
    """ASGI_APPLICATION has a dot where servers want a colon."""
    with pytest.raises(NotAnApplication, match="found 'shop.asgi.application'; write for example 'shop.asgi:applic"):
        parted("shop.asgi.application")
    with pytest.raises(NotAnApplication, match="write for example 'shop.asgi:application'"):
        parted("shop.asgi")
    assert parted("shop.asgi:application") == ("shop.asgi", "application")


def told(wanted, name):
    """What is told when `name` is missing where `wanted` was to be imported."""
    return missing(wanted, ModuleNotFoundError(f"No module named {name!r}", name=name))


def test_a_project_that_is_nowhere_asks_for_its_folder(tmp_path, monkeypatch):
    """A package that no folder of sys.path has, nor any folder nearby, is asked for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mysite_").mkdir()  # without any source, like an empty folder of that name
    for wanted in ("mysite_.asgi", "mysite_"):
        assert told(wanted, "mysite_") == (
            "found no module named 'mysite_' in the folders of sys.path; put the project's there: "
            "import sys; sys.path.insert(0, 'the folder that manage.py is in')"
        )


@pytest.mark.parametrize("where", [".", "notebooks/deep", "beside"])
def test_a_project_nearby_is_told_with_its_folder(tmp_path, monkeypatch, where):
    """The folder to put on sys.path is found above the notebook, and beside what is above it."""
    project = tmp_path / "src"
    (project / "mysite_").mkdir(parents=True)
    (project / "mysite_" / "asgi.py").touch()
    here = tmp_path / where if where == "beside" else project / where
    here.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(here)
    assert told("mysite_.asgi", "mysite_").endswith(
        f"it is in {project}: import sys; sys.path.insert(0, {str(project)!r})"
    )


def test_a_misspelt_module_is_told_with_those_there_are():
    """In a package that is there, the modules that it has are named, whoever wanted the one that it has not."""
    for wanted in ("labserver.trace.event", "mysite.asgi"):
        assert "found no module 'event' in 'labserver.trace', which has codes, " in told(
            wanted, "labserver.trace.event"
        )
    assert told("mysite.asgi", "labserver.live.none.x").startswith(
        "found no module named 'labserver.live.none.x', which"
    )


def test_a_package_without_modules_says_so(monkeypatch):
    """An empty package has none to choose from."""
    empty = types.ModuleType("empty_")
    empty.__path__ = ["nowhere"]
    monkeypatch.setitem(sys.modules, "empty_", empty)
    assert told("empty_.x", "empty_.x") == "found no module 'x' in 'empty_', which has none; check its spelling"


def test_what_a_project_needs_is_asked_of_the_kernel_s_environment():
    """A package that the project imports, and that is not installed here, points at the kernel's Python."""
    text = told("mysite.asgi", "environ")
    assert text.startswith(
        f"found no module named 'environ', which it needs; is this kernel's Python, {sys.executable}"
    )
    assert "%pip install" in text
    assert "no module named 'by hand'" in missing("mysite", ModuleNotFoundError("by hand"))
