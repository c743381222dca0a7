"""Words with two pronunciations, told apart by their neighbours, and spellings that mislead a model."""

from __future__ import annotations

from typing import NamedTuple

from serving.text.english.tokens import Reading, Tokens, after, before, word_set


class _Heteronym(NamedTuple):
    """The rarer pronunciation of a word, and the neighbours that call for it."""

    phonemes: str
    before: frozenset[str]
    after: frozenset[str]


_ASKED = word_set(
    "to will would can could must should might please don't you'll i'll we'll and not let's they then you i we"
)
_HETERONYMS = {
    "wind": _Heteronym(
        "wˈInd", _ASKED, word_set("the up down your it around round through back my a this that these")
    ),
    "tear": _Heteronym(
        "tˈɛɹ", _ASKED, word_set("up apart down off it the open out into your them this through a")
    ),
    "bow": _Heteronym("bˈW", _ASKED, word_set("down to before out your his her my and low when")),
    "wound": _Heteronym(
        "wˈWnd",
        word_set("he she it they i we you was clock and had road path river been string rope is"),
        word_set("up down around round through its the tightly back along into"),
    ),
}
"""Both neighbours are needed."""
_BASS = word_set(
    "guitar guitars player players line lines drum drums clarinet solo note notes singer clef voice boost amp part"
)
_BASS_BEFORE = word_set(
    "double upright electric play plays played playing more heavy deep loud slap synth turn drum"
)
_RESUME_BEFORE = word_set("my your his her their our a the strong impressive good updated this")
_LEAD_BESIDE = word_set(
    "paint poisoning pipe pipes pencil pencils bullet bullets acid ore mine mines weights battery shot solder"
)
_LEAD_BEFORE = word_set("of with like from contains contain containing molten and than heavy")
_LEAD_AFTER = word_set("and or in is was as")
_LED = {"lead": "led", "Lead": "Led"}
_KNOWN = {"zoë": "Zoey", "brontë": "Bronte", "noël": "Noel", "citroën": "Citroen"}
_PARTED = {"ë": "e", "ö": "o", "ï": "i", "ü": "u"}


def read_heteronym(tokens: Tokens, index: int) -> Reading | None:
    """ "made of lead", "wind the clock", "bass guitar": the rarer of two pronunciations."""
    token = tokens[index]
    lower, previous, following = token.lower, before(tokens, index), after(tokens, index)
    if lower == "lead":
        metal = following in _LEAD_BESIDE or (
            previous in _LEAD_BEFORE and (not following or following in _LEAD_AFTER)
        )
        taken = previous in ("and", "of", "with") and before(tokens, index, 2) in (
            "take",
            "took",
            "taking",
            "in",
        )
        return Reading(_LED.get(token.core, token.core)) if metal and not taken else None
    phonemes = None
    if lower == "bass":
        phonemes = "bˈAs" if following in _BASS or previous in _BASS_BEFORE else None
    elif lower == "resume":
        noun = previous in _RESUME_BEFORE and following not in ("the", "of")
        phonemes = "ɹˈɛzəmˌA" if noun else None
    elif lower in _HETERONYMS:
        word = _HETERONYMS[lower]
        imperative = not previous and token.capitalised
        if following in word.after and (previous in word.before or imperative):
            phonemes = word.phonemes
    return Reading(token.core, phonemes=phonemes) if phonemes else None


def read_respelling(tokens: Tokens, index: int) -> Reading | None:
    """ "Zoë", "coöperate": a diaeresis that only parts two vowels."""
    token = tokens[index]
    if token.lower in _KNOWN:
        return Reading(_KNOWN[token.lower])
    spoken = ""
    for place, symbol in enumerate(token.core):
        parts = place and token.core[place - 1] in "aeioAEIO" and token.lower != "naïve"
        spoken += _PARTED.get(symbol, symbol) if parts else symbol
    return Reading(spoken) if spoken != token.core else None
