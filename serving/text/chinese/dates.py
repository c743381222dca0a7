"""Dates, years and times of day."""

from __future__ import annotations

import re

from serving.text.chinese.numbers import cardinal, digits

Reading = tuple[int, str]
"""Where what was read ends in the text, and how it is spoken."""

_TO = r"\s?(?:[-~–—～−至到]|--)\s?"
_DATE = re.compile(
    r"([12]\d{3})([-/.])(0?[1-9]|1[0-2])\2(0?[1-9]|[12]\d|3[01])(?!\d|[-/.]\d)日?"
    r"|((?:19|20)\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?![\d.])(?!元|人|[个万亿])"
)
_YEAR_MONTH = re.compile(r"((?:19|20)\d\d)-(0[1-9]|1[0-2])(?![\d-])")
_MONTH_DAY = re.compile(
    r"(0[1-9]|1[0-2])/(0[1-9]|[12]\d|3[01])(?![\d/])|([1-9]|1[0-2])/(0?1)(?=[^\d/.\s%]|\s?\Z)"
    r"|([1-9]|1[0-2])/([1-9]|[12]\d|3[01])(?=日?(?:放假|上班|开[业会学幕]|截止|上线|前|之前|起|活动|生日|大促))"
)
"""A denominator of one is none."""
_YEAR = re.compile(
    r"([12]\d{3}|0\d)(?=年(?!历史|之久|[多来]))|([4-9]\d)(?=年(?:出生|生[人的]|[初底末春夏秋冬]))"
)
_YEARS = re.compile(
    rf"([12]\d{{3}})({_TO})([12]\d{{3}}|\d\d)(?=年|学年|赛季|财年)|((?:19|20)\d\d)({_TO})((?:19|20)\d\d)(?!\d)"
)
_QUARTER = re.compile(r"((?:19|20)\d\d)(?=[QH][1-4])")
_SEASON = re.compile(r"((?:19|20)\d\d)/((?:19|20)?\d\d)(?=赛季|学年|财年)")
_DECADE = re.compile(
    r"([12]\d{2}0)['’]?s(?![A-Za-z])(?:年代)?|([1-9]0)['’]?s(?=年代|的?(?:音乐|歌|风|复古|老|经典|电影))(?:年代)?"
)
_GENERATION = re.compile(r"([0-9][05])(?=后(?!来|面|天|续))")
_CLOCK = r"([01]?\d|2[0-4])[:：]([0-5]\d)(?:[:：]([0-5]\d))?(?![\d:：])"
_TIME = re.compile(rf"{_CLOCK}(?:\s?([AaPp])\.?[Mm]\.?(?![A-Za-z]))?")
_TIMES = re.compile(_TO + _CLOCK)
_DATE_TIME = re.compile(r"[ T]?(?=(?:[01]?\d|2[0-4]):[0-5]\d)")
_SCORE = re.compile(r"(?:比分|以|比例|领先|战平|落后|告负|比|配比|为)[为是：:\s]{0,2}\Z")
_ORDINAL_HALF = re.compile(r"(?:上午|下午|早上|晚上|中午|凌晨|傍晚)\s?\Z")


def read_date(text: str, at: int) -> Reading | None:
    """2024-03-05, 2024/3/5, 20240305, 2024-03, 12/25."""
    if match := _DATE.match(text, at):
        year, month, day = match[1] or match[5], match[3] or match[6], match[4] or match[7]
        spoken = f"{digits(year)}年{cardinal(str(int(month)))}月{cardinal(str(int(day)))}日"
        following = _DATE_TIME.match(text, match.end())
        return following.end() if following else match.end(), spoken
    if match := _YEAR_MONTH.match(text, at):
        return match.end(), f"{digits(match[1])}年{cardinal(str(int(match[2])))}月"
    if match := _MONTH_DAY.match(text, at):
        month, day = match[1] or match[3] or match[5], match[2] or match[4] or match[6]
        return match.end(), f"{cardinal(str(int(month)))}月{cardinal(str(int(day)))}日"
    return None


def read_year(text: str, at: int) -> Reading | None:
    """A year before 年, two years, a decade, a generation (90后)."""
    if match := _YEARS.match(text, at):
        first, last = match[1] or match[4], match[3] or match[6]
        return match.end(), f"{digits(first)}到{digits(last)}"
    if match := _SEASON.match(text, at):
        return match.end(), f"{digits(match[1])}到{digits(match[2])}"
    if match := _YEAR.match(text, at) or _QUARTER.match(text, at):
        return match.end(), digits(match.group())
    if match := _DECADE.match(text, at):
        return match.end(), f"{digits(match[1]) if match[1] else cardinal(match[2])}年代"
    if match := _GENERATION.match(text, at):
        return match.end(), digits(match[1])
    return None


def read_time(text: str, at: int) -> Reading | None:
    """8:05, 20:30:15, 3:30pm, 9:00-18:00. Not what is a score by the word before it."""
    match = _TIME.match(text, at)
    if match is None or _SCORE.search(text, max(0, at - 6), at):
        return None
    spoken = _clock(match[1], match[2], match[3])
    if match[4] and not _ORDINAL_HALF.search(text, max(0, at - 4), at):
        spoken = ("上午" if match[4] in "Aa" else "下午") + spoken
    if until := _TIMES.match(text, match.end()):
        return until.end(), f"{spoken}到{_clock(until[1], until[2], until[3])}"
    return match.end(), spoken


def _clock(hour: str, minute: str, second: str | None) -> str:
    hours = "两" if int(hour) == 2 else cardinal(str(int(hour)))
    if second == "00":
        second = None
    if second is None and minute == "00":
        return f"{hours}点"
    minutes = "零分" if minute == "00" else f"{cardinal(minute) if minute[0] != '0' else digits(minute)}分"
    if second is None:
        return f"{hours}点{minutes}"
    seconds = cardinal(second) if second[0] != "0" else digits(second)
    return f"{hours}点{minutes}{seconds}秒"
