"""What `bench capacity` writes as JSON: every probe with its raw samples, and what was found. The rest is derived."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from bench.capacity import verdict
from bench.capacity.probe import KINDS, Kind, Load
from bench.capacity.search import Answer, Estimate, Limits, estimate
from bench.costs import Prices, Usage, usage_of
from bench.metrics import (
    audible_ttfa_s,
    audio_seconds_per_second,
    good,
    meets,
    percentile,
    stall_s,
    window_s,
)
from bench.records import Arm, Cell, Slo

KNEE = 2.0
"""The knee is where TTFA p95 leaves this many times that of the smallest load."""


class Probe(msgspec.Struct, kw_only=True):
    """One load on one fresh server."""

    arm: str
    kind: Kind
    amount: float
    standing: verdict.Standing
    reasons: list[str]
    """Why it did not hold, or is void."""
    cell: Cell


class Found(msgspec.Struct, kw_only=True):
    """The capacity of one server, of one kind."""

    arm: str
    kind: Kind
    limits: Limits
    estimate: Estimate = Estimate(standing="unknown")
    invalid: str | None = None
    """Why there is no answer."""
    ended: str = ""
    """Why the search ended, if it did not come to its end by itself."""

    @property
    def words(self) -> str:
        """The answer in a clause, with its unit."""
        found, show = self.estimate, self.shown
        most = found.capacity or found.low or found.high or 0.0
        unit = "listener" if self.limits.whole and int(most) == 1 else KINDS[self.kind]
        if self.invalid is not None:
            return f"no answer, INVALID: {self.invalid}"
        if found.standing == "found":
            return f"holds {show(found.capacity)} {unit} [{show(found.low)}, {show(found.high)}]"
        if found.standing == "none":
            return f"does not hold even {show(found.high)} {unit}"
        if found.standing == "beyond":
            return f"holds {show(found.low)} {unit} or more (no higher load was tried)"
        return "no answer: nothing was measured"

    def shown(self, load: float | None) -> str:
        """A load: whole listeners, all of whom are held; rates with three digits."""
        if load is None:
            return "?"
        return f"{int(load)}" if self.limits.whole else f"{load:.3g}"


class CapacityRun(msgspec.Struct, kw_only=True):
    """A whole run."""

    id: str
    started_at: str
    duration_s: float = 0.0
    machine: dict[str, Any]
    commit: str | None
    dirty: bool
    profile: str
    seed: int
    load: Load
    slo: verdict.Limits
    arms: list[Arm] = []
    probes: list[Probe] = []
    found: list[Found] = []
    prices: Prices | None = None
    quality: dict[str, Any] = {}
    notes: list[str] = []

    def of(self, found: Found) -> list[Probe]:
        """The probes of one search, in their order."""
        return [probe for probe in self.probes if (probe.arm, probe.kind) == (found.arm, found.kind)]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """All valid probes of one server at one load together."""

    amount: float
    held: int
    probes: int
    requests: int
    ttfa_p50_s: float | None
    ttfa_p95_s: float | None
    goodput_share: float
    """Of the requests that were due: those that succeeded, were heard in time and did not run dry."""
    goodput_rps: float
    refused_share: float
    failed_share: float
    """Of other errors."""
    dry_share: float
    """Of good answers: those whose playback ran dry for longer than the SLO allows."""
    longest_underrun_s: float
    audio_s_per_s: float
    usage: Usage | None


def curve(probes: Sequence[Probe], load: Load, slo: verdict.Limits) -> list[Row]:
    """A row per load, ascending; void probes are left out."""
    valid = [probe for probe in probes if probe.standing != "void"]
    return [
        _row(amount, [probe for probe in valid if probe.amount == amount], load, slo)
        for amount in sorted({probe.amount for probe in valid})
    ]


def _row(amount: float, probes: Sequence[Probe], load: Load, slo: verdict.Limits) -> Row:
    samples = [s for p in probes for s in verdict.evidence(p.cell, load.ramp_s(p.kind))]
    served = good(samples)
    first = [time for sample in served if (time := audible_ttfa_s(sample)) is not None]
    stalls = [stall_s(sample) or 0.0 for sample in served]
    accepted = sum(meets(s, Slo(ttfa_s=slo.ttfa_p95_s, stall_s=slo.underrun_s)) for s in samples)
    stayed = sum(sample.left_s is None for sample in samples)
    refused = sum(sample.error == "refused" for sample in samples)
    lasted_s = sum(load.duration_s - load.ramp_s(probe.kind) for probe in probes)
    wall_s = [window_s(probe.cell.samples) for probe in probes]
    audio = sum(
        audio_seconds_per_second(probe.cell.samples) * wall
        for probe, wall in zip(probes, wall_s, strict=True)
    )
    total = max(1, len(samples))
    return Row(
        amount=amount,
        held=sum(probe.standing == "held" for probe in probes),
        probes=len(probes),
        requests=len(samples),
        ttfa_p50_s=percentile(first, 50) if first else None,
        ttfa_p95_s=percentile(first, 95) if first else None,
        goodput_share=accepted / max(1, stayed),
        goodput_rps=accepted / lasted_s,
        refused_share=refused / total,
        failed_share=(len(samples) - len(served) - refused) / total,
        dry_share=sum(stall > slo.underrun_s for stall in stalls) / max(1, len(served)),
        longest_underrun_s=max(stalls, default=0.0),
        audio_s_per_s=audio / max(1e-9, sum(wall_s)),
        usage=usage_of([probe.cell for probe in probes]),
    )


def knee(rows: Sequence[Row]) -> float | None:
    """The largest load up to which TTFA p95 stays within KNEE times that of the smallest; None without a figure."""
    last, base = None, None
    for row in rows:
        if row.ttfa_p95_s is None:
            break
        base = base or row.ttfa_p95_s
        if row.ttfa_p95_s > KNEE * base:
            break
        last = row.amount
    return last


def estimated(found: Found, probes: Sequence[Probe]) -> Estimate:
    """The capacity by the valid probes."""
    answers = [Answer(p.amount, p.standing == "held") for p in probes if p.standing != "void"]
    return estimate(answers, found.limits)


def at_capacity(found: Found, rows: Sequence[Row]) -> Row | None:
    """The row of the highest load that held, up to the estimate: what the costs are told of."""
    most = found.estimate.capacity if found.estimate.capacity is not None else float("inf")
    held = [row for row in rows if row.held and row.amount <= most * 1.02 and row.usage is not None]
    return held[-1] if held else None
