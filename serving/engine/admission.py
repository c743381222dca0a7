"""How much may be under way at once, counted where requests come in, so that a refusal is immediate."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from serving.profile import AdmissionProfile
from serving.protocol import Overloaded

RATE_WINDOW_S = 10.0
"""The engine's recent speed is that of the last so many seconds."""
RETRY_RANGE_S = (1.0, 60.0)


class Admission:
    """Requests and seconds of audio that were let in and are not done.

    A request counts until it has ended. Its seconds are what its text promised, less what was made; what was
    made and not yet taken by its reader still counts, which bounds the memory that slow readers hold.
    """

    def __init__(self, limits: AdmissionProfile, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._made: deque[tuple[float, float]] = deque()
        self._made_s = 0.0
        self.requests = 0
        self.audio_s = 0.0
        """Promised or unread."""

    def admit(self, audio_s: float) -> Ticket:
        """Let a request of an estimated audio_s seconds in. Raises Overloaded.

        A request longer than the whole bound may still run when nothing else does.
        """
        limits = self._limits
        if self.requests >= limits.max_requests:
            share_s = self.audio_s / max(self.requests, 1)
            raise Overloaded(
                f"{self.requests} requests are under way, the limit is {limits.max_requests}",
                self._retry_after_s(share_s),
            )
        excess_s = self.audio_s + audio_s - limits.max_audio_s
        if excess_s > 0 and self.audio_s > 0:
            raise Overloaded(
                f"{self.audio_s:.0f} s of audio are under way, the limit is {limits.max_audio_s:g} s",
                self._retry_after_s(min(excess_s, self.audio_s)),
            )
        return Ticket(self, audio_s)

    def note_made(self, audio_s: float) -> None:
        """Audio came from the engine: keep its recent rate."""
        self._made.append((self._clock(), audio_s))
        self._made_s += audio_s
        self._forget_old()

    def _forget_old(self) -> None:
        while self._made and self._made[0][0] < self._clock() - RATE_WINDOW_S:
            self._made_s -= self._made.popleft()[1]

    def _retry_after_s(self, audio_s: float) -> float:
        """Time to make audio_s seconds at the recent rate; 1 audio second a second if nothing was made."""
        self._forget_old()
        least_s, most_s = RETRY_RANGE_S
        if not self._made:
            return min(max(audio_s, least_s), most_s)
        span_s = max(self._clock() - self._made[0][0], 1.0)
        return min(max(audio_s * span_s / self._made_s, least_s), most_s)


class Ticket:
    """The share of one request. made() and taken() follow its audio; end() and close() give the rest back."""

    def __init__(self, admission: Admission, audio_s: float) -> None:
        self._admission = admission
        self._promised_s = audio_s
        self._made_s = 0.0
        self._taken_s = 0.0
        self._counted_s = 0.0
        self._running = True
        admission.requests += 1
        self._count()

    def made(self, audio_s: float) -> None:
        """The engine made more of it."""
        self._made_s += audio_s
        self._admission.note_made(audio_s)
        self._count()

    def taken(self, audio_s: float) -> None:
        """The reader took some of what was made."""
        self._taken_s += audio_s
        self._count()

    def end(self) -> None:
        """The engine makes no more of it; what is unread still counts. Idempotent."""
        if self._running:
            self._running = False
            self._admission.requests -= 1
            self._promised_s = 0.0
            self._count()

    def close(self) -> None:
        """Nobody will read the rest. Idempotent."""
        self.end()
        self._taken_s = self._made_s
        self._count()

    def _count(self) -> None:
        held_s = max(self._promised_s, self._made_s) - self._taken_s
        self._admission.audio_s += held_s - self._counted_s
        self._counted_s = held_s
