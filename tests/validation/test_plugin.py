"""The plugin's hooks, and its report."""

import json
from types import SimpleNamespace

import pytest

from labserver.validation import plugin


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


def test_the_report_has_a_line_for_each_cell_and_each_phase(tmp_path):
    """Seconds, problems, notes and matches of a phase's cells are gathered; what belongs to no notebook is kept too."""
    reporter = plugin.Reporter(tmp_path / "report")

    def report(cell, place, when, failed=False, text="", phase="compare", **more):
        known = {"notebook": "/books/a.ipynb", "cell": cell, "phase": phase, "place": [place, 3], "last": place > 1}
        properties = list((known | more).items())
        reporter.pytest_runtest_logreport(
            SimpleNamespace(user_properties=properties, when=when, failed=failed, longrepr=text, duration=0.5)
        )

    reporter.pytest_collectreport(SimpleNamespace(failed=False))
    reporter.pytest_collectreport(SimpleNamespace(failed=True, longrepr="cannot read"))
    reporter.pytest_runtest_logreport(SimpleNamespace(user_properties=[], longrepr="worker crashed"))
    report("cell 1", 1, "setup")
    report("cell 1", 1, "call", hits={"line 1": [2, 0]})
    note = "cell 2 was not run"
    report("cell 2", 2, "call", True, "/books/a.ipynb cell 2: differs", hits={"line 1": [1, 1]}, note=note)
    report("cell 2", 2, "teardown", hits={"line 1": [1, 1]}, note=note)
    report("ledger", 3, "call", phase="twice", broken="cell 2")
    report("ledger", 3, "teardown", phase="twice", broken="cell 2")
    path = {"notebook": "/books/a.ipynb"}
    assert [json.loads(line) for line in reporter.path.read_text(encoding="utf-8").splitlines()] == [
        {"notebook": "", "problems": [["", "cannot read"]]},
        {"notebook": "", "problems": [["", "worker crashed"]]},
        path | {"done": 1, "of": 3},
        path | {"done": 2, "of": 3},
        path
        | {"phase": "compare", "seconds": 2.0, "problems": [["cell 2", "differs"]], "notes": [note], "skipped": False}
        | {"hits": {"line 1": [3, 1]}},
        path | {"done": 3, "of": 3},
        path | {"phase": "twice", "seconds": 1.0, "problems": [], "notes": [], "skipped": True, "hits": {}},
    ]


def test_a_kernel_that_does_not_start_is_no_skip(tmp_path):
    """A failure before the first cell is the failure of that cell, and its phase was not passed over."""
    reporter = plugin.Reporter(tmp_path / "report")
    known = {"notebook": "/books/a.ipynb", "cell": "cell 1", "phase": "compare", "place": [1, 1], "last": True}
    for when, failed in (("setup", True), ("teardown", False)):
        reporter.pytest_runtest_logreport(
            SimpleNamespace(
                user_properties=list(known.items()), when=when, failed=failed, longrepr="no kernel", duration=0
            )
        )
    (line,) = map(json.loads, reporter.path.read_text(encoding="utf-8").splitlines())
    assert (line["problems"], line["skipped"]) == ([["cell 1", "no kernel"]], False)
