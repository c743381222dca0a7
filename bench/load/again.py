"""Does a server keep its answers, whatever it says? A text asked again tells: who speaks it anew takes as long."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from bench.metrics import total_s
from bench.records import Sample

PAIRS = 3
MOST_SHARE = 0.4
"""Of the time of the first answer, that of the second, in every pair: a server that keeps them takes next to none."""
KEEPS_IN_FACT = "the server keeps answers: a text that was asked again came in a fraction of the time"


def twice(texts: Sequence[str]) -> list[str]:
    """Each text two times in a row."""
    return [text for text in texts for _ in range(2)]


def kept(samples: Sequence[Sample]) -> bool:
    """Whether the second answer of every pair came in a fraction of the time of the first.

    Samples in the order of twice(); False if one of them failed.
    """
    pairs = list(pairwise(samples))[::2]
    return bool(pairs) and all(
        first.error is None and second.error is None and total_s(second) < MOST_SHARE * total_s(first)
        for first, second in pairs
    )
