"""Expressions: "E=mc²", "x<=10", "H₂O"; and words with a slash between."""

from __future__ import annotations

import re

from serving.text.english.capitals import letter_word
from serving.text.english.quantities.numbers import NUMBER, cardinal, digits, numbers
from serving.text.english.quantities.units import PER_WORDS, per_name, plural_unit, unit_name
from serving.text.english.quantities.vulgar import VULGAR
from serving.text.english.symbol_names import BOUNDS, GREEK, NAMES, OPERATORS, RELATIONS
from serving.text.english.tokens import LETTER, Reading, Tokens, at, is_sum, word_set

_SCIENTIFIC = re.compile(rf"([-−]?)({NUMBER})[eE]([-+−]?)([0-9]{{1,3}})")
_FUNCTION = re.compile(r"([A-Za-z])\(([A-Za-z0-9])\)?")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-")
_OPERATOR = re.compile(
    rf"{NUMBER}[½⅓⅔¼¾]?|[<>!=:+-]=+|=>|->|\*\*|&&|[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+|[₀₁₂₃₄₅₆₇₈₉₊₋]+|[α-ωΑ-Ωϕϵ]|{LETTER}+(?:['’]{LETTER}+)*|\s|.",
    re.DOTALL,
)
_EXPRESSION = frozenset("=+×÷<>≤≥≠≈±^*∈√∞∑∫→⇒·∂∆⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺₀₁₂₃₄₅₆₇₈₉₊₋π−")
_LANGUAGES = {
    "c#": "C sharp",
    "f#": "F sharp",
    "c++": "C plus plus",
    "g++": "G plus plus",
    "notepad++": "Notepad plus plus",
    "j#": "J sharp",
}
_PRONOUNS = word_set(
    """
    he she him her his hers they them s/he yes no true false on off male female his/her one two in out win
    lose and pass fail mr mrs day night mother father parent pros cons up down left right new old buy sell
    am pm him/her start stop open closed black white
    """
)


def read_expression(tokens: Tokens, index: int) -> Reading | None:
    """ "E=mc²", "2+2=4", "x<=10", "H₂O", "10⁻³", "5×3", "A→B", "C#"."""
    token = tokens[index]
    core = token.core
    language = _LANGUAGES.get(core.lower())
    if language:
        return Reading(language)
    scientific = _SCIENTIFIC.fullmatch(core) if core[-1:].isdigit() and len(core) < 40 else None
    measured = scientific and unit_name(at(tokens, index + 1).core)
    if scientific and (scientific[3] or "." in scientific[2] or measured):
        minus, power = ("minus " if scientific[1] else ""), ("minus " if scientific[3] in ("-", "−") else "")
        exponent = f"{power}{cardinal(int(scientific[4]))}"
        value = f"{minus}{numbers(scientific[2])} times ten to the power of {exponent}"
        return Reading(f"{value} {plural_unit(measured)}", 2) if measured else Reading(value)
    function = _FUNCTION.fullmatch(core) if token.trail[:1] == ")" and is_sum(tokens, index) else None
    if function:
        argument = numbers(function[2]) if function[2].isdigit() else function[2]
        return Reading(f"{function[1]} of {argument}", 1, token.trail[1:])
    if len(core) > 120 or _EXPRESSION.isdisjoint(core):
        return None
    if core[-1] in "+" and core[:-1].isalpha():
        return Reading(f"{letter_word(core[:-1])} plus")
    if core[-1:] in "¹²³⁴⁵⁶⁷⁸⁹" and core[:-1].isalpha() and len(core) > 4:
        return Reading(core[:-1])  # the mark of a footnote
    if not any(symbol.isalnum() for symbol in core):
        return None
    words: list[str] = []
    pieces = _OPERATOR.findall(core)
    for place, piece in enumerate(pieces):
        words.append(_piece(piece, pieces, place, tokens, index))
    spoken = " ".join(word for word in words if word)
    return Reading(spoken) if spoken else None


def _piece(piece: str, pieces: list[str], place: int, tokens: Tokens, index: int) -> str:
    last = place + 1 == len(pieces)
    if piece[0].isascii() and (piece[0].isdigit() or (piece[0] == "." and len(piece) > 1)):
        part = VULGAR.get(piece[-1])
        return numbers(piece) if part is None else f"{numbers(piece[:-1])} and a half"
    if piece in GREEK:
        return GREEK[piece]
    if piece[0] in "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺":
        return _power(piece.translate(_SUPERSCRIPTS))
    if piece[0] in "₀₁₂₃₄₅₆₇₈₉₊₋":
        run = piece.translate(_SUBSCRIPTS)
        return cardinal(run) if run.isdecimal() and len(run) < 4 else digits(run)
    if piece[0].isalpha():
        if place and pieces[place - 1][0].isdigit() and (name := unit_name(piece)) and len(piece) > 1:
            return plural_unit(name)
        chemical = any(symbol in "₀₁₂₃₄₅₆₇₈₉" for symbol in tokens[index].core)
        variables = len(piece) <= 2 and (piece.islower() or chemical)
        return " ".join(piece) if variables else letter_word(piece)
    if piece in ("-", "–", "−"):
        return "minus" if place == 0 or not last else ""
    if piece == "*":
        return "times" if place > 0 and not last else ""
    if piece in RELATIONS:
        return ("is " if place else "") + RELATIONS[piece] if place else BOUNDS.get(piece, RELATIONS[piece])
    if piece == "×" and place and not last:
        return (
            "by" if min(len(pieces[place - 1]), len(pieces[place + 1])) > 2 and "=" not in pieces else "times"
        )
    if piece == "^" and not last and pieces[place + 1] in ("2", "3"):
        pieces[place + 1] = "²" if pieces[place + 1] == "2" else "³"
        return ""
    return OPERATORS.get(piece) or NAMES.get(piece) or {"/": "over", "(": "", ")": "", "!": ""}.get(piece, "")


def _power(run: str) -> str:
    if run in ("2", "3"):
        return "squared" if run == "2" else "cubed"
    sign = "minus " if run[0] == "-" else ""
    body = run.lstrip("+-")
    if not body:
        return "plus" if run[0] == "+" else "minus"
    return f"to the power of {sign}{cardinal(body) if len(body) < 5 else digits(body)}"


def read_slash(tokens: Tokens, index: int) -> Reading | None:
    """ "and/or", "he/she", "litres/hour", "input/output"."""
    core = tokens[index].core
    if "/" not in core or len(core) > 120:
        return None
    parts = core.split("/")
    if not all(part and all(symbol.isalpha() or symbol in "'’-" for symbol in part) for part in parts):
        return None
    if len(parts) == 2:
        head, tail = parts[0].lower(), parts[1].lower()
        if head == "and" and tail == "or":
            return Reading("and or")
        per = per_name(parts[1]) if len(parts[1]) > 1 or (len(head) > 1 and unit_name(parts[0])) else None
        if (tail in PER_WORDS and head not in PER_WORDS) or (
            per and head.endswith("s") and unit_name(parts[1]) is not None
        ):
            top = unit_name(parts[0]) if len(parts[0]) > 1 else None
            return Reading(f"{plural_unit(top) if top else parts[0]} per {per or parts[1]}")
        if head in _PRONOUNS and tail in _PRONOUNS:
            return Reading(f"{parts[0]} or {parts[1]}")
        if per and (top := unit_name(parts[0])) and len(parts[0]) > 1:
            return Reading(f"{plural_unit(top)} per {per}")
    words = [letter_word(part) if part.isupper() else part for part in parts]
    joint = " " if all(part.isupper() for part in parts) else " slash "
    if all(part.lower() in _PRONOUNS for part in parts):
        joint = " or "
    return Reading(joint.join(words))
