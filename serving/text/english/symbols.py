"""Symbols: spoken where they are meant, dropped where they are ornament."""

from __future__ import annotations

import re
import unicodedata

from serving.text.english.capitals import letter_word
from serving.text.english.quantities.numbers import cardinal, digits, numbers
from serving.text.english.quantities.vulgar import VULGAR
from serving.text.english.symbol_names import (
    BOUNDS,
    GREEK,
    HEARTS,
    NAMES,
    OPERATORS,
    RELATIONS,
    is_pictograph,
)
from serving.text.english.tokens import LETTER, Reading, Token, Tokens, at, before, word_set

_CITING = word_set(
    "in see by of from and to ref reference references also with per than like list array set pages"
)
_LOVERS = word_set("i we you they really to who always just")
_HOUR = re.compile(r"(?:[0-9]{1,2}(?:[:.][0-9]{2})?)?[AaPp]\.?[Mm]")
EMOTICON = re.compile(
    r"(?:[:;=xX8][-'^o]?[)(DPpOo3/\\|*\]\[]+|[)(]+[-']?[:;=]|<3+|</3|\^_*\^|[xX]D+|[oO]_[oO]|-_+-|[:;]-?$|¯\\_\(ツ\)_/¯|T_T)"
)
_MARKED = re.compile(r"\[[0-9]{1,3}(?:[,–-] ?[0-9]{1,3}){0,6}\][.,;:!?]?")
_CITED = re.compile(rf"([(\"“]*{LETTER}+[.,;:!?\"”]*)(?:\[[0-9,–-]{{1,9}}\]){{1,9}}[.,;:]?")
_FALLBACK = re.compile(rf"{LETTER}+(?:['’]{LETTER}+)*|[0-9]+(?:[.,][0-9]+)*|[.,;:!?…—-]+|\s|.", re.DOTALL)
_KEPT = frozenset(".,;:!?…—()\"“”'’‘")
_LAST_RESORT = {
    **OPERATORS,
    **RELATIONS,
    **NAMES,
    "/": "slash",
    "\\": "backslash",
    "_": "",
    "#": "number",
    "*": "",
}


def read_citation(tokens: Tokens, index: int) -> Reading | None:
    """ "growth.[12]": the mark of a footnote is not spoken."""
    text = tokens[index].text
    match = _CITED.fullmatch(text) if "[" in text else None
    if match is None:
        return _citation_apart(tokens, index) if text[0] == "[" else None
    last = tokens[index].text[-1]
    return Reading(match[1] + (last if match[1][-1].isalpha() and last in ".,;:" else ""), 1, "", lead="")


def _citation_apart(tokens: Tokens, index: int) -> Reading | None:
    """ "as Smith showed [2, 3]": the mark of a footnote with a blank before it; "in [2]" and "x = [2, 3]" are said."""
    text = ""
    for used in range(1, 8):
        text += at(tokens, index + used - 1).text
        if "]" in text or not at(tokens, index + used).text:
            break
    previous = at(tokens, index - 1)
    inside = previous.core.isalpha() and len(previous.core) > 2 and previous.lower not in _CITING
    if (
        not _MARKED.fullmatch(text)
        or not inside
        or any("=" in at(tokens, index - back).text for back in (1, 2))
    ):
        return None
    return Reading("", used, text[-1] if text[-1] in ".,;:!?" else "", lead="")


def read_greek(tokens: Tokens, index: int) -> Reading | None:
    """ "α": a Greek letter by its name; Greek words stay as they are."""
    name = GREEK.get(tokens[index].core)
    return Reading(name) if name else None


def read_symbols(tokens: Tokens, index: int) -> Reading | None:
    """A token without letters or digits."""
    token = tokens[index]
    text = token.text
    if any(symbol in HEARTS for symbol in text) or text in ("<3", "<33"):
        loved = before(tokens, index) in _LOVERS and at(tokens, index + 1).core
        return Reading("love" if loved else "", 1, "" if loved else _marks(text), lead="")
    if EMOTICON.fullmatch(text):
        return Reading("", 1, "", lead="")
    core = token.core
    if text in ("--", "---"):
        inner = index > 0 and index + 1 < len(tokens)
        return Reading("", 1, "—" if inner else "", lead="")
    if core in ("-", "–", "−"):
        return _dash(tokens, index)
    if core in RELATIONS:
        return Reading(relation(core, at(tokens, index - 1), tokens, index))
    if text in ("$", "%") and not index and at(tokens, 1).core[:1].islower():
        return Reading("", 1, "", lead="")  # the prompt of a shell
    if core in OPERATORS:
        inner = index > 0 and index + 1 < len(tokens)
        ornament = core in ("=>", "->", "→", "⇒", "+", "=", "==", "===", "^", "➔", "➜", "➡") and not inner
        return Reading("" if ornament else OPERATORS[core])
    if core in NAMES:
        return Reading(NAMES[core])
    if text in ("*", "**") and at(tokens, index - 1).digit and at(tokens, index + 1).digit:
        return Reading("times" if text == "*" else "to the power of", 1, "", lead="")
    if core == "#" and at(tokens, index + 1).digit:
        return Reading("number")
    if core == "|" or core == "||" or core == "¦":
        return Reading("", 1, ",", lead="")
    if core in ("/", "\\"):
        if at(tokens, index - 1).digit and at(tokens, index + 1).digit:
            return Reading(
                "divided by" if "=" in (at(tokens, index + 2).core, at(tokens, index - 2).core) else "slash"
            )
        return Reading("or" if index and index + 1 < len(tokens) else "")
    if not core:
        return Reading("", 1, _marks(text), lead="")
    return None


def _marks(text: str) -> str:
    return "".join(symbol for symbol in text if symbol in ".,;:!?…")[:3]


def _dash(tokens: Tokens, index: int) -> Reading:
    """A dash as a token: minus between operands, else a pause."""
    token, previous, following = tokens[index], at(tokens, index - 1), at(tokens, index + 1)
    hours = (
        following.digit and _HOUR.fullmatch(previous.core) and (previous.digit or at(tokens, index - 2).digit)
    )
    if hours and (_HOUR.fullmatch(following.core) or _HOUR.fullmatch(at(tokens, index + 2).core)):
        return Reading("to")  # "9:00 AM - 5:00 PM"
    operands = (previous.digit or len(previous.core) == 1) and (following.digit or len(following.core) == 1)
    numeric = (
        previous.digit
        or following.digit
        or any("=" in at(tokens, index + ahead).text for ahead in (-2, -3, 2, 3))
    )
    clock = ":" in previous.core or ":" in following.core  # "June 7 - 7:30 PM"
    if operands and numeric and not clock and not previous.trail and previous.core not in ("I", "a"):
        return Reading("minus")
    if index == 0 or not following.core:
        return Reading("")
    return Reading("", 1, token.core.replace("−", "–"), lead="")


def relation(symbol: str, previous: Token, tokens: Tokens, index: int) -> str:
    """ "is less than or equal to" behind an operand, "at most" before a bare number."""
    core = previous.core
    conditional = any(
        at(tokens, index - back).lower in ("if", "when", "while", "where", "assert", "until")
        for back in range(1, 5)
    )
    if len(core) == 1 and len(at(tokens, index + 1).core) == 1 and core.isalpha() and core != "I":
        return "is " + RELATIONS[symbol]
    operand = (
        core and not previous.trail.strip(")") and (len(core) == 1 or previous.digit or "_" in core)
    ) or conditional
    if operand and (core.lower() not in ("a", "i") or len(symbol) > 1):
        return "is " + RELATIONS[symbol]
    return BOUNDS.get(symbol) or RELATIONS[symbol]


def read_anything(tokens: Tokens, index: int) -> Reading:
    """Piece by piece: words as they are, numbers as numbers, symbols by their names."""
    token = tokens[index]
    spoken = ""
    pieces = _FALLBACK.findall(token.core)
    for piece, following in zip(pieces, [*pieces[1:], ""], strict=True):
        if piece[0].isalpha():
            words = GREEK.get(piece) or (letter_word(piece) if piece.isascii() and len(piece) < 40 else piece)
        elif piece[0] in "0123456789":
            words = numbers(piece) if len(piece) < 400 else digits(piece)
        elif piece == "." and spoken and following[:1].isalnum():
            words = "dot"
        elif piece[0] in _KEPT:
            spoken = spoken.rstrip(" ") + piece[:3]
            continue
        elif piece in ("-", "—", "–"):
            words = ""
        elif piece in VULGAR:
            words = f"{cardinal(VULGAR[piece][0])} over {cardinal(VULGAR[piece][1])}"
        elif len(piece) == 1 and piece in HEARTS and spoken and following[:1].isalpha():
            words = "love"
        elif len(piece) == 1 and (piece in HEARTS or is_pictograph(piece)):
            words = ""
        else:
            words = _LAST_RESORT.get(piece) or _unnamed(piece)
        if words:
            spoken += (" " if spoken and spoken[-1] != "(" else "") + words
    return Reading(spoken if spoken.strip(" .,;:!?—") else "")


def _unnamed(piece: str) -> str:
    """A character without a name here: a letter or digit of another script stays, a symbol is dropped."""
    if piece.isdecimal():
        return " ".join(cardinal(unicodedata.digit(symbol)) for symbol in piece)
    return piece if unicodedata.category(piece[0])[0] in "LM" else ""
