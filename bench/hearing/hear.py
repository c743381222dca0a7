"""Hear all waves of one load point, after its load has ended: fills in Sample.heard and Sample.doubts."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from statistics import median

from bench.heard import Heard
from bench.hearing.cores import over_cores
from bench.hearing.doubts import NO_SPEECH, wave_doubts
from bench.hearing.features import hear
from bench.hearing.length import slowness, tolerance
from bench.hearing.raw import played, samples_of
from bench.hearing.repeats import Prints, copied_shares, kept_starts, prints_of
from bench.hearing.words import normalise
from bench.records import Sample


def hear_all(samples: Sequence[Sample], audio: Mapping[int, bytes]) -> None:
    """`audio` is the raw audio of the requests by their index; a request without any stays unheard."""
    heard = [sample for sample in samples if audio.get(sample.index) and sample.sample_rate_hz]

    def listen(number: int) -> tuple[Heard, Prints]:
        sample = heard[number]
        raw = audio[sample.index]
        sample.heard = hear(raw, sample.encoding, sample.channels, sample.sample_rate_hz)
        mono = played(samples_of(raw, sample.encoding, sample.channels)).mean(axis=1)
        # A tone is a copy of itself everywhere, and is named as what it is.
        speech = NO_SPEECH.isdisjoint(wave_doubts(sample))
        return sample.heard, prints_of(mono if speech else mono[:0], sample.sample_rate_hz)

    listened = over_cores(listen, len(heard))
    prints = [one for _, one in listened]
    first = [normalise(sample.text)[:1] for sample in heard]
    found_of = zip(heard, listened, copied_shares(prints), kept_starts(prints, first), strict=True)
    for sample, (found, _), copied, kept in found_of:
        sample.heard = found
        sample.heard.repeated_share = copied.of_others
        sample.heard.repeated_itself_share = copied.of_itself
        sample.heard.pieced_share = copied.in_pieces
        sample.heard.begins_alike = kept
        sample.doubts = wave_doubts(sample)


def worth_hearing(samples: Sequence[Sample], by_chance: int, doubtful: int, seed: int) -> list[int]:
    """Indices of the good answers that the recogniser shall hear: some by chance, and those that are most in doubt.

    A server cannot know which. Most in doubt: with a doubt of its own, then the farthest from the usual length.
    """
    heard = [sample for sample in samples if sample.error is None and sample.heard is not None]
    chosen = [sample.index for sample in random.Random(seed).sample(heard, min(by_chance, len(heard)))]
    paces = {sample.index: pace for sample in heard if (pace := slowness(sample)) is not None}
    usual = median(paces.values()) if paces else 0.0

    def doubt(sample: Sample) -> float:
        return len(sample.doubts) + abs(paces.get(sample.index, usual) - usual) / tolerance(sample.text)

    rest = sorted((sample for sample in heard if sample.index not in chosen), key=doubt, reverse=True)
    return sorted([*chosen, *(sample.index for sample in rest[:doubtful])])
