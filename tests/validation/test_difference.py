"""Where two outputs differ first, as a person reads it."""

from nbformat import v4

from labserver.validation import difference as room
from labserver.validation.difference import WIDTH, difference
from labserver.validation.rules import Rules

from .conftest import printed, result

SIDES = ("stored", "found")


def rows(expected, found, rules=None) -> list[tuple[str, ...]]:
    """The mark and both sides of each row, less the head with the sides' names; other lines as they are."""
    head, *lines = difference(expected, found, SIDES, *([rules] if rules else [])).splitlines()
    assert [part.strip() for part in head.split("│")] == [*SIDES]
    return [(line[0], *(part.strip() for part in line[1:].split("│"))) if "│" in line else (line,) for line in lines]


def test_what_is_the_same_has_no_difference():
    """How streams were cut, counts of executions, and ports do not count."""
    one = [printed("a\n"), printed("http://127.0.0.1:1\n"), result("x", 1)]
    two = [printed("a\nhttp://127.0.0.1:2\n"), result("x", 7)]
    assert difference(one, two, SIDES) == ""


def test_the_first_difference_stands_side_by_side():
    """With two lines around it, and with how many more there are; a line that is missing is named."""
    assert rows([printed("a\nb\nc\nd\ne\nf\n")], [printed("a\nb\nc\nD\ne\nf\n")]) == [
        (" ", "[stdout]", "[stdout]"),
        (" ", "b", "b"),
        (" ", "c", "c"),
        ("≠", "d", "D"),
        (" ", "e", "e"),
        (" ", "f", "f"),
    ]
    found = rows([printed("a\nb\nc\nd\n")], [printed("A\nb\nC\nd\nmore\n")])
    assert found == [(" ", "[stdout]", "[stdout]"), ("≠", "a", "A"), ("… and 2 more places below",)]
    (last,) = rows([printed("a\nb\n")], [printed("a\n")])[2:]
    assert last == ("≠", "b", "(nothing)")


def test_the_output_in_which_it_is_has_its_name_above():
    """A difference far down in an output still says in which one it is; a whole output may be missing."""
    many = "".join(f"{n}\n" for n in range(7)) + "[7]\n8\n"
    assert rows([printed(many), result("1")], [printed(many), result("2")]) == [
        (" ", "[execute_result]", "[execute_result]"),
        (" ", "[text/plain]", "[text/plain]"),
        ("≠", "1", "2"),
    ]
    assert rows([printed(many)], [printed(many + "9\n")]) == [
        (" ", "[stdout]", "[stdout]"),
        (" ", "[7]", "[7]"),
        (" ", "8", "8"),
        ("≠", "(nothing)", "9"),
    ]
    assert rows([], [result("1")])[0] == ("≠", "(nothing)", "[execute_result]")


def test_spaces_and_line_ends_can_be_seen():
    """Lines that look alike are spelled out, and what cannot be seen is named."""
    assert rows([printed("a \n")], [printed("a\t\n")])[-1] == ("≠", "'a '", r"'a\t'")
    assert rows([printed("a\n")], [printed("a")])[-1] == ("≠", "(nothing)", "(no newline at the end)")
    assert rows([printed("a\n\nb\n")], [printed("a\nc\nb\n")])[2] == ("≠", "(an empty line)", "c")


def test_a_long_line_is_cut_where_it_differs():
    """An SVG in one line does not hide the difference in its middle."""
    left, right = (
        v4.new_output("display_data", data={"image/svg+xml": "<" * 300 + sign + ">" * WIDTH * 3}) for sign in "ab"
    )
    changed = [row for row in rows([left], [right]) if row[0] == "≠"]
    assert len(changed) == 1 and "a" in changed[0][1] and "b" in changed[0][2]


def test_a_large_difference_is_cut(monkeypatch):
    """What is not shown is counted."""
    monkeypatch.setattr(room, "ROWS", 5)
    assert rows([], [printed("x\n" * 9)])[-1] == ("… and 6 more rows here",)


def test_one_more_place_is_counted_as_one():
    """The words fit the number."""
    assert rows([printed("a\nb\nc\n")], [printed("A\nb\nC\n")])[-1] == ("… and 1 more place below",)


def test_structured_data_is_compared_line_by_line():
    """A dictionary of a MIME type is laid out."""
    one, two = (v4.new_output("display_data", data={"application/json": {"a": n, "b": 0}}) for n in (1, 2))
    assert ("≠", '"a": 1,', '"a": 2,') in rows([one], [two])


def test_what_the_rules_hide_is_no_difference(tmp_path):
    """On both sides; the rest is compared."""
    file = tmp_path / "rules"
    file.write_text("regex: [0-9.]+ s\nreplace: TIME\n", encoding="utf-8")
    rules = Rules.read(str(file))
    assert difference([printed("took 1.5 s\n")], [printed("took 2.25 s\n")], SIDES, rules) == ""
    assert rows([printed("took 1.5 s\n")], [printed("it took 2.25 s\n")], rules)[1] == (
        "≠",
        "took TIME",
        "it took TIME",
    )
