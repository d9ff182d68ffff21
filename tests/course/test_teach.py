"""`labserver teach`: the page cannot drift from the checks, files are written where asked, and nothing is lost."""

import html
import json
import re

import pytest

from labserver import __main__ as command
from labserver.course import teach
from labserver.course.exercise import Exercise, catalogue
from labserver.course.result import Result
from labserver.course.teach import SLIP
from labserver.course.teach_lesson import COURSE, LessonError, find, read
from labserver.course.teach_page import GENERATOR
from labserver.errors import FolderError


@pytest.fixture
def answers(monkeypatch):
    """Checks that answer at once: each wrong answer with a step that names it; collects what was judged."""
    judged = []
    names = {id(answer): name for each in catalogue().values() for name, answer in each.planted}

    def judge(exercise, answer):
        judged.append((exercise.id, names[id(answer)]))
        return Result(exercise.id, "wrong", names[id(answer)], "found", f"mend {names[id(answer)]}")

    monkeypatch.setattr(teach, "judge", judge)
    return judged


def test_every_planted_misconception_is_on_the_page_of_its_lesson(answers, tmp_path, capsys):
    """Names come from the checks, each with its step; slips are left out; each check is asked once for each of them."""
    assert command.main(["teach", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    text = (tmp_path / "pages.html").read_text("utf-8")
    articles = dict(re.findall(r'<article id="lesson-(\d\d)">(.*?)</article>', text, re.DOTALL))
    assert set(articles) == {path.stem[:2] for path in find([], COURSE / "notebooks")}
    for each in catalogue().values():
        shown = html.unescape(re.sub("</?code>", "`", articles[each.id[:2]]))
        assert f"{each.id} {each.title} ({each.minutes} min)" in shown
        for name, _ in each.planted:
            assert (f"<b>{name}</b> → mend {name}</p>" in shown) != bool(SLIP.match(name)), (each.id, name)
        assert f"lesson {each.id[:2]}: asking the checks" in said
    assert len(answers) == len(set(answers)) > 300 and not [name for _, name in answers if SLIP.match(name)]


def test_the_next_step_is_what_a_learner_is_told(tmp_path, capsys):
    """The sentences of a real lesson's checks stand on its page."""
    assert command.main(["teach", "1", "--out", str(tmp_path / "for" / "me")]) == 0
    file = tmp_path / "for" / "me" / "01_asgi_events_page.html"
    assert f"written: {file}" in capsys.readouterr().out
    shown = html.unescape(file.read_text("utf-8"))
    step = "Send websocket.accept first: only an open WebSocket has close codes."
    assert f"<b>close before accept</b> → {step}" in shown
    assert "<b>forgot accept</b> → Answer websocket.connect with websocket.accept." in shown


def test_what_a_check_does_not_see_here_has_no_step(monkeypatch):
    """On a machine where a wrong answer is called something else, its name stands without a step."""
    each = Exercise("01.9", "Tea", "Boil.", 5, ("hot",), None, [("cold", 1), ("late", 2), ("cold", 3)])
    results = {1: Result("01.9", "wrong", "cold", step="wait"), 2: Result("01.9", "wrong", "never gives way", step="?")}
    monkeypatch.setattr(teach, "judge", lambda exercise, answer: results[answer])
    monkeypatch.setattr(teach, "catalogue", lambda: {each.id: each})
    (found,) = teach.expected(read(find(["1"], COURSE / "notebooks")[0]))
    assert (found.id, found.title, found.minutes, found.each) == ("01.9", "Tea", 5, {"cold": "wait", "late": ""})


def test_slides_are_written(tmp_path, capsys):
    """`--slides` writes a file for each lesson that is named."""
    assert command.main(["teach", "0", "1", "--slides", "--out", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "00_start_here_slides.html",
        "01_asgi_events_slides.html",
    ]
    assert capsys.readouterr().out.count("written: ") == 2


def test_a_part_is_written(tmp_path, capsys):
    """`--until` writes a notebook; the same once more is no conflict."""
    for _ in range(2):
        assert command.main(["teach", "03", "--until", "ORM", "--out", str(tmp_path)]) == 0
    file = tmp_path / "notebooks" / "03_consumers_until_5.ipynb"
    assert json.loads(file.read_text("utf-8"))["cells"][-1]["source"] == ["server.stop()"]
    assert capsys.readouterr().out == f"written: {file}\n" * 2


def test_what_somebody_has_written_is_kept(tmp_path, capsys):
    """A page of ours is made anew; a notebook in which somebody worked, or a file of another kind, is refused."""
    page, other = tmp_path / "00_start_here_slides.html", tmp_path / "01_asgi_events_slides.html"
    page.write_text(f"old {GENERATOR}")
    other.write_text("mine")
    part = tmp_path / "notebooks" / "03_consumers_until_5.ipynb"
    part.parent.mkdir()
    part.write_text("{}")
    assert command.main(["teach", "0", "1", "--slides", "--out", str(tmp_path)]) == 2
    assert "nobody has changed, found another; move it away" in capsys.readouterr().err
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>") and other.read_text() == "mine"
    with pytest.raises(FolderError, match="03_consumers_until_5.ipynb, or one that `labserver teach` has written"):
        teach.run(["3"], slides=False, until="5", out=str(tmp_path))
    assert part.read_text() == "{}"


def test_where_nothing_can_be_written_it_says_so(tmp_path):
    """A file where the folder should be is told, with the way out."""
    (tmp_path / "out").write_text("mine")
    with pytest.raises(FolderError, match="expected to write .*out.*slides.html, found: .*; name another folder"):
        teach.run(["0"], slides=True, until=None, out=str(tmp_path / "out"))


def test_what_is_asked_must_be_there(tmp_path, capsys):
    """An unknown lesson, or --until without one lesson, is status 2 and one line; nothing is written."""
    for arguments, told in (
        (["77"], "expected the number of a lesson, found '77'; they are 00, 01"),
        (["--until", "3"], "expected one lesson with --until, found 0; for example: teach 03 --until 4"),
        (["3", "4", "--until", "3"], "expected one lesson with --until, found 2"),
        (["3", "--until", "77"], "found none; name one by its number"),
    ):
        assert command.main(["teach", *arguments, "--out", str(tmp_path / "out")]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(LessonError):
        teach.run([], slides=False, until="3", out="out")
    with pytest.raises(SystemExit):
        command.main(["teach", "3", "--slides", "--until", "3"])


@pytest.mark.parametrize(
    ("name", "slip"),
    [("not a consumer", True), ("another reply", True), ("nothing is sent", False), ("close() is not return", False)],
)
def test_a_slip_is_told_by_its_name(name, slip):
    """`not a …` and `another …` are what checks call answers of another kind."""
    assert bool(SLIP.match(name)) == slip
