"""Which frames are decoded, and when words are heard: the arithmetic alone."""

from __future__ import annotations

import numpy as np
import pytest

from serving.models.hibari.timing import (
    EDGE_FRAMES,
    FRAME_S,
    HEAD_FRAMES,
    QUIET_FRAMES,
    SOUND_LEADS,
    TAIL_FRAMES,
    WORD_LEAD_S,
    Break,
    edit,
    find_breaks,
    lengthen,
    onset_s,
    word_times,
)
from serving.profile import PauseProfile
from serving.protocol import WordSpan

PAUSES = PauseProfile(comma_s=0.2, clause_s=0.3)
COMMA, COLON, PERIOD, DASH, QUOTE, BLANK, SOUND = 3, 2, 4, 9, 14, 16, 50


def energy_of(*runs: tuple[int, float]) -> np.ndarray:
    """Frames of each energy."""
    return np.concatenate([np.full(count, energy, np.float32) for count, energy in runs])


@pytest.mark.parametrize(
    ("tokens", "breaks"),
    [
        ([0, SOUND, BLANK, SOUND, PERIOD, 0], []),
        ([0, SOUND, COMMA, BLANK, SOUND, PERIOD, 0], [Break(2, 4, 0.2)]),
        ([0, SOUND, COLON, BLANK, QUOTE, SOUND, 0], [Break(2, 5, 0.3)]),
        ([0, SOUND, BLANK, DASH, BLANK, SOUND, 0], [Break(2, 5, 0.3)]),
        ([0, QUOTE, COMMA, SOUND, 0], []),
        ([0, SOUND, BLANK, QUOTE, SOUND, 0], []),
    ],
)
def test_pauses_stand_between_two_words(tokens: list[int], breaks: list[Break]) -> None:
    assert find_breaks(tokens, PAUSES) == breaks


def test_a_mark_gets_room_for_its_pause() -> None:
    durations = np.array([14, 3, 2, 1, 3, 6, 1])
    assert lengthen(durations, [Break(2, 4, 0.2)]).tolist() == [14, 3, 8, 1, 3, 6, 1]
    assert lengthen(durations, [Break(2, 4, 0.02)]).tolist() == durations.tolist()


def test_silent_edges_are_cut() -> None:
    energy = energy_of((28, -1.8), (40, 1.0), (30, -1.0))
    ends = np.array([28, 70, 98])
    places = edit(energy, ends, [], 1.0, trim=True)
    assert (places[0], places[-1]) == (28 - HEAD_FRAMES - 1, 68 + TAIL_FRAMES - 1)
    assert onset_s(energy, places) == (HEAD_FRAMES + 1) * FRAME_S
    assert np.array_equal(np.diff(places), np.ones(len(places) - 1))
    assert len(edit(energy, ends, [], 1.0, trim=False)) == 98


def test_a_segment_without_a_sound_is_left_whole() -> None:
    assert len(edit(energy_of((30, -1.5)), np.array([30]), [], 1.0, trim=True)) == 30


@pytest.mark.parametrize("silence", [5, 16, 60])
@pytest.mark.parametrize("speed", [1.0, 0.5, 2.0])
def test_the_voices_own_silence_becomes_the_pause(silence: int, speed: float) -> None:
    energy = energy_of((20, -1.8), (30, 1.0), (silence, -0.5), (30, 1.0), (20, -1.0))
    ends = np.cumsum([22, 30, silence + 2, 26, 20])
    places = edit(energy, ends, [Break(2, 3, 0.2)], speed, trim=True)
    inside = (energy[np.rint(places).astype(int)] < 0).nonzero()[0]
    inside = inside[(inside >= HEAD_FRAMES + 2) & (inside < len(places) - TAIL_FRAMES - 2)]
    assert abs(len(inside) - (0.2 / FRAME_S - EDGE_FRAMES) / speed) <= 1


def test_a_voice_that_runs_on_is_not_cut() -> None:
    energy = energy_of((20, -1.8), (60, 1.0), (20, -1.0))
    ends = np.cumsum([22, 30, 4, 24, 20])
    with_break = edit(energy, ends, [Break(2, 3, 0.2)], 1.0, trim=True)
    np.testing.assert_array_equal(with_break, edit(energy, ends, [], 1.0, trim=True))


@pytest.mark.parametrize("speed", [0.5, 0.75, 1.1, 1.3, 1.4, 1.75, 2.0])
def test_the_pace_is_proportional(speed: float) -> None:
    durations = np.random.default_rng(1).integers(1, 10, size=60) * 2
    energy = energy_of((40, -1.8), (int(durations.sum()), 1.0), (40, -1.0))
    ends = np.cumsum([40, *durations, 40])
    places = edit(energy, ends, [], speed, trim=False)
    assert (np.diff(places) > 0).all()
    heard = (energy[np.rint(places).astype(int)] > 0).sum()
    assert abs(heard - durations.sum() / speed) <= 1.5


def test_a_fast_voice_hurries_through_long_sounds() -> None:
    energy = np.ones(80, np.float32)
    ends = np.cumsum([4] * 10 + [40])
    places = edit(energy, ends, [], 2.0, trim=False)
    assert (places < 40).sum() > 22
    assert len(places) == 40


def test_words_are_heard_where_their_sounds_are() -> None:
    """Two words, of which the second follows a pause, and the third a sound."""
    energy = energy_of((20, -1.8), (20, 1.0), (10, -0.5), (40, 1.0), (20, -1.0))
    ends = np.cumsum([24, 20, 6, 20, 4, 16, 20])
    tokens = [0, SOUND, BLANK, SOUND, BLANK, SOUND, 0]
    words = [WordSpan(1, 2, 0, 1), WordSpan(3, 4, 2, 3), WordSpan(5, 6, 4, 5)]
    times = word_times(words, tokens, ends, energy, np.arange(len(energy), dtype=np.float64))
    third = (24 + 20 + 6 + 20 + 4 - SOUND_LEADS) * FRAME_S
    first_end = (40 - QUIET_FRAMES) * FRAME_S
    expected = [(20 * FRAME_S, first_end), (50 * FRAME_S, 66 * FRAME_S), (third, 86 * FRAME_S)]
    np.testing.assert_allclose(times, [(start_s - WORD_LEAD_S, end_s) for start_s, end_s in expected])
