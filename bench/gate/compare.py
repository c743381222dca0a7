"""The regression gate: is head slower than base? Measures, judges, confirms; writes JSON and Markdown.

    python -m bench compare [--base REV] [--quick] [--metrics NAME ...] [--profile NAME] [--set KEY=VALUE]

The rules of the verdicts are those of bench.gate.verdict; what is measured is listed in bench.gate.tasks.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.gate.accepted import apply_acceptances, read_acceptances
from bench.gate.measure import FULL, QUICK, Effort, Measurements, measure
from bench.gate.report import Finding, GateRun, markdown
from bench.gate.side import Tree
from bench.gate.tasks import COUNTS, METRICS, Metric
from bench.gate.verdict import estimate_slowdown, judge, judge_count
from bench.gate.worktree import NoBase, checkout, choose_base, describe, git
from bench.machine import machine
from bench.progress import Notify, status_line
from bench.records import write_json

ALL = (*(metric.name for metric in METRICS), COUNTS)


def compare(
    base: Tree,
    head: Tree,
    *,
    metrics: Sequence[str] = ALL,
    effort: Effort = FULL,
    profile: str = "default",
    overrides: Sequence[str] = (),
    progress: Notify,
) -> list[Finding]:
    """Measure both trees and judge every metric; a REGRESSED one is measured again, alone and for longer."""

    def run(names: Sequence[str], how_long: Effort) -> list[Finding]:
        found = measure(base, head, names, how_long, profile=profile, overrides=overrides, progress=progress)
        return judge_all(found, names)

    findings = run(metrics, effort)
    for suspect in findings:
        if suspect.verdict != "REGRESSED" or suspect.slowdown is None:
            continue
        progress(f"{suspect.metric} looks {suspect.slowdown.ratio - 1:.1%} slower; measuring it again")
        again = run([suspect.metric], effort.longer())[0]
        suspect.confirmation = again.slowdown
        if again.verdict != "REGRESSED":
            suspect.verdict = again.verdict if again.verdict == "INVALID" else "INCONCLUSIVE"
            suspect.note = again.note or "not confirmed by the second measurement"
    return findings


def judge_all(found: Measurements, metrics: Sequence[str]) -> list[Finding]:
    """A verdict on each named metric, in the order of METRICS, then the counts."""
    findings = [_judge_metric(metric, found) for metric in METRICS if metric.name in metrics]
    if COUNTS not in metrics:
        return findings
    if not found.counts:
        note = found.failures.get("probe", "nothing was counted")
        return [*findings, Finding(metric=COUNTS, verdict="INVALID", note=note)]
    for name, (base, head) in found.counts.items():
        verdict = judge_count(base, head)
        note = f"varies by itself: base {base}, head {head}" if verdict == "INVALID" else ""
        findings.append(
            Finding(metric=name, verdict=verdict, unit="count", base=base[0], head=head[0], note=note)
        )
    return findings


def compare_trees(
    repo: Path, base: str | None, *, quick: bool, metrics: Sequence[str], profile: str,
    overrides: Sequence[str], progress: Notify,
) -> GateRun:  # fmt: skip
    """Choose the base, check it out beside the working tree, compare. Raises ValueError for a wrong base."""
    gate_run = GateRun(
        base=None, head=describe(repo), profile=profile, overrides=list(overrides),
        effort="quick" if quick else "full",
    )  # fmt: skip
    entries = read_acceptances()
    try:
        gate_run.base = choose_base(repo, base)
    except NoBase as reason:
        gate_run.note = f"Nothing to compare with: {reason}. The gate passes."
        return gate_run
    progress(f"base {git(repo, 'log', '-1', '--format=%h %s', gate_run.base)}")
    with checkout(repo, gate_run.base) as tree:
        gate_run.findings = compare(
            Tree(path=tree), Tree(path=repo), metrics=metrics, effort=QUICK if quick else FULL,
            profile=profile, overrides=overrides, progress=progress,
        )  # fmt: skip
    for line in apply_acceptances(gate_run.findings, entries, gate_run.base):
        progress(line)
    return gate_run


def _judge_metric(metric: Metric, found: Measurements) -> Finding:
    rounds = found.pairs.get(metric.name, [])
    failure = found.failures.get(metric.needs)
    if failure is not None:
        return Finding(metric=metric.name, verdict="INVALID", unit=metric.unit, note=failure)
    try:
        slowdown = estimate_slowdown(rounds, metric.better)
    except ValueError as error:
        return Finding(metric=metric.name, verdict="INVALID", unit=metric.unit, note=str(error))
    return Finding(
        metric=metric.name,
        verdict=judge(slowdown),
        unit=metric.unit,
        base=_middle([pair[0] for pairs in rounds for pair in pairs]),
        head=_middle([pair[1] for pairs in rounds for pair in pairs]),
        slowdown=slowdown,
    )


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m bench compare`."""
    parser.add_argument("--base", metavar="REV", help="compare with this commit; chosen by rule if left out")
    parser.add_argument("--quick", action="store_true", help="under three minutes, less certain")
    parser.add_argument("--metrics", nargs="+", default=ALL, choices=ALL, metavar="NAME", help=", ".join(ALL))
    parser.add_argument("--profile", default="default")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--output", type=Path, default=Path("reports/latest"), metavar="FOLDER")


def main(arguments: argparse.Namespace) -> int:
    """Run the gate on the repository of the current folder. Returns 1 only for a confirmed regression."""
    started_s = time.monotonic()
    try:
        repo = Path(git(Path.cwd(), "rev-parse", "--show-toplevel"))
        with status_line() as progress:
            gate_run = compare_trees(
                repo, arguments.base, quick=arguments.quick, metrics=arguments.metrics,
                profile=arguments.profile, overrides=arguments.overrides, progress=progress,
            )  # fmt: skip
    except ValueError as error:
        print(f"bench compare: {error}", file=sys.stderr)
        return 2
    gate_run.took_s = time.monotonic() - started_s
    gate_run.machine = machine()
    text = markdown(gate_run)
    write_json(gate_run, arguments.output / "compare.json")
    (arguments.output / "compare.md").write_text(text, encoding="utf-8")
    print(text)
    return 1 if gate_run.failed else 0
