"""What a key may use, in time that is told."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from serving.access.keys import Key
from serving.access.usage import DAY_S, AudioOfKey, Ledger, RateLimited
from serving.profile import AccessProfile


@dataclass
class Time:
    """Both clocks of a ledger."""

    now_s: float = 1000.0
    day_s: float = 10 * DAY_S + 3600.0

    def ledger(self, **limits: float) -> Ledger:
        return Ledger(AccessProfile(**limits), lambda: self.now_s, lambda: self.day_s)  # type: ignore[arg-type]


def key(name: str = "ann", **limits: float) -> Key:
    return Key(name=name, sha256="0" * 64, **limits)  # type: ignore[arg-type]


def test_requests_of_any_minute() -> None:
    time = Time()
    ledger = time.ledger(requests_per_minute=3)
    for _ in range(3):
        ledger.begin(key()).end()
        time.now_s += 10
    with pytest.raises(RateLimited) as refused:
        ledger.begin(key())
    assert refused.value.retry_after_s == pytest.approx(30)
    ledger.begin(key("ben")).end()
    time.now_s += refused.value.retry_after_s
    ledger.begin(key()).end()
    with pytest.raises(RateLimited):
        ledger.begin(key())


def test_the_file_of_keys_wins_over_the_profile() -> None:
    ledger = Time().ledger(requests_per_minute=1)
    for _ in range(5):
        ledger.begin(key(requests_per_minute=5)).end()
    with pytest.raises(RateLimited, match="5 requests"):
        ledger.begin(key(requests_per_minute=5))


def test_streams_at_once() -> None:
    ledger = Time().ledger(concurrent_streams=2)
    first = ledger.begin(key())
    ledger.begin(key())
    for _ in range(3):
        with pytest.raises(RateLimited, match="2 streams"):
            ledger.begin(key())
    first.end()
    ledger.begin(key())


def test_audio_of_a_day() -> None:
    time = Time()
    ledger = time.ledger(audio_s_per_day=10)
    usage = ledger.begin(key())
    first = AudioOfKey(usage, 6.0, 100)
    with pytest.raises(RateLimited) as refused:
        AudioOfKey(usage, 5.0, 100)
    assert refused.value.retry_after_s == DAY_S - 3600
    first.made([0] * 100)
    first.ended(None)
    second = AudioOfKey(usage, 5.0, 100)  # 1 s was made of the 6 that were promised
    second.made([0] * 1000)
    second.ended(None)
    with pytest.raises(RateLimited):
        ledger.begin(key())
    time.day_s += DAY_S - 3600
    ledger.begin(key())


def test_a_text_longer_than_the_day_is_spoken_once() -> None:
    usage = Time().ledger(audio_s_per_day=10).begin(key())
    AudioOfKey(usage, 50.0, 100)
    with pytest.raises(RateLimited):
        AudioOfKey(usage, 0.1, 100)


def test_what_was_promised_before_midnight_gives_nothing_back_after_it() -> None:
    time = Time()
    usage = time.ledger(audio_s_per_day=10).begin(key())
    yesterday = AudioOfKey(usage, 9.0, 100)
    time.day_s += DAY_S
    today = AudioOfKey(usage, 8.0, 100)
    today.made([0] * 800)
    today.ended(None)
    yesterday.ended(None)
    with pytest.raises(RateLimited, match="2 s left"):
        AudioOfKey(usage, 3.0, 100)


def test_what_is_made_after_midnight_of_a_text_from_before_it_counts() -> None:
    time = Time()
    usage = time.ledger(audio_s_per_day=10).begin(key())
    yesterday = AudioOfKey(usage, 9.0, 100)
    time.day_s += DAY_S
    AudioOfKey(usage, 1.0, 100)
    yesterday.made([0] * 800)
    yesterday.ended(None)
    with pytest.raises(RateLimited):
        AudioOfKey(usage, 2.0, 100)
