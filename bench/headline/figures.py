"""Which plots a report has: those that say something about what was measured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from markupsafe import Markup

from bench.headline import drawing, plots
from bench.headline.summary import Summary
from bench.records import SPEED, Run, Sweep


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A plot and what it shows."""

    id: str
    title: str
    caption: str
    panels: list[Markup]
    arms: list[tuple[str, int]]
    """Its key: arm and number of its colour; empty for none."""


def figures_of(
    run: Run,
    summaries: Sequence[Summary],
    *,
    stage_counts: dict[str, dict[str, float]],
    stage_ms: dict[str, float],
    sweep: Sweep | None,
) -> list[Figure]:
    """The plots that say something about what was measured."""
    slo_s = run.slo.ttfa_s
    arms = [arm.name for arm in run.arms if any(s.arm == arm.name and s.valid for s in summaries)]
    valid = [s for s in summaries if s.valid]
    key = [(arm, index % drawing.ARMS) for index, arm in enumerate(arms)]
    figures = []

    def add(id: str, title: str, caption: str, panels: list[str], *, arms: bool = True) -> None:
        drawn = [
            labelled(svg, f"{title} ({number} of {len(panels)})") for number, svg in enumerate(panels, 1)
        ]
        if drawn:
            shown = key if arms else []
            figures.append(Figure(id=id, title=title, caption=caption, panels=drawn, arms=shown))

    band = f"The bands are intervals; in the shaded part the limit of {slo_s * 1e3:.0f} ms is missed."
    add(
        "frontier",
        "First sound against the rate of requests",
        f"Requests are due at their moment, however slow the server is: what many independent callers feel. {band}",
        plots.frontier(valid, arms, slo_s),
    )
    add(
        "latency",
        "First sound against clients",
        f"Each client asks again when it has its answer. {band}",
        plots.latency(valid, arms, slo_s),
    )
    add(
        "trade",
        "First sound against throughput",
        "What a server gives up of one for the other: lower and farther right is better.",
        plots.trade(valid, arms),
    )
    add(
        "throughput",
        "Throughput against clients",
        "Audio seconds made per second, with intervals.",
        plots.throughput(valid, arms),
    )
    panels = plots.underruns(valid, arms)
    add(
        "underruns",
        "Streams without an underrun, by prebuffer",
        "A player that holds this much audio before it starts, at the highest loads at which a stream had one.",
        panels,
    )
    costs = [(arm, index, cost * 1e3) for index, arm in enumerate(arms) if (cost := _cost_of(valid, arm))]
    if len(costs) > 1:
        caption = "CPU time of the server's processes per second of audio, mean over the load points. Less is better."
        add("cost", "Cost", caption, plots.bars(costs, "ms of CPU per second of audio", "cost"), arms=False)
    seconds = {name: stages for name, stages in stage_counts.items() if name.endswith("_s")}
    for name, stages in seconds.items():
        rows = [(stage, 0, value * 1e3) for stage, value in stages.items()]
        caption = f"{name} of the engine's counters under this load, per second of audio."
        add(f"stages-{slug(name)}", "Stages under load", caption, plots.bars(rows, "ms", name), arms=False)
    if stage_ms:
        caption = "Time of each stage alone per second of audio (micro suite)."
        rows = [(stage, 0, value) for stage, value in sorted(stage_ms.items(), key=lambda one: -one[1])]
        add(
            "stages",
            "Stages alone",
            caption,
            plots.bars(rows, "ms per second of audio", "stages"),
            arms=False,
        )
    if sweep is not None and (bars := speed_bars(sweep)):
        caption = "What each switch brought to the speed, with its interval."
        add("waterfall", "Sweep", caption, plots.waterfall(bars), arms=False)
    return figures


def labelled(svg: str, label: str) -> Markup:
    """The drawing with a name for those who do not see it."""
    attributes = Markup('<svg role="img" aria-label="{}" ').format(label)
    return Markup(svg.replace("<svg ", attributes, 1))


def _cost_of(found: Sequence[Summary], arm: str) -> float | None:
    known = [s.cpu_per_audio for s in found if s.arm == arm and s.cpu_per_audio]
    return geometric_mean(known) if known else None


def speed_bars(sweep: Sweep) -> list[plots.Bar]:
    """The switches that changed the speed, for the waterfall."""
    return [
        plots.Bar(
            label=switch.name,
            value=switch.gain,
            low=switch.gain_low or switch.gain,
            high=switch.gain_high or switch.gain,
        )
        for switch in sweep.switches
        if switch.gain is not None and switch.metric == SPEED
    ]


def slug(text: str) -> str:
    """For ids and classes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
