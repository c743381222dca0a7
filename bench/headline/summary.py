"""What a run says of each arm at each load point, every figure with its interval. No drawing, no text.

INVALID cells are listed with their reasons and enter no figure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from bench.headline.intervals import Estimate, Floats, bootstrap, of_share
from bench.headline.onset import Onset, onset
from bench.metrics import (
    audible_ttfa_s,
    audio_s,
    audio_seconds_per_second,
    characters_per_second,
    continuity,
    errors_by_kind,
    good,
    goodput_rps,
    in_pieces,
    meets,
    percentile,
    playback,
    real_time_factor,
    requests_per_second,
    stall_s,
    total_s,
)
from bench.records import Cell, LoadPoint, Run, Sample

LEAST_FOR_P95 = 60
"""Requests from which a p95 is given: among 59 the largest is above it with 95 % confidence, among fewer nothing is."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One arm at one load point, all its valid repeats together.

    Latencies are exact percentiles of the pooled good samples; rates are medians over the repeats. None: no good
    sample, or for a p95 too few.
    """

    arm: str
    point: LoadPoint
    repeats: int
    invalid: tuple[str, ...]
    """Reasons of the repeats that do not count."""
    samples: int
    """Requests that were due."""
    errors: dict[str, int]
    ttfa_p5_s: float | None = None
    """Of the audible TTFA, like the two below: the bench speaks of no other as TTFA."""
    ttfa_p50_s: Estimate | None = None
    ttfa_p95_s: Estimate | None = None
    total_p50_s: Estimate | None = None
    total_p95_s: Estimate | None = None
    real_time_factor_p50: Estimate | None = None
    audio_seconds_per_second: Estimate | None = None
    characters_per_second: Estimate | None = None
    """Of text, spoken whole."""
    slo_share: Estimate | None = None
    """Of the requests that were due, those that met the SLO: what was refused, failed or came late did not."""
    cpu_per_audio: float | None = None
    """CPU seconds of the server's processes per second of audio, without the warm-up."""
    requests_per_second: float | None = None
    goodput_rps: float | None = None
    stalls_s: tuple[float, ...] = ()
    """Stall of each stream of two chunks or more, ascending."""
    prebuffers_s: tuple[float, ...] = ()
    """Seconds of audio that each of those had to hold before it started, to have no underrun, ascending."""
    continuity: dict[float, float] | None = None
    smooth_share: Estimate | None = None
    """Of the streams of two chunks or more, those that met the SLO's limit of stalls."""
    word_error_rate: Estimate | None = None
    """The worst of the repeats, with the interval of so many words as the recogniser was given."""
    audio_s_per_character: float | None = None
    """Of the good answers: how slowly the arm speaks."""
    longest_s: float = 0.0
    """The longest good request, due to end."""
    onset: Onset | None = None

    @property
    def valid(self) -> bool:
        return self.repeats > 0

    @property
    def failed(self) -> int:
        """Requests that were due and brought no whole answer."""
        return sum(self.errors.values())

    @property
    def failed_share(self) -> float:
        return self.failed / self.samples if self.samples else 0.0


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


def stage_counts(run: Run, arm: str) -> dict[str, dict[str, float]]:
    """Counter ("steps", "rows", "padded_units", "bucket_misses") to stage to its count per second of audio.

    From the engine's own counters around each valid cell; counters in seconds (a name that ends in _s) too, where it
    has any by stage. Empty for an arm without GET /stats.
    """
    totals: dict[str, dict[str, float]] = {}
    audio = 0.0
    for cell in run.cells:
        if cell.arm != arm or cell.verdict != "VALID" or not cell.server_before or not cell.server_after:
            continue
        audio += sum(map(audio_s, good(cell.samples)))
        for counter in _counters(cell.server_after):
            before, after = _counter(cell.server_before, counter), _counter(cell.server_after, counter)
            for stage, count in after.items():
                stages = totals.setdefault(counter, {})
                stages[stage] = stages.get(stage, 0.0) + count - before.get(stage, 0.0)
    if not audio or "steps" not in totals:
        return {}
    return {
        counter: {stage: count / audio for stage, count in stages.items()}
        for counter, stages in totals.items()
    }


def _counters(stats: dict[str, Any]) -> list[str]:
    engine = stats.get("engine", stats)
    if not isinstance(engine, dict):  # of a server that is not ours
        return []
    seconds = [name for name, value in engine.items() if name.endswith("_s") and isinstance(value, dict)]
    return ["steps", "rows", "padded_units", "bucket_misses", *seconds]


def _counter(stats: dict[str, Any], name: str) -> dict[str, float]:
    engine = stats.get("engine", stats)
    counts = engine.get(name) if isinstance(engine, dict) else None
    known = counts.items() if isinstance(counts, dict) else ()
    return {stage: float(count) for stage, count in known if isinstance(count, int | float)}


def _rank(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


def _summary(arm: str, point: LoadPoint, cells: Sequence[Cell], run: Run) -> Summary:
    valid = [cell for cell in cells if cell.verdict == "VALID"]
    samples = [sample for cell in valid for sample in cell.samples]
    succeeded = good(samples)
    invalid = tuple(reason for cell in cells if cell.verdict == "INVALID" for reason in cell.reasons)
    if not valid:
        return Summary(arm=arm, point=point, repeats=0, invalid=invalid, samples=0, errors={})
    name = f"{arm} {run.workload_seed} {point}"
    first = [
        [value for sample in good(_in_order(cell)) if (value := audible_ttfa_s(sample)) is not None]
        for cell in valid
    ]
    totals = [[total_s(sample) for sample in good(_in_order(cell))] for cell in valid]
    factors = [
        [value for sample in good(_in_order(cell)) if (value := real_time_factor(sample)) is not None]
        for cell in valid
    ]
    streams = [sample for sample in succeeded if in_pieces(sample)]
    characters = sum(sample.characters for sample in succeeded)
    stalls = sorted(stall_s(sample) or 0.0 for sample in streams)
    words = sum(len(sample.text.split()) for sample in samples if sample.transcript is not None)
    rates = [cell.word_error_rate for cell in valid if cell.word_error_rate is not None]
    heard = [value for values in first for value in values]
    return Summary(
        arm=arm,
        point=point,
        repeats=len(valid),
        invalid=invalid,
        samples=len(samples),
        errors=errors_by_kind(samples),
        ttfa_p5_s=percentile(heard, 5) if heard else None,
        ttfa_p50_s=_percentile(first, 50, name),
        ttfa_p95_s=_percentile(first, 95, name),
        total_p50_s=_percentile(totals, 50, name),
        total_p95_s=_percentile(totals, 95, name),
        real_time_factor_p50=_percentile(factors, 50, name),
        audio_seconds_per_second=_throughput(valid, f"rate {name}", audio_s, audio_seconds_per_second),
        characters_per_second=_throughput(
            valid, f"text {name}", lambda sample: sample.characters, characters_per_second
        ),
        slo_share=_share(valid, run, name),
        cpu_per_audio=_cost(valid),
        requests_per_second=median(requests_per_second(cell.samples) for cell in valid),
        goodput_rps=median(goodput_rps(cell.samples, run.slo) for cell in valid),
        stalls_s=tuple(stalls),
        prebuffers_s=tuple(
            sorted(played.prebuffer_s for sample in streams if (played := playback(sample)) is not None)
        ),
        continuity=continuity(samples),
        smooth_share=of_share(sum(stall <= run.slo.stall_s for stall in stalls) / len(stalls), len(stalls))
        if stalls
        else None,
        word_error_rate=of_share(min(max(rates), 1.0), words) if rates else None,
        audio_s_per_character=sum(map(audio_s, succeeded)) / characters if characters else None,
        longest_s=max(map(total_s, succeeded), default=0.0),
        onset=onset(succeeded),
    )


def _percentile(repeats: Sequence[Sequence[float]], percent: float, name: str) -> Estimate | None:
    pooled = [value for values in repeats for value in values]
    if not pooled or (percent == 95 and len(pooled) < LEAST_FOR_P95):
        return None
    rank = max(int(np.ceil(round(percent / 100 * len(pooled), 9))), 1) - 1

    def figure(drawn: Sequence[Floats]) -> Floats:
        return np.sort(np.concatenate([rows[:, :, 0] for rows in drawn], axis=1), axis=1)[:, rank]

    return bootstrap(
        [_rows(values, 1) for values in repeats], figure, percentile(pooled, percent), f"{percent} {name}"
    )


def _throughput(
    cells: Sequence[Cell],
    name: str,
    amount: Callable[[Sample], float],
    rate: Callable[[Sequence[Sample]], float],
) -> Estimate | None:
    """Median over the repeats. Drawn: amount over the time that requests took, which longer texts raise together."""
    rates = [rate(cell.samples) for cell in cells]
    timed = [[(amount(s) if s.error is None else 0.0, total_s(s)) for s in _in_order(cell)] for cell in cells]
    own = [sum(made for made, _ in rows) / (sum(total for _, total in rows) or 1.0) for rows in timed]

    def figure(drawn: Sequence[Floats]) -> Floats:
        each = []
        for rows, rate, usual in zip(drawn, rates, own, strict=True):
            sums = rows.sum(axis=1)
            each.append(rate / (usual or 1.0) * sums[:, 0] / np.maximum(sums[:, 1], 1e-9))
        medians: Floats = np.median(each, axis=0)
        return medians

    return bootstrap([_rows(rows, 2) for rows in timed], figure, median(rates), name)


def _share(cells: Sequence[Cell], run: Run, name: str) -> Estimate | None:
    met = [[float(meets(sample, run.slo)) for sample in _in_order(cell)] for cell in cells]
    count = sum(map(len, met))
    if not count:
        return None

    def figure(drawn: Sequence[Floats]) -> Floats:
        means: Floats = np.concatenate([rows[:, :, 0] for rows in drawn], axis=1).mean(axis=1)
        return means

    share = sum(map(sum, met)) / count
    found = bootstrap([_rows(values, 1) for values in met], figure, share, f"share {name}")
    alike = found.draws is not None and not found.draws.std()
    return of_share(share, count, f"share {name}") if alike else found


def _cost(cells: Sequence[Cell]) -> float | None:
    known = [cell for cell in cells if cell.server_cpu_s]
    audio = sum(sum(map(audio_s, cell.samples)) for cell in known)
    return sum(cell.server_cpu_s or 0.0 for cell in known) / audio if audio else None


def _in_order(cell: Cell) -> list[Sample]:
    return sorted(cell.samples, key=lambda sample: sample.due_s)


def _rows(values: Sequence[Any], width: int) -> Floats:
    return np.asarray(values, dtype=np.float64).reshape(-1, width)
