"""Marks of our own, in every format: `[pause 0.5s]`, `[pause 300ms]` and `[word](/phonemes/)`."""

from __future__ import annotations

import re

MAX_PAUSE_S = 10.0
"""Longest pause that one mark or tag can ask for."""

_DURATION = r"(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6}) ?(s|ms|sec|seconds?|milliseconds?)?"
_MARK = re.compile(
    rf"\[(?i:pause|break)[ :=]+{_DURATION}\]"
    r"|\[([^\[\]\n]{1,200})\]\(/([^/\n()\d.?#%&=_\\]{1,200})/\)"
)
_TIME = re.compile(rf"\s*\+?{_DURATION}\s*")


def find_mark(text: str, start: int, end: int) -> re.Match[str] | None:
    """The first mark in text[start:end]: read it with pause_of and phonemes_of."""
    return _MARK.search(text, start, end)


def match_mark(text: str, start: int) -> re.Match[str] | None:
    """The mark that begins at `start`."""
    return _MARK.match(text, start)


def pause_of(mark: re.Match[str]) -> float | None:
    """Seconds, if the mark is a pause."""
    return _seconds(mark[1], mark[2]) if mark[1] else None


def phonemes_of(mark: re.Match[str]) -> tuple[int, int, str]:
    """Where the word of a phoneme mark stands, [start, end), and its phonemes."""
    return mark.start(3), mark.end(3), mark[4].strip()


def parse_duration(text: str) -> float | None:
    """Seconds of "1s", "250ms" or "0.5", as break tags write them, at most MAX_PAUSE_S."""
    match = _TIME.fullmatch(text)
    return _seconds(match[1], match[2]) if match else None


def _seconds(number: str, unit: str | None) -> float:
    scale = 1e-3 if unit is not None and unit.startswith("m") else 1.0
    return min(float(number) * scale, MAX_PAUSE_S)
