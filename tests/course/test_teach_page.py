"""The printed page: it says what the lesson and the checks say, stands alone, and stays on one side of paper."""

import re
from html.parser import HTMLParser

import pytest

from labserver.course.teach_lesson import COURSE, find, read
from labserver.course.teach_page import Mistakes, page, pages, phrases, words

from ..conftest import look

LESSONS = {path.stem[:2]: read(path) for path in find([], COURSE / "notebooks")}


class Addresses(HTMLParser):
    """Every address that a document names: in attributes, and in its styles."""

    def __init__(self, text):
        super().__init__()
        self.found = re.findall(r"url\(\s*['\"]?([^)'\"]+)|@import\s+['\"]([^'\"]+)", text)
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        names = ("src", "href", "srcset", "data", "action", "poster")
        self.found += [value for name, value in attributes if name in names]


def addresses(text):
    """The addresses in a document that lead out of it."""
    return [each for each in Addresses(text).found if not str(each).startswith(("data:", "#"))]


def text_of(html):
    """The words of some HTML."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html)).replace("&lt;", "<").replace("&gt;", ">")


MISTAKES = [
    Mistakes("03.1", "Boil `water`", 6, {"too cold": "Wait for it.", "unseen": "", "too late": "Wait for it."}),
    Mistakes("03.2", "Pour", 5, {"beside the cup": "Look & <aim>."}),
]


def test_the_page_says_what_the_lesson_says():
    """Title, minutes, each section with its minutes, objectives, scope, and what fails are on it."""
    lesson = LESSONS["03"]
    html = text_of(page(lesson, MISTAKES))
    assert "03 · Consumers: one method for each event" in html and "40 min + exercises 11 min" in html
    for section in lesson.sections:
        assert f"{section.minutes}{section.title.replace('`', '')}" in html
    for each in lesson.objectives:
        assert each in html
    assert "Before You have done 01" in html and "Not here routes and users (lesson 04)" in html
    assert "Needs nothing but the lab" in html
    assert "Fails on purpose section 7 TimeLimit; printed in red, and meant: sections 5, 6, 8" in html


def test_what_a_lesson_needs_is_told():
    """Minutes without what may be left out; programs are named, and the sections that show a page."""
    html = page(LESSONS["05"], [])
    assert re.search(r"<b>60 min</b> \(\d\d without what is optional\) \+ exercises", html)
    assert "<b>Needs</b> redis-server (without one, " in html and "server's pages in section 8</p>" in html
    assert "<b>Needs</b> gunicorn, sh, nginx, redis-server" in page(LESSONS["09"], [])
    assert "Fails on purpose" not in page(LESSONS["09"], [])


def test_misconceptions_stand_with_their_next_step():
    """Those with the same step share it; one without a step has its name; nothing is taken for HTML."""
    html = page(LESSONS["03"], MISTAKES)
    assert "03.1 Boil <code>water</code> (6 min)" in html
    assert "<p><b>too cold</b>; <b>too late</b> → Wait for it.</p>" in html
    assert "<p><b>unseen</b></p>" in html
    assert "<b>beside the cup</b> → Look &amp; &lt;aim&gt;." in html


def test_many_misconceptions_are_printed_smaller():
    """The more there is to say, the smaller the letters, down to a size that can be read."""
    sizes = []
    for count in (10, 25, 35, 50, 90):
        mistakes = [Mistakes("03.1", "Boil", 6, {f"name {number}": "x" * 92 for number in range(count)})]
        sizes.append(float(re.search(r"--size:([\d.]+)pt", page(LESSONS["03"], mistakes))[1]))
    assert sizes == sorted(set(sizes), reverse=True) and sizes[-1] >= 7


def test_code_and_emphasis():
    """Backticks are code everywhere; stars are emphasis in texts of the notebook alone."""
    assert words("`a < b` *c*") == "<code>a &lt; b</code> *c*"
    assert (
        phrases("a *trace* of `x`, **now**; 2 * 3 * 4") == "a <em>trace</em> of <code>x</code>, <em>now</em>; 2 * 3 * 4"
    )


def test_several_lessons_begin_with_a_page_for_all():
    """It has a row for each, with links to them, programs, and the sums; one lesson has none."""
    both = [(LESSONS["03"], MISTAKES), (LESSONS["09"], [])]
    html = pages(both)
    assert html.count("<article") == 3 and pages(both[:1]).count("<article") == 1
    assert '<a href="#lesson-03">' in html and 'id="lesson-03"' in html
    assert "gunicorn, sh, nginx, redis-server</td>" in html
    assert '<b>115</b></td><td class="count"><b>11</b>' in html
    assert "<title>For instructors: 03 · Consumers: one method for each event</title>" in pages(both[:1])


def test_it_stands_alone():
    """Nothing is fetched, and nothing runs."""
    html = pages([(lesson, MISTAKES) for lesson in LESSONS.values()])
    assert addresses(html) == [] and "<script" not in html
    assert addresses('<img src="x.png"><style>@import "y.css"; a { background: url(z.png) }</style>') != []


@pytest.mark.needs("chromium")
def test_a_lesson_is_one_side_of_paper(chromium, tmp_path):
    """The longest lesson stays on one page of A4 and of Letter; and can be looked at in both themes."""
    step = "Whoever reads this is told what to do next, in as many words: {}."
    steps = {f"what people misunderstand {number}": step.format(number) for number in range(19)}
    mistakes = [Mistakes(f"07.{number}", "One slow member", 9, steps) for number in range(1, 5)]
    file = tmp_path / "page.html"
    file.write_text(pages([(LESSONS["07"], mistakes)]), "utf-8")
    context = chromium.new_context(offline=True)
    shown = context.new_page()
    shown.goto(file.as_uri())
    for paper in ("A4", "Letter"):
        printed = shown.pdf(format=paper)
        assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1, paper
    look(shown, "teach")
    context.close()
