"""What callers may know of the model without loading it. Neither torch nor text packages: the engine needs it too."""

from __future__ import annotations

from serving.models.base import ModelSpec, Voice
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.options import Fields, Options
from serving.models.indextts2.voice.recordings import references
from serving.profile import ProfileError

SECONDS_PER_CHAR = 0.08
"""Between English, about 0.065, and Chinese, about 0.25, whose texts are short."""


def model_spec(options: Options, config: IndexTts2Config) -> ModelSpec:
    """What callers may know. Raises ProfileError without a voice, or without the default one."""
    voices = references(options)
    default = options.default_voice or next(iter(voices))
    if default not in voices:
        raise ProfileError(
            f"model.options.default_voice: no recording {default!r}; there are {', '.join(voices)}"
        )
    return ModelSpec(
        name="indextts2",
        sample_rate_hz=config.s2mel.mel.sample_rate_hz,
        voices=tuple(
            Voice(
                name=name,
                language="zh, en",
                description="made by formula" if voice.path is None else voice.path.name,
            )
            for name, voice in voices.items()
        ),
        default_voice=default,
        languages=("zh", "en"),
        seconds_per_char=SECONDS_PER_CHAR,
        fields=Fields,
    )
