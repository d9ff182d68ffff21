"""What the doctor says of Python, of packages, and of files that hide them: each finding with its cause planted."""

import importlib.metadata
import os
import platform
import sys
from types import SimpleNamespace

import psutil
import pytest

from labserver.live import doctor_packages as packages
from labserver.live.doctor import FAIL, NOTE, OK

ASKED = ["django>=5.2,<6.1", "channels[daphne]>=4.3.2", "redis<8; extra == 'redis'", "winonly; sys_platform == 'none'"]
INNER = {"channels": ["daphne>=4; extra == 'daphne'", "nothing; extra == 'other'"], "daphne": ["twisted[tls]>=22"]}
GOOD = {"django": "5.2.1", "channels": "4.3.2", "daphne": "4.2.3", "twisted": "26.1", "redis": "7.4"}


@pytest.fixture
def installed(monkeypatch):
    """Say which packages are installed, of which version, and what they ask for."""

    def installed(versions, asked=ASKED):
        def version(name):
            if name not in versions:
                raise importlib.metadata.PackageNotFoundError(name)
            return versions[name]

        wanted = {"channels-lab": asked} | INNER
        monkeypatch.setattr(importlib.metadata, "version", version)
        monkeypatch.setattr(importlib.metadata, "requires", lambda name: wanted.get(name))

    return installed


def test_packages_that_are_as_asked_for_are_ok(installed):
    """Each well-known package has its line, and all of them are counted; what other systems need is not."""
    installed(GOOD)
    found = list(packages.packages())
    assert {finding.level for finding in found} == {OK}
    assert [finding.text for finding in found] == [
        "django 5.2.1",
        "channels 4.3.2",
        "daphne 4.2.3",
        "twisted 26.1",
        "4 packages as channels-lab and they themselves ask for",
    ]


@pytest.mark.parametrize(
    ("changed", "text", "wanted"),
    [
        ({"django": "4.2"}, "django 4.2: channels-lab asks for django<6.1,>=5.2", "django<6.1,>=5.2"),
        ({"django": "6.1"}, "django 6.1: channels-lab asks for django<6.1,>=5.2", "django<6.1,>=5.2"),
        ({"twisted": "18.0"}, "twisted 18.0: daphne asks for twisted[tls]>=22", "twisted[tls]>=22"),
        ({"daphne": None}, "daphne is not installed: channels asks for daphne>=4", "daphne>=4"),
    ],
)
def test_a_package_that_is_not_as_asked_for_is_a_fault(installed, changed, text, wanted):
    """Missing, too old or too new, near or far: the line says who asks, and the fix installs into this environment."""
    installed({name: version for name, version in (GOOD | changed).items() if version})
    (found,) = (finding for finding in packages.packages() if finding.level == FAIL)
    assert found.text == text
    assert found.fix == f'"{sys.executable}" -m pip install "{wanted}"'


def test_what_is_judged_is_the_packages_own_metadata():
    """What pyproject.toml asks for is what the doctor asks for; nothing of it is written down a second time."""
    found = list(packages.packages())
    assert [each for each in found if each.level != OK] == []
    names = {each.text.partition(" ")[0].lower() for each in found}
    assert set(packages.SHOWN) <= names
    provided = importlib.metadata.metadata("channels-lab").get_all("Provides-Extra")
    assert set(packages.EXTRAS) <= set(provided)


def test_without_its_own_metadata_it_breaks_off(monkeypatch):
    """A folder that was never installed has no metadata; the guard makes a finding of it."""
    monkeypatch.setattr(packages, "DISTRIBUTION", "no-such-distribution")
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        list(packages.packages())


@pytest.mark.parametrize(("asked", "level"), [(">=3.11", OK), (">=4", FAIL)])
def test_a_python_outside_the_range_is_a_fault(monkeypatch, asked, level):
    """The range is that of the metadata."""
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: {"Requires-Python": asked})
    (found,) = packages.python()
    assert found.level == level and platform.python_version() in found.text
    assert bool(found.fix) is (level == FAIL)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        (GOOD, (OK, "redis 7.4 (for lessons 05 and 09)")),
        ({}, (NOTE, "not installed: redis<8; only for lessons 05 and 09")),
        ({"redis": "8.1"}, (FAIL, "redis 8.1: expected redis<8 for lessons 05 and 09")),
    ],
)
def test_an_optional_package_may_be_missing_but_not_wrong(installed, monkeypatch, versions, expected):
    """Redis 8 drops members that are idle, so it is a fault; no Redis at all is a note."""
    monkeypatch.setattr(packages, "EXTRAS", {"redis": "lessons 05 and 09"})
    installed(versions)
    (found,) = packages.extras()
    assert (found.level, found.text) == expected
    assert ('"redis<8"' in found.fix) is (found.level != OK)


def test_the_archived_package_is_noted(installed):
    """Who has the old nest-asyncio is told of its continuation; who has not hears nothing."""
    installed({})
    assert list(packages.archived()) == []
    installed({"nest-asyncio": "1.6.0"})
    (found,) = packages.archived()
    assert found.level == NOTE and "1.6.0 is archived" in found.text and "nest_asyncio2" in found.fix


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """A folder, the present one, with a folder of notebooks in it."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "a.ipynb").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "django.py").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_that_hides_a_package_is_a_fault(notebooks):
    """`channels.py` beside a notebook is what the notebook imports; so is a package, in a folder of notebooks too."""
    (notebooks / "channels.py").touch()
    (notebooks / "notebooks" / "websockets").mkdir()
    (notebooks / "notebooks" / "websockets" / "__init__.py").touch()
    found = list(packages.hidden())
    assert [(each.level, each.text.rpartition("hides ")[2]) for each in found] == [
        (FAIL, "the module 'channels' from notebooks"),
        (FAIL, "the module 'websockets' from notebooks"),
    ]
    assert str(notebooks / "channels.py") in found[0].text and all(each.fix for each in found)


def test_a_file_that_hides_a_module_of_python_is_told(notebooks, monkeypatch):
    """`random.py` stops what the lab loads; one that nobody loads may do no harm."""
    monkeypatch.delitem(sys.modules, "antigravity", raising=False)
    for name in ("random.py", "antigravity.py"):
        (notebooks / name).touch()
    harmless, harmful = packages.hidden()
    assert harmless.level == NOTE and "'antigravity'" in harmless.text
    assert harmful.level == FAIL and "'random'" in harmful.text


@pytest.mark.parametrize(
    ("started", "level"),
    [(sys.executable, OK), ("python", OK), (os.path.join(os.path.abspath(os.sep), "other", "python"), FAIL)],
)
def test_a_kernel_of_that_name_may_be_that_of_another_environment(monkeypatch, started, level):
    """Notebooks start what the kernelspec says; a name without a folder stands for the Python that Jupyter runs in."""
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    spec = SimpleNamespace(argv=[started], resource_dir="kernels/python3", display_name="Python 3")
    monkeypatch.setattr("jupyter_client.kernelspec.KernelSpecManager.get_kernel_spec", lambda self, name: spec)
    (found,) = packages.kernelspec()
    assert found.level == level
    if level == FAIL:
        assert started in found.text and "kernels/python3" in found.text and "remove python3" in found.fix


def test_in_a_notebook_the_kernel_is_there_already(monkeypatch):
    """Which one others would get says nothing about this one."""
    monkeypatch.setenv("JPY_SESSION_NAME", "a.ipynb")
    assert list(packages.kernelspec()) == []


def test_files_of_other_names_hide_nothing(notebooks):
    """Notebooks, tests, folders without code, and the project itself are in nobody's way."""
    for name in ("chat.py", "redis.txt"):
        (notebooks / name).touch()
    for name in ("labserver", "tests"):
        (notebooks / name).mkdir()
        (notebooks / name / "__init__.py").touch()
    (notebooks / "channels").mkdir()
    (found,) = packages.hidden()
    assert found.level == OK


def process(*words):
    """A process with this command line, or one that may not be looked at."""

    def cmdline():
        if words == ("denied",):
            raise psutil.AccessDenied
        return list(words)

    return SimpleNamespace(cmdline=cmdline)


@pytest.mark.parametrize(
    ("parents", "told"),
    [
        ([], False),
        ([process("sh"), process("denied"), process()], False),
        ([process("sh"), process(sys.executable, "-m", "ipykernel_launcher", "-f", "x")], False),
        ([process("python", "-m", "ipykernel_launcher")], False),
        ([process("/elsewhere/bin/python", "-m", "ipykernel_launcher")], True),
    ],
)
def test_a_kernel_of_another_python_is_noted(monkeypatch, parents, told):
    """`!labserver` may belong to another environment than the notebook, which then lacks what is installed here."""
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(parents=lambda: parents))
    monkeypatch.setattr(packages.os.path, "isabs", lambda path: "/" in path or path == sys.executable)  # on Windows too
    found = list(packages.kernel())
    assert [finding.level for finding in found] == ([NOTE] if told else [])
    assert all("/elsewhere/bin/python" in each.text and "%run -m labserver doctor" in each.fix for each in found)
