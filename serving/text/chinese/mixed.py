"""Which stretches of a text are English."""

from __future__ import annotations

import re
from collections.abc import Iterator

from serving.text.chinese.characters import HAN
from serving.text.chinese.pinyin import is_pinyin
from serving.text.chinese.units import UNITS

_HAN = re.compile(f"[{HAN}]")
_STRETCH = re.compile(f"[^{HAN}\u3000-\u303f\uff01-\uffef“”‘（）…—·]+")
"""Without Han characters and without their punctuation."""
_TOKEN = re.compile(r"\S+")
_LETTER = re.compile("[A-Za-z]")
_PUNCTUATION = "\"'()[]{}.,;:!?"
_LOWER_CASE = re.compile(r"[a-z]{2,}(?:['’-][a-z]+)*")
_MANY_WORDS = 5
_UNREADABLE = re.compile(r"[\d$€£¥%&@/+=#*<>^_|\\~]")
"""Without any of these a phrase can stay as it is written."""
_LEADING = re.compile(r"[\s,;:.!?)\]}-]*")
_WEB = re.compile(
    r"(?:https?://|www\.)[^\s<>\"']{1,400}[\w/]"
    r"|[\w.+-]{1,64}@\w[\w-]{0,62}(?:\.[A-Za-z][\w-]{0,62}){1,4}"
    r"|(?<![\w.])(?:[A-Za-z0-9][\w-]{0,62}\.){1,3}(?:com|cn|org|net|io|ai|gov|edu|dev|app|tv|me)(?:/[^\s<>\"']{0,400}[\w/])?(?![\w])",
    re.ASCII,
)


def english_stretches(text: str) -> Iterator[tuple[int, int]]:
    """Yield [start, end) of what is read as English within a text: phrases, with the numbers that stand in them,
    and addresses. Words that stand alone among Chinese, and names ("Windows 11 Pro"), are none."""
    for stretch in _STRETCH.finditer(text):
        found = _phrase(stretch.group(), _is_han(text, stretch.start() - 1), _is_han(text, stretch.end()))
        if found is not None:
            start, end = stretch.start() + found[0], stretch.start() + found[1]
            yield start, end
            continue
        for address in _WEB.finditer(text, stretch.start(), stretch.end()):
            yield address.start(), address.end()


def _phrase(stretch: str, after_han: bool, before_han: bool) -> tuple[int, int] | None:
    """[start, end) of the English in a stretch."""
    words = []
    prose = False
    for token in _TOKEN.finditer(stretch):
        word = token.group().strip(_PUNCTUATION)
        if _LETTER.search(word) and not is_pinyin(word):
            words.append(token)
            prose = prose or (_LOWER_CASE.fullmatch(word) is not None and word not in UNITS)
    if not _UNREADABLE.search(stretch) or is_mostly_pinyin(stretch):
        return None
    counted = prose and not after_han and words[0].start() > 0
    if not counted and (len(words) < 2 or not (prose or len(words) >= _MANY_WORDS)):
        return None
    leading = _LEADING.match(stretch)
    start, end = leading.end() if leading else 0, len(stretch)
    # A number that touches a Chinese character is Chinese.
    if after_han and stretch[0].isdigit():
        start = words[0].start()
    if before_han and stretch[-1].isdigit() and words[-1].end() != end:
        end = words[-1].end()
    while end > start and stretch[end - 1].isspace():
        end -= 1
    return start, end


def _is_han(text: str, at: int) -> bool:
    return 0 <= at < len(text) and _HAN.match(text, at) is not None


def is_mostly_pinyin(text: str) -> bool:
    """Whether more than half of the words are pinyin with tones."""
    words = re.findall(r"[A-Za-z][A-Za-z0-9]*", text)
    return 2 * sum(map(is_pinyin, words)) > len(words)
