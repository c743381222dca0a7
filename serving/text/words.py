"""The unit that the stages of serving/text hand to each other and to the models."""

from __future__ import annotations

from typing import NamedTuple


class Word(NamedTuple):
    """What is said for a piece of a text: often one word, several for a number."""

    spoken: str
    """Words as they go to the model's grapheme-to-phoneme step ("twenty five dollars"), with the punctuation
    that the model should see."""
    start: int
    """Offset, in the text given to the function, of what the word stands for."""
    end: int
    phonemes: str | None = None
    """From `[word](/phonemes/)` or the lexicon: spoken in place of the letters of `spoken`, whose punctuation
    stays."""
