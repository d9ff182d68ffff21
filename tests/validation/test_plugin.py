"""Each hole of nbval: a notebook that nbval passes as it comes, and that fails with the plugin."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from types import SimpleNamespace

import pytest
from jupyter_client.kernelspec import KernelSpec
from nbformat import v4
from nbval.kernel import RunningKernel

from labserver.validation import plugin

from .conftest import Book, printed, raised, result

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
        self.failures = {}
        self.collected = ""

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.collected += str(report.longrepr)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            stem = Path(report.fspath).stem
            self.outcomes[stem].append(report.outcome)
            if report.failed:
                self.failures.setdefault(stem, str(report.longrepr))


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
        book.write("digit", book.code("print('port', 8000 + 1)", printed("port 8002\n")), "pass"),
        book.write("deleted", book.code("6 * 7")),
        book.write("vanished", book.code("pass", printed("once\n"))),
        book.write("word", book.text("# Words"), "pass", book.code("print('one more', 'word')", printed("one more\n"))),
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
    options = ("--nbval-current-env", "-p", "xdist.plugin", "-n2", "--dist=loadfile", "-p", "stock")
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
        ("picture", "cell 1 (id id0)", "-[image/png]\n-present"),
        ("unasked", "cell 1 (id id0)", "+[image/png]\n+present"),
        ("joined", "cell 1 (id id0)", "+[display_data]"),
        ("order", "cell 1 (id id0)", "+[stdout]\n+1"),
        (
            "late",
            "cell 2 (id id1)",
            "while this cell ran; let the cell that starts the work also await it:\ncell 1 (id id0)",
        ),
        ("last", "cell 2 (id id1)", "after the last cell had ended"),
        ("group", "cell 1 (id id0)", "raised ExceptionGroup"),
        ("digit", "cell 1 (id id0)", "-port 8002\n+port 8001"),
        ("deleted", "cell 1 (id id0)", "+[execute_result]\n+[text/plain]\n+42"),
        ("vanished", "cell 1 (id id0)", "-[stdout]\n-once"),
        ("word", "cell 2 (id id2)", "-one more\n+one more word"),
        ("other", "cell 1 (id id0)", "-ValueError: one\n+ValueError: two"),
        ("raises", "cell 1 (id id0)", "ZeroDivisionError: division by zero"),
        ("dead", "cell 2 (id id1)", "found it dead"),
    ],
)
def test_a_wrong_notebook_fails(ran, stem, cell, text):
    """The notebook fails, and the report names it, the cell and what was wrong."""
    failure = ran.failures[stem]
    assert f"{stem}.ipynb {cell}: " in failure
    assert text in failure


def test_a_dead_kernel_leaves_its_last_words(ran):
    """What the kernel wrote to stderr before it died is in the report."""
    assert "last words" in ran.failures["dead"]


@pytest.mark.parametrize("stem", ["unrun", "late", "dead", "raises"])
def test_the_rest_of_a_broken_notebook_is_skipped(ran, stem):
    """After the first failing cell there are only skips, no cascade."""
    outcomes = ran.outcomes[stem]
    assert set(outcomes[outcomes.index("failed") + 1 :]) == {"skipped"}


def test_a_right_notebook_passes(ran):
    """History, `1+1;`, cleared and updated displays, ports, marks with reasons and interleaved streams are all fine."""
    assert ran.failures.get("right") is None
    assert ran.outcomes["right"] == [*["passed"] * 9, "skipped", "passed"]


def test_a_time_out_fails_even_where_an_exception_is_expected(book):
    """A cell tagged raises-exception does not pass because the time limit interrupted it; broken JSON is told."""
    slow = book.write(
        "slow", book.code("import time; time.sleep(60)", tags=["raises-exception", "nbval-ignore-output"])
    )
    (book.folder / "broken.ipynb").write_text("{")
    ran = run([slow, book.folder / "broken.ipynb"], "--nbval-cell-timeout=1", "--continue-on-collection-errors")
    assert "expected the cell to end within its time limit" in ran.failures["slow"]
    assert "expected a notebook in JSON" in ran.collected


def test_another_nbval_is_refused(monkeypatch):
    """With another nbval than the pinned one the plugin says so, instead of failing somewhere inside."""
    monkeypatch.setattr(plugin, "version", lambda name: "0.12.0")
    with pytest.raises(pytest.UsageError, match=r"expected nbval 0\.11.*found 0\.12\.0.*pip install"):
        plugin.pytest_configure(None)


def test_only_the_controller_reports(tmp_path):
    """The report is asked for by option, and written by one process only, also under xdist."""
    registered = []
    config = SimpleNamespace(
        getoption=lambda name: str(tmp_path / "report"), pluginmanager=SimpleNamespace(register=registered.append)
    )
    plugin.pytest_configure(config)
    assert [reporter.path for reporter in registered] == [tmp_path / "report"]
    config.workerinput = {}
    plugin.pytest_configure(config)
    assert len(registered) == 1


def test_the_report_has_a_line_for_each_notebook(tmp_path):
    """The seconds and problems of a notebook's cells are gathered; what belongs to no notebook is kept too."""
    reporter = plugin.Reporter(tmp_path / "report")

    def report(cell, last, when, failed, text="", note=()):
        known = [("notebook", "/books/a.ipynb"), ("cell", cell), ("last", last), *note]
        return SimpleNamespace(user_properties=known, when=when, failed=failed, longrepr=text, duration=0.5)

    reporter.pytest_collectreport(SimpleNamespace(failed=False))
    reporter.pytest_collectreport(SimpleNamespace(failed=True, longrepr="cannot read"))
    reporter.pytest_runtest_logreport(SimpleNamespace(user_properties=[], longrepr="worker crashed"))
    reporter.pytest_runtest_logreport(report("cell 1", False, "call", True, "/books/a.ipynb cell 1: differs"))
    note = [("note", "cell 2 was not run")]
    reporter.pytest_runtest_logreport(report("cell 2", True, "call", False, note=note))
    reporter.pytest_runtest_logreport(report("cell 2", True, "teardown", False, note=note))
    assert [json.loads(line) for line in reporter.path.read_text().splitlines()] == [
        {"notebook": "", "seconds": 0.0, "problems": [["", "cannot read"]], "notes": []},
        {"notebook": "", "seconds": 0.0, "problems": [["", "worker crashed"]], "notes": []},
        {
            "notebook": "/books/a.ipynb",
            "seconds": 1.5,
            "problems": [["cell 1", "differs"]],
            "notes": ["cell 2 was not run"],
        },
    ]


def test_a_kernel_that_does_not_start_is_told(monkeypatch, tmp_path):
    """The failure says that no kernel started, with what it wrote."""
    argv = [sys.executable, "-c", "import sys; sys.exit('no module named ipykernel')"]
    spec = KernelSpec(argv=argv, display_name="Python", language="python")
    monkeypatch.setattr(plugin.NbvalKernelspecManager, "get_kernel_spec", lambda self, name: spec)
    with pytest.raises(pytest.fail.Exception, match="expected a kernel to start(.|\n)*no module named ipykernel"):
        plugin.StrictKernel("python3", str(tmp_path), 10)


def test_waiting_for_a_message_ends_at_the_limit(monkeypatch):
    """A living kernel that says nothing ends the wait at its limit, in steps; with no limit the wait goes on."""
    kernel = object.__new__(plugin.StrictKernel)
    answers = [Empty(), {"content": "at last"}]

    def get_message(self, stream, timeout):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(RunningKernel, "get_message", get_message)
    monkeypatch.setattr(plugin.StrictKernel, "is_alive", lambda self: True)
    assert kernel.get_message("iopub")["content"] == "at last"
    answers.append(Empty())
    with pytest.raises(Empty):
        kernel.get_message("iopub", timeout=0)


def test_an_unforeseen_error_names_the_cell():
    """An error of nbval itself is reported with notebook and cell as well."""
    error = SimpleNamespace(value=RuntimeError("Timed out waiting for idle kernel!"))
    text = plugin.StrictCell.repr_failure(SimpleNamespace(where="a.ipynb cell 1"), error)
    assert text == "a.ipynb cell 1: RuntimeError: Timed out waiting for idle kernel!"


def test_stopping_is_safe_at_any_time():
    """A notebook without a kernel, and a kernel that nbval has stopped already, are torn down in peace."""
    plugin.StrictNotebook.teardown(SimpleNamespace(kernel=None))
    kernel = object.__new__(plugin.StrictKernel)
    kernel.home = plugin.KernelHome()
    kernel.stop()
    kernel.stop()
    assert kernel.home.output.closed


def test_the_kernel_s_own_messages_are_passed_on():
    """A message that no cell asked for is neither an output nor late."""
    message = {"msg_type": "status", "parent_header": {}, "content": {"execution_state": "starting"}}
    kernel = SimpleNamespace(requests=["1", "2"], get_message=lambda stream, timeout: message)
    notebook = SimpleNamespace(kernel=kernel, late=[])
    assert plugin.StrictNotebook.get_kernel_message(notebook) is message
    assert notebook.late == []
