"""Can the gate be believed? Head against itself, then head with a planted slow-down of the engine's step.

    python -m bench gate-proof [--aa 20] [--ten 10] [--twenty 10]

The slow-down is planted by bench.gate.planted on the head side alone: with 0.10 every step of the engine burns a
tenth of its CPU time in addition.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench.gate.compare import ALL, compare
from bench.gate.measure import Effort
from bench.gate.report import Finding
from bench.gate.side import Tree
from bench.gate.worktree import checkout, git
from bench.machine import machine
from bench.progress import status_line
from bench.records import write_json

SUSPECT = "engine.stream_cpu"
"""The metric that must call the planted slow-down."""
ALARMS = Effort(rounds=4, rounds_per_process=4, server_rounds=2, round_s=4.0)
PLANTED = Effort(rounds=5, rounds_per_process=5, server_rounds=0, round_s=2.0)


class Trial(msgspec.Struct, kw_only=True):
    """One run of the gate within the experiment."""

    planted: float
    took_s: float
    findings: list[Finding]

    @property
    def regressed(self) -> list[str]:
        """The metrics that would have failed the gate."""
        return [one.metric for one in self.findings if one.verdict == "REGRESSED"]


class Proof(msgspec.Struct, kw_only=True):
    """The tallies."""

    head: str
    machine: dict[str, object]
    trials: list[Trial]

    def of(self, planted: float) -> list[Trial]:
        return [trial for trial in self.trials if trial.planted == planted]

    def alarms(self, planted: float) -> int:
        """Runs that called anything REGRESSED."""
        return sum(bool(trial.regressed) for trial in self.of(planted))

    def holds(self) -> bool:
        """At most one false alarm in 20 runs, nine of ten planted 10 %, every planted 20 %, of those run."""
        aa, ten, twenty = (len(self.of(planted)) for planted in (0.0, 0.1, 0.2))
        return self.alarms(0.0) <= aa / 20 and self.alarms(0.1) >= 0.9 * ten and self.alarms(0.2) == twenty


def trials(
    tree: Path, plan: Sequence[tuple[float, int]], *, profile: str, overrides: Sequence[str]
) -> Iterator[Trial]:
    """Run the gate of the tree against itself: (planted, runs) by (planted, runs).

    Unplanted runs measure every metric; planted ones the suspect alone, which a slower step changes most
    clearly.
    """
    for planted, runs in plan:
        for _ in range(runs):
            started_s = time.monotonic()
            findings = compare(
                Tree(path=tree),
                Tree(path=tree, planted=planted),
                metrics=(SUSPECT,) if planted else ALL,
                effort=PLANTED if planted else ALARMS,
                profile=profile,
                overrides=overrides,
                progress=lambda text: None,
            )
            yield Trial(planted=planted, took_s=time.monotonic() - started_s, findings=findings)


def markdown(proof: Proof) -> str:
    """The tallies as a table."""
    lines = [
        f"# Proof of the gate at {proof.head}",
        "",
        "Every run compares one checkout with itself; planted runs slow the engine's steps on the head side.",
        "",
        "| planted | runs | called REGRESSED | verdicts of " + SUSPECT + " | its estimates |",
        "| ---: | ---: | ---: | --- | --- |",
    ]
    for planted in sorted({trial.planted for trial in proof.trials}):
        trials = proof.of(planted)
        suspects = [one for trial in trials for one in trial.findings if one.metric == SUSPECT]
        verdicts = {one.verdict: sum(other.verdict == one.verdict for other in suspects) for one in suspects}
        ratios = sorted(one.slowdown.ratio for one in suspects if one.slowdown)
        lines.append(
            f"| {planted:.0%} | {len(trials)} | {proof.alarms(planted)} "
            f"| {', '.join(f'{name} {count}' for name, count in sorted(verdicts.items()))} "
            f"| {f'{ratios[0]:.3f} to {ratios[-1]:.3f}' if ratios else ''} |"
        )
    lines += ["", f"The rule {'holds' if proof.holds() else 'DOES NOT HOLD'} for these runs.", ""]
    floor = estimate_spread(proof.of(0.0))
    if floor:
        lines += ["A/A noise floor, the largest deviation of an estimate from 1 in nine of ten A/A runs:", ""]
        lines += [f"- {name}: {value:.1%}" for name, value in floor.items()]
        lines.append("")
    lines.append("; ".join(f"{name} {value}" for name, value in proof.machine.items()))
    return "\n".join([*lines, ""])


def estimate_spread(trials: Sequence[Trial]) -> dict[str, float]:
    """Metric to the deviation of its estimate from 1 that nine of ten A/A runs stay within."""
    deviations: dict[str, list[float]] = {}
    for trial in trials:
        for one in trial.findings:
            if one.slowdown is not None:
                deviations.setdefault(one.metric, []).append(abs(one.slowdown.ratio - 1))
    return {name: sorted(values)[int(0.9 * (len(values) - 1))] for name, values in deviations.items()}


def _line(trial: Trial) -> str:
    parts = [f"{one.metric} {one.verdict}" for one in trial.findings if one.verdict not in ("NO CHANGE",)]
    ratios = [f"{one.slowdown.ratio:.3f}" for one in trial.findings if one.slowdown and one.metric == SUSPECT]
    return f"{SUSPECT} {' '.join(ratios)}; {', '.join(parts) or 'no change'}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m bench gate-proof`."""
    parser.add_argument("--aa", type=int, default=20, metavar="RUNS", help="runs of head against itself")
    parser.add_argument("--ten", type=int, default=10, metavar="RUNS", help="runs with 10 percent planted")
    parser.add_argument("--twenty", type=int, default=10, metavar="RUNS", help="runs with 20 percent planted")
    parser.add_argument("--profile", default="default")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--output", type=Path, default=Path("reports/latest"), metavar="FOLDER")


def main(arguments: argparse.Namespace) -> int:
    """Run the experiment on a checkout of HEAD; store its tallies after every run. Returns 1 if they fail."""
    repo = Path(__file__).parents[2]
    commit = git(repo, "rev-parse", "HEAD")
    proof = Proof(head=commit[:9], machine=machine(), trials=[])
    plan = [(0.2, arguments.twenty), (0.1, arguments.ten), (0.0, arguments.aa)]
    with status_line() as progress, checkout(repo, commit) as tree:
        for trial in trials(tree, plan, profile=arguments.profile, overrides=arguments.overrides):
            proof.trials.append(trial)
            progress(f"planted {trial.planted:.0%}, {trial.took_s:.0f} s: {_line(trial)}")
            write_json(proof, arguments.output / "gate-proof.json")
            (arguments.output / "gate-proof.md").write_text(markdown(proof), encoding="utf-8")
    print(markdown(proof))
    return 0 if proof.holds() else 1
