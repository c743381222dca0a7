"""Phonemes of words that are ready to be spoken, past the package's own rewriting of text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from serving.text.english.capitals import letter_phonemes
from serving.text.words import Word

_LETTERS = re.compile(r"(?<!\S)[A-Z](?: [A-Z])*(?!\S)")
_PAUSES = frozenset(".,;:!?…—")
_MARKS = "([{\"'“”‘’.,;:!?…—)]}- "

Span = tuple[int, int, str]
"""Characters [start, end) of the joined words and their phonemes."""


def phonemize_words(g2p: Any, words: Sequence[Word]) -> list[list[str]]:
    """Phonemes of each word, in as many pieces as it has parts between blanks: " ".join of all is the sentence.

    `g2p` is a hibari.g2p.G2P. Its __call__ would run its `normalize` first, which takes "no." for a number and "I"
    for a Roman numeral; here only its tokenizer, tagger and lexicon run. A word with phonemes keeps its place in the
    sentence, so that its neighbours are tagged as they would be beside its letters. Raises what the package does: it
    gives up on some signs.
    """
    spoken = [" ".join(word.spoken.split()) for word in words]
    offset, fixed, counts = 0, [], []
    for word, text in zip(words, spoken, strict=True):
        spans = list(_fixed(word, text, offset))
        # The phonemizer gives a piece for each part between blanks; a span is one whatever its blanks.
        inside = sum(text.count(" ", start - offset, end - offset) for start, end, _ in spans)
        counts.append(len(text.split()) - inside)
        fixed += spans
        offset += len(text) + 1 if text else 0
    tokens = g2p._tokens(" ".join(text for text in spoken if text))
    if fixed:
        tokens = _replace(tokens, fixed)
    pieces = [""]
    for token in g2p.phonemize_tokens(tokens):
        pieces[-1] += token.phonemes or ""
        if token.whitespace:
            pieces.append("")
    parts = iter(pieces)
    return [[next(parts, "").strip() for _ in range(count)] for count in counts]


def _fixed(word: Word, spoken: str, offset: int) -> Iterator[Span]:
    """Spans of a word whose phonemes are known; `spoken` stands at `offset` in the joined text."""
    body = spoken.strip(_MARKS)
    start = offset + spoken.find(body)
    if word.phonemes is not None and body:
        yield start, start + len(body), word.phonemes
    elif " " in body:
        # Several words for one: capitals among them are letters, not the article or the pronoun.
        for match in _LETTERS.finditer(body):
            yield start + match.start(), start + match.end(), letter_phonemes(match.group()) or ""


def _replace(tokens: list[Any], spans: list[Span]) -> list[Any]:
    """Tokens with one in place of those of each span."""
    kept: list[Any] = []
    offset, place = 0, 0
    for token in tokens:
        start, end = offset, offset + len(token.text)
        offset = end + (1 if token.whitespace else 0)
        while place < len(spans) and spans[place][1] <= start:
            place += 1
        if place < len(spans) and spans[place][0] <= start < spans[place][1]:
            if spans[place][0] == start:
                token.phonemes, token.rating = spans[place][2], 5
                kept.append(token)
            if end >= spans[place][1]:
                kept[-1].whitespace = token.whitespace
                behind = token.text[spans[place][1] - start :]  # "A." is one token
                kept[-1].phonemes += "".join(mark for mark in behind if mark in _PAUSES)
            continue
        kept.append(token)
    return kept
