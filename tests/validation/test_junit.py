"""The verdicts in the form that continuous-integration services read."""

from pathlib import Path
from xml.etree import ElementTree as xml

from labserver.validation import junit
from labserver.validation.book import Problem, Verdict


def test_each_phase_that_passed_and_each_problem_is_a_test_case(tmp_path, monkeypatch):
    """A suite for each notebook with its counts; problems with their cell, notes and skipped phases as well."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "reports" / "junit.xml"
    problems = [Problem("cell 1 (id a)", "differs\n≠ \x1b[31m1"), Problem("", "dead")]
    verdicts = [
        Verdict(Path("a.ipynb"), "lint", 0.0),
        Verdict(Path("b.ipynb"), "compare", 2.0, problems),
        Verdict(Path("a.ipynb"), "compare", 1.5, (), ["not run"]),
        Verdict(Path("b.ipynb"), "twice", 0.0, skipped=True),
    ]
    junit.write(file, verdicts, [Problem("", "hides too much")])
    top = xml.parse(file).getroot()
    suites = [(suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("skipped")) for suite in top]
    assert suites == [("a.ipynb", "2", "0", "0"), ("b.ipynb", "3", "2", "1"), ("sanitize file", "1", "1", "0")]
    cases = [(case.get("classname"), case.get("name"), case.get("time")) for case in top.iter("testcase")]
    assert cases == [
        ("a.ipynb", "lint", "0.000"),
        ("a.ipynb", "compare", "1.500"),
        ("b.ipynb", "compare: cell 1 (id a)", "1.000"),
        ("b.ipynb", "compare", "1.000"),
        ("b.ipynb", "twice", "0.000"),
        ("sanitize file", "rules", "0.000"),
    ]
    failures = [(failure.get("message"), failure.text) for failure in top.iter("failure")]
    assert failures[0] == ("differs", "differs\n≠ ?[31m1")
    assert [each.text for each in top.iter("system-out")] == ["not run"]
    assert [each.get("message") for each in top.iter("skipped")] == ["the phase before has failed"]


def test_without_rules_there_is_no_suite_of_them(tmp_path):
    """The usual case: notebooks alone."""
    junit.write(tmp_path / "junit.xml", [Verdict(Path("a.ipynb"), "lint", 0.0)], [])
    assert [suite.get("name") for suite in xml.parse(tmp_path / "junit.xml").getroot()] == ["a.ipynb"]
