"""From the network's parameters to samples: pulse source, spectrum, inverse STFT. All in float32, phases in
float64.

    S = exp(min(lh, 7)) e^(i pi tanh(theta)) E + exp(min(ln, 7)) Z + exp(min(lr, 7)) e^(i phi)

with E the STFT of a pulse train of pitch f0 and Z complex Gaussian noise. Formula and conventions (periodic
Hann of 1200, hop 300, centred frames, reflected ends) are those of the package hibari-tts, section "ONNX
interface".

A block is the 300 samples of one hop. Frame f of F reads and writes blocks f-2 to f+1; there are F blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from serving.models.hibari.constants import (
    BINS,
    HOP,
    MAX_HARMONIC_HZ,
    MAX_LOG_MAGNITUDE,
    MIN_F0_HZ,
    N_FFT,
    NOISE_ROWS,
    OVERLAP,
    SAMPLE_RATE_HZ,
)

NOISE_SEED = 20260101


class PulseSource(nn.Module):
    """Band-limited pulses at the pitch: every harmonic below 11 kHz with unit amplitude."""

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Sample j of frame k lies at k + (j + 0.5) / hop - 0.5: between k-1 and k in the first half, then k
        # and k+1.
        place = (torch.arange(HOP) + 0.5) / HOP - 0.5
        self.register_buffer("weight", place.remainder(1.0))

    def forward(self, f0: Tensor, frames: Tensor) -> Tensor:
        """f0 [rows, frames] Hz, frames [rows] int64, at least 3.

        Returns the blocks that the STFT reads, [rows, frames + 3, 300]: two reflected blocks, each row's
        blocks, one reflected block. Blocks past a row's own end are undefined.
        """
        rows, longest = f0.shape
        position = torch.arange(longest, device=f0.device)
        last = f0.gather(1, frames[:, None] - 1)
        f0 = torch.where(position < frames[:, None], f0, last)
        edged = torch.cat((f0[:, :1], f0, last), dim=1).unsqueeze(2)
        before, here, after = edged[:, :-2], edged[:, 1:-1], edged[:, 2:]
        half = HOP // 2
        hz = torch.cat(
            (torch.lerp(before, here, self.weight[:half]), torch.lerp(here, after, self.weight[half:])), dim=2
        )
        pulses = self._pulses(hz).view(rows, -1)
        return self._reflect(pulses, frames * HOP).view(rows, longest + OVERLAP - 1, HOP)

    def _pulses(self, hz: Tensor) -> Tensor:
        """Pitch of each sample [rows, frames, 300] to samples: sum over h = 1..H of cos(h t), in closed
        form.
        """
        voiced = hz > MIN_F0_HZ
        hz = hz.clamp_min(MIN_F0_HZ)
        per_block = hz.sum(2, dtype=torch.float64) / SAMPLE_RATE_HZ
        starts = (torch.cumsum(per_block, dim=1) - per_block).frac().float()
        cycles = torch.cumsum(hz, dim=2) / SAMPLE_RATE_HZ + starts.unsqueeze(2)
        phase = cycles.frac() * (2 * math.pi)
        harmonics = torch.floor(MAX_HARMONIC_HZ / hz) + 0.5
        below = 2 * torch.sin(phase * 0.5)
        at_peak = below.abs() <= 2e-3
        wave = torch.sin(harmonics * phase) / torch.where(at_peak, 1.0, below)
        wave = torch.where(at_peak, harmonics, wave) - 0.5
        return wave * voiced

    @staticmethod
    def _reflect(samples: Tensor, lengths: Tensor) -> Tensor:
        """Two mirrored blocks before the samples and one behind each row's own length."""
        left = samples[:, 1 : 2 * HOP + 1].flip(1)
        padded = torch.cat((left, samples, samples.new_zeros(samples.shape[0], HOP)), dim=1)
        behind = torch.arange(HOP, device=samples.device)
        mirrored = samples.gather(1, lengths[:, None] - 2 - behind)
        return padded.scatter(1, 2 * HOP + lengths[:, None] + behind, mirrored)


class Synthesis(nn.Module):
    """Parameters and source of frames to windowed samples, and the table that undoes the windows' sum.

    The noise Z of a frame is a row of a fixed table of 1024 Gaussian rows; which row, the caller draws per
    (seed, segment, frame). So noise costs a copy, and is the same whether a segment is streamed, batched or
    spoken at once.
    """

    window: Tensor
    source_window: Tensor
    noise: Tensor
    tapers: Tensor
    has_phase: Tensor
    """1 but for the first and the last bin, which are real in the spectrum of a real signal."""

    def __init__(self) -> None:
        super().__init__()
        window = torch.hann_window(N_FFT, periodic=True, dtype=torch.float64)
        self.register_buffer("window", window.float())
        # A unit cosine then has magnitude 1 at its bin, so that exp(lh) is the harmonic's own magnitude.
        self.register_buffer("source_window", (window / HOP).float())
        generator = torch.Generator().manual_seed(NOISE_SEED)
        self.register_buffer("noise", torch.randn(NOISE_ROWS, 2, BINS, generator=generator))
        self.register_buffer("tapers", _tapers(window).float())
        has_phase = torch.ones(BINS)
        has_phase[[0, -1]] = 0.0
        self.register_buffer("has_phase", has_phase)

    def forward(self, parameters: Sequence[Tensor], source: Tensor, noise_rows: Tensor) -> Tensor:
        """parameters lh, theta, ln, lr, phi [frames, 601] each, source [frames, 1200] samples, noise_rows [frames]
        int64 to [frames, 1200].
        """
        lh, theta, ln, lr, phi = parameters
        excitation = torch.view_as_real(torch.fft.rfft(source * self.source_window))
        e_real, e_imag = excitation.unbind(2)
        harmonic, noisy, free = (value.clamp_max(MAX_LOG_MAGNITUDE).exp() for value in (lh, ln, lr))
        theta = torch.tanh(theta) * math.pi
        cos, sin = theta.cos(), theta.sin()
        z_real, z_imag = self.noise.index_select(0, noise_rows).unbind(1)
        real = harmonic * (cos * e_real - sin * e_imag) + noisy * z_real + free * phi.cos()
        imag = harmonic * (cos * e_imag + sin * e_real) + noisy * z_imag + free * phi.sin()
        # What cuFFT makes of a first or last bin that is not real is undefined; other libraries pass it over.
        frames: Tensor = torch.fft.irfft(torch.complex(real, imag * self.has_phase), n=N_FFT)
        return frames * self.window


def _tapers(window: Tensor) -> Tensor:
    """1 / summed squared window over a block [4, 300], by kind (see windows); a block's frames are m-1 to
    m+2.
    """
    squares = (window * window).view(OVERLAP, HOP)  # part k of frame m + 2 - k falls on block m
    sums = torch.stack((squares.sum(0), squares[:3].sum(0), squares[1:].sum(0), squares[2:].sum(0)))
    return 1 / sums.clamp_min(1e-11)
