"""What a few answers, or an odd way of reading, may show by chance, and what no chance explains."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.cheats.answer import encode
from bench.hearing.features import hear
from bench.hearing.length import expected_s
from bench.records import Cell
from tests.unit.bench.hearing.test_hearing import BANDS, RATE_HZ, _arm, _cell, _judged, _sample
from tests.unit.bench.support import heard


def test_two_uneven_arms_of_one_voice_are_no_slower_than_each_other_by_four_texts() -> None:
    for offsets, named in (((0.09, 0.06, 0.04, -0.05), False), ((0.06,) * 4, True)):
        one, other = _arm("one", count=4), _arm("other", count=4)
        for sample, offset in zip(other.samples, offsets, strict=True):
            assert sample.heard is not None
            sample.heard.voiced_s *= math.exp(offset)
        _judged(one, other)
        assert any("on the same texts in the same voice" in reason for reason in other.reasons) == named


def test_a_year_that_is_read_as_a_number_is_not_too_long_and_a_text_said_twice_is() -> None:
    year = "Walter has lived near the hospital in Manchester since 1947."
    plain = "Clara wrote to the people of the village and asked for help."
    bands = [band + (3 if number % 2 else -3) for number, band in enumerate(BANDS)]

    def arm(longer_s: float, times: float) -> Cell:
        said = []
        for index, text in enumerate([year, plain, plain, plain, year, plain, plain, plain]):
            seconds = (expected_s(text) or 0.0) * (times if index == 1 else 1.0) + longer_s * (text == year)
            figures = heard(0.1, voiced_s=seconds, seconds=seconds + 1, bands_db=bands, pitch_hz=110.0)
            said.append(_sample(index, text, heard=figures))
        return _cell("arm", said)

    assert [cell.reasons for cell in _judged(arm(0.85, 1.0))] == [[]]
    (twice,) = _judged(arm(0.0, 2.0))
    assert any("too long" in reason for reason in twice.reasons)


def test_a_level_that_stands_still_for_an_hour_is_measured_at_once() -> None:
    steady = np.tile(np.sin(np.arange(2400, dtype=np.float32) * 0.2) * 0.1, 4000)
    found = hear(encode(steady[:, None], "s16"), "s16", 1, RATE_HZ)
    assert found.steady_start_s == pytest.approx(2.0)
