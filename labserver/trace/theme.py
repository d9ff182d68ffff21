"""The colours and fonts of the sequence diagram, in a light and a dark variant.

Room: one constant, used by `svg`. Every rule begins with the picture's own class, so that a page that shows the SVG
in line, not as an image, keeps its own style. Text has a contrast of 4.5 to 1 or more on the card (WCAG 2.2, 1.4.3);
a test measures it. Plain rules, no CSS variables: converters to PDF do not know them.
"""

LIGHT = {
    "card": "#ffffff",
    "edge": "#c4ccd6",
    "lane": "#eef1f5",
    "life": "#c4ccd6",
    "ink": "#1b2330",
    "muted": "#566173",
    "asgi": "#1b2330",
    "wire": "#0b5394",
    "layer": "#6b2fa8",
    "close": "#1b2330",
    "refused": "#a8221a",
    "crash": "#a8221a",
    "broken": "#8a4300",
    "pills": ("#0b5394", "#9a3412", "#166534", "#86198f", "#0f5f6b", "#7a5200"),
}

DARK = {
    "card": "#161b24",
    "edge": "#3b4554",
    "lane": "#222a36",
    "life": "#3f4a5a",
    "ink": "#e8ecf2",
    "muted": "#a3aebd",
    "asgi": "#e8ecf2",
    "wire": "#7cc0ff",
    "layer": "#cda9ff",
    "close": "#e8ecf2",
    "refused": "#ff9a90",
    "crash": "#ff9a90",
    "broken": "#f3b560",
    "pills": ("#7cc0ff", "#ffab7a", "#84d69a", "#f0a0f5", "#76d5e3", "#e8c46a"),
}

_SHAPES = """
.sans{font:12px -apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"Liberation Sans",sans-serif}
.mono{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono","Liberation Mono",monospace}
.mono{white-space:pre}
.middle{text-anchor:middle}
.end{text-anchor:end}
.type,.lane-title,.chip-text,.pill-text{font-weight:600}
text.close,text.refused,text.crash,text.broken{font-weight:700}
.chip-text{font-size:11px;letter-spacing:.4px}
.halo{paint-order:stroke;stroke-width:4px;stroke-linejoin:round}
.life{stroke-width:1.5}
.line{stroke-width:1.5;fill:none}
.line.refused,.line.crash{stroke-dasharray:6 4;stroke-width:2}
.line.broken{stroke-dasharray:9 3 2 3;stroke-width:2}
.cross{stroke-width:3;fill:none;stroke-linecap:round}
.chip{stroke-width:1.5}
.chip.broken{stroke-dasharray:4 2}
.pill{stroke-width:1.5}
.gap{stroke-dasharray:3 3}
"""


def _colours(theme: dict) -> str:
    rules = [
        f".card,.pill,.chip{{fill:{theme['card']}}}",
        f".card,.gap{{stroke:{theme['edge']}}}",
        f".lane,.gap{{fill:{theme['lane']}}}",
        f".lane{{stroke:{theme['edge']}}}",
        f".life{{stroke:{theme['life']}}}",
        f"text{{fill:{theme['ink']}}}",
        f".muted,.note{{fill:{theme['muted']}}}",
        f".halo{{stroke:{theme['card']}}}",
    ]
    for kind in ("asgi", "wire", "layer", "close", "refused", "crash", "broken"):
        colour = theme[kind]
        rules.append(f"text.{kind},tspan.{kind},.head.{kind}{{fill:{colour}}}")
        rules.append(f".line.{kind},.cross.{kind},.chip.{kind}{{stroke:{colour}}}")
    rules.append(f".chip.crash{{fill:{theme['crash']}}}")
    rules.append(f".chip-text.crash{{fill:{theme['card']}}}")
    pills = {f"c{i}": colour for i, colour in enumerate(theme["pills"])} | {"c-cell": theme["ink"]}
    for name, colour in pills.items():
        rules.append(f"rect.{name}{{stroke:{colour}}}")
        rules.append(f"text.{name}{{fill:{colour}}}")
    return "\n".join(rules)


def _scoped(rules: str) -> str:
    found = []
    for rule in rules.strip().splitlines():
        selectors, brace, rest = rule.partition("{")
        found.append(",".join(f".channels-lab {one}" for one in selectors.split(",")) + brace + rest)
    return "\n".join(found)


STYLE = (
    f"<style>\n{_scoped(_SHAPES)}\n{_scoped(_colours(LIGHT))}\n"
    f"@media (prefers-color-scheme:dark){{\n{_scoped(_colours(DARK))}\n}}\n</style>"
)
"""The diagram's style element."""
