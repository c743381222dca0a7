"""English text as words to speak.

A sentence is cut into tokens; each token that is not plain prose goes through the recognisers in their order, and
the first that knows it says how it and the tokens behind it are spoken. Plain prose comes through as written.
Every recogniser looks at a bounded number of tokens, so the time is linear in the length.
"""

from __future__ import annotations

import re
import unicodedata

from serving.text.english.abbreviations import read_abbreviation, read_initial
from serving.text.english.capitals import is_shouted, read_capitals
from serving.text.english.codes import read_code, read_hyphenated, read_mixed, read_version
from serving.text.english.expressions import read_expression, read_slash
from serving.text.english.phones import read_digit_groups, read_phone
from serving.text.english.quantities.amounts import read_amount
from serving.text.english.quantities.dates import (
    read_compact_date,
    read_day,
    read_decade,
    read_month,
    read_numeric_date,
    read_weekday,
)
from serving.text.english.quantities.fractions import read_slashed
from serving.text.english.quantities.money import CURRENCIES
from serving.text.english.quantities.sizes import read_angle, read_by, read_feet, read_size
from serving.text.english.quantities.times import read_duration, read_pair, read_time, read_zone
from serving.text.english.quantities.verses import read_book, read_verses
from serving.text.english.respellings import HETERONYMS, read_heteronym, read_respelling
from serving.text.english.roman import read_roman
from serving.text.english.symbols import (
    EMOTICON,
    read_anything,
    read_citation,
    read_greek,
    read_symbols,
)
from serving.text.english.tokens import LETTER, Reading, Recogniser, Token, punctuation, tokenise
from serving.text.english.web import read_web
from serving.text.words import Word

_TILDE_RANGE = re.compile(r"(?<=[0-9%°CFKkMm$€£])~(?=[0-9$€£])")
"""Between numbers a tilde is the dash of a range; it has the dash's length, so offsets hold."""
_PROSE = re.compile(r"[A-Za-z'’–,;:!?\"“”()\u2014\s-]*[.!?…\"'”’)]*\s*")
"""Characters of a sentence that may be spoken as it is written."""
_SUSPECT = re.compile(
    r"[A-Z]{2}|[A-Z][a-z]+ I\b|\b[B-HJ-Z]\b|[-,;:!?]{2}|(?:^|\s)[-:;'’]|[-:;](?:\s|$)(?<![a-z][:;]\s)|\bI[.?!]"
    r"|\b[ivx]{2,4}\b|\b(?:vs|[Aa]ttn|etc|aka|approx|St|Dr|Mt|Mr|Mrs|Ms|Prof|Lt|Capt|Sgt|Ft|Cmdr|Cpl|Inc|Co|Corp|Ltd|Jr|Sr|Ave|Blvd|Rd|Mon|Tues?|Wed|Thurs?|Fri|Jan|Feb|Apr|Aug|Sept?|Oct|Nov|Dec"
    rf"|{'|'.join(f'[{word[0].upper()}{word[0]}]{word[1:]}' for word in sorted(HETERONYMS))})\b"
)
_PLAIN = re.compile(rf"[(\"“‘']*{LETTER}+(?:['’–-]{LETTER}+)*['’-]?[.,;:!?…)\"”'’—]*")
_LOOK_ALIKES = re.compile(r"(?<=[A-Za-z])[`´ʼ‛＇′](?=[A-Za-z])")

_NUMERIC: tuple[Recogniser, ...] = (
    read_angle,
    read_feet,
    read_size,
    read_numeric_date,
    read_decade,
    read_book,
    read_verses,
    read_time,
    read_duration,
    read_zone,
    read_day,
    read_code,
    read_phone,
    read_digit_groups,
    read_version,
    read_pair,
    read_slashed,
    read_amount,
    read_compact_date,
    read_hyphenated,
    read_expression,
    read_mixed,
)
"""For a token with a digit, or with a sign before one, in the order of precedence."""
_VERBAL: tuple[Recogniser, ...] = (
    read_month,
    read_weekday,
    read_book,
    read_abbreviation,
    read_initial,
    read_roman,
    read_heteronym,
    read_by,
)
"""For a token of letters."""
_SYMBOLIC: tuple[Recogniser, ...] = (read_amount, read_expression, read_symbols, read_slash)


def verbalise(sentence: str) -> list[Word]:
    """The words of one sentence of clean Unicode text, in order; joined with single spaces they are what is spoken.

    Offsets refer to the sentence. Never raises.
    """
    if "~" in sentence:
        sentence = _TILDE_RANGE.sub("–", sentence)
    if _PROSE.fullmatch(sentence) and not _SUSPECT.search(sentence):
        return [Word(match.group(), match.start(), match.end()) for match in re.finditer(r"\S+", sentence)]
    tokens = tokenise(_ascii_digits(sentence))
    shouted = is_shouted(tokens)
    words: list[Word] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        reading = _read(tokens, index, shouted)
        if reading is None:
            _append(words, token.text, token.start, token.end, None, token.glued)
            index += 1
            continue
        last = tokens[index + reading.used - 1]
        lead = punctuation(token.lead if reading.lead is None else reading.lead)
        trail = punctuation(last.trail if reading.trail is None else reading.trail)
        phonemes = reading.phonemes
        spoken = f"{lead}{reading.spoken}{trail}" if reading.spoken else lead + trail
        _append(words, spoken.strip(), token.start, last.end, phonemes, token.glued)
        index += reading.used
    return words


def _ascii_digits(text: str) -> str:
    """Digits of other scripts and look-alike apostrophes as ASCII, one character for one."""
    if text.isascii() and "`" not in text:
        return text
    return "".join(
        str(unicodedata.digit(symbol)) if symbol.isdecimal() and not symbol.isascii() else symbol
        for symbol in _LOOK_ALIKES.sub("'", text)
    )


def _append(words: list[Word], spoken: str, start: int, end: int, phonemes: str | None, glued: bool) -> None:
    """Add a word; one without white space before it joins the last, and mere punctuation does so too."""
    speech = any(symbol.isalnum() for symbol in spoken)
    if words and spoken and (glued or not speech):
        last = words[-1]
        dash = spoken in ("-", "–", "—") and not glued
        joint = " " if dash or (speech and last.spoken[-1:].isalnum()) else ""
        closed = not speech and last.spoken[-1:] in ",;:.!?—"
        both = last.spoken if closed else last.spoken + joint + spoken
        words[-1] = Word(both, last.start, end, None if speech else last.phonemes)
    elif speech:
        words.append(Word(spoken, start, end, phonemes))


def _read(tokens: list[Token], index: int, shouted: bool) -> Reading | None:
    """How the token is spoken, or None where it is spoken as written."""
    token = tokens[index]
    core = token.core
    plain = _PLAIN.fullmatch(token.text) is not None
    recognisers: tuple[Recogniser, ...]
    if not core or not any(symbol.isalnum() for symbol in core):
        following = index + 1 < len(tokens) and tokens[index + 1].digit
        recognisers = _SYMBOLIC if following else (read_symbols,)
    elif token.text in ("<3", "</3") or (token.text[0] in ":;" and EMOTICON.fullmatch(token.text)):
        recognisers = (read_symbols,)
    elif token.digit or not (plain or core.isascii()):
        recognisers = _NUMERIC
        if not core.isdecimal() or token.lead[-1:] == "[":
            recognisers = (read_citation, read_web, *_NUMERIC)
        if not token.digit:
            recognisers = (read_greek, read_web, read_respelling, read_amount, read_expression, read_slash)
    elif plain:
        money = core in CURRENCIES and index + 1 < len(tokens) and tokens[index + 1].digit
        recognisers = (read_amount, *_VERBAL) if money else _VERBAL
    else:
        recognisers = (read_citation, read_web, *_VERBAL, read_slash, read_expression)
    for recogniser in recognisers:
        reading = recogniser(tokens, index)
        if reading is not None:
            return reading
    if core.isalpha() and not core.isascii():
        return (
            read_greek(tokens, index)
            or read_respelling(tokens, index)
            or (None if plain else read_anything(tokens, index))
        )
    if (plain or core.isascii()) and not token.digit and core[:1].isalpha():
        reading = read_capitals(tokens, index, shouted=shouted)
        if reading is not None:
            return reading
    return None if plain else read_anything(tokens, index)
