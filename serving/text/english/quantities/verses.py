"""Chapter and verse: "John 3:16-18", "1 Cor. 13:4"."""

from __future__ import annotations

import re

from serving.text.english.quantities.numbers import cardinal
from serving.text.english.tokens import Reading, Tokens, at, table, word_set

_BOOKS = word_set(
    """
    genesis exodus leviticus numbers deuteronomy joshua judges ruth samuel kings chronicles ezra nehemiah
    esther job psalm psalms proverbs ecclesiastes isaiah jeremiah lamentations ezekiel daniel hosea joel
    amos obadiah jonah micah nahum habakkuk zephaniah haggai zechariah malachi matthew luke john acts romans
    corinthians galatians ephesians philippians colossians thessalonians timothy titus philemon hebrews
    peter jude revelation surah quran sura
    """
)
SHORT_BOOKS = table(
    """
    gen Genesis, exod Exodus, lev Leviticus, num Numbers, deut Deuteronomy, josh Joshua, judg Judges, chron
    Chronicles, neh Nehemiah, ps Psalm, prov Proverbs, eccl Ecclesiastes, isa Isaiah, jer Jeremiah, lam
    Lamentations, ezek Ezekiel, dan Daniel, hos Hosea, matt Matthew, lk Luke, jn John, rom Romans, cor
    Corinthians, gal Galatians, eph Ephesians, phil Philippians, col Colossians, thess Thessalonians, tim
    Timothy, heb Hebrews, jas James, pet Peter, rev Revelation
    """
)
_VERSES = re.compile(r"([0-9]{1,3}):([0-9]{1,3})(?:[-–—]([0-9]{1,3}))?")
_NUMBERED_BOOKS = {"1": "First", "2": "Second", "3": "Third"}


def is_verse(tokens: Tokens, index: int) -> bool:
    """Whether a book of verses stands before: "John 3:16", "1 Cor. 13:4"."""
    book = at(tokens, index - 1)
    if book.trail not in ("", "."):
        return False
    return book.capitalised and (book.lower in _BOOKS or book.lower in SHORT_BOOKS)


def read_book(tokens: Tokens, index: int) -> Reading | None:
    """A book of verses before a chapter and a verse: "Gen." of "Gen. 1:1", "1 Cor." of "1 Cor. 13:4"."""
    numbered = _NUMBERED_BOOKS.get(tokens[index].core) if not tokens[index].trail else None
    book = index + (numbered is not None)
    if not _VERSES.fullmatch(at(tokens, book + 1).core) or not is_verse(tokens, book + 1):
        return None
    name = SHORT_BOOKS.get(at(tokens, book).lower, at(tokens, book).core)
    if numbered:
        return Reading(f"{numbered} {name}", 2, "")
    return Reading(name, 1, "") if at(tokens, book).lower in SHORT_BOOKS else None


def read_verses(tokens: Tokens, index: int) -> Reading | None:
    """The chapter and the verses behind their book."""
    verses = _VERSES.fullmatch(tokens[index].core) if is_verse(tokens, index) else None
    if verses is None:
        return None
    words = f"{cardinal(verses[1])} {cardinal(verses[2])}"
    return Reading(words + (f" to {cardinal(verses[3])}" if verses[3] else ""))
