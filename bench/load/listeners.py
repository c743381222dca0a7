"""Who listens, and when they ask: schedules beside those of bench.workload, each a pure function of its seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from bench.metrics import audio_s, stall_s
from bench.records import Sample
from bench.workload import arrivals, texts

PLAIN_SENTENCE_MIX = "short"


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """What one request's listener does besides hearing its answer out."""

    leave_after_s: float | None = None
    """Goes so long after the first piece of the answer: barge-in. None: stays to the end."""
    think_s: float | None = None
    """Of a closed loop: plays the answer to its end, thinks so long, and only then asks again. None: asks at once."""
    voice: str | None = None
    """In place of the target's."""


def listeners(
    count: int,
    seed: int,
    *,
    think_mean_s: float | None = None,
    barge_in_share: float = 0.0,
    barge_in_s: tuple[float, float] = (0.3, 3.0),
) -> list[Listener]:
    """`count` listeners: exponential think times of this mean (None: none plays), and a share that goes early.

    Exactly round(share * count) go, drawn by chance, each after a time drawn evenly from `barge_in_s`. Raises
    ValueError for a share outside 0 to 1.
    """
    if not 0 <= barge_in_share <= 1:
        raise ValueError(f"barge_in_share: {barge_in_share} is not a share")
    rng = random.Random(f"listeners {seed}")
    going = set(rng.sample(range(count), round(barge_in_share * count)))
    return [
        Listener(
            leave_after_s=rng.uniform(*barge_in_s) if index in going else None,
            think_s=None
            if think_mean_s is None
            else rng.expovariate(1 / think_mean_s)
            if think_mean_s
            else 0.0,
        )
        for index in range(count)
    ]


def bursts(rate_rps: float, duration_s: float, size: int, seed: int) -> list[float]:
    """Due times in [0, duration_s), ascending: `size` at the same moment, the moments as from independent callers.

    The mean rate is `rate_rps` requests per second, as without bursts.
    """
    moments = arrivals("poisson", rate_rps / size, duration_s, seed)
    return [moment for moment in moments for _ in range(size)]


def played_until_s(sample: Sample) -> float:
    """When a player that began with the first piece has played all: what it got, and what it had to wait for.

    The end of the answer if nothing came, and the moment of leaving if the listener left.
    """
    if sample.left_s is not None or not sample.events or not sample.sample_rate_hz:
        return sample.end_s
    return max(sample.end_s, sample.events[0][0] + (stall_s(sample) or 0.0) + audio_s(sample))


def texts_of(characters: Sequence[int], seed: int) -> list[str]:
    """Made-up texts of these lengths, exactly, whole words of plain sentences; different where their length allows it.

    Raises ValueError for a length below 1.
    """
    if any(length < 1 for length in characters):
        raise ValueError("a text of no characters")
    most = max(characters, default=0)
    pool = texts(PLAIN_SENTENCE_MIX, max(1, min(len(characters) * 2, 4000)) + most // 50, seed)
    rng = random.Random(f"texts of lengths {seed}")
    found: list[str] = []
    seen: set[str] = set()
    for length in characters:
        for _ in range(20):
            text = _cut(rng, pool, length)
            if text not in seen:
                break
        seen.add(text)
        found.append(text)
    return found


def _cut(rng: random.Random, pool: Sequence[str], length: int) -> str:
    text = rng.choice(pool)
    while len(text) < length:
        text += " " + rng.choice(pool)
    if len(text) == length:
        return text
    words = text[: length - 1].rsplit(" ", 1)[0] if " " in text[: length - 1] else text[: length - 1]
    # A cut word would be spelled out by letters; a letter more or less in the last whole word is only a slip.
    words = words.rstrip(" ,.?!;:")
    return words + "a" * (length - 1 - len(words)) + "." if length > 1 else text[0]
