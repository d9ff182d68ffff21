"""A sanitize file: read, used, and watched."""

import pytest

from labserver.errors import ValidationError
from labserver.validation.rules import Rules


@pytest.fixture
def rules(tmp_path, monkeypatch):
    """A function that writes a sanitize file and reads it."""
    monkeypatch.chdir(tmp_path)

    def made(text: str) -> Rules:
        (tmp_path / "rules.cfg").write_text(text, encoding="utf-8")
        return Rules.read("rules.cfg")

    return made


def test_rules_are_used_in_order(rules):
    """Each on what the one before has left; groups can be used; what stands between the rules is for people."""
    file = rules(
        "# times\n[times]\nregex: (\\d+)\\.\\d+ s\nreplace: \\1 s\n\nregex:([0-9]) s\nreplace: N\nregex: x\nreplace:\n"
    )
    assert file.hide("12.5 s x.") == "1N ."
    assert file.hide("nothing") == "nothing"


def test_without_a_file_everything_is_compared():
    """No file, no rules, nothing to say of them."""
    rules = Rules.read(None)
    assert rules.hide("1.5 s") == "1.5 s"
    assert (rules.taken(), rules.idle({}), rules.judged({})) == ({}, [], [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("regex: a\n", "expected a line 'replace: …' after rules.cfg, line 1, but found ''"),
        ("\nregex: a\nregex: b\n", "after rules.cfg, line 2, but found 'regex: b'"),
        ("regex: (\nreplace: x\n", "expected a regular expression of Python in rules.cfg, line 1, but found: missing"),
        ("regex: a\nreplace: \\2\n", "in rules.cfg, line 1, but found: invalid group reference 2"),
    ],
)
def test_a_wrong_line_is_named(rules, text, words):
    """With the file, the line, and what is wrong with it."""
    with pytest.raises(ValidationError) as raised:
        rules(text)
    assert words in str(raised.value)


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_file_that_is_none_is_told(tmp_path, content):
    """A missing file, and one that is not text."""
    path = tmp_path / "rules"
    if content:
        path.write_bytes(content)
    with pytest.raises(ValidationError, match="expected a sanitize file, but found (FileNotFound|UnicodeDecode)Error"):
        Rules.read(str(path))


def test_a_rule_that_matches_nothing_is_reported(rules):
    """Over all that was compared; the hits of several takings are one's to add."""
    file = rules("regex: a\nreplace: b\nregex: never\nreplace: b\n")
    file.hide("a cat and\n")
    hits = file.taken()
    assert hits == {"rules.cfg, line 1 (a)": [3, 0]}
    assert file.taken() == {}
    assert file.idle(hits) == ["rules.cfg, line 3 (never) matches nothing; delete it"]
    assert file.judged(hits) == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [("x*", "a cat"), (r"\d+", " 42\n"), (r"took[^x]*", "it took\n1 s\n, a lot"), (".*", "anything")],
)
def test_a_rule_that_hides_too_much_fails(rules, pattern, text):
    """The empty text, a whole output, several lines: what is left to compare would always be the same."""
    file = rules(f"regex: {pattern}\nreplace: X\n")
    file.hide(text)
    (problem,) = file.judged(file.taken())
    assert problem.text.startswith(f"rules.cfg, line 1 ({pattern}) hides too much: ")
    assert "NBVAL_IGNORE_OUTPUT" in problem.text
