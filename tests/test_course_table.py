"""The course table: every system that the course promises is taught in a cell that was run, and proven by a test."""

import ast
import tomllib
from pathlib import Path

import nbformat
import pytest

TESTS = Path(__file__).parent
TABLE = tomllib.loads((TESTS / "course_table.toml").read_text(encoding="utf-8"))
PROMISED = {*"A1 A2 A3 A4 A5 A6 B1 B2 B3 B4 B5 C1 C2 C3 D1 D2 D3 D4 D5 D6 D7 E1 E2 E3 E4 E5".split()}
"""The systems of the lessons that are there."""


def test_every_promised_system_has_a_row():
    """No row is missing, and none is there that nobody asked for."""
    assert set(TABLE) == PROMISED


@pytest.mark.parametrize("system", TABLE)
def test_its_cells_were_run(system):
    """Each cell of a row stands in the lesson, and has been run."""
    row = TABLE[system]
    path = TESTS.parent / "notebooks" / f"{row['lesson']}.ipynb"
    cells = {cell.id: cell for cell in nbformat.read(path, 4).cells}
    assert row["system"] and row["cells"]
    for id in row["cells"]:
        assert cells[id].cell_type == "code" and cells[id].execution_count, id


@pytest.mark.parametrize("system", TABLE)
def test_its_tests_assert(system):
    """Each test of a row is there, runs cells of the lesson, and asserts."""
    row = TABLE[system]
    path = TESTS / "lessons" / f"test_{row['lesson'][:2]}.py"
    functions = {node.name: node for node in ast.parse(path.read_text(encoding="utf-8")).body if hasattr(node, "name")}
    assert row["tests"]
    for name in row["tests"]:
        nodes = list(ast.walk(functions[name]))
        raises = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr == "raises"]
        assert raises or [node for node in nodes if isinstance(node, ast.Assert)], name
