"""Times of the day, durations, ratios, and other pairs with a colon."""

from __future__ import annotations

import re

from serving.text.english.quantities.numbers import cardinal, digits, number, parse, year
from serving.text.english.quantities.verses import is_verse
from serving.text.english.tokens import (
    Reading,
    Tokens,
    after,
    at,
    before,
    said_nearby,
    starts_sentence,
    word_set,
)

_CLOCK = r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?"
_TIME = re.compile(
    rf"({_CLOCK}|[0-9]{{1,2}}(?:\.[0-9]{{2}})?)([AaPp])\.?[Mm]|({_CLOCK})(?:\.[0-9]+)?(Z|h|hrs)?"
)
_LAP = re.compile(r"([0-9]{1,2}):([0-5][0-9])\.([0-9]{1,3})")
_MILITARY = re.compile(r"(0[0-9]|1[0-9]|2[0-3])([0-5][0-9])")
_POINTED = re.compile(r"[0-9]{1,2}\.[0-5][0-9]")
_LETTERS_AND_END = re.compile(rf"([ap])\.?m\.?[-–—]({_CLOCK}|[0-9]{{1,2}})", re.IGNORECASE)
_FRENCH = re.compile(r"([0-9]{1,2})h([0-9]{2})")
_RANGE = re.compile(
    rf"({_CLOCK}|[0-9]{{1,2}}(?:\.[0-9]{{2}})?)([AaPp]\.?[Mm]\.?)?[-–—]({_CLOCK}|[0-9]{{1,2}}(?:\.[0-9]{{2}})?)([AaPp]\.?[Mm])?"
)
_MERIDIEM = re.compile(r"([AaPp])(?:\.?[Mm]|\. ?[Mm])")
_PAIR = re.compile(r"([0-9][0-9.,]*):([0-9][0-9.,]*)((?::[0-9][0-9.,]*)*)")
_DURATION = re.compile(
    r"(?:([0-9]{1,4})d)?(?:([0-9]{1,4})h(?:rs?)?)?(?:([0-9]{1,4})m(?:in)?)?(?:([0-9]{1,4}(?:\.[0-9]+)?)s(?:ec)?)?"
)
_DURATION_UNITS = ("day", "hour", "minute", "second")
_OFFSET = re.compile(r"(UTC|GMT)([+\-−±])([0-9]{1,2})(?::?([0-9]{2}))?")
_PLAIN_OFFSET = re.compile(r"([+\-−])([0-9]{2}):([0-9]{2})")
_RATIO_WORDS = word_set(
    """
    ratio odds score scored aspect won lost beat win lead leading defeat victory draw drew scale ratios mix
    split mixed screen display monitor beats ratio: diluted gear proportion proportions tied
    """
)
_NORMS = word_set("iso iec din en bs ieee iso/iec ansi astm nf")
"""Before the number of a norm and its year: "ISO 9001:2015"."""
_NORM = re.compile(r"([0-9]{2,6}):((?:19|20)[0-9]{2})")
_CLOCK_WORDS = word_set("at by until till from to before after")
_OCLOCK_UNTIL = 12


def clock_words(text: str, *, named: bool = False) -> str | None:
    """ "9:00" is "nine o'clock", "3:05" "three oh five", "14:00" "fourteen hundred", "10:15:30" "ten fifteen and
    thirty seconds"; `named` where "a.m." or "p.m." follows, so that "3:00" is "three". None if it is no time.
    """
    parts = re.split(r"[:.]", text)
    if not all(part.isdecimal() for part in parts) or len(parts) > 3:
        return None
    hour, minute = int(parts[0]), int(parts[1]) if len(parts) > 1 else 0
    if hour > 24 or minute > 59:
        return None
    words = cardinal(hour)
    if len(parts) == 3:
        second = int(parts[2])
        if second > 59:
            return None
        words += f" {_minute(minute)} and {cardinal(second)} second{'' if second == 1 else 's'}"
    elif minute:
        words += f" {_minute(minute)}"
    elif not named:
        words += " o'clock" if 0 < hour <= _OCLOCK_UNTIL else " hundred"
    return words


def _minute(minute: int) -> str:
    return cardinal(minute) if minute > 9 else f"oh {cardinal(minute)}" if minute else "oh oh"


def _meridiem(tokens: Tokens, index: int) -> tuple[str, str | None]:
    """The letters of "a.m." as a token, and the punctuation behind them: none if the period belongs to it."""
    token = at(tokens, index)
    match = _MERIDIEM.fullmatch(token.core)
    if not match or (token.core in ("Am", "Pm")):
        return "", None
    if token.core == "am" and at(tokens, index - 1).trail:
        return "", None
    return match[1].upper() + " M", meridiem_trail(tokens, index, dotted="." in token.core)


def meridiem_trail(tokens: Tokens, index: int, *, dotted: bool) -> str:
    """The punctuation behind "a.m.": without its own period, unless the sentence ends there."""
    token = at(tokens, index)
    trail = token.trail
    following = at(tokens, index + 1)
    if dotted and trail[:1] == "." and following.core and not starts_sentence(following):
        return trail[1:]
    return trail


def read_time(tokens: Tokens, index: int) -> Reading | None:
    """ "3:05", "14:30 UTC", "3pm", "3 p.m.", "10:15:30", "9-5 pm"."""
    token = tokens[index]
    core = token.core
    if len(core) > 24:
        return None
    french = _FRENCH.fullmatch(core)
    if french and int(french[1]) > 4 and (words := clock_words(f"{french[1]}:{french[2]}")):
        return Reading(words)
    lap = _LAP.fullmatch(core)
    if lap:
        minutes = int(lap[1])
        words = f"{cardinal(minutes)} minute{'' if minutes == 1 else 's'} " if minutes else ""
        return Reading(f"{words}{cardinal(int(lap[2]))} point {digits(lap[3])} seconds")
    military = _MILITARY.fullmatch(core)
    if military and after(tokens, index) in ("hours", "hrs") and _is_clock(tokens, index, core):
        hour, minute = int(military[1]), int(military[2])
        words = f"{'zero ' if core[0] == '0' else ''}{cardinal(hour)}"
        return Reading(f"{words} {_minute(minute) if minute else 'hundred'} hours", 2)
    match = _TIME.fullmatch(core)
    if match and match[2]:
        words = clock_words(match[1], named=True)
        dotted = core[-2] == "." or (token.trail[:1] == "." and "." in core[-3:])
        trail = meridiem_trail(tokens, index, dotted=dotted) if dotted else None
        return Reading(f"{words} {match[2].upper()} M", 1, trail) if words else None
    if match and match[3]:
        spanned = _lettered_range(tokens, index) or _time_range(tokens, index)
        return spanned or _clock(tokens, index, match[3], match[4] or "")
    if _POINTED.fullmatch(core) and not token.trail:
        letters, trail = _meridiem(tokens, index + 1)
        words = clock_words(core, named=True)
        if letters and words:
            return Reading(f"{words} {letters}", 2, trail)
    if core.isdecimal() and len(core) <= 2 and not token.trail:
        letters, trail = _meridiem(tokens, index + 1)
        if letters and 0 < int(core) <= 24:
            return Reading(f"{cardinal(core)} {letters}", 2, trail)
        if spanned := _lettered_range(tokens, index):
            return spanned
        if after(tokens, index) in ("o'clock", "o’clock"):
            return Reading(f"{cardinal(core)} o'clock", 2)
    return _time_range(tokens, index)


def _is_clock(tokens: Tokens, index: int, core: str) -> bool:
    """Whether four digits before "hours" are a time of the day and no count: "at 1430 hours", "0600 hours"."""
    return core[0] == "0" or before(tokens, index) in _CLOCK_WORDS


def _clock(tokens: Tokens, index: int, text: str, suffix: str) -> Reading | None:
    token = tokens[index]
    letters, trail = ("", None) if token.trail else _meridiem(tokens, index + 1)
    if not letters and (_is_ratio(tokens, index) or is_verse(tokens, index)):
        return None
    words = clock_words(text, named=bool(letters))
    if words is None:
        return None
    if letters:
        return Reading(f"{words} {letters}", 2, trail)
    if suffix:
        return Reading(f"{words} {'U T C' if suffix == 'Z' else 'hours'}")
    return Reading(words)


def _is_ratio(tokens: Tokens, index: int) -> bool:
    return said_nearby(tokens, index, _RATIO_WORDS) or after(tokens, index) in _RATIO_WORDS


def _lettered_range(tokens: Tokens, index: int) -> Reading | None:
    """ "5 a.m.-6 p.m.", "9:30 AM–4:30 PM"."""
    end = _LETTERS_AND_END.fullmatch(at(tokens, index + 1).core)
    if tokens[index].trail or not end:
        return None
    first, second = clock_words(tokens[index].core, named=True), clock_words(end[2], named=True)
    letters, trail = _meridiem(tokens, index + 2)
    if not (first and second and letters):
        return None
    joint = "and" if before(tokens, index) == "between" else "to"
    return Reading(f"{first} {end[1].upper()} M {joint} {second} {letters}", 3, trail)


def _time_range(tokens: Tokens, index: int) -> Reading | None:
    """ "9:00-17:30", "9am-5pm", "5–7 pm"."""
    token = tokens[index]
    core, used = token.core, 1
    dash, end = at(tokens, index + 1), at(tokens, index + 2)
    if dash.text in ("-", "–", "—") and not token.trail and end.digit and len(core) + len(end.core) < 20:
        core, used = f"{core}-{end.core}", 3
    match = _RANGE.fullmatch(core)
    if not match:
        return None
    first, first_half, second, second_half = match.groups()
    last = at(tokens, index + used - 1)
    letters, trail = ("", None) if last.trail or second_half else _meridiem(tokens, index + used)
    if letters:
        used += 1
    elif second_half:
        letters, trail = f"{second_half[0].upper()} M", None
    if not letters and not (":" in first and ":" in second):
        return None
    start = clock_words(first, named=bool(letters))
    end_words = clock_words(second, named=bool(letters))
    if start is None or end_words is None:
        return None
    if first_half:
        start += f" {first_half[0].upper()} M"
    joint = "and" if before(tokens, index) == "between" else "to"
    return Reading(f"{start} {joint} {end_words} {letters}".rstrip(), used, trail)


def read_pair(tokens: Tokens, index: int) -> Reading | None:
    """ "16:9", "3:1", "1:2:3"."""
    match = _PAIR.fullmatch(tokens[index].core)
    if not match:
        return None
    parts = [parse(part.strip(".,")) for part in tokens[index].core.split(":")]
    if len(parts) > 4 or any(part is None for part in parts):
        return None
    norm = _NORM.fullmatch(tokens[index].core) if before(tokens, index) in _NORMS else None
    if norm:
        return Reading(f"{cardinal(norm[1])}, {year(int(norm[2]))}")
    return Reading(" to ".join(number(part) for part in parts if part))


def read_duration(tokens: Tokens, index: int) -> Reading | None:
    """ "1h30m", "2m15s", "1d4h"."""
    core, used = tokens[index].core, 1
    if not core[:1].isdigit() or len(core) > 20:
        return None
    rest = at(tokens, index + 1).core
    if core[-1] in "hd" and not tokens[index].trail and rest[:1].isdigit() and rest[-1] in "hms":
        core, used = core + rest[:12], 2
    if _FRENCH.fullmatch(core):
        core += "m"
    match = _DURATION.fullmatch(core)
    if not match or sum(part is not None for part in match.groups()) < 2:
        return None
    words = []
    for part, unit in zip(match.groups(), _DURATION_UNITS, strict=True):
        if part is not None:
            value = parse(part)
            words.append(
                f"{number(value) if value else digits(part)} {unit}{'' if int(float(part)) == 1 else 's'}"
            )
    return Reading(" ".join(words), used)


def read_zone(tokens: Tokens, index: int) -> Reading | None:
    """ "UTC+2", "GMT-05:30", "+02:00"."""
    core = tokens[index].core
    match = _OFFSET.fullmatch(core)
    if match:
        zone, sign, hours, minutes = match.groups()
        words = f"{' '.join(zone)} {'plus' if sign == '+' else 'minus'} {cardinal(hours)}"
        return Reading(words + (f" {_minute(int(minutes))}" if minutes and int(minutes) else ""))
    plain = _PLAIN_OFFSET.fullmatch(core)
    if plain:
        sign, hours, minutes = plain.groups()
        rest = f" {_minute(int(minutes))}" if int(minutes) else ""
        return Reading(f"{'plus' if sign == '+' else 'minus'} {cardinal(hours)}{rest}")
    return None
