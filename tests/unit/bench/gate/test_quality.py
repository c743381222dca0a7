"""Planted faults of what is heard: head against the base whose wave they were made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.gate.quality import Wave, judge_quality

RATE_HZ = 24_000
TEXTS = [f"There were {number} people in the garden." for number in ("two", "three", "four", "five")] * 3

Samples = NDArray[np.float32]


def voice(seed: int, length_s: float = 2.0) -> Samples:
    """Syllables: harmonics of a pitch that moves, some noise, and short silences between."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 2 * time_s + seed)) / RATE_HZ
    harmonics = np.arange(1, 40)[:, None]
    tone = (np.sin(harmonics * phase) / harmonics).sum(axis=0)
    loud = np.clip(np.sin(2 * np.pi * 4 * time_s), 0, 1)
    samples: Samples = (0.1 * loud * (tone + 0.1 * rng.normal(size=time_s.size))).astype(np.float32)
    return samples


BASE = [Wave(voice(seed, 1.5 + 0.1 * seed), RATE_HZ) for seed in range(len(TEXTS))]


def heard(wave: NDArray[np.floating], rate_hz: int) -> str:
    """A recogniser that knows the waves: the text of the base that has this many samples, a word less if cut."""
    for text, base in zip(TEXTS, BASE, strict=True):
        if len(base.samples) == len(wave):
            tail = wave[int(0.85 * len(wave)) :]
            return text if np.abs(tail).max() > 0.001 else text.rsplit(" ", 1)[0]
    return ""


def verdicts(change: Callable[[Samples], Samples], rate_hz: int = RATE_HZ) -> dict[str, str]:
    head = [Wave(change(wave.samples), rate_hz) for wave in BASE]
    return {
        one.metric.removeprefix("quality."): one.verdict for one in judge_quality(TEXTS, BASE, head, heard)
    }


def regressed(change: Callable[[Samples], Samples], rate_hz: int = RATE_HZ) -> set[str]:
    return {name for name, verdict in verdicts(change, rate_hz).items() if verdict == "REGRESSED"}


def faster(share: float) -> Callable[[Samples], Samples]:
    def change(samples: Samples) -> Samples:
        places = np.arange(0, len(samples) - 1, 1 + share)
        changed: Samples = np.interp(places, np.arange(len(samples)), samples).astype(np.float32)
        return changed

    return change


def noise(level_dbfs: float) -> Callable[[Samples], Samples]:
    rng = np.random.default_rng(1)

    def change(samples: Samples) -> Samples:
        noisy: Samples = (samples + rng.normal(0, 10 ** (level_dbfs / 20), samples.size)).astype(np.float32)
        return noisy

    return change


def last_word_muted(samples: Samples) -> Samples:
    muted = samples.copy()
    muted[int(0.85 * len(samples)) :] = 0
    return muted


def test_equal_samples_need_no_listening() -> None:
    assert verdicts(lambda samples: samples) == {"samples": "NO CHANGE"}


def test_rounding_of_another_order_is_no_change() -> None:
    found = verdicts(noise(-95))
    assert found == dict.fromkeys(("length", "level", "spectrum", "words"), "NO CHANGE")


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (faster(0.05), {"length"}),
        (faster(-0.05), {"length"}),
        (lambda samples: samples[: int(0.85 * len(samples))], {"length"}),
        (lambda samples: np.concatenate([samples, np.zeros(1200, np.float32)]), {"length"}),
        (lambda samples: samples[:0], {"length", "level", "spectrum", "words"}),
        (lambda samples: samples * 0, {"level", "spectrum", "words"}),
        (lambda samples: samples * np.float32(0.8), {"level"}),
        (noise(-55), {"spectrum"}),
        (last_word_muted, {"words"}),
    ],
)
def test_a_planted_fault_is_named(change: Callable[[Samples], Samples], names: set[str]) -> None:
    assert names <= regressed(change)


def test_half_the_sample_rate_is_seen_in_the_spectrum() -> None:
    assert "spectrum" in regressed(lambda samples: samples[::2], RATE_HZ // 2)


def test_the_same_samples_at_a_higher_rate_are_shorter() -> None:
    assert "length" in regressed(lambda samples: samples, RATE_HZ * 11 // 10)


def test_one_silent_text_of_many_is_enough() -> None:
    head = [Wave(BASE[0].samples * 0, RATE_HZ), *BASE[1:]]
    found = {one.metric: one.verdict for one in judge_quality(TEXTS, BASE, head, heard)}
    assert found["quality.level"] == "REGRESSED"


def test_lengths_that_scatter_by_themselves_are_no_change() -> None:
    rng = np.random.default_rng(2)
    head = [Wave(faster(float(rng.normal(0, 0.03)))(wave.samples), RATE_HZ) for wave in BASE]
    [length] = [one for one in judge_quality(TEXTS, BASE, head, heard) if one.metric == "quality.length"]
    assert length.verdict == "NO CHANGE"


def test_words_that_nobody_understands_are_not_compared() -> None:
    found = judge_quality(
        TEXTS, BASE, [Wave(noise(-95)(one.samples), RATE_HZ) for one in BASE], lambda *_: ""
    )
    [words] = [one for one in found if one.metric == "quality.words"]
    assert words.verdict == "INVALID"
    assert not words.fails
