"""Sizes, heights and angles."""

from __future__ import annotations

import re

from serving.text.english.quantities.numbers import NUMBER, cardinal, numbers, plural
from serving.text.english.quantities.suffixes import LENGTH_WORDS, hyphenated, unit_behind
from serving.text.english.quantities.units import plural_unit, unit_name
from serving.text.english.quantities.vulgar import Amount
from serving.text.english.tokens import Reading, Tokens, at, is_sum

_SIZE = re.compile(rf"({NUMBER})([xX×*])({NUMBER})(?:[xX×]({NUMBER}))?(-?[A-Za-z]{{0,4}}²?)")
_FEET = re.compile(r"([0-9]{1,3})['′’](?:([0-9]{1,2}(?:\.[0-9]{1,2})?)(?:[\"″”]|''|′′)?)?([.,;:!?)]*)")
_ANGLE = re.compile(
    r"([0-9]{1,3}(?:\.[0-9]+)?)°(?:([0-9]{1,2}(?:\.[0-9]+)?)[′'’](?:([0-9]{1,2}(?:\.[0-9]+)?)[″\"”])?)?([NSEW]?)([.,;:)]*)"
)
_POINTS = {"N": " north", "S": " south", "E": " east", "W": " west", "": ""}


def read_size(tokens: Tokens, index: int) -> Reading | None:
    """ "5x7", "1920×1080", "2x4x8cm"."""
    match = _SIZE.fullmatch(tokens[index].core)
    if not match or is_sum(tokens, index):
        return None
    first, sign, second, third, unit = match.groups()
    small = len(first) < 3 and len(second) < 3
    if sign == "*" or (sign == "×" and small and not (third or unit)):
        return Reading(f"{numbers(first)} times {numbers(second)}") if not unit else None
    words = " by ".join(numbers(part) for part in (first, second, third) if part)
    if unit == "s":
        return Reading(plural(words))  # "two 2x4s"
    if unit[:1] == "-":
        compound = hyphenated(unit[1:])
        return Reading(f"{words} {compound}") if compound else None
    if unit:
        name = unit_name(unit)
        return Reading(f"{words} {plural_unit(name)}") if name else None
    behind = unit_behind(tokens, index, 1, Amount(words, False), False)
    return behind or Reading(words)


def read_by(tokens: Tokens, index: int) -> Reading | None:
    """The "x" of "10 cm x 20 cm" and of "3 x 4 = 12"."""
    token, previous, following = tokens[index], at(tokens, index - 1), at(tokens, index + 1)
    measured = previous.digit or (at(tokens, index - 2).digit and unit_name(previous.core) is not None)
    if (
        token.text not in ("x", "X")
        or not measured
        or previous.trail.strip("\"'")
        or not following.core[:1].isdigit()
    ):
        return None
    power = following.core.startswith("10") and following.core[2:3] in tuple("^⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
    return Reading("times" if power or is_sum(tokens, index) else "by")


def read_feet(tokens: Tokens, index: int) -> Reading | None:
    """6'2" and, before "tall" and the like, 6'; more than twelve are seconds behind minutes: 19'32"."""
    match = _FEET.fullmatch(tokens[index].text.lstrip("("))
    if not match:
        return None
    feet, inches, trail = match.groups()
    words = f"{cardinal(feet)} {'foot' if feet == '1' else 'feet'}"
    if inches is None:
        measured = at(tokens, index + 1).lower in LENGTH_WORDS or at(tokens, index - 1).lower in ("x", "by")
        return Reading(words, 1, trail) if measured else None
    if float(inches) >= 12 or inches[-2:-1] == "0":
        if float(inches) >= 60:
            return None
        words = f"{cardinal(feet)} minute{'' if feet == '1' else 's'}"
        return Reading(f"{words} {numbers(inches)} seconds", 1, trail)
    return Reading(f"{words} {numbers(inches)}", 1, trail)


def read_angle(tokens: Tokens, index: int) -> Reading | None:
    """40°26′46″N, 51.5°N."""
    match = _ANGLE.fullmatch(tokens[index].text) if "°" in tokens[index].text else None
    if match is None or not (match[2] or match[4]):
        return None
    words = f"{numbers(match[1])} degree{'' if match[1] == '1' else 's'}"
    words += f" {numbers(match[2])} minutes" if match[2] else ""
    words += f" {numbers(match[3])} seconds" if match[3] else ""
    return Reading(words + _POINTS[match[4]], 1, match[5])
