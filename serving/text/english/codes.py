"""Codes, serials, versions, addresses: what is spelled and not counted."""

from __future__ import annotations

import re

from serving.text.english.capitals import letter_word
from serving.text.english.quantities.numbers import (
    cardinal,
    digits,
    ordinal,
    pairs,
    part_of_version,
    year,
)
from serving.text.english.quantities.suffixes import decade
from serving.text.english.tokens import LETTER, Reading, Tokens, after, at, before, said_nearby, word_set

_SPELLED = word_set(
    """
    code pin passcode password otp zip postcode postal id serial account acct ssn isbn sku cvv cvc license
    licence confirmation tracking reference ref token passport imei routing iban combination badge login
    username voucher coupon postbox ext extension security pins codes zipcode vin upc ean asin passkey
    access verification
    """
)
_LINKS = word_set("is was are to the your my our number no num reads as be code with of")
_PAIRED = word_set(
    """
    room flight boeing airbus gate suite apartment apt highway hwy route rt interstate bus train unit locker
    house building exit platform studio bay peugeot porsche port
    """
)
_NAMED = word_set(
    """
    area error channel form section rule title page line row lot order case ticket invoice model
    """
)
SOFTWARE = word_set(
    """
    python go node ubuntu debian fedora java php ruby rust swift kotlin android ios macos windows linux
    kernel django rails react angular vue version versions release v ver build firmware release: openssl
    nginx postgres postgresql mysql redis docker kubernetes pytorch torch tensorflow numpy pandas cuda gcc
    clang llvm cmake bluetooth usb http tls ssl hdmi jdk .net dotnet scala perl lua typescript node.js
    update patch gpt claude llama gemini qwen
    """
)
_WIRELESS = re.compile(r"802\.([1-9][0-9]?)([a-z]{0,2})")
_LINES = re.compile(r"[0-9]{3,4}[pi]")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}")
_IPV6 = re.compile(r"[0-9A-Fa-f:]{2,39}(?:%[a-z0-9]{1,8})?(?:/[0-9]{1,3})?")
_AGED = re.compile(r"([1-9][0-9])([MFmf])")
_PEOPLE = word_set(
    """
    i me my he him she her husband wife boyfriend girlfriend bf gf fiance fiancee partner ex brother sister mom mum
    dad mother father son daughter friend roommate cousin boss
    """
)
"""Behind whom people write an age and a sex: "I (25M)"."""
_PLAN = re.compile(r"40(?:(1)\(?(k)|(3)\(?(b))(\)?s)?", re.IGNORECASE)
_RULE = re.compile(r"([1-9])0([1-9])\(([a-z])(?:\)\(([0-9]))?")
_IP = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3}){3})(?:/([0-9]{1,2})|:([0-9]{1,5}))?")
_VERSION = re.compile(
    r"([vV]\.?)?([0-9]{1,6}(?:\.[0-9]{1,6})*)(?:\.(x|\*))?([-+.]?(?:rc|beta|alpha|dev|post|a|b|pre|preview)[.-]?[0-9]{0,4}|[a-z]|\+)?"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_ISBN = re.compile(r"[0-9][0-9-]{8,15}[0-9Xx]")
_PIECE = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)*|[0-9]+|[^A-Za-z0-9]+")
_ELEMENT = r"(?:A[lg]|Br?|C[alru]?|Fe|H|I|K|Li|M[gn]|N[ai]?|O|P|S[in]?|Zn|F)"
_FORMULA = re.compile(
    rf"(?={_ELEMENT}+[0-9]{{1,2}}{_ELEMENT}|{_ELEMENT}{{2}}[0-9])(?:{_ELEMENT}[0-9]{{0,2}})+"
)
"""Several common elements, counted: "C6H12O6", "H2SO4"."""
_MIXED = re.compile(rf"(?:[0-9'’-]|{LETTER})+")
_CHANGES = 3
"""So many changes between letters and digits make a serial that is spelled throughout."""


def read_code(tokens: Tokens, index: int) -> Reading | None:
    """Digits behind a word that says they are a code ("PIN is 0042", "flight 747"); addresses, hexadecimals."""
    core = tokens[index].core
    if core[:1] == "#" and core[1:].isdecimal():
        return Reading("number " + (digits(core[1:]) if len(core) > 5 else cardinal(core[1:])))
    if core.isdecimal():
        return _code_digits(tokens, index, core)
    if len(core) > 64:
        return None
    ip = _IP.fullmatch(core)
    if ip:
        words = " dot ".join(digits(part) if len(part) > 2 else cardinal(part) for part in ip[1].split("."))
        words += f" slash {cardinal(ip[2])}" if ip[2] else ""
        return Reading(words + (f" colon {digits(ip[3])}" if ip[3] else ""))
    rule = _RULE.fullmatch(core) if tokens[index].trail[:1] == ")" else None
    if rule:  # "401(k)"
        words = f"{cardinal(rule[1])} oh {cardinal(rule[2])} {rule[3].upper()}"
        words += f" {cardinal(rule[4])}" if rule[4] else ""
        return Reading(words, 1, tokens[index].trail[1:])
    aged = _AGED.fullmatch(core) if tokens[index].lead[-1:] in ("(", "[") else None
    if aged and tokens[index].trail[:1] in (")", "]") and at(tokens, index - 1).lower in _PEOPLE:
        return Reading(f"{cardinal(aged[1])} {aged[2].upper()}")
    plan = _PLAN.fullmatch(core)
    if plan:  # "401k", "401(k)s"
        which, letter = plan[1] or plan[3], plan[2] or plan[4]
        trail = tokens[index].trail.removeprefix(")") if "(" in core else None
        return Reading(f"four oh {cardinal(which)} {letter.upper()}" + ("s" if plan[5] else ""), 1, trail)
    wireless = _WIRELESS.fullmatch(core)
    if wireless:  # "802.11ac"
        return Reading(f"eight oh two dot {cardinal(wireless[1])} {' '.join(wireless[2].upper())}".rstrip())
    if _LINES.fullmatch(core):  # "1080p"
        return Reading(f"{pairs(core[:-1])} {core[-1]}")
    if _MAC.fullmatch(core):
        return Reading(", ".join(spell(part) for part in re.split("[:-]", core)))
    if _is_ipv6(core):
        return Reading(_spelled_ipv6(core))
    if _UUID.fullmatch(core):
        return Reading(", ".join(spell(part) for part in core.split("-")))
    if _HEX.fullmatch(core):
        return Reading(spell(core))
    if _ISBN.fullmatch(core) and said_nearby(
        tokens, index, frozenset({"isbn", "issn", "isbn-13", "isbn-10"}), 2
    ):
        return Reading(", ".join(spell(part) for part in core.split("-") if part))
    if _is_spelled(tokens, index) and core.replace("-", "").isalnum() and tokens[index].digit:
        return Reading(", ".join(spell(part) for part in core.split("-") if part))
    return None


def _is_ipv6(core: str) -> bool:
    """ "fe80::1", "::1", "2001:db8:0:0:0:0:0:1"; no time and no ratio."""
    if not _IPV6.fullmatch(core) or ":::" in core:
        return False
    groups = re.split("[%/]", core)[0].split(":")
    return all(len(group) < 5 for group in groups) and (
        (core.count("::") == 1 and 3 <= len(groups) <= 8) or len(groups) == 8
    )


def _spelled_ipv6(core: str) -> str:
    names = {":": "colon", "/": "slash", "%": "percent"}
    return " ".join(names.get(piece) or spell(piece) for piece in re.findall(r"[0-9A-Za-z]+|[:/%]", core))


def _is_spelled(tokens: Tokens, index: int) -> bool:
    """Whether "code", "PIN" and the like stand before, with at most two linking words between."""
    for back in range(1, 4):
        token = at(tokens, index - back)
        if token.lower in ("reference", "ref") and len(tokens[index].core) < 4:
            return False
        if token.lower in _SPELLED or token.lower.rstrip("s") in _SPELLED:
            return token.trail in ("", ":", ",", ")") or back == 1
        if token.lower not in _LINKS or token.trail not in ("", ":", "."):
            return False
    return False


def _code_digits(tokens: Tokens, index: int, core: str) -> Reading | None:
    if _is_spelled(tokens, index):
        if core.endswith("00") and len(core) == 3 and core[0] != "0":
            return Reading(cardinal(core))
        groups, used = [core], 1  # a card or a serial in groups
        while (
            not at(tokens, index + used - 1).trail and used < 8 and at(tokens, index + used).core.isdecimal()
        ):
            groups.append(tokens[index + used].core)
            used += 1
        return Reading(", ".join(digits(group) for group in groups), used)
    if (
        len(core) > 3
        and any(
            at(tokens, index + ahead).lower in ("pin", "code", "password", "passcode") for ahead in (2, 3)
        )
        and after(tokens, index) in ("as", "is", "for", "into")
    ):
        return Reading(digits(core))
    previous = before(tokens, index)
    airline = at(tokens, index - 1).core
    if (
        len(core) in (3, 4)
        and len(airline) == 2
        and airline.isupper()
        and before(tokens, index, 2) == "flight"
    ):
        return Reading(pairs(core))
    ending = previous in ("in", "with") and before(tokens, index, 2) in ("ending", "ends", "ended")
    if ending and len(core) in (3, 4) and not "1900" <= core <= "2100":
        return Reading(digits(core))
    if len(core) in (3, 4) and (
        previous in _PAIRED or (previous in ("number", "no") and before(tokens, index, 2) in _PAIRED)
    ):
        return Reading(pairs(core))
    if len(core) in (3, 4) and previous in ("error", "area") and after(tokens, index) != "code":
        return Reading(digits(core) if "0" in core else pairs(core))
    if (len(core) == 3 and previous == "area") or (previous == "zip"):
        return Reading(digits(core))
    if len(core) == 5 and _is_zip(tokens, index):
        return Reading(digits(core))
    return None


_STATES = word_set(
    """
    AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND
    OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY
    """
)


def _is_zip(tokens: Tokens, index: int) -> bool:
    return at(tokens, index - 1).core in _STATES and not at(tokens, index - 1).trail


def read_version(tokens: Tokens, index: int) -> Reading | None:
    """ "v2.10.3", "2.10.3", "Python 3.10", "1.2.0-rc1"."""
    core = tokens[index].core
    if len(core) > 48:
        return None
    match = _VERSION.fullmatch(core)
    if not match:
        return None
    mark, dotted, wildcard, suffix = match.groups()
    parts = dotted.split(".")
    previous = before(tokens, index)
    if (
        not mark
        and not suffix
        and len(parts) > 2
        and all(len(part) == 3 for part in parts[1:])
        and len(parts[0]) < 4
    ):
        return None  # thousands with points
    software = previous in SOFTWARE and (previous != "go" or at(tokens, index - 1).capitalised)
    if not mark and len(parts) < 3 and not (software and len(parts) == 2):
        return None
    if mark and mark[0] == "V" and len(parts) == 1:
        return None
    if mark is None and software and len(parts) == 2 and len(suffix or "") == 1:
        suffix, parts = None if suffix is None else suffix, parts
    words = " point ".join(part_of_version(part) for part in parts) + (" point x" if wildcard else "")
    if mark and previous not in ("version", "versions"):
        words = f"version {words}"
    if suffix:
        words += " " + spelled_pieces(suffix.lstrip("-."))
    return Reading(words)


def spell(text: str) -> str:
    """Every letter and digit by its name."""
    return " ".join(
        digits(symbol) if symbol.isdecimal() else symbol.upper() for symbol in text if symbol.isalnum()
    )


def spelled_pieces(text: str) -> str:
    """Letters and digits in turn: "rc1" is "R C one"."""
    return " ".join(
        (cardinal(piece) if len(piece) < 3 and piece[0] != "0" else digits(piece))
        if piece.isdecimal()
        else letter_word(piece)
        for piece in _PIECE.findall(text)
        if piece[0].isalnum()
    )


def read_mixed(tokens: Tokens, index: int) -> Reading | None:
    """Letters with digits: "A4", "B2B", "MP3", "COVID-19", "GPT-4o", "XJ-4500"."""
    core = tokens[index].core
    if len(core) > 40 or not _MIXED.fullmatch(core):
        return None
    parts = core.split("-")
    if not all(parts):
        return None
    pieces = [piece for part in parts for piece in _PIECE.findall(part)]
    if _FORMULA.fullmatch(core):
        return Reading(
            " ".join(cardinal(piece) if piece.isdecimal() else " ".join(piece.upper()) for piece in pieces)
        )
    runs = [piece for piece in pieces if piece[0].isalnum()]
    alternations = len(_PIECE.findall(max(parts, key=len)))
    if (
        alternations > _CHANGES
        and len(runs) > _CHANGES
        and not any(len(run) > 3 and run.isalpha() for run in runs)
    ):
        return Reading(", ".join(spell(part) for part in parts))
    words = []
    for place, piece in enumerate(runs):
        if piece.isdecimal():
            words.append(_digits_of_code(piece, runs[place - 1] if place else "", pieces))
        elif place and piece in ("st", "nd", "rd", "th") and runs[place - 1].isdecimal():
            words[-1] = ordinal(runs[place - 1])
        else:
            word = "I P V" if piece == "IPv" else letter_word(piece, alone=False)
            if place and piece in ("s", "'s", "’s") and words:
                words[-1] += "s" if piece == "s" else "'s"
                continue
            words.append(word)
    return Reading(" ".join(words))


def _digits_of_code(run: str, previous: str, pieces: list[str]) -> str:
    if run[0] == "0" and len(run) > 1:
        return digits(run)
    if len(run) <= 2:
        return cardinal(run)
    if previous in ("FY", "CY") and len(run) == 4:
        return year(int(run))
    if len(run) == 3 and (len(previous) == 1 or len(previous) > 3) and run[1] != "0":
        return pairs(run)
    if len(run) == 4 and (len(previous) > 3 or not previous) and "1900" <= run <= "2099":
        return pairs(run)
    if run.endswith("00") and len(run) <= 4:
        return cardinal(run)
    return digits(run)


def read_hyphenated(tokens: Tokens, index: int) -> Reading | None:
    """Words and numbers joined by hyphens: "mid-1990s", "top-10", "post-2008"; each part as a token of its own."""
    core = tokens[index].core
    head, _, tail = core.rpartition("-")
    if not head or not head.replace("-", "").isalpha() or not tail[:1].isdigit():
        return None
    if len(head) < 3 or head.isupper():
        return None
    words = head.replace("-", " ")
    if tail.isdecimal():
        year_like = len(tail) == 4 and "1100" <= tail <= "2099"
        return Reading(f"{words} {year(int(tail)) if year_like else part_of_version(tail)}")
    if tail[-1] == "s" and tail[:-1].rstrip("'’").isdecimal():
        return Reading(f"{words} {decade(tail[:-1].rstrip(chr(39) + '’'))}")
    return None
