"""What lies on the way to a listener's first sound, and what breaks the speech after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.metrics import (
    audible_ttfa_s,
    first_payload_s,
    first_playable_s,
    in_pieces,
    lead_s,
    playback,
    ttfa_s,
)
from bench.records import Sample


@dataclass(frozen=True, kw_only=True)
class Onset:
    """Medians over good answers; None where no answer has the figure.

    Underruns are those of a player without a buffer.
    """

    first_byte_s: float | None
    playable_s: float | None
    """Until one whole sample of all channels."""
    silence_s: float | None
    """At the start of the wave, which is played before the sound."""
    sound_s: float | None
    """The audible TTFA."""
    payload_s: float | None
    """Seconds of audio in the first read."""
    streams: int
    """Answers of two chunks or more."""
    broken: int
    """Streams with an underrun."""
    underruns: int
    """In all of them."""
    underrun_s: float
    """How long these lasted in all."""


def onset(samples: Sequence[Sample]) -> Onset:
    """Of the good answers of one arm at one load point."""

    def middle(figure: Callable[[Sample], float | None]) -> float | None:
        values = [value for sample in samples if (value := figure(sample)) is not None]
        return median(values) if values else None

    played = [found for sample in samples if in_pieces(sample) and (found := playback(sample)) is not None]
    return Onset(
        first_byte_s=middle(ttfa_s),
        playable_s=middle(first_playable_s),
        silence_s=middle(lead_s),
        sound_s=middle(audible_ttfa_s),
        payload_s=middle(first_payload_s),
        streams=len(played),
        broken=sum(found.underruns > 0 for found in played),
        underruns=sum(found.underruns for found in played),
        underrun_s=sum(found.underrun_s for found in played),
    )
