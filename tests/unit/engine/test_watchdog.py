"""When an engine is called stuck, and when it is not."""

from __future__ import annotations

import os
import time

from serving.engine.life.watchdog import BEAT_S, START_S, START_SILENCE_S, Watchdog, age_s, send_beats

LOOKS = int(5 / BEAT_S)


def test_silence_is_noticed_after_its_time_and_not_before() -> None:
    watchdog = Watchdog(5.0, 60.0)
    assert watchdog.look(1, 0.0, ready=True) is None
    for _ in range(LOOKS - 1):
        assert watchdog.look(1, 0.0, ready=True) is None
    assert watchdog.look(1, 0.0, ready=True) == "it gave no sign of life for 5 s"


def test_any_sign_of_life_counts() -> None:
    watchdog = Watchdog(5.0, 60.0)
    for beats in range(100):
        for _ in range(LOOKS - 1):
            assert watchdog.look(beats, 0.0, ready=True) is None


def test_an_engine_that_starts_has_longer() -> None:
    watchdog = Watchdog(5.0, 60.0)
    looks = 0
    while watchdog.look(0, 0.0, ready=False) is None:
        looks += 1
    assert looks == START_SILENCE_S / BEAT_S - 1


def test_a_start_may_not_stand_still_for_ever() -> None:
    watchdog = Watchdog(5.0, 60.0)
    beats = 0
    for said in ("load", "warm"):  # each has the whole time
        for _ in range(int(START_S / BEAT_S) - 1):
            beats += 1
            assert watchdog.look(beats, 0.0, ready=False, told=said) is None
    assert (
        watchdog.look(beats, 0.0, ready=False, told="warm") is None
    )  # the first look of a word is not yet one
    assert watchdog.look(beats + 1, 0.0, ready=False, told="warm") == "its start went no further for 600 s"
    for _ in range(int(START_S / BEAT_S) + 1):
        beats += 1
        assert watchdog.look(beats, 0.0, ready=True) is None


def test_a_step_may_not_take_for_ever() -> None:
    watchdog = Watchdog(5.0, 60.0)
    assert watchdog.look(1, 59.0, ready=True) is None
    assert watchdog.look(2, 60.0, ready=True) == "a step took longer than 60 s"
    assert Watchdog(5.0, 1e6).look(1, 255.0, ready=True) is not None  # a beat tells no more than this


def test_the_oldest_step_counts() -> None:
    assert age_s({}) == 0.0
    now_s = time.monotonic()
    assert 5.0 <= age_s({"one": now_s - 5.0, "two": now_s}) < 6.0


def test_beats_go_through_a_pipe_until_its_reader_leaves() -> None:
    reading, writing = os.pipe()
    send_beats(writing, {})
    assert os.read(reading, 1) == b"\0"
    os.close(reading)
