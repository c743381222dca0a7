"""Does a server keep its answers, whatever it says? A text asked again tells: who speaks it anew takes as long.

A server that compiles for each new length is quicker the second time too. It is then as quick with the same words in
another order, which a server that keeps answers has to speak.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.metrics import total_s
from bench.records import Sample

TEXTS = 3
"""That are asked again."""
MOST_SHARE = 0.4
"""Of the time of the first answer and of the other order's, that of the second, for every text: a server that keeps it
takes next to none."""
KEEPS_IN_FACT = "the server keeps answers: a text that was asked again came in a fraction of the time"


def again(texts: Sequence[str]) -> list[str]:
    """Each text two times in a row, and then its words in another order."""
    return [asked for text in texts for asked in (text, text, _turned(text))]


def kept(samples: Sequence[Sample]) -> bool:
    """Whether the second answer of every text came in a fraction of the time of the first and of the third.

    Samples in the order of again(); False if one of them failed.
    """
    rounds = list(zip(samples[::3], samples[1::3], samples[2::3], strict=True))
    return bool(rounds) and all(
        all(sample.error is None for sample in (first, second, turned))
        and total_s(second) < MOST_SHARE * min(total_s(first), total_s(turned))
        for first, second, turned in rounds
    )


def _turned(text: str) -> str:
    words = text.split()
    return " ".join(words[len(words) // 2 :] + words[: len(words) // 2])
