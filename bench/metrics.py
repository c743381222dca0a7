"""Every metric of the bench, defined here and nowhere else: derived from the raw samples of a run.

A report can be made again, or differently, from the same file, for nothing is stored but samples. A listener is a
player that starts at the first audio byte and never waits on purpose.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from bench.records import Sample, Slo

STALL_LIMITS_S = (0.0, 0.05, 0.1, 0.2)

# ---- of one request --------------------------------------------------------------------------


def ttfa_s(sample: Sample) -> float | None:
    """Time to first audio: from when the request was due to its first audio byte after any header."""
    return sample.events[0][0] - sample.due_s if sample.events else None


def total_s(sample: Sample) -> float:
    """From when the request was due to its last byte."""
    return sample.end_s - sample.due_s


def audio_s(sample: Sample) -> float:
    """Seconds of audio received, from the payload itself and never from what a header claims."""
    if not sample.events:
        return 0.0
    return sum(size for _, size in sample.events) / sample.frame_bytes / sample.sample_rate_hz


def real_time_factor(sample: Sample) -> float | None:
    """total_s over audio_s: below 1 is faster than speech. The wait for a free server is inside."""
    seconds = audio_s(sample)
    return total_s(sample) / seconds if seconds else None


def gaps_s(sample: Sample) -> list[float]:
    """Times between successive audio chunks."""
    times = [time for time, _ in sample.events]
    return [later - earlier for earlier, later in pairwise(times)]


def stall_s(sample: Sample) -> float | None:
    """How long the listener's playback buffer is empty in all: the largest deficit at any chunk's arrival.

    max over chunks of (arrival - first arrival - audio delivered before it), at least 0. None without audio.
    """
    if not sample.events:
        return None
    first = sample.events[0][0]
    delivered = 0.0
    worst = 0.0
    for time, size in sample.events:
        worst = max(worst, time - first - delivered)
        delivered += size / sample.frame_bytes / sample.sample_rate_hz
    return worst


def meets(sample: Sample, slo: Slo) -> bool:
    """The request succeeded, began in time (not streamed: was whole in time) and stalled no longer than the limit."""
    if sample.error is not None:
        return False
    first = ttfa_s(sample) if sample.streaming else total_s(sample)
    stall = (stall_s(sample) or 0.0) if sample.streaming else 0.0
    return first is not None and first <= slo.ttfa_s and stall <= slo.stall_s


# ---- of many ---------------------------------------------------------------------------------------


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that at least `percent` % of the values do not exceed.

    It is always one of the values: nothing is interpolated or bucketed. Raises ValueError on no values.
    """
    if not values:
        raise ValueError("a percentile of no values")
    rank = math.ceil(round(percent / 100 * len(values), 9))
    return sorted(values)[max(rank, 1) - 1]


def supported(count: int, percent: float) -> bool:
    """Whether `count` values are enough to tell this percentile from the maximum (p95: 20, p99: 100)."""
    return count * (100 - percent) >= 100


class Distribution(msgspec.Struct, kw_only=True):
    """Exact percentiles; None where there are too few values."""

    count: int
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


def distribution(values: Iterable[float]) -> Distribution:
    """Mean, maximum and those percentiles that the number of values supports."""
    known = list(values)
    if not known:
        return Distribution(count=0, mean=None, p50=None, p95=None, p99=None, max=None)
    p95, p99 = (percentile(known, p) if supported(len(known), p) else None for p in (95, 99))
    mean = sum(known) / len(known)
    return Distribution(
        count=len(known), mean=mean, p50=percentile(known, 50), p95=p95, p99=p99, max=max(known)
    )


def good(samples: Iterable[Sample]) -> list[Sample]:
    """The samples that ended without error. Latencies are of these; the others are counted by kind."""
    return [sample for sample in samples if sample.error is None]


def errors_by_kind(samples: Iterable[Sample]) -> dict[str, int]:
    """Error kind to requests."""
    return dict(Counter(sample.error for sample in samples if sample.error is not None))


def window_s(samples: Sequence[Sample]) -> float:
    """From the first due time to the last end: the time that all rates below divide by.

    The last requests run beside ever fewer others, so a cell should last several times its longest request.
    """
    if not samples:
        return 0.0
    return max(sample.end_s for sample in samples) - min(sample.due_s for sample in samples)


def audio_seconds_per_second(samples: Sequence[Sample]) -> float:
    """Seconds of good audio made per second: the throughput that does not depend on the texts' length."""
    window = window_s(samples)
    return sum(map(audio_s, good(samples))) / window if window else 0.0


def requests_per_second(samples: Sequence[Sample]) -> float:
    """Good answers per second."""
    window = window_s(samples)
    return len(good(samples)) / window if window else 0.0


def goodput_rps(samples: Sequence[Sample], slo: Slo) -> float:
    """Answers per second that a listener accepts."""
    window = window_s(samples)
    return sum(meets(sample, slo) for sample in samples) / window if window else 0.0


def continuity(samples: Iterable[Sample]) -> dict[float, float] | None:
    """Share of good streams whose stall is at most 0, 50, 100 and 200 ms.

    A stream of a single chunk cannot stall and says nothing, so it is left out; None if no stream is left.
    """
    streams = [sample for sample in good(samples) if sample.streaming and len(sample.events) > 1]
    stalls = [stall_s(sample) or 0.0 for sample in streams]
    if not stalls:
        return None
    return {limit: sum(stall <= limit for stall in stalls) / len(stalls) for limit in STALL_LIMITS_S}
