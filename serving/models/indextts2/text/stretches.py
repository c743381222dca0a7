"""Sentences to the stretches that are cut into segments: paragraphs, spoken and prepared for the tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from serving.models.indextts2.text.normalize import prepare, to_vocabulary
from serving.text import Sentence


class Stretch(NamedTuple):
    """Text that segments may run through."""

    text: str
    """As the tokenizer reads it."""
    start: int
    end: int
    """Offsets in the original text."""
    lead_s: float | None
    """Silence before it that the text asks for; None before a sentence that follows in its paragraph."""
    language: str
    """That it is spoken in."""


Write = Callable[[str, str, bool], str]
"""Words as they are spoken, their language, and whether they were normalised, to what a tokenizer reads."""


def for_pieces(spoken: str, language: str, normalize: bool) -> str:
    """The Write of the SentencePiece vocabulary of 2.0."""
    return prepare(to_vocabulary(spoken) if normalize else spoken)


def stretches(
    sentences: Iterable[Sentence], *, normalize: bool, by_sentence: bool = False, write: Write = for_pieces
) -> Iterator[Stretch]:
    """Yield the paragraphs of a text, or its sentences, each before the next is looked at.

    A pause of a given length ends one too. Never raises, whatever the text.
    """
    gathered: list[Sentence] = []
    follows = False
    for sentence in sentences:
        gathered.append(sentence)
        ends = sentence.pause.kind == "paragraph" or sentence.pause.seconds is not None
        if ends or by_sentence:
            yield _joined(gathered, normalize, follows, write)
            gathered, follows = [], not ends
    if gathered:
        yield _joined(gathered, normalize, follows, write)


def _joined(sentences: list[Sentence], normalize: bool, follows: bool, write: Write) -> Stretch:
    """Sentences as one stretch, with a blank between two where the text has one."""
    first, last = sentences[0], sentences[-1]
    spoken, end = first.spoken, first.end
    for sentence in sentences[1:]:
        spoken += " " * (sentence.start > end) + sentence.spoken
        end = sentence.end
    text = write(spoken, first.language, normalize)
    return Stretch(text, first.start, last.end, None if follows else first.lead_s, first.language)
