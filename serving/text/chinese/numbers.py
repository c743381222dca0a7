"""Numbers in Chinese characters."""

from __future__ import annotations

import re

NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?)"
"""A number as it is written: thousands may be marked off."""
PRICE = r"(?:\d{1,3}(?:[,， ]\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?)"
"""With marks of full width and blanks too, which in other numbers are those of a list."""

MAX_CARDINAL_DIGITS = 16
"""A longer number is read digit by digit."""

_DIGITS = "零一二三四五六七八九"
_PLACES = ("", "十", "百", "千")
_GROUPS = ("", "万", "亿", "万亿")
_TELEPHONE = str.maketrans("0123456789", "零幺二三四五六七八九")
_PLAIN = str.maketrans("0123456789", _DIGITS)


def digits(text: str) -> str:
    """ "2024" is 二零二四. What is no digit stays."""
    return text.translate(_PLAIN)


def code(text: str) -> str:
    """Digits as in a telephone number or a code: 1 is 幺. What is no digit is left out."""
    return re.sub(r"\D+", "", text).translate(_TELEPHONE)


def cardinal(text: str) -> str:
    """ASCII digits as a quantity. Digit by digit where they begin with a zero or are too many."""
    if len(text) > MAX_CARDINAL_DIGITS or (text.startswith("0") and len(text) > 1):
        return digits(text)
    if not int(text):
        return "零"
    spoken, gap = "", False
    groups = (len(text) + 3) // 4
    padded = text.zfill(4 * groups)
    for index in range(groups):
        group = padded[4 * index : 4 * index + 4]
        if group == "0000":
            gap = gap or bool(spoken)
            continue
        if spoken and (gap or group[0] == "0"):
            spoken += "零"
        spoken += _group(group) + _GROUPS[groups - 1 - index]
        gap = False
    if spoken.startswith("一十"):
        return spoken[1:]
    if spoken[0] == "二" and spoken[1:2] in ("百", "千", "万", "亿"):
        return "两" + spoken[1:]
    return spoken


def number(text: str) -> str:
    """A match of NUMBER or PRICE as a quantity, its decimals one by one."""
    whole, point, decimals = re.sub("[,， ]", "", text).partition(".")
    return f"{cardinal(whole)}点{digits(decimals)}" if point else cardinal(whole)


def _group(group: str) -> str:
    """Four digits, of which one at least is not zero."""
    spoken = ""
    for place, digit in enumerate(group):
        if digit != "0":
            spoken += _DIGITS[int(digit)] + _PLACES[3 - place]
        elif spoken and spoken[-1] != "零" and group[place:].strip("0"):
            spoken += "零"
    return spoken
