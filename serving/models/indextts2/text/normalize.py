"""Words to what the tokenizer reads: punctuation mapped, pinyin spelled its way, CJK spaced, upper case."""

from __future__ import annotations

import re

from serving.text.chinese.pinyin import is_pinyin

_IS = re.compile(
    r"(?<![A-Za-z])(what|where|who|which|how|t?here|it|s?he|that|this)['’]s(?![A-Za-z])"
    r"(\s+(?:(?:already|always|also|just|never|not|only|recently|since|long|now|really|all)\s+)?"
    r"(?:been|had|got|gotten|become|begun|come|happened|rained|snowed|grown|risen|fallen)\b)?",
    re.IGNORECASE,
)
"""A contraction, which the vocabulary knows in its long form: of "has" before some participles, else of "is"."""

_WORD = re.compile(r"[A-Za-zÜü]+[1-5](?:[A-Za-zÜü]+[1-5])*")
_ROUNDED = re.compile("([JQX])[UÜ]")
"""After j, q and x, u is written for ü; the vocabulary's pinyin writes v."""

_PUNCTUATION = {
    **dict.fromkeys(("...", ",,,", "，，，", "……"), "…"),
    **dict.fromkeys("：；;，、:", ","),
    **dict.fromkeys('“”"‘’（）()《》〈〉【】[]「」『』〔〕{}', "'"),
    **dict.fromkeys("·—–～~", "-"),
    "。": ".",
    "！": "!",
    "？": "?",
    "\n": " ",
}
_MARKS = re.compile("|".join(map(re.escape, _PUNCTUATION)))

_SPACED = re.compile(
    "([\u1100-\u11ff\u2e80-\ua4cf\ua840-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff65-\uffdc\U00020000-\U0002ffff])"
)


def to_vocabulary(spoken: str) -> str:
    """Words as they are spoken with the contractions, the pinyin and the punctuation that the tokenizer knows."""
    text = _IS.sub(lambda match: f"{match[1]} {'has' if match[2] else 'is'}{match[2] or ''}", spoken)
    return map_marks(_WORD.sub(_spell_pinyin, text))


def map_marks(text: str) -> str:
    """The punctuation that the vocabulary was trained with, for that of all kinds."""
    return _MARKS.sub(lambda mark: _PUNCTUATION[mark.group()], text)


def prepare(text: str) -> str:
    """Space CJK characters and raise letters, as the vocabulary was trained."""
    parts = (part.strip() for part in _SPACED.split(text.strip()))
    return " ".join(part.upper() for part in parts if part)


def _spell_pinyin(match: re.Match[str]) -> str:
    word = match.group()
    return _ROUNDED.sub(r"\1V", word.upper()) if is_pinyin(word) else word
