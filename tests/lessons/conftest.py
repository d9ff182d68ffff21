"""Runs code cells of a lesson in this process, so that a test can question what the learner has just built.

The lessons are the source: a test here never repeats their code.
"""

import ast
import functools
import inspect
import os
import sys
import types
from pathlib import Path

import nbformat
import pytest
from django.apps import apps

from labserver.course import needs
from labserver.live import server as live
from labserver.live.programs import how_to_get, missing
from labserver.project.demo import USERS

from ..conftest import find_program, in_database

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def readied(source):
    """The source of a cell as Python takes it: lines for IPython become comments.

    Where a program is missing that the cell needs, the test is skipped; with LABSERVER_REQUIRE_ALL=1 it fails.
    """
    first, *rest = source.split("\n")
    if first.startswith(needs.MARK):
        if absent := missing(first.split()[1:]):
            reason = f"expected the program {absent[0]}, found none; get it with: {how_to_get(absent[0])}"
            (pytest.fail if os.environ.get("LABSERVER_REQUIRE_ALL") == "1" else pytest.skip)(reason)
        first = f"# {first}"
    return "\n".join(f"# {line}" if line.startswith("%load_ext ") else line for line in [first, *rest])


def number_users_as_in_a_fresh_kernel():
    """Tests before this one may have deleted a user, whom the lesson makes again: under the next number."""
    from django.contrib.auth.models import User
    from django.db import connection

    if User._meta.db_table in connection.introspection.table_names():
        if [*User.objects.order_by("pk").values_list("pk", "username")[:3]] != [*enumerate(USERS, 1)]:
            User.objects.all().delete()
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [User._meta.db_table])


@functools.cache  # tests run a lesson's cells in small portions
def sources(stem):
    """The sources of a lesson's cells, by id."""
    return {cell["id"]: cell.source for cell in nbformat.read(NOTEBOOKS / f"{stem}.ipynb", 4).cells}


@pytest.fixture
async def lesson(monkeypatch, capsys):
    """`space = await lesson("01_asgi_events", "setup", "echo")` runs these cells, in this order, as a kernel would.

    Returns what they have defined, as attributes. A second call of the same lesson goes on in the same space.
    """
    spaces = {}
    if apps.ready:
        in_database(number_users_as_in_a_fresh_kernel)

    async def run(stem, *ids):
        module = spaces.setdefault(stem, types.ModuleType(f"lesson_{stem}"))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        for id in ids:
            name = f"{stem}.ipynb cell {id}"
            code = compile(readied(sources(stem)[id]), name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            value = eval(code, vars(module))
            if inspect.isawaitable(value):
                await value
        return module

    yield run
    if live._server is not None:
        live._server.stop()


@pytest.fixture
async def browser():
    """A headless Chromium, driven from the loop of the test, on which the lesson's cells run as well."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        options = {"executable_path": find_program("chromium"), "args": ["--no-sandbox", "--disable-gpu"]}
        browser = await playwright.chromium.launch(**options)
        yield browser
        await browser.close()
