"""Phonemes of words that are ready to be spoken, past the package's own rewriting of text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from serving.text.english.capitals import letter_phonemes
from serving.text.words import Word

_LETTERS = re.compile(r"(?<!\S)[A-Z](?: [A-Z])*(?!\S)")
_PAUSES = frozenset(".,;:!?…—")
_MARKS = "([{\"'“”‘’.,;:!?…—)]}- "


def phonemize_words(g2p: Any, words: Sequence[Word]) -> str:
    """Phonemes of the words joined with spaces.

    `g2p` is a hibari.g2p.G2P. Its __call__ would run its `normalize` first, which takes "no." for a number and "I"
    for a Roman numeral; here only its tokenizer, tagger and lexicon run. A word with phonemes keeps its place in the
    sentence, so that its neighbours are tagged as they would be beside its letters.
    """
    text = " ".join(word.spoken for word in words)
    tokens = g2p._tokens(text)
    fixed = _fixed(words)
    if fixed:
        tokens = _replace(tokens, fixed)
    return "".join(
        (token.phonemes or "") + (" " if token.whitespace else "") for token in g2p.phonemize_tokens(tokens)
    ).strip()


def _fixed(words: Sequence[Word]) -> list[tuple[int, int, str]]:
    """Spans of the joined text whose phonemes are known."""
    spans = []
    offset = 0
    for word in words:
        spoken = word.spoken
        body = spoken.strip(_MARKS)
        start = offset + spoken.find(body)
        if word.phonemes is not None and body:
            spans.append((start, start + len(body), word.phonemes))
        elif (
            " " in body
        ):  # several words for one: capitals among them are letters, not the article or the pronoun
            spans += [
                (start + match.start(), start + match.end(), letter_phonemes(match.group()) or "")
                for match in _LETTERS.finditer(body)
            ]
        offset += len(spoken) + 1
    return spans


def _replace(tokens: list[Any], spans: list[tuple[int, int, str]]) -> list[Any]:
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
