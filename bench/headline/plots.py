"""The plots of a report.

Each panel is a drawing of its own, as wide as a phone, and the page sets them beside each other where there is room.
A plot that would say nothing is no plot: [].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bench.headline.drawing import (
    ARM_COLOURS,
    ARMS,
    BAD,
    GOOD,
    GRID,
    INK,
    MARKERS,
    PANEL_IN,
    line,
    log_scale,
    panel_figure,
    svg_of,
    with_style,
)
from bench.headline.intervals import Estimate
from bench.headline.summary import Summary
from bench.records import LoadPoint


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A row of a plot of bars."""

    label: str
    value: float
    low: float
    high: float


@with_style
def latency(summaries: Sequence[Summary], arms: Sequence[str], slo_s: float) -> list[str]:
    """Audible TTFA of /tts/stream against clients: median with its interval; the band above the SLO is marked."""
    shown = [s for s in summaries if s.point.endpoint == "/tts/stream" and s.point.mode == "closed"]
    return _panels(shown, arms, "ttfa_p50_s", 1e3, "TTFA p50 (ms)", "latency", slo_s)


@with_style
def frontier(summaries: Sequence[Summary], arms: Sequence[str], slo_s: float) -> list[str]:
    """Audible TTFA p95 (p50 where requests are few) against the rate of an open loop; nothing for one rate alone."""
    shown = [s for s in summaries if s.point.endpoint == "/tts/stream" and s.point.mode == "open"]
    for attribute, label in (("ttfa_p95_s", "TTFA p95 (ms)"), ("ttfa_p50_s", "TTFA p50 (ms)")):
        have = [s for s in shown if getattr(s, attribute) is not None]
        if len({s.point.x for s in have}) > 1:
            return _panels(have, arms, attribute, 1e3, label, "frontier", slo_s)
    return []


@with_style
def throughput(summaries: Sequence[Summary], arms: Sequence[str]) -> list[str]:
    """Audio seconds per second against clients, closed loop, with intervals."""
    shown = [s for s in summaries if s.point.mode == "closed"]
    return _panels(
        shown, arms, "audio_seconds_per_second", 1.0, "audio seconds per second", "throughput", None
    )


@with_style
def trade(summaries: Sequence[Summary], arms: Sequence[str]) -> list[str]:
    """TTFA against audio seconds per second: lower and to the right is better; clients stand at the points.

    Without the twin, whose points lie on those of its equal.
    """
    shown = [
        s
        for s in summaries
        if s.point.endpoint == "/tts/stream" and s.point.mode == "closed" and s.ttfa_p50_s is not None
    ]
    drawings = []
    for texts in sorted({s.point.texts for s in shown}):
        chosen = [s for s in shown if s.point.texts == texts]
        if len({s.point.x for s in chosen}) < 3:
            continue
        figure, axes = panel_figure()
        for index, arm in enumerate(arms):
            if arm == "twin":
                continue
            own = sorted((s for s in chosen if s.arm == arm), key=lambda s: s.point.x)
            xs = [_value(s.audio_seconds_per_second) for s in own]
            ys = [_value(s.ttfa_p50_s) * 1e3 for s in own]
            axes.plot(xs, ys, color=ARM_COLOURS[index % ARMS], marker=MARKERS[index % ARMS], linewidth=1.2)
            for s, x, y in zip(own, xs, ys, strict=True):
                axes.annotate(
                    f"{s.point.x:g}",
                    (x, y),
                    xytext=(6, 5),
                    textcoords="offset points",
                    fontsize=9.5,
                    color=INK,
                )
        log_scale(axes)
        axes.set_xlim(left=0)
        axes.margins(0.08)
        axes.set_title(f"{texts} texts; the numbers are clients")
        axes.set_xlabel("audio seconds per second (more is better)")
        axes.set_ylabel("TTFA p50 (ms)")
        drawings.append(svg_of(figure, f"trade {texts}"))
    return drawings


@with_style
def underruns(summaries: Sequence[Summary], arms: Sequence[str]) -> list[str]:
    """Share of streams that play without an underrun against the seconds that a player holds before it starts.

    At the three highest loads at which any stream had an underrun; nothing where none had.
    """
    shown = [s for s in summaries if s.prebuffers_s]
    points = [s.point for s in shown if s.prebuffers_s[-1] > 0]
    picked = sorted(dict.fromkeys(points), key=lambda point: (point.mode, point.x))[-3:]
    drawings = []
    for point in picked:
        figure, axes = panel_figure()
        for index, arm in enumerate(arms):
            values = next((s.prebuffers_s for s in shown if s.arm == arm and s.point == point), ())
            if values:
                ordered = sorted(values)
                xs = [0.0, *ordered, max(ordered[-1] * 1.1, 0.5)]
                ys = [_at_most(ordered, x) * 100 for x in xs]
                axes.step(xs, ys, where="post", color=ARM_COLOURS[index % ARMS])
        axes.set_title(f"{point.load}, {point.texts} texts")
        axes.set_xlabel("seconds of audio held before playing")
        axes.set_ylabel("streams without underrun (%)")
        axes.set_ylim(0, 103)
        axes.set_xlim(left=0)
        drawings.append(svg_of(figure, f"underruns {point}"))
    return drawings


@with_style
def bars(rows: Sequence[tuple[str, int, float]], unit: str, name: str) -> list[str]:
    """A bar per row (label, index of its colour, value), in their order; nothing for none."""
    if not rows:
        return []
    figure = Figure(figsize=(PANEL_IN[0], 0.8 + 0.45 * len(rows)))
    axes = figure.add_subplot()
    labels = [label for label, _, _ in rows]
    drawn = axes.barh(
        labels,
        [value for *_, value in rows],
        color=[ARM_COLOURS[index % ARMS] for _, index, _ in rows],
        height=0.6,
    )
    axes.bar_label(drawn, fmt="%.3g", padding=4, color=INK)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.14)
    return [svg_of(figure, name)]


@with_style
def waterfall(bars: Sequence[Bar]) -> list[str]:
    """Speed after each switch, in percent of the start: what it brought, with its interval."""
    figure = Figure(figsize=(PANEL_IN[0] * 1.6, 0.9 + 0.48 * (len(bars) + 1)))
    axes = figure.add_subplot()
    level = 100.0
    labels = ["start"]
    axes.barh(0, level, color=ARM_COLOURS[0], height=0.55)
    for row, bar in enumerate(bars, start=1):
        after = level * bar.value
        axes.barh(row, after - level, left=level, color=GOOD if after >= level else BAD, height=0.55)
        axes.errorbar(
            after, row, xerr=[[max(after - level * bar.low, 0)], [max(level * bar.high - after, 0)]],
            color=INK, capsize=3, linewidth=1.2,
        )  # fmt: skip
        axes.plot([after, after], [row, min(row + 1, len(bars))], color=GRID, linewidth=1)
        labels.append(f"{bar.label}   ×{bar.value:.2f}")
        level = after
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("speed, % of the start")
    axes.grid(axis="y", visible=False)
    return [svg_of(figure, "waterfall")]


@with_style
def trend(
    lines: Mapping[str, Sequence[tuple[int, Estimate]]], labels: Sequence[str], title: str, unit: str
) -> str:
    """Figures of successive runs: line name to (number of the run, figure); `labels` name the runs."""
    figure, axes = panel_figure()
    for index, (name, points) in enumerate(lines.items()):
        line(axes, [x for x, _ in points], [estimate for _, estimate in points], 1.0, index, name)
    axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right", fontsize=9)
    axes.set_ylim(bottom=0)
    axes.set_title(title)
    axes.set_ylabel(unit)
    axes.legend(fontsize=9)
    return svg_of(figure, f"trend {title} {labels[0]}")


@with_style
def wide_latency(summaries: Sequence[Summary], arms: Sequence[str]) -> str:
    """TTFA of /tts/stream in one wide drawing with a key in it, for the README."""
    shown = [s for s in summaries if s.point.endpoint == "/tts/stream" and s.ttfa_p50_s is not None]
    kinds = sorted({_kind(s.point) for s in shown})
    figure = Figure(figsize=(9.2, 3.6 if len(kinds) < 3 else 6.5))
    grid = (
        figure.subplots(-(-max(len(kinds), 1) // 2), min(max(len(kinds), 1), 2), squeeze=False)
        .ravel()
        .tolist()
    )
    entries: dict[str, Artist] = {}
    for axes, kind in zip(grid, kinds, strict=False):
        _panel(axes, [s for s in shown if _kind(s.point) == kind], arms, "ttfa_p50_s", 1e3, "TTFA (ms)", None)
        handles, names = axes.get_legend_handles_labels()
        entries |= dict(zip(names, handles, strict=True))
    for axes in grid[len(kinds) :]:
        axes.set_axis_off()
    if entries:
        figure.legend(list(entries.values()), list(entries), loc="outside upper left", ncols=len(entries))
    return svg_of(figure, "wide latency")


def _panels(
    summaries: Sequence[Summary],
    arms: Sequence[str],
    attribute: str,
    scale: float,
    label: str,
    name: str,
    slo_s: float | None,
) -> list[str]:
    """One drawing per (load kind, endpoint, texts) that has two loads or more, one line per arm."""
    shown = [s for s in summaries if getattr(s, attribute) is not None]
    drawings = []
    for kind in sorted({_kind(s.point) for s in shown}):
        chosen = [s for s in shown if _kind(s.point) == kind]
        if len({s.point.x for s in chosen}) > 1:
            figure, axes = panel_figure()
            _panel(axes, chosen, arms, attribute, scale, label, slo_s)
            drawings.append(svg_of(figure, f"{name} {kind}"))
    return drawings


def _panel(
    axes: Axes,
    chosen: Sequence[Summary],
    arms: Sequence[str],
    attribute: str,
    scale: float,
    label: str,
    slo_s: float | None,
) -> None:
    for index, arm in enumerate(arms):
        own = sorted((s for s in chosen if s.arm == arm), key=lambda s: s.point.x)
        if own:
            line(axes, [s.point.x for s in own], [getattr(s, attribute) for s in own], scale, index, arm)
    if attribute == "audio_seconds_per_second":
        axes.set_ylim(bottom=0)
    else:
        log_scale(axes)
    if slo_s is not None:
        low, high = axes.get_ylim()
        if high > slo_s * scale:
            axes.axhspan(max(slo_s * scale, low), high, color=BAD, alpha=0.09, linewidth=0)
            axes.set_ylim(low, high)
    mode, endpoint, texts = _kind(chosen[0].point)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sorted({s.point.x for s in chosen})))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_title(f"{endpoint}, {texts} texts")
    axes.set_xlabel("clients" if mode == "closed" else "requests due per second")
    axes.set_ylabel(label)


def _at_most(ordered: Sequence[float], limit: float) -> float:
    return sum(value <= limit for value in ordered) / len(ordered)


def _value(estimate: Estimate | None) -> float:
    return 0.0 if estimate is None else estimate.value


def _kind(point: LoadPoint) -> tuple[str, str, str]:
    return point.mode, point.endpoint, point.texts
