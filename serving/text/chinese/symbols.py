"""Signs that stand alone: what is said for them, and what is passed over."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from serving.text.chinese.characters import HAN
from serving.text.chinese.dates import Reading
from serving.text.chinese.numbers import number

_LETTER = re.compile(f"[{HAN}]")
_SPOKEN = {
    "%": "百分号", "‰": "千分号", "℃": "摄氏度", "℉": "华氏度", "°": "度", "№": "号", "π": "派",
    "∞": "无穷大", "㎡": "平方米", "≈": "约等于", "≠": "不等于", "≤": "小于等于", "≥": "大于等于",
    "±": "正负", "÷": "除以", "×": "乘", "√": "根号", "℅": "转交", "¥": "元", "￥": "元", "€": "欧元",
    "£": "英镑", "￡": "英镑", "$": "美元", "²": "平方", "³": "立方",
}  # fmt: skip
_JOINING = {"+": "加", "=": "等于", ">": "大于", "<": "小于", "&": "和", "@": "艾特"}
"""Said between two words only."""
_PAUSES = frozenset("/|→⇒➡⟶•●‖／")
_KEPT = frozenset(",.!?;:'\"()[]{}-~…—–·，。！？；：、“”‘’（）《》〈〉【】「」『』〔〕～﹏ˉ\u3000 ")
_PASSED_OVER = frozenset("#*_`^\\{}=+<>&@$|")
_FRACTION_SLASH = "\u2044"


def read_symbol(text: str, at: int) -> Reading | None:
    """The sign at `at`, or None if it stays as it is written. What has no name is passed over."""
    char, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    if char in "/／" or char in _PAUSES:
        pause = "、" if (_is_han(before) and _is_han(after)) or char not in "/／" else " "
        return at + 1, pause
    if char in _JOINING:
        left, right = text[max(0, at - 2) : at].strip()[-1:], text[at + 1 : at + 3].strip()[:1]
        joined = (_is_word(left) and _is_word(right)) or (char == "@" and _is_word(right))
        return at + 1, _JOINING[char] if joined else " "
    if char in _SPOKEN:
        return at + 1, _SPOKEN[char]
    if char in _KEPT and char not in _PASSED_OVER:
        return None
    return at + 1, _name(char)


def _is_han(char: str) -> bool:
    return _LETTER.match(char) is not None


def _is_word(char: str) -> bool:
    return char.isalnum()


@lru_cache(maxsize=4096)
def _name(char: str) -> str:
    """① is 一, ½ is 二分之一, Ⅲ is 三; an emoji, a control character or a dingbat is nothing."""
    value = unicodedata.numeric(char, None)
    if value is None:
        return " "
    written = unicodedata.normalize("NFKC", char)
    if _FRACTION_SLASH in written and written[0] != _FRACTION_SLASH:
        numerator, _, denominator = written.partition(_FRACTION_SLASH)
        return (
            f"{number(denominator)}分之{number(numerator)}" if denominator.isascii() and denominator else " "
        )
    return number(str(int(value))) if value == int(value) and value >= 0 else " "
