"""Does a cell count? Its verdict and the reasons for it."""

from __future__ import annotations

from bench.metrics import errors_by_kind, good
from bench.records import Cell

MAX_LATENESS_P99_S = 0.02
"""A generator that sends (or wakes) later than this at its 99th percentile did not offer the stated load."""
MAX_GENERATOR_CPU = 0.7
"""Of one core. Above it the generator's own queue would be in the figures."""
MAX_OTHERS_CPU = 0.4
"""Of one core. Above it the figures are those of a machine that did something else as well."""


def faults(cell: Cell) -> list[str]:
    """Why a cell may not be counted, however fast; empty if it may. Refusals are a result, not a fault.

    The speech check adds its own reasons (bench.hearing.speech_check).
    """
    found = []
    generator = cell.generator
    if not good(cell.samples):
        found.append("no request succeeded")
    for kind, count in sorted(errors_by_kind(cell.samples).items()):
        if kind != "refused":
            detail = next(sample.detail for sample in cell.samples if sample.error == kind)
            found.append(f"{kind}: {count} of {len(cell.samples)} requests ({detail})")
    if generator.lateness_p99_s > MAX_LATENESS_P99_S:
        found.append(f"late generator: sent {generator.lateness_p99_s * 1e3:.1f} ms after due at p99")
    if generator.loop_lag_p99_s > MAX_LATENESS_P99_S:
        found.append(f"starved generator: timers fired {generator.loop_lag_p99_s * 1e3:.1f} ms late at p99")
    if generator.cpu_share > MAX_GENERATOR_CPU:
        found.append(f"starved generator: it used {generator.cpu_share:.2f} of a core")
    if (cell.others_cpu_share or 0.0) > MAX_OTHERS_CPU:
        found.append(f"disturbed machine: others used {cell.others_cpu_share:.2f} of a core")
    return found


def validate(cell: Cell) -> None:
    """Set the cell's verdict and reasons from its faults."""
    cell.reasons = faults(cell)
    cell.verdict = "INVALID" if cell.reasons else "VALID"
