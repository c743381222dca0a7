"""What can the gate see? Its own rule, played many times on noise that was measured.

One play draws rounds for the first measurement and for the confirmation, turns some of them round (base and head are
the same code, or are made so by taking the estimate out), and asks which slow-down would have been suspected and
confirmed. A slow-down moves every pair of a round by the same factor, so a play needs no planted value: the slow-down
that it would just have called follows from the two estimates and the second one's interval. Power at a slow-down is
the share of plays that call it; false alarms are the plays that call without any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

from bench.gate.verdict import CALL, Round, combine, middle

PLAYS = 1000
SEEN = 0.9
"""The share of plays that must call a slow-down for it to count as seen."""


def called_from(
    rounds: Sequence[Round],
    first: int,
    second: int,
    *,
    call: float = CALL,
    plays: int = PLAYS,
    seed: int = 0,
) -> NDArray[np.float64]:
    """The log slow-down from which each play calls and confirms; negative where the play is a false alarm. [plays]

    `first` rounds are drawn for the measurement and `second` for its confirmation, without return as long as there
    are enough. Raises ValueError for fewer than two rounds.
    """
    rng = np.random.default_rng(seed)
    again = len(rounds) < first + second
    least = np.empty(plays)
    for play in range(plays):
        drawn = rng.choice(len(rounds), size=first + second, replace=again)
        signs = rng.choice((-1.0, 1.0), size=first + second)
        moved = [rounds[index].moved(0.0, sign) for index, sign in zip(drawn, signs, strict=True)]
        suspicion = float(middle(np.array([one.centre for one in moved[:first]])))
        estimate, low, _ = combine(moved[first:], rng)
        least[play] = max(log(1 + call) - min(suspicion, estimate), -low)
    return least


def power(least: NDArray[np.float64], slowdown: float) -> float:
    """Share of plays that call a slow-down: 1.05 is 5 %. For 1.0 it is the share of false alarms."""
    return float(np.mean(least < log(slowdown)))


def smallest_seen(least: NDArray[np.float64], share: float = SEEN) -> float:
    """The smallest slow-down, as a factor, that this share of the plays calls."""
    return float(np.exp(np.quantile(least, share)))


def false_alarms(least: Mapping[str, NDArray[np.float64]]) -> float:
    """Share of plays of the whole gate in which at least one metric is called without a slow-down."""
    return float(np.mean(np.any([values < 0 for values in least.values()], axis=0)))


def without_effect(rounds: Sequence[Round]) -> list[Round]:
    """The noise alone of a measurement whose sides may differ: its middle taken out, and the spread that this took."""
    centre = float(middle(np.array([one.centre for one in rounds])))
    widen = float(np.sqrt(len(rounds) / (len(rounds) - 1)))
    return [
        Round(widen * (one.centre - centre), one.resampled - one.centre + widen * (one.centre - centre))
        for one in rounds
    ]
