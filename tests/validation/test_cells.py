"""Each hole of nbval: a notebook that nbval passes as it comes, and that fails with the plugin; and all cells again."""

import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from nbformat import v4

from labserver.validation import cells as room
from labserver.validation import ledger

from .conftest import Book, needy, printed, raised, result

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
LATER = """
import asyncio
go = asyncio.Event()
async def tick():
    await go.wait()
    print("tick")
task = asyncio.ensure_future(tick())
"""
AFTERWARDS = """
import contextvars
here = contextvars.copy_context()
get_ipython().events.register("pre_execute", lambda: here.run(print, "tick"))
"""
STOCK = """
# nbval as it comes, but for the way to its kernels: `KernelHome` says why
import nbval.kernel
from labserver.validation.session import KernelHome

manager, homes = nbval.kernel.KernelManager, []

def reached_by_socket(**options):
    homes.append(KernelHome())
    return manager(**homes[-1].connection, **options)

nbval.kernel.KernelManager = reached_by_socket
"""


class Ran:
    """The outcome of each cell of a pytest run, by notebook."""

    def __init__(self) -> None:
        self.outcomes = defaultdict(list)
        self.failures = defaultdict(list)
        self.collected = ""

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.collected += str(report.longrepr)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            stem = Path(report.fspath).stem
            self.outcomes[stem].append(report.outcome)
            if report.failed:
                self.failures[stem].append(re.sub(" +", " ", str(report.longrepr)))


def arguments(paths: list[Path], *options: str) -> list[str]:
    settings = paths[0].parent / "empty.ini"
    settings.write_text("[pytest]\n")
    return [
        *("-q", "-s", "--assert=plain", "--noconftest", "-p", "no:cacheprovider", "-c", str(settings)),
        *("-p", "nbval.plugin", "--nbval", "--nbval-cell-timeout=20", *options, *map(str, paths)),
    ]


def run(paths: list[Path], *options: str) -> Ran:
    """Run notebooks with nbval and the plugin, in this process."""
    ran = Ran()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        pytest.main(arguments(paths, "-p", "labserver.validation.plugin", *options), plugins=[ran])
    return ran


def holes(book: Book) -> list[Path]:
    """Notebooks that claim what is not so, and that nbval passes."""
    unrun = book.code("print('anything at all')")
    unrun["execution_count"] = None
    picture = v4.new_output("display_data", data={"image/png": PIXEL, "text/plain": "a"})
    show = "display({'text/plain': 'a'%s}, raw=True)"
    both = [v4.new_output("display_data", data={"text/plain": text}) for text in "ab"]
    one_each = "display({'text/plain': 'a'}, raw=True)\ndisplay({'text/html': 'b'}, raw=True)"
    joined = v4.new_output("display_data", data={"text/plain": "a", "text/html": "b"})
    return [
        book.write("unrun", unrun, "pass"),
        book.write("calm", book.code("pass", tags=["raises-exception"]), "pass"),
        book.write("picture", book.code(show % "", picture), "pass"),
        book.write("unasked", book.code(show % f", 'image/png': '{PIXEL}'", both[0]), "pass"),
        book.write("joined", book.code(one_each, joined), "pass"),
        book.write("order", book.code("print(1)\ndisplay({'text/plain': 'a'}, raw=True)", both[0], printed("1\n"))),
        book.write("late", LATER, "go.set()\nawait task", "pass"),
        book.write("last", "pass", AFTERWARDS),
        book.write("group", book.code("raise ExceptionGroup('g', [ValueError()])", tags=["nbval-ignore-output"])),
    ]


def wrongs(book: Book) -> list[Path]:
    """Notebooks that nbval fails too, and whose report is ours."""
    one = v4.new_output("error", ename="ValueError", evalue="one", traceback=[])
    die = "import os, sys\nos.write(2, b'last words')\nos._exit(3)"
    return [
        book.write("vanished", book.code("pass", printed("once\n"))),
        book.write("other", book.code("raise ValueError('two')", one, tags=["raises-exception"])),
        book.write("raises", book.code("1 / 0"), "pass"),
        book.write("dead", "pass", die, "pass"),
    ]


def rights(book: Book) -> list[Path]:
    """Notebooks that hold what they claim, some of which nbval fails."""
    shown = "display({'text/plain': %r}, raw=True, display_id='x', update=%s)"
    cleared = "\n".join(
        [
            shown % ("a", False),
            "print(1)",
            "from IPython.display import clear_output",
            "clear_output()",
            shown % ("b", False),
        ]
        + ["clear_output(wait=True)", shown % ("c", False), shown % ("d", True) + ";"]
    )
    ignored = book.code("# NBVAL_IGNORE_OUTPUT: the address\nobject()", result("other"))
    skipped = book.code("# NBVAL_SKIP: it would end the kernel\nimport os; os._exit(1)")
    mixed = (
        "import sys\nprint(1)\nprint(2, file=sys.stderr)\nprint(3)\ndisplay({'text/plain': 'x'}, raw=True)\nprint(4)"
    )
    plain_x = v4.new_output("display_data", data={"text/plain": "x"})
    return [
        book.write(
            "right",
            book.code("1 + 1;"),
            book.code("6 * 7", result("42", 2)),
            book.code("Out[2]", result("42", 3)),
            book.code(cleared, v4.new_output("display_data", data={"text/plain": "d"})),
            book.code("raise ValueError('x')", raised("ValueError", "x"), tags=["raises-exception"]),
            book.code("print('http://127.0.0.1:4711/ is up')", printed("http://127.0.0.1:815/ is up\n")),
            book.code(mixed, printed("1\n3\n"), printed("2\n", "stderr"), plain_x, printed("4\n")),
            book.code("import os; print(os.path.basename(os.getcwd()))", printed(book.folder.name + "\n")),
            ignored,
            skipped,
            v4.new_code_cell(""),
        )
    ]


@pytest.fixture(scope="module")
def ran(shelf: Callable[[str], Book]) -> Ran:
    """One run of all notebooks with the plugin, and beside it one by nbval alone of those with holes."""
    book = shelf("books")
    full_of_holes = holes(book)
    (book.folder / "stock.py").write_text(STOCK)
    options = ("--nbval-current-env", "-p", "stock")
    command = [sys.executable, "-m", "pytest", *arguments(full_of_holes, *options)]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(book.folder)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as stock:
        try:
            ran = run([*full_of_holes, *wrongs(book), *rights(book)], "--nbval-current-env")
            ran.stock, _ = stock.communicate(timeout=60)
        finally:
            stock.kill()
    ran.stock_status = stock.returncode
    return ran


def test_nbval_alone_passes_every_hole(ran):
    """Each notebook of the tests below is one that nbval as it comes lets pass."""
    assert ran.stock_status == 0, ran.stock.decode()


@pytest.mark.parametrize(
    ("stem", "cell", "text"),
    [
        ("unrun", "cell 1 (id id0)", "stored without a run"),
        ("calm", "cell 1 (id id0)", "tagged raises-exception, but it raised nothing"),
        ("picture", "cell 1 (id id0)", "≠ [image/png]"),
        ("unasked", "cell 1 (id id0)", "│ [image/png]"),
        ("joined", "cell 1 (id id0)", "≠ (nothing) │ [display_data]"),
        ("order", "cell 1 (id id0)", "≠ (nothing) │ [stdout]\n≠ (nothing) │ 1"),
        (
            "late",
            "cell 2 (id id1)",
            "while this cell ran; let the cell that starts the work also await it:\ncell 1 (id id0)",
        ),
        ("last", "cell 2 (id id1)", "after the last cell had ended"),
        ("group", "cell 1 (id id0)", "raised ExceptionGroup"),
        ("vanished", "cell 1 (id id0)", "≠ [stdout] │ (nothing)\n≠ once │ (nothing)"),
        ("other", "cell 1 (id id0)", "≠ ValueError: one │ ValueError: two"),
        ("raises", "cell 1 (id id0)", "ZeroDivisionError: division by zero"),
        ("dead", "cell 2 (id id1)", "found it dead"),
    ],
)
def test_a_wrong_notebook_fails(ran, stem, cell, text):
    """The notebook fails, and the report names it, the cell and what was wrong."""
    (failure,) = ran.failures[stem]
    assert f"{stem}.ipynb {cell}: " in failure
    assert text in failure


def test_a_dead_kernel_leaves_its_last_words(ran):
    """What the kernel wrote to stderr before it died is in the report."""
    assert "last words" in ran.failures["dead"][0]


@pytest.mark.parametrize("stem", ["unrun", "late", "dead", "raises"])
def test_the_rest_of_a_broken_notebook_is_skipped(ran, stem):
    """After the first failing cell there are only skips, no cascade."""
    outcomes = ran.outcomes[stem]
    assert set(outcomes[outcomes.index("failed") + 1 :]) == {"skipped"}


def test_a_right_notebook_passes(ran):
    """History, `1+1;`, cleared and updated displays, ports, marks with reasons and interleaved streams are all fine."""
    assert ran.failures["right"] == []
    assert ran.outcomes["right"] == [*["passed"] * 9, "skipped", "passed"]


def test_a_time_out_fails_even_where_an_exception_is_expected(book):
    """A cell tagged raises-exception does not pass because the time limit interrupted it; broken JSON is told."""
    slow = book.write(
        "slow", book.code("import time; time.sleep(60)", tags=["raises-exception", "nbval-ignore-output"])
    )
    (book.folder / "broken.ipynb").write_text("{")
    ran = run([slow, book.folder / "broken.ipynb"], "--nbval-cell-timeout=1", "--continue-on-collection-errors")
    assert "expected the cell to end within its time limit" in ran.failures["slow"][0]
    assert "expected a notebook in JSON" in ran.collected


def test_an_unforeseen_error_names_the_cell():
    """An error of nbval itself is reported with notebook and cell as well."""
    error = SimpleNamespace(value=RuntimeError("Timed out waiting for idle kernel!"))
    text = room.StrictCell.repr_failure(SimpleNamespace(where="a.ipynb cell 1"), error)
    assert text == "a.ipynb cell 1: RuntimeError: Timed out waiting for idle kernel!"


def test_a_notebook_without_a_kernel_is_torn_down():
    """When the kernel has not started, there is nothing to end."""
    room.StrictNotebook.teardown(SimpleNamespace(kernel=None))


def test_the_kernel_s_own_messages_are_passed_on():
    """A message that no cell asked for is neither an output nor late."""
    message = {"msg_type": "status", "parent_header": {}, "content": {"execution_state": "starting"}}
    kernel = SimpleNamespace(requests=["1", "2"], get_message=lambda stream, timeout: message)
    notebook = SimpleNamespace(kernel=kernel, late=[])
    assert room.StrictNotebook.get_kernel_message(notebook) is message
    assert notebook.late == []


@pytest.fixture(scope="module")
def again(shelf: Callable[[str], Book]) -> Ran:
    """One run, in which all cells are run once more, of notebooks that work once."""
    book = shelf("again")
    thread = "import threading\nthreading.Thread(target=threading.Event().wait, name='left', daemon=True).start()"
    listen = "import socket\ntaken = globals().get('taken') or socket.create_server(('127.0.0.1', 0))"
    paths = [
        book.write(
            "right",
            "import itertools, threading, sys",
            book.code("print('port 127.0.0.1:%d' % (8000 + id(object()) % 9))", printed("port 127.0.0.1:1\n")),
            book.code("print(object())", tags=["nbval-ignore-output"]),
            book.code("import os; os._exit(1)", tags=["nbval-skip"]),
            book.code("raise ValueError('x')", raised("ValueError", "x"), tags=["raises-exception"]),
            book.code(""),
            book.code("print(1); print(2, file=sys.stderr); print(3)", printed("1\n3\n"), printed("2\n", "stderr")),
            # the first run may start what stays
            "pool = globals().get('pool') or threading.Thread(target=threading.Event().wait, daemon=True)",
            "pool.is_alive() or pool.start();",
        ),
        book.write("grows", "names = globals().get('names', [])", book.code("names.append(1); names", result("[1]"))),
        book.write("within", book.text("# Count"), "names = []", book.code("names.append(1)\nnames", result("[1]"))),
        book.write("register", "used = globals().get('used', 0)", "used += 1\nassert used < 2, 'used twice'", "pass"),
        book.write(
            "timid",
            "n = globals().get('n', 0) + 1",
            book.code("1 / (n - 1)", raised("ZeroDivisionError", "division by zero"), tags=["raises-exception"]),
        ),
        book.write("leaks", listen, "import asyncio\ntask = asyncio.ensure_future(asyncio.sleep(60))", thread),
        book.write("dies", "import os\nn = globals().get('n', 0) + 1", "if n > 1: os._exit(3)"),
        book.write("broken", "exec = None"),
        book.write("wrong", book.code("1", result("2")), "pass"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "SETTLE", 0.3)
        return run(paths, "--nbval-current-env", room.TWICE)


def test_a_right_notebook_passes_again(again):
    """Ports, marked cells, streams in any order and what only a first run starts are fine."""
    assert again.failures["right"] == []
    # nine cells, one of them skipped; the ledger, each of the seven that are run twice, the ledger
    assert again.outcomes["right"] == [*["passed"] * 3, "skipped", *["passed"] * (5 + 1 + 2 * 7 + 1)]


def test_what_piles_up_is_found(again):
    """Outputs that differ between the passes are shown with their cell, and do not end the run."""
    first, second = again.failures["grows"]
    assert "grows.ipynb cell 2 (id id1): the outputs of pass 1 and pass 2 differ\n pass 1 │ pass 2" in first
    assert first.endswith("≠ [1] │ [1, 1]")
    assert "the outputs of pass 2 and its run again at once differ" in second
    assert second.endswith("≠ [1, 1] │ [1, 1, 1]")


def test_a_cell_must_survive_being_run_again(again):
    """A notebook that starts afresh each time may still hold a cell that does not."""
    (text,) = again.failures["within"]
    assert "within.ipynb cell 2 (id id2): the outputs of pass 2 and its run again at once differ\n" in text
    assert text.endswith("≠ [1] │ [1, 1]")


def test_what_can_be_done_once_only_is_found(again):
    """An exception in pass 2 is told with its traceback, and ends the run."""
    (text,) = again.failures["register"]
    assert "cell 2 (id id1): in pass 2, expected no exception, but the cell raised AssertionError: used twice" in text
    assert "Cell In[" in text
    assert again.outcomes["register"][-1] == "skipped"


def test_an_expected_exception_is_expected_each_time(again):
    """A cell tagged raises-exception must raise in both passes."""
    (text,) = again.failures["timid"]
    assert "cell 2 (id id1): in pass 2, expected the cell to raise" in text


def test_what_is_left_behind_is_named(again):
    """Ports and tasks that stay, and threads that a second run adds, are told by name."""
    first, second = again.failures["leaks"]
    kinds = "port", "asyncio task", "there are more threads"

    def named(text, moment):
        start, *lines, advice = text.partition(f"leaks.ipynb ledger: after {moment}, ")[2].splitlines()
        assert advice.startswith("expected nothing left behind")
        return [next(kind for kind in kinds if line.removeprefix("- ").startswith(kind)) for line in (start, *lines)]

    assert named(first, "the first run") == ["port", "asyncio task"]
    assert named(second, "the second run") == ["port", *["asyncio task"] * 3, "there are more threads"]
    assert "(left ×2)" in second


def test_a_kernel_that_dies_later_is_told_where(again):
    """The cell and the pass in which the kernel died are named."""
    (text,) = again.failures["dies"]
    assert "dies.ipynb cell 2 (id id1): in pass 2, expected the kernel to live until the last cell" in text


def test_trouble_with_the_ledger_itself_is_told(again):
    """A cell that breaks the ledger's own tools makes the notebook fail, with a clear text."""
    assert "ledger: expected the kernel to evaluate a probe, but it raised TypeError" in again.failures["broken"][0]


def test_what_differs_from_what_is_stored_is_not_run_again(again):
    """One failure, and the rest is skipped."""
    (text,) = again.failures["wrong"]
    assert "wrong.ipynb cell 1 (id id0): expected the outputs that are stored, but found others" in text
    assert set(again.outcomes["wrong"][1:]) == {"skipped"}


def test_a_cell_that_cannot_be_run_here_shows_the_same_each_time(book, monkeypatch):
    """What is stored is shown each time, and loading the extension again says nothing."""
    monkeypatch.delenv("LABSERVER_REQUIRE_ALL", raising=False)
    path = needy(book)
    assert run([path], "--nbval-current-env", room.TWICE).failures[path.stem] == []


def test_queued_cells_are_judged_like_others(book, monkeypatch):
    """All that are to run are sent before the first is judged, and each has its own outputs."""
    queued, queue = [], room.StrictKernel.queue
    monkeypatch.setattr(
        room.StrictKernel, "queue", lambda self, sources: queued.append(sources) or queue(self, sources)
    )
    skipped = book.code("import os; os._exit(1)", tags=["nbval-skip"])
    right = book.write("right", book.code("print(1)", printed("1\n")), skipped, book.code("2", result("2", 2)))
    wrong = book.write("wrong", book.code("print(1)", printed("1\n")), book.code("print(2)", printed("3\n")), "pass")
    ran = run([right, wrong], "--nbval-current-env", room.QUEUED)
    assert ran.failures["right"] == []
    (text,) = ran.failures["wrong"]
    assert "cell 2 (id id1)" in text and text.endswith("≠ 3 │ 2")
    assert queued == [["print(1)", "2"], ["print(1)", "print(2)", "pass"]]
