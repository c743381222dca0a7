"""Ranges: "10-20%", "$1M-$2M", "1990–95"."""

from __future__ import annotations

import re

from serving.text.english.quantities.money import CURRENCIES, MAGNITUDE_WORDS, MAGNITUDES, amount
from serving.text.english.quantities.numbers import NUMBER, Number, number, pairs, parse, year
from serving.text.english.quantities.suffixes import tail_words, unit_behind
from serving.text.english.quantities.units import UNITS, per_name, unit_name
from serving.text.english.quantities.vulgar import VULGAR, Amount, quantity
from serving.text.english.tokens import Reading, Tokens, at, before

SIGNS = {
    **{"-": "minus", "−": "minus", "–": "minus", "+": "plus", "±": "plus or minus", "+/-": "plus or minus"},
    **{"~": "about", "≈": "approximately", "<": "less than", ">": "more than", "<=": "at most"},
    **{">=": "at least", "≤": "at most", "≥": "at least", "≲": "at most", "≳": "at least", "": ""},
    **{"~-": "about minus", "~−": "about minus"},
}
_SIGN = r"(?P<sign>\+/-|[<>]=|~[-−]|[-−–+±~≈<>≤≥])?"
A_CURRENCY = "|".join(re.escape(sign) for sign in sorted(CURRENCIES, key=len, reverse=True))
A_VULGAR = f"[{''.join(VULGAR)}]"
HEAD = rf"{_SIGN}(?P<currency>{A_CURRENCY})?(?P<minus>[-−])?"
TWO = re.compile(
    rf"{HEAD}(?P<number>{NUMBER})(?P<vulgar>{A_VULGAR})?(?P<suffix>[^\d\s\-–—−/.,_’']{{0,4}})"
    rf"(?:[-–—−]|\.\.\.?|…)(?P<sign2>[−+])?(?P<currency2>{A_CURRENCY})?(?P<number2>{NUMBER})(?P<vulgar2>{A_VULGAR})?"
    r"(?P<rest>.*)",
    re.DOTALL,
)


def read_range(tokens: Tokens, index: int, match: re.Match[str], used: int) -> Reading | None:
    low, high = match["number"], match["number2"]
    sign, rest, suffix = match["currency"] or match["currency2"], match["rest"], match["suffix"]
    first, second = parse(low), parse(high)
    if first is None or second is None or (low[0] == "0" and low.isdecimal() and len(low) > 1):
        return None
    opening = f"{SIGNS[match['sign'] or '']} " if match["sign"] else ""
    opening += "minus " if match["minus"] else ""
    joint = "and" if before(tokens, index) == "between" else "to"
    if (low == high or (low, high) == ("24", "7")) and not (suffix or rest or sign):
        joint = ""
    if len(low) == 3 and low.isdecimal() and before(tokens, index) in ("boeing", "airbus"):
        return Reading(f"{pairs(low)} {pairs(high)}") if not (rest or suffix or sign) else None
    years = (
        _are_years(low, high)
        and not (sign or rest or suffix)
        and before(tokens, index) not in ("pages", "pp")
    )
    left = quantity(low, match["vulgar"], year(int(low)) if years else None)
    right = quantity(high, match["vulgar2"], year(int(high)) if years and len(high) == 4 else None)
    if left is None or right is None:
        return None
    minus = {"−": "minus ", "+": "plus "}.get(match["sign2"] or "", "")
    head, slash, tail = rest.partition("/")
    if slash and not per_name(tail) and not unit_name(rest):
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
        behind = unit_behind(tokens, index, used, Amount("", False), False)
        span = f"{opening}{first_words} {joint} {second_words}".replace("  ", " ")
        if behind:
            return behind._replace(spoken=span + behind.spoken)
        return Reading(span, used)
    tail_said = (
        tail_words(tokens, index, high, Amount(second_words, False), rest, False) if rest else second_words
    )
    head_words = first_words
    if suffix and (suffix != rest or suffix in ("s", "st", "nd", "rd", "th")):
        head_words = tail_words(tokens, index, low, left, suffix, False) or ""
    if not tail_said or not head_words:
        return None
    return Reading(f"{opening}{head_words} {joint} {tail_said}", used)


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
