"""Does head still say the same, as loud, as long and as clearly? Base's and head's waves of the same texts and seed.

Equal samples need no listening. Where they differ they are compared by what a change of the code may not move, however
it moves the samples: the length of each text, its level, the spectrum of its loud, middling and quiet frames (the
bandwidth, and hiss in the pauses), and the words that a recogniser understands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.gate.report import Finding
from bench.gate.verdict import Verdict
from bench.hearing.words import normalise

QUALITY = "quality"
"""The name that selects all of it; the findings are quality.length and so on."""

LENGTH_MEAN = 0.01
"""Mean difference of the length over all texts, as a share: 5 % faster speech and 50 ms more of silence lie beyond."""
LENGTH_ONE = 0.2
"""The same of a single text."""
LEVEL_MEAN_DB = 1.0
LEVEL_ONE_DB = 6.0
SPECTRUM_DB = 2.0
"""Mean difference over the bands, of the loud, the middling or the quiet frames."""
WORDS_SHARE = 0.02
WORDS_COUNT = 3
"""Head may misspeak so many words more than base, or this share of all words, whichever is more."""
UNDERSTOOD = 0.5
"""A base whose error rate is above this is not speech that the recogniser knows."""

FLOOR_DBFS = -80.0
FRAME_S = 0.02
BANDS = 24
LOWEST_HZ = 80.0
STANDARD_ERRORS = 2.2
"""Student's t at 95 % for the dozen texts of a run."""

Transcribe = Callable[[NDArray[np.floating[Any]], int], str]


class Wave(NamedTuple):
    """Mono samples in [-1, 1] [n]."""

    samples: NDArray[np.floating[Any]]
    sample_rate_hz: int

    @property
    def length_s(self) -> float:
        return len(self.samples) / self.sample_rate_hz

    @property
    def level_dbfs(self) -> float:
        """Of the whole wave, at least FLOOR_DBFS."""
        if not len(self.samples):
            return FLOOR_DBFS
        power = float(np.mean(self.samples.astype(np.float64) ** 2))
        return max(10 * float(np.log10(power + 1e-12)), FLOOR_DBFS)


def judge_quality(
    texts: Sequence[str],
    base: Sequence[Wave],
    head: Sequence[Wave],
    transcribe: Transcribe | None = None,
) -> list[Finding]:
    """A finding per property, or a single one if every sample is equal. A wave of each side per text.

    `transcribe` is the recogniser of bench.hearing.speech_check, which is loaded only where it is needed.
    """
    if all(_equal(one, other) for one, other in zip(base, head, strict=True)):
        note = f"the {len(texts)} waves are equal, sample by sample"
        return [Finding(metric="quality.samples", verdict="NO CHANGE", note=note)]
    return [
        _length(base, head),
        _level(base, head),
        _spectrum(base, head),
        _words(texts, base, head, transcribe),
    ]


def _equal(one: Wave, other: Wave) -> bool:
    return one.sample_rate_hz == other.sample_rate_hz and np.array_equal(one.samples, other.samples)


def _length(base: Sequence[Wave], head: Sequence[Wave]) -> Finding:
    logs = np.array(
        [
            np.log(max(other.length_s, 1e-3) / max(one.length_s, 1e-3))
            for one, other in zip(base, head, strict=True)
        ]
    )
    beyond = _beyond(logs, np.log1p(LENGTH_MEAN), np.log1p(LENGTH_ONE))
    worst = float(np.exp(logs[np.argmax(np.abs(logs))]) - 1)
    return Finding(
        metric="quality.length",
        verdict="REGRESSED" if beyond else "NO CHANGE",
        unit="s",
        base=sum(wave.length_s for wave in base),
        head=sum(wave.length_s for wave in head),
        worse=float(np.exp(max(abs(logs.mean()), abs(logs[np.argmax(np.abs(logs))]) if beyond else 0))),
        note=f"same texts and seeds; the most different one is {worst:+.1%} long",
    )


def _level(base: Sequence[Wave], head: Sequence[Wave]) -> Finding:
    apart = np.array([other.level_dbfs - one.level_dbfs for one, other in zip(base, head, strict=True)])
    beyond = _beyond(apart, LEVEL_MEAN_DB, LEVEL_ONE_DB)
    worst = float(apart[np.argmax(np.abs(apart))])
    return Finding(
        metric="quality.level",
        verdict="REGRESSED" if beyond else "NO CHANGE",
        unit="dBFS",
        base=float(np.mean([wave.level_dbfs for wave in base])),
        head=float(np.mean([wave.level_dbfs for wave in head])),
        worse=float(10 ** (np.abs(apart).max() / 20)),
        note=f"the most different text is {worst:+.1f} dB",
    )


def _beyond(differences: NDArray[np.float64], mean_limit: float, one_limit: float) -> bool:
    """Is the mean beyond its limit, and for sure not zero, or a single one beyond its own?"""
    mean = abs(float(differences.mean()))
    error = float(differences.std(ddof=1)) / np.sqrt(len(differences)) if len(differences) > 1 else 0.0
    certain = mean > mean_limit and mean > STANDARD_ERRORS * error
    return certain or bool(np.abs(differences).max() > one_limit)


def _spectrum(base: Sequence[Wave], head: Sequence[Wave]) -> Finding:
    highest_hz = max(wave.sample_rate_hz for wave in (*base, *head)) / 2
    one, other = (_band_levels(waves, highest_hz) for waves in (base, head))
    apart = np.abs(other - one).mean(axis=1)
    which = int(apart.argmax())
    return Finding(
        metric="quality.spectrum",
        verdict="REGRESSED" if apart[which] > SPECTRUM_DB else "NO CHANGE",
        unit="dB",
        base=0.0,
        head=float(apart[which]),
        worse=float(10 ** (apart[which] / 20)),
        note=f"mean difference over {BANDS} bands, largest in the {('quiet', 'middling', 'loud')[which]} frames",
    )


def _band_levels(waves: Sequence[Wave], highest_hz: float) -> NDArray[np.float64]:
    """Level in dBFS of each band that the 10th, 50th and 95th percentile of all frames have. [3, BANDS]

    A band beyond what a wave's rate can hold is as quiet as silence.
    """
    edges_hz = np.geomspace(LOWEST_HZ, highest_hz, BANDS + 1)
    levels = []
    for samples, rate_hz in waves:
        size = round(FRAME_S * rate_hz)
        frames = samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64)
        spectrum = np.abs(np.fft.rfft(frames * np.hanning(size))) ** 2 * (8 / 3 * 2 / size**2)
        hz = np.fft.rfftfreq(size, 1 / rate_hz)
        sums = np.concatenate([np.zeros((len(frames), 1)), spectrum.cumsum(axis=1)], axis=1)
        at = np.searchsorted(hz, edges_hz)
        # A band narrower than the grid takes the bin that it lies in.
        first, last = at[:-1].clip(max=len(hz)), np.maximum(at[1:], at[:-1] + 1).clip(max=len(hz))
        power = sums[:, last] - sums[:, first]
        levels.append(10 * np.log10(power.clip(min=1e-12)))
    found = np.concatenate(levels).clip(min=FLOOR_DBFS) if levels else np.empty((0, BANDS))
    if not len(found):
        return np.full((3, BANDS), FLOOR_DBFS)
    result: NDArray[np.float64] = np.percentile(found, [10, 50, 95], axis=0)
    return result


def _sound(wave: Wave) -> tuple[NDArray[np.floating[Any]], int]:
    return wave.samples, wave.sample_rate_hz


def _words(
    texts: Sequence[str], base: Sequence[Wave], head: Sequence[Wave], transcribe: Transcribe | None
) -> Finding:
    import jiwer

    from bench.hearing import speech_check  # it loads the recogniser: only where samples differ

    spoken = [normalise(text) for text in texts]
    total = sum(len(text.split()) for text in spoken)
    errors: list[int] = []
    for waves in (base, head):
        sounds = [partial(_sound, wave) for wave in waves if len(wave.samples)]
        said = iter(
            [transcribe(*sound()) for sound in sounds] if transcribe else speech_check.transcribe_all(sounds)
        )
        heard = [normalise(next(said)) if len(wave.samples) else "" for wave in waves]
        found: Any = jiwer.process_words(spoken, heard)
        errors.append(found.substitutions + found.deletions + found.insertions)
    verdict: Verdict = "NO CHANGE"
    note = f"of {total} words; the recogniser is faster-whisper tiny.en"
    if errors[0] > UNDERSTOOD * total:
        verdict, note = (
            "INVALID",
            "the recogniser does not understand base either: its words are not compared",
        )
    elif errors[1] - errors[0] > max(WORDS_SHARE * total, WORDS_COUNT):
        verdict = "REGRESSED"
    return Finding(
        metric="quality.words",
        verdict=verdict,
        unit="wrong words",
        base=float(errors[0]),
        head=float(errors[1]),
        worse=(errors[1] + 1) / (errors[0] + 1),
        note=note,
    )
