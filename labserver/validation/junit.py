"""The verdicts as JUnit XML, which continuous-integration services show: a suite for each notebook.

Room: one file. The form is that of Jenkins' schema, which others read as well:
https://github.com/jenkinsci/xunit-plugin/blob/master/src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd
"""

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as xml

from .book import Problem, Verdict, shown

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(path: Path, verdicts: Sequence[Verdict], rules: Sequence[Problem]) -> None:
    """Write the file: a test case for each phase of a notebook that passed, and for each problem; one for the rules.

    Folders on the way are made. What XML cannot hold (control characters) becomes `?`.
    """
    top = xml.Element("testsuites", name="labserver validate")
    for notebook in dict.fromkeys(verdict.notebook for verdict in verdicts):
        _suite(top, shown(notebook), [verdict for verdict in verdicts if verdict.notebook == notebook])
    if rules:
        _suite(top, "sanitize file", [Verdict(Path("sanitize file"), "rules", 0.0, rules)])
    path.parent.mkdir(parents=True, exist_ok=True)
    xml.indent(top)
    xml.ElementTree(top).write(path, encoding="utf-8", xml_declaration=True)


def _suite(top: xml.Element, name: str, verdicts: Sequence[Verdict]) -> None:
    failures = sum(len(verdict.problems) for verdict in verdicts)
    skipped = sum(verdict.skipped for verdict in verdicts)
    tests = sum(max(1, len(verdict.problems)) for verdict in verdicts)
    counts = {"tests": str(tests), "failures": str(failures), "errors": "0", "skipped": str(skipped)}
    suite = xml.SubElement(top, "testsuite", name=name, **counts)
    for verdict in verdicts:
        for problem in verdict.problems or [None]:
            where = f"{verdict.phase}: {problem.where}" if problem and problem.where else verdict.phase
            seconds = f"{verdict.seconds / max(1, len(verdict.problems)):.3f}"
            case = xml.SubElement(suite, "testcase", classname=name, name=where, time=seconds)
            if problem:
                text = _FORBIDDEN.sub("?", problem.text)
                xml.SubElement(case, "failure", message=text.splitlines()[0]).text = text
            if verdict.skipped:
                xml.SubElement(case, "skipped", message="the phase before has failed")
        if verdict.notes:
            xml.SubElement(case, "system-out").text = _FORBIDDEN.sub("?", "\n".join(verdict.notes))
