"""A text to the stretches that are cut into segments: paragraphs, spoken and prepared for the tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from serving.models.indextts2.text.normalize import prepare, to_vocabulary
from serving.text import Pause, Sentence, read
from serving.text.chinese.characters import HAN
from serving.text.chinese.mixed import is_mostly_pinyin

_HAN = re.compile(f"[{HAN}]")
_LATIN = re.compile("[A-Za-z]")


class Stretch(NamedTuple):
    """Text that segments may run through."""

    text: str
    """As the tokenizer reads it."""
    start: int
    end: int
    """Offsets in the original text."""
    pause: Pause
    """What follows it."""


def stretches(text: str, *, normalize: bool) -> Iterator[Stretch]:
    """Yield the paragraphs of a text, each before the next is looked at. A pause of a given length ends one too.

    Sentences are read by their own scripts, not by that of the text. Never raises, whatever the text.
    """
    gathered: list[Sentence] = []
    for sentence in read(text, language=_language(text), normalize=normalize):
        gathered.append(sentence)
        if sentence.pause.kind == "paragraph" or sentence.pause.seconds is not None:
            yield _joined(text, gathered, normalize)
            gathered = []
    if gathered:
        yield _joined(text, gathered, normalize)


def _joined(text: str, sentences: list[Sentence], normalize: bool) -> Stretch:
    """Sentences as one stretch, with a blank between two where the text has one."""
    spoken, end = "", sentences[0].start
    for sentence in sentences:
        if sentence.words:
            spoken += " " * text[end : sentence.start].isspace() + sentence.spoken
            end = sentence.end
    if normalize:
        spoken = to_vocabulary(spoken)
    return Stretch(prepare(spoken), sentences[0].start, sentences[-1].end, sentences[-1].pause)


def _language(text: str) -> str:
    """The language that decides what is foreign. Text without letters is Chinese, as for the official package."""
    if _HAN.search(text) or not _LATIN.search(text) or is_mostly_pinyin(text):
        return "zh"
    return "en"
