"""Waits where the text has no mark, against the voice's own pauses; and waves whose pitch and sound moved as one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.hearing.gaps import between_sentences_s, waits_without_mark
from bench.hearing.length import INNER_MARKS
from bench.hearing.voices import BANDS_PER_OCTAVE, another_voice, voice_of
from bench.records import Sample
from tests.unit.bench.hearing.test_hearing import BANDS, _arm, _sample
from tests.unit.bench.support import heard

SHORT = "Hamburg is 76 miles from the library where Monica works."
MEDIUM = (
    "The repair of the museum will cost Henry $798. After the wind the road to Dublin was closed for 48 hours. "
    "On March 19 the bank in Houston opens to visitors again. Henry knew why the library had been closed."
)


def _answers(medium_s: list[float], short_s: list[float], count: int = 10) -> list[Sample]:
    """Half of them medium texts with three sentences behind the first, half of them short ones without a mark."""
    return [
        _sample(number, text, heard=heard(0.1, breaks_s=breaks_s))
        for number in range(count)
        for text, breaks_s in [(MEDIUM, medium_s) if number % 2 else (SHORT, short_s)]
    ]


@pytest.mark.parametrize("longer_s", [0.0, 0.25, 0.5, 0.8, 1.5])
def test_a_voice_that_makes_all_its_pauses_longer_is_not_accused(longer_s: float) -> None:
    inside, between = 0.36 + longer_s, 0.85 + longer_s
    breaks = [inside] if inside >= 0.5 else []
    assert waits_without_mark(_answers([between] * 3 + breaks, breaks)) == (0, 10, False)


@pytest.mark.parametrize("gap_s", [0.55, 0.8, 1.6])
def test_a_gap_where_there_is_no_mark_is_a_wait(gap_s: float) -> None:
    assert waits_without_mark(_answers([0.85] * 3 + [gap_s], [gap_s])) == (10, 10, True)
    assert waits_without_mark(_answers([0.85] * 3, [gap_s])) == (5, 10, True)


def test_as_many_gaps_as_sentences_do_not_pass_as_the_voice_s_own_pauses() -> None:
    broken, _, too_many = waits_without_mark(_answers([1.6] * 3 + [0.85] * 3, [0.85]))
    assert (broken, too_many) == (5, True)


def test_a_long_text_leaves_room_for_breath_and_a_medium_one_for_none() -> None:
    breath = [0.85] * 3 + [0.6]
    assert waits_without_mark(_answers(breath, []))[0] == 5
    long = " ".join(["and"] * 60) + " " + MEDIUM
    assert (
        waits_without_mark([_sample(number, long, heard=heard(0.1, breaks_s=breath)) for number in range(6)])[
            0
        ]
        == 0
    )


def test_without_two_sentences_in_any_text_half_of_the_answers_must_wait() -> None:
    short = [_sample(number, SHORT, heard=heard(0.1, breaks_s=[0.6] * (number < 4))) for number in range(10)]
    assert between_sentences_s(short) is None
    assert waits_without_mark(short) == (4, 10, False)
    always = [_sample(number, SHORT, heard=heard(0.1, breaks_s=[0.6])) for number in range(10)]
    assert waits_without_mark(always) == (10, 10, True)


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("Plain words only here.", 0),
        ("Is $3.50 or 10:29 fine?", 0),
        ("A, b. C", 2),
        ('Doctor Reed said "go home" to him.', 2),
        ("He (the old man) left", 2),
        ("call 555-0199 now", 1),
        ("word—word and a — b", 2),
        ("one - two", 1),
        ("Title\nText", 1),
        ("well...he", 1),
        ("good-bye at six o'clock", 0),
        ("你好，世界。", 1),
    ],
)
def test_marks_are_where_a_speaker_may_pause(text: str, marks: int) -> None:
    assert len(INNER_MARKS.findall(text)) == marks


@pytest.mark.parametrize("factor", [0.7, 0.8, 1 / 1.2, 1.2, 1.3])
def test_pitch_and_sound_that_move_as_one_are_another_voice_and_each_alone_is_not(factor: float) -> None:
    voice = voice_of("x", _arm("x").samples)
    assert voice is not None
    bands = np.arange(len(BANDS))
    moved = np.interp(bands - math.log2(factor) * BANDS_PER_OCTAVE, bands, BANDS)
    moved -= moved.mean()
    both = heard(pitch_hz=196.0 * factor, bands_db=moved.tolist())
    assert another_voice(both, voice)
    turned = heard(
        pitch_hz=196.0 / math.sqrt(factor), bands_db=(np.asarray(BANDS) + 0.3 * (moved - BANDS)).tolist()
    )
    assert not another_voice(turned, voice)
    assert not another_voice(heard(pitch_hz=196.0 * max(0.8, min(factor, 1.25)), bands_db=BANDS), voice)
