"""What callers may know of the model without loading it. Neither torch nor text packages: the engine needs it too."""

from __future__ import annotations

from serving.models.base import ModelSpec
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.options import Fields, Options
from serving.models.indextts2.voice.library import Voices
from serving.profile import ProfileError

SECONDS_PER_CHAR = 0.08
"""Between English, about 0.065, and Chinese, about 0.25, whose texts are short."""


def check_default(options: Options, voices: Voices) -> None:
    """Raise ProfileError unless there is the default voice that the profile names."""
    if options.default_voice and options.default_voice not in voices:
        raise ProfileError(
            f"model.options.default_voice: no recording {options.default_voice!r}; there are {', '.join(voices)}"
        )


def model_spec(options: Options, config: IndexTts2Config, voices: Voices) -> ModelSpec:
    """What callers may know of the voices that there are now."""
    described = voices.described()
    default = options.default_voice or next((voice.name for voice in described), "")
    return ModelSpec(
        name="indextts2",
        sample_rate_hz=config.s2mel.mel.sample_rate_hz,
        voices=described,
        default_voice=default,
        languages=options.languages,
        seconds_per_char=SECONDS_PER_CHAR,
        fields=Fields,
    )
