"""What importing the room costs."""

import os
import runpy
import subprocess
import sys

import labserver.validation


def imported(first, folder):
    """What is printed when these are imported, with a parser that tells when it is made."""
    (folder / "rfc3987_syntax.py").write_text("print('made')\ndef is_valid_syntax(*_): ...\n", encoding="utf-8")
    program = f"import {first}\nprint('then')\nimport rfc3987_syntax"
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.split()


def test_no_parser_is_made_that_nobody_asks_for(tmp_path):
    """jsonschema's parser of IRIs takes more than a second in each process; who asks for it still gets it."""
    assert imported("labserver.validation", tmp_path) == ["then", "made"]


def test_where_jsonschema_is_there_already_nothing_is_touched():
    """Its modules stay what they are."""
    before = dict(sys.modules)
    runpy.run_path(labserver.validation.__file__)
    assert "jsonschema" in before and sys.modules == before
