"""What each key has used, and whether it may have more. Counted in this process: a restart begins anew."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

from serving.access.keys import Key
from serving.profile import AccessProfile
from serving.protocol import Overloaded

if TYPE_CHECKING:
    from collections.abc import Sized

MINUTE_S, DAY_S = 60.0, 86400.0
STREAM_RETRY_S = 1.0
"""When one of a key's own streams will end is for its holder to know."""


class RateLimited(Overloaded):
    """The key has used what it may use; more may be had after retry_after_s seconds."""

    passes = False


class Usage:
    """One key's requests, streams and seconds of audio."""

    def __init__(self, clock: Callable[[], float], day_clock: Callable[[], float]) -> None:
        self._clock = clock
        self._day_clock = day_clock
        self._begun: deque[float] = deque()
        self._day = 0
        self._audio_s = 0.0
        self.audio_limit_s = 0.0
        """Of a day; 0: no limit."""
        self.streams = 0
        """Requests and WebSockets that are being answered."""

    def begin(self, per_minute: int, streams: int, audio_s: float) -> None:
        """A request begins, under these limits (0: none). Raises RateLimited, and then nothing is counted."""
        now = self._clock()
        while self._begun and self._begun[0] <= now - MINUTE_S:
            self._begun.popleft()
        if streams and self.streams >= streams:
            raise RateLimited(f"this key has {streams} streams at once, its limit", STREAM_RETRY_S)
        if per_minute and len(self._begun) >= per_minute:
            oldest_s = self._begun[len(self._begun) - per_minute]
            raise RateLimited(
                f"this key has made {per_minute} requests within a minute, its limit",
                oldest_s + MINUTE_S - now,
            )
        self.audio_limit_s = audio_s
        self.promise(0.0)
        if per_minute:
            self._begun.append(now)
        self.streams += 1

    def end(self) -> None:
        """The request has been answered, or its client is gone."""
        self.streams -= 1

    def promise(self, audio_s: float) -> int:
        """Take `audio_s` seconds of today's; `settle` corrects it, and is told the day that is returned here.

        Raises RateLimited if there are not as many left.

        A text longer than the whole limit may still be asked for when nothing else was: an estimate refuses nobody
        for ever.
        """
        today, since_midnight_s = divmod(self._day_clock(), DAY_S)
        if int(today) != self._day:
            self._day, self._audio_s = int(today), 0.0
        limit_s = self.audio_limit_s
        if limit_s and self._audio_s > 0 and self._audio_s + audio_s >= limit_s:
            raise RateLimited(
                f"this key has {max(limit_s - self._audio_s, 0):.0f} s left of its {limit_s:g} s of audio a day",
                DAY_S - since_midnight_s,
            )
        self._audio_s += audio_s
        return self._day

    def settle(self, day: int, promised_s: float, made_s: float) -> None:
        """What was promised on a day has become `made_s` seconds. What is left of another day's counts for none."""
        if day == self._day:
            made_s -= promised_s
        self._audio_s = max(0.0, self._audio_s + made_s)


CURRENT: ContextVar[Usage | None] = ContextVar("usage", default=None)
"""The usage that the work of this task counts to."""


class Ledger:
    """The usage of every key."""

    def __init__(
        self,
        limits: AccessProfile,
        clock: Callable[[], float] = time.monotonic,
        day_clock: Callable[[], float] = time.time,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._day_clock = day_clock
        self._usage: dict[str, Usage] = {}

    def begin(self, key: Key) -> Usage:
        """A request of `key` begins; its end is the caller's to tell. Raises RateLimited."""
        usage = self._usage.get(key.name)
        if usage is None:
            usage = self._usage[key.name] = Usage(self._clock, self._day_clock)
        limits = self._limits
        usage.begin(
            key.requests_per_minute or limits.requests_per_minute,
            key.concurrent_streams or limits.concurrent_streams,
            key.audio_s_per_day or limits.audio_s_per_day,
        )
        return usage


class AudioOfKey:
    """Counts the audio of one utterance to the key that asked for it (serving.engine.watch.Watch)."""

    def __init__(self, usage: Usage, audio_s: float, sample_rate_hz: int) -> None:
        """`audio_s` is what the text promises. Raises RateLimited."""
        self._day = usage.promise(audio_s)
        self._usage = usage
        self._promised_s = audio_s
        self._rate_hz = sample_rate_hz
        self._samples = 0

    def made(self, samples: Sized) -> None:
        """The engine made these."""
        self._samples += len(samples)

    def ended(self, _: object) -> None:
        """No more is made."""
        self._usage.settle(self._day, self._promised_s, self._samples / self._rate_hz)
