"""What `bench protocols` derives from answers."""

from __future__ import annotations

import pytest

from bench.load.http1 import Response
from bench.protocols.client import Answer, Refused
from bench.protocols.live import _gap_ms, _stall_ms, _stall_of


def answer(*pieces: tuple[float, int]) -> Answer:
    made = [(at, bytes(size), True) for at, size in pieces]
    return Answer(10.0, Response(status=200, headers={"x-sample-rate": "1000"}, pieces=made))


def test_the_first_bytes_are_those_behind_the_header() -> None:
    both = answer((10.1, 44), (10.25, 100), (10.5, 100))
    assert both.bytes_after_ms() == pytest.approx(100)
    assert both.bytes_after_ms(43) == pytest.approx(100)
    assert both.bytes_after_ms(44) == pytest.approx(250)
    assert both.complete_after_ms == pytest.approx(500)
    with pytest.raises(Refused):
        both.bytes_after_ms(244)


def test_a_stall_is_what_a_player_waits_for() -> None:
    assert _stall_ms([(1.0, 0.5), (1.4, 0.5), (1.9, 0.5)]) == 0.0
    assert _stall_ms([(1.0, 0.5), (1.8, 0.5), (2.1, 0.5)]) == pytest.approx(300)
    # 2000 bytes are a second at 1000 Hz.
    late = answer((10.0, 2000), (11.2, 2000), (11.3, 2))
    assert _stall_of(late) == pytest.approx(200)
    assert _gap_ms(late) == pytest.approx(1200)
