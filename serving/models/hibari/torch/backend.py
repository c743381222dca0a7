"""The voice in torch operations."""

from __future__ import annotations

import torch
from torch import nn

from serving.models.hibari.torch.decode import Decode
from serving.models.hibari.torch.network import Decoder, Encoder, ProsodyNet
from serving.models.hibari.torch.synthesis import PulseSource
from serving.models.hibari.weights import Weights
from serving.profile import Profile


class TorchBackend:
    """A Backend for any device; `dtype` is that of the decoder's matrix products, the rest is float32."""

    kernels = "torch"

    def __init__(self, weights: Weights, device: torch.device, dtype: torch.dtype) -> None:
        self.device = device
        self.encoder: nn.Module = Encoder(weights).to(device)
        self.prosody: nn.Module = ProsodyNet(weights).to(device)
        self.pulses: nn.Module = PulseSource().to(device)
        self._decoder = Decoder(weights, dtype)

    def decode(self, profile: Profile) -> Decode:
        """As Backend.decode."""
        return Decode(profile, self._decoder, self.device).to(self.device)
