"""The unit that the stages of serving/text hand to each other and to the models."""

from __future__ import annotations

import re
from typing import NamedTuple

_WORDS_OF_THEIR_OWN = re.compile(r"[\d%&@#+=°$€£¥]")
_SYLLABLES = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def spoken_characters(text: str) -> int:
    """About as many letters as the text has when it is spoken: of a digit or a sign five, of a Han character, a kana or
    a Hangul three. Markup counts as letters, for nobody has read it yet.
    """
    words, syllables = len(_WORDS_OF_THEIR_OWN.findall(text)), len(_SYLLABLES.findall(text))
    return len(text) + 4 * words + 2 * syllables


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
