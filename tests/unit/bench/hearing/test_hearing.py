"""What the samples of a wave say, copies among waves, and what is judged of arms. Synthetic waves, no model."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from bench.cheats.answer import encode
from bench.cheats.sounds import coarse, higher, noise, tone
from bench.heard import Heard
from bench.hearing.cores import over_cores
from bench.hearing.doubts import wave_doubts
from bench.hearing.features import hear
from bench.hearing.hear import hear_all, worth_hearing
from bench.hearing.judge import judge
from bench.hearing.length import LETTER_S, WORD_S, expected_s, slowness, tolerance
from bench.hearing.repeats import copied_shares, kept_starts, prints_of
from bench.hearing.voices import KNOWN, at_another_rate, same_voice, voice_of
from bench.load.validity import validate
from bench.records import Cell, Encoding, Generator, Run, Sample
from bench.workload import texts
from tests.unit.bench.support import heard

RATE_HZ = 24_000
CALM = Generator(
    lateness_p50_s=0.0, lateness_p99_s=0.0, loop_lag_p99_s=0.0, cpu_share=0.1, machine_cpu_share=0.5
)
BANDS = list(KNOWN[0].bands_db)


def _babble(seconds: float, seed: int) -> NDArray[np.float32]:
    """Something like speech: harmonics of a moving pitch, in syllables of changing colour, and hiss between them."""
    rng = np.random.default_rng(seed)
    count = round(seconds * RATE_HZ)
    knots = np.arange(0, count + RATE_HZ // 8, RATE_HZ // 8)
    pitch = np.interp(np.arange(count), knots, rng.uniform(150, 250, len(knots)))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
    wave = np.zeros(count)
    for harmonic in range(1, 30):
        colour = np.interp(np.arange(count), knots, rng.uniform(0, 1, len(knots)) ** 3)
        wave += colour * np.sin(harmonic * phase) / harmonic
    syllables = np.abs(np.sin(np.pi * np.arange(count) / RATE_HZ * 4)) ** 2
    hiss = rng.normal(0, 0.1, count) * (1 - syllables) ** 4
    babble: NDArray[np.float32] = (0.15 * wave * syllables + hiss * 0.2).astype(np.float32)
    return babble


def _sample(index: int, text: str, **more: Any) -> Sample:
    settings: dict[str, Any] = {"sample_rate_hz": RATE_HZ, "events": [(0.1, 96_000)], "status": 200}
    return Sample(
        index=index, text=text, characters=len(text), due_s=0.0, sent_s=0.0, end_s=1.0, **(settings | more)
    )


def _cell(arm: str, samples: list[Sample], clients: int = 1) -> Cell:
    return Cell(
        arm=arm, mode="closed", endpoint="/tts/stream", texts="medium", clients=clients, seed=1, duration_s=1.0,
        warmup_requests=0, samples=samples, generator=CALM,
    )  # fmt: skip


def _arm(arm: str, factor: float = 1.0, count: int = 8, clients: int = 1, **more: Any) -> Cell:
    """An arm that takes `factor` times as long as the embedded voice, with its sound unless `more` says otherwise."""
    settings: dict[str, Any] = {"bands_db": BANDS, "pitch_hz": 196.0, "bandwidth_hz": 12_000.0, "pauses": 5}
    found = []
    for index, text in enumerate(texts("medium", count, seed=5)):
        seconds = (expected_s(text) or 0.0) * factor
        figures = heard(0.1, voiced_s=seconds, seconds=seconds + 2, pauses_s=1.0, **(settings | more))
        found.append(_sample(index, text, heard=figures))
    return _cell(arm, found, clients)


def _judged(*cells: Cell) -> list[Cell]:
    run = Run(
        id="r", started_at="", machine={}, commit=None, dirty=False, profile="", workload_seed=1, warmup_rule="",
        cells=list(cells),
    )  # fmt: skip
    for cell in run.cells:
        validate(cell)
    judge(run)
    return run.cells


def test_where_the_sound_is_and_what_is_silent() -> None:
    voice = _babble(2.0, 1)
    quiet = np.zeros(RATE_HZ // 2, np.float32)
    wave = np.concatenate([quiet, voice, quiet, quiet, voice, quiet])
    found = hear(encode(wave, "s16"), "s16", 1, RATE_HZ)
    assert found.audible_at_s == pytest.approx(0.5, abs=0.05)
    assert found.tail_s == pytest.approx(0.5, abs=0.05)
    assert found.longest_gap_s == pytest.approx(1.0, abs=0.1)
    assert hear(bytes(48_000), "s16", 1, RATE_HZ).audible_at_s is None
    assert hear(b"", "s16", 1, RATE_HZ).seconds == 0.0


def test_values_that_are_no_numbers_are_heard_without_an_exception() -> None:
    wave = _babble(1.0, 1)
    wave[100:200] = np.nan
    wave[300] = np.inf
    assert math.isfinite(hear(wave.tobytes(), "f32", 1, RATE_HZ).level_dbfs)


@pytest.mark.parametrize("seed", range(5))
def test_holes_clicks_and_coarse_samples_are_counted_and_honest_sound_has_none(seed: int) -> None:
    wave = _babble(4.0, seed)
    honest = hear(encode(wave, "s16"), "s16", 1, RATE_HZ)
    assert (honest.holes, honest.clicks, honest.distinct) == (0, 0, 4096)
    broken = wave.copy()
    loud = list(range(RATE_HZ // 2, len(wave) - RATE_HZ // 2, RATE_HZ // 4))
    for at in loud:
        broken[at : at + 240] = 0
    assert hear(encode(broken, "s16"), "s16", 1, RATE_HZ).holes > len(loud) // 2
    assert hear(encode(coarse(wave, 127), "s16"), "s16", 1, RATE_HZ).distinct <= 256


def test_copies_are_found_at_any_gain_shift_and_sign_and_other_waves_are_none() -> None:
    waves = [_babble(5.0, seed) for seed in range(6)]
    assert set(copied_shares([prints_of(wave, RATE_HZ) for wave in waves])) == {(0.0, 0.0, 0.0)}
    rng = np.random.default_rng(1)
    copies = [
        waves[0] * 0.3,
        -waves[0],
        np.concatenate([np.zeros(777, np.float32), waves[0]]),
        waves[0] + rng.normal(0, 0.003, len(waves[0])).astype(np.float32),
        np.concatenate([waves[1][: 2 * RATE_HZ], waves[0][2 * RATE_HZ :]]),
    ]
    for copy in copies:
        of_first, _, of_copy = copied_shares(
            [prints_of(wave, RATE_HZ) for wave in (waves[0], waves[2], copy)]
        )
        assert of_first.of_others > 0.3
        assert of_copy.of_others > 0.3
    again = np.concatenate([waves[0], waves[0][-RATE_HZ:]])
    assert copied_shares([prints_of(again, RATE_HZ)])[0].of_itself > 0.1


def test_a_kept_start_and_kept_words_are_copies() -> None:
    words = [_babble(0.5, seed) for seed in range(8)]
    start = _babble(0.45, 99)
    waves = [np.concatenate([start, _babble(4.0, seed)]) for seed in range(20, 24)]
    prints = [prints_of(wave, RATE_HZ) for wave in waves]
    assert kept_starts(prints, ["a", "b", "a", "c"]) == [True] * 4
    assert kept_starts(prints, ["a"] * 4) == [False] * 4
    others = [prints_of(_babble(4.0, seed), RATE_HZ) for seed in range(20, 24)]
    assert kept_starts(others, ["a", "b", "c", "d"]) == [False] * 4
    order = np.random.default_rng(1)
    pieced = [np.concatenate([words[at] for at in order.permutation(8)]) for _ in range(4)]
    assert (
        min(copied.in_pieces for copied in copied_shares([prints_of(wave, RATE_HZ) for wave in pieced])) > 0.3
    )


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (0.55, 0.0, "noise or clicks before the speech"),
        (0.7, 0.0, "noise or clicks before the speech"),
        (0.0, 1.5, "noise after the speech"),
        (0.0, 0.0, None),
    ],
)
def test_what_is_no_voice_before_and_after_the_speech_is_named(
    before: float, after: float, says: str | None
) -> None:
    parts = [_babble(5.0, 1)]
    if before:
        parts = [noise(before, -26.0), np.zeros(RATE_HZ // 2, np.float32), *parts]
    if after:
        parts.append(noise(after, -30.0))
    found = _sample(0, "A.", heard=hear(encode(np.concatenate(parts), "s16"), "s16", 1, RATE_HZ))
    doubts = [
        doubt for doubt in wave_doubts(found) if "before the speech" in doubt or "after the speech" in doubt
    ]
    assert any(doubt.startswith(says) for doubt in doubts) if says else doubts == []


def test_a_quiet_voice_has_the_same_length_and_pauses_as_a_loud_one() -> None:
    quiet = np.zeros(RATE_HZ // 3, np.float32)
    wave = np.concatenate([quiet, _babble(3.0, 1), quiet, _babble(2.0, 2), quiet])
    loud, soft = (
        hear(encode(np.asarray(wave * gain, np.float32), "s16"), "s16", 1, RATE_HZ) for gain in (1.0, 0.25)
    )
    assert soft.level_dbfs == pytest.approx(loud.level_dbfs - 12, abs=1.0)
    assert soft.voiced_s == pytest.approx(loud.voiced_s, rel=0.03)
    assert soft.pauses == loud.pauses


def test_samples_that_are_no_numbers_and_a_voice_that_turns_are_named() -> None:
    wave = _babble(4.0, 1)
    wave[1000] = np.nan
    assert "bad samples: some are no numbers" in wave_doubts(
        _sample(0, "A.", encoding="f32", heard=hear(wave.tobytes(), "f32", 1, RATE_HZ))
    )
    turned = np.concatenate([_babble(4.0, 2), higher(_babble(4.0, 3), 1.4)])
    heard_so = hear(encode(turned, "s16"), "s16", 1, RATE_HZ)
    assert heard_so.turn_pitch > 0.25


def test_the_expected_length_follows_the_words_as_they_are_spoken() -> None:
    assert expected_s("In 1987 nobody came here.") == pytest.approx(
        len("innineteeneightysevennobodycamehere") * LETTER_S + 7 * WORD_S
    )
    assert expected_s("你好世界") is None
    assert tolerance("a" * 45) > tolerance("a" * 450)
    text = texts("medium", 1, seed=1)[0]
    seconds = expected_s(text) or 0.0
    assert slowness(_sample(0, text, heard=heard(voiced_s=seconds * 1.1))) == pytest.approx(math.log(1.1))


def test_the_recogniser_hears_some_by_chance_and_those_in_doubt() -> None:
    cell = _arm("a", count=20)
    cell.samples[7].doubts = ["clicks"]
    short = cell.samples[11].heard
    assert short is not None
    short.voiced_s *= 0.9
    for seed in range(10):
        chosen = worth_hearing(cell.samples, 2, 2, seed)
        assert {7, 11} <= set(chosen)
        assert 3 <= len(chosen) <= 4
    assert len({tuple(worth_hearing(cell.samples, 2, 0, seed)) for seed in range(10)}) > 5
    assert worth_hearing([], 2, 2, 0) == []


def test_an_honest_arm_is_not_accused() -> None:
    cells = _judged(_arm("one"), _arm("two", 1.01), _arm("one", clients=8))
    assert [cell.reasons for cell in cells] == [[], [], []]


@pytest.mark.parametrize(("factor", "word"), [(0.85, "faster"), (1.15, "slower")])
def test_a_known_voice_has_its_pace(factor: float, word: str) -> None:
    honest, cheat = _judged(_arm("honest"), _arm("cheat", factor))
    assert honest.reasons == []
    assert cheat.verdict == "INVALID"
    assert any(f"{word} than the embedded voice" in reason for reason in cheat.reasons)
    assert any(f"{word} than honest on the same texts" in reason for reason in cheat.reasons)


def test_another_voice_has_its_own_pace() -> None:
    bands = [band + (3 if number % 2 else -3) for number, band in enumerate(BANDS)]
    stranger = _arm("stranger", 1.25, bands_db=bands, pitch_hz=110.0)
    assert [cell.reasons for cell in _judged(_arm("honest"), stranger)] == [[], []]


def test_a_load_point_that_is_shorter_than_the_others_is_named() -> None:
    alone, loaded = _arm("cheat", count=16), _arm("cheat", 0.8, clients=8)
    _judged(alone, loaded)
    assert any("here than at the other load points" in reason for reason in loaded.reasons)


def test_sound_at_a_wrong_rate_is_told_from_another_voice() -> None:
    factor = 1.3
    shift = math.log2(factor) * 3
    moved = np.interp(np.arange(16) - shift, np.arange(16), BANDS)
    fast = voice_of("x", _arm("x", 1 / factor, bands_db=list(moved), pitch_hz=196 * factor).samples)
    assert fast is not None
    assert at_another_rate(fast, KNOWN[0]) == pytest.approx(factor, rel=0.01)
    assert not same_voice(fast, KNOWN[0])
    slow_speaker = voice_of("y", _arm("y", 1 / factor).samples)
    assert slow_speaker is not None
    assert at_another_rate(slow_speaker, KNOWN[0]) is None


def test_refusing_the_longest_texts_is_named_and_refusing_some_is_not() -> None:
    def answers(refused: set[int]) -> list[Sample]:
        found = []
        for index in range(14):
            text = "word " * (index + 4)
            error = (
                {"error": "refused", "events": []} if index in refused else {"heard": heard(bands_db=BANDS)}
            )
            found.append(_sample(index, text, **error))
        return found

    by_length, some = _judged(_cell("a", answers(set(range(7, 14)))), _cell("b", answers({1, 5, 8, 13})))
    assert any("refusals by length" in reason for reason in by_length.reasons)
    assert not any("refusals by length" in reason for reason in some.reasons)


def test_every_answer_is_heard_once_it_has_audio() -> None:
    samples = [_sample(index, "A text of some words.") for index in range(3)]
    samples[2].error = "timeout"
    hear_all(samples, {0: encode(_babble(2.0, 1), "s16"), 1: bytes(96_000)})
    assert [sample.heard is not None for sample in samples] == [True, True, False]
    assert samples[1].doubts == ["silence: nothing is louder than -45 dBFS"]


def test_many_waves_are_heard_on_all_cores_like_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    audio = {index: encode(_babble(2.0, index), "s16") for index in range(12)}
    audio[5] = audio[3]
    by_cores: list[list[Sample]] = []
    for cores in (1, 3):
        monkeypatch.setattr("bench.hearing.cores.usable_cores", lambda cores=cores: cores)
        samples = [_sample(index, "A text of some words.") for index in range(12)]
        hear_all(samples, audio)
        by_cores.append(samples)
    assert by_cores[0] == by_cores[1]
    assert by_cores[0][5].heard is not None
    assert by_cores[0][5].heard.repeated_share == 1.0


def test_work_on_all_cores_raises_what_it_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.hearing.cores.usable_cores", lambda: 2)
    assert over_cores(lambda number: number * number, 20) == [number * number for number in range(20)]
    with pytest.raises(ZeroDivisionError):
        over_cores(lambda number: 1 // (number - 17), 20)


def test_a_server_that_keeps_answers_is_named() -> None:
    for page, named in (
        ({"cache": {"enabled": True}}, True),
        ({"cache": {"enabled": False}}, False),
        (None, False),
    ):
        cell = _arm("a")
        cell.server_after = page
        validate(cell)
        assert any("keeps answers" in reason for reason in cell.reasons) == named


@pytest.mark.parametrize(("encoding", "rate_hz"), [("f32", RATE_HZ), ("s16", 6_000), ("s16", 1_000)])
def test_whatever_bytes_say_can_be_kept(encoding: Encoding, rate_hz: int) -> None:
    """16-bit samples taken for floats, or for a rate at which most of a voice is beyond what can be carried."""
    found = hear(encode(_babble(4.0, 1), "s16"), encoding, 1, rate_hz)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Heard) == found


def test_a_tone_before_the_speech_is_no_voice() -> None:
    for hz in (120.0, 200.0, 330.0):
        wave = np.concatenate([tone(0.24, hz), _babble(4.0, 1)])
        assert hear(encode(wave, "s16"), "s16", 1, RATE_HZ).unvoiced_start_s == pytest.approx(0.24, abs=0.07)
    for seed in range(5):
        assert hear(encode(_babble(4.0, seed), "s16"), "s16", 1, RATE_HZ).unvoiced_start_s < 0.1
