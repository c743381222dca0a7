"""The curves about the capacity, as SVG to be put inline. Colours are CSS variables: one drawing suits both themes."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.capacity.probe import KINDS, Kind
from bench.capacity.record import CapacityRun, Found, Row, curve

# Stand-ins that savefig writes and _themed replaces; no other element uses these colours.
_INK, _GRID, _LIMIT = "#010203", "#040506", "#070809"
_ARMS = tuple(f"#0a0b{index:02x}" for index in range(6))
_MARKERS = "os^DvP"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "capacity", "font.family": "sans-serif", "font.size": 11,
    "text.color": _INK, "axes.edgecolor": _GRID, "axes.labelcolor": _INK, "axes.titlesize": 11.5,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.grid": True, "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "grid.color": _GRID, "grid.linewidth": 0.7,
    "xtick.color": _INK, "ytick.color": _INK, "lines.linewidth": 2, "lines.markersize": 5.5, "legend.frameon": False,
}  # fmt: skip


def ttfa(record: CapacityRun, kind: Kind) -> str | None:
    """Audible TTFA p95 against load with the SLO, the capacities as bands; None where nothing was measured."""

    def draw(axes: Axes, rows: Sequence[Row], index: int, label: str) -> None:
        known = [row for row in rows if row.ttfa_p95_s is not None]
        xs, ys = [row.amount for row in known], [(row.ttfa_p95_s or 0.0) * 1e3 for row in known]
        axes.plot(xs, ys, color=_ARMS[index], marker=_MARKERS[index], label=label)
        if not known:
            return
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())

    if not any(row.ttfa_p95_s for one in record.found if one.kind == kind for row in _rows(record, one)):
        return None

    def limit(axes: Axes) -> None:
        axes.axhline(record.slo.ttfa_p95_s * 1e3, color=_LIMIT, linestyle="--", linewidth=1.3, label="SLO")

    return _drawn(record, kind, "audible TTFA p95 (ms)", draw, limit)


def goodput(record: CapacityRun, kind: Kind) -> str | None:
    """Share of what was due that a listener accepts, against load; None where nothing was measured."""

    def draw(axes: Axes, rows: Sequence[Row], index: int, label: str) -> None:
        xs, ys = [row.amount for row in rows], [row.goodput_share * 100 for row in rows]
        axes.plot(xs, ys, color=_ARMS[index], marker=_MARKERS[index], label=label)
        axes.set_ylim(0, 103)

    return _drawn(record, kind, "within the SLO (%)", draw, lambda axes: None)


Draw = Callable[[Axes, Sequence[Row], int, str], None]


def _drawn(
    record: CapacityRun, kind: Kind, label: str, draw: Draw, more: Callable[[Axes], None]
) -> str | None:
    found = [one for one in record.found if one.kind == kind and _rows(record, one)]
    if not found:
        return None
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 3.3))
        axes = figure.add_subplot()
        for index, one in enumerate(found):
            number = index % len(_ARMS)
            draw(axes, _rows(record, one), number, one.arm)
            low, high = one.estimate.low, one.estimate.high
            if one.invalid is None and low is not None and high is not None:
                axes.axvspan(low, high, color=_ARMS[number], alpha=0.15, linewidth=0)
        more(axes)
        axes.set_xscale("log", base=2)
        tried = [row.amount for one in found for row in _rows(record, one)]
        axes.set_xlim(min(tried) / 1.15, max(tried) * 1.15)
        axes.xaxis.set_major_locator(LogLocator(base=2))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.tick_params(length=0)
        axes.set_xlabel(KINDS[kind] if kind == "streams" else "requests due per second")
        axes.set_ylabel(label)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
        figure.set_layout_engine("constrained")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _themed(buffer.getvalue())


def _rows(record: CapacityRun, found: Found) -> list[Row]:
    return curve(record.of(found), record.load, record.slo)


def _themed(svg: str) -> str:
    """The <svg> element alone, its stand-in colours replaced, its size left to the page."""
    variables = {colour: f"var(--arm-{index})" for index, colour in enumerate(_ARMS)}
    for colour, variable in (
        variables | {_INK: "currentColor", _GRID: "var(--grid)", _LIMIT: "var(--bad)"}
    ).items():
        svg = svg.replace(colour, variable)
    return re.sub(r' (width|height)="[^"]*pt"', "", svg[svg.index("<svg") :], count=2)
