"""The plots of a report, as SVG to be put inline.

Colours are CSS variables (--arm-0 …, --grid, currentColor), so one drawing suits a light and a dark page;
markers differ too, for readers who do not see the colours. Text stays text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from bench.headline.summary import Summary
from bench.records import LoadPoint

# Stand-ins that savefig writes and _with_theme replaces; no other element uses these colours.
_INK, _GRID = "#010203", "#040506"
_ARMS = tuple(f"#0a0b{index:02x}" for index in range(6))
_GOOD, _BAD = "#0a0c00", "#0a0c01"
MARKERS = ("o", "s", "^", "D", "v", "P")

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "lines.linewidth": 2,
    "lines.markersize": 5.5,
    "legend.frameon": False,
}


P = ParamSpec("P")


def _with_style(plot: Callable[P, str]) -> Callable[P, str]:
    """Draw with _STYLE, and leave matplotlib's settings as they were."""

    @wraps(plot)
    def draw(*args: P.args, **kwargs: P.kwargs) -> str:
        with matplotlib.rc_context(_STYLE):
            return plot(*args, **kwargs)

    return draw


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A row of the waterfall."""

    label: str
    value: float
    low: float
    high: float


@_with_style
def latency(summaries: Sequence[Summary], arms: Sequence[str]) -> str:
    """TTFA of /tts/stream against load: median, band from p5 to p95, a panel per load kind and texts."""
    shown = [s for s in summaries if s.point.endpoint == "/tts/stream" and s.ttfa_p50_s is not None]

    def draw(axes: Axes, panel: Sequence[Summary], index: int, label: str) -> None:
        xs = [s.point.x for s in panel]
        low, mid, high = (
            [(getattr(s, name) or 0.0) * 1e3 for s in panel]
            for name in ("ttfa_p5_s", "ttfa_p50_s", "ttfa_p95_s")
        )
        axes.fill_between(xs, low, high, color=_ARMS[index], alpha=0.18, linewidth=0)
        axes.plot(xs, mid, color=_ARMS[index], marker=MARKERS[index], label=label)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())

    return _panels(shown, arms, draw, "TTFA (ms)", "latency")


@_with_style
def throughput(summaries: Sequence[Summary], arms: Sequence[str]) -> str:
    """Audio seconds per second against clients, closed loop, a panel per endpoint and texts."""
    shown = [s for s in summaries if s.point.mode == "closed" and s.audio_seconds_per_second is not None]

    def draw(axes: Axes, panel: Sequence[Summary], index: int, label: str) -> None:
        xs, ys = [s.point.x for s in panel], [s.audio_seconds_per_second or 0.0 for s in panel]
        axes.plot(xs, ys, color=_ARMS[index], marker=MARKERS[index], label=label)
        axes.set_ylim(bottom=0, top=max(axes.get_ylim()[1], max(ys) * 1.1))

    return _panels(shown, arms, draw, "audio seconds per second", "throughput")


@_with_style
def stalls(summaries: Sequence[Summary], arms: Sequence[str]) -> str:
    """Share of streams whose stall is at most x, at the lowest, a middle and the highest closed load."""
    shown = [s for s in summaries if s.point.mode == "closed" and s.stalls_s]
    loads = sorted({s.point.x for s in shown})
    picked = sorted({loads[0], loads[len(loads) // 2], loads[-1]}) if loads else []
    figure, grid = _figure(len(picked), columns=3)
    for axes, load in zip(grid, picked, strict=False):
        for index, arm in enumerate(arms):
            values = sorted(
                stall_s * 1e3 for s in shown if s.arm == arm and s.point.x == load for stall_s in s.stalls_s
            )
            if values:
                shares = [(rank + 1) / len(values) * 100 for rank in range(len(values))]
                right = max(values[-1] * 1.05, 250.0)
                axes.step(
                    [0.0, *values, right], [0.0, *shares, 100.0], where="post", color=_ARMS[index], label=arm
                )
        axes.set_title(f"{load:g} client{'' if load == 1 else 's'}")
        axes.set_xlabel("stall at most (ms)")
        axes.set_ylabel("share of streams (%)")
        axes.set_ylim(0, 103)
        axes.set_xlim(left=0)
    return _finish(figure, grid, "stalls")


@_with_style
def stages(shares: dict[str, float], unit: str) -> str:
    """One bar per stage, longest first."""
    figure = Figure(figsize=(9.2, 0.9 + 0.42 * len(shares)))
    axes = figure.add_subplot()
    ordered = sorted(shares.items(), key=lambda item: item[1])
    bars = axes.barh(
        [name for name, _ in ordered], [value for _, value in ordered], color=_ARMS[0], height=0.6
    )
    axes.bar_label(bars, fmt="%.3g", padding=4, color=_INK)
    axes.set_xlabel(unit)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.12)
    return _finish(figure, [axes], "stages", legend=False)


@_with_style
def waterfall(bars: Sequence[Bar]) -> str:
    """Speed after each switch, in percent of the start: what it brought, with its interval."""
    figure = Figure(figsize=(9.2, 0.9 + 0.48 * (len(bars) + 1)))
    axes = figure.add_subplot()
    level = 100.0
    labels = ["start"]
    axes.barh(0, level, color=_ARMS[0], height=0.55)
    for row, bar in enumerate(bars, start=1):
        after = level * bar.value
        axes.barh(row, after - level, left=level, color=_GOOD if after >= level else _BAD, height=0.55)
        axes.errorbar(
            after, row, xerr=[[max(after - level * bar.low, 0)], [max(level * bar.high - after, 0)]],
            color=_INK, capsize=3, linewidth=1.2,
        )  # fmt: skip
        axes.plot([after, after], [row, min(row + 1, len(bars))], color=_GRID, linewidth=1)
        labels.append(f"{bar.label}   ×{bar.value:.2f}")
        level = after
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("speed, % of the start")
    axes.grid(axis="y", visible=False)
    return _finish(figure, [axes], "waterfall", legend=False)


Draw = Callable[[Axes, Sequence[Summary], int, str], None]
"""Draws the summaries of one arm, in order of load, in the arm's colour with its label."""


def _panels(summaries: Sequence[Summary], arms: Sequence[str], draw: Draw, y_label: str, name: str) -> str:
    """One panel per (load kind, endpoint, texts), one line per arm."""
    kinds = sorted({_kind(s.point) for s in summaries})
    figure, grid = _figure(len(kinds), columns=2)
    for axes, kind in zip(grid, kinds, strict=False):
        mode, endpoint, texts = kind
        chosen = [s for s in summaries if _kind(s.point) == kind]
        for index, arm in enumerate(arms):
            line = sorted((s for s in chosen if s.arm == arm), key=lambda s: s.point.x)
            if line:
                draw(axes, line, index, arm)
        loads = sorted({s.point.x for s in chosen})
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(loads))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_title(f"{endpoint} · {texts} texts · {mode} loop")
        axes.set_xlabel("clients" if mode == "closed" else "requests due per second")
        axes.set_ylabel(y_label)
    return _finish(figure, grid, name)


def _kind(point: LoadPoint) -> tuple[str, str, str]:
    return point.mode, point.endpoint, point.texts


def _figure(panels: int, columns: int) -> tuple[Figure, list[Axes]]:
    columns = max(min(columns, panels), 1)
    rows = max(-(-panels // columns), 1)
    figure = Figure(figsize=(9.2, 0.7 + 2.9 * rows))
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in grid[panels:]:
        axes.set_axis_off()
    return figure, grid


def _finish(figure: Figure, grid: Sequence[Axes], name: str, *, legend: bool = True) -> str:
    """Lay out, add one legend for all panels, and give the SVG with its colours as CSS variables."""
    entries: dict[str, Artist] = {}
    for axes in grid:
        lines, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, lines, strict=True))
    if legend and entries:
        figure.legend(list(entries.values()), list(entries), loc="outside upper left", ncols=len(entries))
    figure.set_layout_engine("constrained")
    for axes in grid:
        axes.tick_params(length=0)
    buffer = io.StringIO()
    # The salt makes the ids of clip paths unique on the page and the same in every rendering.
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _with_theme(buffer.getvalue())


def standalone(svg: str, colours: Mapping[str, str]) -> str:
    """A drawing as a file of its own, for viewers that know no CSS variables: their values, on a card."""
    start = svg.index(">") + 1
    card = f'<rect width="100%" height="100%" rx="8" fill="{colours["card"]}"/>'
    drawing = f'{svg[: start - 1]} color="{colours["ink"]}">{card}{svg[start:]}'
    return re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], drawing)


def _with_theme(svg: str) -> str:
    """The <svg> element alone, its stand-in colours replaced, its size left to the page."""
    variables = {color: f"var(--arm-{index})" for index, color in enumerate(_ARMS)}
    variables |= {_INK: "currentColor", _GRID: "var(--grid)", _GOOD: "var(--good)", _BAD: "var(--bad)"}
    for color, variable in variables.items():
        svg = svg.replace(color, variable)
    element = svg[svg.index("<svg") :]
    return re.sub(r' (width|height)="[^"]*pt"', "", element, count=2)
