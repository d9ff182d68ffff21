"""One command as a process with a watcher, and what it writes: the lower half of `processes`.

Room: processes and pipes; loads nothing of Django. The watcher is a small Python program, the parent of the command,
and holds the other end of a pipe: when this process ends, however it ends, the pipe closes, and the watcher ends the
command and all that the command has started. Both have sessions of their own, because the interrupt of a cell goes to
the kernel's whole process group. Windows has neither: there the tree is ended by `taskkill /T /F`.
"""

import codecs
import contextlib
import io
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from labserver.errors import LabError, TimeLimit

from .programs import WINDOWS, CommandMissing, find, how_to_get

STOP_LIMIT = 10.0
"""Seconds that a command gets to end by itself when it is told to; then it is killed."""

LOG_LIMIT = 200_000
"""Characters of a log that are kept: its end."""

TAIL = 20
"""Lines of a log that an error shows."""

_STRAY = 2.0  # seconds for the last words, where something that outlived the command keeps the pipe open
_UNSET = ("DJANGO_SETTINGS_MODULE", "PYTHONPATH", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE")
"""What a kernel has in its environment for itself: its project, its path, and that its output may be coloured."""

_WATCHER = """
import os, signal, subprocess, sys, threading
null, windows = subprocess.DEVNULL, os.name == "nt"
own = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if windows else {"start_new_session": True}
process = subprocess.Popen(sys.argv[2:], stdin=null, stdout=2, **own)
print(process.pid, flush=True)
def kill():
    if windows:
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], stdin=null, stdout=null, stderr=null)
    else:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
def obey():
    for line in sys.stdin:
        process.send_signal(int(line))
    if not windows:
        process.terminate()
        try:
            process.wait(float(sys.argv[1]))
        except subprocess.TimeoutExpired:
            pass
    kill()
threading.Thread(target=obey, daemon=True).start()
process.wait()
kill()
print(process.returncode, flush=True)
"""


class CommandFailed(LabError, RuntimeError):
    """A command ended otherwise than it should, or could not be started.

    status: its exit status, negative if a signal ended it, None if it was not started. output: the end of what it
    wrote.
    """

    def __init__(self, text: str, status: int | None = None, output: str = ""):
        super().__init__(text)
        self.status = status
        self.output = output


class Child:
    """A command that runs, until it ends or is stopped.

    words, folder, environment: as for `processes.run`. shown: how errors call it. Raises CommandMissing, CommandFailed.
    """

    def __init__(
        self, words: str | Sequence[str], folder: str | Path, environment: Mapping[str, str] | None, shown: str = ""
    ):
        program, *arguments = split(words)
        self.words = shown or (words if isinstance(words, str) else shlex.join(words))
        self._status: int | None = None
        if not Path(folder).is_dir():
            raise CommandFailed(
                f"expected a folder {str(folder)!r} to run `{self.words}` in, found none; make it first"
            )
        self._watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCHER, str(STOP_LIMIT), _path(program, Path(folder)), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=_environment(environment or {}),
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self.log = Log(self._watcher.stderr)
        first = self._watcher.stdout.readline()
        if not first:
            self.stop()
            raise CommandFailed(f"expected to start `{self.words}`, found that the system refuses; {self.said()}")
        self.pid = int(first)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._watcher.poll() is None

    @property
    def status(self) -> int | None:
        """How it ended; None while it runs."""
        if self._status is None and not self.alive and not self._watcher.stdout.closed:
            self._status = int(self._watcher.stdout.read() or -9)  # of a watcher that was killed nothing is known
        return self._status

    def send(self, number: int) -> None:
        """Send a signal; raises CommandFailed if it has ended."""
        try:
            self._watcher.stdin.write(b"%d\n" % number)
            self._watcher.stdin.flush()
        except (OSError, ValueError):  # the watcher has ended, or was told to
            raise CommandFailed(
                f"expected `{self.words}` to run, found that it has ended; {self.said()}", self.status, self.log.text
            ) from None

    def wait(self, limit: float) -> None:
        """Wait until it has ended by itself; raises TimeoutExpired of subprocess."""
        self._watcher.wait(limit)
        self.log.join(_STRAY)

    def stop(self) -> None:
        """End it and all that it has started; a second call does nothing. Raises TimeLimit."""
        with contextlib.suppress(OSError):  # the watcher has ended before it could read all
            self._watcher.stdin.close()
        try:
            self._watcher.wait(STOP_LIMIT + 10)
        except subprocess.TimeoutExpired:
            self._watcher.kill()
            self._watcher.wait()
            raise TimeLimit(f"expected `{self.words}` to end, found it running; end it by hand") from None
        finally:
            _ = self.status
            self._watcher.stdout.close()
            self.log.join(_STRAY)

    def said(self) -> str:
        """The last lines of its log, for an error."""
        lines = self.log.text.splitlines()[-TAIL:]
        return "it wrote at last:\n" + "\n".join(lines) if lines else "it wrote nothing"


class Log:
    """What a stream has brought so far, read by a thread of its own, so that whoever writes never waits."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._kept = "", 0  # one value: another thread must not see half a change
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """The text; of very much, the end."""
        return self._kept[0]

    @property
    def written(self) -> int:
        """How many characters there were, those included that are not kept."""
        return self._kept[1]

    def since(self, mark: int) -> str:
        """What came after the first `mark` characters, as far as it is kept."""
        text, written = self._kept
        return text[max(0, len(text) - (written - mark)) :]

    def join(self, limit: float) -> None:
        """Wait until all is read, but not for longer than `limit` seconds."""
        self._thread.join(limit)

    def _drain(self) -> None:
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
        with self._stream as stream:
            more = True
            while more:
                more = stream.read1(65536)
                new = decoder.decode(more, final=not more)
                self._kept = (self._kept[0] + new)[-LOG_LIMIT:], self._kept[1] + len(new)


def split(words: str | Sequence[str]) -> list[str]:
    """The words of a command line, with quotes as a shell takes them; on Windows a backslash is one."""
    if not isinstance(words, str):
        return list(words)
    reader = shlex.shlex(words, posix=True, punctuation_chars=False)
    reader.whitespace_split, reader.commenters = True, ""
    reader.escape = "" if WINDOWS else "\\"
    return list(reader)


def _path(name: str, folder: Path) -> str:
    """The program's path: one with a folder in it is seen from the folder where the command runs."""
    path = shutil.which(folder.resolve() / name) if os.path.dirname(name) else find(name)
    if path is None:
        raise CommandMissing(f"expected the program {name}, found none; {how_to_get(name)}")
    return path


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """The present environment without what is the kernel's own, and with what the command is given."""
    kept = {k: v for k, v in os.environ.items() if k not in _UNSET and not k.startswith("LABSERVER_")}
    return kept | {"PYTHONUNBUFFERED": "1"} | dict(own)
