"""The picture of progress: one style of its own."""

from labserver.course import bars


def test_every_rule_is_for_this_picture_alone():
    """A page that shows the picture in line keeps its own style."""
    style = bars._style().removeprefix("<style>").removesuffix("</style>").replace("\n}\n", "\n")
    rules = [line for line in style.splitlines() if line and not line.startswith("@media")]
    assert rules and all(one.startswith(".lab-progress ") for rule in rules for one in rule.split("{")[0].split(","))
