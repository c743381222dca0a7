"""Japanese: numbers in kanji, and the dates, times, money, percentages and units around them."""

from __future__ import annotations

import re

from serving.text.languages.numbers import Say, ascii_digits, cardinal, each_digit, with_readings
from serving.text.words import Word

_N = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_MONEY = {"¥": "円", "￥": "円", "$": "ドル", "€": "ユーロ", "£": "ポンド"}
_UNITS = {
    "km/h": "キロメートル毎時", "km": "キロメートル", "kg": "キログラム", "cm": "センチメートル", "mm": "ミリメートル",
    "ml": "ミリリットル", "m": "メートル", "g": "グラム", "L": "リットル", "℃": "度", "°C": "度", "GB": "ギガバイト",
    "MB": "メガバイト", "%": "パーセント", "％": "パーセント",
}  # fmt: skip
_FREE = r"(?<![\d.,])"


def verbalise(sentence: str) -> list[Word]:
    """The words of one sentence of clean Unicode text, in order; a word is what stands between blanks.

    Offsets refer to the sentence. Never raises.
    """
    return with_readings(ascii_digits(sentence), _READINGS, blanks=False)


def _number(text: str) -> str:
    whole, mark, rest = text.replace(",", "").partition(".")
    spoken = _whole(whole)
    return f"{spoken}点{_each(rest)}" if mark else spoken


def _whole(digits: str) -> str:
    return cardinal(digits, "ja").replace(" ", "")


def _each(digits: str) -> str:
    return each_digit(digits, "ja").replace(" ", "")


def _date(match: re.Match[str]) -> str | None:
    month, day = int(match["month"]), int(match["day"])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return f"{_whole(match['year'])}年{_whole(str(month))}月{_whole(str(day))}日"


def _time(match: re.Match[str]) -> str | None:
    hour, minute = int(match["hour"]), int(match["minute"])
    if hour > 24 or minute > 59:
        return None
    return f"{_whole(str(hour))}時" + (f"{_whole(str(minute))}分" if minute else "")


def _money(match: re.Match[str]) -> str:
    return _number(match["number"]) + _MONEY[match["mark"]]


def _unit(match: re.Match[str]) -> str:
    minus = "マイナス" if match["sign"] else ""
    return minus + _number(match["number"]) + _UNITS[match["unit"]]


def _code(match: re.Match[str]) -> str:
    return "の".join(map(_each, re.findall(r"\d+", match.group())))


def _plain(match: re.Match[str]) -> str:
    return ("マイナス" if match["sign"] else "") + _number(match["number"])


_READINGS: tuple[tuple[re.Pattern[str], Say], ...] = (
    (re.compile(rf"{_FREE}(?P<year>\d{{4}})[/-](?P<month>\d\d?)[/-](?P<day>\d\d?)(?!\d)"), _date),
    (re.compile(rf"{_FREE}(?P<hour>\d\d?):(?P<minute>\d\d)(?![\d:])"), _time),
    (re.compile(rf"{_FREE}0\d+(?:-\d+){{1,3}}(?!\d)"), _code),
    (re.compile(rf"(?P<mark>[¥￥$€£])\s?(?P<number>{_N})"), _money),
    (
        re.compile(
            rf"{_FREE}(?P<sign>[-−])?(?P<number>{_N})\s?(?P<unit>{'|'.join(map(re.escape, _UNITS))})(?![a-zA-Z])"
        ),
        _unit,
    ),
    (re.compile(rf"(?:(?<![\w)])(?P<sign>[-−]))?(?P<number>{_N})"), _plain),
)
