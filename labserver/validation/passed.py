"""Which notebooks have passed here, as they are now: what `--fast` passes over.

Room: one JSON file, `validated.json`, in the user's cache folder or in the folder that LABSERVER_STATE names. It holds
digests only. Losing it costs time, nothing else.

A digest is of the notebook, the sanitize file, the way of running, Python and labserver. It knows nothing of modules
that the notebook imports, so before a change lands all notebooks are to be run.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import platformdirs

from .run import Way


class Passed:
    """The notebooks that have passed in this way, by their files' digests."""

    def __init__(self, way: Way) -> None:
        folder = os.environ.get("LABSERVER_STATE") or platformdirs.user_cache_dir("channels-lab", appauthor=False)
        self._file = Path(folder, "validated.json")
        rules = Path(way.sanitize).read_bytes() if way.sanitize else b""
        self._circumstances = b"%r" % [way.twice, way.queued, sys.version_info[:3], version("channels-lab"), rules]
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            content = {}
        self._digests: dict[str, str] = content if isinstance(content, dict) else {}
        self._now: dict[str, str] = {}

    def look(self, paths: Iterable[Path]) -> None:
        """Take in the files as they are now, before they are run: while they run, somebody may edit them."""
        self._now |= {str(path.resolve()): self._digest(path) for path in paths}

    def __contains__(self, path: Path) -> bool:
        name = str(path.resolve())
        return name in self._now and self._digests.get(name) == self._now[name]

    def keep(self, paths: Iterable[Path]) -> None:
        """Note that these have passed, as they were when looked at; a folder that cannot be written is left alone."""
        names = [str(path.resolve()) for path in paths]
        self._digests |= {name: self._now[name] for name in names}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            new = self._file.with_name(f"{self._file.name}.{os.getpid()}")
            new.write_text(json.dumps(self._digests, indent=1, sort_keys=True), encoding="utf-8")
            os.replace(new, self._file)
        except OSError:
            pass

    def _digest(self, path: Path) -> str:
        return hashlib.sha256(self._circumstances + path.read_bytes()).hexdigest()
