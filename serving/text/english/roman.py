"""Roman numerals, where a number is meant."""

from __future__ import annotations

import re

from serving.text.english.quantities.numbers import cardinal, ordinal, year
from serving.text.english.tokens import Reading, Token, Tokens, after, at, before, word_set

_ROMAN = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_PARTS = word_set(
    """
    chapter part act scene section volume vol book phase article level stage class grade episode title
    appendix table figure fig annex schedule amendment canto psalm movement round division category type
    mark war bowl apollo gemini fantasy olympiad no number hall verse lesson unit tier quarter saturn mk
    rocky wars factor corps tome
    """
)
_SHORT_PARTS = frozenset({"vol", "fig", "no", "ch", "pt", "sec", "art"})
_CENTURY = frozenset(
    {"century", "centuries", "c", "dynasty", "olympiad", "arrondissement", "congress", "olympics"}
)
_REGNAL = word_set(
    """
    henry louis edward george william charles james richard elizabeth napoleon pius benedict leo paul ramses
    ramesses frederick philip alexander nicholas peter catherine ivan umberto emmanuel gustav christian
    ferdinand mary john gregory innocent urban clement boniface adrian sixtus otto wilhelm friedrich franz
    joseph maria francis alfonso juan carlos felipe pedro thutmose amenhotep darius xerxes cyrus mehmed
    selim murad abdul hussein abdullah rama david robert malcolm harald harold haakon olav oscar carl karl
    eric erik margrethe margaret isabella anne stephen celestine eugene martin victor julius callixtus linus
    marcellus theodore basil constantine justinian leopold albert baudouin wilhelmina willem rainier
    mohammed hassan fuad faruk mithridates ptolemy cleopatra antiochus seleucus tutankhamun seti sancho
    ludwig matthias sigismund casimir boris simeon vladimir yaroslav feodor pope king queen
    """
)
_TITLES = word_set(
    """
    king queen pope emperor empress tsar czar prince princess duke saint sultan pharaoh kaiser
    """
)
_NUMERAL_FOLLOWERS = word_set(
    """
    of and to in is was the by began ended ends begins through has had for on at as with from veteran
    veterans will or covers deals describes shall opens introduces explains ii error errors diabetes trial
    trials collagen
    """
)
_REIGN_FOLLOWERS = word_set("of and")
_REIGN_VERBS = word_set("was is had became died reigned ruled succeeded married ordered in who")
_NOT_NUMERALS = frozenset(
    {"IV", "XL", "XXL", "XXXL", "MIX", "LIV", "CIVIL", "DIM", "CD", "DC", "MD", "CC", "MM", "CM", "MC"}
)
_DRIPS = word_set(
    """
    drip drips line lines bag fluid fluids therapy access antibiotics needle pole infusion tube catheter
    """
)
_WHERE = word_set("in of from about see for to and")
_PRONOUN_PARTS = word_set("an any no the this that a his her my each")
_LISTED = re.compile(r"x{0,3}(?:ix|iv|v?i{0,3})")


def value_of(numeral: str) -> int:
    """The value of a Roman numeral in capitals; 0 if it is none."""
    if not numeral or len(numeral) > 15 or not _ROMAN.fullmatch(numeral):
        return 0
    values = [_VALUES[symbol] for symbol in numeral]
    return sum(-low if low < high else low for low, high in zip(values, [*values[1:], 0], strict=True))


def is_numeral(core: str) -> bool:
    """Whether a word is a Roman numeral, or a range of two, of more than one letter."""
    upper = (
        core.upper()
        if core.islower() and _LISTED.fullmatch(core.replace("–", "-").partition("-")[0])
        else core
    )
    low, dash, high = upper.replace("–", "-").partition("-")
    return len(core) > 1 and value_of(low) > 0 and (not dash or value_of(high) > 0)


def read_roman(tokens: Tokens, index: int) -> Reading | None:
    """ "Chapter IV", "Henry VIII", "XIX century", "World War I", "Comet XXXVII"; never the pronoun, a letter or
    an initial.
    """
    token = tokens[index]
    core, suffix = token.core, ""
    if core[-2:] in ("'s", "’s"):
        core, suffix = core[:-2], core[-2:]
    low, dash, high = core.partition("-") if "-" in core else core.partition("–")
    if dash and value_of(low) and value_of(high) and (_is_part(tokens, index) or len(low) + len(high) > 3):
        return Reading(f"{cardinal(value_of(low))} to {cardinal(value_of(high))}")
    value = value_of(core)
    if not value:
        return _listed(tokens, index)
    if _is_initial(tokens, index, core) or (len(core) == 1 and core in "CDLM"):
        return None
    words = _words(tokens, index, core, value)
    return Reading(words + suffix) if words else None


def _is_initial(tokens: Tokens, index: int, core: str) -> bool:
    """ "George V. Miller": a single letter with a period before a name."""
    token, following = tokens[index], at(tokens, index + 1)
    return len(core) == 1 and token.trail[:1] == "." and following.capitalised and following.core.isalpha()


def _is_part(tokens: Tokens, index: int) -> bool:
    previous = at(tokens, index - 1)
    if previous.trail == ".":
        return previous.lower in _SHORT_PARTS
    return previous.lower in _PARTS and not previous.trail


def _words(tokens: Tokens, index: int, core: str, value: int) -> str | None:
    previous, following = at(tokens, index - 1), after(tokens, index)
    if following in _CENTURY or (
        following in ("and", "or", "to") and at(tokens, index + 3).lower in _CENTURY
    ):
        return ordinal(value) if core != "I" or following in _CENTURY else None
    if len(core) == 1:
        return _single(tokens, index, core, value)
    if _is_part(tokens, index):
        return cardinal(value)
    if previous.trail or not index:
        return None if core in _NOT_NUMERALS or (len(core) < 3 and core != "II") else _free(core, value)
    if _is_regnal(tokens, index) or (value < 6 and _is_suffix(tokens, index)):
        return f"the {ordinal(value)}"
    if core == "IV" and (following in _DRIPS or not previous.capitalised or previous.lower in _PRONOUN_PARTS):
        return None
    if core in _NOT_NUMERALS and core != "IV":
        return None
    if previous.lower == "the" and following.isalpha():
        return ordinal(value) if set(core) <= set("IVX") else None
    return _free(core, value)


def _free(core: str, value: int) -> str | None:
    """A numeral that nothing announces: of the letters I, V and X, or a year."""
    if len(core) > 3 and core[0] == "M" and 1000 < value < 2100:
        return year(value)
    return cardinal(value) if set(core) <= set("IVX") else None


def _is_regnal(tokens: Tokens, index: int) -> bool:
    previous = at(tokens, index - 1)
    return not previous.trail and previous.capitalised and previous.lower in _REGNAL


def _is_suffix(tokens: Tokens, index: int) -> bool:
    """ "Robert Downey III": behind a given name and a family name."""
    family, given = at(tokens, index - 1), at(tokens, index - 2)
    return (
        family.capitalised
        and not family.trail
        and given.capitalised
        and not given.trail.strip(".")
        and given.lower in _REGNAL - _TITLES
        and family.lower not in _REGNAL
        and family.lower not in _PARTS
    )


def _single(tokens: Tokens, index: int, core: str, value: int) -> str | None:
    token, previous, following = tokens[index], at(tokens, index - 1), after(tokens, index)
    closed = token.ends_clause or index + 1 >= len(tokens) or token.trail != ""
    if _is_part(tokens, index) and previous.capitalised and previous.lower != "no":
        kind = previous.lower
        if core == "X" and kind in ("type", "class", "factor", "mark", "grade", "category", "level"):
            return None
        war = kind in ("war", "bowl")
        if core == "V" and kind in ("type", "class"):
            return None
        return cardinal(value) if core != "I" or war or closed or following in _NUMERAL_FOLLOWERS else None
    if core == "I" and token.trail[:1] in (".", "?", "!") and before(tokens, index) in _PARTS:
        # "in part I." is a number, "the part I." is broken off.
        return "one" if before(tokens, index, 2) in _WHERE else None
    if not _is_regnal(tokens, index) or previous.lower == "malcolm":
        return None
    titled = before(tokens, index, 2) in _TITLES
    if core != "I":
        return f"the {ordinal(value)}" if closed or titled or not at(tokens, index + 1).capitalised else None
    first = index == 1 or at(tokens, index - 2).ends_clause
    if (
        titled
        or following in _REIGN_FOLLOWERS
        or (closed and before(tokens, index, 2) not in ("and", "or", "than"))
    ):
        return f"the {ordinal(value)}"
    talking = at(tokens, index + 2).lower.endswith("ing")
    return f"the {ordinal(value)}" if first and following in _REIGN_VERBS and not talking else None


def _listed(tokens: Tokens, index: int) -> Reading | None:
    """ "(ii)" in a list, "page xii"."""
    token: Token = tokens[index]
    core = token.core
    low, dash, high = core.replace("–", "-").partition("-")
    if (
        dash
        and core.islower()
        and is_numeral(core)
        and at(tokens, index - 1).lower in ("page", "pages", "p", "pp")
    ):
        return Reading(f"{cardinal(value_of(low.upper()))} to {cardinal(value_of(high.upper()))}")
    if not core or len(core) > 7 or not _LISTED.fullmatch(core):
        return None
    named = len(core) > 1 and before(tokens, index) in _PARTS and before(tokens, index) not in ("mark", "mk")
    if named or (not token.lead and token.trail[:1] == ")" and len(core) > 1):
        return Reading(cardinal(value_of(core.upper())))
    listed = token.lead[-1:] == "(" and token.trail[:1] == ")" and (len(core) > 1 or core == "v")
    if listed or (before(tokens, index) in ("page", "pages", "p", "pp") and core != "i"):
        return Reading(cardinal(value_of(core.upper())))
    return None
