"""IndexTTS-2.5: IndexTTS2 at half the code rate, in five languages. Its stages, kernels and streaming are those of 2.0.

The fields and options are known without the libraries of the extra `indextts25`; torch comes with the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.models.indextts2 import open_voices, voice_digest, weights_digest
from serving.models.indextts25.options import Fields, Options

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from serving.models.indextts25.frontend import IndexTts25Frontend
    from serving.models.indextts25.model import IndexTts25Model
    from serving.profile import Profile

__all__ = [
    "Fields",
    "Options",
    "create_frontend",
    "create_model",
    "fetch",
    "open_voices",
    "voice_digest",
    "weights_digest",
]


def create_frontend(profile: Profile, options: Options) -> IndexTts25Frontend:
    """Text to byte-pair ids. Raises ProfileError if the checkpoint or the voices are not there."""
    from serving.models.indextts25 import frontend

    return frontend.create_frontend(options, profile.voices)


def create_model(
    profile: Profile, options: Options, device: torch.device, dtype: torch.dtype
) -> IndexTts25Model:
    """The networks on `device`, the large ones in `dtype`. Raises ProfileError if the weights are not there."""
    from serving.models.indextts25.model import IndexTts25Model

    return IndexTts25Model(profile, options, device, dtype)


def fetch(to: Path, *, everything: bool) -> None:
    """Download the official files; `everything`: the model for emotion by text too. Raises RuntimeError."""
    from serving.models.indextts2.weights.fetch import fetch as fetch_files
    from serving.models.indextts25.weights import FILES, LICENSE_NOTICE

    fetch_files(to, emotion_text=everything, files=FILES, notice=LICENSE_NOTICE)
