"""What is audible in a wave that is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.hearing.sound import levels_dbfs, sound_of
from bench.listen.align import Spoken, distances_ms
from bench.listen.command import _arrival

RATE_HZ = 16000


def tone(seconds: float, level_dbfs: float) -> NDArray[np.float32]:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave: NDArray[np.float32] = (
        np.sin(2 * np.pi * 400 * time_s) * np.sqrt(2) * 10 ** (level_dbfs / 20)
    ).astype(np.float32)
    return wave


def test_levels_are_of_the_root_mean_square() -> None:
    assert levels_dbfs(tone(0.1, -20.0), RATE_HZ) == pytest.approx(-20.0, abs=0.01)


def test_head_tail_and_pauses() -> None:
    faint, loud = tone(0.3, -60.0), tone(0.5, -20.0)
    wave = np.concatenate(
        [faint, loud, np.zeros(4000, np.float32), loud, tone(0.1, -60.0), loud, faint[:3200]]
    )
    sound = sound_of(wave, RATE_HZ)
    assert sound is not None
    assert sound.head_s == pytest.approx(0.3, abs=0.011)
    assert sound.tail_s == pytest.approx(0.2, abs=0.011)
    assert sound.pauses_s == pytest.approx([0.25], abs=0.011), "0.1 s is no pause"
    assert sound.voiced_s == pytest.approx(1.6, abs=0.03)
    assert sound_of(np.zeros(RATE_HZ, np.float32), RATE_HZ) is None


def test_when_a_sample_arrived() -> None:
    assert _arrival([(0.02, 100), (0.05, 900), (0.09, 2000)], 0.05, RATE_HZ) == 0.05


def test_words_are_compared_in_order() -> None:
    told = [
        Spoken("it", 0.0, 0.1),
        Spoken("costs", 0.1, 0.3),
        Spoken("", 0.3, 0.8),
        Spoken("today", 0.8, 1.0),
    ]
    aligned = [
        Spoken("it", 0.03, 0.1), Spoken("costs", 0.05, 0.3), Spoken("five", 0.3, 0.5), Spoken("dollars", 0.5, 0.8),
        Spoken("today", 0.9, 1.0),
    ]  # fmt: skip
    starts, ends = zip(*distances_ms(told, aligned), strict=True)
    assert starts == pytest.approx([30, -50, 100])
    assert ends == pytest.approx([0, 0, 0])
