"""Slides of a lesson: text and question, then the code with the question, then, one step later, what came of it.

Room: HTML of a notebook's cells and stored outputs, whole in itself: pictures are in it, links are words, nothing is
fetched. Without JavaScript, and on paper, all slides stand below each other with their answers.
"""

import base64
import html
import re
from collections.abc import Iterator

import mistune
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

from .teach_lesson import PREDICT, Lesson, plain, split
from .teach_page import COLOURS, FONTS, document, phrases

LIGHT, DARK = "default", "github-dark"
"""Names of Pygments' styles for code."""

_LEXER, _FORMATTER = get_lexer_by_name("ipython3"), HtmlFormatter()
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_markdown = mistune.create_markdown(plugins=["table"])  # raw HTML is escaped


def _code_style() -> str:
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in (LIGHT, DARK))
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{ {dark} }}\n.highlight {{ background: none; }}"


STYLE = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 20px/1.4 var(--sans); }
.slide { padding: 1.2em 2.4em 2em; border-bottom: 1px solid var(--edge); }
.slide > header { color: var(--muted); font-size: .6em; display: flex; justify-content: space-between; }
h1, h2 { margin: .3em 0 .4em; line-height: 1.15; }
h1 { font-size: 1.9em; }
h2 { font-size: 1.5em; }
p, ul, ol, table, pre { margin: 0 0 .6em; }
code, pre { font-family: var(--mono); font-size: .88em; }
pre { line-height: 1.3; overflow: auto; padding: .5em .7em; border-radius: 6px; background: var(--shade); }
pre code { font-size: 1em; }
.highlight pre { border-left: 4px solid var(--accent); }
.stderr { white-space: pre-wrap; border-left: 4px solid var(--warn); }
table { border-collapse: collapse; font-size: .9em; }
td, th { text-align: left; padding: .2em .8em .2em 0; border-bottom: 1px solid var(--edge); vertical-align: top; }
img { display: block; width: 100%; max-height: 74vh; object-fit: contain; object-position: left top; }
.js .answer img.large { position: fixed; inset: 2vh 2vw; width: 96vw; height: 96vh; max-height: none;
  background: var(--paper); }
.question { border: 2px solid var(--accent); border-radius: 6px; padding: .4em .7em; margin-bottom: .6em; }
.question p:last-child { margin: 0; }
.js .slide { display: none; border: 0; height: 100vh; overflow: auto; }
.js .slide.now { display: block; }
.js .slide:not(.told) .answer, .js [data-layout~="alone"] .highlight { display: none; }
.js .now[data-layout~="alone"], .js [data-layout~="alone"] .run, .js [data-layout~="alone"] .answer { display: flex;
  flex-direction: column; flex: 1; }
.js [data-layout~="alone"] pre { flex: none; }
.js [data-layout~="wrap"] pre { white-space: pre-wrap; overflow-wrap: anywhere; }
.js [data-layout~="alone"] img { flex: 1 0 auto; height: 0; min-height: 12em; max-height: none; }
.js [data-layout="beside"] .run { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 0 1em;
  align-items: start; }
.keys { display: none; color: var(--muted); font-size: .7em; }
.js .keys { display: block; }
nav { display: none; position: fixed; right: 1em; bottom: .6em; font-size: 16px; color: var(--muted); }
.js nav { display: block; }
nav button { font: inherit; color: inherit; background: var(--shade); border: 1px solid var(--edge); padding: 0 .6em;
  border-radius: 4px; cursor: pointer; }
@page { margin: 12mm; }
@media print { body, .slide { font-size: 11pt !important; } nav, .js nav, .js .keys { display: none; }
  .slide, .js .slide { height: auto; overflow: visible; padding: 2mm 0; border-bottom: 1px solid var(--edge); }
  .slide, .run, .answer, .highlight { display: block !important; }
  pre { white-space: pre-wrap; } pre, img, .question { break-inside: avoid; }
  img { width: 85%; height: auto !important; max-height: 110mm; } }
"""

SCRIPT = """
const slides = [...document.querySelectorAll(".slide")], root = document.documentElement;
let at = 0;
root.classList.add("js");

function fits(slide) {
  const wide = [...slide.querySelectorAll("pre")].some((each) => each.scrollWidth > each.clientWidth + 1);
  const end = slide.lastElementChild.getBoundingClientRect().bottom + parseFloat(getComputedStyle(slide).paddingBottom);
  return !wide && end <= slide.getBoundingClientRect().bottom + 1;
}

function sized(slide, least, layouts) { // the largest letters with which all of it is in sight
  const most = Math.min(innerWidth / 40, innerHeight / 20);
  for (let size = most; size > most * least; size *= 0.94)
    for (const layout of layouts) {
      slide.style.fontSize = `${size}px`;
      slide.dataset.layout = layout;
      if (fits(slide)) return true;
    }
}

function fit(slide) { // code and answer where both can be read, else the answer alone: the code is one step back
  const both = slide.matches(".told") && slide.querySelector(".answer");
  const layouts = both && !slide.querySelector("img") ? ["below", "beside"] : ["below"];
  const last = both ? "alone" : "below";
  sized(slide, 0.65, layouts) || sized(slide, 0.55, [last]) || sized(slide, 0.4, [last, `${last} wrap`]);
}

function show(number, told) {
  slides[at].classList.remove("now");
  at = Math.max(0, Math.min(slides.length - 1, number));
  const slide = slides[at];
  slide.classList.add("now");
  slide.classList.toggle("told", told || !slide.querySelector(".answer"));
  document.querySelector("#place").textContent = `${at + 1} / ${slides.length}`;
  history.replaceState(null, "", `#${at + 1}`);
  fit(slide);
}

function next() {
  if (!slides[at].classList.contains("told")) show(at, true);
  else if (at < slides.length - 1) show(at + 1, false);
}

function back() {
  if (slides[at].classList.contains("told") && slides[at].querySelector(".answer")) show(at, false);
  else if (at > 0) show(at - 1, true);
}

const keys = { ArrowRight: next, ArrowDown: next, PageDown: next, " ": next, Enter: next, ArrowLeft: back,
  ArrowUp: back, PageUp: back, Backspace: back, Home: () => show(0, false), End: () => show(slides.length, true) };
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
  if (event.target.tagName === "BUTTON" && [" ", "Enter"].includes(event.key)) return;
  event.preventDefault();
  keys[event.key]();
});
document.querySelector("#back").onclick = back;
document.querySelector("#next").onclick = next;
const place = () => show((parseInt(location.hash.slice(1)) || 1) - 1, false);
addEventListener("hashchange", place);
addEventListener("resize", () => fit(slides[at]));
place();
for (const image of document.images) {
  image.onclick = () => image.classList.toggle("large");
  image.decode().finally(() => fit(slides[at]));
}
"""

KEYS = "→ or the space bar: the answer, then the next slide. ←: back. Click a picture to enlarge it."

NAVIGATION = (
    '<nav><span id="place"></span> <button id="back" title="back (left arrow)">‹</button> '
    '<button id="next" title="next (right arrow, space)">›</button></nav>'
)


def deck(lesson: Lesson) -> str:
    """The slides of a lesson, as one HTML file."""
    title = f'<h1>{phrases(lesson.title)}</h1><p class="keys">{KEYS}</p>{_html(lesson.title_text)}'
    slides = [_slide("", title), *_slides(lesson)]
    style = COLOURS + FONTS + _code_style() + STYLE
    body = "\n".join([*slides, NAVIGATION, f"<script>{SCRIPT}</script>"])
    return document(f"Slides: {lesson.title}", style, body)


def _slides(lesson: Lesson) -> Iterator[str]:
    """The slides in order; a question stays above the code until the next text."""
    question = ""
    for section in lesson.sections:
        head = f"<span>{phrases(section.title)}</span><span>about {section.minutes} min</span>"
        untold = section.title
        for cell, source in section.pieces:
            if cell.cell_type == "code":
                yield _slide(head, _run(question, source, cell.outputs))
                continue
            for title, text in split(source, 3):
                text, question = _asked(text)
                heading = f"<h2>{phrases(title or untold)}</h2>" if title or untold else ""
                untold = ""
                yield _slide(head, heading + _html(text) + question)


def _slide(head: str, body: str) -> str:
    return f'<section class="slide"><header>{head}</header>{body}</section>'


def _asked(text: str) -> tuple[str, str]:
    """The text without its question, and the question as HTML."""
    before, mark, after = text.partition(PREDICT)
    if not mark:
        return text, ""
    asked, _, rest = after.partition("\n\n")
    return f"{before}\n\n{rest}", f'<div class="question">{_html(mark + asked)}</div>'


def _run(question: str, source: str, outputs: list[NotebookNode]) -> str:
    code = highlight(source, _LEXER, _FORMATTER)
    answer = f'<div class="answer">{"".join(map(_output, outputs))}</div>' if outputs else ""
    return f'{question}<div class="run">{code}{answer}</div>'


def _output(output: NotebookNode) -> str:
    """An output as it can be shown without a server: of a page, what stands in for it as text."""
    if output.output_type == "stream":
        return _text(output.text, output.name)
    if output.output_type == "error":
        return _text(f"{output.ename}: {output.evalue}", "stderr")
    data = output.data
    if picture := data.get("image/svg+xml"):
        encoded, words = base64.b64encode(picture.encode()).decode(), html.escape(data.get("text/plain", ""))
        return f'<img alt="{words}" src="data:image/svg+xml;base64,{encoded}">'
    return _html(data["text/markdown"]) if "text/markdown" in data else _text(data.get("text/plain", ""), "stdout")


def _text(text: str, kind: str) -> str:
    return f'<pre class="{kind}">{html.escape(_ANSI.sub("", text).rstrip())}</pre>'


def _html(text: str) -> str:
    """HTML of markdown, whose links are words: offline they lead nowhere."""
    return _markdown(plain(text)).replace("&lt;br&gt;", "<br>")  # the one way to a new line in a table
