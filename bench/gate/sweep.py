"""What each switch of a profile brings: turned on one at a time, on top of those before it.

    python -m bench sweep [--quick]

The engine with the switch and the engine without it run side by side and are measured in adjacent pairs, exactly
as the regression gate measures base and head; a gain and its interval are the inverse of the gate's slow-down.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.gate.measure import Effort, measure
from bench.gate.side import Tree
from bench.gate.tasks import METRICS
from bench.gate.verdict import estimate_slowdown
from bench.progress import Notify, status_line
from bench.records import SPEED, Sweep, SwitchGain, write_json
from serving.profile import load_profile

FIRST, HTTP_FIRST = "engine.first_chunk", "http.ttfa"
WHOLE = "streaming.first_chunk_s=1000"
"""A first window that holds any sentence whole: no streaming inside it."""


@dataclass(frozen=True, kw_only=True)
class Switch:
    """A setting of the profile, and the figure that it is meant to improve."""

    name: str
    overrides: tuple[str, ...]
    metric: str
    before: tuple[str, ...] = ()
    """Set on the other side alone, for a switch that is on by default."""
    slow_start: bool = False
    """Takes a minute to warm up: left out of --quick."""
    cuda: bool = False
    model: str | None = None
    """The only model that has it; None for every model."""


START = (
    "engine.workers=1",
    "engine.threads=1",
    "engine.max_slots=1",
    "engine.compile=false",
    "engine.cuda_graphs=false",
)
SWITCHES = (
    Switch(
        name="CPU kernels",
        overrides=(),
        metric=SPEED,
        before=("model.options.kernels=torch",),
        model="hibari",
    ),
    Switch(name="batching, 16 slots", overrides=("engine.max_slots=16",), metric=SPEED),
    Switch(name="a worker for every core", overrides=("engine.workers=0",), metric=SPEED),
    Switch(name="torch.compile", overrides=("engine.compile=true",), metric=SPEED, slow_start=True),
    Switch(name="bfloat16", overrides=("engine.dtype=bfloat16",), metric=SPEED),
    Switch(name="CUDA graphs", overrides=("engine.cuda_graphs=true",), metric=SPEED, cuda=True),
    Switch(name="windows inside the sentence", overrides=(), metric=FIRST, before=(WHOLE,)),
    Switch(
        name="engine in its own process", overrides=(), metric=HTTP_FIRST, before=("engine.process=false",)
    ),
)
FULL = Effort(rounds=5, rounds_per_process=5, server_rounds=4, round_s=8.0)
QUICK = Effort(rounds=3, rounds_per_process=3, server_rounds=2, round_s=3.0)


def sweep(tree: Path, switches: Sequence[Switch], effort: Effort, *, profile: str, progress: Notify) -> Sweep:
    """Turn the switches on in order. One that cannot be measured, or makes its figure worse, is not kept."""
    kept = list(START)
    gains = [SwitchGain(name="start", overrides=list(START))]
    for switch in switches:
        progress(f"{switch.name}: with and without")
        result = _measure(tree, switch, kept, effort, profile)
        if result.gain is not None and result.gain > 1:
            kept += switch.overrides
        gains.append(result)
    return Sweep(
        description=f"Profile {profile}; each switch on top of those before it that helped, "
        "side by side with the engine without it.",
        switches=gains,
    )


def _measure(tree: Path, switch: Switch, kept: Sequence[str], effort: Effort, profile: str) -> SwitchGain:
    [metric] = [metric for metric in METRICS if metric.name == switch.metric]
    found = measure(
        Tree(path=tree, overrides=[*kept, *switch.before]),
        Tree(path=tree, overrides=[*kept, *switch.overrides]),
        [metric.name],
        effort,
        profile=profile,
        overrides=(),
        progress=lambda text: None,
    )
    overrides = list(switch.overrides or (f"not {setting}" for setting in switch.before))
    if metric.needs in found.failures:
        return SwitchGain(
            name=switch.name,
            overrides=overrides,
            metric=metric.name,
            failure=str(found.failures[metric.needs]).splitlines()[0],
        )
    slowdown = estimate_slowdown(found.pairs[metric.name], metric.better)
    return SwitchGain(
        name=switch.name,
        overrides=overrides,
        metric=metric.name,
        gain=1 / slowdown.ratio,
        gain_low=1 / slowdown.high,
        gain_high=1 / slowdown.low,
    )


def markdown(result: Sweep) -> str:
    """The sweep as a table."""
    lines = ["# Sweep", "", result.description, "", "| switch | set | figure | gain | interval |"]
    lines.append("| --- | --- | --- | ---: | --- |")
    for switch in result.switches:
        gain = f"×{switch.gain:.2f}" if switch.gain is not None else ""
        interval = f"{switch.gain_low:.2f} to {switch.gain_high:.2f}" if switch.gain is not None else ""
        lines.append(
            f"| {switch.name} | `{' '.join(switch.overrides)}` | {switch.metric} | {gain} "
            f"| {f'INVALID: {switch.failure}' if switch.failure else interval} |"
        )
    return "\n".join([*lines, ""])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m bench sweep`."""
    parser.add_argument("--quick", action="store_true", help="under three minutes; leaves compile out")
    parser.add_argument("--profile", default="default")
    parser.add_argument("--output", type=Path, default=Path("reports/latest"), metavar="FOLDER")


def main(arguments: argparse.Namespace) -> int:
    """Sweep the working tree; write sweep.json, which the report draws, and sweep.md."""
    import torch  # it takes seconds and half a gigabyte: only to ask for a GPU, and after the arguments

    model, cuda = load_profile(arguments.profile).model.name, torch.cuda.is_available()
    switches = [
        switch
        for switch in SWITCHES
        if switch.model in (None, model)
        and (cuda or not switch.cuda)
        and not (arguments.quick and switch.slow_start)
    ]
    with status_line() as progress:
        result = sweep(
            Path(__file__).parents[2],
            switches,
            QUICK if arguments.quick else FULL,
            profile=arguments.profile,
            progress=progress,
        )
    write_json(result, arguments.output / "sweep.json")
    (arguments.output / "sweep.md").write_text(markdown(result), encoding="utf-8")
    print(markdown(result))
    return 0
