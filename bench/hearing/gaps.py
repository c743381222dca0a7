"""Waits inside the speech: pauses where the text has no mark, told from those that a voice makes by itself.

No mark stands at every place where a speaker pauses: before a relative clause, before a sum. What tells is length. A
voice that lingers there lingers longer still between sentences, and a silence that was put in does not know of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.hearing.features import BREAK_S
from bench.hearing.length import INNER_MARKS, pauses_expected
from bench.metrics import surely_more
from bench.records import Sample

SHORTER_S = 0.35
"""By so much are pauses inside a sentence shorter than those between the sentences of the same voice: of the embedded
voice at least 0.4 s, and as much if all its pauses are made longer."""
WORDS_PER_BREATH = 50
"""A long text leaves a speaker without breath."""
WORDS_PER_BREAK = 25
"""Breaks that no mark explains, whatever their length, are at most one and one for so many words."""
MOST_BROKEN, MOST_BROKEN_UNKNOWN = 0.25, 0.5
"""Share of an arm's answers: none of 40 of either voice. The second where no text has two sentences, so that nothing
tells how long the voice pauses between them."""


def waits_without_mark(samples: Sequence[Sample]) -> tuple[int, int, bool]:
    """(answers of one arm that wait where their text has no mark, answers heard, whether those are too many)."""
    heard = [sample for sample in samples if sample.heard is not None]
    usual_s = between_sentences_s(heard)
    least_s = max(BREAK_S, (usual_s or 0.0) - SHORTER_S)
    broken = sum(_waits(sample, least_s) for sample in heard)
    most = MOST_BROKEN_UNKNOWN if usual_s is None else MOST_BROKEN
    return broken, len(heard), surely_more(broken, len(heard), most)


def between_sentences_s(samples: Sequence[Sample]) -> float | None:
    """Median length of an arm's pauses between sentences: the longest of each answer, as many as it has of these."""
    found = [
        pause
        for sample in samples
        if sample.heard is not None and (wanted := pauses_expected(sample.text))
        for pause in sorted(sample.heard.breaks_s, reverse=True)[:wanted]
    ]
    if not any(pauses_expected(sample.text) for sample in samples):
        return None
    return median(found) if found else 0.0


def _waits(sample: Sample, least_s: float) -> bool:
    """Whether an answer has more pauses of `least_s` seconds than marks and breaths, or far more breaks than marks."""
    assert sample.heard is not None
    breaks_s = sample.heard.breaks_s
    marks, words = len(INNER_MARKS.findall(sample.text)), len(sample.text.split())
    long = sum(pause >= least_s for pause in breaks_s)
    return long > marks + words // WORDS_PER_BREATH or len(breaks_s) > marks + 1 + words / WORDS_PER_BREAK
