"""Symbols: spoken where they are meant, dropped where they are ornament."""

from __future__ import annotations

import re
import unicodedata

from serving.text.english.capitals import letter_word
from serving.text.english.quantities.numbers import NUMBER, cardinal, digits, numbers
from serving.text.english.quantities.units import PER_WORDS, per_name, plural_unit, unit_name
from serving.text.english.quantities.vulgar import VULGAR
from serving.text.english.tokens import LETTER, Reading, Token, Tokens, after, at, before

_RELATIONS = {
    **{
        "<": "less than",
        ">": "greater than",
        "<=": "less than or equal to",
        ">=": "greater than or equal to",
    },
    **{
        "≤": "less than or equal to",
        "≥": "greater than or equal to",
        "!=": "not equal to",
        "≠": "not equal to",
    },
    **{"≈": "approximately equal to", "≪": "much less than", "≫": "much greater than", "=/=": "not equal to"},
    **{"<>": "not equal to", "!==": "not equal to", "=<": "less than or equal to"},
}
_BOUNDS = {
    "<=": "at most",
    "≤": "at most",
    ">=": "at least",
    "≥": "at least",
    "≈": "approximately",
    ">": "more than",
}
_OPERATORS = {
    **{"=": "equals", "==": "equals", "===": "equals", "+": "plus", "−": "minus", "×": "times", "·": "times"},
    **{
        "÷": "divided by",
        "±": "plus or minus",
        "∓": "minus or plus",
        "^": "to the power of",
        "**": "to the power of",
    },
    **{
        "→": "to",
        "->": "to",
        "⇒": "implies",
        "=>": "implies",
        "≡": "is equivalent to",
        "∝": "is proportional to",
    },
    **{
        "&": "and",
        "&&": "and",
        "@": "at",
        "%": "percent",
        "‰": "per mille",
        "∈": "in",
        "∪": "union",
        "∩": "intersection",
    },
    **{
        ":=": "is",
        "+=": "plus equals",
        "-=": "minus equals",
        "⟶": "to",
        "➔": "to",
        "➜": "to",
        "➡": "to",
        "∴": "therefore",
    },
    **{
        "∖": "minus",
        "⊂": "subset of",
        "∧": "and",
        "∨": "or",
        "↔": "to and from",
        "⇔": "if and only if",
        "∘": "of",
    },
}
_NAMES = {
    **{"§": "section", "§§": "sections", "¶": "paragraph", "°": "degrees", "©": "copyright", "∞": "infinity"},
    **{"√": "square root of", "∑": "sum of", "∫": "integral of", "∂": "partial", "∆": "delta", "∇": "nabla"},
    **{
        "№": "number",
        "℮": "estimated",
        "$": "dollars",
        "€": "euros",
        "£": "pounds",
        "¥": "yen",
        "₹": "rupees",
    },
    **{
        "¢": "cents",
        "₿": "bitcoin",
        "℃": "degrees Celsius",
        "℉": "degrees Fahrenheit",
        "′": "",
        "″": "",
        "‱": "",
    },
    **{
        "♀": "female",
        "♂": "male",
        "∅": "empty set",
        "‐": "",
        "ª": "a",
        "º": "o",
        "♯": "sharp",
        "♭": "flat",
        "∀": "for all",
    },
    **{"∃": "there exists", "¬": "not", "℗": "", "℠": "", "µ": "micro"},
}
_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma sigma tau upsilon phi chi psi omega"
_GREEK_NAMES = {chr(0x3B1 + place): name for place, name in enumerate(_GREEK.split())}
_GREEK_NAMES |= {letter.upper(): name for letter, name in _GREEK_NAMES.items()} | {
    "Ω": "omega",
    "ϕ": "phi",
    "ϵ": "epsilon",
}
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
_HEARTS = frozenset("❤♥💕💖💗💙💚💛💜🖤🤍🤎🧡💓💞💘🩷")
_LOVERS = frozenset("i we you they really to who always just".split())
_EMOTICON = re.compile(
    r"(?:[:;=xX8][-'^o]?[)(DPpOo3/\\|*\]\[]+|[)(]+[-']?[:;=]|<3+|</3|\^_*\^|[xX]D+|[oO]_[oO]|-_+-|[:;]-?$|¯\\_\(ツ\)_/¯|T_T)"
)
_PRONOUNS = frozenset(
    "he she him her his hers they them s/he yes no true false on off male female his/her one two in out win lose and pass fail "
    "mr mrs day night mother father parent pros cons up down left right new old buy sell am pm him/her start stop open closed black white".split()
)
_INVISIBLE = frozenset("\ufe0f\ufe0e\u200d\u20e3\u200b")


def is_pictograph(symbol: str) -> bool:
    """Whether a character is an emoji or another picture that is not spoken."""
    code = ord(symbol)
    if code < 0x2000:
        return symbol in "®" or (code >= 0x80 and unicodedata.category(symbol) == "Cn")
    return (
        code >= 0x1F000
        and code < 0x20000
        or 0x2300 <= code <= 0x23FF
        or 0x2500 <= code <= 0x27BF
        or 0x2B00 <= code <= 0x2BFF
        or symbol in "™•‣◦…†‡←↑↓⁂※"
        and symbol != "…"
        or symbol in _INVISIBLE
        or 0xE0000 <= code <= 0xE0FFF
    )


_CITED = re.compile(rf"([(\"“]*{LETTER}+[.,;:!?\"”]*)(?:\[[0-9,–-]{{1,9}}\]){{1,9}}[.,;:]?")


def read_citation(tokens: Tokens, index: int) -> Reading | None:
    """ "growth.[12]": the mark of a footnote is not spoken."""
    match = _CITED.fullmatch(tokens[index].text) if "[" in tokens[index].text else None
    if match is None:
        return None
    last = tokens[index].text[-1]
    return Reading(match[1] + (last if match[1][-1].isalpha() and last in ".,;:" else ""), 1, "", lead="")


def read_greek(tokens: Tokens, index: int) -> Reading | None:
    """ "α": a Greek letter by its name; Greek words stay as they are."""
    name = _GREEK_NAMES.get(tokens[index].core)
    return Reading(name) if name else None


def read_symbols(tokens: Tokens, index: int) -> Reading | None:
    """A token without letters or digits."""
    token = tokens[index]
    text = token.text
    if any(symbol in _HEARTS for symbol in text) or text in ("<3", "<33"):
        loved = before(tokens, index) in _LOVERS and at(tokens, index + 1).core
        return Reading("love" if loved else "", 1, "" if loved else _marks(text), lead="")
    if _EMOTICON.fullmatch(text):
        return Reading("", 1, "", lead="")
    core = token.core
    if core in ("-", "–", "−"):
        return _dash(tokens, index)
    if core in _RELATIONS:
        return Reading(relation(core, at(tokens, index - 1), tokens, index))
    if core in _OPERATORS:
        inner = index > 0 and index + 1 < len(tokens)
        ornament = core in ("=>", "->", "→", "⇒", "+", "=", "==", "===", "^", "➔", "➜", "➡") and not inner
        return Reading("" if ornament else _OPERATORS[core])
    if core in _NAMES:
        return Reading(_NAMES[core])
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
    operands = (previous.digit or len(previous.core) == 1) and (following.digit or len(following.core) == 1)
    numeric = (
        previous.digit
        or following.digit
        or any("=" in at(tokens, index + ahead).text for ahead in (-2, -3, 2, 3))
    )
    if operands and numeric and not previous.trail and previous.core not in ("I", "a"):
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
    operand = (
        core and not previous.trail.strip(")") and (len(core) == 1 or previous.digit or "_" in core)
    ) or conditional
    if operand and core.lower() not in ("a", "i"):
        return "is " + _RELATIONS[symbol]
    return _BOUNDS.get(symbol) or _RELATIONS[symbol]


def read_expression(tokens: Tokens, index: int) -> Reading | None:
    """ "E=mc²", "2+2=4", "x<=10", "H₂O", "10⁻³", "5×3", "A→B", "C#"."""
    token = tokens[index]
    core = token.core
    language = _LANGUAGES.get(core.lower())
    if language:
        return Reading(language)
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
    if piece in _GREEK_NAMES:
        return _GREEK_NAMES[piece]
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
        return "times" if 0 < place and not last else ""
    if piece in _RELATIONS:
        return (
            ("is " if place else "") + _RELATIONS[piece] if place else _BOUNDS.get(piece, _RELATIONS[piece])
        )
    if piece == "×" and place and not last:
        return (
            "by" if min(len(pieces[place - 1]), len(pieces[place + 1])) > 2 and "=" not in pieces else "times"
        )
    if piece == "^" and not last and pieces[place + 1] in ("2", "3"):
        pieces[place + 1] = "²" if pieces[place + 1] == "2" else "³"
        return ""
    return (
        _OPERATORS.get(piece) or _NAMES.get(piece) or {"/": "over", "(": "", ")": "", "!": ""}.get(piece, "")
    )


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
            return Reading(f"{parts[0]} per {per or parts[1]}")
        if head in _PRONOUNS and tail in _PRONOUNS:
            return Reading(f"{parts[0]} or {parts[1]}")
        if per and (top := unit_name(parts[0])) and len(parts[0]) > 1:
            return Reading(f"{plural_unit(top)} per {per}")
    words = [letter_word(part) if part.isupper() else part for part in parts]
    joint = " " if all(part.isupper() for part in parts) else " slash "
    if all(part.lower() in _PRONOUNS for part in parts):
        joint = " or "
    return Reading(joint.join(words))


_FALLBACK = re.compile(rf"{LETTER}+(?:['’]{LETTER}+)*|[0-9]+(?:[.,][0-9]+)*|[.,;:!?…—-]+|\s|.", re.DOTALL)
_KEPT = frozenset(".,;:!?…—()\"“”'’‘")
_LAST_RESORT = {
    **_OPERATORS,
    **_RELATIONS,
    **_NAMES,
    "/": "slash",
    "\\": "backslash",
    "_": "",
    "#": "number",
    "*": "",
}


def read_anything(tokens: Tokens, index: int) -> Reading:
    """Piece by piece: words as they are, numbers as numbers, symbols by their names."""
    token = tokens[index]
    spoken = ""
    for piece in _FALLBACK.findall(token.core):
        if piece[0].isalpha():
            words = _GREEK_NAMES.get(piece) or (
                letter_word(piece) if piece.isascii() and len(piece) < 40 else piece
            )
        elif piece[0] in "0123456789":
            words = numbers(piece) if len(piece) < 400 else digits(piece)
        elif piece[0] in _KEPT:
            spoken = spoken.rstrip(" ") + piece[:3]
            continue
        elif piece in ("-", "—", "–"):
            words = ""
        elif piece in VULGAR:
            words = f"{cardinal(VULGAR[piece][0])} over {cardinal(VULGAR[piece][1])}"
        elif len(piece) == 1 and (piece in _HEARTS or is_pictograph(piece)):
            words = ""
        else:
            words = _LAST_RESORT.get(piece) or _unnamed(piece)
        if words:
            spoken += (" " if spoken and spoken[-1] != "(" else "") + words
    following = after(tokens, index)
    return Reading(spoken if spoken.strip(" .,;:!?—") or following == "" else "")


def _unnamed(piece: str) -> str:
    """A character without a name here: a letter or digit of another script stays, a symbol is dropped."""
    if piece.isdecimal():
        return " ".join(cardinal(unicodedata.digit(symbol)) for symbol in piece)
    return piece if unicodedata.category(piece[0])[0] in "LM" else ""
