"""Which modules a change touches: read from sources, through imports of every form."""

import pytest

from labserver.live.imports import affected

PACKAGES = {
    "site.asgi": "site",
    "chat": "chat",
    "chat.routing": "chat",
    "chat.consumers": "chat",
    "chat.models": "chat",
    "chat.deep.far": "chat.deep",
}


def touched(changed, once=frozenset(), **sources):
    """What a change touches; of each module that is named (with _ for its dot), the source."""
    known = {name.replace("_", "."): source.encode() for name, source in sources.items()}
    return affected({changed}, set(once), known, PACKAGES)


@pytest.mark.parametrize(
    "source",
    [
        "import chat.consumers",
        "import os, chat.consumers as them",
        "from chat import consumers",
        "from chat.consumers import Chat",
        "from . import consumers",
        "from .consumers import *",
        "def later():\n    from .consumers import Chat",
        "urlpatterns = [path('', include('chat.consumers'))]",
    ],
)
def test_every_form_of_import_counts(source):
    """A module that imports another one, by whatever form, at whatever time, is touched by its changes."""
    assert touched("chat.consumers", chat_routing=source, chat_consumers="") == {"chat.consumers", "chat.routing"}


@pytest.mark.parametrize(
    "source",
    [
        "",
        "import chat",
        "from chat import models",
        "from . import models",
        "x = 'consumers'",
        "from ..... import consumers",
        "from . import (",
        "x = 'a\0'",
    ],
)
def test_what_does_not_import_it_is_not_touched(source):
    """Other imports, other strings, imports that lead out of the package and broken sources do not count."""
    assert touched("chat.consumers", chat_routing=source, chat_consumers="") == {"chat.consumers"}


def test_a_change_goes_up_to_those_who_use_its_users():
    """Users of users are touched, in a circle as well, and from packages below."""
    sources = {
        "chat_consumers": "from . import routing",
        "chat_routing": "from . import consumers",
        "site_asgi": "from chat.routing import urls",
        "chat_models": "import os",
    }
    every = {"chat.consumers", "chat.routing", "site.asgi"}
    assert touched("chat.consumers", **sources) == every
    assert affected({"chat.consumers"}, set(), {"chat.deep.far": b"from ..consumers import X"}, PACKAGES) == {
        "chat.consumers",
        "chat.deep.far",
    }


def test_what_is_loaded_once_hands_nothing_on():
    """A changed module of models touches nobody, since nobody gets new models; what it uses touches it."""
    sources = {"chat_models": "from . import routing", "chat_consumers": "from .models import Message"}
    assert touched("chat.models", {"chat.models"}, **sources) == {"chat.models"}
    assert touched("chat.routing", {"chat.models"}, chat_routing="", **sources) == {"chat.routing", "chat.models"}
    named = {"site_asgi": "ROOT_URLCONF = 'chat.routing'", "chat_routing": ""}
    assert touched("chat.routing", {"site.asgi"}, **named) == {"chat.routing"}  # settings hold the name alone
