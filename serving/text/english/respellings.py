"""Words that are respelled so that a model says them right."""

from __future__ import annotations

from serving.text.english.tokens import Reading, Tokens, after, before, word_set

_LEAD_NEIGHBOURS = word_set(
    """
    paint poisoning pipe pipes pencil pencils bullet bullets acid ore mine mines mining weights battery
    crystal shot solder contamination levels content exposure sulfate oxide
    """
)
_FORMS = {"lead": "led", "Lead": "Led"}


def read_heteronym(tokens: Tokens, index: int) -> Reading | None:
    """A word with two pronunciations, respelled where its neighbours tell them apart."""
    token = tokens[index]
    lower, previous, following = token.lower, before(tokens, index), after(tokens, index)
    if lower == "lead":
        two = before(tokens, index, 2)
        metal = following in _LEAD_NEIGHBOURS or (
            previous
            in ("of", "with", "like", "from", "contains", "contain", "containing", "molten", "and", "than")
            and (not following or following in ("and", "or", "in", "is", "was", "as"))
            and two not in ("take", "took", "taking", "in")
        )
        return Reading(_FORMS.get(token.core, token.core)) if metal else None
    return None


def read_respelling(tokens: Tokens, index: int) -> Reading | None:
    """ "Zoë", "coöperate": a diaeresis that only parts two vowels."""
    core = tokens[index].core
    known = {"zoë": "Zoey", "brontë": "Bronte", "noël": "Noel", "citroën": "Citroen"}.get(tokens[index].lower)
    if known:
        return Reading(known)
    parted = ""
    for place, symbol in enumerate(core):
        plain = {"ë": "e", "ö": "o", "ï": "i", "ü": "u"}.get(symbol)
        parted += (
            plain if plain and place and core[place - 1] in "aeioAEIO" and core.lower() != "naïve" else symbol
        )
    return Reading(parted) if parted != core else None
