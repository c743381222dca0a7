"""Words to what 2.5 was trained to read (marks mapped, letters of one case, Japanese in words), cut into segments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from serving.models.indextts2.text.normalize import map_marks, to_vocabulary

_PART = re.compile(r"[^，。！？、；：,.!?;:،؟؛\n]*[，。！？、；：,.!?;:،؟؛\n]?")
_WORD = re.compile(r"\S+\s*|\s+")
_BLANKS = re.compile(r"(\s+)")


def write(spoken: str, language: str, normalize: bool) -> str:
    """Words as they are spoken, in `language`, as the tokenizer is to read them."""
    if normalize and language in ("zh", "en"):
        spoken = to_vocabulary(spoken)
    text = map_marks(spoken).strip()
    if language == "es":
        return text.upper()
    if language == "ar":
        return text
    return _in_words(text.lower()) if language == "ja" else text.lower()


def cut(text: str, limit: int, count: Callable[[str], int], quick: int = 0) -> Iterator[str]:
    """Yield segments of at most `limit` ids by `count`: whole clauses while they fit, else words, else characters.

    Within the first `quick` ids a segment only grows to half the limit.
    """
    segment, seen = "", 0
    for part in _parts(text, limit, count):
        room = limit if seen >= quick else limit // 2
        if segment and count(segment + part) > room:
            yield segment
            seen += count(segment)
            segment = part
        else:
            segment += part
    if segment:
        yield segment


def _parts(text: str, limit: int, count: Callable[[str], int]) -> Iterator[str]:
    for part in _PART.findall(text):
        if count(part) <= limit:
            yield part
            continue
        for word in _WORD.findall(part):
            yield from [word] if count(word) <= limit else word


def _in_words(text: str) -> str:
    """Japanese with blanks between its words, as its training text had them; blanks that are there stay."""
    parts = _BLANKS.split(text)
    return "".join(part if part.isspace() else " ".join(_words(part)) for part in parts if part)


def _words(text: str) -> list[str]:
    return [word.surface for word in _tagger()(text)]


@cache
def _tagger() -> Any:
    import fugashi

    return fugashi.Tagger()
