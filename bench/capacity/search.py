"""The search for a capacity: which load to try next, and what the answers so far say. Nothing here measures.

A probe offers a load for a while to a fresh server, and either holds the SLO or does not. Near the edge chance decides.
The capacity is the load at which half of the probes hold. The model is the usual one of thresholds that are found by
yes and no (Watson and Pelli, QUEST, 1983): the share that holds falls with the logarithm of the load as a logistic
curve about the capacity, with an unknown width, and LAPSE of all answers are wrong for a reason that has nothing to do
with the load. On a grid of both unknowns, flat in their logarithms, the answers give a posterior: its median is the
estimate, its 2.5 and 97.5 % points are the interval. tests/unit/bench/capacity/test_search.py counts how often the
interval holds the truth.

The search doubles (or halves) the load until the first probe that fails (holds), then bisects: each further probe is at
the median of the posterior, and, once the interval is narrow, in turns at the median and to either side of it, which
tells the width of the edge.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

LAPSE = 0.02
CONFIDENCE = 0.95
WIDTHS = np.geomspace(0.015, 0.3, 9)
"""Of the edge, in log of the load: from held to not held within a few percent, to a factor of three."""
GRID = 400
NARROW = 1.4
"""Upper over lower end of the interval below which the sides are tried too."""
SIDES = (0.5, 0.2, 0.8)
"""Quantiles of the posterior that are tried in turns then."""
CONFIRM = 2
"""So often the largest load must hold, or the smallest fail, to end a search that found no edge."""
LEAST_PROBES = 6
"""Where an edge was found: a few lucky answers make an interval that is too narrow."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Where a search may go."""

    first: float
    lowest: float
    highest: float
    whole: bool
    """Loads are whole numbers: listeners."""
    precision: float = 0.08
    """The search ends when half of the interval is no more than this share of the estimate."""
    probes: int = 24
    """Most of them."""

    def rounded(self, load: float) -> float:
        """A load that can be offered: whole, or three digits."""
        load = min(max(load, self.lowest), self.highest)
        return float(max(1, round(load))) if self.whole else float(f"{load:.3g}")


Standing = Literal["found", "none", "beyond", "unknown"]
"""none: not even the smallest load tried holds. beyond: no load tried fails. unknown: nothing was tried."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What the probes say of the capacity."""

    standing: Standing
    capacity: float | None = None
    low: float | None = None
    high: float | None = None
    """Of the interval of 95 %; None where there is no end."""
    probes: int = 0

    def agrees(self, other: Estimate) -> bool:
        """Whether two intervals have a load in common."""
        if "unknown" in (self.standing, other.standing):
            return False
        one, two = ((e.low or 0.0, np.inf if e.high is None else e.high) for e in (self, other))
        return bool(one[0] <= two[1] and two[0] <= one[1])


class Answer(NamedTuple):
    """One probe: a load, and whether it held."""

    load: float
    held: bool


class Search:
    """One search. Ask `next`, measure there, `add` the answer, until `next` is None."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.answers: list[Answer] = []
        self._logs = np.zeros((GRID, len(WIDTHS)))

    def add(self, load: float, held: bool) -> None:
        """An answer; of loads that others chose, too."""
        self.answers.append(Answer(load, held))
        self._logs += _log_likelihood(self.answers[-1], self.limits)

    def next(self) -> float | None:
        """The load to try next; None when the search has ended. Ends after limits.probes answers at the latest."""
        limits = self.limits
        if len(self.answers) >= limits.probes:
            return None
        held = [answer.load for answer in self.answers if answer.held]
        failed = [answer.load for answer in self.answers if not answer.held]
        if not failed:
            if held.count(limits.rounded(limits.highest)) >= CONFIRM:
                return None
            return limits.rounded(2 * max(held) if held else limits.first)
        if not held:
            if failed.count(limits.rounded(limits.lowest)) >= CONFIRM:
                return None
            return limits.rounded(min(failed) / 2)
        share = _posterior(self._logs)
        low, middle, high = _quantiles(share, limits, (_TAIL, 0.5, 1 - _TAIL))
        if len(self.answers) >= LEAST_PROBES and high - low <= 2 * limits.precision * middle:
            return None
        at = 0.5 if high > NARROW * low else SIDES[len(self.answers) % len(SIDES)]
        return limits.rounded(_quantiles(share, limits, (at,))[0])

    def estimate(self) -> Estimate:
        """What the answers say now."""
        return estimate(self.answers, self.limits)


def estimate(answers: list[Answer], limits: Limits) -> Estimate:
    """The capacity by these answers, and its interval."""
    held = [answer.load for answer in answers if answer.held]
    failed = [answer.load for answer in answers if not answer.held]
    if not answers:
        return Estimate(standing="unknown")
    if not failed:
        return Estimate(standing="beyond", low=max(held), probes=len(answers))
    if not held:
        return Estimate(standing="none", high=min(failed), probes=len(answers))
    logs = np.sum([_log_likelihood(answer, limits) for answer in answers], axis=0)
    low, middle, high = _quantiles(_posterior(logs), limits, (_TAIL, 0.5, 1 - _TAIL))
    return Estimate(standing="found", capacity=middle, low=low, high=high, probes=len(answers))


_TAIL = (1 - CONFIDENCE) / 2


def _loads(limits: Limits) -> NDArray[np.float64]:
    loads: NDArray[np.float64] = np.geomspace(limits.lowest / 2, limits.highest * 2, GRID)
    return loads


def _log_likelihood(answer: Answer, limits: Limits) -> NDArray[np.float64]:
    """Of one answer, for each capacity (rows) and width (columns) of the grid."""
    away = (np.log(_loads(limits))[:, None] - np.log(answer.load)) / WIDTHS
    holds = LAPSE / 2 + (1 - LAPSE) / (1 + np.exp(-np.clip(away, -60, 60)))
    logs: NDArray[np.float64] = np.log(holds if answer.held else 1 - holds)
    return logs


def _posterior(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of each capacity of the grid, widths summed up. Sums to 1."""
    shares: NDArray[np.float64] = np.exp(logs - logs.max()).sum(axis=1)
    normed: NDArray[np.float64] = shares / np.sum(shares)
    return normed


def _quantiles(share: NDArray[np.float64], limits: Limits, wanted: tuple[float, ...]) -> tuple[float, ...]:
    """Loads below which these shares of the posterior lie."""
    return tuple(float(load) for load in np.interp(wanted, np.cumsum(share) - share / 2, _loads(limits)))
