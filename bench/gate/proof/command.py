"""Can the gate be believed? One commit against itself, with slow-downs of a known size planted in one side.

    python -m bench proof [--plan 0:20 2.5:10 5:10 10:5] [--effort quick] [--metrics NAME ...]
    python -m bench proof --record FILE
    python -m bench proof --simulate FILE

Every trial is the gate as it ships, with its own efforts, confirmation included. bench.gate.proof.planted slows the
engine of the head side, in the probe and in the server. A trial is saved when it is done, and a second call of the
same command goes on where the first was stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from bench.gate.compare import ALL, compare
from bench.gate.power import false_alarms, power, smallest_seen
from bench.gate.proof import noise
from bench.gate.report import Finding
from bench.gate.side import SideFailed, Tree
from bench.gate.tasks import METRICS
from bench.gate.verdict import Pair
from bench.gate.worktree import checkout, git
from bench.machine import machine
from bench.progress import status_line
from bench.records import write_json

PLAN = ("0:20", "2.5:10", "5:10", "10:5")
SLOWED = tuple(
    metric.name for metric in METRICS if not metric.name.startswith("micro.") and metric.name != "http.memory"
)
"""The metrics in which the planted engine has a part; a call of any other is a false alarm."""
MUST_SEE = "engine.stream_cpu"
"""The metric that must call what is planted."""
WRONG_USAGE = 2


class Trial(msgspec.Struct, kw_only=True):
    """One run of the gate within the experiment."""

    planted: float
    took_s: float
    findings: list[Finding]

    @property
    def called(self) -> list[str]:
        """The metrics that would have failed the gate."""
        return [one.metric for one in self.findings if one.fails]

    @property
    def false(self) -> list[str]:
        """Those of them that nothing was planted in."""
        return [name for name in self.called if not self.planted or name not in SLOWED]


class Proof(msgspec.Struct, kw_only=True):
    """The trials so far."""

    head: str
    effort: str
    profile: str
    overrides: list[str]
    machine: dict[str, object]
    trials: list[Trial] = []

    def of(self, planted: float) -> list[Trial]:
        return [trial for trial in self.trials if trial.planted == planted]

    def holds(self) -> bool:
        """At most one run in 20 with a false alarm, and MUST_SEE in nine of ten with 5 % and in all with more."""
        alarms = sum(bool(trial.false) for trial in self.trials)
        seen = {
            planted: [MUST_SEE in trial.called for trial in self.of(planted)]
            for planted in {trial.planted for trial in self.trials}
        }
        return alarms <= len(self.trials) / 20 and all(
            np.mean(calls) >= (0.9 if planted < 0.1 else 1.0)
            for planted, calls in seen.items()
            if planted >= 0.05
        )


def markdown(proof: Proof) -> str:
    """What was planted, what was called, and what a simulation on the unplanted runs' noise foretells."""
    planted = sorted({trial.planted for trial in proof.trials})
    lines = [
        f"# Proof of the gate at {proof.head}",
        "",
        f"Every run compares one checkout with itself, {proof.effort} effort; planted runs slow head's engine.",
        "",
        "| planted | runs | called | false alarms | seconds each |",
        "| ---: | ---: | ---: | --- | ---: |",
    ]
    for share in planted:
        trials = proof.of(share)
        alarms = [name for trial in trials for name in trial.false]
        lines.append(
            f"| {share:.1%} | {len(trials)} | {sum(bool(trial.called) for trial in trials)} "
            f"| {sum(bool(trial.false) for trial in trials)} {' '.join(alarms)} "
            f"| {np.median([trial.took_s for trial in trials]):.0f} |"
        )
    lines += ["", f"The rule {'holds' if proof.holds() else 'DOES NOT HOLD'} for these runs.", ""]
    least = simulated(proof)
    lines += [
        "| metric | planted | runs | called | simulated | estimates |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for metric in METRICS:
        for share in planted:
            found = [one for trial in proof.of(share) for one in trial.findings if one.metric == metric.name]
            ratios = sorted(one.slowdown.ratio for one in found if one.slowdown)
            if not ratios:
                continue
            foretold = f"{power(least[metric.name], 1 + share):.2f}" if metric.name in least else ""
            lines.append(
                f"| {metric.name} | {share:.1%} | {len(found)} | {sum(one.fails for one in found)} "
                f"| {foretold if metric.name in SLOWED or not share else ''} "
                f"| {ratios[0]:.3f} to {ratios[-1]:.3f}, median {np.median(ratios):.3f} |"
            )
    if least:
        lines += [
            "",
            f"Simulated on the noise of the unplanted runs: false alarms of the whole gate {false_alarms(least):.2%}.",
        ]
        lines.append("Seen nine times in ten:")
        lines += [""] + [f"- {name}: {smallest_seen(values) - 1:.1%}" for name, values in least.items()]
    lines += ["", "; ".join(f"{name} {value}" for name, value in proof.machine.items())]
    return "\n".join([*lines, ""])


def simulated(proof: Proof) -> dict[str, np.ndarray]:
    """Plays of the gate on the pairs of the unplanted runs; nothing if there is only one of them."""
    if len(proof.of(0.0)) < 2:
        return {}
    pairs: dict[str, list[list[Pair]]] = {}
    for trial in proof.of(0.0):
        for one in trial.findings:
            if one.slowdown is not None:
                pairs.setdefault(one.metric, []).extend(one.pairs)
    effort = noise.EFFORTS[proof.effort]
    return noise.simulate(noise.noise_of(pairs, proof.head, effort.round_s), effort)


def read_plan(words: Sequence[str]) -> list[tuple[float, int]]:
    """(share, runs) from words like 2.5:10, the most telling first. Raises ValueError."""
    plan = []
    for word in words:
        try:
            share, runs = word.split(":")
            plan.append((float(share) / 100, int(runs)))
        except ValueError:
            raise ValueError(f"--plan: {word!r} is not PERCENT:RUNS") from None
        if not 0 <= plan[-1][0] <= 1 or plan[-1][1] < 0:
            raise ValueError(f"--plan: {word!r} is not 0 to 100 per cent and a count")
    return plan


def resume(path: Path, fresh: Proof) -> Proof:
    """The proof stored at the path, if it is one of the same commit and settings. Raises ValueError for another."""
    if not path.is_file():
        return fresh
    stored = msgspec.json.decode(path.read_bytes(), type=Proof)
    for name in ("head", "effort", "profile", "overrides"):
        old, new = getattr(stored, name), getattr(fresh, name)
        if old != new:
            raise ValueError(f"{path} holds trials with {name} {old}, not {new}: give another --output")
    return stored


def prove(
    proof: Proof, plan: Sequence[tuple[float, int]], tree: Path, metrics: Sequence[str], output: Path
) -> None:
    """Run what the plan wants beyond the trials that are there, in turn, and store each when it is done."""
    with status_line() as progress:
        while missing := [share for share, runs in plan if len(proof.of(share)) < runs]:
            planted = min(missing, key=lambda share: len(proof.of(share)))
            started_s = time.monotonic()
            findings = compare(
                Tree(path=tree), Tree(path=tree, planted=planted), metrics=metrics,
                effort=noise.EFFORTS[proof.effort], profile=proof.profile, overrides=proof.overrides,
                progress=lambda text: None,
            )  # fmt: skip
            trial = Trial(planted=planted, took_s=time.monotonic() - started_s, findings=findings)
            proof.trials.append(trial)
            progress(
                f"planted {planted:.1%}, {trial.took_s:.0f} s: called {', '.join(trial.called) or 'nothing'}"
            )
            write_json(proof, output / "proof.json")
            (output / "proof.md").write_text(markdown(proof), encoding="utf-8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m bench proof`."""
    parser.add_argument(
        "--plan", nargs="+", default=list(PLAN), metavar="PERCENT:RUNS", help=f"default: {' '.join(PLAN)}"
    )
    parser.add_argument("--effort", choices=sorted(noise.EFFORTS), default="full")
    parser.add_argument("--metrics", nargs="+", default=ALL, choices=ALL, metavar="NAME", help=", ".join(ALL))
    parser.add_argument("--profile", default="default")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--output", type=Path, default=Path("reports/latest"), metavar="FOLDER")
    parser.add_argument("--record", type=Path, metavar="FILE", help="record this machine's noise and end")
    parser.add_argument(
        "--simulate", type=Path, metavar="FILE", help="play the gate on recorded noise and end"
    )


def main(arguments: argparse.Namespace) -> int:
    """Run the experiment on a checkout of HEAD. Returns 1 if its rule does not hold."""
    repo = Path(__file__).parents[3]
    try:
        if arguments.simulate is not None:
            print(noise.markdown(noise.read_noise(arguments.simulate)))
            return 0
        commit = git(repo, "rev-parse", "HEAD")
        if arguments.record is not None:
            with status_line() as progress, checkout(repo, commit) as tree:
                recorded = noise.record(
                    tree, commit[:9], profile=arguments.profile, overrides=arguments.overrides,
                    progress=progress,
                )  # fmt: skip
            arguments.record.write_bytes(msgspec.json.encode(recorded) + b"\n")
            print(noise.markdown(recorded))
            return 0
        plan = read_plan(arguments.plan)
        proof = resume(
            arguments.output / "proof.json",
            Proof(
                head=commit[:9], effort=arguments.effort, profile=arguments.profile,
                overrides=arguments.overrides, machine=machine(),
            ),
        )  # fmt: skip
        with checkout(repo, commit) as tree:
            prove(proof, plan, tree, arguments.metrics, arguments.output)
    except (ValueError, OSError, SideFailed, msgspec.MsgspecError) as error:
        print(f"bench proof: {error}", file=sys.stderr)
        return WRONG_USAGE
    print(markdown(proof))
    return 0 if proof.holds() else 1
