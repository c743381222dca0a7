"""Letters that a voice's language has no sounds for, and punctuation of other scripts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from serving.text.markup.marks import find_mark, pause_of
from serving.text.source import SourceText

MAX_GREEK_LETTERS = 3
"""A longer run of Greek letters is a Greek word; a shorter one is named letter by letter."""

_SPOKEN: dict[str, frozenset[str]] = {
    "en": frozenset(("Latin",)),
    "zh": frozenset(("Latin", "Han", "Bopomofo")),
    "ja": frozenset(("Latin", "Han", "Hiragana", "Katakana")),
    "ko": frozenset(("Latin", "Han", "Hangul")),
}
"""Scripts by language. Nothing is foreign to a language that is not here."""
_IDEOGRAPHIC = frozenset(("zh", "ja", "ko"))

_HAN = re.compile("[\u3400-\u9fff\U00020000-\U0002ffff]")
_LATIN = re.compile("[A-Za-z]")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa\u30fc\uff66-\uff9d]")
_LATIN_WORD = re.compile("[A-Za-z]+")
_ARABIC_WORD = re.compile("[\u0620-\u064a\u066e-\u06d3\u0750-\u077f]+")
_SPANISH_MARK = re.compile("[¿¡]")
_SPANISH_WORD = re.compile(
    r"\b(?:el|la|los|las|un|una|unos|unas|de|del|al|y|e|que|en|con|por|para|es|son|está|están|fue|hay|su|sus|mi"
    r"|se|lo|le|les|como|más|pero|muy|sin|sobre|este|esta|eso|esto|yo|tú|él|ella|nosotros|buenos|buenas|hola"
    r"|gracias|adiós|señor|señora|niño|niña|años?|mañana|sí|qué|cómo|cuándo|dónde|también|así|euros?|días?)\b",
    re.IGNORECASE,
)
_ENGLISH_WORD = re.compile(
    r"\b(?:the|an?|of|to|and|in|on|at|is|are|was|were|be|it|he|she|they|we|you|i|his|her|their|our|your|my|this|that"
    r"|with|for|from|by|as|not|or|but|have|has|had|will|would|can|do|does|did|there|what|who|how|when|where)\b",
    re.IGNORECASE,
)
_RUN = re.compile(r"[^\W\d_a-zA-Z]+")
_OTHER_SIGN = re.compile(r"[\da-zA-Z_]|[^\w\s.,;:!?\"'()…。、！？，：；“”‘’（）《》「」『』【】—–-]")
_NAME_END = re.compile(
    r" (?:(?:SMALL|CAPITAL|FINAL|ISOLATED|INITIAL|MEDIAL|VOWEL|MODIFIER)\b|LETTER|SYLLABLE|IDEOGRAPH).*"
)
_SPECIAL_NAMES = {"Cjk Unified": "Han", "Cjk Compatibility": "Han", "Cjk": "Han", "Ideographic": "Han"}
_HOMOGLYPHS = str.maketrans(
    "аеорсхуіјѕһԁԛԝАВЕКМНОРСТХУІЈЅΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "aeopcxyijshdqwABEKMHOPCTXYIJSABEZHIKMNOPTYXo"
)
_LETTERS = re.compile(r"[^\W\d_]+")
_LEFTOVER = re.compile(r"([\"'“‘(\[{])\s*(?:[,;:.!?\s]*)([\"'”’)\]}])")
_BLANKS = re.compile(r"\A[\s,;:.!?]+(?=[^\s,;:.!?])|(?:\s*[,;:])*\s*(?=[,;:.!?])|\s{2,}")
_WIDE_PUNCTUATION = str.maketrans(
    {
        "。": ". ", "｡": ". ", "、": ", ", "､": ", ", "！": "! ", "？": "? ", "，": ", ", "：": ": ", "；": "; ",
        "（": " (", "）": ") ", "《": ' "', "》": '" ', "〈": ' "', "〉": '" ', "「": ' "', "」": '" ', "『": ' "',
        "』": '" ', "【": " [", "】": "] ",
    }
)  # fmt: skip
_WIDE = re.compile("[" + "".join(map(chr, _WIDE_PUNCTUATION)) + "]+")


def text_language(text: str, languages: Sequence[str]) -> str:
    """Which of a model's languages a text is read in: the first, but that of what it speaks

    - Japanese is told by kana, Arabic by its letters, Spanish by its marks and its commonest words;
    - a model of Chinese and English reads a text in English if it has Latin letters, no Han and is not mostly pinyin.
      "zh" reads English within Chinese.
    """
    tags = [tag.partition("-")[0].lower() for tag in languages]
    if len(tags) > 1:
        for tag, is_in in (("ja", _is_japanese), ("ar", _is_arabic), ("es", _is_spanish)):
            if tag in tags and is_in(text):
                return tag
    if not {"zh", "en"} <= set(tags):
        return tags[0]
    from serving.text.chinese.mixed import is_mostly_pinyin

    return "zh" if _HAN.search(text) or not _LATIN.search(text) or is_mostly_pinyin(text) else "en"


def _is_japanese(text: str) -> bool:
    """Kana are a share of what a Japanese text is written in; a Chinese name may have one, an English text a word."""
    kana = len(_KANA.findall(text))
    return bool(kana) and 6 * kana >= len(_HAN.findall(text)) and kana >= len(_LATIN_WORD.findall(text))


def _is_arabic(text: str) -> bool:
    return len(_ARABIC_WORD.findall(text)) > len(_LATIN_WORD.findall(text))


def _is_spanish(text: str) -> bool:
    """Marks that no other language opens with, or more of its commonest words than of those of English."""
    if _SPANISH_MARK.search(text):
        return not _HAN.search(text)
    return len(_SPANISH_WORD.findall(text)) > len(_ENGLISH_WORD.findall(text))


def foreign_scripts(text: str, language: str) -> tuple[str, ...]:
    """Names of the scripts ("Cyrillic", "Han") of which `text` has letters that a voice of `language` cannot
    speak, in the order in which they appear. Words whose phonemes are given do not count."""
    if text.isascii() or language not in _SPOKEN:
        return ()
    names: dict[str, None] = {}
    for run in _RUN.finditer(text):
        for name in _foreign(run.group(), language):
            if name not in names and not _is_mixed_homoglyph(text, run) and not _has_phonemes(text, run):
                names[name] = None
    return tuple(names)


def drop_foreign(source: SourceText, language: str) -> tuple[SourceText, tuple[str, ...]]:
    """The sentence without the letters that foreign_scripts names, and their scripts; nothing of one that holds
    no other letter or digit. Look-alikes inside a Latin word become Latin; punctuation of East Asia becomes that
    of the language."""
    if source.text.isascii():
        return source, ()
    spoken = _SPOKEN.get(language)
    if spoken is None:
        return source, ()
    if not source.marks and (foreign := _wholly_foreign(source.text, language)):
        return source.slice(0, 0), foreign
    if language not in _IDEOGRAPHIC:
        source = _latin_punctuation(_latin_look_alikes(source))
    names: dict[str, None] = {}
    edits = []
    for run in _RUN.finditer(source.text):
        found = _foreign(run.group(), language)
        if found and not _is_marked(source, run.start()):
            names.update(dict.fromkeys(found))
            edits += _runs_of(run, language)
    source = _tidy(source.edit(edits)) if edits else source
    return source, tuple(names)


def _wholly_foreign(text: str, language: str) -> tuple[str, ...]:
    """The scripts of a text in which nothing but punctuation can be spoken; else none."""
    if _OTHER_SIGN.search(text):
        return ()
    names: dict[str, None] = {}
    for run in _RUN.findall(text):
        foreign = _foreign(run, language)
        if len(foreign) < len({script_of(char) for char in run}):
            return ()
        names.update(dict.fromkeys(foreign))
    return tuple(names)


def _foreign(run: str, language: str) -> list[str]:
    spoken = _SPOKEN[language]
    names = [script_of(char) for char in run]
    greek = sum(name == "Greek" for name in names)
    return [
        name for name in dict.fromkeys(names)
        if name and name not in spoken and not (name == "Greek" and greek <= MAX_GREEK_LETTERS)
    ]  # fmt: skip


def _runs_of(run: re.Match[str], language: str) -> list[tuple[int, int, str]]:
    foreign = set(_foreign(run.group(), language))
    edits = []
    at, end = run.start(), run.end()
    while at < end:
        stop = at
        while stop < end and (script_of(run.string[stop]) or "") in foreign:
            stop += 1
        while stop > at and stop < len(run.string) and unicodedata.category(run.string[stop]) in ("Mn", "Mc"):
            stop += 1
        if stop > at:
            edits.append((at, stop, " "))
        at = max(stop, at + 1)
    return edits


@lru_cache(maxsize=16384)
def script_of(char: str) -> str | None:
    """The script of a letter, as its Unicode name begins; None for what belongs to no one script."""
    if not unicodedata.category(char).startswith("L"):
        return None
    name = unicodedata.name(char, "")
    if not name or name.startswith(
        ("MODIFIER", "FEMININE", "MASCULINE", "MICRO", "OHM", "KELVIN", "ANGSTROM")
    ):
        return None
    start = _NAME_END.sub("", name).removeprefix("HALFWIDTH ").removeprefix("FULLWIDTH ")
    if start == name:
        start = name.split(" ")[0]
    start = re.sub(r"-.*", "", start).title()
    return _SPECIAL_NAMES.get(start, start)


def _is_marked(source: SourceText, at: int) -> bool:
    origin = source.origin_start(at)
    return any(mark.start <= origin < mark.end for mark in source.marks)


def _is_mixed_homoglyph(text: str, run: re.Match[str]) -> bool:
    around = text[max(0, run.start() - 1) : run.start()] + text[run.end() : run.end() + 1]
    latin = any(char.isascii() and char.isalpha() for char in around)
    return latin and run.group().translate(_HOMOGLYPHS).isascii()


def _has_phonemes(text: str, run: re.Match[str]) -> bool:
    start = text.rfind("[", max(0, run.start() - 200), run.start() + 1)
    mark = find_mark(text, start, len(text)) if start >= 0 else None
    return mark is not None and mark.start() == start and mark.end() >= run.end() and pause_of(mark) is None


def _latin_look_alikes(source: SourceText) -> SourceText:
    edits = []
    for match in _LETTERS.finditer(source.text):
        word = match.group()
        if not word.isascii() and any(char.isascii() for char in word):
            latin = word.translate(_HOMOGLYPHS)
            if latin != word and all(script_of(char) in ("Latin", None) for char in latin):
                edits.append((match.start(), match.end(), latin))
    return source.edit(edits)


def _latin_punctuation(source: SourceText) -> SourceText:
    edits = []
    for match in _WIDE.finditer(source.text):
        edits.append((match.start(), match.end(), match.group().translate(_WIDE_PUNCTUATION)))
    return _tidy(source.edit(edits)) if edits else source


def _tidy(source: SourceText) -> SourceText:
    """Without the empty brackets, blanks and commas that were left."""
    source = source.edit([(match.start(), match.end(), "") for match in _LEFTOVER.finditer(source.text)])
    edits = []
    for match in _BLANKS.finditer(source.text):
        between = match.group().isspace() and match.end() < len(source.text) and match.start() > 0
        between = between and source.text[match.end()] not in ",.;:!?"
        edits.append((match.start(), match.end(), " " if between else ""))
    return source.edit(edits)
