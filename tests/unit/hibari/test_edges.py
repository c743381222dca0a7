"""The ends of a segment's samples, and their loudness."""

from __future__ import annotations

import numpy as np
import pytest

from serving.models.hibari.edges import (
    FADE_IN,
    FADE_OUT,
    KNEE,
    ONSET_FRAME,
    SEARCH_SAMPLES,
    amplify,
    fade_tail,
    trim_head,
)


def noise(count: int, level_db: float) -> np.ndarray:
    return np.random.default_rng(3).normal(0, 10 ** (level_db / 20), count).astype(np.float32)


@pytest.mark.parametrize("silent", [0, 60, 600, 2400])
def test_speech_begins_a_fade_after_the_cut(silent: int) -> None:
    samples = np.concatenate((noise(silent, -75), noise(4000, -50)))
    heard = trim_head(samples.copy())
    cut = len(samples) - len(heard)
    assert cut == max(silent - FADE_IN, 0)
    np.testing.assert_array_equal(heard[FADE_IN:], samples[cut + FADE_IN :])
    assert heard[0] == 0
    assert np.abs(np.diff(heard[:FADE_IN])).max() <= np.abs(np.diff(samples)).max()


def test_what_is_cut_depends_on_the_first_samples_alone() -> None:
    samples = np.concatenate((noise(1000, -75), noise(20000, -40)))
    short = trim_head(samples[: SEARCH_SAMPLES + 1200].copy())
    np.testing.assert_array_equal(trim_head(samples.copy())[: len(short)], short)


def test_a_window_without_an_onset_is_cut_no_further_than_it_is_searched() -> None:
    samples = noise(5000, -80)
    assert len(trim_head(samples.copy())) == 5000 - SEARCH_SAMPLES // ONSET_FRAME * ONSET_FRAME + FADE_IN
    assert len(trim_head(samples[:100])) <= 100


def test_the_end_fades() -> None:
    samples = np.ones(1000, np.float32)
    faded = fade_tail(samples.copy())
    assert (faded[: 1000 - FADE_OUT] == 1).all()
    assert faded[-1] == 0
    assert (np.diff(faded[-FADE_OUT:]) < 0).all()
    assert len(fade_tail(samples[:50])) == 50


@pytest.mark.parametrize("gain", [0.25, 1.5, 8.0])
def test_a_gain_clips_nothing(gain: float) -> None:
    samples = np.linspace(-1, 1, 2001, dtype=np.float32)
    louder = amplify(samples, gain)
    assert louder.dtype == np.float32
    assert np.abs(louder).max() <= 1
    assert (np.diff(louder) >= 0).all()
    linear = np.abs(samples * gain) <= KNEE
    np.testing.assert_allclose(louder[linear], samples[linear] * gain, rtol=1e-6)
    np.testing.assert_array_equal(
        np.concatenate([amplify(part, gain) for part in np.split(samples, [7, 900])]), louder
    )
