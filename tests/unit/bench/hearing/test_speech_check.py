"""The recogniser understands speech and not noise; equal words are equal once normalised."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hibari import Hibari
from numpy.typing import NDArray

from bench.hearing import speech_check
from bench.hearing.speech_check import (
    AGAIN,
    LETTERS_LIMIT_WAVE,
    WER_LIMIT_ARM,
    PerWord,
    check_speech,
    resampled,
    set_error_rate,
    transcribe,
    transcribe_all,
    understood,
)
from bench.hearing.words import letter_error_rate, normalise, word_error_rate
from bench.records import Cell, Generator, Run, Sample

TEXT = "On the 3rd of March 2024, the ferry to Brixham left at 7:30 pm with 1,250 people."


pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("text", "transcript"),
    [
        ("It costs $9.99.", "it costs $9 and 99 cents"),
        ("The 21st of May, 1987", "the twenty-first of may nineteen eighty seven"),
        ("At 7:30 pm, Dr. Lee's train", "At 7.30 p.m. Doctor Lee's train"),
        ("60% of 1,250,000", "sixty percent of 1250000"),
        ("3.14 km, in 2005", "three point one four kilometers in two thousand five"),
        ("1" * 5000, "one " * 5000),
        ("call 0142", "call zero one four two"),
        ("the 112th in 1905", "the one hundred twelfth in nineteen oh five"),
    ],
)
def test_what_sounds_alike_is_equal_once_normalised(text: str, transcript: str) -> None:
    assert normalise(text) == normalise(transcript)


def test_word_error_rate_counts_words() -> None:
    assert word_error_rate("one two three four", "one too three") == pytest.approx(0.5)
    assert word_error_rate("Hello there.", "hello, there") == 0.0
    assert word_error_rate("go", "please go now then") == pytest.approx(3.0)


def _cell(arm: str, waves: list[tuple[str, str]]) -> Cell:
    samples = [
        Sample(index=i, text=text, characters=len(text), due_s=0.0, sent_s=0.0, end_s=1.0, wave=wave)
        for i, (text, wave) in enumerate(waves)
    ]
    health = Generator(
        lateness_p50_s=0.0, lateness_p99_s=0.0, loop_lag_p99_s=0.0, cpu_share=0.1, machine_cpu_share=0.5
    )
    return Cell(
        arm=arm, mode="closed", endpoint="/tts", texts="short", clients=1, seed=1, duration_s=1.0,
        warmup_requests=0, samples=samples, generator=health,
    )  # fmt: skip


def test_the_check_passes_speech_and_names_noise_of_the_same_length(tmp_path: Path) -> None:
    speech = Hibari()(TEXT, seed=1)
    rng = np.random.default_rng(1)
    noise = np.asarray(rng.normal(0, float(np.std(speech)), len(speech)), np.float32)
    soundfile.write(tmp_path / "speech.wav", speech, 24_000)
    soundfile.write(tmp_path / "noise.wav", noise, 24_000)
    run = Run(
        id="r", started_at="2026-01-01T00:00:00Z", machine={}, commit=None, dirty=False, profile="default",
        workload_seed=1, warmup_rule="none",
        cells=[_cell("speaks", [(TEXT, "speech.wav")]), _cell("hisses", [(TEXT, "noise.wav")])],
    )  # fmt: skip
    waves = []
    check_speech(run, tmp_path, on_wave=lambda: waves.append(1))
    speaks, hisses = run.cells
    assert len(waves) == 2
    assert (speaks.verdict, speaks.waves_transcribed) == ("VALID", 1)
    assert speaks.word_error_rate is not None
    assert speaks.word_error_rate <= 0.1
    assert hisses.verdict == "INVALID"
    assert any("unintelligible" in reason for reason in hisses.reasons)
    assert run.quality["limit_wave"] == 0.5


def test_a_cell_without_waves_keeps_its_verdict() -> None:
    cell = _cell("quiet", [])
    set_error_rate([cell])
    assert (cell.verdict, cell.word_error_rate) == ("VALID", None)


def _give(wave: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    return wave, 24_000


def test_waves_that_are_heard_at_once_have_the_words_of_those_heard_alone() -> None:
    hibari = Hibari()
    waves = [hibari(text, seed=1) for text in (TEXT, "The garden was quiet.", "Two boats left at noon.")]
    alone = [transcribe(wave, 24_000) for wave in waves]
    heard: list[int] = []
    at_once = transcribe_all([partial(_give, wave) for wave in waves], lambda: heard.append(1))
    assert at_once == alone
    assert len(heard) == 3


def test_transcribe_takes_any_rate() -> None:
    speech = Hibari()("The garden was quiet.", seed=1)
    upsampled = np.interp(np.arange(0, len(speech), 0.5), np.arange(len(speech)), speech)
    assert word_error_rate("The garden was quiet.", transcribe(upsampled, 48_000)) == 0.0


def test_the_better_of_two_hearings_counts() -> None:
    sample = _cell("x", [("One two three four five.", "x.wav")]).samples[0]
    for text, kept, wer in (
        ("one", "one", 0.8),
        ("one two three four", "one two three four", 0.2),
        ("one two", "one two three four", 0.2),
        ("One, two, three, four, five", "One, two, three, four, five", 0.0),
    ):
        understood(sample, text)
        assert sample.transcript == kept
        assert sample.wer == pytest.approx(wer)


def test_the_second_hearing_understands_speech_too() -> None:
    wave = Hibari()(TEXT, seed=1)
    (heard,) = transcribe_all([partial(_give, wave)], **AGAIN)
    assert word_error_rate(TEXT, heard) <= 0.1


def test_what_was_misheard_is_alike_and_other_words_are_not() -> None:
    text = "Mrs. Bennett read the letter from Boston to Arthur on Thursday."
    misheard = "This has been a great letter from Boston, Toronto and Tuesday."
    assert word_error_rate(text, misheard) > 0.5
    assert letter_error_rate(text, misheard) < LETTERS_LIMIT_WAVE
    for other in (
        "Please send 14 copies of the letter to Thomas by Friday.",
        "Clara has lived in Prague since 1992.",
        "you",
    ):
        assert letter_error_rate(text, other) > LETTERS_LIMIT_WAVE


MISHEARD_WAVES = ([7, 4, 0, 0, 0, 1, 0, 0], [11, 11, 11, 10, 12, 9, 11, 12])
"""Errors and words of eight short texts in an honest voice: two towns were not understood."""


def test_a_few_misheard_waves_do_not_convict_an_arm_and_garbled_ones_do() -> None:
    errors, words = MISHEARD_WAVES
    honest = PerWord.of(errors, words)
    assert honest.value > WER_LIMIT_ARM
    assert not honest.is_above(WER_LIMIT_ARM)
    garbled = PerWord.of([round(0.3 * count) for count in words[:4]], words[:4])
    assert garbled.is_above(WER_LIMIT_ARM)


def test_the_error_of_a_rate_is_that_of_other_waves() -> None:
    rng = np.random.default_rng(1)
    words = rng.integers(8, 14, 4000)
    counts = np.where(rng.random(4000) < 0.1, words // 2, 0)
    drawn = [rng.choice(4000, 12, replace=False) for _ in range(500)]
    rates = [PerWord.of(counts[at].tolist(), words[at].tolist()) for at in drawn]
    spread = float(np.std([rate.value for rate in rates]))
    assert float(np.sqrt(np.mean([rate.standard_error**2 for rate in rates]))) == pytest.approx(
        spread, rel=0.15
    )
    assert PerWord.of([3], [10]) == (0.3, np.inf)


def test_words_of_an_arm_are_held_against_a_better_one_with_both_their_errors() -> None:
    errors, words = MISHEARD_WAVES
    worse = PerWord.of([1, 1, 1, 1, 1, 1, 1, 0], words)
    assert worse.is_above(0.05)
    assert not worse.is_above(0.05, PerWord.of(errors, words).standard_error)


def _transcribed(arm: str, pairs: list[tuple[str, str]]) -> Cell:
    cell = _cell(arm, [(text, f"{at}.wav") for at, (text, _) in enumerate(pairs)])
    for sample, (_, heard) in zip(cell.samples, pairs, strict=True):
        understood(sample, heard)
    return cell


def test_words_left_out_and_put_in_are_named_in_waves_of_any_number() -> None:
    texts = [
        f"The boat to {town} leaves at noon with nobody else." for town in ("Bath", "Deal", "Rye", "Hythe")
    ]
    left_out = _transcribed("out", [(text, text.replace(" leaves", "")) for text in texts])
    put_in = _transcribed("in", [(text, text.replace("noon", "noon or so")) for text in texts])
    for cell, named in ((left_out, "words are missing: 10%"), (put_in, "words are added: 20%")):
        set_error_rate([cell])
        assert any(reason.startswith(named) for reason in cell.reasons), cell.reasons
    once = _transcribed(
        "once", [(texts[0], texts[0].replace("to Bath leaves", "leaves")), *zip(texts, texts, strict=True)]
    )
    set_error_rate([once])
    assert once.reasons == []


def test_the_recogniser_takes_a_wave_of_one_sample() -> None:
    assert resampled(np.zeros(1, np.float32), 48_000).shape == (1,)


@pytest.mark.parametrize(("wrong", "invalid"), [(1, 1), (2, 10)])
def test_two_waves_that_say_something_else_convict_the_arm_and_one_its_cell(
    wrong: int, invalid: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "The boat to Bath leaves at noon with nobody else."
    other = "Clara wrote that all our windows were painted green."
    heard = iter([other] * wrong + [said] * 99)
    cells = [_cell("library", [(said, f"{number}.wav")] * 4) for number in range(10)]
    if wrong == 2:  # in two cells
        heard = iter([other, said, said, said, other] + [said] * 99)
    monkeypatch.setattr(
        speech_check,
        "transcribe_all",
        lambda waves, on_wave=None, **changed: [other if changed else next(heard) for _ in waves],
    )
    run = Run(
        id="r", started_at="", machine={}, commit=None, dirty=False, profile="", workload_seed=1, warmup_rule="",
        cells=cells,
    )  # fmt: skip
    check_speech(run, tmp_path)
    assert sum(cell.verdict == "INVALID" for cell in run.cells) == invalid


def test_first_and_last_words_of_few_waves_convict_nobody() -> None:
    text = "Diana saw the boat leave at noon with nobody else."
    for added, count, named in ((2, 8, False), (4, 8, True), (2, 4, False), (4, 4, True)):
        cell = _transcribed("x", [(text, f"Now {text}" if at < added else text) for at in range(count)])
        set_error_rate([cell])
        assert any("before the text" in reason for reason in cell.reasons) == named, (added, count)
