"""Text to what the tokenizer reads: numbers and dates in words, punctuation mapped, CJK spaced, upper case.

The normaliser is wetext, whose grammars come inside its package. What it would spoil is hidden from it:
pinyin with a tone, foreign names in CJK script joined by a dot, hyphens of technical terms.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

_LOCK = threading.Lock()
"""The grammars' runtime promises nothing on threads."""

_CJK = re.compile("[\u4e00-\u9fff]")
_LATIN = re.compile("[A-Za-z]")
_EMAIL = re.compile(r"[A-Za-z0-9]+@[A-Za-z0-9]+\.[A-Za-z]+$")
_IS_CONTRACTED = re.compile(r"\b(what|where|who|which|how|there|here|it|she|he|that|this)'s", re.IGNORECASE)

_INITIALS = "zh ch sh b p m f d t n l g k h j q x z c s r y w"
_FINALS = (
    "iang iong uang vang üang ang eng ing ong ian iao uai uan van üan an en in un vn ün ai ei ao ou ia ie iu "
    "ua ui uo ue ve üe a e i o u v ü"
)
_PINYIN = re.compile(
    f"(?<![a-z])((?:(?:{_INITIALS.replace(' ', '|')})?(?:{_FINALS.replace(' ', '|')})|ng|er)[1-5])",
    re.IGNORECASE,
)
_ROUNDED = re.compile("([jqx])[uü]", re.IGNORECASE)
"""After j, q and x, u is written for ü; the vocabulary's pinyin writes v."""
_JOINED_NAME = re.compile("[\u4e00-\u9fff]+(?:[-·—][\u4e00-\u9fff]+){1,2}")
_TERM = re.compile("[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)+")

_PUNCTUATION = {
    **dict.fromkeys(("...", ",,,", "……"), "…"),
    **dict.fromkeys("：；;，、:", ","),
    **dict.fromkeys('“”"‘’（）()《》【】[]「」', "'"),
    **dict.fromkeys("·—～~", "-"),
    "。": ".",
    "！": "!",
    "？": "?",
    "\n": " ",
}
_MARKS = re.compile("|".join(map(re.escape, _PUNCTUATION)))

_SPACED = re.compile(
    "([\u1100-\u11ff\u2e80-\ua4cf\ua840-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff65-\uffdc\U00020000-\U0002ffff])"
)


def is_chinese(text: str) -> bool:
    """Whether the Chinese normaliser reads it: it holds CJK or pinyin or no Latin letter, or is an e-mail."""
    if _CJK.search(text) or not _LATIN.search(text) or _EMAIL.match(text):
        return True
    return _PINYIN.search(text) is not None


def normalize(text: str) -> str:
    """Spell out what is not words and map punctuation to the tokenizer's."""
    text = _IS_CONTRACTED.sub(r"\1 is", text)
    hidden: dict[str, str] = {}
    if is_chinese(text):
        text = _hide(_PINYIN, "p", text.rstrip(), hidden, _spell_pinyin)
        text = _hide(_JOINED_NAME, "n", text, hidden, str)
        text = _spell(text, "zh").replace("$", ".")
    else:
        text = _spell(text, "en")
    for placeholder, original in hidden.items():
        text = text.replace(placeholder, original)
    return _MARKS.sub(lambda mark: _PUNCTUATION[mark.group()], text)


def prepare(text: str) -> str:
    """Space CJK characters and raise letters, as the vocabulary was trained."""
    parts = (part.strip() for part in _SPACED.split(text.strip()))
    return " ".join(part.upper() for part in parts if part)


def _spell(text: str, language: str) -> str:
    """Run the normaliser with the hyphens of technical terms hidden, so that none is read as a minus."""
    text = _TERM.sub(lambda term: term.group().replace("-", "<H>"), text)
    with _LOCK:
        spelled = _normalizer(language).normalize(text)
    return re.sub(r"\s*<H>\s*", "-", spelled)


@cache
def _normalizer(language: str) -> Any:
    from wetext import Normalizer

    return Normalizer(lang=language, operator="tn")


def _spell_pinyin(pinyin: str) -> str:
    return _ROUNDED.sub(r"\1v", pinyin).upper()


def _hide(
    pattern: re.Pattern[str], kind: str, text: str, hidden: dict[str, str], spell: Callable[[str], str]
) -> str:
    """Put placeholders, which the normaliser leaves as they are, for the pattern's matches."""

    def placeholder(match: re.Match[str]) -> str:
        number, letters = len(hidden), ""
        while number >= 0:
            letters = chr(ord("a") + number % 26) + letters
            number = number // 26 - 1
        name = f"<{kind}_{letters}>"
        hidden[name] = spell(match.group())
        return name

    return pattern.sub(placeholder, text)
