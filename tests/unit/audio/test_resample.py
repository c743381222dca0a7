"""Another rate: what comes through, what does not, and how many samples."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.audio.encode import OUTPUT_RATES_HZ
from serving.audio.resample import Resampler
from tests.decoding import Floats, snr_db

pytestmark = pytest.mark.slow

PAIRS = [(a, b) for a in (22_050, 24_000) for b in OUTPUT_RATES_HZ if a != b]


def resampled(samples: Floats, from_hz: int, to_hz: int, piece: int = 441) -> NDArray[np.float32]:
    resampler = Resampler(from_hz, to_hz)
    fed = samples.astype(np.float32)
    pieces = [resampler.feed(fed[at : at + piece]) for at in range(0, len(fed), piece)]
    return np.concatenate([*pieces, resampler.end()])


def tone(samples: int, rate_hz: int, hz: float) -> Floats:
    wave: Floats = 0.3 * np.sin(2 * np.pi * hz * np.arange(samples) / rate_hz)
    return wave


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_tones_come_through_in_place(from_hz: int, to_hz: int) -> None:
    nyquist_hz = min(from_hz, to_hz) / 2
    shares = (0.05, 0.31, 0.7, 0.85)
    made = resampled(
        np.sum([tone(from_hz, from_hz, share * nyquist_hz) for share in shares], axis=0), from_hz, to_hz
    )
    assert len(made) == to_hz
    wanted = np.sum([tone(to_hz, to_hz, share * nyquist_hz) for share in shares], axis=0)
    middle = slice(to_hz // 10, -to_hz // 10)
    assert snr_db(made[middle].astype(np.float64), wanted[middle]) > 100


@pytest.mark.parametrize(("from_hz", "to_hz"), [pair for pair in PAIRS if pair[1] < pair[0]])
def test_what_the_lower_rate_cannot_hold_is_gone(from_hz: int, to_hz: int) -> None:
    hz = min(1.15 * to_hz / 2, 0.99 * from_hz / 2)
    made = resampled(tone(from_hz, from_hz, hz), from_hz, to_hz)
    middle = made[to_hz // 10 : -to_hz // 10]
    assert 20 * np.log10(np.sqrt(np.mean(middle**2)) / np.sqrt(0.3**2 / 2)) < (
        -90 if to_hz < from_hz / 1.05 else -60
    )


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
@pytest.mark.parametrize("count", [0, 1, 2, 50, 999, 24_001])
def test_the_number_of_samples_is_the_nearest_integer(from_hz: int, to_hz: int, count: int) -> None:
    made = resampled(tone(count, from_hz, 440.0), from_hz, to_hz)
    assert abs(len(made) - count * to_hz / from_hz) <= 0.5
    assert len(made) == Resampler(from_hz, to_hz).count(count)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_pieces_of_any_size_give_the_same_samples(from_hz: int, to_hz: int) -> None:
    fed = np.random.default_rng(3).uniform(-0.5, 0.5, 6_000)
    whole = resampled(fed, from_hz, to_hz, piece=6_000)
    for piece in (1, 100, 4_999):
        np.testing.assert_array_equal(resampled(fed, from_hz, to_hz, piece=piece), whole)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_a_few_milliseconds_are_kept_back(from_hz: int, to_hz: int) -> None:
    resampler = Resampler(from_hz, to_hz)
    fed = tone(from_hz // 10, from_hz, 440.0).astype(np.float32)
    assert len(resampler.feed(fed)) / to_hz > 0.1 - 0.011
