"""The statistics of the regression gate: from pairs of measurements to a verdict. Pure functions.

How a metric is measured: in `rounds`. Every round starts the engines of base and head afresh, both alive
at once, and measures them in adjacent pairs whose order flips (ABBA), so that drift of the machine hits
both sides alike. Rounds exist because two instances of the very same code can differ by some percent
(memory layout, cores, clocks), and no number of pairs within one round averages that out.

What is estimated: the *slow-down*, head over base (base over head where more is better), so that above 1
is worse. A round's value is the median of its pairs' log slow-downs; the estimate is the interquartile
mean over rounds: what strikes less than a quarter of the starts is not seen. The interval is a two-level
bootstrap (rounds with replacement, then pairs within each), percentiles, seeded, widened by
sqrt(n / (n - 1)) because n resampled rounds vary less than n new ones.

The rules. A slow-down is called from CALL = 2.5 % on; two sides are the same within SAME = 5 %:

    REGRESSED     the estimate lies above 1 + CALL, and the whole interval above 1
    IMPROVED      the estimate lies below 1 / (1 + CALL), and the whole interval below 1
    NO CHANGE     the whole interval lies between 1 / (1 + SAME) and 1 + SAME
    INCONCLUSIVE  anything else: the noise of this machine hides the answer
    INVALID       nothing to judge: a side did not start, a request failed, or there are not two rounds

A count that no clock touches (steps, chunks, copies, bucket misses) is compared exactly: more of it is
REGRESSED, less is IMPROVED, the same is NO CHANGE, and a count that differs between rounds of one side
is INVALID, unless every value of head lies above every value of base.

The first measurement only picks suspects: every metric whose estimate lies above 1 + CALL, however wide its
interval. They are measured again, for longer, and the second measurement decides by these rules, by itself: pooled
with the first it would inherit the luck that made the suspect. REGRESSED then fails the gate, unless an entry of
bench/gate/accepted.toml allows it.

Why CALL lies at half of the slow-down that the gate is to find: an estimate is as likely below the truth as above
it, so a rule that demands an estimate above 5 % finds 5 % half the time, and a quarter of the time twice in a row.
bench.gate.power plays this rule on recorded noise. A metric whose noise has steps is called later (Metric.call).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Verdict = Literal["REGRESSED", "IMPROVED", "NO CHANGE", "INCONCLUSIVE", "INVALID"]
Better = Literal["lower", "higher"]
Pair = tuple[float, float]
"""One measurement of base and the adjacent one of head."""

CALL = 0.025
"""An estimate beyond this is called."""
SAME = 0.05
"""An interval within this says that nothing changed."""
CONFIDENCE = 0.95
RESAMPLES = 1000


class Slowdown(msgspec.Struct, frozen=True, kw_only=True):
    """Head against base as a factor; above 1 is worse. `low` and `high` bound it at the stated confidence."""

    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class Round:
    """The log slow-down of one round: the median of its pairs, and medians of its pairs resampled."""

    centre: float
    resampled: NDArray[np.float64]
    """[RESAMPLES]"""

    def moved(self, log_effect: float, sign: float = 1.0) -> Round:
        """The same noise, turned round if sign is -1, around another slow-down."""
        return Round(sign * self.centre + log_effect, sign * self.resampled + log_effect)


def summarise(pairs: Sequence[Pair], better: Better, rng: np.random.Generator) -> Round:
    """A round's median and its resampled medians.

    Raises ValueError for an empty round or a measurement that is not positive.
    """
    log = _log_slowdowns(pairs, better)
    return Round(float(np.median(log)), np.median(rng.choice(log, size=(RESAMPLES, log.size)), axis=1))


def middle(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The interquartile mean along the last axis, by whole values: a quarter of them, rounded down, is left out at each
    end. A machine that others use spoils whole rounds, and one of them moves a mean of eight by more than 5 %: of plays
    on recorded noise (full effort, 5 % in the batch by the clock) 71 % are called by the mean and 95 % by this.
    """
    cut = values.shape[-1] // 4
    kept: NDArray[np.float64] = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)
    return kept


def combine(
    rounds: Sequence[Round], rng: np.random.Generator, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """Estimate, low and high end of the interval, as logs. Raises ValueError for fewer than two rounds."""
    if len(rounds) < 2:
        raise ValueError(f"{len(rounds)} rounds: an interval needs two")
    # One resample of the rounds: n draws of (round, one of its resampled medians).
    resampled = np.stack([one.resampled for one in rounds])
    picks = rng.integers(len(rounds), size=(RESAMPLES, len(rounds)))
    draws = rng.integers(RESAMPLES, size=(RESAMPLES, len(rounds)))
    means = middle(resampled[picks, draws])
    centre = float(middle(np.array([one.centre for one in rounds])))
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    widen = float(np.sqrt(len(rounds) / (len(rounds) - 1)))
    return (
        centre,
        float(centre + widen * (min(low, centre) - centre)),
        float(centre + widen * (max(high, centre) - centre)),
    )


def estimate_slowdown(
    rounds: Sequence[Sequence[Pair]], better: Better, *, seed: int = 0, confidence: float = CONFIDENCE
) -> Slowdown:
    """The slow-down that the rounds show, as the module describes.

    Raises ValueError for fewer than two rounds, an empty round, or a measurement that is not positive.
    """
    rng = np.random.default_rng(seed)
    logs = combine([summarise(pairs, better, rng) for pairs in rounds], rng, confidence)
    return Slowdown(**dict(zip(("ratio", "low", "high"), map(float, np.exp(logs)), strict=True)))


def suspicious(slowdown: Slowdown, call: float = CALL) -> bool:
    """Whether a first measurement asks for a second."""
    return slowdown.ratio > 1 + call


def judge(slowdown: Slowdown, call: float = CALL) -> Verdict:
    """The verdict that the module's rules give, for a metric that is called from `call` on."""
    if slowdown.ratio > 1 + call and slowdown.low > 1:
        return "REGRESSED"
    if slowdown.ratio < 1 / (1 + call) and slowdown.high < 1:
        return "IMPROVED"
    if slowdown.low >= 1 / (1 + SAME) and slowdown.high <= 1 + SAME:
        return "NO CHANGE"
    return "INCONCLUSIVE"


def judge_count(base: Sequence[float], head: Sequence[float], better: Better = "lower") -> Verdict:
    """The verdict on a count, one value per round of each side."""
    if not base or not head:
        return "INVALID"
    if len({*base, *head}) == 1:
        return "NO CHANGE"
    more, less = min(head) > max(base), max(head) < min(base)
    if (more, less)[better == "higher"]:
        return "REGRESSED"
    steady = len(set(base)) == len(set(head)) == 1
    return "IMPROVED" if steady else "INVALID"


def _log_slowdowns(pairs: Sequence[Pair], better: Better) -> NDArray[np.float64]:
    values = np.asarray(pairs, dtype=np.float64)
    if values.size == 0:
        raise ValueError("a round without pairs")
    if not np.all(np.isfinite(values)) or np.any(values <= 0):
        raise ValueError("a measurement is not a positive number")
    logs: NDArray[np.float64] = np.log(values[:, 1] / values[:, 0])
    return logs if better == "lower" else -logs
