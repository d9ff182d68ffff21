"""`labserver exercises --write | --check`: the learner's notebooks, derived from the solutions, their single source.

Room: notebook files in two folders, of which it writes one; of labserver it knows the errors alone, and it runs
nothing. A misspelt marker, or an answer that another cell gives away, is an error and never a guess.

    ### BEGIN SOLUTION: send it back            <!-- BEGIN SOLUTION -->
    await self.send(text_data)                  Because the browser hides the reason.
    ### END SOLUTION                            <!-- END SOLUTION -->

becomes `...  # your code here: send it back` in code and `*Your answer here.*` in text. The markers are nbgrader's
(https://nbgrader.readthedocs.io), so its users know them; the hint after the colon is ours.
"""

import ast
import difflib
import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from itertools import permutations
from pathlib import Path
from urllib.parse import quote

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from nbformat.validator import iter_validate

from labserver.errors import ExerciseError

TELLING = 12
"""A line of a solution this long may be an answer; shorter ones (`else:`, `pass`) stand in any program."""

KEPT = ("deletable", "editable", "reason", "tags")
"""Cell metadata that authors set; all else is what front ends remember of a session."""

_WORDS = r"(?:BEGIN\s+SOLUTION\s*(?::\s*(?P<hint>.*?))?|(?P<end>END\s+SOLUTION))"
_CODE = re.compile(rf"(?P<indent>[ \t]*)###\s*{_WORDS}\s*", re.IGNORECASE)
_TEXT = re.compile(rf"(?P<indent>[ \t]*)<!--\s*{_WORDS}\s*-->\s*", re.IGNORECASE)
_ALIKE = re.compile(r"\b(?:BEGIN|END)[\W_]*SOLUTION")
_COMMENT = re.compile(r"#+|<!--")
_PAIR = re.compile(r"^[\W\d_]*([^\W\d_]+)[\W\d_]+([^\W\d_]+)")


@dataclass(slots=True)
class _Cell:
    """A cell taken apart; lines are kept with their numbers in the solution, which is where an author mends them."""

    node: NotebookNode
    place: str
    shown: list[tuple[int, str]] = field(default_factory=list)
    hidden: list[list[tuple[int, str]]] = field(default_factory=list)  # by region
    marked: bool = False

    @property
    def is_code(self) -> bool:
        return self.node.cell_type == "code"

    @property
    def source(self) -> str:
        return "\n".join(line for _, line in self.shown)

    def error(self, number: int, text: str) -> ExerciseError:
        return ExerciseError(f"{self.place}, line {number}: {text}")


def derive(notebook: NotebookNode, where: str) -> NotebookNode:
    """The learner's notebook: stubs for the marked regions, no outputs, and nothing that differs from run to run.

    where: what errors call the file. Raises ExerciseError if a marker is misspelt, nested or without its other half,
    if a stub does not parse, or if an answer stands in another cell.
    """
    notebook, cells = deepcopy(notebook), []
    for position, node in enumerate(notebook.cells):
        # the id that `labserver refresh` would give, so that it makes no difference which of them runs first
        name = node.get("id") or hashlib.sha256(f"{position} {node.source}".encode()).hexdigest()[:8]
        cell = _Cell(NotebookNode(node, id=name), f"{where}, cell {name}")
        _split(cell)
        if cell.marked and cell.is_code:
            _parse(cell)
        cells.append(cell)
    _search(cells)
    metadata = NotebookNode()
    if "kernelspec" in notebook.metadata:
        metadata.kernelspec = notebook.metadata.kernelspec
    if "name" in notebook.metadata.get("language_info", {}):
        metadata.language_info = NotebookNode(name=notebook.metadata.language_info.name)
    return NotebookNode(nbformat=4, nbformat_minor=5, metadata=metadata, cells=[_built(cell) for cell in cells])


def _split(cell: _Cell) -> None:
    """Sort the lines of a cell into shown and hidden, with a stub for each region."""
    opened = 0
    for number, line in enumerate(re.sub(r"\r\n?", "\n", cell.node.source).split("\n"), 1):
        marker = (_CODE if cell.is_code else _TEXT).fullmatch(line)
        if marker and marker["end"]:
            if not opened:
                raise cell.error(number, "expected BEGIN SOLUTION above, found END SOLUTION alone; add or remove one")
            opened = 0
            continue
        if marker:
            if opened:
                found = f"expected END SOLUTION for line {opened}, found another BEGIN SOLUTION"
                raise cell.error(number, f"{found}; close the first region, regions do not nest")
            opened, cell.marked = number, True
            cell.hidden.append([])
            hint = f": {marker['hint']}" if marker["hint"] else ""
            stub = f"...  # your code here{hint}" if cell.is_code else f"*Your answer here{hint or '.'}*"
            line = marker["indent"] + stub
        if _is_alike(line):  # a hint too must not look like a marker to the next reader
            form = "### {} SOLUTION" if cell.is_code else "<!-- {} SOLUTION -->"
            expected = f"expected `{form.format('BEGIN')}` or `{form.format('END')}` alone on a line"
            raise cell.error(number, f"{expected}, found `{line.strip()}`; spell it so, or use other words")
        (cell.hidden[-1] if opened and not marker else cell.shown).append((number, line))
    if opened:
        raise cell.error(opened, "expected END SOLUTION below BEGIN SOLUTION, found the end of the cell; close it")


def _is_alike(line: str) -> bool:
    """Whether somebody may have meant this line as a marker: the words in capitals, or nearly so in a comment."""
    comments = [comment.upper() for comment in _COMMENT.split(line)[1:]]
    if any(_ALIKE.search(part) for part in (line, *comments)):
        return True
    near = partial(difflib.get_close_matches, cutoff=0.75)
    pairs = [pair for comment in comments for pair in _PAIR.findall(comment)]
    return any(near(first, ["BEGIN", "END"]) and near(second, ["SOLUTION"]) for first, second in pairs)


def _parse(cell: _Cell) -> None:
    """Compile what the kernel would compile, magics and top-level `await` included."""
    source = cell.source
    blank = source[: len(source) - len(source.lstrip())].count("\n")  # IPython drops the blank lines at the top
    try:
        with warnings.catch_warnings(action="ignore"):
            python = TransformerManager().transform_cell(source)
            compile(python, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError) as error:  # ValueError: a null byte, before Python 3.12
        number = min((getattr(error, "lineno", None) or 1) + blank, len(cell.shown))
        raise cell.error(
            cell.shown[number - 1][0],
            f"expected the cell to parse with stubs in place of its regions, found {type(error).__name__}: "
            f"{error.args[0]}; move the markers, so that each region is whole statements at the marker's indentation",
        ) from error


def _search(cells: Sequence[_Cell]) -> None:
    """Look for the whole of each region in all other cells: one line of several may be what any program says."""
    for cell, other in permutations(cells, 2):
        for region in cell.hidden:
            answers = [(number, line.strip()) for number, line in region if _tells(cell, line.strip())]
            found = [next((at for at, given in other.shown if answer in given), 0) for _, answer in answers]
            if found and all(found):
                number, answer = answers[0]
                raise other.error(
                    found[0],
                    f"expected no answer outside its region, found `{answer}` of cell {cell.node.id}, line {number}; "
                    "reword it here, or move it out of the region there",
                )


def _tells(cell: _Cell, line: str) -> bool:
    return len(line) >= TELLING and not (cell.is_code and line.startswith("#"))


def _built(cell: _Cell) -> NotebookNode:
    """The cell as the learner gets it, made new, so that nothing comes along unasked."""
    node, source = cell.node, cell.source
    metadata = NotebookNode({key: node.metadata[key] for key in KEPT if key in node.metadata})
    built = NotebookNode(cell_type=node.cell_type, id=node.id, metadata=metadata, source=source)
    if cell.is_code:
        built.update(outputs=[], execution_count=None)
    # a picture that only the solution shows is part of the solution
    pictures = node.get("attachments", {}).items()
    if pictures := {name: data for name, data in pictures if name in source or quote(name) in source}:
        built.attachments = NotebookNode(pictures)
    return built


def text(path: Path) -> str:
    """The text of the exercise file for one solution file: for the same solution always the same.

    Raises ExerciseError as `derive` does, and if the file is not a notebook of format 4.
    """
    try:
        content = json.loads(path.read_bytes())
        json.dumps(content, ensure_ascii=False).encode()  # half a surrogate pair is JSON, but cannot be written
        for error in iter_validate(content, version=4, version_minor=4, relax_add_props=True):
            raise ValueError(f"{'/'.join(map(str, error.path))} {error.message.splitlines()[0][:200]}")
    except (OSError, ValueError) as error:
        raise ExerciseError(
            f"expected a notebook in JSON (nbformat 4) in {path.as_posix()}, found {type(error).__name__}: {error}; "
            "restore the file from version control, or save it again from JupyterLab"
        ) from error
    return nbformat.v4.writes(derive(nbformat.v4.reads(json.dumps(content)), path.as_posix())) + "\n"


def _survey(solutions: Path, exercises: Path) -> Iterator[tuple[Path, str, bytes]]:
    """Each exercise in order of name: its path, what is wrong, the bytes to write; none if only the author can mend."""
    sources, present = ({path.name for path in folder.glob("[!.]*.ipynb")} for folder in (solutions, exercises))
    for name in sorted(sources | present):
        exercise = exercises / name
        expected = f"expected {exercise.as_posix()} to be derived from {(solutions / name).as_posix()}"
        try:
            if name not in sources:
                raise ExerciseError(f"{expected}, found no such solution; write it, or delete the exercise")
            content = text(solutions / name).encode()
        except ExerciseError as error:
            yield exercise, str(error), b""
            continue
        found = "a stale one" if exercise.exists() else "none"
        fresh = exercise.is_file() and exercise.read_bytes() == content
        told = f"{expected}, found {found}; run `labserver exercises --write`"
        yield (exercise, "", b"") if fresh else (exercise, told, content)


def _store(path: Path, content: bytes) -> Path:
    """Write the file in one step, so that nobody ever finds half of it; returns its path."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            fresh.write_bytes(content)
            os.replace(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        return path
    except OSError as error:
        raise ExerciseError(
            f"expected to write {path.as_posix()}, found {type(error).__name__}: {error.strerror}; "
            "see to the permissions, and that no file or folder of that name is in the way"
        ) from error


def write(solutions: Path, exercises: Path) -> list[Path]:
    """Write each exercise that is missing or stale; returns those files.

    Raises ExerciseError with a line for each solution in error and each orphan, after all others are written.
    """
    states = list(_survey(solutions, exercises))
    changed = [_store(path, content) for path, _, content in states if content]
    if problems := [problem for _, problem, content in states if problem and not content]:
        raise ExerciseError("\n".join(problems))
    return changed


def check(solutions: Path, exercises: Path) -> list[str]:
    """What is wrong with the exercises, a line each: stale, missing, without a solution, or the solution in error."""
    return [problem for _, problem, _ in _survey(solutions, exercises) if problem]


def run(write: bool, solutions: str = "solutions", exercises: str = "exercises") -> int:
    """The command: write or check, a line for each file. Returns the exit status: 0 good, 1 something is wrong.

    Raises ExerciseError if a file cannot be written.
    """
    words = []
    for path, problem, content in _survey(Path(solutions), Path(exercises)):
        word = "written" if write and content else "FAIL" if problem else "unchanged"
        if word == "written":
            _store(path, content)
        print(f"{word:9}  {path.as_posix()}" + (f"  {problem}" if word == "FAIL" else ""), flush=True)
        words.append(word)
    if not words:
        print("no exercises yet")
    return int("FAIL" in words)
