"""SSML's say-as: what is written so that the words step reads it as it was asked to."""

from __future__ import annotations

import re

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_NUMBERS = re.compile(r"\d+")
_INTEGER = re.compile(r"\s*([+-]?)(\d{1,30})\s*")
_DATE_ORDER = {"m": "month", "d": "day", "y": "year"}


def say_as(interpret_as: str, date_format: str, text: str) -> str:
    """`text` rewritten. Where it is not of the kind that is named, or the kind is unknown, it stays."""
    match interpret_as.strip().lower():
        case "characters" | "spell-out" | "verbatim" | "letters":
            return " ".join(char.upper() for char in text if not char.isspace())
        case "digits" | "telephone":
            return _digits(text)
        case "cardinal" | "number" if number := _INTEGER.fullmatch(text):
            return f"{number[1]}{int(number[2]):,}"
        case "ordinal" if number := _INTEGER.fullmatch(text):
            return f"{int(number[2])}{_ordinal_suffix(int(number[2]))}"
        case "date":
            return _date(text, date_format or "mdy")
    return text


def _digits(text: str) -> str:
    """Digits one by one; a plus sign stays, other signs part groups."""
    groups = re.findall(r"\+|\d+|[^\W\d_]+", text)
    return ", ".join(" ".join(group) if group.isdigit() else group for group in groups).replace("+, ", "+")


def _ordinal_suffix(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def _date(text: str, order: str) -> str:
    numbers = _NUMBERS.findall(text)
    if len(numbers) == 3 and len(numbers[0]) == 4:
        order = "ymd"
    names = [_DATE_ORDER[letter] for letter in order.lower() if letter in _DATE_ORDER]
    if len(names) != len(numbers) or not numbers or re.search(r"[^\W\d_]", text):
        return text
    parts = dict(zip(names, numbers, strict=True))
    month = int(parts["month"]) if "month" in parts and len(parts["month"]) < 3 else 0
    if not 1 <= month <= 12:
        return text
    written = _MONTHS[month - 1]
    if "day" in parts:
        written += f" {int(parts['day'][:4])}"
    if "year" in parts:
        written += f", {parts['year']}" if "day" in parts else f" {parts['year']}"
    return written
