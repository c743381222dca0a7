"""Numbers as words: American, without "and", without hyphens."""

from __future__ import annotations

import re
from typing import NamedTuple

ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"),
    *("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SCALES = (
    *("", "thousand", "million", "billion", "trillion", "quadrillion", "quintillion", "sextillion"),
    *("septillion", "octillion", "nonillion", "decillion"),
)
_ORDINALS = {
    **{"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth"},
    **{"nine": "ninth", "twelve": "twelfth"},
}
MAX_SCALE_DIGITS = 3 * len(SCALES)
"""Digits of the longest number that has a name."""
MAX_PLAIN_DIGITS = 15
"""A run without separators that is longer is an identifier, not an amount."""
PHONE_DIGITS = 10
"""From here on a run without separators is an amount only where it is round."""

NUMBER = r"(?:[0-9]+(?:[.,'’_][0-9]+)*|\.[0-9]+)"
"""A pattern for what `parse` reads."""


class Number(NamedTuple):
    """The digits of a written number."""

    integer: str
    fraction: str = ""
    grouped: bool = False
    """Whether it was written with separators of thousands."""

    @property
    def is_one(self) -> bool:
        return self.integer == "1" and not self.fraction


def digits(run: str) -> str:
    """Each digit by its name: "042" is "zero four two"."""
    return " ".join(ONES[int(symbol)] for symbol in run if symbol.isdecimal())


def cardinal(run: str | int) -> str:
    """A whole number: 1234 is "one thousand two hundred thirty four". At most 36 digits, else digit by digit."""
    run = str(run).lstrip("0") or "0"
    if len(run) > MAX_SCALE_DIGITS:
        return digits(run)
    if len(run) <= 3:
        return _below_thousand(int(run))
    words = []
    for scale in range((len(run) - 1) // 3, -1, -1):
        group = int(run[max(0, len(run) - 3 * scale - 3) : len(run) - 3 * scale])
        if group:
            words.append(f"{_below_thousand(group)} {SCALES[scale]}" if scale else _below_thousand(group))
    return " ".join(words)


def _below_thousand(value: int) -> str:
    if value < 20:
        return ONES[value]
    if value < 100:
        return TENS[value // 10] + (f" {ONES[value % 10]}" if value % 10 else "")
    rest = value % 100
    return f"{ONES[value // 100]} hundred" + (f" {_below_thousand(rest)}" if rest else "")


def ordinal(run: str | int) -> str:
    """21 is "twenty first"."""
    head, _, last = cardinal(run).rpartition(" ")
    last = _ORDINALS[last] if last in _ORDINALS else last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return f"{head} {last}" if head else last


def year(value: int) -> str:
    """1905 is "nineteen oh five", 2005 "two thousand five", 2024 "twenty twenty four"."""
    century, rest = divmod(value, 100)
    if not 10 <= century < 100 or (century % 10 == 0 and rest < 10):
        return cardinal(value)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def pairs(run: str) -> str:
    """A number of three or four digits as rooms and flights are read: 747 is "seven forty seven"."""
    if not 3 <= len(run) <= 4 or run[0] == "0":
        return digits(run) if run[0] == "0" else cardinal(run)
    head, tail = run[:-2], run[-2:]
    if tail == "00":
        return cardinal(run) if len(run) == 3 or head[-1] == "0" else f"{cardinal(head)} hundred"
    return f"{cardinal(head)} {'oh ' if tail[0] == '0' else ''}{cardinal(tail)}"


def plural(words: str) -> str:
    """The last word in the plural: "twenty" is "twenties", "six" is "sixes"."""
    if words.endswith("y") and not words.endswith(("ay", "ey", "oy")):
        return words[:-1] + "ies"
    return words + ("es" if words.endswith(("x", "s", "ch", "sh")) else "s")


def parse(text: str) -> Number | None:
    """The number that a run of digits and separators stands for, in the marks of any locale.

    None where it is a list, a version or an address.
    """
    if text.isdecimal():
        return Number(text)
    if text[0] == ".":
        return Number("", text[1:])
    text = text.replace("’", "'").replace("_", "'")
    if "'" in text:
        head, mark, fraction = text, "", ""
        for mark in ".,":
            if mark in text[text.rindex("'") :]:
                head, _, fraction = text.rpartition(mark)
                break
        return _grouped(head, "'", fraction)
    comma, dot = text.rfind(","), text.rfind(".")
    if comma >= 0 and dot >= 0:
        decimal, thousands = (",", ".") if comma > dot else (".", ",")
        if text.count(decimal) > 1:
            return None
        head, _, fraction = text.partition(decimal)
        return _grouped(head, thousands, fraction)
    mark = "," if comma >= 0 else "."
    groups = text.split(mark)
    if len(groups) > 2:
        return _grouped(text, mark, "")
    first, second = groups
    if mark == "," and len(second) == 3 and len(first) <= 3 and first[0] != "0":
        return Number(first + second, grouped=True)
    return Number(first, second)


_INDIAN = re.compile(r"[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}")


def _grouped(text: str, mark: str, fraction: str) -> Number | None:
    groups = text.split(mark)
    regular = len(groups[0]) <= 3 and groups[0][0] != "0" and all(len(group) == 3 for group in groups[1:])
    if regular or (mark == "," and _INDIAN.fullmatch(text)):
        return Number("".join(groups), fraction, grouped=True)
    return None


def number(value: Number) -> str:
    """The words of a number, with the zeros of its decimals."""
    whole, fraction = value.integer, value.fraction
    if fraction:
        head = cardinal(whole) if len(whole) <= MAX_PLAIN_DIGITS else digits(whole)
        return f"{head + ' ' if whole else ''}point {digits(fraction)}"
    if len(whole) > 1 and whole[0] == "0":
        return digits(whole)
    if not value.grouped:
        identifier = len(whole) >= PHONE_DIGITS and not whole.endswith("000")
        if identifier or len(whole) > MAX_PLAIN_DIGITS:
            return digits(whole)
    return cardinal(whole)


_ITEM = re.compile(r"[0-9]+|[^0-9]+")


def numbers(text: str) -> str:
    """The words of anything that matches `NUMBER`: a number, or the members of a list or version."""
    value = parse(text)
    if value is not None:
        return number(value)
    if "," in text:
        return ", ".join(numbers(part) for part in text.split(","))
    return " point ".join(part_of_version(part) for part in re.split(r"[.'’_]", text))


def part_of_version(run: str) -> str:
    """Between the points of a version: "10" is "ten", "04" "zero four"."""
    return digits(run) if (run[0] == "0" and len(run) > 1) or len(run) > 4 else cardinal(run)
