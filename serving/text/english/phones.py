"""Telephone numbers and other groups of digits: digit by digit."""

from __future__ import annotations

import re

from serving.text.english.quantities.numbers import cardinal, digits
from serving.text.english.tokens import Reading, Tokens, at, said_nearby, word_set

PHONE_WORDS = word_set(
    """
    call dial phone phoned telephone tel mobile cell text texted ring rang fax hotline whatsapp sms number
    contact landline helpline switchboard called calling dialed dialled dialing ph tel. phone: reach
    """
)
_DIAL_WORDS = word_set("call dial ring phone text called dialed dialled dialing calling emergency hotline")
_SHORT_NUMBERS = word_set(
    """
    911 999 112 988 411 311 211 511 611 711 811 111 101 000 110 119 118 116 191 108 144 117 113 115 105 106
    102 100 1177
    """
)
_GROUP = re.compile(r"[(]?\+?[0-9(][0-9()./\-‐‑–]*[0-9)]|[0-9]")
_RUN = re.compile(r"[0-9]+")
_EXTENSION = re.compile(r"(?:x|ext\.?)([0-9]{1,6})", re.IGNORECASE)
_EXTENSION_WORDS = frozenset({"ext", "extension", "x"})
_HYPHENATED = re.compile(r"\+?\(?[0-9]{1,4}\)?(?:[-./‐‑–][0-9]{1,7}){1,6}")
_VANITY = re.compile(r"(?:1-)?([0-9]{3})-([A-Z]{4,8}|[A-Z]{3}-[A-Z]{4})")
_MOST_TOKENS = 12


def read_phone(tokens: Tokens, index: int) -> Reading | None:
    """ "(555) 010-0199", "+44 20 7946 0958", "1800 555 024", "555-0199", "911" behind "call"; also cards in
    groups and other rows of digit groups that are no amount.
    """
    token = tokens[index]
    core = token.core
    vanity = _VANITY.fullmatch(core)
    if vanity:
        head = "one, " if core[:2] == "1-" else ""
        return Reading(f"{head}{digits(vanity[1])}, {vanity[2].replace('-', ' ').capitalize()}")
    listed = (
        at(tokens, index - 1).lower in ("or", "and")
        and at(tokens, index - 2).digit
        and said_nearby(tokens, index - 2, _DIAL_WORDS, 8)
    )
    if listed and core in _SHORT_NUMBERS:
        return Reading(digits(core))
    star = token.lead[-1:] == "*" or core[:1] == "*"
    if star and core.lstrip("*").isdecimal() and said_nearby(tokens, index, PHONE_WORDS | {"press"}, 2):
        return Reading(f"star {digits(core.lstrip('*'))}", 1, token.trail.replace("#", " pound"))
    if (
        said_nearby(tokens, index, _DIAL_WORDS, 2)
        and core.isdecimal()
        and (core in _SHORT_NUMBERS or said_nearby(tokens, index, frozenset({"dial", "hotline"}), 2))
    ):
        return Reading(digits(core))
    if core.isdecimal() and len(core) > 3 and at(tokens, index - 1).lower in ("text", "sms", "dial"):
        return Reading(digits(core))
    short_code = core.isdecimal() and 5 <= len(core) <= 6 and at(tokens, index - 1).lower == "to"
    if short_code and said_nearby(tokens, index, frozenset(("text", "sms", "txt")), 4):
        return Reading(digits(core))
    groups, used = _groups(tokens, index)
    runs = [run for group in groups for run in _RUN.findall(group)]
    count = sum(map(len, runs))
    context = said_nearby(tokens, index, PHONE_WORDS, 3)
    if not _is_phone(tokens, index, groups, runs, count, context):
        if used > 1:  # the first token alone may be one
            runs, used = _RUN.findall(core), 1
            if not _is_phone(tokens, index, [token.text], runs, sum(map(len, runs)), context):
                return None
        else:
            return None
    plus = "plus " if token.text.lstrip("([")[:1] == "+" else ""
    words = plus + ", ".join(digits(run) for run in runs)
    extra, more = _extension(tokens, index + used)
    last = at(tokens, index + used + more - 1)
    lead = token.lead.removesuffix("(")
    trail = (
        last.trail[1:]
        if last.trail[:1] == ")" and "(" in groups[-1 if len(groups) == used else 0]
        else last.trail
    )
    return Reading(f"{words}{extra}", used + more, trail, lead=lead)


def _groups(tokens: Tokens, index: int) -> tuple[list[str], int]:
    """The texts of the tokens that are groups of digits in a row."""
    groups: list[str] = []
    while len(groups) < _MOST_TOKENS:
        token = at(tokens, index + len(groups))
        text = token.lead + token.core + (")" if token.trail[:1] == ")" else "")
        text = text.lstrip("\"'“‘")
        if not token.digit or not _GROUP.fullmatch(text) or len(text) > 24 or (groups and "+" in text):
            break
        groups.append(text)
        if token.trail.strip(")"):
            break
    return groups, len(groups)


def _is_phone(
    tokens: Tokens, index: int, groups: list[str], runs: list[str], count: int, context: bool
) -> bool:
    text = " ".join(groups)
    if not runs or count < 3 or count > 40:
        return False
    longest = max(map(len, runs))
    if text[0] == "+":
        return count >= 7 and longest <= 12
    if "(" in text and ")" in text:
        return count >= 7 and len(runs) > 1
    if len(groups) > 1:
        if any(mark in text for mark in "/"):
            return False
        if context:
            return count >= 5
        grouped = [len(run) for run in runs[1:]] == [3] * (len(runs) - 1) and len(runs[0]) <= 3
        return (len(runs) > 2 and count >= 9 and not (grouped and runs[0][0] != "0") and longest <= 6) or (
            runs[0][0] == "0" and len(runs[0]) > 2 and count >= 8
        )
    if len(runs) == 1:
        return context and count >= 7
    if not _HYPHENATED.fullmatch(text) or "/" in text:
        return False
    if "." in text:
        return (
            len(runs) >= 3
            and count >= 9
            and longest >= 3
            and not (len(runs) == 4 and longest <= 3)
            and (context or [len(run) for run in runs] in ([3, 3, 4], [1, 3, 3, 4], [2, 2, 2, 2, 2]))
        )
    if len(runs) > 2:
        return count >= 6 and any(len(run) > 2 for run in runs)
    return len(runs[0]) in (3, 4) and (
        (
            len(runs[0]) == 3
            and len(runs[1]) == 4
            and (runs[0] > runs[1] or runs[1][0] == "0" or context or runs[1] > "2100")
        )
        or len(runs[1]) >= 6
        or (context and count >= 7)
    )


def _extension(tokens: Tokens, index: int) -> tuple[str, int]:
    token, following = at(tokens, index), at(tokens, index + 1)
    match = _EXTENSION.fullmatch(token.core)
    if match:
        return f", extension {digits(match[1])}", 1
    if token.lower in _EXTENSION_WORDS and following.core.isdecimal() and following.core.isascii():
        return f", extension {digits(following.core)}", 2
    return "", 0


def read_digit_groups(tokens: Tokens, index: int) -> Reading | None:
    """Three or more hyphenated groups: "10-20-30" is three numbers, "123-45-6789" and an ISBN are digits."""
    core = tokens[index].core
    if (
        core.count("-") < 2
        or not core.replace("-", "").isdecimal()
        or not core[0].isdigit()
        or len(core) > 60
    ):
        return None
    runs = core.split("-")
    if not all(runs):
        return None
    if all(len(run) <= 2 and (len(run) == 1 or run[0] != "0") for run in runs):
        return Reading(" ".join(cardinal(run) for run in runs))
    return Reading(", ".join(digits(run) for run in runs))
