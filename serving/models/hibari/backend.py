"""What computes the voice. Two rooms serve it: torch/ on any device, cpu/ in C kernels."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from serving.models.base import Stage
from serving.profile import Profile


class Backend(Protocol):
    """The network and its synthesis on one device, chosen once, where the model is built (model.py).

    The stages before decode are the same for all backends (stages.py) and run three modules of it; the decode stage
    is the backend's own, for it decides how the rows of a step lie in memory. A padded frame changes no other.
    """

    device: torch.device
    kernels: str
    """What it runs in: a tier of the CPU kernels, or torch."""
    encoder: nn.Module
    """Token ids to text features and durations: torch/network.py, Encoder."""
    prosody: nn.Module
    """Text features to pitch and energy: torch/network.py, ProsodyNet."""
    pulses: nn.Module
    """Pitch to the pulse source: torch/synthesis.py, PulseSource."""

    def decode(self, profile: Profile) -> Stage:
        """The stage "decode": windows of HibariState to samples."""
        ...
