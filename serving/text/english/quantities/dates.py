"""Dates and decades."""

from __future__ import annotations

import re

from serving.text.english.quantities.numbers import cardinal, ordinal, plural, year
from serving.text.english.quantities.times import clock_words
from serving.text.english.tokens import Reading, Token, Tokens, at, before, word_set

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September", "October"),
    *("November", "December"),
)
_SHORT = {name[:3].lower(): name for name in MONTHS} | {"sept": "September"}
_LONG = {name.lower(): name for name in MONTHS}
WEEKDAYS = {
    **{"mon": "Monday", "tue": "Tuesday", "tues": "Tuesday", "wed": "Wednesday", "thu": "Thursday"},
    **{"thur": "Thursday", "thurs": "Thursday", "fri": "Friday", "sat": "Saturday", "sun": "Sunday"},
}
DATE_WORDS = frozenset(
    [*WEEKDAYS, *(name.lower() for name in WEEKDAYS.values()), "today", "tomorrow", "yesterday"]
)
_PREPOSITIONS = word_set(
    """
    on in since by until till every next last this each from through late early mid of
    """
)
_DAY = re.compile(r"(0?[1-9]|[12][0-9]|3[01])(?:st|nd|rd|th)?")
_DAYS = re.compile(r"([0-9]{1,2})(?:st|nd|rd|th)?[-–—]([0-9]{1,2})(?:st|nd|rd|th)?")
_YEAR = re.compile(r"1[0-9]{3}|20[0-9]{2}")
_NUMERIC = re.compile(
    r"([0-9]{1,4})([-/.‐‑–])([0-9]{1,2})\2([0-9]{1,4})(?:T([0-9:]+)(?:\.[0-9]+)?(Z|[+-][0-9:]+)?)?"
)
_DECADE = re.compile(r"(?:'|’)?([0-9]0)(s|'s|’s)")
_SHORT_YEAR = re.compile(r"[0-9]{2}")
_COMPACT = re.compile(r"([0-9]{1,2})([-/]?)([A-Z][a-z]{2}|[A-Z]{3})\2((?:[0-9]{2}){1,2})")


def is_day_of_month(first: int, second: int) -> bool:
    """Whether two numbers are a month and a day, in either order."""
    return (1 <= first <= 12 and 1 <= second <= 31) or (1 <= second <= 12 and 1 <= first <= 31)


def month_name(token: Token, *, beside_number: bool) -> str | None:
    """The month that a token names. "Mar" and "Jan" are months only beside a number or with a period."""
    lower = token.lower
    if not token.capitalised:
        return None
    if lower in _LONG:
        return _LONG[lower]
    if lower in _SHORT and (beside_number or token.trail[:1] == "."):
        return _SHORT[lower]
    return None


def read_numeric_date(tokens: Tokens, index: int) -> Reading | None:
    """ "2024-01-16", "3/4/2024", "16.01.2024", "2024-01-16T10:30:00Z"."""
    match = _NUMERIC.fullmatch(tokens[index].core)
    if not match:
        return None
    first, mark, second, third, clock, zone = match.groups()
    if len(first) == 4:
        years, month, day = first, int(second), int(third)
    elif len(third) in (2, 4) and len(first) <= 2:
        years, month, day = third, int(first), int(second)
        if month > 12 or mark == ".":
            month, day = day, month
    else:
        return None
    if not (1 <= month <= 12 and 1 <= day <= 31) or len(years) == 3 or (mark == "." and len(years) == 2):
        return None
    if len(years) == 2:
        if mark in "-–":
            return None
        years = ("19" if int(years) > 40 else "20") + years
    words = f"{MONTHS[month - 1]} {ordinal(day)}, {year(int(years))}"
    if clock:
        spoken = clock_words(clock)
        words += f", {spoken}" if spoken else ""
        words += " U T C" if zone == "Z" else ""
    return Reading(words)


def read_month(tokens: Tokens, index: int) -> Reading | None:
    """A month, and the day and the year behind it: "Jan. 3, 2024", "May 5-7", "March 2024"."""
    token = tokens[index]
    following = at(tokens, index + 1)
    name = month_name(token, beside_number=following.digit and not token.trail.strip("."))
    if name is None:
        return None
    abbreviated = len(token.core) < len(name)
    trail = token.trail
    if abbreviated and trail[:1] == "." and index + 1 < len(tokens):
        trail = trail[1:]
    if trail or not following.digit:
        short = token.lower in ("mar", "jun", "sun") and before(tokens, index) not in _PREPOSITIONS
        return Reading(name, 1, trail) if abbreviated and not short else None
    quoted = following.lead[-1:] in ("'", "’", "‘") and not {"'", "’"} & set(following.trail)
    if quoted and _SHORT_YEAR.fullmatch(following.core):  # "Aug. '24"
        return Reading(f"{name} {_short_year(following.core)}", 2)
    used, words = 2, ""
    day = _DAY.fullmatch(following.core)
    days = _DAYS.fullmatch(following.core)
    if day:
        dash, end = at(tokens, index + 2), at(tokens, index + 3)
        words = f"{name} {ordinal(day[1])}"
        if not following.trail and dash.text in ("-", "–", "—") and _DAY.fullmatch(end.core):
            words, used = f"{words} to {ordinal(_DAY.fullmatch(end.core)[1])}", 4  # type: ignore[index]
    elif days and 1 <= int(days[1]) < int(days[2]) <= 31:
        words = f"{name} {ordinal(days[1])} to {ordinal(days[2])}"
    elif _YEAR.fullmatch(following.core):
        return Reading(f"{name} {year(int(following.core))}", 2)
    if not words:
        return Reading(name, 1, "") if abbreviated else None
    return _with_year(tokens, index, used, words)


def _with_year(tokens: Tokens, index: int, used: int, words: str) -> Reading:
    last, following = at(tokens, index + used - 1), at(tokens, index + used)
    if last.trail in ("", ",") and _YEAR.fullmatch(following.core):
        return Reading(f"{words}, {year(int(following.core))}", used + 1)
    return Reading(words, used)


def read_day(tokens: Tokens, index: int) -> Reading | None:
    """A day before its month: "3 January 2024", "3rd of May", "the 5-7 May"."""
    token = tokens[index]
    day, days = _DAY.fullmatch(token.core), _DAYS.fullmatch(token.core)
    if token.trail or not (day or days):
        return None
    of = at(tokens, index + 1).lower == "of"
    month = at(tokens, index + 1 + of)
    name = month_name(month, beside_number=True)
    if name is None or (name in ("May", "March") and not of and not _is_date_context(tokens, index)):
        return None
    if day:
        words = ordinal(day[1])
    elif days and 1 <= int(days[1]) < int(days[2]) <= 31:
        words = f"{ordinal(days[1])} to {ordinal(days[2])}"
    else:
        return None
    written = before(tokens, index) == "the" or (of and not token.core.isdecimal())
    words = f"{'' if written else 'the '}{words} of {name}"
    used = 2 + of
    following = at(tokens, index + used)
    trail = month.trail
    if len(month.core) < len(name) and trail[:1] == "." and following.core:
        trail = trail[1:]
    if trail in ("", ",") and _YEAR.fullmatch(following.core):
        return Reading(f"{words}, {year(int(following.core))}", used + 1)
    return Reading(words, used, trail)


def _is_date_context(tokens: Tokens, index: int) -> bool:
    previous = before(tokens, index)
    return (
        index == 0
        or at(tokens, index - 1).lower in DATE_WORDS
        or _YEAR.fullmatch(at(tokens, index + 2).core) is not None
        or previous in _PREPOSITIONS | DATE_WORDS
        or previous in ("the", "before", "after", "to", "and")
    )


def read_decade(tokens: Tokens, index: int) -> Reading | None:
    """ "'90s", "the 90s", "'98"."""
    token = tokens[index]
    quoted = token.lead[-1:] in ("'", "’", "‘") or token.core[:1] in ("'", "’")
    match = _DECADE.fullmatch(token.core)
    if match and (
        quoted or before(tokens, index) in ("the", "his", "her", "their", "my", "early", "late", "mid", "in")
    ):
        if match[1] == "00":
            return Reading("two thousands", 1, lead=token.lead.rstrip("'’‘"))
        return Reading(plural(cardinal(match[1])), 1, lead=token.lead.rstrip("'’‘"))
    if quoted and "'" not in token.trail and "’" not in token.trail and _SHORT_YEAR.fullmatch(token.core):
        return Reading(_short_year(token.core), 1, lead=token.lead.rstrip("'’‘"))
    return None


def _short_year(text: str) -> str:
    """The year of two digits behind an apostrophe: '98, '05."""
    return (
        cardinal(text) if text[0] != "0" else f"oh {cardinal(text[1])}" if text[1] != "0" else "two thousand"
    )


def read_weekday(tokens: Tokens, index: int) -> Reading | None:
    """ "Mon." and the like; "Sun." and "Sat." only where a day is meant."""
    token = tokens[index]
    first, _, last_name = token.lower.replace("–", "-").replace(".", "").partition("-")
    for names in (WEEKDAYS, _SHORT):
        if token.capitalised and first in names and last_name in names:
            trail = token.trail[1:] if token.trail[:1] == "." and at(tokens, index + 1).text else token.trail
            return Reading(f"{names[first]} to {names[last_name]}", 1, trail)
    name = WEEKDAYS.get(token.lower)
    if name is None or not token.capitalised:
        return None
    following = at(tokens, index + 1)
    last = index + 1 >= len(tokens)
    dated = month_name(following, beside_number=True) is not None or following.digit
    dated = dated or following.lower in ("at", "morning", "afternoon", "evening", "night", "noon")
    preposition = before(tokens, index) in (
        "on",
        "every",
        "next",
        "last",
        "this",
        "each",
        "until",
        "by",
        "to",
        "through",
        "from",
    )
    word = token.lower in ("sun", "sat", "wed")
    period = token.trail[:1] == "."
    if not (period or (dated and token.trail in ("", ","))) or (word and not (dated or preposition)):
        return None
    if word and token.lower == "sun" and not dated and before(tokens, index, 2) in ("the", "earth"):
        return None
    return Reading(name, 1, token.trail[1:] if period and not last else token.trail)


def read_compact_date(tokens: Tokens, index: int) -> Reading | None:
    """ "16Jan2024"."""
    match = _COMPACT.fullmatch(tokens[index].core)
    if not match or match[3].lower() not in _SHORT or not 1 <= int(match[1]) <= 31:
        return None
    years = match[4] if len(match[4]) == 4 else "20" + match[4]
    return Reading(f"{_SHORT[match[3].lower()]} {ordinal(match[1])}, {year(int(years))}")
