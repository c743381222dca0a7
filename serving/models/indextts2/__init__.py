"""IndexTTS2: zero-shot speech with a reference voice and an emotion. Torch only once the model is created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.models.indextts2 import voices
from serving.models.indextts2.frontend import create_frontend
from serving.models.indextts2.options import parse_options

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from serving.models.indextts2.model import IndexTts2Model
    from serving.profile import Profile

__all__ = ["add_voice", "create_frontend", "create_model", "fetch"]


def create_model(profile: Profile, device: torch.device, dtype: torch.dtype) -> IndexTts2Model:
    """The networks on `device`, the large ones in `dtype`. Raises ProfileError if the weights are not there."""
    from serving.models.indextts2.model import IndexTts2Model

    return IndexTts2Model(profile, device, dtype)


def add_voice(profile: Profile, name: str, file: Path) -> str:
    """Check a recording and copy it into the folder model.options.voices; see voices.add_voice."""
    return voices.add_voice(parse_options(profile), name, file)


def fetch(to: Path, *, everything: bool) -> None:
    """Download the official files; `everything`: the model for emotion by text too. Raises RuntimeError."""
    from serving.models.indextts2.fetch import fetch as fetch_files

    fetch_files(to, emotion_text=everything)
