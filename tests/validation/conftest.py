"""Small notebooks, written as a front end would have stored them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from nbformat import NotebookNode, v4

from labserver.validation import refresh
from labserver.validation.book import is_run, marks


class Book:
    """Writes notebooks into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def code(self, source: str, *outputs: NotebookNode, tags: Sequence[str] = (), **metadata: str) -> NotebookNode:
        """A code cell that has been run, with these outputs."""
        if tags:
            metadata["tags"] = list(tags)
        return v4.new_code_cell(source, outputs=list(outputs), metadata=metadata, execution_count=0)

    def text(self, source: str) -> NotebookNode:
        return v4.new_markdown_cell(source)

    def write(self, name: str, *cells: NotebookNode | str) -> Path:
        """A notebook of these cells, numbered; a string is a code cell that printed nothing."""
        cells = [self.code(cell) if isinstance(cell, str) else cell for cell in cells]
        count = 0
        for position, cell in enumerate(cells):
            cell["id"] = f"id{position}"
            if is_run(cell) and not marks(cell).skip and cell.execution_count is not None:
                count += 1
                cell.execution_count = count
            elif cell.cell_type == "code":
                cell.execution_count = None
        metadata = {"kernelspec": refresh.KERNELSPEC, "language_info": refresh.LANGUAGE}
        path = self.folder / f"{name}.ipynb"
        path.write_text(v4.writes(v4.new_notebook(cells=cells, metadata=metadata)) + "\n", encoding="utf-8")
        return path


def printed(text: str, name: str = "stdout") -> NotebookNode:
    """The output of a print."""
    return v4.new_output("stream", name=name, text=text)


def result(text: str, count: int = 1, **data: str) -> NotebookNode:
    """The output of an expression."""
    return v4.new_output("execute_result", data={"text/plain": text, **data}, execution_count=count)


def raised(name: str, text: str) -> NotebookNode:
    """The output of an exception."""
    return v4.new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"])


def needy(book: Book, name: str = "needy") -> Path:
    """A notebook with cells that need a program nobody has: its stored outputs are those of a run elsewhere."""
    shows = book.code(
        "%%needs no-such-program\nprint(await serve())\n6 * 7",
        printed("serving at http://127.0.0.1:8000\n"),
        v4.new_output("display_data", data={"text/plain": "a picture"}),
        result("42", 2),
    )
    fails = book.code("%%needs no-such-program\nawait get()", raised("InvalidStatus", "HTTP 502"))
    fails.metadata["tags"] = ["raises-exception"]
    quiet = "%%needs python no-such-program\nstop()"
    return book.write(name, "%load_ext labserver", shows, fails, book.code("%%needs python\n1", result("1", 4)), quiet)


@pytest.fixture(scope="module", autouse=True)
def unmeasured_kernels() -> Iterator[None]:
    """Coverage stays out of kernels: all of the room's code is measured here, and kernels start twice as fast."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Book]:
    """Folders that all tests of a module share, so that one run can serve many tests."""
    return lambda name: Book(tmp_path_factory.mktemp(name))
