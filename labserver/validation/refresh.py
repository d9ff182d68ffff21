"""`labserver refresh PATH…`: notebooks are run again and stored with their outputs, the same bytes each time.

Room: kernels through `session`, notebooks through `book`, and the notebook files, which it alone writes. A notebook in
which a cell fails unexpectedly stays as it is, and so does one with a cell that needs (`%%needs`) what is not here.

What is stored is what the learner sees, less what differs from run to run: loopback ports (written PORT), the file of
a cell (<cell>), how prints were cut, colours and folders in tracebacks, timing, the Python version, widget state.
Outputs that are marked as ignored differ by their nature and are kept as stored; delete them to get new ones.
"""

import asyncio
import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from labserver.errors import ValidationError

from .book import TIMING, find, is_run, labels, language, marks, merge_streams, plain, read, sanitize, shown
from .session import Kernel, together

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}
ALL = {"LABSERVER_REQUIRE_ALL": "1"}
"""The environment of its kernels: a program that a cell needs has to be there."""

_FRAME = re.compile(r"""(?:(?<=File )|(?<=File "))[^"\n]*?[/\\][^"\n]*?\.py(?=:\d|", line \d)""")


def refresh(paths: Sequence[str], *, timeout: float = 30, workers: int | None = None) -> int:
    """Run notebooks again and store their outputs; prints a line for each.

    paths: notebooks, folders, globs. timeout: seconds a cell may take. Returns the exit status: 0 if all were
    stored, 1 if a notebook failed and was left alone, 2 if the paths name no notebooks.
    """
    try:
        notebooks = {path: read(path) for path in find(paths)}
    except ValidationError as error:
        print(error, file=sys.stderr)
        return 2
    free = asyncio.Semaphore(workers or 2 * (os.cpu_count() or 1))

    async def job(path: Path, notebook: NotebookNode) -> bool:
        async with free:
            start = time.monotonic()
            try:
                changed = store(path, await rendered(notebook, path.resolve().parent, timeout))
            except ValidationError as error:
                print(f"FAIL       {shown(path)} {error}", flush=True)
                return False
            word = "refreshed" if changed else "unchanged"
            print(f"{word}  {shown(path)}  {time.monotonic() - start:.1f} s", flush=True)
            return True

    return 0 if all(together(*(job(path, notebook) for path, notebook in notebooks.items()))) else 1


async def rendered(notebook: NotebookNode, folder: Path, timeout: float) -> str:
    """The text of the notebook file after a fresh run.

    folder: where the kernel runs. timeout: seconds a cell may take. Raises CellFailed if a cell raises without the
    tag `raises-exception`, does not raise with it, or does not end; ValidationError for cells in another language.
    """
    if language(notebook) != "python":
        raise ValidationError(f"expected cells in Python, found {language(notebook)}: it is left as it is")
    fresh = normalized(notebook)
    async with Kernel(folder, timeout, ALL) as kernel:
        for label, cell in zip(labels(fresh.cells), fresh.cells, strict=True):
            if is_run(cell) and not marks(cell).skip:
                await _run(kernel, label, cell)
    return nbformat.v4.writes(fresh) + "\n"


async def _run(kernel: Kernel, label: str, cell: NotebookNode) -> None:
    """Run the cell and put what is to be stored into it."""
    done = await kernel.run_marked(label, cell)
    keep = marks(cell).ignore and cell.outputs
    cell.execution_count = done.execution_count
    cell.outputs = cell.outputs if keep else [stored(output) for output in merge_streams(done.outputs)]
    for output in cell.outputs:
        if output.output_type == "execute_result":
            output.execution_count = done.execution_count


def stored(output: NotebookNode) -> NotebookNode:
    """An output as it is stored: the same for each run."""
    if output.output_type == "error":
        output = NotebookNode(output, traceback=[stable_traceback(line) for line in output.traceback])
    return nbformat.from_dict(sanitize(output))


def stable_traceback(text: str) -> str:
    """A traceback without colours, and with its files named from their package: `channels/consumer.py`."""
    return _FRAME.sub(lambda frame: _from_package(Path(frame[0])), plain(text))


def _from_package(path: Path) -> str:
    file = path.expanduser()
    root = file.parent
    if root.name.startswith("ipykernel_"):  # a cell, in a folder named after the process
        return "<cell>"
    while (root / "__init__.py").exists():
        root = root.parent
    return file.relative_to(root).as_posix()


def normalized(notebook: NotebookNode) -> NotebookNode:
    """A copy with an id in every cell and only such metadata as is the same on every machine."""
    fresh = deepcopy(notebook)
    fresh.nbformat_minor = max(fresh.nbformat_minor, 5)
    fresh.metadata.kernelspec = NotebookNode(KERNELSPEC)
    fresh.metadata.language_info = NotebookNode(LANGUAGE)
    fresh.metadata.pop("widgets", None)
    for position, cell in enumerate(fresh.cells):
        cell.setdefault("id", hashlib.sha256(f"{position} {cell.source}".encode()).hexdigest()[:8])
        for key in TIMING:
            cell.metadata.pop(key, None)
        if cell.cell_type == "code" and (not is_run(cell) or marks(cell).skip):
            cell.execution_count = None
    return fresh


def store(path: Path, text: str) -> bool:
    """Write a notebook file in one step, so that nobody ever finds half of it. Returns whether it changed."""
    target = path.resolve()  # a link stays a link
    content = text.encode()
    if target.read_bytes() == content:
        return False
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        shutil.copymode(target, name)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
    return True
