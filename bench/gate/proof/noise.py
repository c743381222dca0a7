"""Recorded noise: rounds of one commit against itself, and what the gate's rule makes of them.

python -m bench proof --record FILE      measure and write
python -m bench proof --simulate FILE    power per metric and false alarms of the whole gate, in half a minute
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.gate.measure import FULL, QUICK, Effort, measure
from bench.gate.power import PLAYS, called_from, false_alarms, power, smallest_seen
from bench.gate.side import Tree
from bench.gate.tasks import METRICS
from bench.gate.verdict import Pair, Round, summarise
from bench.machine import machine
from bench.progress import Notify

EFFORTS = {"quick": QUICK, "full": FULL}
PLANTED = (0.025, 0.05, 0.1)
RECORDING = Effort(rounds=24, rounds_per_process=4, server_rounds=16, round_s=FULL.round_s)
"""More rounds than a run and its confirmation take together, so that a play draws none of them twice."""


class Noise(msgspec.Struct, kw_only=True):
    """Pairs of one commit against itself."""

    commit: str
    machine: dict[str, object]
    round_s: float
    """How long each round was measured."""
    ratios: dict[str, list[list[float]]]
    """Metric to head over base of every pair, round by round."""

    def rounds(self, better: Mapping[str, str], round_s: float, seed: int = 0) -> dict[str, list[Round]]:
        """Metric to its rounds, as if each had been cut after round_s."""
        rng = np.random.default_rng(seed)
        share = min(round_s / self.round_s, 1.0)
        return {
            name: [
                summarise(
                    [(1.0, ratio) for ratio in ratios[: max(round(share * len(ratios)), 3)]],
                    "lower" if better[name] == "lower" else "higher",
                    rng,
                )
                for ratios in rounds
            ]
            for name, rounds in self.ratios.items()
        }


def record(tree: Path, commit: str, *, profile: str, overrides: Sequence[str], progress: Notify) -> Noise:
    """Measure a tree against itself. Raises SideFailed."""
    side = Tree(path=tree)
    names = [metric.name for metric in METRICS]
    found = measure(side, side, names, RECORDING, profile=profile, overrides=overrides, progress=progress)
    for failure in found.failures.values():
        raise failure
    return noise_of(found.pairs, commit, RECORDING.round_s)


def noise_of(pairs: Mapping[str, Sequence[Sequence[Pair]]], commit: str, round_s: float) -> Noise:
    """The ratios of the pairs, to a hundredth of a per cent."""
    return Noise(
        commit=commit,
        machine=machine(),
        round_s=round_s,
        ratios={
            name: [[round(head / base, 4) for base, head in one] for one in rounds]
            for name, rounds in pairs.items()
        },
    )


def read_noise(path: Path) -> Noise:
    """Read a recording. Raises OSError and msgspec.ValidationError."""
    return msgspec.json.decode(path.read_bytes(), type=Noise)


def simulate(noise: Noise, effort: Effort, plays: int = PLAYS) -> dict[str, NDArray[np.float64]]:
    """Metric to the log slow-down from which each play of the gate calls and confirms it."""
    rounds = noise.rounds({metric.name: metric.better for metric in METRICS}, effort.round_s)
    least = {}
    for seed, metric in enumerate(one for one in METRICS if one.name in rounds):
        first = effort.rounds if metric.needs == "probe" else effort.server_rounds
        longer = effort.longer()
        second = longer.rounds if metric.needs == "probe" else longer.server_rounds
        least[metric.name] = called_from(
            rounds[metric.name], first, second, call=metric.call, plays=plays, seed=seed
        )
    return least


def markdown(noise: Noise, plays: int = PLAYS) -> str:
    """Power of every metric at both shipped efforts, and the false alarms."""
    lines = [f"# The gate's rule on noise recorded at {noise.commit}", ""]
    for name, effort in EFFORTS.items():
        least = simulate(noise, effort, plays)
        heads = " | ".join(f"{planted:.1%}" for planted in PLANTED)
        lines += [
            f"## {name.capitalize()} effort, {plays} plays",
            "",
            f"| metric | {heads} | false alarms | sees |",
            "| --- |" + " ---: |" * (len(PLANTED) + 2),
        ]
        lines += [
            f"| {metric} | "
            + " | ".join(f"{power(values, 1 + planted):.2f}" for planted in PLANTED)
            + f" | {power(values, 1.0):.2%} | {smallest_seen(values) - 1:.1%} |"
            for metric, values in least.items()
        ]
        lines += ["", f"False alarms of the whole gate: {false_alarms(least):.2%} of plays.", ""]
    lines.append("; ".join(f"{name} {value}" for name, value in noise.machine.items()))
    return "\n".join([*lines, ""])
