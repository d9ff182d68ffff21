"""Notebooks that work once and not twice."""

import pytest

from labserver.validation import ledger
from labserver.validation.book import read
from labserver.validation.rerun import rerun

from .conftest import needy


@pytest.fixture(scope="module")
def verdicts(shelf):
    """What run-twice says of each notebook, by stem."""
    book = shelf("rerun")
    thread = "import threading\nthreading.Thread(target=threading.Event().wait, name='left', daemon=True).start()"
    listen = "import socket\ntaken = globals().get('taken') or socket.create_server(('127.0.0.1', 0))"
    paths = [
        book.write(
            "right",
            "import itertools, threading, sys",
            book.code("print('port 127.0.0.1:%d' % (8000 + id(object()) % 9))"),
            book.code("print(object())", tags=["nbval-ignore-output"]),
            book.code("import os; os._exit(1)", tags=["nbval-skip"]),
            book.code("raise ValueError('x')", tags=["raises-exception"]),
            book.code(""),
            "print(1); print(2, file=sys.stderr); print(3)",
            # the first run may start what stays
            "pool = globals().get('pool') or threading.Thread(target=threading.Event().wait, daemon=True)",
            "pool.is_alive() or pool.start();",
        ),
        book.write("grows", "names = globals().get('names', [])", book.code("names.append(1); names")),
        book.write("within", book.text("# Count"), "names = []", book.code("names.append(1)\nnames")),
        book.write("register", "used = globals().get('used', 0)", "used += 1\nassert used < 2, 'used twice'", "pass"),
        book.write("timid", "n = globals().get('n', 0) + 1", book.code("1 / (n - 1)", tags=["raises-exception"])),
        book.write("leaks", listen, "import asyncio\ntask = asyncio.ensure_future(asyncio.sleep(60))", thread),
        book.write("dead", "import os", "os._exit(3)"),
        book.write("slow", "import time; time.sleep(60)"),
    ]
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "SETTLE", 0.3)
        rerun(
            {path: read(path) for path in paths},
            timeout=3,
            workers=2,
            report=lambda verdict: found.update({verdict.notebook.stem: verdict}),
        )
    return found


def problems(verdicts, stem: str) -> list[tuple[str, str]]:
    return [(problem.where, problem.text) for problem in verdicts[stem].problems]


def test_each_notebook_is_judged(verdicts):
    """There is a verdict, with its seconds, for each notebook."""
    assert len(verdicts) == 8
    assert all(verdict.phase == "twice" and verdict.seconds > 0 for verdict in verdicts.values())


def test_a_right_notebook_passes(verdicts):
    """Ports, marked cells, streams in any order and what only a first run starts are fine."""
    assert problems(verdicts, "right") == []


def test_what_piles_up_is_found(verdicts):
    """Outputs that differ between the passes are shown with their cell."""
    (where, text), (again, more) = problems(verdicts, "grows")
    assert where == again == "cell 2 (id id1)"
    assert text.startswith("the outputs of pass 1 and pass 2 differ\n--- pass 1\n+++ pass 2")
    assert "-[1]\n+[1, 1]" in text and "-[1, 1]\n+[1, 1, 1]" in more


def test_a_cell_must_survive_being_run_again(verdicts):
    """A notebook that starts afresh each time may still hold a cell that does not."""
    ((where, text),) = problems(verdicts, "within")
    assert where == "cell 2 (id id2)"
    assert text.startswith("the outputs of pass 2 and its run again at once differ\n--- pass 2\n+++ its run")
    assert "-[1]\n+[1, 1]" in text


def test_what_can_be_done_once_only_is_found(verdicts):
    """An exception in pass 2 is told with its traceback, and ends the run."""
    ((where, text),) = problems(verdicts, "register")
    assert where == "cell 2 (id id1)"
    assert text.startswith("in pass 2, expected no exception, but the cell raised AssertionError: used twice")
    assert "Cell In[" in text


def test_an_expected_exception_is_expected_twice(verdicts):
    """A cell tagged raises-exception must raise in both passes."""
    ((where, text),) = problems(verdicts, "timid")
    assert where == "cell 2 (id id1)"
    assert text.startswith("in pass 2, expected the cell to raise")


def test_what_is_left_behind_is_named(verdicts):
    """Ports and tasks that stay, and threads that a second run adds, are told by name."""
    found = [text for where, text in problems(verdicts, "leaks") if where == "ledger"]
    patterns = ["port", "asyncio task", "port", *["asyncio task"] * 3, "there are more threads"]
    assert [text.split(", ", 1)[1].startswith(pattern) for text, pattern in zip(found, patterns, strict=True)] == [
        True
    ] * 7
    assert "(left ×2)" in found[-1]
    assert [text.split(",")[0] for text in found] == ["after the first run"] * 2 + ["after the second run"] * 5


def test_a_dead_kernel_ends_the_run(verdicts):
    """The cell in which the kernel died is named."""
    ((where, text),) = problems(verdicts, "dead")
    assert where == "cell 2 (id id1)"
    assert text.startswith("in pass 1, expected the kernel to live until the last cell, but found it dead")


def test_a_cell_that_does_not_end_is_named(verdicts):
    """The time limit ends the run, with the cell and the limit."""
    ((where, text),) = problems(verdicts, "slow")
    assert where == "cell 1 (id id0)"
    assert text.startswith("in pass 1, expected the cell to end within 3 s")


def test_trouble_with_the_kernel_itself_is_told(book):
    """A cell that breaks the ledger's own tools makes the notebook fail, with a clear text."""
    found = []
    path = book.write("broken", "exec = None")
    rerun({path: read(path)}, timeout=5, workers=1, report=found.append)
    ((problem,),) = [verdict.problems for verdict in found]
    assert problem.where == ""
    assert problem.text.startswith("expected the kernel to evaluate a probe, but it raised TypeError")


def test_a_cell_that_cannot_be_run_here_shows_the_same_twice(book, monkeypatch):
    """What is stored is shown each time, and loading the extension again says nothing."""
    monkeypatch.delenv("LABSERVER_REQUIRE_ALL", raising=False)
    path, found = needy(book), []
    rerun({path: read(path)}, timeout=20, workers=2, report=found.append)
    assert [verdict.problems for verdict in found] == [[]]
