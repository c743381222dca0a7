"""A soak: a steady share of what the server can do, for long. Nothing may grow: memory, open files, the first sound.

The peak is measured first, on the same server; then so many requests a second are sent evenly. Each slope is told with
its 95 % interval, from batch means, for what is looked at often is like what was looked at just before.
"""

from __future__ import annotations

import threading
import time

import numpy as np

from bench.faults.pressure import FILLING, memory_mb, press
from bench.faults.server import Victim

PEAK_S = 10.0
SETTLE_SHARE = 0.2
"""Of the time, at its beginning: caches and pools fill, and are not judged."""
LOOKS = 200
BATCHES = 16
OTHERS_CORES = 0.2
"""With others on more of the machine's cores than this, a first sound that came later says nothing of the server."""
GROWTH = {"memory": 0.02, "open files": 0.02, "first sound": 0.10}
"""Growth in an hour, of the mean, below which a slope is none, however sure it is."""


def soak(victim: Victim, minutes: float, share: float) -> int:
    """Soak, and print the slopes. Returns 1 if something grows or an answer broke."""
    peak = press(victim, FILLING, PEAK_S)
    rate_rps = share * peak.seen.whole / peak.seen.took_s
    print(
        f"peak {peak.seen.goodput:.1f} audio s/s; {rate_rps:.1f} requests/s, {share:.0%} of it, for {minutes:g} minutes"
    )
    looks: list[tuple[float, float, float]] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(minutes * 60 / LOOKS):
            looks.append((time.monotonic(), memory_mb(victim), float(victim.files())))

    watch = threading.Thread(target=look, daemon=True)
    begun_s = time.monotonic()
    watch.start()
    phase = press(victim, FILLING, minutes * 60, rate_rps)
    ended.set()
    watch.join()
    seen, from_s = phase.seen, begun_s + SETTLE_SHARE * minutes * 60
    print(
        f"{seen.whole} whole answers, {len(seen.refused_s)} refused, {len(seen.broken)} broken {seen.broken[:3]}"
    )
    print(
        f"{seen.goodput:.1f} audio s/s; cores: engine {phase.engine_cores:.2f}, HTTP {phase.http_cores:.2f}, "
        f"others {phase.other_cores:.2f}"
    )
    grows = False
    for name, unit, points in (
        ("memory", "MB", [(at, memory) for at, memory, _ in looks]),
        ("open files", "", [(at, files) for at, _, files in looks]),
        ("first sound", "ms", [(at, delay * 1e3) for at, delay in seen.first_s]),
    ):
        judged = [point for point in points if point[0] >= from_s]
        slope, margin = slope_per_hour(judged)
        mean = float(np.mean([value for _, value in judged]))
        grew = slope - margin > GROWTH[name] * mean
        verdict = "GROWS" if grew else "no growth"
        if name == "first sound" and phase.other_cores > OTHERS_CORES:
            grew, verdict = False, "not judged, for others used the machine"
        grows |= grew
        print(
            f"{name:12} mean {mean:.1f} {unit}; {slope:+.2f} {unit}/h, 95 % interval {slope - margin:+.2f} to "
            f"{slope + margin:+.2f}: {verdict}"
        )
    return 1 if grows or seen.broken else 0


def slope_per_hour(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Least squares over the means of BATCHES equal times of (seconds, value): the slope in an hour, and half the width
    of its 95 % interval. Raises ValueError for fewer than three points.
    """
    at, value = np.array(points, dtype=float).T
    if len(at) < 3:
        raise ValueError("a slope wants three points")
    number = np.minimum(((at - at[0]) / (at[-1] - at[0]) * BATCHES).astype(int), BATCHES - 1)
    batches = np.unique(number)
    at = np.array([at[number == batch].mean() for batch in batches]) / 3600
    value = np.array([value[number == batch].mean() for batch in batches])
    at = at - at.mean()
    spread = float((at**2).sum())
    slope = float((at * (value - value.mean())).sum() / spread)
    rest = value - value.mean() - slope * at
    degrees = max(len(at) - 2, 1)
    error = float(np.sqrt((rest**2).sum() / degrees / spread))
    return slope, _T95[min(degrees, len(_T95)) - 1] * error


_T95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14)
"""Student's t, two-sided 95 %, by degrees of freedom."""
