"""Audio files to the inputs of the conditioning networks: resampling, filter banks, log-mel.

Official code reads audio by librosa, which resamples with soxr at quality HQ. The speaker's 16 kHz wave is
made from the one at the mel's rate (22.05 kHz) by torchaudio's windowed sinc, the emotion's straight from the file
by soxr. Both paths are kept: the encoder's features differ measurably between them.

Audio packages are imported where they are used: with cached voices the model runs without them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from serving.models.indextts2.config import MelConfig
from serving.models.indextts2.voice.audio_file import read_audio
from serving.models.indextts2.voice.recordings import MAX_REFERENCE_S
from serving.protocol import InputError

ENCODER_HZ = 16000
MIN_REFERENCE_S = 0.5
"""Shorter references leave the conformer's subsampling and the reflect padding without frames."""

_FRAME, _HOP, _FFT = 400, 160, 512


class SpeechFeatures(NamedTuple):
    """Input of w2v-bert for one utterance."""

    frames: Tensor
    """float32 [T, 160]: two stacked 10 ms frames of 80 normalised log-mel bins each."""
    padded: bool
    """The last row ends in padding: the encoder must not attend to it. It stays in the output."""


def load_mono(path: Path, sample_rate_hz: int) -> Tensor:
    """Read an audio file as mono float32 [N] at `sample_rate_hz`, cut to 15 s after resampling.

    Raises InputError of "voice" if the file is no readable audio, too short or silent.
    """
    data, file_rate_hz = read_audio(path, "voice")
    mono: NDArray[np.float32] = data.mean(axis=1)
    if len(mono) < MIN_REFERENCE_S * file_rate_hz:
        raise InputError("voice", f"{path.name} is shorter than {MIN_REFERENCE_S} s")
    if not mono.any():
        raise InputError("voice", f"{path.name} holds no sound")
    wave = torch.from_numpy(resample_file(mono, file_rate_hz, sample_rate_hz))
    return wave[: MAX_REFERENCE_S * sample_rate_hz]


def resample_file(mono: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """Resample [N] by soxr at quality HQ to ceil(N to_hz / from_hz) samples, as the official loader does."""
    import soxr

    if from_hz == to_hz:
        return mono
    samples = math.ceil(len(mono) * to_hz / from_hz)
    resampled: NDArray[np.float32] = soxr.resample(mono, from_hz, to_hz, quality="HQ")[:samples]
    return np.pad(resampled, (0, samples - len(resampled)))


def speaker_to_encoder(wave: Tensor, sample_rate_hz: int) -> Tensor:
    """The speaker's wave [N] at the mel's rate, at 16 kHz, by torchaudio's windowed sinc."""
    import torchaudio

    # The transform makes its kernel in float64, the function of the same name in the wave's dtype.
    resampled: Tensor = torchaudio.transforms.Resample(sample_rate_hz, ENCODER_HZ)(wave)
    return resampled


def encoder_features(wave: Tensor) -> SpeechFeatures:
    """Input of w2v-bert from a 16 kHz wave [N] in [-1, 1].

    Kaldi filter banks of the 16-bit scale (80 bins, 20 to 8000 Hz, Povey window 25 ms, hop 10 ms,
    pre-emphasis 0.97), each bin normalised over time with the unbiased variance; an odd count of frames is
    padded with ones; two frames make a row. Computed in float64: quiet bins feel float32's rounding after the
    normalisation.
    """
    samples = wave.double() * 2**15
    frames = samples.unfold(0, _FRAME, _HOP)
    frames = frames - frames.mean(1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    window = torch.hann_window(_FRAME, periodic=False, dtype=torch.float64) ** 0.85
    power = torch.fft.rfft((frames - 0.97 * before) * window, _FFT).abs().square()
    bank = (power @ _kaldi_bands()).clamp(min=torch.finfo(torch.float32).eps).log()
    bank = ((bank - bank.mean(0)) / torch.sqrt(bank.var(0, unbiased=True) + 1e-7)).float()
    padded = len(bank) % 2 == 1
    if padded:
        bank = F.pad(bank, (0, 0, 0, 1), value=1.0)
    return SpeechFeatures(bank.reshape(-1, 160), padded)


def _kaldi_bands() -> Tensor:
    """Kaldi's 80 triangles from 20 to 8000 Hz, straight on the mel axis 1127 ln(1 + f / 700): [257, 80]."""

    def mel(frequency_hz: Tensor) -> Tensor:
        return 1127 * torch.log1p(frequency_hz / 700)

    low, high = mel(torch.tensor([20.0, ENCODER_HZ / 2], dtype=torch.float64))
    edges = low + (high - low) * torch.arange(82, dtype=torch.float64) / 81
    place = mel(torch.arange(_FFT // 2 + 1, dtype=torch.float64) * ENCODER_HZ / _FFT)[:, None]
    rising = (place - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - place) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0)


def style_features(wave: Tensor) -> Tensor:
    """Input of CAMPPlus from a 16 kHz wave [N] in [-1, 1]: filter banks [T, 80] less their mean over time.

    Unlike encoder_features, the wave keeps its scale.
    """
    from torchaudio.compliance import kaldi

    bank: Tensor = kaldi.fbank(wave[None], num_mel_bins=80, dither=0.0, sample_frequency=ENCODER_HZ)
    return bank - bank.mean(0, keepdim=True)


def log_mel(wave: Tensor, config: MelConfig) -> Tensor:
    """Log-mel spectrogram [n_mels, N // hop] of a wave [N] at the model's rate.

    Frames are not centred: (n_fft - hop) / 2 samples are reflected at each end. Magnitudes are
    sqrt(|X|^2 + 1e-9); bands are Slaney's; the logarithm's floor is 1e-5.
    """
    import torchaudio

    border = (config.n_fft - config.hop_length) // 2
    padded = F.pad(wave[None, None], (border, border), mode="reflect")[0]
    spectrum = torch.stft(
        padded,
        config.n_fft,
        hop_length=config.hop_length,
        win_length=config.win_length,
        window=torch.hann_window(config.win_length, device=wave.device),
        center=False,
        return_complex=True,
    )[0]
    magnitude = torch.sqrt(torch.view_as_real(spectrum).square().sum(-1) + 1e-9)
    bands = torchaudio.functional.melscale_fbanks(
        config.n_fft // 2 + 1,
        f_min=config.fmin_hz,
        f_max=config.fmax_hz or config.sample_rate_hz / 2,
        n_mels=config.n_mels,
        sample_rate=config.sample_rate_hz,
        norm="slaney",
        mel_scale="slaney",
    ).to(wave.device)
    return torch.log((bands.T @ magnitude).clamp(min=1e-5))
