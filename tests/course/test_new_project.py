"""The project that `labserver new-project` writes: all of it, nothing of labserver, and only where nothing is."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from labserver import __main__ as command
from labserver.course import new_project
from labserver.errors import FolderError, LabError

NO_SECRETS = ("", "a password of this test", "only for this test, ", "the password was changed")
"""What may stand after the word password, or secret."""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The project, written once; tests only read it."""
    return new_project.write(tmp_path_factory.mktemp("new") / "site")


def files(folder):
    """The path of each file, with slashes, and what is in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*") if path.is_file()
    }


def test_what_a_project_needs_is_there(written):
    """Beside the package stands what runs, tests, deploys and explains it."""
    found = set(files(written))
    assert {path for path in found if "/" not in path} == {
        ".gitignore",
        "README.md",
        "gunicorn.conf.py",
        "manage.py",
        "nginx.conf",
        "pytest.ini",
        "redis.conf",
        "requirements-test.txt",
        "requirements.txt",
    }
    assert {path.split("/")[0] for path in found if "/" in path} == {"mysite", "run", "tests"}
    assert {"mysite/asgi.py", "mysite/settings/production.py", "mysite/chat/static/chat/chat.js"} <= found
    assert "mysite/demo.py" not in found
    assert os.name == "nt" or (written / "manage.py").stat().st_mode & stat.S_IXUSR


def test_what_is_written_otherwise_is_there_in_the_lab_too():
    """Each file that takes the place of one of the lab's has such a one: after a renaming it would stand beside it."""
    own = new_project.TOP / new_project.NAME
    paths = [path.relative_to(own) for path in own.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert paths and not [path for path in paths if not (new_project.SOURCE / path).is_file()]


def test_nothing_speaks_of_the_lab(written):
    """Neither names nor texts of the files know of labserver, of notebooks or of lessons."""
    words = re.compile("labserver|channels.?lab|the lab|notebook|kernel|lesson", re.IGNORECASE)
    for path, text in files(written).items():
        assert not words.search(path) and not words.search(text), (path, words.search(text))


def test_nothing_is_secret(written):
    """No key, token or password of anybody stands in the files."""
    long = re.compile(r"[A-Za-z0-9_-]{40,}")  # keys and tokens look like this; names of tests do, too
    for path, text in files(written).items():
        found = [each for each in long.findall(text) if not re.fullmatch("[a-z_]+|-+", each)]
        assert found == [], path
        for value in re.findall(r"(?i)\b(?:secret|password)\w*\"?\s*[:=]\s*[\"'](.*?)[\"']", text):
            assert value in NO_SECRETS, (path, value)


def test_git_ignores_what_is_secret(written):
    """The key, the variables of production and the database stay out of a repository."""
    ignored = (written / ".gitignore").read_text("utf-8").splitlines()
    assert {".secret_key", "production.env", "*.sqlite3*"} <= set(ignored)
    assert "cat > production.env" in (written / "README.md").read_text("utf-8")


def test_every_module_compiles(written):
    """All that is written in Python is Python."""
    for path, text in files(written).items():
        if path.endswith(".py"):
            compile(text, path, "exec")


def test_every_file_is_explained(written):
    """The README says of each file beside the package, and of each part of it, what it is."""
    readme = (written / "README.md").read_text("utf-8")
    for path in [*written.iterdir(), *(written / "mysite").iterdir()]:
        if path.name not in ("__init__.py", "__pycache__", "README.md", ".gitignore"):
            assert path.name in readme, path.name


def test_nginx_listens_once(written):
    """The address of nginx stands in its file once, where lessons and tests put a free port."""
    assert (written / "nginx.conf").read_text("utf-8").count("listen 127.0.0.1:8080;") == 1


def test_the_line_ends_are_the_same_everywhere(written):
    """No file has the line ends of Windows."""
    assert not [path for path in written.rglob("*") if path.is_file() and b"\r" in path.read_bytes()]


def test_it_runs_with_two_commands(tmp_path, capsys):
    """`labserver new-project` says how to go on; `manage.py demo` makes a database with three users, and a key."""
    assert command.main(["new-project", str(tmp_path / "a site")]) == 0
    told = capsys.readouterr().out
    assert f"cd '{tmp_path / 'a site'}'" in told or os.name == "nt"
    assert told.index("python manage.py demo") < told.index("python manage.py runserver")

    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "LABSERVER_"))}
    done = subprocess.run(
        [sys.executable, "manage.py", "demo"],
        cwd=tmp_path / "a site",
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert re.fullmatch(r"The users alice, bob, carol are there, each with the password: \S{12}\n", done.stdout), done
    assert (tmp_path / "a site" / "db.sqlite3").exists()
    key = tmp_path / "a site" / ".secret_key"
    assert len(key.read_text()) >= 50
    assert os.name == "nt" or stat.S_IMODE(key.stat().st_mode) == 0o600


def test_an_empty_folder_will_do(tmp_path):
    """A folder without anything in it is written into; a missing one is made, and its parents."""
    assert new_project.write(tmp_path) == tmp_path.resolve()
    assert (tmp_path / "manage.py").exists()
    deep = tmp_path / "not" / "there"
    assert new_project.write(str(deep)) == deep.resolve()


@pytest.mark.parametrize("hidden", [False, True])
def test_a_folder_that_holds_something_is_refused(tmp_path, hidden):
    """Nothing is overwritten, and nothing written; the error names what is there."""
    names = [".git"] if hidden else ["a", "b", "c", "d"]
    for name in names:
        (tmp_path / name).write_text("mine")
    with pytest.raises(FolderError) as caught:
        new_project.write(tmp_path)
    seen = ".git in it" if hidden else "a, b, c and more in it"
    assert f"expected a folder that is empty or not there yet, found {tmp_path} with {seen}" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert isinstance(caught.value, LabError) and isinstance(caught.value, ValueError)


def test_a_file_in_the_way_is_refused(tmp_path):
    """A file where the folder should be stays as it is; so does one where a parent should be."""
    file = tmp_path / "site"
    file.write_text("mine")
    with pytest.raises(FolderError, match="found the file .*site; name another one"):
        new_project.write(file)
    with pytest.raises(FolderError, match="expected to write into .*inner, found: "):
        new_project.write(file / "inner")
    assert file.read_text() == "mine"


@pytest.mark.skipif(os.name == "nt", reason="expected links that anybody may make, which Windows has not")
def test_a_link_to_nowhere_is_refused(tmp_path):
    """A link whose target is missing is not written through."""
    link = tmp_path / "site"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FolderError, match="found the file"):
        new_project.write(link)
    assert not (tmp_path / "nowhere").exists()


def test_where_nothing_may_be_written_it_says_so(tmp_path, monkeypatch):
    """An error of the system is told with the folder and the reason, and the command ends with 2."""

    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(FolderError, match="expected to write into .*site, found: .*Permission denied; name another"):
        new_project.write(tmp_path / "site")
    assert command.main(["new-project", str(tmp_path / "site")]) == 2
