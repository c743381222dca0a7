"""model.options of a profile that names indextts2. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from serving.profile import Profile, ProfileError


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The model's own settings."""

    weights: Literal["checkpoint", "random"] = "checkpoint"
    """random: the same shapes from a seed, to measure speed or to test; it speaks noise."""
    checkpoint: str = ""
    """Folder of the official files (`tts-serving fetch indextts2 --to DIR` makes one)."""
    auxiliaries: dict[str, str] = {}
    """Places of w2v_bert, semantic_codec, campplus and bigvgan other than hf_cache/ in the checkpoint."""
    store: str = ""
    """Folder of the converted weights; empty: a folder inside the checkpoint's."""
    size: Literal["official", "tiny"] = "official"
    """Shapes of random weights."""
    weights_seed: int = 0
    voices: str = ""
    """Folder of reference recordings; a file's name without its suffix is the voice's name."""
    default_voice: str = ""
    """Empty: the first by name."""
    normalize: bool = True
    """Spell out numbers, dates and units before tokenising."""
    quick_streaming_tokens: Annotated[int, Meta(ge=0)] = 0
    """Within this many tokens from the start, segments only grow to half the limit: sound comes sooner."""


def read_options(profile: Profile) -> Options:
    """Check model.options. Raises ProfileError that names the key."""
    try:
        options: Options = msgspec.convert(profile.model.options, Options, strict=True)
    except msgspec.ValidationError as error:
        raise ProfileError(f"profile {profile.name}: model.options: {error}") from None
    if options.weights == "checkpoint" and not options.checkpoint:
        raise ProfileError(
            f"profile {profile.name}: model.options.checkpoint must name the folder of the official files; "
            'or set model.options.weights to "random"'
        )
    return options


VOICE_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3", ".opus"})


def voice_files(folder: Path) -> dict[str, Path]:
    """Voice name to recording, sorted by name. Hidden files and other suffixes are passed over.

    Raises ProfileError if the folder does not exist, or if two files would have one name.
    """
    if not folder.is_dir():
        raise ProfileError(f"model.options.voices: {folder} is not a folder")
    voices: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in VOICE_SUFFIXES:
            continue
        if path.stem in voices:
            raise ProfileError(f"model.options.voices: two recordings of the name {path.stem!r}")
        voices[path.stem] = path
    return dict(sorted(voices.items()))
