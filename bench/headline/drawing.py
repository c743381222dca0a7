"""How the plots are drawn: their style, and SVG whose colours the page sets.

Colours are CSS variables (--arm-0 …, --grid, currentColor), so one drawing suits a light and a dark page; markers
differ too, for readers who do not see the colours. Text stays text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.headline.intervals import Estimate

# Stand-ins that savefig writes and _with_theme replaces; no other element uses these colours.
INK, GRID = "#010203", "#040506"
ARMS = 6
"""Colours and markers that there are; further arms begin again."""
ARM_COLOURS = tuple(f"#0a0b{index:02x}" for index in range(ARMS))
GOOD, BAD = "#0a0c00", "#0a0c01"
MARKERS = ("o", "s", "^", "D", "v", "P")
PANEL_IN = (5.0, 3.3)
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 2,
    "lines.markersize": 6,
    "legend.frameon": False,
}


P = ParamSpec("P")
R = TypeVar("R")


def with_style(plot: Callable[P, R]) -> Callable[P, R]:
    """Draw with _STYLE, and leave matplotlib's settings as they were."""

    @wraps(plot)
    def draw(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context(_STYLE):
            return plot(*args, **kwargs)

    return draw


def line(
    axes: Axes, xs: Sequence[float], estimates: Sequence[Estimate], scale: float, index: int, label: str
) -> None:
    """Figures with their intervals as a band."""
    colour = ARM_COLOURS[index % ARMS]
    low = [(e.value if e.low is None else e.low) * scale for e in estimates]
    high = [(e.value if e.high is None else e.high) * scale for e in estimates]
    axes.fill_between(xs, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(
        xs, [e.value * scale for e in estimates], color=colour, marker=MARKERS[index % ARMS], label=label
    )


def log_scale(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def panel_figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=PANEL_IN)
    return figure, figure.add_subplot()


def svg_of(figure: Figure, name: str) -> str:
    """Lay out, and give the SVG with its colours as CSS variables."""
    figure.set_layout_engine("constrained")
    for axes in figure.axes:
        axes.tick_params(length=0)
    buffer = io.StringIO()
    # The salt makes the ids of clip paths unique on the page and the same in every rendering.
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(
            buffer,
            format="svg",
            transparent=True,
            metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
        )
    return _with_theme(buffer.getvalue(), re.sub(r"[^a-z0-9]+", "-", name.lower()))


def standalone(svg: str, colours: Mapping[str, str]) -> str:
    """A drawing as a file of its own, for viewers that know no CSS variables: their values, on a card."""
    start = svg.index(">") + 1
    card = f'<rect width="100%" height="100%" rx="8" fill="{colours["card"]}"/>'
    drawing = f'{svg[: start - 1]} color="{colours["ink"]}">{card}{svg[start:]}'
    return re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], drawing)


def _with_theme(svg: str, name: str) -> str:
    """The <svg> element alone, its stand-in colours replaced, its size left to the page, its ids its own."""
    variables = {color: f"var(--arm-{index})" for index, color in enumerate(ARM_COLOURS)}
    variables |= {INK: "currentColor", GRID: "var(--grid)", GOOD: "var(--good)", BAD: "var(--bad)"}
    for color, variable in variables.items():
        svg = svg.replace(color, variable)
    element = svg[svg.index("<svg") :]
    element = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', element)
    element = re.sub(r'(href="|url\()#', rf"\1#{name}-", element)
    return re.sub(r' (width|height)="[^"]*pt"', "", element, count=2)
