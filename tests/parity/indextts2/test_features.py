"""Features against the official package's loaders and extractors, and the traps between the wave paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchaudio

from serving.models.indextts2.config import MelConfig
from serving.models.indextts2.voice.features import (
    ENCODER_HZ,
    encoder_features,
    load_mono,
    log_mel,
    speaker_to_encoder,
    style_features,
)
from tests.parity.indextts2 import official
from tests.parity.indextts2.ours import distance, recording

TOLERANCE = 1e-4
SPEAKER_HZ = MelConfig().sample_rate_hz

RECORDINGS: dict[str, dict[str, Any]] = {
    "odd": {"seconds": 1.605, "rate_hz": 16000},
    "even": {"seconds": 1.615, "rate_hz": 48000, "channels": 2},
    "speaker-rate": {"seconds": 2.0, "rate_hz": 22050},
    "cut": {"seconds": 16.3, "rate_hz": 24000},
}


@pytest.fixture(params=RECORDINGS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return recording(tmp_path / "voice.wav", seed=3, **RECORDINGS[request.param])


def test_waves(path: Path) -> None:
    """Sample for sample, both resamplings, cut at 15 s."""
    pipeline = official.pipeline(0)
    speaker, _ = pipeline._load_and_cut_audio(str(path), 15)
    emotion, _ = pipeline._load_and_cut_audio(str(path), 15, sr=ENCODER_HZ)
    assert torch.equal(load_mono(path, SPEAKER_HZ), speaker[0])
    assert torch.equal(load_mono(path, ENCODER_HZ), emotion[0])
    theirs = torchaudio.transforms.Resample(SPEAKER_HZ, ENCODER_HZ)(speaker)
    assert distance(speaker_to_encoder(speaker[0], SPEAKER_HZ), theirs[0]) <= 1e-6


def test_encoder_features(path: Path) -> None:
    wave = load_mono(path, ENCODER_HZ)
    theirs = official.pipeline(0).extract_features(wave[None], sampling_rate=ENCODER_HZ, return_tensors="pt")
    ours = encoder_features(wave)
    assert distance(ours.frames[None], theirs["input_features"]) <= TOLERANCE
    assert ours.padded == (not theirs["attention_mask"][0, -1])
    assert bool(theirs["attention_mask"][0, :-1].all())
    # The scale and the padding's value show in the result.
    assert distance(encoder_features(wave / 2**15).frames[None], theirs["input_features"]) > 100 * TOLERANCE
    if ours.padded:
        assert torch.equal(theirs["input_features"][0, -1, 80:], torch.ones(80))


def test_an_odd_and_an_even_count_of_frames_are_compared(tmp_path: Path) -> None:
    padded = {
        name: encoder_features(
            load_mono(recording(tmp_path / f"{name}.wav", seed=3, **spec), ENCODER_HZ)
        ).padded
        for name, spec in RECORDINGS.items()
    }
    assert set(padded.values()) == {True, False}


def test_log_mel(path: Path) -> None:
    wave = load_mono(path, SPEAKER_HZ)
    ours, theirs = log_mel(wave, MelConfig()), official.pipeline(0).mel_fn(wave[None])[0]
    assert distance(ours, theirs) <= TOLERANCE
    assert ours.shape[1] == len(wave) // 256


def test_style_features(path: Path) -> None:
    wave = load_mono(path, ENCODER_HZ)
    theirs = torchaudio.compliance.kaldi.fbank(
        wave[None], num_mel_bins=80, dither=0, sample_frequency=ENCODER_HZ
    )
    assert distance(style_features(wave), theirs - theirs.mean(0)) <= TOLERANCE
    # At the 16-bit scale the logarithm's floor lies elsewhere.
    scaled = style_features(wave * 2**15)
    assert distance(scaled, theirs - theirs.mean(0)) > 10 * TOLERANCE
