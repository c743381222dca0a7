"""What stands before the speech does not stop the clock, and silence does not stand in for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.cheats.answer import encode
from bench.cheats.sounds import mains, noise
from bench.heard import Heard
from bench.hearing.doubts import wave_doubts
from bench.hearing.features import hear
from bench.hearing.judge import judge
from bench.hearing.sound import levels_dbfs, sound_of, without_rumble
from bench.hearing.voices import another_voice, voice_of
from bench.metrics import audible_ttfa_s
from bench.records import Cell, Run
from tests.unit.bench.hearing.test_hearing import BANDS, RATE_HZ, _arm, _babble, _sample
from tests.unit.bench.support import heard


def _heard(*parts: Any) -> Heard:
    wave = np.concatenate([np.asarray(part, np.float32) for part in parts])
    return hear(encode(wave, "s16"), "s16", 1, RATE_HZ)


def _reasons(cell: Cell) -> list[str]:
    run = Run(
        id="r", started_at="", machine={}, commit=None, dirty=False, profile="", workload_seed=1, warmup_rule="",
        cells=[cell],
    )  # fmt: skip
    judge(run)
    return cell.reasons


def test_an_offset_and_a_hum_below_speech_are_no_sound_and_leave_the_speech_as_it_is() -> None:
    quiet = np.zeros(RATE_HZ // 2, np.float32)
    wave = np.concatenate([quiet, _babble(2.0, 1), quiet, _babble(2.0, 2), quiet])
    plain = hear(encode(wave, "s16"), "s16", 1, RATE_HZ)
    for disturbed in (wave + 0.008, mains(wave, -44.0), mains(wave, -44.0, 60.0)):
        found = hear(encode(np.asarray(disturbed, np.float32), "s16"), "s16", 1, RATE_HZ)
        assert found.audible_at_s == pytest.approx(plain.audible_at_s, abs=0.03)
        assert found.voiced_s == pytest.approx(plain.voiced_s, rel=0.05)
        assert found.pauses == plain.pauses
    tone = (0.1 * np.sin(2 * np.pi * 150 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)
    middle = slice(10, -10)
    assert levels_dbfs(without_rumble(tone, RATE_HZ), RATE_HZ)[middle] == pytest.approx(
        levels_dbfs(tone, RATE_HZ)[middle], abs=0.2
    )
    assert len(without_rumble(tone[:0], RATE_HZ)) == 0


@pytest.mark.parametrize("before_s", [0.0, 0.3, 0.8])
def test_noise_before_the_speech_is_charged_but_for_what_may_be_a_consonant(before_s: float) -> None:
    plain = _sample(0, "A.", heard=_heard(_babble(4.0, 1)))
    found = _sample(0, "A.", heard=_heard(noise(before_s, -30.0), _babble(4.0, 1)))
    own, with_noise = audible_ttfa_s(plain), audible_ttfa_s(found)
    assert own is not None
    assert with_noise is not None
    least = max(0.0, before_s - 0.4)
    assert least - 0.05 <= with_noise - own <= before_s


def test_an_arm_that_always_begins_with_noise_is_charged_for_all_of_it() -> None:
    honest, noisy = _arm("honest"), _arm("noisy", unvoiced_start_s=0.12)
    assert honest.samples[0].heard is not None
    honest.samples[0].heard.unvoiced_start_s = 0.12
    assert _reasons(honest) == _reasons(noisy) == []
    assert {sample.heard.charged_s for sample in honest.samples if sample.heard} == {0.0}
    assert {sample.heard.charged_s for sample in noisy.samples if sample.heard} == {0.12}
    assert audible_ttfa_s(noisy.samples[0]) == pytest.approx(
        (audible_ttfa_s(honest.samples[0]) or 0.0) + 0.12
    )


def test_a_pause_behind_the_first_words_is_seen_and_one_later_is_not() -> None:
    word, rest, quiet = _babble(0.6, 1), _babble(3.0, 2), np.zeros(RATE_HZ // 2, np.float32)
    early = sound_of(np.concatenate([word, quiet, rest]), RATE_HZ)
    late = sound_of(np.concatenate([rest, quiet, word]), RATE_HZ)
    assert early is not None
    assert late is not None
    assert early.early_pause_s == pytest.approx(0.5, abs=0.1)
    assert late.early_pause_s == 0.0


def test_answers_that_wait_in_silence_are_named_and_a_few_are_not() -> None:
    waits = _arm("waits", count=10, early_pause_s=0.4)
    assert any("a word or two" in reason for reason in _reasons(waits))
    some = _arm("some", count=10)
    for sample in some.samples[:3]:
        assert sample.heard is not None
        sample.heard.early_pause_s = 0.4
    assert _reasons(some) == []
    greets = _arm("greets", count=10, early_pause_s=0.4)
    for sample in greets.samples:
        sample.text = f"Well, {sample.text}"
    assert not any("a word or two" in reason for reason in _reasons(greets))
    broken = _arm("broken", count=10, breaks_s=[0.8] * 20)
    assert any("wait where the text has no mark" in reason for reason in _reasons(broken))
    assert _reasons(_arm("sentences", count=10, breaks_s=[0.8])) == []


def test_a_telephone_s_voice_that_came_through_a_codec_is_not_narrow() -> None:
    found = _heard(_babble(4.0, 1))
    found.bandwidth_hz = 3900.0
    for codec, narrow in (("opus", False), ("flac", True), (None, True)):
        doubts = wave_doubts(_sample(0, "A.", heard=found, codec=codec))
        assert any(doubt.startswith("narrow") for doubt in doubts) == narrow


def test_a_lively_sentence_is_no_other_voice_and_a_higher_voice_is() -> None:
    voice = voice_of("x", _arm("x").samples)
    assert voice is not None
    moved = [band + (4 if number % 2 else -4) for number, band in enumerate(BANDS)]
    for pitch_hz, bands, other in (
        (196.0 * 1.4, BANDS, False),
        (196.0 * 1.4, moved, True),
        (196.0 * 1.1, moved, False),
    ):
        assert another_voice(heard(pitch_hz=pitch_hz, bands_db=bands), voice) == other


def test_of_few_answers_more_must_wait() -> None:
    for waiting, count, named in ((2, 4, False), (4, 4, True), (4, 8, False), (7, 8, True)):
        arm = _arm("few", count=count)
        for sample in arm.samples[:waiting]:
            assert sample.heard is not None
            sample.heard.early_pause_s = 0.4
        assert any("a word or two" in reason for reason in _reasons(arm)) == named, (waiting, count)
