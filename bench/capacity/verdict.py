"""Does a probe hold the SLO, or does it say nothing because the machine was disturbed?"""

from __future__ import annotations

from collections import Counter
from typing import Literal

import msgspec

from bench.load.validity import disturbances
from bench.metrics import audible_ttfa_s, errors_by_kind, good, percentile, stall_s
from bench.records import Cell, Sample

Standing = Literal["held", "failed", "void"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The SLO: what must be true of a probe. Nobody is refused, every wave is heard without doubt."""

    ttfa_p95_s: float = 0.25
    """Of the audible time to first audio; of fewer than twenty requests it is the largest."""
    underrun_s: float = 0.1
    """No listener's playback is empty for longer, in all."""
    wer: float = 0.1
    """Over all transcribed waves of the probes that held, together."""

    @property
    def words(self) -> str:
        """As a sentence has it."""
        return (
            f"audible TTFA p95 within {self.ttfa_p95_s * 1e3:g} ms, no underrun above {self.underrun_s * 1e3:g} ms, "
            f"nobody refused, every wave heard without doubt, WER up to {self.wer:.0%}"
        )


def evidence(cell: Cell, ramp_s: float) -> list[Sample]:
    """The requests that were due when all listeners were there; all of them, if nobody asked again after that."""
    return [sample for sample in cell.samples if sample.due_s >= ramp_s] or cell.samples


def verdict(cell: Cell, limits: Limits, ramp_s: float) -> tuple[Standing, list[str]]:
    """Whether it held, and why not. It is void if the machine was disturbed, but for one case.

    A server that is overrun takes the generator's share of the CPU too. So a probe whose generator alone was late is
    no void if it fails by more than the generator was late: latencies count from the due time.
    """
    if not cell.samples:
        return "void", ["no request was due in it"]
    late_s = max(cell.generator.lateness_p99_s, cell.generator.loop_lag_p99_s)
    reasons = failures(cell, limits, ramp_s)
    disturbed = disturbances(cell)
    if disturbed:
        strict = [reason for reason in disturbed if not reason.startswith(("late", "starved"))]
        allowed = msgspec.structs.replace(
            limits, ttfa_p95_s=limits.ttfa_p95_s + late_s, underrun_s=limits.underrun_s + late_s
        )
        if strict or not failures(cell, allowed, ramp_s):
            return "void", disturbed
    return ("failed", reasons) if reasons else ("held", [])


def failures(cell: Cell, limits: Limits, ramp_s: float) -> list[str]:
    """What of the SLO is not met; the recogniser's part comes later, in `after_hearing`."""
    samples = evidence(cell, ramp_s)
    found = []
    for kind, count in sorted(errors_by_kind(samples).items()):
        found.append(f"{count} of {len(samples)} requests {WORDS.get(kind, kind)}")
    served = good(samples)
    if not served:
        found.append("no request succeeded")
    first = [time for sample in served if (time := audible_ttfa_s(sample)) is not None]
    if first and (p95 := percentile(first, 95)) > limits.ttfa_p95_s:
        found.append(f"audible TTFA p95 is {p95 * 1e3:.0f} ms")
    stalls = [
        stall for sample in served if (stall := stall_s(sample)) is not None and stall > limits.underrun_s
    ]
    if stalls:
        found.append(f"{len(stalls)} of {len(served)} answers ran dry, for up to {max(stalls) * 1e3:.0f} ms")
    doubts = Counter(doubt for sample in samples for doubt in sample.doubts)
    found += [f"heard: {doubt} ({count} waves)" for doubt, count in doubts.items()]
    # What the bench holds against any cell: a server that plays to the stopwatch, keeps answers, or has died.
    machine = set(disturbances(cell))
    errors = tuple(f"{kind}: " for kind in errors_by_kind(cell.samples))
    found += [
        reason
        for reason in cell.reasons
        if reason not in machine and not reason.startswith((*errors, "heard: ", "no request"))
    ]
    return found


WORDS = {"refused": "were refused", "timeout": "did not end in time", "truncated": "broke off"}
