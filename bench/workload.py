"""Seeded texts and arrivals: the same seed gives the same load.

No sentence occurs twice in a run, so that a server which keeps answers, whole or by the sentence, gains nothing; and
warm-up texts come from sentences that no measured text uses. A sentence has few words in a row that another one has
too, so that no wave holds a long piece of another.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from statistics import mean
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
    "name": (
        "Margaret", "Oliver", "Hannah", "Doctor Reed", "Mrs. Palmer", "Thomas", "Alice", "Mr. Grant", "Martin",
        "Susan", "Peter", "Julia", "George", "Helen", "Walter", "Emma", "Robert", "Clara", "Henry", "Laura",
        "David", "Nancy", "Daniel", "Rachel", "Mr. Cooper", "Mrs. Bennett", "Doctor Hayes", "Charles", "Diana",
        "Victor", "Amanda", "Samuel", "Rebecca", "Edward", "Monica", "Patrick", "Linda", "Arthur",
    ),
    "place": (
        "London", "Boston", "Denver", "Oxford", "Chicago", "Dublin", "Toronto", "Bristol", "Madrid", "Paris",
        "Berlin", "Vienna", "Rome", "Venice", "Athens", "Moscow", "Sydney", "Houston", "Dallas", "Atlanta",
        "Miami", "Seattle", "Portland", "Phoenix", "Detroit", "Cambridge", "Manchester", "Liverpool", "Glasgow",
        "Edinburgh", "Cardiff", "Lisbon", "Warsaw", "Prague", "Budapest", "Amsterdam", "Hamburg", "Munich",
    ),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "month": ("January", "March", "April", "June", "July", "August", "October", "December"),
    "thing": (
        "bridge", "garden", "kitchen", "library", "market", "museum", "station", "theater", "hotel", "hospital",
        "school", "church", "castle", "tower", "harbor", "airport", "bakery", "factory", "stadium", "palace",
        "prison", "farm", "office", "village", "restaurant", "bank", "forest", "river", "cellar", "gallery",
    ),
    "weather": ("rain", "snow", "fog", "wind", "heat", "frost", "storm", "thunder"),
}  # fmt: skip
_SENTENCES = (
    "The train to {place} leaves at {hour}:{minute} every {day}.",
    "{name}, could you show {name} the old {thing} in {place}?",
    "{name} bought {count} apples and paid {name} ${money}.",
    "On {month} {date} the {thing} in {place} opens to visitors again.",
    "In {year} almost nobody in {place} owned a {thing}.",
    "Why did {name} walk to the {thing} with {name} in the {weather}?",
    "About {percent}% of the tickets for {place} were sold by {name}.",
    "The repair of the {thing} will cost {name} ${money}.",
    "{name} has lived near the {thing} in {place} since {year}.",
    "Please send {count} copies of the letter to {name} by {day}.",
    "More {weather} is expected around {place} on {month} {date}.",
    "Has {name} ever seen the {thing} in {place} at sunrise?",
    "{name} counted {count} boats near {place} with {name}.",
    "The meeting with {name} was moved from {hour} o'clock to {day} in {place}.",
    "{name} knew why the {thing} had been closed for {count} weeks.",
    "A room near the {thing} in {place} costs ${money} a night.",
    "{name} and {name} will meet in {place} on {month} {date}.",
    "After the {weather} the road to {place} was closed for {count} hours.",
    "Is it true that {percent}% of the {thing} belongs to {name}?",
    "The {thing} of {place} was painted green in {year}.",
    "{name}, bring {count} coats to the {thing} before {day}.",
    "{name} read the letter from {place} to {name} on {day}.",
    "There were {count} people in the {thing}, and only {name} was asleep.",
    "What would {name} do with ${money} in {place}?",
    "The nurse of {name} asked {name} to come back on {month} {date}.",
    "Turn left at the {thing}, then follow {name} for {count} minutes.",
    "By {hour} o'clock the {weather} in {place} had stopped for {name}.",
    "{place} is {count} miles from the {thing} where {name} works.",
)
_WARMUP_SENTENCES = (
    "This line only warms the server at {hour}:{minute}, and {name} of {place} never hears it.",
    "Number {count} of the first requests, from {name} in {place}, is not part of any figure.",
    "Before the clock starts at {hour}:{minute}, {place} sends a greeting to {name}.",
    "A few words about {weather} for {name}, spoken {count} times in {place} and then forgotten.",
    "{name} says hello to {place} in {year}.",
    "Warm words from {name} reach {place} by {hour}:{minute}.",
)


def fresh_seed() -> int:
    """One that nobody can know beforehand: a server cannot have spoken its texts before."""
    return random.SystemRandom().randrange(1 << 31)


def mean_characters(mix: str) -> float:
    """Characters of a text of the mix, on average."""
    return mean(sum(CHARACTERS[kind]) / 2 for kind in MIXES[mix])


class Workload:
    """The texts of one run: the same for every arm at a load point, and no sentence twice in all of them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._seen: set[str] = set()
        self._drawn: dict[str, list[str]] = {}

    def texts(self, mix: str, count: int, place: str) -> list[str]:
        """`count` new texts of a mix for a place in the run; the same again for the same place and mix.

        Raises ValueError if another number was drawn for that place, KeyError on an unknown mix.
        """
        return self._once(f"{mix} {place}", count, lambda: texts(mix, count, self.seed, place, self._seen))

    def warmup_texts(self, mix: str, count: int, place: str) -> list[str]:
        """The same for the warm-up of a place: from sentences that no measured text uses."""
        key = f"warm-up {mix} {place}"
        return self._once(key, count, lambda: warmup_texts(mix, count, self.seed, place, self._seen))

    def _once(self, key: str, count: int, draw: Callable[[], list[str]]) -> list[str]:
        if key not in self._drawn:
            self._drawn[key] = draw()
        if len(self._drawn[key]) != count:
            raise ValueError(f"{count} texts are asked of {key!r}, which has {len(self._drawn[key])}")
        return self._drawn[key]


def texts(mix: str, count: int, seed: int, place: str = "", seen: set[str] | None = None) -> list[str]:
    """`count` texts of a mix without a sentence twice, its kinds in a seeded order. Raises KeyError on an unknown mix.

    Fewer texts are the first of more texts. `place` makes other texts of the same seed; sentences in `seen` are
    not drawn, and those that are drawn are added to it.
    """
    rng = random.Random(f"{mix} {seed} {place}".rstrip())
    shuffle = random.Random(f"kinds of {mix} {seed} {place}".rstrip())
    kinds = MIXES[mix]
    order: list[TextKind] = []
    while len(order) < count:
        order += shuffle.sample(kinds, len(kinds))
    seen = set() if seen is None else seen
    return [_unseen(kind, _SENTENCES, rng, seen) for kind in order[:count]]


def warmup_texts(mix: str, count: int, seed: int, place: str = "", seen: set[str] | None = None) -> list[str]:
    """`count` texts of the same lengths as the mix, none of them from its sentences, and without one twice."""
    rng = random.Random(f"warm-up {mix} {seed} {place}".rstrip())
    seen = set() if seen is None else seen
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
    """A text of this kind of sentences that were not drawn before, shuffled, of the right length."""
    least, most = CHARACTERS[kind]
    while True:
        deck = rng.sample(sentences, len(sentences)) * 8
        drawn = [_fill(deck.pop(), rng)]
        while len(text := " ".join(drawn)) < least:
            drawn.append(_fill(deck.pop(), rng))
        if len(text) <= most and seen.isdisjoint(drawn) and len(set(drawn)) == len(drawn):
            seen.update(drawn)
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
