"""Words as they are spoken: one normalisation for the text of a request and for what a recogniser wrote."""

from __future__ import annotations

import re

import jiwer

_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
_WORDS = {
    "mr": "mister", "mrs": "missus", "dr": "doctor", "st": "street", "vs": "versus", "etc": "et cetera",
    "ok": "okay", "metre": "meter", "metres": "meters", "colour": "color", "grey": "gray", "km": "kilometers",
    "kg": "kilograms", "theatre": "theater", "centre": "center",
}  # fmt: skip

MOST_DIGITS = 15
"""Of a number; what has more is read digit by digit."""
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"


def normalise(text: str) -> str:
    """The one normalisation, for the text of a request and its transcript: lower-case words, no punctuation.

    Digits become words (years and other four-digit numbers in pairs), as do money, per cent, clock times and
    a few abbreviations; the day after a month is an ordinal; a few British spellings become American;
    apostrophes vanish, hyphens part words.
    """
    text = text.lower().replace("’", "'")
    text = re.sub(r"(\d),(?=\d{3}\b)", r"\1", text)
    text = re.sub(r"(\d{1,2})[:.](\d\d)\s*([ap])\.?m\b\.?", r"\1 \2 \3m", text)
    text = re.sub(r"\b([ap])\.m\b\.?", r"\1m", text)
    text = re.sub(r"(\d)([ap]m)\b", r"\1 \2", text)
    text = re.sub(r"(\d{1,2}):(\d\d)", r"\1 \2", text)
    text = re.sub(r"\$(\d+)\.(\d\d)\b", r"\1 dollars and \2 cents", text)
    text = re.sub(r"\$(\d+)", r"\1 dollars", text)
    text = text.replace("%", " percent").replace("&", " and ").replace("per cent", "percent")
    text = re.sub(r"(\d+)\.(\d+)", lambda m: f"{m[1]} point {' '.join(m[2])}", text)
    text = re.sub(rf"\b({_MONTHS}) (\d{{1,2}})\b", r"\1 \2th", text)
    text = re.sub(r"\b(\d+)(?:st|nd|rd|th)\b", lambda m: f" {_ordinal(int(m[1]))} ", text)
    text = re.sub(r"\d+", lambda m: f" {_digits(m[0])} ", text)
    words = re.sub(r"[^a-z ]", " ", text.replace("'", "")).split()
    return " ".join(_WORDS.get(word, word) for word in words)


def word_error_rate(reference: str, hypothesis: str) -> float:
    """(substitutions + deletions + insertions) / words of the reference, both normalised; may exceed 1."""
    return float(jiwer.wer(normalise(reference), normalise(hypothesis)))


def letter_error_rate(reference: str, hypothesis: str) -> float:
    """Letters wrong per letter of the text, both normalised: what was misheard is alike, other words are not."""
    return float(jiwer.cer(normalise(reference), normalise(hypothesis)))


def _cardinal(number: int) -> str:
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f" {_ONES[ones]}" if ones else "")
    for size, name in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= size:
            head, rest = divmod(number, size)
            return f"{_cardinal(head)} {name}" + (f" {_cardinal(rest)}" if rest else "")
    raise AssertionError("unreachable")


def _ordinal(number: int) -> str:
    *head, last = _cardinal(number).split()
    last = last[:-1] + "ieth" if last.endswith("y") else _ORDINALS.get(last, last + "th")
    return " ".join([*head, last])


def _digits(text: str) -> str:
    """A run of digits as read aloud: 1987 in pairs, a leading zero digit by digit, others as numbers."""
    if len(text) > MOST_DIGITS:
        return " ".join(_ONES[int(digit)] for digit in text)
    number = int(text)
    if (text[0] == "0" and len(text) > 1) or len(text) > 9:
        return " ".join(_ONES[int(digit)] for digit in text)
    if 1100 <= number <= 2099 and not 2000 <= number <= 2009:
        century, rest = divmod(number, 100)
        tail = "hundred" if rest == 0 else f"oh {_ONES[rest]}" if rest < 10 else _cardinal(rest)
        return f"{_cardinal(century)} {tail}"
    return _cardinal(number)
