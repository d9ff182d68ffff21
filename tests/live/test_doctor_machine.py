"""What the doctor says of Redis, of programs and of room to write: each finding with its cause produced."""

import shutil
import socket
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from labserver.errors import TimeLimit
from labserver.live import doctor_machine as machine
from labserver.live import programs, redis
from labserver.live.doctor import FAIL, NOTE, OK


@pytest.fixture
def answer(monkeypatch):
    """Put another outcome in the place of starting a Redis."""
    monkeypatch.delenv("LABSERVER_REDIS_URL", raising=False)

    def answer(found):
        class Server:
            def __enter__(self):
                if isinstance(found, Exception):
                    raise found
                return SimpleNamespace(found=found)

            def __exit__(self, *exc_info):
                pass

        monkeypatch.setattr(redis, "RedisServer", Server)
        return list(machine.redis())

    return answer


@pytest.mark.parametrize(
    ("found", "level", "words"),
    [
        ("redis-server 7.0.15", OK, "redis-server 7.0.15 starts and answers"),
        ("fakeredis 2.40.0", NOTE, "the substitute fakeredis 2.40.0 takes its place"),
        (redis.RedisMissing("found neither"), NOTE, "no Redis: found neither"),
        (TimeLimit("it is silent"), FAIL, "does not start: it is silent"),
    ],
)
def test_whether_a_redis_starts(answer, found, level, words):
    """The true one is best, a substitute or none is noted, and one that does not start is a fault."""
    (finding,) = answer(found)
    assert finding.level == level and words in finding.text
    assert ("apt-get install redis-server" in finding.fix) is (level != OK)


@pytest.fixture
def named(answer, monkeypatch):
    """What is said of the Redis that the environment names."""

    def named(url):
        monkeypatch.setenv("LABSERVER_REDIS_URL", url)
        return answer("redis-server 7")[1]

    return named


def test_the_named_redis_answers(named):
    """The URL of a Redis that runs is fine."""
    with redis.RedisServer() as server:
        found = named(server.url)
    assert found.level == OK and found.text.endswith("answers")


def test_the_named_redis_is_away(named):
    """Without it no group works; its password is not shown."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found = named(f"redis://:secret@127.0.0.1:{port}/0")
    assert found.level == FAIL and f"127.0.0.1:{port}" in found.text and "unset" in found.fix
    assert "secret" not in found.text


@pytest.mark.parametrize("url", ["localhost:6379", "redis://localhost:port"])
def test_what_is_no_url_is_told(named, url):
    """What is wrong with it is said by who reads it."""
    found = named(url)
    assert found.level == FAIL and "None" not in found.text
    assert "scheme" in found.text or "'port'" in found.text


def test_the_named_redis_needs_packages(named, monkeypatch):
    """Without redis-py nobody can ask."""
    monkeypatch.setitem(sys.modules, "redis", None)
    found = named("redis://redis.example")
    assert found.level == FAIL and "(redis.example:6379)" in found.text and '"redis<8"' in found.fix


def test_programs_that_are_there(monkeypatch):
    """Nginx has a line; a Chromium that is there needs none."""
    monkeypatch.setattr(programs, "find", lambda name: f"/there/{name}")
    monkeypatch.setattr(shutil, "which", lambda name: "/there" if name == "msedge" else None)
    (found,) = machine.programs()
    assert found.level == OK and found.text.startswith("nginx at /there/nginx")


def test_programs_that_are_missing_are_noted(monkeypatch):
    """No lesson ends without nginx, and none needs Chromium."""
    monkeypatch.setattr(programs, "find", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    nginx, chromium = machine.programs()
    assert (nginx.level, chromium.level) == (NOTE, NOTE)
    assert "lesson 09" in nginx.text and "brew install nginx" in nginx.fix
    assert "own tests" in chromium.text and "apt-get install chromium" in chromium.fix


@pytest.fixture
def state(tmp_path, monkeypatch):
    """Progress is kept in a folder that does not exist yet."""
    monkeypatch.setenv("LABSERVER_STATE", str(tmp_path / "not" / "yet"))
    return tmp_path


def test_folders_that_can_be_written(state):
    """Temporary files, progress and notebooks each have a line; what will be made later counts as there."""
    found = list(machine.folders())
    assert [each.level for each in found] == [OK] * 3
    assert [each.text.partition(":")[0] for each in found] == ["temporary files", "your progress", "this folder"]
    assert not (state / "not").exists()


def test_progress_is_looked_for_where_it_is_kept(monkeypatch):
    """The doctor looks where `progress` writes, with and without the variable."""
    from labserver.course import progress

    for value in ("somewhere", "~/here", ""):
        monkeypatch.setenv("LABSERVER_STATE", value)
        assert progress.location().parent == Path(machine._state())


def test_a_folder_that_cannot_be_written_is_a_fault(state, monkeypatch):
    """A file stands where the folder should be: progress would be forgotten."""
    (state / "file").touch()
    monkeypatch.setenv("LABSERVER_STATE", str(state / "file" / "below"))
    _, found, _ = machine.folders()
    assert found.level == FAIL and "cannot be written" in found.text and "LABSERVER_STATE" in found.fix


def test_a_full_disk_is_a_fault(state, monkeypatch):
    """Less than what a lesson may write is not enough."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=(machine.ROOM - 1) * 2**20))
    for found in machine.folders():
        assert found.level == FAIL and f"{machine.ROOM - 1} MB" in found.text and found.fix.startswith("make room")


def test_no_folder_for_temporary_files_is_a_fault(monkeypatch):
    """Python looks at several; if none of them can be written, the server has no database."""

    def nowhere():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    (found,) = machine.folders()
    assert found.level == FAIL and "No usable" in found.text and "TMPDIR" in found.fix


@pytest.mark.parametrize("named", [True, False])
def test_a_database_can_be_made(tmp_path, monkeypatch, named):
    """Where the variable says, or among the temporary files; nothing is left there."""
    monkeypatch.delenv("LABSERVER_DATABASE", raising=False)
    if named:
        monkeypatch.setenv("LABSERVER_DATABASE", str(tmp_path / "db.sqlite3"))
    (found,) = machine.database()
    assert found.level == OK and list(tmp_path.iterdir()) == []


def test_a_folder_without_room_for_a_database_is_a_fault(tmp_path, monkeypatch):
    """A folder that is none: the line names it, and the variable."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("LABSERVER_DATABASE", str(tmp_path / "file" / "db.sqlite3"))
    (found,) = machine.database()
    assert found.level == FAIL and str(tmp_path / "file") in found.text and "LABSERVER_DATABASE" in found.fix
