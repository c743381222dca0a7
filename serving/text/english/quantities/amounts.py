"""Quantities: plain numbers, percentages, money and measures."""

from __future__ import annotations

import re

from serving.text.english.quantities.money import (
    CODES,
    CURRENCIES,
    MAGNITUDE_WORDS,
    MAGNITUDES,
    amount,
    currency_name,
)
from serving.text.english.quantities.numbers import NUMBER, number, numbers, parse, year
from serving.text.english.quantities.ranges import A_CURRENCY, A_VULGAR, HEAD, SIGNS, TWO, read_range
from serving.text.english.quantities.suffixes import hyphenated, is_measured, is_noun, tail_words, unit_behind
from serving.text.english.quantities.units import per_name
from serving.text.english.quantities.vulgar import VULGAR, and_fraction, quantity
from serving.text.english.tokens import Reading, Tokens, after, at, before, is_sum, word_set

_ONE = re.compile(
    rf"{HEAD}(?:(?P<number>{NUMBER})(?P<vulgar>{A_VULGAR})?|(?P<bare>{A_VULGAR}))(?P<rest>.*)", re.DOTALL
)
_MOST_GROUPS = 12
_DASHES = frozenset("-–—−")
_FIRST_GROUP = re.compile(rf"(?:{A_CURRENCY})?[1-9][0-9]{{0,2}}")
_THREE_DIGITS = re.compile(r"[0-9]{3}(?:[.,][0-9]+)?(?![0-9])[^0-9]*")
YEAR_WORDS = word_set(
    """
    in since from of by until till before after during year early late mid circa around between through
    spring summer autumn fall winter january february march april may june july august september october
    november december c copyright © class season fiscal and to christmas easter model vintage
    """
)
_COUNTED = word_set("people men women children feet percent dollars pounds euros times miles meters metres")
_NOT_PLURALS = word_set("was is has his its this as us yes thus always perhaps across versus plus less s")


def merged(tokens: Tokens, index: int) -> tuple[str, int]:
    """The core of a quantity that is written with spaces ("1 000 000", "$ 5", "10 - 20"), and its tokens."""
    token = tokens[index]
    core, used = token.core, 1
    following = at(tokens, index + 1)
    if core in CURRENCIES and following.digit and not token.trail.strip("."):
        core, used = core + following.core, 2
    if _FIRST_GROUP.fullmatch(core) and not at(tokens, index + used - 1).trail:
        while (
            used < _MOST_GROUPS
            and not at(tokens, index + used - 1).trail
            and _THREE_DIGITS.fullmatch(at(tokens, index + used).core)
        ):
            core += "'" + tokens[index + used].core
            used += 1
            if not core[-3:].isdecimal():
                break
    if core.isdecimal() and len(core) < 4 and used == 1 and not token.trail and following.core in VULGAR:
        return core + following.core, 2  # "3 ⅞"
    dash, end = at(tokens, index + used), at(tokens, index + used + 1)
    if (
        dash.text in _DASHES
        and end.digit
        and core[-1:] not in _DASHES
        and not at(tokens, index + used - 1).trail
    ):
        low, high = _ONE.fullmatch(core), _ONE.fullmatch(end.core)
        if (
            low
            and high
            and not high["sign"]
            and _ascending(low["number"], high["number"])
            and not is_sum(tokens, index)
        ):
            core, used = f"{core}–{end.core}", used + 2
    return core, used


def _ascending(low: str | None, high: str | None) -> bool:
    first, second = parse(low or "0"), parse(high or "0")
    if first is None or second is None or max(len(first.integer), len(second.integer)) > 15:
        return False
    return int(first.integer or 0) < int(second.integer or 0)


def read_amount(tokens: Tokens, index: int) -> Reading | None:
    """A token that begins with a number, or with a sign or currency before it."""
    core, used = merged(tokens, index)
    if len(core) > 200:
        return None
    if any(dash in core[1:] for dash in "-–—−.…"):
        two = TWO.fullmatch(core)
        if two:
            reading = read_range(tokens, index, two, used)
            if reading:
                return reading
    one = _ONE.fullmatch(core)
    return _single(tokens, index, one, used) if one else None


def _single(tokens: Tokens, index: int, match: re.Match[str], used: int) -> Reading | None:
    last = at(tokens, index + used - 1)
    rest, sign = match["rest"], match["sign"] or ""
    minus = "minus " if match["minus"] else ""
    opening = f"{SIGNS[sign]} " if sign else ""
    if (sign in ("-", "–") and tokens[index].glued) or (
        opening.strip() and opening.strip() == before(tokens, index)
    ):
        opening = ""
    noun = after(tokens, index + used - 1)
    adjective = is_measured(noun) or (before(tokens, index) in ("a", "an") and is_noun(noun))
    if match["currency"]:
        reading = _money(tokens, index, match, used, adjective)
        return reading and reading._replace(spoken=opening + minus + reading.spoken)
    text = match["number"]
    value = quantity(text, match["vulgar"] or match["bare"])
    if value is None or minus:
        return _list_or_version(text, rest, opening, used) if text else None
    if not rest:
        behind = unit_behind(tokens, index, used, value, adjective or (text is None), text or "")
        if behind:
            return behind._replace(spoken=opening + behind.spoken)
        if text and not sign and not match["vulgar"] and is_year(tokens, index, used, text):
            return Reading(year(int(text)), used)
        return Reading(opening + value.words, used)
    tail = tail_words(tokens, index + used - 1, text or "", value, rest, adjective)
    return (
        Reading(opening + tail, used, last.trail.lstrip('"') if rest.endswith('"') else None)
        if tail
        else None
    )


def _list_or_version(text: str, rest: str, opening: str, used: int) -> Reading | None:
    return None if rest else Reading(opening + numbers(text), used)


def _money(tokens: Tokens, index: int, match: re.Match[str], used: int, adjective: bool) -> Reading | None:
    sign, rest = match["currency"], match["rest"]
    value = parse(match["number"] or "") if match["number"] else None
    if value is None:
        return None
    if rest in (".-", ".–", ".—", ",-", ",–"):
        rest = ""  # "$5.-"
    head, slash, tail = rest.partition("/")
    words = ""
    if slash and not per_name(tail):
        return None
    if head[:1] == "-" and (compound := hyphenated(head[1:])):
        part, _, others = compound.partition(" ")
        scale = part if part in MAGNITUDE_WORDS else ""
        words = amount(sign, value, scale, adjective=True) + " " + (others if scale else compound)
    elif head in MAGNITUDES:
        words = amount(sign, value, MAGNITUDES[head], adjective=adjective)
    elif head in CODES:
        words = f"{number(value)} {currency_name(head, one=value.is_one)}"
    elif head[-1:] == "+" and head[:-1] in MAGNITUDES:
        words = amount(sign, value, MAGNITUDES[head[:-1]]) + " plus"
    elif head in ("+", "s"):
        words = amount(sign, value) + (" plus" if head else "")
    elif not head:
        behind = at(tokens, index + used)
        if behind.lower in MAGNITUDE_WORDS and not at(tokens, index + used - 1).trail:
            noun = after(tokens, index + used)
            adjective = is_measured(noun) or (before(tokens, index) in ("a", "an") and is_noun(noun))
            return Reading(amount(sign, value, behind.lower, adjective=adjective), used + 1)
        words = amount(sign, value, adjective=adjective)
        if match["vulgar"]:
            words = f"{and_fraction(number(value), *VULGAR[match['vulgar']])} {currency_name(sign)}"
        if behind.core in CODES and sign == "$":
            return Reading(f"{number(value)} {currency_name(behind.core)}", used + 1)
    else:
        return None
    return Reading(f"{words} per {per_name(tail)}" if slash else words, used)


def is_year(tokens: Tokens, index: int, used: int, run: str) -> bool:
    """Whether four digits name a year here, and not a count."""
    if not (len(run) == 4 and run.isdecimal() and "1000" <= run <= "2099"):
        return False
    previous, following = before(tokens, index), after(tokens, index + used - 1)
    if following in ("bc", "ad", "bce", "ce"):
        return True
    if following in _COUNTED or (
        following.endswith("s")
        and len(following) > 3
        and following not in _NOT_PLURALS
        and previous not in ("the", "in")
    ):
        return False
    return previous in YEAR_WORDS or run >= "1100"
