"""What a report says of a run: load points, comparisons against the reference, counts. No drawing, no text.

INVALID cells are listed with their reasons and enter no figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from bench.metrics import (
    audible_ttfa_s,
    audio_s,
    audio_seconds_per_second,
    continuity,
    distribution,
    errors_by_kind,
    good,
    goodput_rps,
    in_pieces,
    percentile,
    real_time_factor,
    requests_per_second,
    stall_s,
    total_s,
)
from bench.records import Cell, LoadPoint, Run

DEFAULT_FLOOR = 0.05
"""Relative difference that counts as even where the run holds no A/A measurement of its own."""

Standing = Literal["wins", "even", "loses", "INVALID"]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One arm at one load point, all its valid repeats together.

    Latencies are exact percentiles of the pooled good samples; rates are medians over the repeats.
    """

    arm: str
    point: LoadPoint
    repeats: int
    invalid: tuple[str, ...]
    """Reasons of the repeats that do not count."""
    samples: int
    errors: dict[str, int]
    ttfa_p5_s: float | None
    """Of the audible TTFA, like the two below: the bench speaks of no other as TTFA."""
    ttfa_p50_s: float | None
    ttfa_p95_s: float | None
    total_p50_s: float | None
    total_p95_s: float | None
    real_time_factor_p50: float | None
    audio_seconds_per_second: float | None
    requests_per_second: float | None
    goodput_rps: float | None
    stalls_s: tuple[float, ...]
    """Stall of each stream of two chunks or more, ascending."""
    continuity: dict[float, float] | None
    word_error_rate: float | None

    @property
    def valid(self) -> bool:
        return self.repeats > 0


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """A figure of a Summary that arms are compared by."""

    name: str
    attribute: str
    better: Literal["lower", "higher"]
    scale: float
    unit: str


TTFA = Criterion(name="TTFA p50", attribute="ttfa_p50_s", better="lower", scale=1e3, unit="ms")
TOTAL = Criterion(name="total p50", attribute="total_p50_s", better="lower", scale=1e3, unit="ms")
THROUGHPUT = Criterion(
    name="throughput", attribute="audio_seconds_per_second", better="higher", scale=1.0, unit="audio s/s"
)
GOODPUT = Criterion(name="goodput", attribute="goodput_rps", better="higher", scale=1.0, unit="requests/s")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One figure of the server against the reference at one load point."""

    point: LoadPoint
    criterion: Criterion
    server: float | None
    reference: float | None
    advantage: float | None
    """How many times better the server is: above 1 it wins. None without two figures above zero."""
    standing: Standing


def summarise(run: Run) -> list[Summary]:
    """A summary of every arm at every load point, in the order of the arms, then of the loads."""
    groups: dict[tuple[str, LoadPoint], list[Cell]] = {}
    for cell in run.cells:
        groups.setdefault((cell.arm, cell.point), []).append(cell)
    found = [_summary(arm, point, cells, run) for (arm, point), cells in groups.items()]
    arms = [arm.name for arm in run.arms]
    return sorted(
        found,
        key=lambda s: (_rank(arms, s.arm), s.point.mode, s.point.endpoint, s.point.texts, s.point.x),
    )


def compare_arms(run: Run, found: Sequence[Summary], server: str, reference: str) -> list[Comparison]:
    """Every criterion at every load point that both arms were given.

    A difference within the run's A/A noise floor (DEFAULT_FLOOR where it has none) is even.
    """
    by_arm = {(summary.arm, summary.point): summary for summary in found}
    result = []
    for summary in found:
        other = by_arm.get((reference, summary.point))
        if summary.arm != server or other is None:
            continue
        for criterion in _criteria(summary.point):
            result.append(_comparison(run, summary, other, criterion))
    return result


def even_within(run: Run, criterion: Criterion) -> float:
    """The relative difference that means nothing on this machine."""
    return (run.noise_floor or {}).get(criterion.attribute, DEFAULT_FLOOR)


def noise_floor(run: Run, server: str = "granian", twin: str = "twin") -> dict[str, float] | None:
    """Attribute of a Summary to the relative difference that nine of ten load points of two equal arms stay within.

    None without both arms.
    """
    differences: dict[str, list[float]] = {}
    for one in compare_arms(run, summarise(run), server, twin):
        if one.advantage is not None:
            size = max(one.advantage, 1 / one.advantage) - 1
            differences.setdefault(one.criterion.attribute, []).append(size)
    return {name: percentile(sizes, 90) for name, sizes in differences.items()} or None


def stage_counts(run: Run, arm: str) -> dict[str, dict[str, float]]:
    """Counter ("steps", "rows", "padded_units", "bucket_misses") to stage to its count per second of audio.

    From the engine's own counters around each valid cell. Empty for an arm without GET /stats.
    """
    totals: dict[str, dict[str, float]] = {}
    audio = 0.0
    for cell in run.cells:
        if cell.arm != arm or cell.verdict != "VALID" or not cell.server_before or not cell.server_after:
            continue
        audio += sum(map(audio_s, good(cell.samples)))
        for counter in ("steps", "rows", "padded_units", "bucket_misses"):
            before, after = _counter(cell.server_before, counter), _counter(cell.server_after, counter)
            for stage, count in after.items():
                stages = totals.setdefault(counter, {})
                stages[stage] = stages.get(stage, 0.0) + count - before.get(stage, 0.0)
    if not audio:
        return {}
    return {
        counter: {stage: count / audio for stage, count in stages.items()}
        for counter, stages in totals.items()
    }


def _counter(stats: dict[str, Any], name: str) -> dict[str, float]:
    counts = stats.get("engine", stats).get(name, {})
    return {stage: float(count) for stage, count in counts.items()}


def _rank(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


def _criteria(point: LoadPoint) -> list[Criterion]:
    latency = TTFA if point.endpoint == "/tts/stream" else TOTAL
    return [latency, THROUGHPUT if point.mode == "closed" else GOODPUT]


def _comparison(run: Run, server: Summary, reference: Summary, criterion: Criterion) -> Comparison:
    mine, theirs = getattr(server, criterion.attribute), getattr(reference, criterion.attribute)
    advantage: float | None = None
    standing: Standing = "INVALID"
    if mine is not None and theirs is not None and not (mine and theirs):
        standing = "even" if mine == theirs else "wins" if mine else "loses"  # a rate of none at all
    elif mine and theirs:
        advantage = mine / theirs if criterion.better == "higher" else theirs / mine
        floor = 1 + even_within(run, criterion)
        standing = "wins" if advantage > floor else "loses" if advantage < 1 / floor else "even"
    return Comparison(
        point=server.point,
        criterion=criterion,
        server=mine,
        reference=theirs,
        advantage=advantage,
        standing=standing,
    )


def _summary(arm: str, point: LoadPoint, cells: Sequence[Cell], run: Run) -> Summary:
    valid = [cell for cell in cells if cell.verdict == "VALID"]
    samples = [sample for cell in valid for sample in cell.samples]
    succeeded = good(samples)
    first = [value for sample in succeeded if (value := audible_ttfa_s(sample)) is not None]
    total = distribution(total_s(sample) for sample in succeeded)
    factors = [value for sample in succeeded if (value := real_time_factor(sample)) is not None]
    streams = [sample for sample in succeeded if in_pieces(sample)]
    rates = [cell.word_error_rate for cell in valid if cell.word_error_rate is not None]
    return Summary(
        arm=arm,
        point=point,
        repeats=len(valid),
        invalid=tuple(reason for cell in cells if cell.verdict == "INVALID" for reason in cell.reasons),
        samples=len(samples),
        errors=errors_by_kind(samples),
        ttfa_p5_s=percentile(first, 5) if first else None,
        ttfa_p50_s=percentile(first, 50) if first else None,
        ttfa_p95_s=percentile(first, 95) if first else None,
        total_p50_s=total.p50,
        total_p95_s=total.p95,
        real_time_factor_p50=percentile(factors, 50) if factors else None,
        audio_seconds_per_second=_median(audio_seconds_per_second(cell.samples) for cell in valid),
        requests_per_second=_median(requests_per_second(cell.samples) for cell in valid),
        goodput_rps=_median(goodput_rps(cell.samples, run.slo) for cell in valid),
        stalls_s=tuple(sorted(stall_s(sample) or 0.0 for sample in streams)),
        continuity=continuity(samples),
        word_error_rate=max(rates) if rates else None,
    )


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return median(known) if known else None
