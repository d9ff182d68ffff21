"""`%%needs nginx gunicorn` in the first line of a cell: where such a program is missing, the cell shows what is stored.

Room: IPython, and the notebook files of the kernel's folder. `%load_ext labserver` puts it to work.

It changes a cell's source before Python sees it, and is no magic function, because the body of a magic cannot await.
Where the programs are there, the line becomes a comment, and all lines keep their numbers. Where one is missing, the
cell becomes a call of `instead`: a notice, then the outputs that are stored with a cell of the same source. The notice
has the metadata `{"labserver": "not run"}`, by which `labserver validate` knows it, and by which it is left out where a
front end has stored it.
"""

import html
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labserver.live.programs import CommandMissing, how_to_get, missing

MARK = "%%needs"
NOT_RUN = {"labserver": "not run"}
"""The metadata of a notice. `labserver.validation.book` knows it too, and imports nothing of this room."""


def register(shell: Any) -> None:
    """Teach an IPython shell the line; a second call does nothing."""
    transformers = shell.input_transformers_cleanup
    if transform not in transformers:
        transformers.append(transform)  # behind those that take off empty lines, before the one for magics

    def forget(result: Any) -> None:
        """IPython prints a line when a cell loads an extension again; a cell has to show the same each time."""
        shell.extension_manager.loaded.discard("labserver")
        shell.events.unregister("post_run_cell", forget)

    shell.events.register("post_run_cell", forget)  # it is noted as loaded after this function


def transform(lines: list[str]) -> list[str]:
    """The lines of a cell as they are to be run; a cell without the mark stays as it is."""
    first, *rest = lines or [""]
    word, *names = first.split() or [""]
    if word != MARK:
        return lines
    if not missing(names):
        return [f"# {first}", *rest]
    call = f"__import__('importlib').import_module({__name__!r}).instead({names!r}, {''.join(lines)!r})"
    return [call + "\n"]


def instead(names: Sequence[str], source: str) -> "Stored | None":
    """Show the notice and the stored outputs of the cell with this source, whose programs `names` are not all here.

    Returns what the cell's last expression had shown, if it had one. Raises what the cell had raised. Raises
    CommandMissing if LABSERVER_REQUIRE_ALL is 1.
    """
    absent = missing(names)
    reason = "; ".join(f"{name} is not installed here" for name in absent)
    ways = [f"To get {name}: {how_to_get(name)}." for name in absent]
    if os.environ.get("LABSERVER_REQUIRE_ALL") == "1":
        raise CommandMissing(f"expected {', '.join(names)} for this cell, found that {reason}. {' '.join(ways)}")
    outputs = stored_outputs(source, Path.cwd())
    if outputs is None:
        last = "This cell was not run, and the notebooks of this folder hold no outputs of it."
    else:
        last = "This cell was not run; below is what it shows where it is." if outputs else "This cell was not run."
    _display({"text/plain": "\n".join([f"{reason}.", *ways, last]), "text/html": _page(reason, ways, last)}, NOT_RUN)
    return _show(outputs or [])


def stored_outputs(source: str, folder: Path) -> list[dict[str, Any]] | None:
    """The outputs of the code cell with this source in the notebooks of a folder, without notices; None if none has it.

    Of several such cells the first one that has outputs counts. Files that are no notebooks are passed over.
    """
    found = None
    for path in sorted(folder.glob("*.ipynb")):
        for cell in _cells(path):
            if cell.get("cell_type") == "code" and _text(cell.get("source", "")).strip() == source.strip():
                found = [output for output in cell.get("outputs", []) if output.get("metadata") != NOT_RUN]
                if found:
                    return found
    return found


def _cells(path: Path) -> list[dict[str, Any]]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, LookupError, TypeError):  # half written, or no notebook of format 4
        return []


def _text(value: str | list[str]) -> str:
    """A text of a notebook file, which may be cut into lines."""
    return value if isinstance(value, str) else "".join(value)


def _page(reason: str, ways: Sequence[str], last: str) -> str:
    lines = "<br>".join(map(html.escape, [*ways, last]))
    return (
        '<div style="border:1px solid currentColor;border-left-width:6px;border-radius:6px;padding:6px 12px">'
        f"<b>{html.escape(reason)}.</b><br>{lines}</div>"
    )


def _display(data: dict[str, Any], metadata: dict[str, Any]) -> None:
    from IPython.display import display

    display(data, metadata=metadata, raw=True)


def _show(outputs: Sequence[dict[str, Any]]) -> "Stored | None":
    """Show outputs of a notebook file as what they were; returns the last one if it was an expression's value."""
    for place, output in enumerate(outputs, 1):
        kind = output["output_type"]
        if kind == "stream":
            print(_text(output["text"]), end="", file=sys.stderr if output["name"] == "stderr" else sys.stdout)
        elif kind == "error":
            raise _raised(output)
        elif kind == "execute_result" and place == len(outputs):
            return Stored(_data(output), output.get("metadata", {}))
        else:
            _display(_data(output), output.get("metadata", {}))
    return None


def _data(output: dict[str, Any]) -> dict[str, Any]:
    data = output["data"].items()
    return {mime: value if "json" in mime else _text(value) for mime, value in data}


class Stored:
    """A stored value of an expression, which shows what it showed."""

    def __init__(self, data: dict[str, Any], metadata: dict[str, Any]):
        self._bundle = data, metadata

    def __repr__(self) -> str:
        return self._bundle[0].get("text/plain", "<stored output>")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._bundle


def _raised(output: dict[str, Any]) -> Exception:
    """An exception of the stored name and text, which IPython shows with the stored traceback."""
    lines = list(output["traceback"])
    kind = type(output["ename"], (Exception,), {"_render_traceback_": lambda self: lines})
    return kind(output["evalue"])
