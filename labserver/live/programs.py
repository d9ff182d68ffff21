"""Programs that are installed beside Python: where they are, and how to get those that are not there.

Room: names and the file system; starts nothing, and loads nothing of Django.
"""

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from labserver.errors import LabError

WINDOWS = os.name == "nt"

NOT_ON_WINDOWS = frozenset({"gunicorn"})
"""What does not exist for Windows, even where pip puts its files."""

_DEPLOY = "pip install 'channels-lab[deploy]' (or the package {name} alone)"
_WAYS = {
    "nginx": "Debian: apt-get install nginx; macOS: brew install nginx; Windows: the zip file of nginx.org, unpacked "
    "into a folder on PATH",
    "redis-server": "Debian: apt-get install redis-server; macOS: brew install redis; Windows: in WSL, as on Debian",
    "gunicorn": f"Debian and macOS: {_DEPLOY.format(name='gunicorn')}; it does not exist for Windows",
    "uvicorn": f"everywhere: {_DEPLOY.format(name='uvicorn')}",
    "daphne": "everywhere: pip install daphne",
}


class CommandMissing(LabError, FileNotFoundError):
    """A program is needed that is not installed here."""


def find(name: str) -> str | None:
    """The path of a program, or None: beside the running Python first (a virtual environment's own), then on PATH.

    Debian keeps servers in `/usr/sbin`, which is not on a user's PATH: beside each `bin` of PATH, its `sbin` counts.
    """
    if WINDOWS and name in NOT_ON_WINDOWS:
        return None
    if name in ("python", "python3"):
        return sys.executable
    path = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    path += [str(Path(folder).with_name("sbin")) for folder in path if Path(folder).name == "bin"]
    own = [os.path.dirname(sys.executable), sysconfig.get_path("scripts")]
    return shutil.which(name, path=os.pathsep.join([*own, *path]))


def missing(names: Iterable[str]) -> list[str]:
    """Those of the programs that are not here, each once."""
    return [name for name in dict.fromkeys(names) if find(name) is None]


def how_to_get(name: str) -> str:
    """How a program is installed on Debian, macOS and Windows, in one line: the same on each of them."""
    return _WAYS.get(name, f"install a program of the name {name}, and put its folder on PATH")
