"""Slides: questions before answers, all of the lesson, and nothing that a room without a network lacks."""

import base64
import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from labserver.course.teach_lesson import COURSE, Lesson, Section, find, read
from labserver.course.teach_slides import deck

from ..conftest import look
from .test_teach_page import addresses

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 80 10"><rect width="80" height="10"/></svg>'


def lesson(*cells, title_text="**5 minutes.**"):
    """A lesson of one section."""
    pieces = [(cell, cell.source) for cell in cells]
    return Lesson(None, new_notebook(cells=[*cells]), "03 · Tea", title_text, (Section("1. Boil", pieces, 5),))


def slides(*cells):
    """The HTML of each slide after the title."""
    return re.findall(r'<section class="slide">(.*?)</section>', deck(lesson(*cells)), re.DOTALL)[1:]


def shown(*outputs):
    """The answer on the slide of a cell with these outputs."""
    (html,) = slides(new_code_cell("run", outputs=[*outputs]))
    return re.search(r'<div class="answer">(.*)</div></div>', html, re.DOTALL)[1]


def test_the_question_stands_above_the_code_until_it_is_answered():
    """It ends the slide of its text, is repeated with each cell up to the next text, and not after that."""
    found = slides(
        new_markdown_cell("It is *hot*. *Predict first:* how hot?\n\nThere is a cup."),
        new_code_cell("boil()"),
        new_code_cell("pour()", outputs=[new_output("stream", text="100\n")]),
        new_markdown_cell("So hot."),
        new_code_cell("drink()"),
    )
    question = '<div class="question"><p><em>Predict first:</em> how hot?</p>\n</div>'
    assert [question in each for each in found] == [True, True, True, False, False]
    assert found[0].endswith(question) and "There is a cup." in found[0]
    assert found[2].index("question") < found[2].index("pour") < found[2].index('<div class="answer">')
    assert "answer" not in found[1]


def test_each_heading_begins_a_slide():
    """What stands above a heading is about the last answer: it gets a slide of its own, without that heading."""
    found = slides(new_code_cell("setup()"), new_markdown_cell("how"), new_markdown_cell("done\n### And then `x`\nnow"))
    assert [re.findall("<h2>(.*?)</h2>", each) for each in found] == [[], ["1. Boil"], [], ["And then <code>x</code>"]]
    assert all("<span>1. Boil</span><span>about 5 min</span>" in each for each in found)


def test_the_title_slide_says_what_comes():
    """The first slide is the lesson's first cell, with the keys that lead on."""
    html = deck(lesson(title_text="**5 minutes.** [01](01.ipynb)\n\n- pour"))
    title, keys, text = html[html.index("<h1>03") :].split("<p", 2)
    assert title == "<h1>03 · Tea</h1>" and "→ or the space bar" in keys
    assert text.startswith("><strong>5 minutes.</strong> 01</p>\n<ul>\n<li>pour</li>")


def test_printed_text_is_shown_as_it_is():
    """Streams and plain results are text; errors are red; colours of the terminal are left out."""
    assert shown(new_output("stream", text="a < b\n")) == '<pre class="stdout">a &lt; b</pre>'
    assert shown(new_output("stream", name="stderr", text="\x1b[31mhot\x1b[0m")) == '<pre class="stderr">hot</pre>'
    assert shown(new_output("execute_result", {"text/plain": "42"})) == '<pre class="stdout">42</pre>'
    error = new_output("error", ename="KeyError", evalue="'x'", traceback=["long"])
    assert shown(error) == '<pre class="stderr">KeyError: &#x27;x&#x27;</pre>'


def test_pictures_are_in_the_file():
    """An SVG is embedded as an image, so that it follows the theme; its text form is there for who cannot see it."""
    html = shown(new_output("display_data", {"image/svg+xml": SVG, "text/plain": 'a "b"'}))
    encoded = base64.b64encode(SVG.encode()).decode()
    assert html == f'<img alt="a &quot;b&quot;" src="data:image/svg+xml;base64,{encoded}">'


def test_a_page_of_the_server_is_told_in_words():
    """There is no server while slides are shown: its text form takes the place of HTML. Markdown is rendered."""
    frame = {"text/html": '<iframe src="http://127.0.0.1/"></iframe>', "text/plain": "the page /chat/"}
    assert shown(new_output("execute_result", frame)) == '<pre class="stdout">the page /chat/</pre>'
    table = {"text/markdown": "| a |\n|---|\n| b<br>c |", "text/plain": "?"}
    assert "<td>b<br>c</td>" in shown(new_output("execute_result", table))
    assert shown(new_output("execute_result", {"text/html": "<b>x</b>"})) == '<pre class="stdout"></pre>'


def test_html_of_a_lesson_cannot_reach_out():
    """Links are words, and tags in texts are shown, not obeyed."""
    (found,) = slides(new_markdown_cell('[docs](https://example.org) <img src="https://example.org/x.png">'))
    assert "docs" in found and "<img" not in found and "href" not in found


@pytest.mark.parametrize("path", find([], COURSE / "notebooks"), ids=lambda path: path.stem)
def test_a_whole_lesson_is_there_and_fetches_nothing(path):
    """Each cell's code has its slide, each stored picture is in it, and no address leads out of the file."""
    tale = read(path)
    html = deck(tale)
    assert addresses(html) == []
    assert html.count('<div class="highlight">') == len(tale.sources)
    pictures = [
        1
        for cell in tale.notebook.cells
        for output in cell.get("outputs", ())
        if "image/svg+xml" in output.get("data", {})
    ]
    assert html.count("<img ") == len(pictures)
    assert html.count('class="question"') >= sum(section.predictions for section in tale.sections)


@pytest.mark.needs("chromium")
def test_keys_go_through_the_slides(chromium, tmp_path):
    """A key shows the answer, then the next slide; back goes the same way; the place is kept in the address."""
    picture = new_output("display_data", {"image/svg+xml": SVG, "text/plain": "a"})
    cells = [new_markdown_cell("how"), new_code_cell("run\n" * 15, outputs=[picture]), new_code_cell("x" * 200)]
    file = tmp_path / "slides.html"
    file.write_text(deck(lesson(*cells)), "utf-8")
    context = chromium.new_context(offline=True, viewport={"width": 1280, "height": 720})
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(file.as_uri())
    answer, place = page.locator(".answer"), page.locator("#place")

    def state():
        return place.inner_text(), answer.is_visible()

    assert page.get_by_text("the space bar: the answer").is_visible()  # on the first slide
    seen = [state()]
    for key in (
        "ArrowRight",
        " ",
        "PageDown",
        "ArrowRight",
        "End",
        "ArrowRight",
        "ArrowLeft",
        "ArrowLeft",
        "ArrowLeft",
    ):
        page.keyboard.press(key)
        seen.append(state())
    assert seen == [
        ("1 / 4", False),
        ("2 / 4", False),
        ("3 / 4", False),
        ("3 / 4", True),
        ("4 / 4", False),
        ("4 / 4", False),
        ("4 / 4", False),
        ("3 / 4", True),
        ("3 / 4", False),
        ("2 / 4", False),
    ]
    page.locator("#next").click()
    page.keyboard.press("Enter")  # on a button it is the button's
    assert state() == ("3 / 4", True) and page.url.endswith("#3")
    assert page.evaluate("slides.filter(each => each.matches('.now')).length") == 1
    look(page, "teach-slides")
    page.reload()
    assert state() == ("3 / 4", False)
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    assert state() == ("1 / 4", False) and errors == []
    context.close()


@pytest.mark.needs("chromium")
def test_every_slide_of_a_lesson_can_be_read_at_once(chromium, tmp_path):
    """The letters shrink until a slide is whole in the window: nobody scrolls; on paper every answer is shown."""
    file = tmp_path / "slides.html"
    file.write_text(deck(read(find(["03"], COURSE / "notebooks")[0])), "utf-8")
    context = chromium.new_context(offline=True, viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.goto(file.as_uri())
    cut = "slides.map((each, at) => [show(at, true), fits(each), at + 1]).filter(each => !each[1]).map(each => each[2])"
    assert page.evaluate(cut) == []
    page.emulate_media(media="print")
    hidden = "[...document.querySelectorAll('.answer, .highlight')].filter(each => !each.offsetHeight).length"
    assert page.evaluate(hidden) == 0
    context.close()
