"""Runs code cells of a lesson in this process, so that a test can question what the learner has just built.

The lessons are the source: a test here never repeats their code.
"""

import ast
import inspect
import sys
import types
from pathlib import Path

import nbformat
import pytest

from labserver.live import server as live

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture
async def lesson(monkeypatch, capsys):
    """`space = await lesson("01_asgi_events", "setup", "echo")` runs these cells, in this order, as a kernel would.

    Returns what they have defined, as attributes. A second call of the same lesson goes on in the same space.
    """
    spaces = {}

    async def run(stem, *ids):
        cells = {cell["id"]: cell.source for cell in nbformat.read(NOTEBOOKS / f"{stem}.ipynb", 4).cells}
        module = spaces.setdefault(stem, types.ModuleType(f"lesson_{stem}"))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        for id in ids:
            code = compile(cells[id], f"{stem}.ipynb cell {id}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            value = eval(code, vars(module))
            if inspect.isawaitable(value):
                await value
        return module

    yield run
    if live._server is not None:
        live._server.stop()
