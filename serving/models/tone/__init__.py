"""Tone: a model without weights that speaks each character as a beep.

It costs nothing, so it shows what the engine itself costs; its samples are known in advance (expected_samples), so
tests can tell whether a batch, a window or a slot was mixed up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.models.tone.frontend import ToneFrontend
from serving.models.tone.options import Fields, Options
from serving.profile import Profile

if TYPE_CHECKING:
    import torch

    from serving.models.tone.model import ToneModel

__all__ = ["Fields", "Options", "create_frontend", "create_model"]


def create_frontend(profile: Profile, options: Options) -> ToneFrontend:
    """Characters to tokens."""
    return ToneFrontend(options)


def create_model(profile: Profile, options: Options, device: torch.device, dtype: torch.dtype) -> ToneModel:
    """Pitches on `device`, in float32 whatever `dtype` is."""
    from serving.models.tone.model import ToneModel  # torch, which the HTTP process does without

    return ToneModel(options, profile.engine, device)
