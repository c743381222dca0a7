"""The regression gate: is head slower than base? Measures, judges, confirms; writes JSON and Markdown.

    python -m bench compare [--base REV] [--quick] [--metrics NAME ...] [--profile NAME] [--set KEY=VALUE]

The rules of the verdicts are those of bench.gate.verdict; what is measured is listed in bench.gate.measure.
"""

from __future__ import annotations

import argparse
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.gate.measure import COUNTS, FULL, METRICS, QUICK, Effort, Measured, Metric, Progress, Tree, measure
from bench.gate.report import Comparison, Judged, markdown
from bench.gate.verdict import estimate_slowdown, judge, judge_count
from bench.gate.worktree import NoBase, checkout, choose_base, describe, git
from bench.machine import machine
from bench.progress import telling

ACCEPTED = Path(__file__).with_name("accepted.toml")
ALL = (*(metric.name for metric in METRICS), COUNTS)


class Accepted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A slow-down that is meant."""

    metric: str
    up_to_ratio: float
    """The estimate of the slow-down may be at most this."""
    base: str
    """The commit that the slow change is compared with, at least 7 digits: the entry counts for this base
    alone, so that it excuses one change and not the next."""
    reason: str


def compare(
    base: Tree,
    head: Tree,
    *,
    metrics: Sequence[str] = ALL,
    effort: Effort = FULL,
    profile: str = "default",
    overrides: Sequence[str] = (),
    progress: Progress,
) -> list[Judged]:
    """Measure both trees and judge every metric; a REGRESSED one is measured again, alone and for longer."""

    def run(names: Sequence[str], how_long: Effort) -> list[Judged]:
        measured = measure(
            base, head, names, how_long, profile=profile, overrides=overrides, progress=progress
        )
        return judge_all(measured, names)

    judged = run(metrics, effort)
    for suspect in judged:
        if suspect.verdict != "REGRESSED" or suspect.slowdown is None:
            continue
        progress(f"{suspect.metric} looks {suspect.slowdown.ratio - 1:.1%} slower; measuring it again")
        again = run([suspect.metric], effort.longer())[0]
        suspect.confirmation = again.slowdown
        if again.verdict != "REGRESSED":
            suspect.verdict = again.verdict if again.verdict == "INVALID" else "INCONCLUSIVE"
            suspect.note = again.note or "not confirmed by the second measurement"
    return judged


def judge_all(measured: Measured, metrics: Sequence[str]) -> list[Judged]:
    """A verdict on each named metric, in the order of METRICS, then the counts."""
    judged = [_judge(metric, measured) for metric in METRICS if metric.name in metrics]
    if COUNTS not in metrics:
        return judged
    if not measured.counts:
        note = measured.failures.get("probe", "nothing was counted")
        return [*judged, Judged(metric=COUNTS, verdict="INVALID", note=note)]
    for name, (base, head) in measured.counts.items():
        verdict = judge_count(base, head)
        note = f"varies by itself: base {base}, head {head}" if verdict == "INVALID" else ""
        judged.append(
            Judged(metric=name, verdict=verdict, unit="count", base=base[0], head=head[0], note=note)
        )
    return judged


def apply_accepted(judged: Sequence[Judged], entries: Sequence[Accepted], base: str) -> list[str]:
    """Mark the regressions that an entry allows. Returns a line per entry that nothing needed."""
    unused = []
    for entry in entries:
        if not base.startswith(entry.base):
            continue
        used = False
        for one in judged:
            worse = one.slowdown.ratio if one.slowdown else _count_ratio(one)
            if one.metric == entry.metric and one.verdict == "REGRESSED" and worse <= entry.up_to_ratio:
                one.accepted, used = entry.reason, True
        if not used:
            unused.append(f"accepted.toml: nothing needed the entry for {entry.metric} ({entry.reason})")
    return unused


def read_accepted(path: Path = ACCEPTED) -> list[Accepted]:
    """The entries of accepted.toml. Raises ValueError naming what is wrong in it."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        entries = msgspec.convert(table.get("accepted", []), list[Accepted])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"{path.name}: {error}") from None
    for entry in entries:
        if len(entry.base) < 7 or not entry.reason.strip() or entry.up_to_ratio <= 1:
            raise ValueError(
                f"{path.name}: {entry.metric}: needs a base of 7 digits, a reason, a ratio above 1"
            )
    return entries


def compare_trees(
    repo: Path, base: str | None, *, quick: bool, metrics: Sequence[str], profile: str,
    overrides: Sequence[str], progress: Progress,
) -> Comparison:  # fmt: skip
    """Choose the base, check it out beside the working tree, compare. Raises ValueError for a wrong base."""
    comparison = Comparison(
        base=None, head=describe(repo), profile=profile, overrides=list(overrides),
        effort="quick" if quick else "full",
    )  # fmt: skip
    entries = read_accepted()
    try:
        comparison.base = choose_base(repo, base)
    except NoBase as reason:
        comparison.note = f"Nothing to compare with: {reason}. The gate passes."
        return comparison
    progress(f"base {git(repo, 'log', '-1', '--format=%h %s', comparison.base)}")
    with checkout(repo, comparison.base) as tree:
        comparison.judged = compare(
            Tree(path=tree), Tree(path=repo), metrics=metrics, effort=QUICK if quick else FULL,
            profile=profile, overrides=overrides, progress=progress,
        )  # fmt: skip
    for line in apply_accepted(comparison.judged, entries, comparison.base):
        progress(line)
    return comparison


def _judge(metric: Metric, measured: Measured) -> Judged:
    rounds = measured.pairs.get(metric.name, [])
    failure = measured.failures.get(metric.needs)
    if failure is not None:
        return Judged(metric=metric.name, verdict="INVALID", unit=metric.unit, note=failure)
    try:
        slowdown = estimate_slowdown(rounds, metric.better)
    except ValueError as error:
        return Judged(metric=metric.name, verdict="INVALID", unit=metric.unit, note=str(error))
    return Judged(
        metric=metric.name,
        verdict=judge(slowdown),
        unit=metric.unit,
        base=_middle([pair[0] for pairs in rounds for pair in pairs]),
        head=_middle([pair[1] for pairs in rounds for pair in pairs]),
        slowdown=slowdown,
    )


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _count_ratio(one: Judged) -> float:
    return one.head / one.base if one.base and one.head is not None else float("inf")


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
        with telling() as progress:
            comparison = compare_trees(
                repo, arguments.base, quick=arguments.quick, metrics=arguments.metrics,
                profile=arguments.profile, overrides=arguments.overrides, progress=progress,
            )  # fmt: skip
    except ValueError as error:
        print(f"bench compare: {error}", file=sys.stderr)
        return 2
    comparison.took_s = time.monotonic() - started_s
    comparison.machine = machine()
    text = markdown(comparison)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "compare.json").write_bytes(msgspec.json.format(msgspec.json.encode(comparison)))
    (arguments.output / "compare.md").write_text(text, encoding="utf-8")
    print(text)
    return 1 if comparison.failed else 0
