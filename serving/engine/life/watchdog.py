"""Signs of life: the engine's process sends one after the other, its parent notices when they stop.

Each is one byte on a pipe, sent by a thread: how many seconds the oldest step under way has taken. A process that
is stopped or thrashes sends none; one whose loop or step hangs sends a number that grows.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

BEAT_S = 0.5
"""Time from one sign of life to the next."""
START_SILENCE_S = 60.0
"""Until it is ready an engine may be this long without one: imports and compilers hold the interpreter's lock."""
START_S = 600.0
"""A start may tell nothing new for this long: weights come from slow disks, and a compiler takes minutes."""
_MOST_S = 255


Steps = dict[object, float]
"""What the engine's loop does now, and since when, by time.monotonic(). One thread writes, another reads."""


def age_s(steps: Steps) -> float:
    """How long the oldest has taken; 0 if there is none."""
    since_s = list(steps.values())
    return time.monotonic() - min(since_s) if since_s else 0.0


def send_beats(descriptor: int, steps: Steps) -> None:
    """Send signs of life to a pipe from a thread, until its reader is gone."""

    def run() -> None:
        with contextlib.suppress(BrokenPipeError):
            while True:
                os.write(descriptor, bytes([min(int(age_s(steps)), _MOST_S)]))
                time.sleep(BEAT_S)

    threading.Thread(target=run, name="heartbeat", daemon=True).start()


class Watchdog:
    """Says whether an engine is stuck. Looked at every BEAT_S.

    It counts looks rather than seconds: after a pause of the whole machine, or of this process alone, no engine is
    blamed for it.
    """

    def __init__(self, silence_s: float, step_s: float) -> None:
        """An engine that is ready may be silent for silence_s, a step may take step_s."""
        self._silence_s = silence_s
        self._step_s = min(step_s, _MOST_S)
        self._beats = 0
        self._silent_looks = 0
        self._told: object = None
        self._untold_looks = 0

    def look(self, beats: int, step_age_s: float, *, ready: bool, told: object = None) -> str | None:
        """Why the engine is stuck, else None.

        `beats` came since its start, the last with `step_age_s`; `told` is what it last said of its start.
        """
        self._untold_looks = 0 if ready or told != self._told else self._untold_looks + 1
        self._told = told
        self._silent_looks = 0 if beats != self._beats else self._silent_looks + 1
        self._beats = beats
        limit_s = self._silence_s if ready else max(self._silence_s, START_SILENCE_S)
        if self._silent_looks * BEAT_S >= limit_s:
            return f"it gave no sign of life for {limit_s:g} s"
        if step_age_s >= self._step_s:
            return f"a step took longer than {self._step_s:g} s"
        if self._untold_looks * BEAT_S >= START_S:
            return f"its start went no further for {START_S:g} s"
        return None
