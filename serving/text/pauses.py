"""The silence between sentences, in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from serving.profile import PauseProfile
from serving.text.blocks import Pause
from serving.text.sentence import Sentence


def with_leads(sentences: Iterable[Sentence], pauses: PauseProfile) -> Iterator[Sentence]:
    """Yield the sentences that have words, each with the silence before its first sound in lead_s."""
    lead_s = 0.0
    for sentence in sentences:
        if sentence.words:
            yield replace(sentence, lead_s=lead_s)
            lead_s = pause_s(sentence.pause, pauses)
        elif sentence.pause.seconds is not None:
            lead_s += sentence.pause.seconds


def pause_s(pause: Pause, pauses: PauseProfile) -> float:
    """How long a pause is: as long as the text says, else by its kind."""
    if pause.seconds is not None:
        return pause.seconds
    by_kind = {
        "none": 0.0,
        "clause": pauses.clause_s,
        "sentence": pauses.sentence_s,
        "paragraph": pauses.paragraph_s,
    }
    return by_kind[pause.kind]
