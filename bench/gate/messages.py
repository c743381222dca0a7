"""What the gate and a probe say to each other: one line of JSON each. A change of these is a new PROBE_VERSION."""

from __future__ import annotations

from typing import Literal

import msgspec

PROBE_VERSION = 1


class Request(msgspec.Struct, kw_only=True):
    """A piece of work."""

    what: Literal["restart", "speak", "frontend", "encode", "counts"]
    """restart: a new engine with its weights laid out afresh, in the same process. speak: every text at once.
    frontend: texts to segments. encode: `audio_s` seconds of samples to pcm. counts: those of the texts that
    are one segment, one after the other, for what the engine counts."""
    texts: list[str] = []
    streaming: bool = False
    seed: int = 1
    audio_s: float = 0.0


class Reply(msgspec.Struct, kw_only=True):
    """What it cost. The frontend's time is not in `speak`, nor is any client's."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    """CPU seconds of all threads of this process: the engine's, and the little that passes its messages."""
    audio_s: float = 0.0
    first_s: float = 0.0
    """Submission to the first samples, of the first text."""
    counts: dict[str, float] = {}
    """Counter.stage to how much it grew."""
    error: str | None = None


class Hello(msgspec.Struct, kw_only=True):
    """The first line out."""

    version: int
    tree: str
    """Where this side's code lies: the gate checks that it measures what it means to."""
    ready_s: float
    error: str | None = None
