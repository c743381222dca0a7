"""The silence between sentences, in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from serving.profile import PauseProfile
from serving.text.blocks import Pause
from serving.text.sentence import Sentence


class Leads:
    """Gives each sentence the silence before it, one sentence at a time."""

    def __init__(self, pauses: PauseProfile) -> None:
        self._pauses = pauses
        self._lead_s = 0.0

    def add(self, sentence: Sentence) -> Sentence | None:
        """The sentence with its lead_s; None for one without words, whose pause the next one gets."""
        if not sentence.words:
            self._lead_s += sentence.pause.seconds or 0.0
            return None
        led = replace(sentence, lead_s=self._lead_s)
        self._lead_s = pause_s(sentence.pause, self._pauses)
        return led


def with_leads(sentences: Iterable[Sentence], pauses: PauseProfile) -> Iterator[Sentence]:
    """Yield the sentences that have words, each with the silence before its first sound in lead_s."""
    leads = Leads(pauses)
    for sentence in sentences:
        if (led := leads.add(sentence)) is not None:
            yield led


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
