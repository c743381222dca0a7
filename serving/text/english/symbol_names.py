"""The names of symbols."""

from __future__ import annotations

import unicodedata

from serving.text.english.tokens import table

RELATIONS = table(
    """
    < less than, > greater than, <= less than or equal to, >= greater than or equal to, ≤ less than or equal
    to, ≥ greater than or equal to, != not equal to, ≠ not equal to, ≈ approximately equal to, ≪ much less
    than, ≫ much greater than, =/= not equal to, <> not equal to, !== not equal to, =< less than or equal to
    """
)
BOUNDS = table(
    """
    <= at most, ≤ at most, >= at least, ≥ at least, ≈ approximately, > more than
    """
)
OPERATORS = table(
    """
    = equals, == equals, === equals, + plus, − minus, × times, · times, ÷ divided by, ± plus or minus, ∓ minus
    or plus, ^ to the power of, ** to the power of, → to, -> to, ⇒ implies, => implies, ≡ is equivalent to, ∝
    is proportional to, & and, && and, @ at, % percent, ‰ per mille, ∈ in, ∪ union, ∩ intersection, := is, +=
    plus equals, -= minus equals, ⟶ to, ➔ to, ➜ to, ➡ to, ∴ therefore, ∖ minus, ⊂ subset of, ∧ and, ∨ or, ↔ to
    and from, ⇔ if and only if, ∘ of
    """
)
NAMES = table(
    """
    § section, §§ sections, ¶ paragraph, ° degrees, © copyright, ∞ infinity, √ square root of, ∑ sum of, ∫
    integral of, ∂ partial, ∆ delta, ∇ nabla, № number, ℮ estimated, $ dollars, € euros, £ pounds, ¥ yen, ₹
    rupees, ¢ cents, ₿ bitcoin, ℃ degrees Celsius, ℉ degrees Fahrenheit, ′, ″, ‱, ♀ female, ♂ male, ∅ empty
    set, ‐, ª a, º o, ♯ sharp, ♭ flat, ∀ for all, ∃ there exists, ¬ not, ℗, ℠, µ micro
    """
)
_GREEK_ALPHABET = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma sigma tau "
    "upsilon phi chi psi omega"
)
GREEK = {chr(0x3B1 + place): name for place, name in enumerate(_GREEK_ALPHABET.split())}
GREEK |= {letter.upper(): name for letter, name in GREEK.items()} | {
    "Ω": "omega",
    "ϕ": "phi",
    "ϵ": "epsilon",
}
HEARTS = frozenset("❤♥💕💖💗💙💚💛💜🖤🤍🤎🧡💓💞💘🩷")
_INVISIBLE = frozenset("\ufe0f\ufe0e\u200d\u20e3\u200b")


def is_pictograph(symbol: str) -> bool:
    """Whether a character is an emoji or another picture that is not spoken."""
    code = ord(symbol)
    if code < 0x2000:
        return symbol in "®" or (code >= 0x80 and unicodedata.category(symbol) == "Cn")
    return (
        (code >= 0x1F000 and code < 0x20000)
        or 0x2300 <= code <= 0x23FF
        or 0x2500 <= code <= 0x27BF
        or 0x2B00 <= code <= 0x2BFF
        or (symbol in "™•‣◦…†‡←↑↓⁂※" and symbol != "…")
        or symbol in _INVISIBLE
        or 0xE0000 <= code <= 0xE0FFF
    )
