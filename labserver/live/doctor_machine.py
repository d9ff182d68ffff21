"""What the doctor looks at on the machine: Redis, programs that some lessons start, and room to write.

Room: programs, folders, and a Redis that it starts and ends itself.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from .doctor import FAIL, NOTE, OK, Finding, pip_install

ROOM = 200
"""Megabytes that should be free where something is written."""

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")


def redis() -> Iterator[Finding]:
    """Whether a Redis can be started, the true one or its substitute; whether the one that is named answers."""
    from . import programs, redis

    try:
        with redis.RedisServer() as server:
            found = server.found
    except redis.RedisMissing as error:
        yield Finding(NOTE, f"no Redis: {error}", programs.how_to_get("redis-server"))
    except Exception as error:
        yield Finding(FAIL, f"Redis is installed and does not start: {error}", programs.how_to_get("redis-server"))
    else:
        if found.startswith("redis-server"):
            yield Finding(OK, f"{found} starts and answers")
        else:
            text = f"no program redis-server; the substitute {found} takes its place"
            yield Finding(NOTE, text, programs.how_to_get("redis-server"))
    if url := os.environ.get("LABSERVER_REDIS_URL"):
        yield _named(url)


def _named(url: str) -> Finding:
    where = "LABSERVER_REDIS_URL"
    try:
        if (parts := urlsplit(url)).hostname:
            where += f" ({parts.hostname}:{parts.port or 6379})"  # without the password
        import redis

        with redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
            client.ping()
    except ImportError:
        return Finding(
            FAIL, f"{where} is set, and the packages for it are missing", pip_install(["channels-redis", "redis<8"])
        )
    except Exception as error:
        return Finding(FAIL, f"{where} does not answer: {error}", "start that Redis, or unset LABSERVER_REDIS_URL")
    return Finding(OK, f"{where} answers")


def programs() -> Iterator[Finding]:
    """Which of the programs are here that a lesson starts; those that pip installs are packages of an extra."""
    from . import programs

    if path := programs.find("nginx"):
        yield Finding(OK, f"nginx at {path} (for lesson 09)")
    else:
        text = "no program nginx: the cells of lesson 09 that start it show their stored outputs"
        yield Finding(NOTE, text, programs.how_to_get("nginx"))
    if not any(map(shutil.which, CHROMIUM)):
        text = "no Chromium on PATH: only the project's own tests use it, no lesson does"
        yield Finding(NOTE, text, "Debian: apt-get install chromium; any browser will do for the lessons")


def folders() -> Iterator[Finding]:
    """Whether there is room, and whether one may write, where the lab does: temporary files, progress, notebooks."""
    move = "set TMPDIR (Windows: TEMP) to a folder that can be written"
    try:
        temporary = tempfile.gettempdir()
    except OSError as error:
        yield Finding(FAIL, f"temporary files: {error}", move)
        return
    for name, folder, fix in (
        ("temporary files", temporary, move),
        ("your progress", _state(), "set LABSERVER_STATE to a folder that can be written"),
        ("this folder", os.getcwd(), "copy the notebooks to a folder of your own"),
    ):
        error = _unwritable(Path(folder))
        if error:
            yield Finding(FAIL, f"{name}: {folder} cannot be written: {error}", fix)
            continue
        free = shutil.disk_usage(_there(Path(folder))).free // 2**20
        if free < ROOM:
            yield Finding(FAIL, f"{name}: {free} MB are free in {folder}, less than {ROOM}", f"make room, or {fix}")
        else:
            yield Finding(OK, f"{name}: {folder} can be written")


def database() -> Iterator[Finding]:
    """Whether SQLite can lock a file where the lab's database will be: some network folders cannot."""
    named = os.environ.get("LABSERVER_DATABASE")
    folder = os.path.dirname(os.path.abspath(named)) if named else None
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix="labserver-doctor-", ignore_cleanup_errors=True) as own:
            with closing(sqlite3.connect(os.path.join(own, "db.sqlite3"))) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("CREATE TABLE note (text)")
                connection.commit()
    except (OSError, sqlite3.Error) as error:
        fix = "set LABSERVER_DATABASE to a file on a disk of this machine"
        yield Finding(FAIL, f"no database can be made in {folder or tempfile.gettempdir()}: {error}", fix)
    else:
        yield Finding(OK, "a database can be made and locked")


def _state() -> str:
    """Where progress is kept; `course.progress` knows the same."""
    import platformdirs

    folder = os.environ.get("LABSERVER_STATE") or platformdirs.user_data_dir("channels-lab", appauthor=False)
    return os.path.expanduser(folder)


def _there(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists: the others will be made."""
    return next(each for each in (folder, *folder.parents) if each.exists())


def _unwritable(folder: Path) -> OSError | None:
    try:
        with tempfile.TemporaryFile(dir=_there(folder)):
            return None
    except OSError as error:
        return error


CHECKS = (redis, programs, folders, database)
