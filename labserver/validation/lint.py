"""What can be judged of a notebook without running it: that it was run, is clean, and that its links lead somewhere.

Room: values and the file system; starts nothing. `lint` gives problems, which fail; `untidy` and `style` give notes,
which do not.
"""

import html
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from nbformat import NotebookNode
from nbformat.validator import iter_validate

from .book import NEEDS, TIMING, Problem, is_binary, is_run, labels, marks, not_run

IGNORED_SHARE = 5
"""At most one in so many code cells may have its output ignored."""

CELLS, MEDIAN_LINES, MAX_LINES, WORDS, IN_A_ROW = range(20, 31), (2, 4), 25, (40, 70), 2
"""The lesson's measure: cells; code lines a cell, median and most; words per code cell; code cells in a row."""

_KERNEL_KEYS = {"name", "display_name", "language"}
_HOME = re.compile(
    r"(?:(?<![\w.~:/-])|(?<=file://))/(?:home|root|Users|tmp)/[^\s'\"()]*|\b[A-Za-z]:\\+Users\b[^\s'\"()]*"
)
_FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1[^\n]*$|(`+)(?!`).+?(?<!`)\2(?!`)", re.MULTILINE | re.DOTALL)
_LINKS = (
    re.compile(r"\]\(\s*<?([^)<>\s]+)>?(?:\s+[\"'(][^)]*)?\)"),
    re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?([^<>\s]+)>?", re.MULTILINE),
    re.compile(r"<(?:a|img)\b[^>]*?\b(?:href|src)\s*=\s*[\"']([^\"']+)[\"']", re.IGNORECASE),
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.+?)(?:\s+#+)?\s*$", re.MULTILINE)
_ANCHOR = re.compile(r"<[^>]*?\b(?:id|name)\s*=\s*[\"']([^\"']+)[\"']", re.IGNORECASE)


def lint(notebook: NotebookNode, path: Path, *, outputs: Literal["stored", "none"] = "stored") -> list[Problem]:
    """The problems of a notebook that was read from `path`.

    outputs: `stored` for notebooks that are kept with their outputs, `none` for those that must have none.
    """
    problems = [*_format(notebook), *_ids(notebook)]
    problems += _run(notebook) if outputs == "stored" else _unrun(notebook)
    problems += [*_ignored(notebook), *_links(notebook, path), *_private_paths(notebook)]
    return problems


def _each(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    return zip(labels(notebook.cells), notebook.cells, strict=True)


def untidy(notebook: NotebookNode) -> list[str]:
    """What differs from machine to machine in the file as it was saved, so that saving it again changes it: one note.

    It says nothing about what the notebook claims; `labserver refresh` takes all of it out.
    """
    kernel, found = notebook.metadata.get("kernelspec", {}), []
    if notebook.nbformat_minor < 5:
        found.append(f"format 4.{notebook.nbformat_minor}, in which cells have no ids")
    if set(kernel) != _KERNEL_KEYS or kernel["name"] != "python3":
        found.append("another kernelspec than python3 with its title and language")
    if "version" in notebook.metadata.get("language_info", {}):
        found.append("a Python version")
    if "widgets" in notebook.metadata:
        found.append("the state of widgets")
    if timed := sum(any(key in cell.metadata for key in TIMING) for cell in notebook.cells):
        found.append(f"timing in {timed} cells")
    return [f"saved with {', '.join(found)}: `labserver refresh` makes it the same on every machine"] if found else []


def _format(notebook: NotebookNode) -> Iterator[Problem]:
    minor = min(5, notebook.nbformat_minor)
    for error in iter_validate(notebook, version=4, version_minor=minor):
        if "'id' is a required property" not in error.message:  # told by _ids, with the cell's name
            yield Problem("", f"expected valid nbformat 4.{minor}, found that {error.message.splitlines()[0][:200]}")


def _ids(notebook: NotebookNode) -> Iterator[Problem]:
    uses = Counter(cell.get("id") for cell in notebook.cells)
    for label, cell in _each(notebook) if notebook.nbformat_minor >= 5 else ():
        if "id" not in cell:
            yield Problem(label, "expected a cell id, found none; save the notebook in JupyterLab, which gives ids")
        elif uses[cell.id] > 1:
            yield Problem(label, f"expected a unique cell id, but {uses[cell.id]} cells have it; give the copy another")


def _run(notebook: NotebookNode) -> Iterator[Problem]:
    remedy = "run `labserver refresh` on the notebook"
    expected = 0
    in_order = True
    for label, cell in _each(notebook):
        if not is_run(cell) or marks(cell).skip:
            continue
        expected += 1
        if cell.execution_count is None:
            yield Problem(label, f"expected a cell that has been run, found one that was not; {remedy}")
        elif in_order and cell.execution_count != expected:
            in_order = False  # one report: all that follow are shifted too
            yield Problem(
                label, f"expected counts 1, 2, 3, … in order, found [{cell.execution_count}] for [{expected}]; {remedy}"
            )
        if why := not_run(cell.outputs):
            yield Problem(label, f"expected outputs of a run, found those of a cell that was not run ({why}); {remedy}")
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if errors and not marks(cell).raises:
            yield Problem(
                label,
                f"expected no stored {errors[0].ename}; mend the cell, or tag it raises-exception if it is meant",
            )


def _unrun(notebook: NotebookNode) -> Iterator[Problem]:
    for label, cell in _each(notebook):
        if cell.cell_type == "code" and (cell.outputs or cell.execution_count is not None):
            yield Problem(label, "expected no output and no count, found one; clear all outputs and save")


def _ignored(notebook: NotebookNode) -> Iterator[Problem]:
    code = [(label, marks(cell)) for label, cell in _each(notebook) if is_run(cell)]
    ignored = [(label, mark) for label, mark in code if mark.skip or mark.ignore]
    if len(ignored) * IGNORED_SHARE > len(code):
        yield Problem(
            "",
            f"expected at most 1 in {IGNORED_SHARE} code cells ignored or skipped, "
            f"found {len(ignored)} of {len(code)}; make the output stable instead",
        )
    for label, mark in ignored:
        if not mark.reason:
            yield Problem(
                label,
                "expected a reason for the ignored output, found none; write `# NBVAL_IGNORE_OUTPUT: the reason`, "
                'or "reason" in the cell\'s metadata',
            )


def _links(notebook: NotebookNode, path: Path) -> Iterator[Problem]:
    text = [(label, _FENCE.sub(" ", cell.source)) for label, cell in _each(notebook) if cell.cell_type == "markdown"]
    anchors = set()
    for _, cell in _each(notebook):
        if cell.cell_type == "markdown":
            anchors |= _anchors(cell.source)
    for label, source in text:
        for link in dict.fromkeys(html.unescape(link) for pattern in _LINKS for link in pattern.findall(source)):
            if _SCHEME.match(link):
                continue
            file, _, anchor = map(unquote, link.partition("#"))
            if file and not (path.parent / file.partition("?")[0]).exists():
                yield Problem(label, f"expected a file at {file!r}, seen from the notebook, found none; mend the link")
            elif not file and anchor not in anchors:
                yield Problem(label, f"expected a heading for #{anchor}, found none; the form is #Words-of-the-heading")


def _anchors(source: str) -> set[str]:
    """The anchors in a markdown cell as JupyterLab makes them: the heading's text, with hyphens for spaces."""
    headings = _HEADING.findall(re.sub(r"^(```|~~~).*?^\1", "", source, flags=re.MULTILINE | re.DOTALL))
    plain = [re.sub(r"!?\[([^\]]*)\]\([^)]*\)|[*`]|<[^>]+>", r"\1", heading) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain} | set(_ANCHOR.findall(source))


def _private_paths(notebook: NotebookNode) -> Iterator[Problem]:
    for label, cell in _each(notebook):
        for text in _texts(cell):
            found = _HOME.search(text)
            if found:
                yield Problem(
                    label, f"expected no path of the author's machine, found {found[0][:80]!r}; use a relative path"
                )
                break


def _texts(cell: NotebookNode) -> Iterator[str]:
    """Everything in a cell that people can read."""
    yield cell.source
    for output in cell.get("outputs", ()):
        yield from (output.get(key, "") for key in ("text", "evalue"))
        yield "\n".join(output.get("traceback", ()))
        yield from (str(value) for mime, value in output.get("data", {}).items() if not is_binary(mime))


def style(notebook: NotebookNode) -> list[str]:
    """Where a lesson leaves the measure of a good one; a note each, with the measure."""
    code = [cell for cell in notebook.cells if is_run(cell)]
    if not code:
        return []
    lines = [len(_code_lines(cell)) for cell in code]
    words = sum(len(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown") / len(code)
    median, row = statistics.median(lines), _longest_row(notebook)
    notes = []
    if len(notebook.cells) not in CELLS:
        notes.append(f"{len(notebook.cells)} cells (measure: {CELLS[0]}–{CELLS[-1]})")
    if not MEDIAN_LINES[0] <= median <= MEDIAN_LINES[1]:
        notes.append(f"a median of {median:g} code lines a cell (measure: {MEDIAN_LINES[0]}–{MEDIAN_LINES[1]})")
    if max(lines) > MAX_LINES:
        notes.append(f"a code cell of {max(lines)} lines (measure: at most {MAX_LINES})")
    if not WORDS[0] <= words <= WORDS[1]:
        notes.append(f"{words:.0f} words of prose per code cell (measure: {WORDS[0]}–{WORDS[1]})")
    if row > IN_A_ROW:
        notes.append(f"{row} code cells in a row (measure: at most {IN_A_ROW})")
    return notes


def _code_lines(cell: NotebookNode) -> list[str]:
    """The lines that are code: a first line that says what the cell needs is none."""
    first, *rest = cell.source.splitlines()
    return [line for line in [first * (not first.startswith(NEEDS)), *rest] if line.strip()]


def _longest_row(notebook: NotebookNode) -> int:
    longest = row = 0
    for cell in notebook.cells:
        row = row + 1 if cell.cell_type == "code" else 0
        longest = max(longest, row)
    return longest
