"""The statistics of the regression gate: from pairs of measurements to a verdict. Pure functions.

How a metric is measured: in `rounds`. Every round starts the engines of base and head afresh, both alive
at once, and measures them in adjacent pairs whose order flips (ABBA), so that drift of the machine hits
both sides alike. Rounds exist because two instances of the very same code can differ by some percent
(memory layout, cores, clocks), and no number of pairs within one round averages that out.

What is estimated: the *slow-down*, head over base (base over head where more is better), so that above 1
is worse. A round's value is the median of its pairs' log slow-downs; the estimate is the mean over
rounds. The interval is a two-level bootstrap (rounds with replacement, then pairs within each),
percentiles, seeded, widened by sqrt(n / (n - 1)) because n resampled rounds vary less than n new ones.

The rules, with threshold t = 5 %:

    REGRESSED     the estimate lies above 1 + t, and the whole interval above 1
    IMPROVED      the estimate lies below 1 / (1 + t), and the whole interval below 1
    NO CHANGE     the whole interval lies between 1 / (1 + t) and 1 + t
    INCONCLUSIVE  anything else: the noise of this machine hides the answer
    INVALID       nothing to judge: a side did not start, a request failed, or there are not two rounds

A count that no clock touches (steps, chunks, copies, bucket misses) is compared exactly: more of it is
REGRESSED, less is IMPROVED, the same is NO CHANGE, and a count that differs between rounds of one side
is INVALID.

So a slow-down is called when it is certain that there is one and likely that it exceeds t. To demand that the whole
interval exceed 1 + t would ask of a machine whose interval spans 6 % that nothing below 8 % is ever called.

REGRESSED fails the gate only after a second, longer measurement of that metric alone says REGRESSED
again, and only if no entry of bench/gate/accepted.toml allows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

Verdict = Literal["REGRESSED", "IMPROVED", "NO CHANGE", "INCONCLUSIVE", "INVALID"]
Better = Literal["lower", "higher"]
Pair = tuple[float, float]
"""One measurement of base and the adjacent one of head."""

THRESHOLD = 0.05
CONFIDENCE = 0.95
RESAMPLES = 1000


class Slowdown(msgspec.Struct, frozen=True, kw_only=True):
    """Head against base as a factor; above 1 is worse. `low` and `high` bound it at the stated confidence."""

    ratio: float
    low: float
    high: float


def estimate_slowdown(
    rounds: Sequence[Sequence[Pair]], better: Better, *, seed: int = 0, confidence: float = CONFIDENCE
) -> Slowdown:
    """The slow-down that the rounds show, as the module describes.

    Raises ValueError for fewer than two rounds, an empty round, or a measurement that is not positive.
    """
    if len(rounds) < 2:
        raise ValueError(f"{len(rounds)} rounds: an interval needs two")
    logs = [_log_slowdowns(pairs, better) for pairs in rounds]
    rng = np.random.default_rng(seed)
    resampled_medians = np.stack(
        [np.median(rng.choice(log, size=(RESAMPLES, log.size)), axis=1) for log in logs]
    )
    # One resample of the rounds: n draws of (round, one of its resampled medians).
    picks = rng.integers(len(logs), size=(RESAMPLES, len(logs)))
    draws = rng.integers(RESAMPLES, size=(RESAMPLES, len(logs)))
    means = resampled_medians[picks, draws].mean(axis=1)

    centre = float(np.mean([np.median(log) for log in logs]))
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    widen = float(np.sqrt(len(logs) / (len(logs) - 1)))
    return Slowdown(
        ratio=float(np.exp(centre)),
        low=float(np.exp(centre + widen * (min(low, centre) - centre))),
        high=float(np.exp(centre + widen * (max(high, centre) - centre))),
    )


def judge(slowdown: Slowdown, threshold: float = THRESHOLD) -> Verdict:
    """The verdict that the module's rules give."""
    worst, best = 1 + threshold, 1 / (1 + threshold)
    if slowdown.ratio > worst and slowdown.low > 1:
        return "REGRESSED"
    if slowdown.ratio < best and slowdown.high < 1:
        return "IMPROVED"
    if slowdown.low >= best and slowdown.high <= worst:
        return "NO CHANGE"
    return "INCONCLUSIVE"


def judge_count(base: Sequence[float], head: Sequence[float], better: Better = "lower") -> Verdict:
    """The verdict on a count, one value per round of each side."""
    if not base or not head or len(set(base)) > 1 or len(set(head)) > 1:
        return "INVALID"
    if base[0] == head[0]:
        return "NO CHANGE"
    return "REGRESSED" if (head[0] > base[0]) == (better == "lower") else "IMPROVED"


def _log_slowdowns(pairs: Sequence[Pair], better: Better) -> np.ndarray:
    values = np.asarray(pairs, dtype=np.float64)
    if values.size == 0:
        raise ValueError("a round without pairs")
    if not np.all(np.isfinite(values)) or np.any(values <= 0):
        raise ValueError("a measurement is not a positive number")
    logs = np.log(values[:, 1] / values[:, 0])
    return logs if better == "lower" else -logs
