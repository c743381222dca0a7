"""The regression gate: is head slower than base? Measures, judges, confirms; writes JSON and Markdown.

    python -m bench compare [--base REV] [--quick] [--metrics NAME ...] [--profile NAME] [--set KEY=VALUE]

The rules of the verdicts are those of bench.gate.verdict; what is measured is listed in bench.gate.tasks. Exit code 0:
compared, and no slower. 1: regressed, or head cannot be measured. 3: could not compare. 2: a wrong command line.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np

from bench.gate.accepted import accepted_file, apply_acceptances, read_acceptances
from bench.gate.measure import FULL, QUICK, Effort, Measurements, measure, speaks
from bench.gate.power import called_from, smallest_seen, without_effect
from bench.gate.quality import QUALITY, judge_quality
from bench.gate.report import NOT_COMPARED, Finding, GateRun, markdown
from bench.gate.side import SideFailed, Tree
from bench.gate.tasks import COUNTS, HEARD, METRICS, Metric
from bench.gate.verdict import Pair, estimate_slowdown, judge, judge_count, summarise, suspicious
from bench.gate.worktree import GitFailed, NoBase, checkout, choose_base, describe, git
from bench.machine import machine
from bench.progress import Notify, status_line
from bench.records import write_json

ALL = (*(metric.name for metric in METRICS), COUNTS, QUALITY)
STARTS = "http.starts"
"""Named where head's server does not start or speak, and no metric that was asked for would say so."""
WRONG_USAGE = 2
COUNT_NOTES = {
    "chunks": "audio is cut into other pieces: meant, if streaming windows changed",
    "steps": "the engine runs its stages another number of times for the same texts",
    "rows": "the engine computes another number of rows for the same texts",
    "padded_units": "shapes are padded otherwise: meant, if buckets or windows changed",
    "bucket_misses": "steps fit the buckets otherwise: meant, if buckets or windows changed",
    "copies_to_host": "another number of copies to the host: follows the steps",
}
"""What a count that differs says, in words. One that is meant goes into accepted.toml, as a slow-down does."""


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
    """Measure both trees and judge every metric; suspects are measured again, for longer, and that decides."""

    def run(names: Sequence[str], how_long: Effort) -> list[Finding]:
        found = measure(base, head, names, how_long, profile=profile, overrides=overrides, progress=progress)
        return judge_all(found, names)

    findings = run(metrics, effort)
    of_server = {QUALITY, *(metric.name for metric in METRICS if metric.needs == "server")}
    unasked = any(one.failed_side == "base" and one.metric in of_server for one in findings)
    if unasked or of_server.isdisjoint(metrics):
        # Whatever was asked for, and whatever base can do: a head whose server does not start or speak must not pass.
        progress("HTTP: does head's server start")
        if (failure := speaks(head, profile=profile, overrides=overrides)) is not None:
            findings.append(_invalid(STARTS, failure, ""))
    call = {metric.name: metric.call for metric in METRICS}
    suspects = {
        one.metric: one for one in findings if one.slowdown and suspicious(one.slowdown, call[one.metric])
    }
    if not suspects:
        return findings
    progress(f"measuring again, for longer: {', '.join(suspects)}")
    for again in run(list(suspects), effort.longer()):
        suspect = suspects[again.metric]
        suspect.confirmation, suspect.confirmation_pairs = again.slowdown, again.pairs
        suspect.verdict = "INCONCLUSIVE" if again.verdict == "IMPROVED" else again.verdict
        suspect.note, suspect.failed_side, suspect.layout = again.note, again.failed_side, again.layout
    return findings


def judge_all(found: Measurements, metrics: Sequence[str]) -> list[Finding]:
    """A verdict on each named metric, in the order of METRICS, then the counts, then the quality."""
    findings = [_judge_metric(metric, found) for metric in METRICS if metric.name in metrics]
    if COUNTS in metrics:
        findings += _judge_counts(found)
    if QUALITY in metrics:
        if found.waves is None:
            findings.append(_invalid(QUALITY, found.failures.get("server"), "nothing was heard"))
        else:
            findings += judge_quality(HEARD, *found.waves)
    return findings


def _judge_counts(found: Measurements) -> list[Finding]:
    failure = found.failures.get("probe")
    if failure is not None or not found.counts:
        return [_invalid(COUNTS, failure, "nothing was counted")]
    findings = []
    for name, (base, head) in found.counts.items():
        verdict = judge_count(base, head)
        note = f"varies by itself: base {base}, head {head}" if verdict == "INVALID" else ""
        if verdict in ("REGRESSED", "IMPROVED"):
            counter = name.removeprefix(f"{COUNTS}.").split(".")[0]
            note = COUNT_NOTES.get(counter, "")
        findings.append(
            Finding(metric=name, verdict=verdict, unit="count", base=base[0], head=head[0], note=note)
        )
    return findings


def _invalid(metric: str, failure: SideFailed | None, otherwise: str) -> Finding:
    if failure is None:
        return Finding(metric=metric, verdict="INVALID", note=otherwise)
    side = cast(Literal["base", "head"], failure.side)
    return Finding(
        metric=metric, verdict="INVALID", note=str(failure), failed_side=side, layout=failure.layout
    )


def compare_trees(
    repo: Path, base: str | None, *, quick: bool, metrics: Sequence[str], profile: str,
    overrides: Sequence[str], progress: Notify,
) -> GateRun:  # fmt: skip
    """Choose the base, check it out beside the working tree, compare.

    Raises GitFailed if that is no repository, and another ValueError for a wrong accepted.toml.
    """
    gate_run = GateRun(
        base=None, head="none", profile=profile, overrides=list(overrides),
        effort="quick" if quick else "full",
    )  # fmt: skip
    entries = read_acceptances(accepted_file(repo))
    effort = QUICK if quick else FULL
    try:
        gate_run.base = choose_base(repo, base)
    except NoBase as reason:
        gate_run.note, gate_run.first = str(reason), reason.first
        return gate_run
    finally:
        with contextlib.suppress(GitFailed):  # a repository without a commit
            gate_run.head = describe(repo)
    progress(f"base {git(repo, 'log', '-1', '--format=%h %s', gate_run.base)}")
    with checkout(repo, gate_run.base) as tree:
        gate_run.findings = compare(
            Tree(path=tree), Tree(path=repo), metrics=metrics, effort=effort,
            profile=profile, overrides=overrides, progress=progress,
        )  # fmt: skip
    for line in apply_acceptances(gate_run.findings, entries, gate_run.base):
        progress(line)
    return gate_run


def _judge_metric(metric: Metric, found: Measurements) -> Finding:
    rounds = found.pairs.get(metric.name, [])
    failure = found.failures.get(metric.needs)
    if failure is not None:
        return _invalid(metric.name, failure, "")
    try:
        slowdown = estimate_slowdown(rounds, metric.better)
    except ValueError as error:
        return Finding(
            metric=metric.name, verdict="INVALID", unit=metric.unit, note=str(error),
            failed_side=_wrong_side(rounds), pairs=rounds,
        )  # fmt: skip
    return Finding(
        metric=metric.name,
        verdict=judge(slowdown, metric.call),
        unit=metric.unit,
        base=_middle([pair[0] for pairs in rounds for pair in pairs]),
        head=_middle([pair[1] for pairs in rounds for pair in pairs]),
        slowdown=slowdown,
        sees=sees(metric, rounds),
        pairs=rounds,
    )


def sees(metric: Metric, rounds: Sequence[Sequence[Pair]]) -> float:
    """The smallest slow-down that the gate calls nine times in ten at the noise of these rounds."""
    rng = np.random.default_rng(0)
    noise = without_effect([summarise(pairs, metric.better, rng) for pairs in rounds])
    return smallest_seen(called_from(noise, len(rounds), len(rounds) + 1, call=metric.call, plays=200))


def _wrong_side(rounds: Sequence[Sequence[Pair]]) -> Literal["base", "head"] | None:
    """The side that gave something other than a positive number; head if both did."""
    sides: tuple[tuple[int, Literal["base", "head"]], ...] = ((1, "head"), (0, "base"))
    for index, side in sides:
        if not all(0 < pair[index] < float("inf") for pairs in rounds for pair in pairs):
            return side
    return None


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
    """Run the gate on the repository of the current folder. Returns the exit code that the module describes."""
    started_s = time.monotonic()
    try:
        repo = Path(git(Path.cwd(), "rev-parse", "--show-toplevel"))
        with status_line() as progress:
            gate_run = compare_trees(
                repo, arguments.base, quick=arguments.quick, metrics=arguments.metrics,
                profile=arguments.profile, overrides=arguments.overrides, progress=progress,
            )  # fmt: skip
    except GitFailed as error:
        print(f"bench compare: could not compare: {error}", file=sys.stderr)
        return NOT_COMPARED
    except ValueError as error:
        print(f"bench compare: {error}", file=sys.stderr)
        return WRONG_USAGE
    gate_run.took_s = time.monotonic() - started_s
    gate_run.machine = machine()
    text = markdown(gate_run)
    write_json(gate_run, arguments.output / "compare.json")
    (arguments.output / "compare.md").write_text(text, encoding="utf-8")
    print(text)
    return gate_run.exit_code
