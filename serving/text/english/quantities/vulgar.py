"""Vulgar fractions, and a number with one behind it."""

from __future__ import annotations

from typing import NamedTuple

from serving.text.english.quantities.numbers import cardinal, number, ordinal, parse

VULGAR = {
    **{
        "½": (1, 2),
        "⅓": (1, 3),
        "⅔": (2, 3),
        "¼": (1, 4),
        "¾": (3, 4),
        "⅕": (1, 5),
        "⅖": (2, 5),
        "⅗": (3, 5),
    },
    **{
        "⅘": (4, 5),
        "⅙": (1, 6),
        "⅚": (5, 6),
        "⅐": (1, 7),
        "⅛": (1, 8),
        "⅜": (3, 8),
        "⅝": (5, 8),
        "⅞": (7, 8),
    },
    **{"⅑": (1, 9), "⅒": (1, 10)},
}


class Amount(NamedTuple):
    """A quantity before its unit is known."""

    words: str
    one: bool
    """Whether the unit stands in the singular."""


def fraction_words(part: int, whole: int) -> str:
    """ "one half", "three quarters", "five sixteenths"."""
    name = {2: "half", 4: "quarter"}.get(whole) or ordinal(whole)
    if part != 1:
        name = {"half": "halves"}.get(name) or name + "s"
    return f"{cardinal(part)} {name}"


def and_fraction(whole: str, part: int, of: int) -> str:
    """ "two and a half"."""
    words = fraction_words(part, of)
    if words in ("one half", "one quarter"):
        words = "a " + words[4:]
    return f"{whole} and {words}"


def quantity(text: str | None, vulgar: str | None, run_words: str | None = None) -> Amount | None:
    """The words of a number with a vulgar fraction behind it."""
    if text is None:
        return Amount(fraction_words(*VULGAR[vulgar]), True) if vulgar else None
    value = parse(text)
    if value is None:
        return None
    words = run_words or number(value)
    return Amount(and_fraction(words, *VULGAR[vulgar]), False) if vulgar else Amount(words, value.is_one)
