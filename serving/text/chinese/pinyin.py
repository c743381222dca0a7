"""Syllables of pinyin with a tone, which a text may hold in place of a character ("XING2")."""

from __future__ import annotations

import re

_FINALS_BY_INITIALS = {
    "b": "a ai an ang ao ei en eng i ian iao ie in ing o u",
    "p": "a ai an ang ao ei en eng i ian iao ie in ing o ou u",
    "m": "a ai an ang ao e ei en eng i ian iao ie in ing iu o ou u",
    "f": "a an ang ei en eng o ou u",
    "d": "a ai an ang ao e ei en eng i ia ian iao ie ing iu ong ou u uan ui un uo",
    "t": "a ai an ang ao e eng i ian iao ie ing ong ou u uan ui un uo",
    "n": "a ai an ang ao e ei en eng i ian iang iao ie in ing iu ong ou u uan uo v ve ü üe",
    "l": "a ai an ang ao e ei eng i ia ian iang iao ie in ing iu o ong ou u uan un uo v ve ü üe",
    "g k h": "a ai an ang ao e ei en eng ong ou u ua uai uan uang ui un uo",
    "j q x": "i ia ian iang iao ie in ing iong iu u uan ue un v van ve vn ü üan üe ün",
    "zh ch sh": "a ai an ang ao e ei en eng i ong ou u ua uai uan uang ui un uo",
    "r": "an ang ao e en eng i ong ou u ua uan ui un uo",
    "z c s": "a ai an ang ao e ei en eng i ong ou u uan ui un uo",
    "y": "a an ang ao e i in ing o ong ou u uan ue un",
    "w": "a ai an ang ei en eng o u",
}
_SYLLABLES = {
    initial + final
    for initials, finals in _FINALS_BY_INITIALS.items()
    for initial in initials.split()
    for final in finals.split()
} | {"a", "ai", "an", "ang", "ao", "e", "ei", "en", "er", "o", "ou", "ng"}

SYLLABLE = f"(?:{'|'.join(sorted(_SYLLABLES, key=len, reverse=True))})[1-5]"
_WORD = re.compile(f"(?:{SYLLABLE})+", re.IGNORECASE)
_SIZE = re.compile("[AEO][1-5]")
"""A paper size, a gate, a sensor; never meant as a syllable."""


def is_pinyin(word: str) -> bool:
    """Whether a word is syllables, each with its tone: "ni3hao3", "XING2"."""
    return _WORD.fullmatch(word) is not None and _SIZE.fullmatch(word) is None
