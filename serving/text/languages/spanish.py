"""Spanish: numbers, percentages, money, times, dates, ordinals and the units after a number."""

from __future__ import annotations

import re

from num2words import num2words

from serving.text.languages.numbers import Say, ascii_digits, cardinal, each_digit, with_readings
from serving.text.words import Word

_N = r"\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d{1,3}(?:,\d{3})+\.\d+|\d+(?:[.,]\d+)?"
"""1.234,5 of Spain, 1,234.5 of America, and plain."""
_MONEY = {"€": ("euro", "euros"), "$": ("dólar", "dólares"), "£": ("libra", "libras"), "¥": ("yen", "yenes")}
_UNITS = {
    "km/h": "kilómetros por hora", "km": "kilómetros", "kg": "kilogramos", "cm": "centímetros", "mm": "milímetros",
    "ml": "mililitros", "m²": "metros cuadrados", "°C": "grados", "ºC": "grados", "m": "metros", "g": "gramos",
    "l": "litros", "h": "horas", "min": "minutos", "s": "segundos", "GB": "gigabytes", "MB": "megabytes",
}  # fmt: skip
_MONTHS = (
    "enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre",
    "diciembre",
)  # fmt: skip
_FREE = r"(?<![\w.,])"
_SIGN = r"(?P<sign>[-−])?"


def verbalise(sentence: str) -> list[Word]:
    """The words of one sentence of clean Unicode text, in order. Offsets refer to the sentence. Never raises."""
    return with_readings(ascii_digits(sentence), _READINGS, blanks=True)


def _number(text: str) -> str:
    """A number of _N."""
    mark_spoken = "coma" if re.search(r",\d+$", text) else "punto"
    if re.fullmatch(r"\d{1,3}(\.\d{3})+(,\d+)?", text):
        text = text.replace(".", "").replace(",", ".")
    elif re.fullmatch(r"\d{1,3}(,\d{3})+\.\d+", text):
        text = text.replace(",", "")
    whole, mark, rest = text.replace(",", ".").partition(".")
    spoken = cardinal(whole, "es")
    if not mark:
        return spoken
    return f"{spoken} {mark_spoken} {cardinal(rest, 'es')}"


def _before_noun(spoken: str, *, feminine: bool = False) -> str:
    """A number as it stands before a noun: "un", "veintiún", "una"."""
    if feminine:
        return re.sub(r"uno$", "una", spoken).replace("cientos", "cientas")
    return re.sub(r"veintiuno$", "veintiún", re.sub(r"(?<!i)uno$", "un", spoken))


def _sign(match: re.Match[str]) -> str:
    return "menos " if match["sign"] else ""


def _date(match: re.Match[str]) -> str | None:
    day, month = int(match["day"]), int(match["month"])
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return None
    return f"{cardinal(str(day), 'es')} de {_MONTHS[month - 1]} de {cardinal(match['year'], 'es')}"


def _time(match: re.Match[str]) -> str | None:
    hour, minute = int(match["hour"]), int(match["minute"])
    if hour > 24 or minute > 59:
        return None
    spoken = _before_noun(cardinal(str(hour), "es"), feminine=True)
    return f"{spoken} y {cardinal(str(minute), 'es')}" if minute else f"{spoken} en punto"


def _money(match: re.Match[str]) -> str:
    amount, sign = match["after"] or match["before"], match["mark"] or match["mark2"]
    one, many = _MONEY[sign]
    whole, cents = amount, ""
    if parts := re.fullmatch(r"(.*)[.,](\d\d)", amount):
        whole, cents = parts.groups()
    spoken = _before_noun(_number(whole), feminine=many == "libras")
    noun = one if whole == "1" else many
    of = " de" if re.search(r"(?:millón|millones|billón|billones)$", spoken) else ""
    said = f"{spoken}{of} {noun}"
    return f"{said} con {cardinal(str(int(cents)), 'es')}" if cents.strip("0") else said


def _percent(match: re.Match[str]) -> str:
    return f"{_sign(match)}{_number(match['number'])} por ciento"


def _unit(match: re.Match[str]) -> str:
    unit = _UNITS[match["unit"]]
    number = match["number"]
    if number == "1":
        unit = " ".join([unit.split()[0].removesuffix("s"), *unit.split()[1:]])
    feminine = unit.startswith("hora")
    return f"{_sign(match)}{_before_noun(_number(number), feminine=feminine)} {unit}"


def _ordinal(match: re.Match[str]) -> str | None:
    if int(match["number"]) > 100 or not int(match["number"]):
        return None
    spoken = str(num2words(int(match["number"]), lang="es", to="ordinal"))
    return re.sub(r"o\b", "a", spoken) if match["gender"] in "ªa" else spoken


def _plain(match: re.Match[str]) -> str:
    return _sign(match) + _number(match["number"])


def _code(match: re.Match[str]) -> str:
    return ", ".join(each_digit(part, "es") for part in re.findall(r"\d+", match.group()))


_READINGS: tuple[tuple[re.Pattern[str], Say], ...] = (
    (re.compile(rf"{_FREE}(?P<day>\d\d?)[/.-](?P<month>\d\d?)[/.-](?P<year>\d{{4}})(?!\d)"), _date),
    (re.compile(rf"{_FREE}(?P<hour>\d\d?):(?P<minute>\d\d)(?![\d:])(?:\s?h\b)?"), _time),
    (re.compile(rf"{_FREE}\+?\d+(?:[ -]\d{{2,4}}){{2,}}(?!\w)"), _code),
    (re.compile(rf"(?P<mark>[€$£¥])\s?(?P<after>{_N})|{_FREE}(?P<before>{_N})\s?(?P<mark2>[€$£¥])"), _money),
    (re.compile(rf"{_FREE}{_SIGN}(?P<number>{_N})\s?%"), _percent),
    (re.compile(rf"{_FREE}(?P<number>\d+)\.?(?P<gender>[ºª°])(?!C)"), _ordinal),
    (
        re.compile(
            rf"{_FREE}{_SIGN}(?P<number>{_N})\s?(?P<unit>{'|'.join(map(re.escape, _UNITS))})(?![\w²])"
        ),
        _unit,
    ),
    (re.compile(rf"(?:(?<!\w){_SIGN})?(?P<number>{_N})"), _plain),
)
