"""Quantities: plain numbers, percentages, money, measures, and their ranges."""

from __future__ import annotations

import re
from typing import NamedTuple

from serving.text.english.money import CODES, CURRENCIES, MAGNITUDE_WORDS, MAGNITUDES, amount, currency_name
from serving.text.english.numbers import (
    NUMBER,
    Number,
    cardinal,
    number,
    numbers,
    ordinal,
    parse,
    plural,
    year,
)
from serving.text.english.tokens import Reading, Token, Tokens, after, at, before
from serving.text.english.units import SPACED_SINGLE, UNITS, per_name, plural_unit, unit_name

VULGAR = {
    **{"½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5)},
    **{"⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅐": (1, 7), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8)},
    **{"⅑": (1, 9), "⅒": (1, 10)},
}
SIGNS = {
    **{"-": "minus", "−": "minus", "–": "minus", "+": "plus", "±": "plus or minus", "+/-": "plus or minus"},
    **{"~": "about", "≈": "approximately", "<": "less than", ">": "more than", "<=": "at most"},
    **{">=": "at least", "≤": "at most", "≥": "at least", "≲": "at most", "≳": "at least", "": ""},
}
_SIGN = r"(?P<sign>\+/-|[<>]=|[-−–+±~≈<>≤≥])?"
_CURRENCY = "|".join(re.escape(sign) for sign in sorted(CURRENCIES, key=len, reverse=True))
_VULGAR = f"[{''.join(VULGAR)}]"
_HEAD = rf"{_SIGN}(?P<currency>{_CURRENCY})?(?P<minus>[-−])?"
_ONE = re.compile(rf"{_HEAD}(?:(?P<number>{NUMBER})(?P<vulgar>{_VULGAR})?|(?P<bare>{_VULGAR}))(?P<rest>.*)", re.DOTALL)
_TWO = re.compile(
    rf"{_HEAD}(?P<number>{NUMBER})(?P<vulgar>{_VULGAR})?(?P<suffix>[^\d\s\-–—−/.,_’']{{0,4}})"
    rf"(?:[-–—−]|\.\.\.?|…)(?P<sign2>[−+])?(?P<currency2>{_CURRENCY})?(?P<number2>{NUMBER})(?P<vulgar2>{_VULGAR})?"
    r"(?P<rest>.*)",
    re.DOTALL,
)
_MOST_GROUPS = 12
_DASHES = frozenset("-–—−")
_THREE_DIGITS = re.compile(r"[0-9]{3}(?:[.,][0-9]+)?(?![0-9])[^0-9]*")
_NOT_NOUNS = frozenset(
    "of in on at to for from per long wide tall high deep away or and by is was are were that which with than ago "
    "later more less each if as but the a it he she they we you i old apart behind ahead above below into over".split()
)
_AMBIGUOUS_UNITS = frozenset({"in", "pt", "mo", "bar", "rad", "deg", "ct", "at", "d", "kn", "a", "s", "pcs", "MP", "deg"})
_LENGTH_WORDS = frozenset("wide long tall deep high thick x by diameter across".split())
YEAR_WORDS = frozenset(
    "in since from of by until till before after during year early late mid circa around between through spring summer "
    "autumn fall winter january february march april may june july august september october november december c "
    "copyright © class season fiscal and to christmas easter model vintage".split()
)
_COUNTED = frozenset("people men women children feet percent dollars pounds euros times miles meters metres".split())
_NOT_PLURALS = frozenset("was is has his its this as us yes thus always perhaps across versus plus less s".split())


class Amount(NamedTuple):
    """A quantity before its unit is known."""

    words: str
    one: bool
    """Whether the unit stands in the singular."""


def merged(tokens: Tokens, index: int) -> tuple[str, int]:
    """The core of a quantity that is written with spaces ("1 000 000", "$ 5", "10 - 20"), and its tokens."""
    token = tokens[index]
    core, used = token.core, 1
    following = at(tokens, index + 1)
    if core in CURRENCIES and following.digit and not token.trail.strip("."):
        core, used = core + following.core, 2
    elif token.digit and len(core) <= 3 and core.isdecimal() and core[0] != "0" and not token.trail:
        while used < _MOST_GROUPS and not at(tokens, index + used - 1).trail and _THREE_DIGITS.fullmatch(at(tokens, index + used).core):
            core += "'" + tokens[index + used].core
            used += 1
            if not core[-3:].isdecimal():
                break
    dash, end = at(tokens, index + used), at(tokens, index + used + 1)
    if dash.text in _DASHES and end.digit and core[-1:] not in _DASHES and not at(tokens, index + used - 1).trail:
        low, high = _ONE.fullmatch(core), _ONE.fullmatch(end.core)
        if low and high and not high["sign"] and _ascending(low["number"], high["number"]) and not _is_sum(tokens, index):
            core, used = f"{core}–{end.core}", used + 2
    return core, used


def _ascending(low: str | None, high: str | None) -> bool:
    first, second = parse(low or "0"), parse(high or "0")
    if first is None or second is None or max(len(first.integer), len(second.integer)) > 15:
        return False
    return int(first.integer or 0) < int(second.integer or 0)


def _is_sum(tokens: Tokens, index: int) -> bool:
    return any("=" in at(tokens, index + ahead).text for ahead in range(-3, 6))


_SIZE = re.compile(rf"({NUMBER})([xX×*])({NUMBER})(?:[xX×]({NUMBER}))?([A-Za-z]{{0,4}}²?)")


def read_size(tokens: Tokens, index: int) -> Reading | None:
    """ "5x7", "1920×1080", "2x4x8cm"."""
    match = _SIZE.fullmatch(tokens[index].core)
    if not match or _is_sum(tokens, index):
        return None
    first, sign, second, third, unit = match.groups()
    small = len(first) < 3 and len(second) < 3
    if sign == "*" or (sign == "×" and small and not (third or unit)):
        return Reading(f"{numbers(first)} times {numbers(second)}") if not unit else None
    words = " by ".join(numbers(part) for part in (first, second, third) if part)
    if unit:
        name = unit_name(unit)
        return Reading(f"{words} {plural_unit(name)}") if name else None
    behind = _unit_behind(tokens, index, 1, Amount(words, False), False)
    return behind or Reading(words)


_FEET = re.compile(r"([0-9]{1,3})['′’](?:([0-9]{1,2}(?:\.5)?)(?:[\"″”]|''|′′)?)?([.,;:!?)]*)")


def read_feet(tokens: Tokens, index: int) -> Reading | None:
    """ 6'2" and, before "tall" and the like, 6'."""
    match = _FEET.fullmatch(tokens[index].text.lstrip("("))
    if not match:
        return None
    feet, inches, trail = match.groups()
    words = f"{cardinal(feet)} {'foot' if feet == '1' else 'feet'}"
    if inches is None:
        measured = at(tokens, index + 1).lower in _LENGTH_WORDS or at(tokens, index - 1).lower in ("x", "by")
        return Reading(words, 1, trail) if measured else None
    return Reading(f"{words} {numbers(inches)}", 1, trail) if float(inches) < 12 else None


def read_amount(tokens: Tokens, index: int) -> Reading | None:
    """A token that begins with a number, or with a sign or currency before it."""
    core, used = merged(tokens, index)
    if len(core) > 200:
        return None
    if any(dash in core[1:] for dash in "-–—−.…"):
        two = _TWO.fullmatch(core)
        if two:
            reading = _range(tokens, index, two, used)
            if reading:
                return reading
    one = _ONE.fullmatch(core)
    return _single(tokens, index, one, used) if one else None


def fraction_words(part: int, whole: int) -> str:
    """ "one half", "three quarters", "five sixteenths"."""
    name = {2: "half", 4: "quarter"}.get(whole) or ordinal(whole)
    if part != 1:
        name = {"half": "halves"}.get(name) or name + "s"
    return f"{cardinal(part)} {name}"


def and_fraction(whole: str, part: int, of: int) -> str:
    """ "two and a half"."""
    words = fraction_words(part, of)
    if words in ("one half", "one quarter"):
        words = "a " + words[4:]
    return f"{whole} and {words}"


def _quantity(text: str | None, vulgar: str | None, run_words: str | None = None) -> Amount | None:
    """The words of a number with a vulgar fraction behind it."""
    if text is None:
        return Amount(fraction_words(*VULGAR[vulgar]), True) if vulgar else None
    value = parse(text)
    if value is None:
        return None
    words = run_words or number(value)
    return Amount(and_fraction(words, *VULGAR[vulgar]), False) if vulgar else Amount(words, value.is_one)


def _single(tokens: Tokens, index: int, match: re.Match[str], used: int) -> Reading | None:
    last = at(tokens, index + used - 1)
    rest, sign = match["rest"], match["sign"] or ""
    minus = "minus " if match["minus"] else ""
    opening = f"{SIGNS[sign]} " if sign else ""
    if (sign in ("-", "–") and tokens[index].glued) or (opening.strip() and opening.strip() == before(tokens, index)):
        opening = ""
    adjective = before(tokens, index) in ("a", "an") and is_noun(after(tokens, index + used - 1))
    if match["currency"]:
        reading = _money(tokens, index, match, used, adjective)
        return reading and reading._replace(spoken=opening + minus + reading.spoken)
    text = match["number"]
    value = _quantity(text, match["vulgar"] or match["bare"])
    if value is None or minus:
        return _list_or_version(text, rest, opening, used) if text else None
    if not rest:
        behind = _unit_behind(tokens, index, used, value, adjective or (text is None))
        if behind:
            return behind._replace(spoken=opening + behind.spoken)
        if text and not sign and not match["vulgar"] and is_year(tokens, index, used, text):
            return Reading(year(int(text)), used)
        return Reading(opening + value.words, used)
    tail = _tail(tokens, index + used - 1, text or "", value, rest, adjective)
    return Reading(opening + tail, used, last.trail.lstrip('"') if rest.endswith('"') else None) if tail else None


def is_noun(word: str) -> bool:
    """Whether a word may be what an adjective stands before."""
    return word.isalpha() and len(word) > 1 and word not in _NOT_NOUNS


def _list_or_version(text: str, rest: str, opening: str, used: int) -> Reading | None:
    return None if rest else Reading(opening + numbers(text), used)


def _tail(tokens: Tokens, index: int, text: str, value: Amount, rest: str, adjective: bool) -> str | None:
    """The words of a number with what is attached to it; None if that is neither unit nor suffix."""
    unit = unit_name(rest) if rest not in ("M", "B", "K", "T", "G", "X", "A", "D", "F", "C", "N", "d", "b", "t") else None
    if rest == "s" and (before(tokens, index) in _DECADE_WORDS or tokens[index].lead.endswith("'")):
        unit = None
    if unit:
        adjective = adjective or (unit == "star" and is_noun(after(tokens, index)))
        return f"{value.words} {unit if value.one or adjective else plural_unit(unit)}"
    if rest in CURRENCIES:
        number_value = parse(text) if text else None
        return amount(rest, number_value) if number_value and text else f"{value.words} {currency_name(rest)}"
    head, slash, tail = rest.partition("/")
    if slash and (per := per_name(tail)):
        top = _tail(tokens, index, text, value, head, adjective) if head else value.words
        return f"{top} per {per}" if top else None
    if rest[:1] == "-" and (words := _hyphenated(rest[1:])):
        return f"{value.words} {words}"
    if rest in ("st", "nd", "rd", "th") and text.replace(",", "").isdecimal():
        return ordinal(text.replace(",", ""))
    if rest[:2] in ("st", "nd", "rd", "th") and rest[2:3] == "-" and text.isdecimal() and (words := _hyphenated(rest[3:])):
        return f"{ordinal(text)} {words}"
    if rest in ("s", "'s", "’s") and text.isdecimal():
        return decade(text)
    if rest in ("x", "X", "×"):
        return f"{value.words} times"
    if rest == "+":
        return f"{value.words} plus"
    if rest in MAGNITUDES and _is_magnitude(tokens, index, text, rest):
        return f"{value.words} {MAGNITUDES[rest]}"
    magnitude = MAGNITUDES.get(rest[:-1])
    if rest[-1] in CURRENCIES and magnitude:
        return f"{value.words} {magnitude} {currency_name(rest[-1])}"
    if rest in ("C", "F") and len(text) > 1:
        return f"{value.words} {plural_unit(UNITS[rest])}"
    return None


def _is_magnitude(tokens: Tokens, index: int, text: str, rest: str) -> bool:
    if rest in ("m", "t", "b"):
        return rest == "b" and "." in text
    if rest in ("k", "mn", "bn", "Bn", "BN", "tn", "mln", "bln", "mil"):
        return True
    noun = after(tokens, index)
    if rest == "K":
        return len(text) > 2 or "." in text
    return "." in text or len(text) > 1 or (noun.endswith("s") and is_noun(noun))


_DECADE_WORDS = frozenset(
    "the his her their my your our early late mid in of these those her's mid-to-late swinging roaring nineteen".split()
)


def decade(run: str) -> str:
    """1990s is "nineteen nineties", 20s "twenties", 747s "seven hundred forty sevens"."""
    words = year(int(run)) if len(run) == 4 else numbers(run)
    if len(run) == 4 and run.endswith("00") and not run.endswith("000"):
        return f"{cardinal(run[:2])} hundreds"
    return plural(words)


def _hyphenated(rest: str) -> str | None:
    """The words behind a number and a hyphen: "year-old", "km", "inch"."""
    if not rest or not all(part.isalpha() for part in rest.split("-")):
        return None
    return " ".join((unit_name(part) or part) if len(part) > 1 or part in "mgL" else part for part in rest.split("-"))


def _money(tokens: Tokens, index: int, match: re.Match[str], used: int, adjective: bool) -> Reading | None:
    sign, rest = match["currency"], match["rest"]
    value = parse(match["number"] or "") if match["number"] else None
    if value is None:
        return None
    head, slash, tail = rest.partition("/")
    words = ""
    if slash and not per_name(tail):
        return None
    if head[:1] == "-" and (hyphenated := _hyphenated(head[1:])):
        part, _, others = hyphenated.partition(" ")
        scale = part if part in MAGNITUDE_WORDS else ""
        words = amount(sign, value, scale, adjective=True) + " " + (others if scale else hyphenated)
    elif head in MAGNITUDES:
        words = amount(sign, value, MAGNITUDES[head], adjective=adjective)
    elif head in CODES:
        words = f"{number(value)} {currency_name(head, one=value.is_one)}"
    elif head in ("+", "s"):
        words = amount(sign, value) + (" plus" if head else "")
    elif not head:
        scale = at(tokens, index + used)
        if scale.lower in MAGNITUDE_WORDS and not at(tokens, index + used - 1).trail:
            adjective = before(tokens, index) in ("a", "an") and is_noun(after(tokens, index + used))
            return Reading(amount(sign, value, scale.lower, adjective=adjective), used + 1)
        words = amount(sign, value, adjective=adjective)
        if match["vulgar"]:
            words = f"{and_fraction(number(value), *VULGAR[match['vulgar']])} {currency_name(sign)}"
        if scale.core in CODES and sign == "$":
            return Reading(f"{number(value)} {currency_name(scale.core)}", used + 1)
    else:
        return None
    return Reading(f"{words} per {per_name(tail)}" if slash else words, used)


def _unit_behind(tokens: Tokens, index: int, used: int, value: Amount, one: bool) -> Reading | None:
    """A unit, a currency or a magnitude as a token of its own behind the number."""
    last, unit = at(tokens, index + used - 1), at(tokens, index + used)
    words = value.words
    if last.trail[:1] in ('"', "″") and last.trail and not _in_quotes(tokens, index):
        return Reading(f"{words} {'inch' if value.one or one else 'inches'}", used, last.trail[1:])
    if last.trail or not unit.core:
        return None
    if unit.lower in MAGNITUDE_WORDS:
        money = at(tokens, index + used + 1)
        if unit.trail or money.core not in CURRENCIES:
            return None
        return Reading(f"{words} {unit.lower} {currency_name(money.core)}", used + 2)
    if unit.core in CURRENCIES and not at(tokens, index + used + 1).digit:
        text = parse(tokens[index].core) if used == 1 else None
        return Reading(amount(unit.core, text) if text else f"{words} {currency_name(unit.core)}", used + 1)
    name, more = _unit_token(tokens, index + used)
    if name is None:
        return None
    one = value.one or (one and is_noun(after(tokens, index + used + more - 1))) or one and words.startswith("one ")
    last = at(tokens, index + used + more - 1)
    trail = last.trail
    if trail[:1] == "." and index + used + more < len(tokens) and not _starts_sentence(at(tokens, index + used + more)):
        trail = trail[1:]
    return Reading(f"{words} {name if one else plural_unit(name)}", used + more, trail)


def _starts_sentence(token: Token) -> bool:
    return token.capitalised


def _unit_token(tokens: Tokens, index: int) -> tuple[str | None, int]:
    token, following = tokens[index], at(tokens, index + 1)
    core = token.core
    if core in ("sq", "cu") and following.core and (name := unit_name(following.core)):
        return f"{'square' if core == 'sq' else 'cubic'} {name}", 2
    if core == "fl" and following.core == "oz":
        return "fluid ounce", 2
    if core == "°" and following.core in ("C", "F"):
        return UNITS["°" + following.core], 2
    if len(core) == 1 and core not in SPACED_SINGLE and core not in ("%", "‰", "º", "℃", "℉", "¢"):
        return None, 0
    if core == "in":
        longer = token.trail[:1] == "." and index + 1 < len(tokens)
        return ("inch", 1) if longer or following.lower in _LENGTH_WORDS else (None, 0)
    if core in _AMBIGUOUS_UNITS or (core.isalpha() and core.isupper() and len(core) > 1 and core not in _CAPITAL_UNITS):
        return None, 0
    return unit_name(core), 1


_CAPITAL_UNITS = frozenset({"MB", "GB", "TB", "KB", "PB", "MW", "GW", "RPM", "BPM", "HP", "MPG", "KM", "KG", "IU", "MV"})


def _in_quotes(tokens: Tokens, index: int) -> bool:
    """Whether a quotation is open before the token, so that a mark behind it closes one."""
    marks = sum(at(tokens, index - back).text.count('"') for back in range(1, 31))
    return (marks + tokens[index].lead.count('"')) % 2 == 1


def is_year(tokens: Tokens, index: int, used: int, run: str) -> bool:
    """Whether four digits name a year here, and not a count."""
    if not (len(run) == 4 and run.isdecimal() and "1000" <= run <= "2099"):
        return False
    previous, following = before(tokens, index), after(tokens, index + used - 1)
    if following in ("bc", "ad", "bce", "ce"):
        return True
    if following in _COUNTED or (
        following.endswith("s") and len(following) > 3 and following not in _NOT_PLURALS and previous not in ("the", "in")
    ):
        return False
    return previous in YEAR_WORDS or run >= "1100"


def _range(tokens: Tokens, index: int, match: re.Match[str], used: int) -> Reading | None:
    low, high = match["number"], match["number2"]
    sign, rest, suffix = match["currency"] or match["currency2"], match["rest"], match["suffix"]
    first, second = parse(low), parse(high)
    if first is None or second is None or (low[0] == "0" and low.isdecimal() and len(low) > 1):
        return None
    opening = f"{SIGNS[match['sign'] or '']} " if match["sign"] else ""
    opening += "minus " if match["minus"] else ""
    joint = "and" if before(tokens, index) == "between" else "to"
    if low == high and not (suffix or rest or sign):
        joint = ""
    years = _are_years(low, high) and not (sign or rest or suffix) and before(tokens, index) not in ("pages", "pp")
    left = _quantity(low, match["vulgar"], year(int(low)) if years else None)
    right = _quantity(high, match["vulgar2"], year(int(high)) if years and len(high) == 4 else None)
    if left is None or right is None:
        return None
    minus = {"−": "minus ", "+": "plus "}.get(match["sign2"] or "", "")
    head, slash, tail = rest.partition("/")
    if slash and not (per := per_name(tail)) and not unit_name(rest):
        return None
    first_words, second_words = left.words, minus + right.words
    if sign is None and head in CURRENCIES and head not in UNITS:
        sign, head = head, ""
    if sign:
        scale, scale2 = MAGNITUDES.get(suffix, ""), MAGNITUDES.get(head, "")
        word = at(tokens, index + used)
        if not head and word.lower in MAGNITUDE_WORDS and not at(tokens, index + used - 1).trail:
            scale2, used = word.lower, used + 1
        if (suffix and not scale and suffix != sign) or (head and not scale2):
            return None
        words = _money_range(sign, (first, scale), (second, scale2), joint)
        return Reading(opening + (f"{words} per {per_name(tail)}" if slash else words), used)
    if not rest and not suffix:
        behind = _unit_behind(tokens, index, used, Amount("", False), False)
        span = f"{opening}{first_words} {joint} {second_words}".replace("  ", " ")
        if behind and behind.used > used:
            return behind._replace(spoken=span + behind.spoken)
        return Reading(span, used)
    tail_words = _tail(tokens, index, high, Amount(second_words, False), rest, False) if rest else second_words
    head_words = first_words
    if suffix and suffix != rest:
        head_words = _tail(tokens, index, low, left, suffix, False) or ""
    if not tail_words or not head_words:
        return None
    return Reading(f"{opening}{head_words} {joint} {tail_words}", used)


def _are_years(low: str, high: str) -> bool:
    if not (low.isdecimal() and high.isdecimal() and len(low) == 4 and "1100" <= low <= "2099"):
        return False
    return len(high) == 2 or (len(high) == 4 and high <= "2199")


def _money_range(sign: str, low: tuple[Number, str], high: tuple[Number, str], joint: str) -> str:
    """The currency is said once, unless there are cents in it."""
    (first, scale), (second, scale2) = low, high
    if (first.fraction and not (scale or scale2)) or (second.fraction and not scale2):
        return f"{amount(sign, first, scale)} {joint} {amount(sign, second, scale2)}"
    left = f"{number(first)} {scale}".strip() if scale != scale2 or scale else number(first)
    return f"{left} {joint} {amount(sign, second, scale2)}"


