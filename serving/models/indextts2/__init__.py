"""IndexTTS2: zero-shot speech with a reference voice and an emotion. Torch only once the model is created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.models.indextts2.frontend import create_frontend

if TYPE_CHECKING:
    import torch

    from serving.models.indextts2.model import IndexTts2Model
    from serving.profile import Profile

__all__ = ["create_frontend", "create_model"]


def create_model(profile: Profile, device: torch.device, dtype: torch.dtype) -> IndexTts2Model:
    """The networks on `device`, the large ones in `dtype`. Raises ProfileError if the weights are not there."""
    from serving.models.indextts2.model import IndexTts2Model

    return IndexTts2Model(profile, device, dtype)
