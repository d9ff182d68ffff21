"""Settings for production, in a process of their own: what they ask for, and what Django says of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

VARIABLES = {
    "MYSITE_SECRET_KEY": "only for this test, " * 4,
    "MYSITE_ALLOWED_HOSTS": "chat.example.org",
    "MYSITE_REDIS_URL": "redis://127.0.0.1:6379/0",
}


def manage(*arguments, **variables):
    """Run manage.py with the settings for production and these variables alone."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("MYSITE_")}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=Path(__file__).parents[1],
        env=others | variables | {"DJANGO_SETTINGS_MODULE": "mysite.settings.production"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_django_has_nothing_to_say():
    """`check --deploy` passes, and would fail on a warning."""
    done = manage("check", "--deploy", "--fail-level", "WARNING", **VARIABLES)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", VARIABLES)
def test_without_one_of_its_variables_it_does_not_start(missing):
    """The error names what is missing, and nothing else."""
    done = manage("check", **{name: value for name, value in VARIABLES.items() if name != missing})
    assert done.returncode != 0
    assert [name for name in VARIABLES if f"- {name}" in done.stderr] == [missing]
