"""One arm against another: ranks only outside the intervals and the noise of two equal arms, and never by survival."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.headline.intervals import Estimate, Ratio, difference, of_ratios, ratio
from bench.headline.summary import Summary, summarise
from bench.metrics import percentile
from bench.records import LoadPoint, Run, Slo

DEFAULT_FLOOR = 0.05
"""Relative difference that counts as even where the run holds no A/A measurement of its own."""
MOST_FAILED = 0.01
"""Share of what was due; an arm that refused or failed more cannot win a latency or a throughput."""

MOST_STALLED = 0.05
"""Share of streams, above that of the other arm: who begins before he can go on has won nothing."""

Standing = Literal["wins", "even", "loses", "not ranked"]
STANDINGS: tuple[Standing, ...] = ("wins", "even", "loses", "not ranked")


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """A figure of a Summary that arms are compared by."""

    name: str
    attribute: str
    better: Literal["lower", "higher"]
    scale: float
    unit: str
    share: bool = False
    """A share of requests, 0 to 1: arms differ by points and not by times."""


TTFA = Criterion(name="TTFA p50", attribute="ttfa_p50_s", better="lower", scale=1e3, unit="ms")
TTFA_P95 = Criterion(name="TTFA p95", attribute="ttfa_p95_s", better="lower", scale=1e3, unit="ms")
TOTAL = Criterion(name="total p50", attribute="total_p50_s", better="lower", scale=1e3, unit="ms")
THROUGHPUT = Criterion(
    name="throughput", attribute="audio_seconds_per_second", better="higher", scale=1.0, unit="audio s/s"
)
TEXT_RATE = Criterion(
    name="text", attribute="characters_per_second", better="higher", scale=1.0, unit="characters/s"
)
"""What THROUGHPUT cannot tell: who pauses longer makes more seconds of the same texts."""
SLO_SHARE = Criterion(
    name="SLO share", attribute="slo_share", better="higher", scale=100.0, unit="% of due", share=True
)
CRITERIA = (TTFA, TTFA_P95, TOTAL, THROUGHPUT, TEXT_RATE, SLO_SHARE)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One figure of the server against the reference at one load point."""

    point: LoadPoint
    criterion: Criterion
    server: Estimate | None
    reference: Estimate | None
    advantage: Ratio | None
    """How many times better the server is: above 1 it is better. Of a share: by how many more, -1 to 1."""
    standing: Standing
    why: str = ""
    """Why it is not ranked."""
    server_failed: str = ""
    """Refusals and errors of each in words, or INVALID; empty if there were none."""
    reference_failed: str = ""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """CPU seconds per second of audio over the load points that both arms validly hold."""

    server: float
    reference: float
    ratio: Ratio | None
    """Server over reference: above 1 it costs more. The interval is over the load points."""
    standing: Standing


def criteria_of(point: LoadPoint) -> list[Criterion]:
    """What arms are compared by at a load point."""
    stream = point.endpoint == "/tts/stream"
    if point.mode == "closed":
        return [TTFA if stream else TOTAL, THROUGHPUT, TEXT_RATE]
    return [*((TTFA, TTFA_P95) if stream else (TOTAL,)), SLO_SHARE]


def compare_arms(run: Run, found: Sequence[Summary], server: str, reference: str) -> list[Comparison]:
    """Every criterion at every load point that both arms were given.

    Even is what lies within its interval or within the run's A/A noise floor (DEFAULT_FLOOR where it has none).
    """
    by_arm = {(summary.arm, summary.point): summary for summary in found}
    pairs = [
        (summary, other)
        for summary in found
        if summary.arm == server and (other := by_arm.get((reference, summary.point))) is not None
    ]
    wanted = [(mine, theirs, criterion) for mine, theirs in pairs for criterion in criteria_of(mine.point)]
    counts = {one: sum(criterion is one for *_, criterion in wanted) for one in CRITERIA}
    return [
        _comparison(run, mine, theirs, criterion, counts[criterion]) for mine, theirs, criterion in wanted
    ]


def even_within(run: Run, attribute: str) -> float:
    """The relative difference (of a share: the difference) that means nothing on this machine."""
    return (run.noise_floor or {}).get(attribute, DEFAULT_FLOOR)


def noise_floor(run: Run, server: str = "granian", twin: str = "twin") -> dict[str, float] | None:
    """Attribute of a Summary to the relative difference that nine of ten load points of two equal arms stay within.

    With fewer than ten load points it is the largest. None without both arms.
    """
    differences: dict[str, list[float]] = {}
    found = summarise(run)
    for one in compare_arms(run, found, server, twin):
        if one.server is None or one.reference is None or not one.advantage:
            continue
        value = one.advantage.value
        size = abs(value) if one.criterion.share else math.exp(abs(math.log(value))) - 1
        differences.setdefault(one.criterion.attribute, []).append(size)
    floor = {name: percentile(sizes, 90) for name, sizes in differences.items()}
    if (cost := compare_costs(run, found, server, twin)) is not None and cost.ratio is not None:
        floor["cpu_per_audio"] = math.exp(abs(math.log(cost.ratio.value))) - 1
    return floor or None


def compare_costs(run: Run, found: Sequence[Summary], server: str, reference: str) -> Cost | None:
    """None where no load point tells the CPU seconds of both."""
    known = {(one.arm, one.point): one.cpu_per_audio for one in found if one.cpu_per_audio}
    pairs = [
        (mine, theirs)
        for (arm, point), mine in known.items()
        if arm == server and (theirs := known.get((reference, point))) and mine
    ]
    if not pairs:
        return None
    times = of_ratios([mine / theirs for mine, theirs in pairs])
    standing: Standing = "not ranked"
    if times is not None:
        floor = 1 + even_within(run, "cpu_per_audio")
        standing = "even"
        if times.low > 1 and times.value > floor:
            standing = "loses"
        elif times.high < 1 and times.value < 1 / floor:
            standing = "wins"
    return Cost(
        server=math.exp(sum(math.log(mine) for mine, _ in pairs) / len(pairs)),
        reference=math.exp(sum(math.log(theirs) for _, theirs in pairs) / len(pairs)),
        ratio=times,
        standing=standing,
    )


def failures(summary: Summary) -> str:
    """Refusals and errors in words, or INVALID; empty if there were none."""
    if not summary.valid:
        return "INVALID"
    said = [f"{count} {kind.replace('_', ' ')}" for kind, count in summary.errors.items()]
    return f"{', '.join(said)} of {summary.samples}" if said else ""


def _comparison(run: Run, mine: Summary, theirs: Summary, criterion: Criterion, among: int) -> Comparison:
    one: Estimate | None = getattr(mine, criterion.attribute)
    other: Estimate | None = getattr(theirs, criterion.attribute)
    advantage, standing, why = None, "not ranked", ""
    if void := [summary.arm for summary in (mine, theirs) if not summary.valid]:
        why = f"{' and '.join(void)} INVALID"
    elif one is None or other is None:
        why = "too few requests"
    else:
        better, worse = (one, other) if criterion.better == "higher" else (other, one)
        advantage = difference(better, worse, among) if criterion.share else ratio(better, worse, among)
        if advantage is None:
            why = "too few requests"
        else:
            standing, why = _standing(
                advantage, even_within(run, criterion.attribute), criterion, mine, theirs
            )
    return Comparison(
        point=mine.point,
        criterion=criterion,
        server=one,
        reference=other,
        advantage=advantage,
        standing=standing,  # type: ignore[arg-type]
        why=why,
        server_failed=failures(mine),
        reference_failed=failures(theirs),
    )


def _standing(
    advantage: Ratio, floor: float, criterion: Criterion, mine: Summary, theirs: Summary
) -> tuple[Standing, str]:
    none, above, below = (0.0, floor, -floor) if criterion.share else (1.0, 1 + floor, 1 / (1 + floor))
    if advantage.low > none and advantage.value > above:
        standing: Standing = "wins"
    elif advantage.high < none and advantage.value < below:
        standing = "loses"
    else:
        return "even", ""
    winner, other = (mine, theirs) if standing == "wins" else (theirs, mine)
    if criterion in (TTFA, TTFA_P95) and _stalled(winner) > _stalled(other) + MOST_STALLED:
        return (
            "not ranked",
            f"{winner.arm} starts sooner and then stalls, {_stalled(winner):.0%} of its streams",
        )
    if not criterion.share and winner.failed_share > MOST_FAILED:
        return "not ranked", f"{winner.arm} served only the survivors: {failures(winner)}"
    return standing, ""


def _stalled(summary: Summary) -> float:
    """Share of the streams that stop for longer than a listener accepts."""
    stalls = summary.stalls_s
    return sum(stall > Slo().stall_s for stall in stalls) / len(stalls) if stalls else 0.0


def reference_of(arms: Sequence[str]) -> str:
    """Whom the first arm is compared with: the plain reference, else the last arm that is not its twin."""
    others = [name for name in arms[1:] if name != "twin"]
    return "reference" if "reference" in others else others[-1] if others else arms[-1] if arms[1:] else ""
