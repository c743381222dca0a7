"""Tone: a model without weights that speaks each character as a beep. The example of how to write a model.

It costs nothing, so it shows what the engine itself costs; its samples are known in advance
(expected_samples), so tests can tell whether a batch, a window or a slot was mixed up. Its options can
make it slow, fail or crash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.models.tone.frontend import ToneFrontend
from serving.models.tone.options import ToneOptions, read_options
from serving.profile import Profile

if TYPE_CHECKING:
    import torch

    from serving.models.tone.model import ToneModel

__all__ = ["ToneOptions", "create_frontend", "create_model"]


def create_frontend(profile: Profile) -> ToneFrontend:
    """Raises ProfileError if model.options holds what ToneOptions does not."""
    return ToneFrontend(read_options(profile))


def create_model(profile: Profile, device: torch.device, dtype: torch.dtype) -> ToneModel:
    """Raises ProfileError if model.options holds what ToneOptions does not."""
    from serving.models.tone.model import ToneModel  # torch, which the HTTP process does without

    return ToneModel(read_options(profile), profile.engine, device, dtype)
