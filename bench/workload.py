"""Seeded texts and arrivals: the same seed gives the same load.

No text occurs twice in a workload, so that a server which keeps answers gains nothing, and warm-up texts come
from sentences that no measured text uses.
"""

from __future__ import annotations

import random
from typing import Literal

TextKind = Literal["short", "medium", "long"]
Arrivals = Literal["poisson", "constant"]

CHARACTERS: dict[TextKind, tuple[int, int]] = {"short": (55, 65), "medium": (200, 250), "long": (580, 620)}
"""Least and most characters of a text of each kind."""
MIXES: dict[str, tuple[TextKind, ...]] = {
    "short": ("short",),
    "medium": ("medium",),
    "long": ("long",),
    "mixed": ("short", "short", "short", "medium", "medium", "long"),
}
"""Name of a mix to the kinds that it draws from with equal weight."""

_SLOTS: dict[str, tuple[str, ...]] = {
    "name": ("Margaret", "Oliver", "Hannah", "Doctor Reed", "Mrs. Palmer", "Thomas", "Alice", "Mr. Grant"),
    "place": ("London", "Boston", "Denver", "Oxford", "Chicago", "Dublin", "Toronto", "Bristol"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "month": ("January", "March", "April", "June", "July", "August", "October", "December"),
    "thing": ("bridge", "garden", "kitchen", "library", "market", "museum", "station", "theater"),
    "weather": ("rain", "snow", "fog", "wind", "heat", "frost"),
}
_SENTENCES = (
    "The train to {place} leaves at {hour}:{minute} every {day}.",
    "Could you tell me where the old {thing} used to be?",
    "{name} bought {count} apples and paid with a twenty dollar bill.",
    "On {month} {date} the {thing} opens to visitors again.",
    "In {year} almost nobody in {place} owned a telephone.",
    "Why did {name} walk home alone through the {weather}?",
    "About {percent}% of the tickets were sold before {day}.",
    "The repair of the {thing} will cost ${money} in the end.",
    "{name} has lived near the {thing} in {place} since {year}.",
    "Please send {count} copies of the letter to {name} by {day}.",
    "More {weather} is expected around {place} on {day} night.",
    "Have you ever seen the {thing} in {place} at sunrise?",
    "{name} counted {count} boats on the lake before breakfast.",
    "The meeting on {day} was moved from {hour} o'clock to the early evening.",
    "Nobody knew why the {thing} had been closed for {count} weeks.",
    "A room with a view of the {thing} costs ${money} a night.",
    "{name} and {name} will meet in {place} on {month} {date}.",
    "After the {weather} the road to {place} was closed for {count} hours.",
    "Is it true that {percent}% of the {thing} belongs to the city?",
    "The {thing} was painted green in {year}, and blue soon after.",
    "Bring a warm coat, because the {weather} may last until {day}.",
    "{name} read the whole story aloud and did not stop once.",
    "There were {count} people in the {thing}, and only one was asleep.",
    "What would you do with ${money} and a free {day}?",
    "The doctor asked {name} to come back on {month} {date}.",
    "Turn left at the {thing}, then walk for about {count} minutes.",
    "By {hour} o'clock the {weather} had stopped and the birds began to sing.",
    "{place} is {count} miles from here, so we should leave at once.",
)
_WARMUP_SENTENCES = (
    "This sentence only warms the server, and {name} never hears it.",
    "Number {count} of the first requests is not part of any figure.",
    "Before the clock starts, {place} sends a greeting to {name}.",
    "A few words about {weather}, spoken once and then forgotten.",
)


def texts(mix: str, count: int, seed: int) -> list[str]:
    """`count` different texts of a mix, its kinds in a seeded order. Raises KeyError on an unknown mix.

    Fewer texts are the first of more texts.
    """
    rng, shuffle = random.Random(f"{mix} {seed}"), random.Random(f"kinds of {mix} {seed}")
    kinds = MIXES[mix]
    order: list[TextKind] = []
    while len(order) < count:
        order += shuffle.sample(kinds, len(kinds))
    seen: set[str] = set()
    return [_unseen(kind, _SENTENCES, rng, seen) for kind in order[:count]]


def warmup_texts(mix: str, count: int, seed: int) -> list[str]:
    """`count` different texts of the same lengths as the mix, none of them from its sentences."""
    rng = random.Random(f"warm-up {mix} {seed}")
    seen: set[str] = set()
    return [_unseen(kind, _WARMUP_SENTENCES, rng, seen) for kind in rng.choices(MIXES[mix], k=count)]


def arrivals(kind: Arrivals, rate_rps: float, duration_s: float, seed: int) -> list[float]:
    """Due times in [0, duration_s), ascending, of `rate_rps` requests per second.

    poisson: exponential gaps, as from many callers who do not know each other. constant: even gaps from 0.
    """
    if kind == "constant":
        return [index / rate_rps for index in range(round(rate_rps * duration_s))]
    rng = random.Random(f"{kind} {rate_rps} {seed}")
    due: list[float] = []
    time = rng.expovariate(rate_rps)
    while time < duration_s:
        due.append(time)
        time += rng.expovariate(rate_rps)
    return due


def _unseen(kind: TextKind, sentences: tuple[str, ...], rng: random.Random, seen: set[str]) -> str:
    """A text of this kind that was not drawn before: whole sentences, shuffled, of the right length."""
    least, most = CHARACTERS[kind]
    while True:
        deck = rng.sample(sentences, len(sentences)) * 8
        text = _fill(deck.pop(), rng)
        while len(text) < least:
            text += " " + _fill(deck.pop(), rng)
        if len(text) <= most and text not in seen:
            seen.add(text)
            return text


def _fill(sentence: str, rng: random.Random) -> str:
    for slot, values in _SLOTS.items():
        for value in rng.sample(values, sentence.count("{" + slot + "}")):
            sentence = sentence.replace("{" + slot + "}", value, 1)
    return sentence.format(
        hour=rng.randint(2, 11),
        minute=rng.randint(10, 59),
        date=rng.randint(1, 28),
        count=rng.randint(3, 99),
        percent=rng.randint(2, 98),
        money=rng.randint(20, 900),
        year=rng.randint(1901, 1999),
    )
