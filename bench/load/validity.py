"""Does a cell count? Its verdict and the reasons for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.metrics import (
    audible_ttfa_s,
    audio_s,
    errors_by_kind,
    good,
    in_pieces,
    stalls_s,
    total_s,
    ttfa_s,
)
from bench.records import Cell, Sample

MAX_LATENESS_P99_S = 0.02
"""A generator that sends (or wakes) later than this at its 99th percentile did not offer the stated load."""
MAX_GENERATOR_CPU = 0.7
"""Of one core. Above it the generator's own queue would be in the figures."""
MAX_OTHERS_CPU = 0.4
"""Of one core. Above it the figures are those of a machine that did something else as well."""


EARLY_BYTE_S = 0.02
"""A first read of less audio than this that is followed by a wait came for the stopwatch and not for the listener."""
EARLY_WAIT_S = 0.05
HOLE_BEGINS_S, HOLE_S, OTHER_STALL_S = 0.5, 0.2, 0.05
"""A stream that plays less than this, waits longer than that, and then never again: a start that came too soon."""
HOLE_SPEED = 2.0
"""Times as fast as it plays, at least, that the rest comes: a server that can keep up, and did not begin to."""
MANY = 0.3
"""Share of the answers from which a habit is named."""
OVERTAKEN_TIMES = 2
"""A request is passed over if this many later ones for each client, no shorter ones, are heard before it."""
AS_LONG = 0.8
"""A text is no shorter than another one from this share of its characters on."""
MOST_PASSED_OVER = 0.1
"""Of the clients' time: a closed loop that waits long for a few has few such waits among its requests."""
KEEPS_ANSWERS = "the server keeps answers (cache.enabled in its /stats or /readyz)"


def faults(cell: Cell) -> list[str]:
    """Why a cell may not be counted, however fast; empty if it may. Refusals are a result, not a fault.

    bench.hearing adds its own reasons.
    """
    found = []
    if not good(cell.samples):
        found.append("no request succeeded")
    for kind, count in sorted(errors_by_kind(cell.samples).items()):
        if kind != "refused":
            detail = next(sample.detail for sample in cell.samples if sample.error == kind)
            found.append(f"{kind}: {count} of {len(cell.samples)} requests ({detail})")
    found += disturbances(cell)
    if keeps_answers(cell.server_before) or keeps_answers(cell.server_after):
        found.append(KEEPS_ANSWERS)
    return [*found, *_habits(cell), *_passed_over(cell)]


def disturbances(cell: Cell) -> list[str]:
    """What the machine did, and not the server: a generator that was late or starved, or other programs."""
    found = []
    generator = cell.generator
    if generator.lateness_p99_s > MAX_LATENESS_P99_S:
        found.append(f"late generator: sent {generator.lateness_p99_s * 1e3:.1f} ms after due at p99")
    if generator.loop_lag_p99_s > MAX_LATENESS_P99_S:
        found.append(f"starved generator: timers fired {generator.loop_lag_p99_s * 1e3:.1f} ms late at p99")
    if generator.cpu_share > MAX_GENERATOR_CPU:
        found.append(f"starved generator: it used {generator.cpu_share:.2f} of a core")
    if (cell.others_cpu_share or 0.0) > MAX_OTHERS_CPU:
        found.append(f"disturbed machine: others used {cell.others_cpu_share:.2f} of a core")
    return found


def keeps_answers(page: dict[str, Any] | None) -> bool:
    """Whether a server's /stats or /readyz says that its answer cache is on."""
    cache = (page or {}).get("cache")
    return bool(cache.get("enabled")) if isinstance(cache, dict) else bool(cache)


def _habits(cell: Cell) -> list[str]:
    """What a server does to look better than it is heard."""
    found = []
    streams = [sample for sample in good(cell.samples) if in_pieces(sample)]
    early = sum(map(_early_byte, streams))
    if early > MANY * len(streams):
        found.append(
            f"an early byte: {early} of {len(streams)} streams begin with less than {EARLY_BYTE_S * 1e3:.0f} ms of"
            f" audio and then wait"
        )
    holes = sum(map(_hole, streams))
    if holes > MANY * len(streams):
        found.append(
            f"a hole: {holes} of {len(streams)} streams begin with less than {HOLE_BEGINS_S:g} s of audio, stop for"
            f" more than {HOLE_S:g} s, and then have no other wait"
        )
    return found


def _passed_over(cell: Cell) -> list[str]:
    """Some clients are let wait so that others are quick: of a closed loop's requests the quick ones are the most."""
    answers = [sample for sample in good(cell.samples) if sample.events]
    if cell.clients is None or cell.clients < 2 or not answers:
        return []
    sent = np.array([sample.sent_s for sample in answers])
    heard = np.array([sample.due_s + (audible_ttfa_s(sample) or ttfa_s(sample) or 0.0) for sample in answers])
    length = np.array([sample.characters for sample in answers])
    overtaken = [
        ((sent > sent[at]) & (heard < heard[at]) & (length >= AS_LONG * length[at])).sum()
        for at in range(len(answers))
    ]
    most = OVERTAKEN_TIMES * cell.clients
    passed = [sample for sample, times in zip(answers, overtaken, strict=True) if times > most]
    share = sum(map(total_s, passed)) / sum(map(total_s, answers))
    if share <= MOST_PASSED_OVER:
        return []
    return [
        f"clients are passed over: {len(passed)} of {len(answers)} requests waited, {share:.0%} of the clients' time,"
        f" while more than {most} later ones were heard"
    ]


def _hole(sample: Sample) -> bool:
    """Its one stall is the first thing that happens to it, and what comes behind comes fast."""
    waits = stalls_s(sample)
    if not waits or waits[0][0] >= HOLE_BEGINS_S or waits[0][1] <= HOLE_S:
        return False
    resumed = sum(wait for _, wait in waits[:1]) + waits[0][0] + sample.events[0][0]
    rest_s = audio_s(sample) - waits[0][0]
    return all(wait <= OTHER_STALL_S for _, wait in waits[1:]) and (
        sample.events[-1][0] - resumed < rest_s / HOLE_SPEED
    )


def _early_byte(sample: Sample) -> bool:
    """Less than EARLY_BYTE_S of audio, then nothing for longer than it plays."""
    first = sample.events[0][0]
    begun = [size for time, size in sample.events if time - first < EARLY_WAIT_S]
    return len(begun) < len(sample.events) and (
        sum(begun) < EARLY_BYTE_S * sample.frame_bytes * sample.sample_rate_hz
    )


def accuse(cell: Cell, reasons: Sequence[str]) -> None:
    """Add reasons that the cell does not have yet; any reason makes it INVALID."""
    cell.reasons += [reason for reason in reasons if reason not in cell.reasons]
    if cell.reasons:
        cell.verdict = "INVALID"


def validate(cell: Cell) -> None:
    """Set the cell's verdict and reasons from its faults."""
    cell.reasons, cell.verdict = [], "VALID"
    accuse(cell, faults(cell))
