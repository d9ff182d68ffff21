"""The diagram's colours can be read by everybody, and stay inside the diagram."""

import re

import pytest

from labserver.trace.theme import DARK, LIGHT, STYLE


def luminance(colour):
    """Relative luminance of a colour like `#0b5394` (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """The contrast of two colours, from 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["ink", "muted", "asgi", "wire", "layer", "close", "refused", "crash", "broken"])
def test_words_stand_out_from_the_card(theme, name):
    """Each colour of words has a contrast of 4.5 or more on the card, in either variant."""
    assert contrast(theme[name], theme["card"]) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_names_of_lanes_and_connections_stand_out(theme):
    """The same holds for what stands on a lane's head, and for every connection's colour."""
    assert contrast(theme["ink"], theme["lane"]) >= 4.5
    assert contrast(theme["muted"], theme["lane"]) >= 4.5
    assert all(contrast(colour, theme["card"]) >= 4.5 for colour in theme["pills"])


def test_both_variants_have_the_same_names():
    """Nothing is coloured in one variant only."""
    assert LIGHT.keys() == DARK.keys() and len(LIGHT["pills"]) == len(DARK["pills"])


def test_no_rule_reaches_out_of_the_picture():
    """Where a page shows the SVG in line, the page keeps its own style: every selector starts at the picture."""
    rules = re.sub(r"</?style>|@media[^{]*\{|^\}$", "", STYLE, flags=re.MULTILINE)
    selectors = [one for line in rules.split() if "{" in line for one in re.findall(r"[^{}]+(?=\{)", rules)]
    assert selectors
    assert all(part.strip().startswith(".channels-lab ") for one in selectors for part in one.split(","))
