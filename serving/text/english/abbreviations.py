"""Abbreviations, where they are meant as such, and words with two pronunciations."""

from __future__ import annotations

from serving.text.english.roman import is_numeral
from serving.text.english.tokens import (
    Reading,
    Tokens,
    at,
    before,
    said_nearby,
    starts_sentence,
    table,
    word_set,
)

_TITLES = table(
    """
    Mr Mister, Mrs Missus, Ms Miz, Dr Doctor, Prof Professor, Gen General, Gov Governor, Sen Senator, Rep
    Representative, Capt Captain, Lt Lieutenant, Col Colonel, Sgt Sergeant, Cmdr Commander, Rev Reverend, Hon
    Honorable, Pres President, Supt Superintendent, Cpl Corporal, Maj Major, Adm Admiral, Fr Father, Msgr
    Monsignor, Messrs Messers, Mx Mix, Pvt Private, Atty Attorney, St Saint, Mt Mount, Ft Fort, Pt Point, Sr
    Sister, Br Brother, Insp Inspector, Drs Doctors, Sens Senators, Reps Representatives, Profs Professors,
    Gens Generals, Govs Governors, Det Detective
    """
)
_TITLES_WITHOUT_PERIOD = frozenset(
    {"Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Mt", "Lt", "Capt", "Sgt", "Ft", "Cmdr", "Cpl"}
)
_STREETS = table(
    """
    St Street, Dr Drive, Ave Avenue, Blvd Boulevard, Rd Road, Ln Lane, Hwy Highway, Pkwy Parkway, Ct Court, Pl
    Place, Sq Square, Ter Terrace, Cir Circle, Fwy Freeway, Expy Expressway, Mt Mountain, Ft Feet
    """
)
_SHOUTED_TITLES = frozenset({"Mr", "Mrs", "Ms", "Dr", "Prof"})
_ROADS = frozenset({"St", "Dr", "Ave", "Blvd", "Rd", "Ln", "Hwy", "Pkwy"})
"""Written without a period, too, behind a name or an ordinal."""
_POINTS = table("N North, S South, E East, W West")
_AFTER_NAME = table(
    """
    Jr Junior, Sr Senior, Inc Incorporated, Corp Corporation, Ltd Limited, Co Company, Bros Brothers, Assn
    Association, Univ University, Esq Esquire, Dept Department, Intl International, Mfg Manufacturing, Hosp
    Hospital, Inst Institute, Natl National
    """
)
_ANYWHERE = table(
    """
    approx approximately, dept department, govt government, vs versus, etc et cetera, e.g for example, eg for
    example, i.e that is, ie that is, cf compare, al al, viz namely, incl including, excl excluding, esp
    especially, resp respectively, misc miscellaneous, govt's government's, dept's department's, assoc
    associate, asst assistant, bldg building, apt apartment, ste suite, mgr manager, tel telephone, temp
    temperature, a.k.a also known as, w.r.t with respect to, intl international, natl national, univ
    university, hwy highway, blvd boulevard, ave avenue, pkwy parkway, est established, ext extension, tbsp
    tablespoon, tsp teaspoon, appt appointment, avg average, orig originally, cont continued
    """
)
"""Behind these a period belongs to the abbreviation."""
_BEFORE_NUMBER = table(
    """
    no number, nos numbers, nr number, fig figure, figs figures, vol volume, vols volumes, ch chapter, chap
    chapter, p page, pp pages, pg page, sec section, art article, eq equation, eqs equations, ver version, ed
    edition, ref reference, min minimum, max maximum, ca circa, c circa, para paragraph, tab table, ex
    example, app appendix, pt part, ep episode, apt apartment, ste suite, rm room, est established, op opus, v
    volume, ln line, sect section, rev revision, ext extension, tel telephone
    """
)
_WITHOUT_PERIOD = table(
    """
    vs versus, w/ with, w/o without, b/c because, c/o care of, aka also known as, etc et cetera, approx
    approximately, n/a N A, w/in within, b/w between, d/t due to, s/he she or he, a/c A C, i/o I O, p/e P E,
    y/n yes or no, q&a Q and A, r&d R and D, m&a M and A, r&b R and B, b&b B and B, at&t A T and T, h&m H and
    M, m&m M and M
    """
)
_EDITIONS = {"ed": "edition", "eds": "editors", "cent": "century", "rev": "revised"}
_MEASURES = table(
    "oz ounce, lb pound, gal gallon, qt quart, pt pint, yd yard, hr hour, min minute, sec second"
)
"""Behind an article, a period belongs to the unit."""
_ROLES = table("min minimum, max maximum, fig figure, avg average, ave avenue, ref reference, app appendix")
"""Behind "the", before a small letter."""
_PHONEMES = {"etc": "ɛtsˈɛTəɹə"}
_SAID_NO = word_set(
    """
    said say says saying answered answer answers replied told tell or yes but just simply is was a an oh
    with and be meant mean means shouted whispered vote votes voted nodded screamed responded why
    hell absolutely definitely him her me us them you
    """
)
_LINKING = word_set("is was be a an the with and or by")
_NUMBERED_IN_ROMAN = word_set("vol vols ch chap sec fig figs art pt bk p pp no")
_ANSWERS = word_set("answer reply response vote verdict answers decision")
_ROAD_STARTERS = word_set("on at along near of down from to onto and")


def read_abbreviation(tokens: Tokens, index: int) -> Reading | None:
    """ "Dr.", "St.", "No. 8", "vs.", "Inc.", "e.g.", "Elm Dr."."""
    token = tokens[index]
    core = token.core
    lower = token.lower
    if len(core) > 8:
        return None
    if core[-3:] in (".'s", ".’s") and core[:-3] in _AFTER_NAME:
        return Reading(_AFTER_NAME[core[:-3]] + "'s")  # "King Jr.'s"
    if core.isupper() and token.trail[:1] == "." and core.title() in _SHOUTED_TITLES:
        return Reading(_TITLES[core.title()], 1, token.trail[1:])
    if (
        lower in _WITHOUT_PERIOD
        and (token.trail[:1] != "." or "/" in lower)
        and (len(lower) > 2 or lower != "vs" or token.trail == "")
    ):
        return Reading(_WITHOUT_PERIOD[lower], phonemes=_PHONEMES.get(lower))
    if lower == "attn" and token.trail == ":":
        return Reading("Attention")
    if lower == "w" and token.text[-1:] == "/":
        return Reading("with")
    period = token.trail[:1] == "."
    if not period:
        if core in _ROADS and token.trail[:1] in ("", ",") and _is_road(tokens, index):
            return Reading(_STREETS[core])
        if core in _TITLES_WITHOUT_PERIOD and not token.trail and _before_name(tokens, index):
            return Reading(_street(tokens, index) or _TITLES[core])
        return Reading(_WITHOUT_PERIOD[lower]) if lower in _WITHOUT_PERIOD else None
    following = at(tokens, index + 1)
    if core == "v" and at(tokens, index - 1).capitalised and following.capitalised:
        return Reading("versus", 1, token.trail[1:])  # "Roe v. Wade"
    numeral = lower in _NUMBERED_IN_ROMAN and is_numeral(following.core)
    if lower in _BEFORE_NUMBER and (following.digit or numeral) and not token.trail[1:].strip("("):
        return _before_number(tokens, index)
    if core == "No" and following.text == "of":
        return Reading("Number", 1, "")
    words = _words(tokens, index)
    if words is None:
        return None
    if core[0].isupper() and words[0].islower():
        words = words[0].upper() + words[1:]
    return Reading(words, 1, _trail(tokens, index), _PHONEMES.get(lower))


def _trail(tokens: Tokens, index: int) -> str:
    """The punctuation behind an abbreviation: its period stays only where the sentence ends with it."""
    trail, following = tokens[index].trail, at(tokens, index + 1)
    if not following.text:
        return trail[1:] if trail[1:2] in (":", ";", ",", "!", "?") else trail
    if len(trail) == 1 and starts_sentence(following) and tokens[index].core not in _TITLES:
        return trail
    if len(trail) == 1 and starts_sentence(following) and _street(tokens, index):
        return trail
    return trail[1:]


def _before_name(tokens: Tokens, index: int) -> bool:
    following = at(tokens, index + 1)
    return following.capitalised and not (
        following.core.isupper() and len(following.core) > 1 and tokens[index].core in ("Gen",)
    )


def _street(tokens: Tokens, index: int) -> str | None:
    """ "Elm Dr.", "12 Main St.": behind a name, and not before one."""
    core = tokens[index].core
    previous, following = at(tokens, index - 1), at(tokens, index + 1)
    if (
        core not in _STREETS
        or previous.trail
        or not (previous.capitalised or previous.lower.endswith(("st", "nd", "rd", "th")))
    ):
        return None
    if core in ("Mt", "Ft", "Ter", "Pl", "Cir") and not _numbered(tokens, index):
        return None
    if previous.lower in _ROAD_STARTERS or (index == 1 and starts_sentence(previous)):
        return None
    named = following.capitalised and not starts_sentence(following)
    if named and not (_numbered(tokens, index) or at(tokens, index).trail[1:]):
        return None
    return _STREETS[core]


def _is_road(tokens: Tokens, index: int) -> bool:
    """ "5th Ave", "on Main St, near"; not "Dr Smith" or "the St Louis"."""
    previous, following = at(tokens, index - 1), at(tokens, index + 1)
    if previous.trail or not (previous.capitalised or previous.lower.endswith(("st", "nd", "rd", "th"))):
        return False
    if tokens[index].core in ("Ave", "Blvd", "Rd", "Ln", "Hwy", "Pkwy"):
        return True
    ended = not following.capitalised or tokens[index].trail == ","
    return ended and index > 1 and previous.lower not in _ROAD_STARTERS and previous.core.isalpha()


def _numbered(tokens: Tokens, index: int) -> bool:
    return any(at(tokens, index - back).core[:1].isdigit() for back in range(1, 5))


def _words(tokens: Tokens, index: int) -> str | None:
    token, following = tokens[index], at(tokens, index + 1)
    core, lower = token.core, token.lower
    last = not following.text
    street = _street(tokens, index)
    if street:
        return street
    if core in _TITLES and _before_name(tokens, index) and core != "Sr":
        return _TITLES[core]
    if core in _AFTER_NAME and (
        at(tokens, index - 1).capitalised or at(tokens, index - 1).core == "&" or core not in ("Co", "Dept")
    ):
        return _AFTER_NAME[core]
    if core in ("Mr", "Mrs", "Ms", "Prof", "Dr") and not last:
        return _TITLES[core]
    if (
        core in _STREETS
        and core in ("Ave", "Blvd", "Rd", "Hwy", "Pkwy")
        and at(tokens, index - 1).capitalised
    ):
        return _STREETS[core]
    if lower in ("ed", "eds", "cent") and at(tokens, index - 1).digit:
        return _EDITIONS[lower]
    if lower in _MEASURES and before(tokens, index) in ("an", "a", "per", "each"):
        return _MEASURES[lower]
    if lower in _ROLES and core == lower and before(tokens, index) == "the" and following.core[:1].islower():
        return _ROLES[lower]
    if lower in _ANYWHERE and not (
        lower in ("temp", "est", "al", "ext", "ave", "tel", "orig", "cont", "ie", "eg") and last
    ):
        if lower == "al" and before(tokens, index) != "et":
            return None
        if lower == "est" and core == "est" and following.core[:1].islower() and index:
            return "estimated"
        if lower in ("est", "ext", "tel", "ave", "cont") and not (following.digit or lower == "tel"):
            return None
        return _ANYWHERE[lower]
    if core in ("Sr", "Jr") and at(tokens, index - 1).capitalised:
        return _AFTER_NAME[core]
    return None


def _before_number(tokens: Tokens, index: int) -> Reading | None:
    token = tokens[index]
    lower = token.lower
    apart = token.end < at(tokens, index + 1).start
    ends = at(tokens, index + 1).trail[:1] in (".", "!") and not at(tokens, index + 2).text
    ends = ends and not said_nearby(tokens, index, _ANSWERS, 4)
    said = before(tokens, index) in (_SAID_NO - _LINKING if token.core == "No" else _SAID_NO)
    if (lower == "no" and apart and not (ends and before(tokens, index) in _LINKING)) and (
        said or (at(tokens, index - 1).trail[-1:] in (",", ":", "“", '"') and not at(tokens, index - 1).digit)
    ):
        return None
    if token.core in ("Max", "Min", "Ed", "Art") and index and before(tokens, index):
        return None
    if lower in ("ed", "rev", "sec", "min", "ex", "app", "art", "max", "tab") and at(tokens, index - 1).digit:
        return None
    if lower in ("art", "app", "tab", "ref", "fig", "max", "min", "sec", "ed", "ex", "v") and before(
        tokens, index
    ) in ("the", "a", "an", "of"):
        return None if lower != "fig" or before(tokens, index) != "the" else Reading("figure", 1, "")
    words = _BEFORE_NUMBER[lower]
    return Reading(words.capitalize() if token.capitalised else words, 1, token.trail[1:])


def read_initial(tokens: Tokens, index: int) -> Reading | None:
    """ "George C. Miller": the period of an initial is no pause."""
    token, following = tokens[index], at(tokens, index + 1)
    if len(token.core) != 1 or not token.core.isupper() or token.trail != "." or not following.core:
        return None
    previous = at(tokens, index - 1)
    if token.core in _POINTS and _names_road(tokens, index):
        return Reading(_POINTS[token.core], 1, "")
    named = (
        previous.capitalised
        and not previous.ends_clause
        and len(previous.core) > 1
        and previous.core.isalpha()
    )
    initials = len(following.core) == 1 and following.trail[:1] == "."
    again = len(previous.core) == 1 and previous.trail == "." and index > 0
    opening = index == 0 or previous.ends_clause or previous.core.islower()
    if following.core[:1].islower() and previous.capitalised:
        return Reading(token.core, 1, "")
    if not following.capitalised or (starts_sentence(following) and not initials):
        return None
    if named or again or initials or (opening and token.core not in "IA" and not _is_label(previous.lower)):
        return Reading(token.core, 1, "")
    return None


def _names_road(tokens: Tokens, index: int) -> bool:
    """ "45 N. Main St."."""
    roads = [at(tokens, index + ahead) for ahead in (2, 3)]
    return at(tokens, index - 1).digit and any(
        road.core in _ROADS or road.core in _STREETS.values() for road in roads
    )


def _is_label(word: str) -> bool:
    return word in (
        "plan",
        "vitamin",
        "type",
        "option",
        "grade",
        "group",
        "hepatitis",
        "part",
        "section",
        "figure",
        "step",
        "class",
    )
