"""What is attached to a number or stands behind it: units, suffixes, magnitudes."""

from __future__ import annotations

from serving.text.english.quantities.money import (
    CURRENCIES,
    MAGNITUDE_WORDS,
    MAGNITUDES,
    amount,
    currency_name,
)
from serving.text.english.quantities.numbers import cardinal, numbers, ordinal, parse, plural, year
from serving.text.english.quantities.units import SPACED_SINGLE, UNITS, per_name, plural_unit, unit_name
from serving.text.english.quantities.vulgar import Amount
from serving.text.english.tokens import Reading, Token, Tokens, after, at, before, is_sum, word_set

_NOT_NOUNS = word_set(
    """
    of in on at to for from per long wide tall high deep away or and by is was are were that which with than
    ago later more less each if as but the a it he she they we you i old apart behind ahead above below into
    over
    """
)
_AMBIGUOUS_UNITS = frozenset({"in", "pt", "mo", "bar", "rad", "deg", "ct", "at", "d", "kn", "a", "pcs", "MP"})
LENGTH_WORDS = word_set("wide long tall deep high thick x by diameter across")
_SEATS = word_set(
    "seat seats row gate room apartment apt unit flat suite number no class grade section block lot exit page"
    " figure fig question step table chapter part item building bus line route terminal hall box slide"
)
_CAPITAL_UNITS = frozenset(
    {"MB", "GB", "TB", "KB", "PB", "MW", "GW", "RPM", "BPM", "HP", "MPG", "KM", "KG", "IU", "MV"}
)
_DECADE_WORDS = word_set(
    """
    the his her their my your our early late mid in of these those her's mid-to-late swinging roaring
    nineteen low lower upper high
    """
)
_DECADE_NOUNS = word_set(
    """
    music style styles fashion rock pop hits songs film films movie movies kid kids band bands sitcom sitcoms
    nostalgia vibe vibes disco era cartoon cartoons hair jeans child children party
    """
)
"""Behind "90s"."""

_PRESENT = frozenset({"present", "now", "today", "date"})
_MEASURED = word_set(
    """
    film lens lenses battery batteries angle angles bottle bottles glass glasses bulb bulbs screen screens cable
    cables card cards camera jar jars resistor resistors capacitor capacitors paper bolt bolts nail nails screw
    screws drive drives disk disks file files store stores bill bills note notes coin coins stamp stamps ticket
    tickets bag bags box boxes tank tanks pipe pipes board boards plate plates dumbbell dumbbells weights radius
    monitor monitors panel panels charger adapter outlet supply motor motors engine engines amplifier laser gun
    cannon cartridge rounds steak burger commute bike tube socket wrench loan tip coupon voucher deposit donation
    prize tablet tablets dose doses vial syringe container containers package packages attachment module phone
    """
)
"""Nouns that a measure before them describes: "35 mm film", "a $5 bill"."""


def is_measured(word: str) -> bool:
    """Whether a measure right before the word is its adjective, so that the unit stands in the singular."""
    return word in _MEASURED


def is_noun(word: str) -> bool:
    """Whether a word may be what an adjective stands before."""
    return word.isalpha() and len(word) > 1 and word not in _NOT_NOUNS


def _is_of_decade(tokens: Tokens, index: int) -> bool:
    """Whether "80s" are years or ages and no seconds: "the 80s", "in their 40s, 50s and 60s", "the 1980s and 90s"."""
    for _ in range(4):
        back = index - 1 - (at(tokens, index - 1).lower in ("and", "or", "to"))
        listed = at(tokens, back).core
        if not (listed.endswith("0s") and listed[:-1].isdecimal()):
            break
        if len(listed) == 5:
            return True
        index = back
    return before(tokens, index) in _DECADE_WORDS


def tail_words(
    tokens: Tokens, index: int, text: str, value: Amount, rest: str, adjective: bool
) -> str | None:
    """The words of a number with what is attached to it; None if that is neither unit nor suffix."""
    unit = (
        unit_name(rest)
        if rest not in ("M", "B", "K", "T", "G", "X", "A", "D", "F", "C", "N", "d", "b", "t")
        else None
    )
    round_year = len(text) == 4 and text[0] in "12" and text[-1] == "0"
    of_decade = text.isdecimal() and _is_of_decade(tokens, index)
    if before(tokens, index) == "in":  # "in 12s", but "in 90s fashion"
        of_decade = of_decade and text[-1] == "0"
    of_decade = of_decade or (text[-1:] == "0" and len(text) == 2 and after(tokens, index) in _DECADE_NOUNS)
    if rest == "s" and (round_year or of_decade or tokens[index].lead.endswith("'")):
        unit = None
    if rest == "m" and after(tokens, index) in _CROWDS:
        unit = None
    if unit:
        adjective = adjective or (unit == "star" and is_noun(after(tokens, index)))
        return f"{value.words} {unit if value.one or adjective else plural_unit(unit)}"
    if rest in CURRENCIES:
        number_value = parse(text) if text else None
        return amount(rest, number_value) if number_value and text else f"{value.words} {currency_name(rest)}"
    head, slash, tail = rest.partition("/")
    if slash and (per := per_name(tail)):
        top = tail_words(tokens, index, text, value, head, adjective) if head else value.words
        return f"{top} per {per}" if top else None
    if rest[:1] in ("-", "–", "—") and rest[1:] in _PRESENT and len(text) == 4 and text.isdecimal():
        return f"{year(int(text))} to {rest[1:]}"
    if rest[:1] == "-" and (words := hyphenated(rest[1:])):
        return f"{value.words} {words}"
    if rest in ("st", "nd", "rd", "th") and text.replace(",", "").isdecimal():
        return ordinal(text.replace(",", ""))
    if (
        rest[:2] in ("st", "nd", "rd", "th")
        and rest[2:3] == "-"
        and text.isdecimal()
        and (words := hyphenated(rest[3:]))
    ):
        return f"{ordinal(text)} {words}"
    if rest in ("s", "'s", "’s") and text.isdecimal():
        return decade(text)
    if rest in ("x", "X", "×"):
        return f"{value.words} {'x' if is_sum(tokens, index) else 'times'}"
    if rest == "+":
        return f"{value.words} plus"
    if rest in MAGNITUDES and _is_magnitude(tokens, index, text, rest):
        return f"{value.words} {MAGNITUDES[rest]}"
    magnitude = MAGNITUDES.get(rest[:-1])
    if rest[-1] == "+" and magnitude and _is_magnitude(tokens, index, text, rest[:-1]):
        return f"{value.words} {magnitude} plus"
    if rest[-1] in CURRENCIES and magnitude:
        return f"{value.words} {magnitude} {currency_name(rest[-1])}"
    if rest in ("C", "F") and len(text) > 1 and not _is_seat(tokens, index):
        return f"{value.words} {plural_unit(UNITS[rest])}"
    return None


_ROADS = word_set("street st road rd avenue ave lane ln drive dr boulevard blvd way place court")
_CROWDS = word_set(
    """
    people users followers views subscribers downloads viewers customers listeners streams likes readers fans
    players visitors residents voters workers employees jobs households members copies units books euros dollars
    pounds parameters tokens rows records requests
    """
)
"""What is counted in thousands and millions: "5m users" are no metres."""
_FLATS = word_set("apartment building wing entrance")


def _is_magnitude(tokens: Tokens, index: int, text: str, rest: str) -> bool:
    if after(tokens, index) in _CROWDS and len(text) < 5:
        return rest in ("m", "b", "M", "B", "k", "K")
    if rest in ("m", "t", "b"):
        return rest == "b" and "." in text
    if rest in ("k", "mn", "bn", "Bn", "BN", "tn", "mln", "bln", "mil"):
        return True
    noun = after(tokens, index)
    if len(text) < 4 and "." not in text and at(tokens, index + 1).lower in _ROADS | _FLATS:
        return False
    if _is_seat(tokens, index) and "." not in text:
        return False
    if rest == "B" and at(tokens, index + 2).lower in _ROADS:
        return False  # "221B Baker Street"
    if rest == "K":
        return len(text) > 2 or "." in text
    return "." in text or len(text) > 1 or (noun.endswith("s") and is_noun(noun))


def _is_seat(tokens: Tokens, index: int) -> bool:
    """Whether the letter behind a number is part of a name: "seat 14C", "Fig. 3B", "Gate: 12A"."""
    previous = at(tokens, index - 1)
    return previous.lower in _SEATS and previous.trail in ("", ".", ":")


def decade(run: str) -> str:
    """1990s is "nineteen nineties", 20s "twenties", 747s "seven hundred forty sevens"."""
    words = year(int(run)) if len(run) == 4 else numbers(run)
    if len(run) == 4 and run.endswith("00") and not run.endswith("000"):
        return f"{cardinal(run[:2])} hundreds"
    return plural(words)


def hyphenated(rest: str) -> str | None:
    """The words behind a number and a hyphen: "year-old", "km", "inch"."""
    if not rest or not all(part.isalpha() for part in rest.split("-")):
        return None
    return " ".join(
        (unit_name(part) or part) if len(part) > 1 or part in "mgL" else part for part in rest.split("-")
    )


def unit_behind(
    tokens: Tokens, index: int, used: int, value: Amount, one: bool, text: str = ""
) -> Reading | None:
    """A unit, a currency or a magnitude as a token of its own behind the number."""
    last, unit = at(tokens, index + used - 1), at(tokens, index + used)
    words = value.words
    if last.trail[:1] in ('"', "″") and last.trail and not _in_quotes(tokens, index):
        return Reading(f"{words} {'inch' if value.one or one else 'inches'}", used, last.trail[1:])
    if last.trail or not unit.core:
        return None
    if unit.lower in MAGNITUDE_WORDS:
        following = at(tokens, index + used + 1)
        if unit.trail or not following.core:
            return None
        if following.core in CURRENCIES:
            return Reading(f"{words} {unit.lower} {currency_name(following.core)}", used + 2)
        name, more = _unit_token(tokens, index + used + 1)
        return Reading(f"{words} {unit.lower} {plural_unit(name)}", used + 1 + more) if name else None
    if unit.core in CURRENCIES and unit.core != "Rs" and not at(tokens, index + used + 1).digit:
        number_value = parse(text) if text else None
        money = amount(unit.core, number_value) if number_value else f"{words} {currency_name(unit.core)}"
        return Reading(money, used + 1)
    sign, _, per = unit.core.partition("/")
    if sign in CURRENCIES and (each := per_name(per)):
        return Reading(f"{words} {currency_name(sign)} per {each}", used + 1)
    name, more = _unit_token(tokens, index + used)
    if name is None:
        return None
    one = (
        value.one
        or (one and is_noun(after(tokens, index + used + more - 1)))
        or is_measured(_follower(tokens, index + used + more - 1))
        or (one and words.startswith("one "))
    )
    last = at(tokens, index + used + more - 1)
    trail = last.trail
    if (
        trail[:1] == "."
        and index + used + more < len(tokens)
        and not _starts_sentence(at(tokens, index + used + more))
    ):
        trail = trail[1:]
    return Reading(f"{words} {name if one else plural_unit(name)}", used + more, trail)


def _follower(tokens: Tokens, index: int) -> str:
    """The word behind a unit, also one with the period of an abbreviation ("8 oz. glass")."""
    return at(tokens, index + 1).lower if at(tokens, index).trail in ("", ".") else ""


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
    if core == "s":
        number = at(tokens, index - 1).core
        return (None, 0) if len(number) == 4 and number.isdecimal() else ("second", 1)
    if len(core) == 1 and core not in SPACED_SINGLE and core not in ("%", "‰", "º", "℃", "℉", "¢"):
        return None, 0
    named = following.capitalised or following.digit
    road = named and any(at(tokens, index + ahead).lower in _ROADS for ahead in (2, 3))
    if core in ("N", "W") and (road or (core == "N" and token.trail == "." and following.capitalised)):
        return None, 0  # "45 N. Main Street", "123 W 4th St"
    if core == "in":
        feet = at(tokens, index - 2).lower in ("ft", "feet", "foot", "ft.")
        longer = feet or (token.trail[:1] == "." and index + 1 < len(tokens))
        return ("inch", 1) if longer or following.lower in LENGTH_WORDS else (None, 0)
    if core in _AMBIGUOUS_UNITS or (
        core.isalpha() and core.isupper() and len(core) > 1 and core not in _CAPITAL_UNITS
    ):
        return None, 0
    return unit_name(core), 1


def _in_quotes(tokens: Tokens, index: int) -> bool:
    """Whether a quotation is open before the token, so that a mark behind it closes one."""
    opened = False
    for back in range(30, 0, -1):
        token = at(tokens, index - back)
        opened = (opened or '"' in token.lead) and '"' not in token.trail
    return opened or '"' in tokens[index].lead
