"""What importing the room costs."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("before", ["", "jsonschema, "])
def test_no_parser_is_made_that_nobody_asks_for(before):
    """jsonschema's parser of IRIs takes more than a second in each process; it stays importable for others."""
    program = (
        f"import {before}labserver.validation, sys\n"
        "print('rfc3987_syntax' in sys.modules)\n"
        "try:\n    import rfc3987_syntax\n"
        "except ModuleNotFoundError as missing:\n    assert 'None' not in str(missing)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == ("False\n" if not before else f"{'rfc3987_syntax' in _loaded()}\n")


def _loaded():
    program = "import jsonschema, sys; print(*sys.modules)"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60).stdout.split()
