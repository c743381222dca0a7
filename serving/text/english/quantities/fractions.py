"""Two numbers with a slash: a fraction, a date, a place in a series, a rating."""

from __future__ import annotations

import re

from serving.text.english.quantities.dates import DATE_WORDS, MONTHS, is_day_of_month
from serving.text.english.quantities.numbers import cardinal, digits, numbers, ordinal, year
from serving.text.english.quantities.suffixes import is_noun
from serving.text.english.quantities.units import plural_unit, unit_name
from serving.text.english.quantities.vulgar import and_fraction, fraction_words
from serving.text.english.tokens import Reading, Tokens, after, at, before, is_sum, word_set

_SLASHED = re.compile(
    r"([-−])?(?:([0-9]{1,4})-)?([0-9]{1,6})[/⁄]([0-9]{1,6})((?:st|nd|rd|th)s?|[a-zA-Z°µ²³%]{1,4}|-[a-zA-Z-]+)?"
)
_RATED = re.compile(r"([0-9]{1,2}\.[0-9]{1,2})/([0-9]{1,3}(?:\.0)?)")
_SERIES = word_set(
    """
    page part step question problem slide chapter episode item level stage round day lesson exercise file
    photo image volume track disc disk issue task phase section sheet test tests night week module unit
    batch
    """
)
_SCORES = word_set(
    """
    scored score rated rating got gave rate a mark earned scoring quality review marks pass
    """
)
_SAYINGS = {
    **{("24", "7"): "twenty four seven", ("9", "11"): "nine eleven", ("20", "20"): "twenty twenty"},
    **{
        ("50", "50"): "fifty fifty",
        ("7", "11"): "seven eleven",
        ("80", "20"): "eighty twenty",
        ("70", "30"): "seventy thirty",
        ("60", "40"): "sixty forty",
        ("90", "10"): "ninety ten",
        ("20", "40"): "twenty forty",
        ("7", "7"): "seven seven",
        ("365", "24"): "three sixty five twenty four",
    },
}
_DATE_NEIGHBOURS = word_set(
    """
    on since by until till from due before after dated date deadline between through
    """
)
_TIMES = word_set("at beat signature time tempo")


def read_slashed(tokens: Tokens, index: int) -> Reading | None:
    """ "1/16", "3 1/2", "3-1/2", "24/7", "3/12" of a series, "8/10", "120/80", "1/16" as a date."""
    token = tokens[index]
    core, used, whole = token.core, 1, ""
    if core.isdecimal() and not token.trail and len(core) <= 4:
        following = at(tokens, index + 1).core
        if "/" in following and _SLASHED.fullmatch(following):
            whole, core, used = core, following, 2
    if "/" not in core and "⁄" not in core:
        return None
    rated = _RATED.fullmatch(core)
    if rated and float(rated[1]) <= float(rated[2]):
        return Reading(f"{numbers(rated[1])} out of {numbers(rated[2])}", used)
    match = _SLASHED.fullmatch(core)
    if not match:
        return None
    sign, joined, part, of, rest = match.groups()
    whole = whole or joined or ""
    opening = "minus " if sign else ""
    suffix = rest or ""
    if suffix and whole == "" and suffix in ("st", "nd", "rd", "th", "ths", "rds"):
        return Reading(opening + f"{cardinal(part)} {ordinal(of)}" + ("s" if int(part) > 1 else ""), used)
    words = _plain(tokens, index, used, part, of) if not whole and not suffix else None
    if words is None:
        small = 1 < int(of) <= 1000 and part[0] != "0"
        if (
            not small
            or (int(part) >= int(of) and not whole and int(of) > 8)
            or (int(part) >= int(of) and whole)
        ):
            words = f"{cardinal(part)} {'over' if not suffix else 'slash'} {cardinal(of)}"
            words = f"{cardinal(whole)} {words}" if whole else words
        else:
            words = fraction_words(int(part), int(of))
            words = and_fraction(cardinal(whole), int(part), int(of)) if whole else words
    words = opening + words
    if suffix[:1] == "-":
        return Reading(f"{words} {suffix[1:].replace('-', ' ')}", used)
    return _with_unit(tokens, index, used, words, suffix, one=not whole and int(part) < int(of))


def _with_unit(
    tokens: Tokens, index: int, used: int, words: str, suffix: str, *, one: bool
) -> Reading | None:
    last = at(tokens, index + used - 1)
    if suffix:
        name = unit_name(suffix)
        return Reading(f"{words} {name if one else plural_unit(name)}", used) if name else None
    if last.trail[:1] in ('"', "″"):
        return Reading(f"{words} {'inch' if one else 'inches'}", used, last.trail[1:])
    unit = at(tokens, index + used)
    if unit.core == "in" and (unit.trail[:1] != "." or index + used + 1 >= len(tokens)):
        return Reading(words, used)
    if not last.trail and len(unit.core) > 1 and (name := unit_name(unit.core)):
        trail = unit.trail[1:] if unit.trail[:1] == "." and index + used + 1 < len(tokens) else unit.trail
        return Reading(f"{words} {name if one else plural_unit(name)}", used + 1, trail)
    return Reading(words, used)


def _plain(tokens: Tokens, index: int, used: int, part: str, of: str) -> str | None:
    """Every reading but the fraction; None where it is one."""
    if (part, of) in _SAYINGS:
        return _SAYINGS[part, of]
    previous, following = before(tokens, index), after(tokens, index + used - 1)
    two_before = before(tokens, index, 2)
    if previous in _SERIES or (following == "of" and two_before in _SERIES):
        return f"{cardinal(part)} of {cardinal(of)}"
    if (
        previous in _DATE_NEIGHBOURS | DATE_WORDS
        and is_day_of_month(int(part), int(of))
        and not _measured(following)
    ):
        month, day = (int(part), int(of)) if int(part) <= 12 else (int(of), int(part))
        return f"{MONTHS[month - 1]} {ordinal(day)}"
    if (
        of in ("4", "8", "16")
        and (following in _TIMES or previous in ("in", "time"))
        and part in ["2", "3", "4", "5", "6", "7", "9", "12"]
    ) and (
        following in ("time", "beat", "signature", "tempo")
        or (previous == "in" and following in ("", "time"))
    ):
        return f"{cardinal(part)} {cardinal(of)}"
    if (
        of in ("5", "10", "100", "20")
        and int(part) <= int(of)
        and (previous in _SCORES or two_before in _SCORES or following in _SCORES)
        and not (previous == "a" and is_noun(following))
    ):
        return f"{cardinal(part)} out of {cardinal(of)}"
    if len(part) == 4 and len(of) in (2, 4) and "1100" <= part <= "2099":
        return f"{year(int(part))} {year(int(of)) if len(of) == 4 else cardinal(of)}"
    if len(part) > 1 and part[0] == "0" and of[0] != "0":
        return f"{digits(part)} slash {cardinal(of)}"
    rating = following in ("star", "stars") or (part == of and of in ("5", "10"))
    if rating and int(part) <= int(of) and not is_sum(tokens, index):
        return f"{cardinal(part)} out of {cardinal(of)}"
    if of == "10" and int(part) <= 10 and following in ("", "would", "stars") and int(part) > 3:
        return f"{cardinal(part)} out of ten"
    return None


def _measured(following: str) -> bool:
    return (
        following == "of"
        or unit_name(following) is not None
        or following in ("inch", "inches", "cup", "mile")
    )
