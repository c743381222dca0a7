"""Intervals of figures and of their ratios, by a seeded bootstrap.

How: the requests of a load point are resampled within each valid repeat, in blocks of neighbours, DRAWS times; each
draw gives the figure once more. Blocks (the cube root of the requests long, in the order in which they were due, the
last going on at the first), because requests that wait in one queue are slow together. An interval of one figure lies
between two percentiles of its draws: 2.5 and 97.5, farther out by Student's t where blocks are few (Hesterberg's
expanded percentile interval, 2015, doi:10.1080/00031305.2015.1089789). The ratio of two arms has the interval
exp(log ratio ± z·s): s is the standard deviation of the difference of the logarithms of their draws, widened alike, and
z is set so that among all the ratios of a figure in a run (Bonferroni) not one of 20 runs calls a difference that is
chance alone. What changes from minute to minute is in no interval: the twin, an equal arm, tells how large that is.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000
CONFIDENCE = 0.95
LEAST_REQUESTS = 5
"""Fewer have no interval, and rank nothing."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its interval; the ends are None where too few requests tell it."""

    value: float
    low: float | None = None
    high: float | None = None
    draws: Floats | None = field(default=None, repr=False, compare=False)
    wider: float = field(default=1.0, repr=False)
    """How much wider than the draws an interval is, for there were few blocks."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times better one figure is than another, with its interval."""

    value: float
    low: float
    high: float


def bootstrap(
    repeats: Sequence[Floats], figure: Callable[[Sequence[Floats]], Floats], value: float, name: str
) -> Estimate:
    """The figure with its interval.

    `repeats` hold one row of numbers per request, [requests, numbers]; `figure` takes them resampled, [DRAWS, requests,
    numbers] each, and gives the figure of every draw. `name` seeds the chance.
    """
    if sum(map(len, repeats)) < LEAST_REQUESTS:
        return Estimate(value=value)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    draws = figure([rows[_blocks(len(rows), rng)] for rows in repeats if len(rows)])
    blocks = sum(-(-len(rows) // _length(len(rows))) for rows in repeats if len(rows))
    wider = math.sqrt(blocks / (blocks - 1)) * _t(blocks - 1) / _z(1)
    beyond = 100 * NormalDist().cdf(-_z(1) * wider)
    low, high = np.percentile(draws, (beyond, 100 - beyond))
    return Estimate(value=value, low=float(low), high=float(high), draws=draws, wider=wider)


def of_share(share: float, count: int, name: str = "") -> Estimate:
    """A share of `count` things, 0 to 1, with Wilson's interval; it has one even where all are alike.

    There a bootstrap has none: its draws are those of Jeffreys' posterior, seeded by `name`.
    """
    if count < LEAST_REQUESTS:
        return Estimate(value=share)
    z = _z(1)
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    draws = rng.beta(share * count + 0.5, (1 - share) * count + 0.5, DRAWS)
    low, high = max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach))
    return Estimate(value=share, low=low, high=high, draws=draws)


def _length(count: int) -> int:
    return max(1, int(count ** (1 / 3) + 0.5))


def _blocks(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    length = _length(count)
    starts = rng.integers(count, size=(DRAWS, -(-count // length)))
    return ((starts[:, :, None] + np.arange(length)) % count).reshape(DRAWS, -1)[:, :count]


def ratio(above: Estimate, below: Estimate, comparisons: int = 1) -> Ratio | None:
    """above / below, as one of so many comparisons; None without two figures above 0 that have intervals."""
    if above.draws is None or below.draws is None or above.value <= 0 or below.value <= 0:
        return None
    if above.draws.min() <= 0 or below.draws.min() <= 0:
        return None
    spread = float(np.std(np.log(above.draws) - np.log(below.draws)))
    value = above.value / below.value
    reach = math.exp(_z(comparisons) * spread * max(above.wider, below.wider))
    return Ratio(value=value, low=value / reach, high=value * reach)


def difference(above: Estimate, below: Estimate, comparisons: int = 1) -> Ratio | None:
    """above - below of two shares, in the same way."""
    if above.draws is None or below.draws is None:
        return None
    spread = float(np.std(above.draws - below.draws))
    reach = _z(comparisons) * spread * max(above.wider, below.wider)
    value = above.value - below.value
    return Ratio(value=value, low=max(-1.0, value - reach), high=min(1.0, value + reach))


def of_ratios(ratios: Sequence[float]) -> Ratio | None:
    """The geometric mean of the ratios of load points, with the interval of Student's t; None of fewer than 3."""
    if len(ratios) < 3:
        return None
    logs = np.log(ratios)
    reach = _t(len(ratios) - 1) * float(np.std(logs, ddof=1)) / math.sqrt(len(ratios))
    middle = float(logs.mean())
    return Ratio(value=math.exp(middle), low=math.exp(middle - reach), high=math.exp(middle + reach))


def _z(comparisons: int) -> float:
    return NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / 2 / max(comparisons, 1))


def _t(freedom: int) -> float:
    """Student's t at 0.975: Cornish and Fisher's series, within 3 % from 2 degrees of freedom on."""
    z = _z(1)
    g1, g2, g3 = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + g1 / freedom + g2 / freedom**2 + g3 / freedom**3
