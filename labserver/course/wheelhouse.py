"""`labserver wheelhouse`: everything that a room without internet installs, for every laptop in it, in one folder.

Room: reads requirements.lock and pyproject.toml, and lets pip download; of labserver it knows the errors alone.

`pip download --platform` chooses wheels for another system, but reads the conditions in a requirement (`; sys_platform
== 'win32'`) as they are on this one: from Linux it would leave out what Windows alone needs. So they are read here.
Source: https://pip.pypa.io/en/stable/cli/pip_download/ and https://packaging.python.org/en/latest/specifications/
"""

import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labserver.errors import LabError

FOLDER = "wheelhouse"
"""Where `make` looks for wheels; it asks no package index if it finds some."""

PYTHONS = ("3.11.2", "3.11.9", "3.12.9", "3.13.9")
"""One of each kind that the lock tells apart: Debian 12 has 3.11.2, and what came with 3.11.3 is a package there."""

_GLIBC = [f"manylinux_2_{minor}" for minor in range(28, 16, -1)] + ["manylinux2014"]


@dataclass(frozen=True, slots=True)
class System:
    """A kind of laptop: how its Python describes it, and the wheels it takes, the best first."""

    name: str
    os_name: str
    sys_platform: str
    platform_system: str
    platform_machine: str
    wheels: tuple[str, ...]

    def conditions(self, python: str) -> dict[str, str]:
        """What the conditions of a requirement are compared with, under this version of CPython."""
        return {
            "os_name": self.os_name,
            "sys_platform": self.sys_platform,
            "platform_system": self.platform_system,
            "platform_machine": self.platform_machine,
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
            "implementation_version": python,
            "python_version": python.rpartition(".")[0],
            "python_full_version": python,
        }


SYSTEMS = (
    System("Windows", "nt", "win32", "Windows", "AMD64", ("win_amd64",)),
    System("macOS", "posix", "darwin", "Darwin", "arm64", ("macosx_15_0_arm64",)),
    System("Linux", "posix", "linux", "Linux", "x86_64", tuple(f"{glibc}_x86_64" for glibc in _GLIBC)),
    System("Linux on ARM", "posix", "linux", "Linux", "aarch64", tuple(f"{glibc}_aarch64" for glibc in _GLIBC)),
)
"""64 bits each; of Macs those with Apple's processors, from macOS 15: older ones have no wheel of some packages."""


class WheelsMissing(LabError, RuntimeError):
    """pip could not get everything for every laptop."""


def run(systems: Iterable[System] = SYSTEMS, pythons: Iterable[str] = PYTHONS) -> int:
    """Fill `wheelhouse/` in the current folder, and say what to do with it; returns the exit status.

    Raises LabError outside of the project's folder, WheelsMissing if something could not be had.
    """
    pinned = _pinned()
    folder = Path(FOLDER)
    folder.mkdir(exist_ok=True)
    print(f"Filling {FOLDER}/ for every laptop: once, a few minutes", flush=True)
    failed = []
    for python in pythons:
        for system in systems:
            target = f"{system.name}, Python {python}"
            print(f"  {target}", flush=True)
            if said := _download(folder, wanted(pinned, system, python), system, python):
                failed.append(f"{target}: {said}")
    if failed:
        raise WheelsMissing(
            f"expected wheels for every laptop, found some missing; {FOLDER}/ serves the others. Where it was the "
            "network, the same command goes on from here. pip's words:\n" + "\n".join(failed)
        )
    wheels = list(folder.glob("*.whl"))
    size = sum(wheel.stat().st_size for wheel in wheels) // 2**20
    print(
        f"{FOLDER}/ holds {len(wheels)} wheels, {size} MiB. Copy it with the course to each laptop: there, `make lab`"
    )
    print("asks no package index. For Windows without make see README.md, For instructors.")
    return 0


def wanted(pinned: Iterable[str], system: System, python: str) -> Iterator[str]:
    """What such a laptop installs of these requirements: each as `name==version`, without conditions."""
    from packaging.requirements import Requirement

    for line in pinned:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(system.conditions(python)):
            yield f"{requirement.name}{requirement.specifier}"


def _pinned() -> list[str]:
    """The lines of the lock, and what builds the course's own package."""
    try:
        lock = Path("requirements.lock").read_text(encoding="utf-8").splitlines()
        project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LabError(
            f"expected {error.filename} in the current folder, found none; run this in the folder of Channels Lab, "
            "where its Makefile is"
        ) from None
    return [line for line in lock if line.strip()] + project["build-system"]["requires"]


def _download(folder: Path, requirements: Iterable[str], system: System, python: str) -> str:
    """Let pip get these; returns the last line of its complaint, if it has one."""
    known = _of_any_system(folder)
    fetch = [each for each in requirements if each not in known]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--dest", str(folder)]
    pip += ["--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    pip += [f"--platform={wheels}" for wheels in system.wheels]
    done = subprocess.run([*pip, *fetch], capture_output=True, text=True, encoding="utf-8", errors="replace")
    return "" if done.returncode == 0 else done.stderr.strip().rpartition("\n")[2]


def _of_any_system(folder: Path) -> set[str]:
    """What is there already and fits everywhere: pip would ask the index for each of them, every time."""
    from packaging.utils import parse_wheel_filename

    wheels = (parse_wheel_filename(path.name) for path in folder.glob("*-none-any.whl"))
    return {f"{name}=={version}" for name, version, _, _ in wheels}
