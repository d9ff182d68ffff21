"""Notebooks as values: files found and read, cells named and marked, outputs in the form in which they are compared.

Room: nbformat and the file system; starts no kernel. Lint, comparison, run-twice and refresh all stand on these
functions, so "the same output" means one thing everywhere; `difference` shows where two are not.
"""

import glob
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.validator import iter_validate

from labserver.errors import ValidationError

TIMING = ("execution", "ExecuteTime")
"""Cell metadata of front ends that record when a cell ran."""

NEEDS = "%%needs"
"""How a cell begins that is run only where some programs are installed; see `labserver.course.needs`."""

NOT_RUN = {"labserver": "not run"}
"""The metadata of the output by which such a cell tells that it was not run, and that what follows is as stored."""

_LOOPBACK = re.compile(r"\b(127\.0\.0\.1|localhost):\d{1,5}\b")
_PROXY = re.compile(r"/proxy/\d{1,5}(?=/)")
_CELL = re.compile(r"(?:(?<=[\s'\"(])|^)[^\s'\"(]*ipykernel_\d+[/\\]+\d+\.py")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_COMMENT = re.compile(r"^\s*#+\s*NBVAL_(SKIP|IGNORE_OUTPUT|RAISES_EXCEPTION)\s*(?::\s*(.*?)\s*)?$", re.MULTILINE)
_TAGS = {
    "nbval-skip": "SKIP",
    "nbval-ignore-output": "IGNORE_OUTPUT",
    "nbval-raises-exception": "RAISES_EXCEPTION",
    "raises-exception": "RAISES_EXCEPTION",
}
_WIDGET = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a notebook fails.

    where: the cell, as `labels` names it, or an empty string for the notebook as a whole.
    text: the first line says what was expected and found; further lines are evidence.
    """

    where: str
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one phase found in one notebook. Notes are told and do not fail.

    skipped: whether nothing was run, since the phase before has failed. hits: by rule of the sanitize file, how often
    it has matched, and how often too much.
    """

    notebook: Path
    phase: str
    seconds: float
    problems: Sequence[Problem] = ()
    notes: Sequence[str] = ()
    skipped: bool = False
    hits: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Marks:
    """What a cell asks of its validators, by nbval's tags or comments (https://nbval.readthedocs.io)."""

    skip: bool = False
    ignore: bool = False
    raises: bool = False
    reason: str = ""


def find(patterns: Iterable[str]) -> list[Path]:
    """The notebooks that paths, folders and globs name, each once, in order.

    Hidden folders inside a folder (`.ipynb_checkpoints`, `.venv`) are passed over.
    Raises ValidationError for a pattern without a notebook.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            inside = [book.relative_to(path) for book in path.rglob("*.ipynb")]
            books = [path / book for book in inside if not any(part.startswith(".") for part in book.parts)]
        else:
            books = [path] if path.exists() else [Path(name) for name in glob.glob(pattern, recursive=True)]
            books = [book for book in books if book.suffix == ".ipynb"]
        if not books:
            raise ValidationError(
                f"expected a notebook (*.ipynb), a folder of notebooks or a glob, but found none at {pattern!r}; "
                f"check the spelling, paths are taken from {os.curdir!r}, the folder you are in"
            )
        found |= dict.fromkeys(sorted(books))
    return list(found)


def read(path: Path) -> NotebookNode:
    """The notebook in a file, as it stands: nothing is repaired or upgraded.

    Raises ValidationError if the file is not JSON, or not a notebook of format 4
    (https://nbformat.readthedocs.io/en/latest/format_description.html).
    """
    expected = f"expected a notebook in JSON (nbformat 4) in {shown(path)}"
    repair = "restore the file from version control, or save it again from JupyterLab"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValidationError(f"{expected}, but found {type(error).__name__}: {error}; {repair}") from error
    if not isinstance(content, dict) or content.get("nbformat") != 4:
        raise ValidationError(f"{expected}, but found other data; {repair}")
    # the looser schema of 4.4, because a missing cell id is for the lint to tell
    for error in iter_validate(content, version=4, version_minor=4, relax_add_props=True):
        place = "/".join(map(str, error.path)) or "the notebook"
        raise ValidationError(f"{expected}, but found at {place}: {error.message.splitlines()[0][:200]}; {repair}")
    return nbformat.v4.reads(json.dumps(content))


def shown(path: Path) -> str:
    """A path as people write it: from the current folder if the file is inside it."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)


def language(notebook: NotebookNode) -> str:
    """The language of the cells, in lower case, as the notebook says itself; `python` if it does not."""
    told = notebook.metadata.get("kernelspec", {}).get("language") or notebook.metadata.get("language_info", {}).get(
        "name"
    )
    return str(told or "python").lower()


def is_run(cell: NotebookNode) -> bool:
    """Whether the cell is code that a kernel would run and count."""
    return cell.cell_type == "code" and bool(cell.source.strip())


def labels(cells: Sequence[NotebookNode]) -> list[str]:
    """A name for each cell. Code cells bear the number that JupyterLab shows as [7]; empty ones have none."""
    names, code, text = [], 0, 0
    for cell in cells:
        if is_run(cell):
            code += 1
            name = f"cell {code}"
        elif cell.cell_type == "code":
            name = f"empty cell after cell {code}"
        else:
            text += 1
            name = f"{cell.cell_type} cell {text}"
        names.append(f"{name} (id {cell.get('id', 'missing')})")
    return names


def marks(cell: NotebookNode) -> Marks:
    """The marks of a code cell: tags in its metadata, or comments on lines of their own.

    The reason for a skip or an ignored output stands in the cell's metadata as `reason`, or after the comment:
    `# NBVAL_IGNORE_OUTPUT: the clock`.
    """
    comments = _COMMENT.findall(cell.source)
    names = {name for name, _ in comments} | {_TAGS.get(tag) for tag in cell.metadata.get("tags", ())}
    reasons = [str(cell.metadata.get("reason", "")), *(reason for _, reason in comments)]
    return Marks(
        skip="SKIP" in names,
        ignore="IGNORE_OUTPUT" in names,
        raises="RAISES_EXCEPTION" in names,
        reason=next((reason for reason in reasons if reason.strip()), ""),
    )


def plain(text: str) -> str:
    """Text without terminal colours."""
    return _ANSI.sub("", text)


def sanitize(value: Any, hide: Callable[[str], str] = str) -> Any:
    """The value without what is another on every run: each loopback port is PORT, the file of a cell is <cell>.

    A kernel names a cell's file after its process; warnings and tracebacks tell it. hide: what takes more out of each
    text; see `rules`.
    """
    if isinstance(value, str):
        return hide(_CELL.sub("<cell>", _PROXY.sub("/proxy/PORT", _LOOPBACK.sub(r"\1:PORT", value))))
    if isinstance(value, dict):
        return {key: sanitize(item, hide) for key, item in value.items()}
    if isinstance(value, list):
        return [sanitize(item, hide) for item in value]
    return value


def not_run(outputs: Iterable[NotebookNode]) -> str:
    """Why a cell was not run, if it says so; else an empty string."""
    notices = [output.data.get("text/plain", "") for output in outputs if output.get("metadata") == NOT_RUN]
    return "; ".join(notice.partition("\n")[0].removesuffix(".") for notice in notices)


def is_binary(mime: str) -> bool:
    """Whether the type is a picture in base64, whose bytes depend on the library that drew it."""
    return mime == "application/pdf" or (mime.startswith("image/") and mime != "image/svg+xml")


@dataclass(slots=True)
class _Streams:
    """Prints between two other outputs, gathered by stream."""

    texts: dict[str, str] = field(default_factory=dict)

    def flush(self, into: list[NotebookNode]) -> None:
        # stdout first: the kernel sends the two streams independently, so their order is chance
        for name in sorted(self.texts, reverse=True):
            into.append(nbformat.v4.new_output("stream", name=name, text=_returned(self.texts[name])))
        self.texts.clear()


def _returned(text: str) -> str:
    """The text as a terminal leaves it: what stands before a carriage return is written over."""
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


def merge_streams(outputs: Iterable[NotebookNode]) -> list[NotebookNode]:
    """The outputs with prints joined: how a kernel cuts a stream into messages is chance.

    Between two other outputs there is at most one output for stdout and then one for stderr; the order of prints and
    displays stays, because the kernel flushes its streams before it displays.
    """
    merged: list[NotebookNode] = []
    streams = _Streams()
    for output in outputs:
        if output.output_type == "stream":
            streams.texts[output.name] = streams.texts.get(output.name, "") + output.text
        else:
            streams.flush(merged)
            merged.append(output)
    streams.flush(merged)
    return merged


def canonical(outputs: Iterable[NotebookNode], hide: Callable[[str], str] = str) -> list[dict[str, Any]]:
    """The outputs as they are compared; `hide` takes more out of each text, as in `sanitize`.

    Streams are joined, loopback ports are PORT, files of cells <cell>, an error is its name and text, a picture in
    base64 and a widget only have to exist. Execution counts, metadata, tracebacks and the notice of a cell that was not
    run do not count.
    """
    return [_canonical(output, hide) for output in merge_streams(o for o in outputs if o.get("metadata") != NOT_RUN)]


def _canonical(output: NotebookNode, hide: Callable[[str], str]) -> dict[str, Any]:
    if output.output_type == "stream":
        return {output.name: sanitize(output.text, hide)}
    if output.output_type == "error":
        return {"error": sanitize(f"{output.ename}: {output.evalue}", hide)}
    form: dict[str, Any] = {output.output_type: ""}
    for mime, value in sorted(output.data.items()):
        if is_binary(mime) or mime == _WIDGET:
            form[mime] = "present" if value else "empty"
        else:
            form[mime] = sanitize(value, hide)
    return form
