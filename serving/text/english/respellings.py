"""Words with two pronunciations, told apart by their neighbours, and spellings that mislead a model."""

from __future__ import annotations

from typing import NamedTuple

from serving.text.english.tokens import Reading, Tokens, after, before, word_set


class _Heteronym(NamedTuple):
    """The rarer pronunciation of a word, and the neighbours that call for it; None is any neighbour."""

    phonemes: str
    before: frozenset[str] | None
    after: frozenset[str] | None
    imperative: bool = False
    """Whether it may begin a sentence in place of the word before."""


_ASKED = word_set(
    "to will would can could must should might please don't you'll i'll we'll and not let's they then you i we"
)
_NOUN_OF = word_set("a the this that his her your my its")
_GLAD = word_set(
    "am are was were be been being i'm you're he's she's we're they're feel felt quite very perfectly not"
)
_HETERONYMS = {
    "wind": (
        _Heteronym(
            "wˈInd",
            _ASKED,
            word_set("the up down your it around round through back my a this that these"),
            True,
        ),
    ),
    "winds": (
        _Heteronym(
            "wˈIndz",
            word_set("road river path trail street track stream lane stairway staircase which that he she"),
            word_set("through around along up down its the between past back"),
        ),
    ),
    "tear": (
        _Heteronym(
            "tˈɛɹ", _ASKED, word_set("up apart down off it the open out into your them this through a"), True
        ),
        _Heteronym("tˈɛɹ", _NOUN_OF, word_set("in")),
        _Heteronym("tˈɛɹ", word_set("muscle ligament meniscus cuff acl tendon retinal"), None),
    ),
    "bow": (
        _Heteronym("bˈW", _ASKED, word_set("down to before out your his her my and low when"), True),
        _Heteronym("bˈW", word_set("ship's boat's vessel's yacht's deep"), None),
    ),
    "wound": (
        _Heteronym(
            "wˈWnd",
            word_set("he she it they i we you was clock and had road path river been string rope is"),
            word_set("up down around round through its the tightly back along into"),
            True,
        ),
    ),
    "minute": (
        _Heteronym(
            "mInˈut",
            None,
            word_set(
                "amount amounts detail quantity quantities particle particles trace fraction fractions dose"
            ),
        ),
    ),
    "object": (
        _Heteronym("əbʤˈɛkt", _ASKED, word_set("to that strongly if on")),
        _Heteronym("əbʤˈɛkt", word_set("don't not won't didn't wouldn't"), None),
    ),
    "content": (_Heteronym("kəntˈɛnt", _GLAD, word_set("with to") | {""}),),
    "used": (
        _Heteronym("jˈust", word_set("i'm am we're get got getting gotten become became"), word_set("to")),
    ),
    "refuse": (_Heteronym("ɹəfjˈuz", None, word_set("to")),),
    "moped": (_Heteronym("mˈOpˌɛd", word_set("a the his her my your our electric rented"), None),),
    "learned": (
        _Heteronym("lˈɜɹnəd", None, word_set("man men woman scholar scholars judge professor society")),
    ),
    "defect": (_Heteronym("dəfˈɛkt", _ASKED, word_set("to from")),),
    "entrance": (_Heteronym("ɛntɹˈæns", _ASKED, word_set("you me him her us them")),),
}
"""Both neighbours are needed."""
_NAMES = {
    "Nice": ("nˈis", word_set("in from near to of"), word_set("france and airport is was") | {""}),
}
"""Towns whose name is another word."""
HETERONYMS = frozenset(_HETERONYMS) | {"lead", "bass", "resume", "polish", "nice"}
"""Words to look at, in small letters."""
_BASS = word_set(
    "guitar guitars player players line lines drum drums clarinet solo note notes singer clef voice boost amp part"
)
_VESSELS = word_set("ship boat vessel yacht ferry canoe frigate submarine kayak")
_BASS_BEFORE = word_set(
    "double upright electric play plays played playing more heavy deep loud slap synth turn drum sing sings singing"
)
_RESUME_BEFORE = word_set("my your his her their our a the strong impressive good updated this")
_LEAD_BESIDE = word_set(
    """
    paint poisoning pipe pipes pencil pencils bullet bullets acid ore mine mines weights battery shot solder
    level levels exposure contamination oxide sulfide
    """
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
        metal = metal or (not previous and following == "is" and after(tokens, index, 2) in ("a", "toxic"))
        metal = metal or (previous == "as" and before(tokens, index, 2) == "heavy")
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
    elif lower == "polish":
        verb = token.core == "Polish" and not previous and following in ("the", "your", "it", "my", "them")
        phonemes = "pˈɑlɪʃ" if verb else None
    elif token.core in _NAMES:
        name, places, followers = _NAMES[token.core]
        phonemes = name if previous in places and following in followers else None
    elif lower == "bow" and before(tokens, index, 2) in ("took", "take", "takes", "taking"):
        phonemes = "bˈW" if previous in _NOUN_OF else None
    elif lower == "bow" and following == "of" and after(tokens, index, 3) in _VESSELS:
        phonemes = "bˈW"
    elif lower == "tear" and previous == "and" and before(tokens, index, 2) == "wear":
        phonemes = "tˈɛɹ"
    elif lower == "tear" and following == "in" and after(tokens, index, 3) in ("eye", "eyes"):
        phonemes = None
    elif lower in _HETERONYMS:
        for word in _HETERONYMS[lower]:
            asked = word.before is None or previous in word.before
            imperative = word.imperative and not previous and token.capitalised
            if (asked or imperative) and (word.after is None or following in word.after):
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
