"""A sentence of a text, ready to be spoken."""

from __future__ import annotations

from dataclasses import dataclass

from serving.text.blocks import Pause
from serving.text.words import Word


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence to speak. One without words stands for a pause before the next, or for what was dropped."""

    text: str
    """The slice of the original text that it stands for."""
    start: int
    end: int
    """Offsets in the original text. Sentences that one alias or entity made share theirs."""
    words: tuple[Word, ...]
    """Their offsets too are those in the original text."""
    pause: Pause
    """What follows it."""
    dropped: tuple[str, ...] = ()
    """Names of the scripts whose letters were left out, as foreign_scripts gives them."""

    lead_s: float = 0.0
    """Silence before it; pauses.with_leads sets it."""
    language: str = "en"
    """Primary tag of the language that it is read in."""

    @property
    def spoken(self) -> str:
        """The words as they go to the model."""
        return " ".join(word.spoken for word in self.words)
