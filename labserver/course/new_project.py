"""`labserver new-project DIR`: the reference project as a Django project of its own, which knows nothing of labserver.

Room: reads labserver/project and writes a folder; of labserver it knows the errors alone. What differs between the lab
and the written project stands in `labserver/project/top_level`, as it will be written.
"""

import shlex
from pathlib import Path

from labserver.errors import FolderError

NAME = "mysite"
"""The package of the written project."""

SOURCE = Path(__file__).parents[1] / "project"

TOP = SOURCE / "top_level"
"""What is written as it stands: beside the package, and the files of the package that are not the lab's."""

RENAMED = {
    "labserver.project.settings": f"{NAME}.settings.production",
    "labserver.project": NAME,
    "LABSERVER_": f"{NAME.upper()}_",
    "Channels Lab": NAME,
    "channels-lab": NAME,
}
"""What is called otherwise there, in this order."""

NEXT = """\
    python -m venv .venv
    . .venv/bin/activate                    # Windows: .venv\\Scripts\\activate
    pip install -r requirements.txt
    python manage.py demo
    python manage.py runserver"""

LEFT_OUT = {"demo.py"}
"""What only the lab uses: users with a known password."""


def run(folder: str | Path) -> int:
    """Write the project into this folder, and say what to do next; returns the exit status."""
    written = write(folder)
    count = sum(path.is_file() for path in written.rglob("*"))
    print(f"A Django project of {count} files is in {written}. Its README.md says what each of them is. Now:\n")
    print(f"    cd {shlex.quote(str(Path(folder).expanduser()))}\n{NEXT}")
    return 0


def write(folder: str | Path) -> Path:
    """Write the project into a folder that is empty or does not exist yet, and return its absolute path.

    Raises FolderError if the folder holds something, and writes nothing then; or if it cannot be written.
    """
    folder = Path(folder).expanduser()
    files = _files()
    try:
        if found := _found(folder):
            raise FolderError(f"expected a folder that is empty or not there yet, found {found}; name another one")
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        (folder / "manage.py").chmod(0o755)
    except OSError as error:
        raise FolderError(f"expected to write into {folder}, found: {error}; name another folder") from error
    return folder.resolve()


def _found(folder: Path) -> str | None:
    """What is in the way, if anything."""
    if folder.is_dir():
        names = sorted(path.name for path in folder.iterdir())
        return f"{folder} with {', '.join(names[:3])}{' and more' if names[3:] else ''} in it" if names else None
    return f"the file {folder}" if folder.is_symlink() or folder.exists() else None


def _files() -> dict[str, bytes]:
    """Each file of the written project: its path, with slashes, and what is in it."""
    package = {path: _renamed(SOURCE / path) for path in _paths(SOURCE) if path.partition("/")[0] != TOP.name}
    files = {f"{NAME}/{path}": content for path, content in package.items() if path not in LEFT_OUT}
    for path in _paths(TOP):
        folder, _, name = path.rpartition("/")
        name = ".gitignore" if name == "gitignore" else name  # under its own name it would work on our files
        files[f"{folder}/{name}" if folder else name] = (TOP / path).read_bytes()
    return files


def _paths(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _renamed(path: Path) -> bytes:
    text = path.read_bytes().decode()  # bytes, so that line ends are the same everywhere
    for old, new in RENAMED.items():
        text = text.replace(old, new)
    return text.encode()
