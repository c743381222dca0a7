"""The settings of the tone model and what callers may know of it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from serving.models.base import ModelSpec, Voice
from serving.profile import Profile, ProfileError

SAMPLE_RATE_HZ = 24000
MAX_TOKENS = 512
"""Longest segment."""
VOICES_HZ = {"low": 110.0, "high": 440.0}
"""Voice name to the pitch of token 0."""


class ToneOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """model.options of a profile whose model.name is "tone"."""

    samples_per_token: Annotated[int, Meta(ge=1)] = 1200
    """Length of a beep; 1200 is 50 ms."""
    window_tokens: Annotated[int, Meta(ge=1, le=MAX_TOKENS)] = 4
    """Size of an urgent segment's first window; each next one is twice as long."""
    max_window_tokens: Annotated[int, Meta(ge=1, le=MAX_TOKENS)] = 64
    """Size of the largest window, and of each window of a segment that is not urgent."""
    step_s: Annotated[float, Meta(ge=0)] = 0.0
    """Time that each render step sleeps: a stand-in for work, for tests that need a request in flight."""
    load_s: Annotated[float, Meta(ge=0)] = 0.0
    """Time that loading sleeps."""
    fail_token: int | None = None
    """A step that holds this token raises."""
    crash_token: int | None = None
    """A step that holds this token ends the process without a word, as a segmentation fault would."""


def read_options(profile: Profile) -> ToneOptions:
    """Check profile.model.options. Raises ProfileError that names the key."""
    try:
        return msgspec.convert(profile.model.options, ToneOptions)
    except msgspec.ValidationError as error:
        raise ProfileError(f"model.options: {error}") from None


def make_spec(options: ToneOptions) -> ModelSpec:
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
        max_text_chars=10_000,
        used_fields=frozenset({"text", "voice", "max_text_tokens_per_segment"}),
        seconds_per_char=options.samples_per_token / SAMPLE_RATE_HZ,
    )
