"""IndexTTS2: zero-shot speech with a reference voice and an emotion.

The fields and options are known without the libraries of the extra `indextts2`; torch comes with the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.models.indextts2.options import Fields, Options

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from serving.models.indextts2.frontend import IndexTts2Frontend
    from serving.models.indextts2.model import IndexTts2Model
    from serving.profile import Profile

__all__ = [
    "Fields",
    "Options",
    "add_voice",
    "create_frontend",
    "create_model",
    "fetch",
    "voice_digest",
    "weights_digest",
]


def create_frontend(profile: Profile, options: Options) -> IndexTts2Frontend:
    """Text to SentencePiece ids. Raises ProfileError if the checkpoint or the voices are not there."""
    from serving.models.indextts2 import frontend

    return frontend.create_frontend(options)


def create_model(
    profile: Profile, options: Options, device: torch.device, dtype: torch.dtype
) -> IndexTts2Model:
    """The networks on `device`, the large ones in `dtype`. Raises ProfileError if the weights are not there."""
    from serving.models.indextts2.model import IndexTts2Model

    return IndexTts2Model(profile, options, device, dtype)


def add_voice(options: Options, name: str, file: Path) -> str:
    """Check a recording and copy it into the folder model.options.voices; see recordings.add_voice."""
    from serving.models.indextts2.voice import recordings

    return recordings.add_voice(options, name, file)


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


def voice_digest(options: Options, name: str) -> str:
    """SHA-256 of the recording. Raises InputError if it is gone."""
    from serving.models.indextts2.voice.recordings import references
    from serving.profile import ProfileError
    from serving.protocol import InputError

    try:
        return references(options)[name].content_key()
    except (KeyError, ProfileError):
        raise InputError("voice", f"the recording of {name!r} is gone") from None
