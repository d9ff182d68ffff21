"""Every error that labserver raises on purpose, in one tree.

Room: names and texts only; imports nothing of labserver, so that every other room may import it.

    LabError
    ├── ExerciseError        an exercise, or its solution, is not as it should be
    ├── FolderError          a folder to write into holds something, or cannot be written
    ├── NotAnApplication     what was handed to serve() cannot be called as an ASGI application
    ├── NotRecorded          a trace does not hold what is to be made of it
    ├── PortInUse            somebody else listens on the port that was asked for
    ├── ReactorConflict      another Twisted reactor was installed before the lab's
    ├── ServerStopped        the server is not running
    ├── SettingsError        a setting the project needs is missing or unsafe
    ├── TimeLimit            nothing happened within the time limit
    ├── UvicornMissing       uvicorn is asked for, and is not installed
    └── ValidationError      a notebook cannot be validated as asked

Each text says what was expected, what was found, and the next step.
"""


class LabError(Exception):
    """Base of all errors that labserver raises on purpose."""


class ExerciseError(LabError, ValueError):
    """An exercise, or its solution, is not as it should be."""


class FolderError(LabError, ValueError):
    """A folder to write into holds something, or cannot be written."""


class NotAnApplication(LabError, TypeError):
    """The object is not an ASGI 3 application (https://asgi.readthedocs.io/en/latest/specs/main.html)."""


class NotRecorded(LabError, ValueError):
    """A trace does not hold what is to be made of it."""


class PortInUse(LabError, OSError):
    """The port that was asked for is taken."""


class ReactorConflict(LabError, RuntimeError):
    """Twisted already runs another reactor in this process."""


class ServerStopped(LabError, RuntimeError):
    """The live server is not running."""


class SettingsError(LabError, ValueError):
    """A setting the project needs is missing or unsafe."""


class TimeLimit(LabError, TimeoutError):
    """Nothing happened within the time limit."""


class UvicornMissing(LabError, ImportError):
    """Uvicorn is asked for, and is not installed."""


class ValidationError(LabError, ValueError):
    """A notebook cannot be validated as asked."""
