"""Words of a sentence, with the phonemes that the text or the lexicon gives put in their place."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module

from serving.text.source import Mark, SourceText
from serving.text.words import Word

_VERBALISERS = {
    "en": "serving.text.english",
    "zh": "serving.text.chinese",
    "es": "serving.text.languages.spanish",
    "ja": "serving.text.languages.japanese",
    "ar": "serving.text.languages.arabic",
}
"""Packages by language, each with verbalise(sentence) -> list[Word]."""
_TOKEN = re.compile(r"\S+")
_POSSESSIVE = re.compile(r"['’]s\b")
_DECORATION_CHARS = 3
_SIBILANTS = ("s", "z", "ʃ", "ʒ", "ʧ", "ʤ")
_VOICELESS = ("p", "t", "k", "f", "θ", "T")


def is_speakable(sentence: SourceText) -> bool:
    """Whether there is anything to say: a letter, a digit, a symbol that has a name. A row of signs is decoration."""
    text = sentence.text
    if any(char.isalnum() for char in text) or sentence.marks:
        return True
    if text.isascii():
        return len(text.strip()) < _DECORATION_CHARS and any(char in "&%@#$+=<>" for char in text)
    return any(not char.isascii() and unicodedata.category(char).startswith("S") for char in text)


def words_as_written(text: str) -> list[Word]:
    """What stands between blanks."""
    return [Word(match.group(), match.start(), match.end()) for match in _TOKEN.finditer(text)]


def to_words(sentence: SourceText, language: str) -> tuple[Word, ...]:
    """The words to speak, with offsets in the original text."""
    verbalise = _verbaliser(language)
    words = verbalise(sentence.text)
    if sentence.marks:
        words = _with_phonemes(sentence, words, verbalise)
    return tuple(in_original(sentence, words))


def in_original(sentence: SourceText, words: list[Word]) -> Iterator[Word]:
    """The words with offsets in the original text for those in the sentence."""
    shift = sentence.shift
    for spoken, start, end, phonemes in words:
        if shift is not None:
            yield Word(spoken, start + shift, end + shift, phonemes)
        else:
            first = sentence.origin_start(start)
            yield Word(spoken, first, max(first, sentence.origin_end(end)), phonemes)


@cache
def _verbaliser(language: str) -> Callable[[str], list[Word]]:
    name = _VERBALISERS.get(language)
    if name is None:
        return words_as_written
    verbalise: Callable[[str], list[Word]] = import_module(name).verbalise
    return verbalise


def _with_phonemes(
    sentence: SourceText, words: list[Word], verbalise: Callable[[str], list[Word]]
) -> list[Word]:
    """Words under a mark become one word with its phonemes. Where a word reaches beyond a mark the stretches before
    and after the mark are verbalised alone."""
    text = sentence.text
    result: list[Word] = []
    index = 0
    for mark in sentence.marks:
        start, end = sentence.index_of(mark.start), sentence.index_of(mark.end)
        if start >= end:
            continue
        start, end, phonemes = _grown(text, start, end, mark)
        first = index
        while first < len(words) and words[first].end <= start:
            first += 1
        last = first
        while last < len(words) and words[last].start < end:
            last += 1
        under = words[first:last]
        if under and under[0].start >= start and under[-1].end <= end:
            spoken = " ".join(word.spoken for word in under)
        else:
            before = text[words[index].start if index < len(words) else start : start]
            offset = start - len(before)
            words = [
                *words[:index],
                *_shifted(verbalise(before), offset),
                *_shifted(verbalise(text[end:]), end),
            ]
            first = index
            while first < len(words) and words[first].end <= start:
                first += 1
            last = first
            spoken = text[start:end]
        result += words[index:first]
        result.append(Word(spoken, start, end, phonemes))
        index = last
    return result + words[index:]


def _grown(text: str, start: int, end: int, mark: Mark) -> tuple[int, int, str]:
    """The stretch of a mark with the punctuation that stands at it, and a possessive."""
    phonemes = mark.phonemes
    if possessive := _POSSESSIVE.match(text, end):
        end = possessive.end()
        last = phonemes.rstrip("ˈˌː")[-1:]
        phonemes += "ɪz" if last in _SIBILANTS else "s" if last in _VOICELESS else "z"
    while start > 0 and not text[start - 1].isspace() and not text[start - 1].isalnum():
        start -= 1
    while end < len(text) and not text[end].isspace() and not text[end].isalnum():
        end += 1
    return start, end, phonemes


def _shifted(words: list[Word], offset: int) -> list[Word]:
    return [word._replace(start=word.start + offset, end=word.end + offset) for word in words]
