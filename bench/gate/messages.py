"""What the gate and a probe say to each other, one line of JSON each, and whether a probe is believed.

A change of the messages is a new PROBE_VERSION.
"""

from __future__ import annotations

from dataclasses import dataclass
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


MOST_HIDDEN, LEAST_HIDDEN_S = 1.2, 0.3
"""Times as much, and seconds more, that head may take beside what its probe states, over what base takes beside it."""


@dataclass(kw_only=True)
class Books:
    """What a probe stated, and what was seen from outside."""

    opened_cpu_s: float = 0.0
    stated_cpu_s: float = 0.0
    used_cpu_s: float = 0.0
    """By the probe's process and all below it."""
    stated_wall_s: float = 0.0
    waited_s: float = 0.0
    """By the gate, for the same replies."""
    stated_audio_s: float = 0.0
    """Of the texts that it spoke, which are the same on both sides."""


def hides_cpu(base: Books, head: Books) -> str:
    """Why head's own probe is not believed: it hides more CPU seconds than base's does. Empty if it is believed.

    Each side is driven by its own commit's probe, so a commit could change the yardstick with the thing; and work
    that moved to where the probe does not look is no work saved. CPU seconds wait for nobody: one round convicts.
    """
    return _hides("CPU seconds", (base.stated_cpu_s, base.used_cpu_s), (head.stated_cpu_s, head.used_cpu_s))


MOST_OVERSTATED = 1.03
"""Seconds of audio of head's probe over base's, for what is as long on both sides when it is heard."""


def overstates(stated: tuple[float, float], heard: tuple[float, float]) -> str:
    """Why head's own probe is not believed: it counts more audio than is heard. Empty if it is believed.

    `stated` and `heard`: seconds of base and head, of the same texts on both sides; seconds that are heard have another
    yardstick, the gate's own.
    """
    if min(*stated, *heard) <= 0:
        return ""
    times, really = stated[1] / stated[0], heard[1] / heard[0]
    if times <= MOST_OVERSTATED * really:
        return ""
    return f"its probe states {times:.2f} times the audio of base's, and {really:.2f} times as much is heard"


def hides_time(base: Books, head: Books) -> str:
    """The same of seconds by the clock. A busy machine may have kept one side waiting, so a round may be in doubt."""
    return _hides("seconds", (base.stated_wall_s, base.waited_s), (head.stated_wall_s, head.waited_s))


def _hides(what: str, base: tuple[float, float], head: tuple[float, float]) -> str:
    """Each side as stated and seen."""
    usual, share = (seen / stated if stated else 0.0 for stated, seen in (base, head))
    stated, seen = head
    if share > MOST_HIDDEN * usual > 0 and seen - usual * stated > LEAST_HIDDEN_S:
        return (
            f"its probe states {stated:.1f} {what} and took {seen:.1f}, {share:.2f} times as many; base's"
            f" {usual:.2f} times"
        )
    return ""
