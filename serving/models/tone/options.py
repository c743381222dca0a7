"""The request fields and options of the tone model, and what callers may know of it. No torch."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from serving.models.base import ModelOptions, ModelSpec, RequestFields, Voice

SAMPLE_RATE_HZ = 24000
MAX_TOKENS = 512
"""Longest segment."""
VOICES_HZ = {"low": 110.0, "high": 440.0}
"""Voice name to the pitch of token 0."""


class Fields(RequestFields, frozen=True, kw_only=True):
    """Request fields of the tone model."""

    max_text_tokens_per_segment: Annotated[
        int, Meta(ge=20, le=600, description="Longer texts are cut into segments of at most this length.")
    ] = 120


class Options(ModelOptions, frozen=True, kw_only=True):
    """model.options of a profile whose model.name is "tone"."""

    samples_per_token: Annotated[int, Meta(ge=1)] = 1200
    """Length of a beep; 1200 is 50 ms."""
    window_tokens: Annotated[int, Meta(ge=1, le=MAX_TOKENS)] = 4
    """Size of an urgent segment's first window; each next one is twice as long."""
    max_window_tokens: Annotated[int, Meta(ge=1, le=MAX_TOKENS)] = 64
    """Size of the largest window, and of each window of a segment that is not urgent."""


def make_spec(options: Options) -> ModelSpec:
    """The spec that the frontend and the model share."""
    return ModelSpec(
        name="tone",
        sample_rate_hz=SAMPLE_RATE_HZ,
        voices=tuple(
            Voice(name=name, language="en", description=f"{hz:.0f} Hz and up")
            for name, hz in VOICES_HZ.items()
        ),
        default_voice="low",
        languages=("en",),
        fields=Fields,
        seeded=False,
        word_times=True,
        seconds_per_char=options.samples_per_token / SAMPLE_RATE_HZ,
    )
