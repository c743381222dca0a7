"""The voice in C kernels.

Same weights, shapes and formulas as torch/, whose modules it is filled from. On the same inputs a row gives the same
bits alone and in a batch, in one window or in many.
"""

from __future__ import annotations

import torch
from torch import nn

from serving.models.hibari.cpu.decode import CpuDecode
from serving.models.hibari.cpu.network import CpuDecoder, CpuEncoder, CpuProsodyNet
from serving.models.hibari.cpu.synthesis import CpuPulseSource, CpuSynthesis
from serving.models.hibari.torch.network import Decoder, Encoder, ProsodyNet
from serving.models.hibari.torch.synthesis import PulseSource, Synthesis
from serving.models.hibari.weights import Weights
from serving.native.tiers import Tier, chosen_tier
from serving.profile import Profile

IN_BYTES: frozenset[Tier] = frozenset({"avx512", "amx"})
"""Tiers in which the decoder's blocks and heads and the text features that it reads, five sixths of all products, have
8-bit inputs: those that are twice as quick with them as with 16. Pitch, energy and durations stay in 16 bits: an error
of the pitch adds up in the phase, and the same words would no more be the same wave on every machine
(docs/decisions/integer-kernels.md has the distances).
"""


class CpuBackend:
    """A Backend for float32 on a CPU."""

    def __init__(self, weights: Weights) -> None:
        """Compiles the kernels if need be.

        Raises NativeError if they cannot be compiled, or have no room for these weights.
        """
        self.device = torch.device("cpu")
        self.pulses: nn.Module = CpuPulseSource(PulseSource())
        decoder, synthesis = Decoder(weights, torch.float32), Synthesis()
        heads = [head for head in decoder.heads if isinstance(head, nn.Linear)]
        tier = chosen_tier()
        self.kernels: str = tier
        in_bytes = tier in IN_BYTES
        self.encoder: nn.Module = CpuEncoder(Encoder(weights), in_bytes=in_bytes)
        self.prosody: nn.Module = CpuProsodyNet(ProsodyNet(weights))
        self._decoder = CpuDecoder(decoder, in_bytes=in_bytes)
        self._synthesis = CpuSynthesis(heads, synthesis, in_bytes=in_bytes)

    def decode(self, profile: Profile) -> CpuDecode:
        """As Backend.decode."""
        return CpuDecode(profile, self._decoder, self._synthesis)
