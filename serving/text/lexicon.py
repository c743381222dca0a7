"""A pronunciation lexicon: how words of a text are to be said.

    ["Nguyen"]
    phonemes = "wˈɪn"

    ["sql"]
    say = "sequel"

An entry in small letters is found in any case; one with a capital only as it is written. An entry may be of several
words. Only whole words are found.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.text.source import Mark, SourceText

MAX_ENTRY_CHARS = 200
_TOKEN = re.compile(r"[^\W_]+|[^\s]")


class LexiconError(ValueError):
    """A lexicon cannot be read; the message names the file and the entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One of `phonemes` and `say` is set."""

    tokens: tuple[str, ...]
    exact: bool
    phonemes: str | None
    say: str | None


class Lexicon:
    """Entries by their first token, the longest first."""

    def __init__(self, entries: list[Entry]) -> None:
        self._by_first: dict[str, list[Entry]] = {}
        for entry in sorted(entries, key=lambda entry: (-len(entry.tokens), not entry.exact)):
            self._by_first.setdefault(entry.tokens[0].casefold(), []).append(entry)

    @classmethod
    def load(cls, path: Path) -> Lexicon:
        """Raises LexiconError: no such file, not UTF-8, no TOML, or an entry that is not as it should be."""
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise LexiconError(f"lexicon {path}: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            raise LexiconError(f"lexicon {path}: not UTF-8 at byte {error.start}") from None
        except tomllib.TOMLDecodeError as error:
            raise LexiconError(f"lexicon {path}: {error}") from None
        return cls.read(content, str(path))

    @classmethod
    def read(cls, content: Mapping[str, Any], name: str) -> Lexicon:
        """From entries by word; `name` is for messages. Raises LexiconError."""
        entries: list[Entry] = []
        seen: dict[tuple[str, ...], str] = {}
        for word, value in content.items():
            try:
                entry = _read_entry(word, value)
            except ValueError as error:
                raise LexiconError(f"lexicon {name}: entry {word!r}: {error}") from None
            if (other := seen.setdefault(entry.tokens, word)) != word:
                raise LexiconError(f"lexicon {name}: entry {word!r}: the same words as entry {other!r}")
            entries.append(entry)
        return cls(entries)

    def apply(self, source: SourceText) -> SourceText:
        """The sentence with respellings in place and with marks for phonemes. Marks of the text's own win."""
        marks: list[Mark] = list(source.marks)
        edits = []
        for start, end, entry in self._find(source.text):
            first, last = source.origin_start(start), source.origin_end(end)
            if any(mark.start < last and first < mark.end for mark in source.marks):
                continue
            if entry.say is not None:
                edits.append((start, end, entry.say))
            elif entry.phonemes is not None:
                marks.append(Mark(first, last, entry.phonemes))
        if len(marks) > len(source.marks):
            source = source.parts([(0, len(source.text), None)], tuple(sorted(marks)))
        return source.edit(edits)

    def _find(self, text: str) -> Iterator[tuple[int, int, Entry]]:
        tokens = list(_TOKEN.finditer(text))
        at = 0
        while at < len(tokens):
            for entry in self._by_first.get(tokens[at].group().casefold(), ()):
                stop = at + len(entry.tokens)
                found = tokens[at:stop]
                words = tuple(token.group() for token in found)
                if words == entry.tokens or (
                    not entry.exact and tuple(word.casefold() for word in words) == entry.tokens
                ):
                    yield found[0].start(), found[-1].end(), entry
                    at = stop - 1
                    break
            at += 1


def _read_entry(word: str, value: object) -> Entry:
    if not isinstance(value, dict):
        raise ValueError("a table with `phonemes` or `say` is expected")
    unknown = sorted(set(value) - {"phonemes", "say"})
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; there are `phonemes` and `say`")
    if len(value) != 1:
        raise ValueError("exactly one of `phonemes` and `say` is expected")
    [(key, written)] = value.items()
    if not isinstance(written, str) or not written.strip():
        raise ValueError(f"`{key}` must be a string that is not empty")
    for text in (word, written):
        if len(text) > MAX_ENTRY_CHARS:
            raise ValueError(f"longer than {MAX_ENTRY_CHARS} characters")
        if any(unicodedata.category(char) in ("Cc", "Cs") for char in text):
            raise ValueError("control characters are not allowed")
    exact = word != word.lower()
    written = unicodedata.normalize("NFC", written.strip())
    name = unicodedata.normalize("NFC", word.strip())
    tokens = tuple(_TOKEN.findall(name if exact else name.casefold()))
    if not any(char.isalnum() for char in name):
        raise ValueError("a word has a letter or a digit")
    phonemes = written.strip("/") if key == "phonemes" else None
    return Entry(tokens, exact, phonemes, written if key == "say" else None)
