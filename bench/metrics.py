"""Every metric of the bench, defined here and nowhere else: derived from the raw samples of a run.

A report can be made again, or differently, from the same file, for nothing is stored but samples. A listener is a
player that starts with the first whole sample and never waits on purpose.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from bench.records import Sample, Slo

STALL_LIMITS_S = (0.0, 0.05, 0.1, 0.2)
SHORTEST_UNDERRUN_S = 0.001
"""Two reads of one delivery lie some microseconds apart; no ear hears a millisecond."""

# ---- of one request --------------------------------------------------------------------------


def ttfa_s(sample: Sample) -> float | None:
    """Time to the first byte of audio, past any header, from when the request was due. It may be silence."""
    return sample.events[0][0] - sample.due_s if sample.events else None


def first_playable_s(sample: Sample) -> float | None:
    """From when the request was due until a player has one whole sample of all channels."""
    delivered = 0
    for time, size in sample.events:
        delivered += size
        if delivered >= sample.frame_bytes:
            return time - sample.due_s
    return None


def audible_ttfa_s(sample: Sample) -> float | None:
    """From when the request was due until its listener hears the first sound of the speech: the headline figure.

    The silence before the sound is played first, and a wait for the part that holds the sound counts. So does noise
    before the speech (Heard.charged_s). None for a wave without sound, and for one that nobody heard (Sample.heard).
    """
    if sample.heard is None or sample.heard.audible_at_s is None:
        return None
    at = played_at_s(sample, sample.heard.audible_at_s + sample.heard.charged_s)
    return None if at is None else at - sample.due_s


def lead_s(sample: Sample) -> float | None:
    """Silence before the first sound of the wave."""
    return sample.heard.audible_at_s if sample.heard is not None else None


def first_payload_s(sample: Sample) -> float | None:
    """Seconds of audio that the first read brought."""
    return _seconds(sample, sample.events[0][1]) if sample.events else None


def played_at_s(sample: Sample, position_s: float) -> float | None:
    """When a player that starts at once plays this position of the wave, on the clock of the sample's events.

    position + the latest (arrival - audio before it) of the reads up to it: each read that came too late has
    stopped the player until it came.
    """
    waits = [time - before for time, before in _arrivals(sample) if before <= position_s]
    return position_s + max(waits) if waits else None


def total_s(sample: Sample) -> float:
    """From when the request was due to its last byte."""
    return sample.end_s - sample.due_s


def audio_s(sample: Sample) -> float:
    """Seconds of audio received, from the payload itself and never from what a header claims."""
    if not sample.events:
        return 0.0
    return _seconds(sample, sum(size for _, size in sample.events))


def real_time_factor(sample: Sample) -> float | None:
    """total_s over audio_s: below 1 is faster than speech. The wait for a free server is inside."""
    seconds = audio_s(sample)
    return total_s(sample) / seconds if seconds else None


def gaps_s(sample: Sample) -> list[float]:
    """Times between successive reads of audio."""
    times = [time for time, _ in sample.events]
    return [later - earlier for earlier, later in pairwise(times)]


class Playback(NamedTuple):
    """What a player without a buffer does with a stream."""

    underruns: int
    """How often it has nothing to play before the end."""
    underrun_s: float
    """How long in all."""
    prebuffer_s: float
    """Seconds of audio; it has none if it starts with the first read that brings it to more than this."""


def playback(sample: Sample) -> Playback | None:
    """Play the stream as it came, from its first whole sample on. None without audio."""
    arrivals = list(_arrivals(sample))
    if not arrivals:
        return None
    begun = arrivals[0][0]
    stalls = stalls_s(sample)
    count, waited = len(stalls), sum(wait for _, wait in stalls)
    # Starting later by all that was waited leaves no wait. What has come before that moment is not enough to start.
    held = next((before for time, before in arrivals if time >= begun + waited - 1e-9), arrivals[-1][1])
    return Playback(count, waited, held if count else 0.0)


def stalls_s(sample: Sample) -> list[tuple[float, float]]:
    """(seconds played before it, seconds that it lasts) of each underrun of a player that starts at once."""
    found: list[tuple[float, float]] = []
    begun: float | None = None
    waited = 0.0
    for time, before in _arrivals(sample):
        begun = time if begun is None else begun
        late = time - begun - before - waited
        if late > SHORTEST_UNDERRUN_S:
            found.append((before, late))
            waited += late
    return found


def stall_s(sample: Sample) -> float | None:
    """How long the listener's playback buffer is empty in all. None without audio."""
    found = playback(sample)
    return None if found is None else found.underrun_s


def _seconds(sample: Sample, size: int) -> float:
    return size / sample.frame_bytes / sample.sample_rate_hz


def _arrivals(sample: Sample) -> Iterator[tuple[float, float]]:
    """(time of a read, seconds of audio that came before it), without the reads before the first whole sample."""
    delivered = 0
    for time, size in sample.events:
        if delivered + size >= sample.frame_bytes:
            whole = delivered - delivered % sample.frame_bytes
            yield time, _seconds(sample, whole)
        delivered += size


def meets(sample: Sample, slo: Slo) -> bool:
    """It succeeded, was heard in time (not streamed: was whole in time) and stalled no longer than the limit."""
    if sample.error is not None:
        return False
    first = audible_ttfa_s(sample) if sample.streaming else total_s(sample)
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


def surely_more(count: int, of: int, share: float) -> bool:
    """Whether so many of a few are more than a share of all, by more than a standard error."""
    return of > 0 and count - math.sqrt(count * (1 - count / of)) > share * of


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


def characters_per_second(samples: Sequence[Sample]) -> float:
    """Characters of good answers' texts per second: the throughput that silence does not raise."""
    window = window_s(samples)
    return sum(sample.characters for sample in good(samples)) / window if window else 0.0


def requests_per_second(samples: Sequence[Sample]) -> float:
    """Good answers per second."""
    window = window_s(samples)
    return len(good(samples)) / window if window else 0.0


def goodput_rps(samples: Sequence[Sample], slo: Slo) -> float:
    """Answers per second that a listener accepts."""
    window = window_s(samples)
    return sum(meets(sample, slo) for sample in samples) / window if window else 0.0


def in_pieces(sample: Sample) -> bool:
    """Whether its audio was sent in two pieces or more, so that it could have stalled; one that dripped has."""
    return sample.streaming and ((sample.chunks or len(sample.events)) > 1 or bool(stalls_s(sample)))


def continuity(samples: Iterable[Sample]) -> dict[float, float] | None:
    """Share of good streams whose stall is at most 0, 50, 100 and 200 ms.

    A stream of a single chunk cannot stall and says nothing, so it is left out; None if no stream is left.
    """
    streams = [sample for sample in good(samples) if in_pieces(sample)]
    stalls = [stall_s(sample) or 0.0 for sample in streams]
    if not stalls:
        return None
    return {limit: sum(stall <= limit for stall in stalls) / len(stalls) for limit in STALL_LIMITS_S}
