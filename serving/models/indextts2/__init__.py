"""IndexTTS2: zero-shot speech with a reference voice and an emotion.

The fields and options are known without the libraries of the extra `indextts2`; torch comes with the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.models.indextts2.options import Fields, Options

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from serving.models.base import VoiceLibrary
    from serving.models.indextts2.frontend import IndexTts2Frontend
    from serving.models.indextts2.model import IndexTts2Model
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


def create_frontend(profile: Profile, options: Options) -> IndexTts2Frontend:
    """Text to SentencePiece ids. Raises ProfileError if the checkpoint or the voices are not there."""
    from serving.models.indextts2 import frontend

    return frontend.create_frontend(options, profile.voices)


def create_model(
    profile: Profile, options: Options, device: torch.device, dtype: torch.dtype
) -> IndexTts2Model:
    """The networks on `device`, the large ones in `dtype`. Raises ProfileError if the weights are not there."""
    from serving.models.indextts2.model import IndexTts2Model

    return IndexTts2Model(profile, options, device, dtype)


def open_voices(profile: Profile, options: Options) -> VoiceLibrary | None:
    """Voices that users add, in a folder inside model.options.voices; None without it."""
    from serving.models.indextts2.voice.library import open_library

    return open_library(options, profile.voices)


def fetch(to: Path, *, everything: bool) -> None:
    """Download the official files; `everything`: the model for emotion by text too. Raises RuntimeError."""
    from serving.models.indextts2.weights.fetch import fetch as fetch_files

    fetch_files(to, emotion_text=everything)


def weights_digest(options: Options) -> str:
    """SHA-256 of every file of the checkpoint and its place; of nothing with random weights. Raises OSError."""
    import hashlib
    from pathlib import Path

    whole = hashlib.sha256()
    folder = Path(options.checkpoint)
    for path in sorted(folder.rglob("*")) if options.checkpoint else ():
        if path.is_file():
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
            whole.update(path.relative_to(folder).as_posix().encode() + b"\0")
    return whole.hexdigest()


def voice_digest(profile: Profile, options: Options, name: str) -> str:
    """SHA-256 of the recording as it is now. Raises InputError if it is gone."""
    from serving.models.indextts2.voice.library import load_voices

    return load_voices(options, profile.voices)[name].content_key()
