"""Arabic: numbers in words, and the percentages, money, times and dates around them."""

from __future__ import annotations

import re

from serving.text.languages.numbers import Say, ascii_digits, with_readings
from serving.text.languages.numbers import cardinal as cardinal_of
from serving.text.languages.numbers import each_digit as each_digit_of
from serving.text.words import Word

_N = r"\d{1,3}(?:[,٬]\d{3})+(?:[.٫]\d+)?|\d+(?:[.٫]\d+)?"
_MONEY = {"$": "دولار", "€": "يورو", "£": "جنيه إسترليني", "¥": "ين"}
_MONTHS = (
    "يناير", "فبراير", "مارس", "أبريل", "مايو", "يونيو", "يوليو", "أغسطس", "سبتمبر", "أكتوبر", "نوفمبر", "ديسمبر",
)  # fmt: skip
_UNITS = {
    "كم": "كيلومتر",
    "كغ": "كيلوغرام",
    "كجم": "كيلوغرام",
    "سم": "سنتيمتر",
    "km": "كيلومتر",
    "kg": "كيلوغرام",
}
_FREE = r"(?<![\w.,])"


def verbalise(sentence: str) -> list[Word]:
    """The words of one sentence of clean Unicode text, in order. Offsets refer to the sentence. Never raises."""
    return with_readings(ascii_digits(sentence), _READINGS, blanks=True)


def _whole(digits: str) -> str:
    # The conjunction is written with the word that it stands before.
    return cardinal_of(digits, "ar").replace(" و ", " و")


def _number(text: str) -> str:
    whole, mark, rest = re.sub("[,٬]", "", text).replace("٫", ".").partition(".")
    if not mark:
        return _whole(whole)
    return f"{_whole(whole)} فاصلة {_whole(rest) if not rest.startswith('0') else each_digit_of(rest, 'ar')}"


def _date(match: re.Match[str]) -> str | None:
    day, month = int(match["day"]), int(match["month"])
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return None
    return f"{_whole(str(day))} {_MONTHS[month - 1]} {_whole(match['year'])}"


def _time(match: re.Match[str]) -> str | None:
    hour, minute = int(match["hour"]), int(match["minute"])
    if hour > 24 or minute > 59:
        return None
    spoken = _whole(str(hour))
    return f"{spoken} و{_whole(str(minute))} دقيقة" if minute else spoken


def _money(match: re.Match[str]) -> str:
    return f"{_number(match['after'] or match['before'])} {_MONEY[match['mark'] or match['mark2']]}"


def _percent(match: re.Match[str]) -> str:
    return f"{_number(match['number'])} بالمئة"


def _unit(match: re.Match[str]) -> str:
    return f"{_number(match['number'])} {_UNITS[match['unit']]}"


def _plain(match: re.Match[str]) -> str:
    return ("ناقص " if match["sign"] else "") + _number(match["number"])


_READINGS: tuple[tuple[re.Pattern[str], Say], ...] = (
    (re.compile(rf"{_FREE}(?P<day>\d\d?)[/.-](?P<month>\d\d?)[/.-](?P<year>\d{{4}})(?!\d)"), _date),
    (re.compile(rf"{_FREE}(?P<hour>\d\d?):(?P<minute>\d\d)(?![\d:])"), _time),
    (re.compile(rf"(?P<mark>[€$£¥])\s?(?P<after>{_N})|{_FREE}(?P<before>{_N})\s?(?P<mark2>[€$£¥])"), _money),
    (re.compile(rf"(?P<number>{_N})\s?[%٪]"), _percent),
    (re.compile(rf"(?P<number>{_N})\s?(?P<unit>{'|'.join(map(re.escape, _UNITS))})(?!\w)"), _unit),
    (re.compile(rf"(?:(?<!\w)(?P<sign>[-−]))?(?P<number>{_N})"), _plain),
)
