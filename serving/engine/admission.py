"""How much may be under way at once, counted where requests come in, so that a refusal is immediate; and who waits for
a first sound.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from serving.profile import AdmissionProfile
from serving.protocol import Overloaded, SpeechParams

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from serving.engine.utterance import Utterance

T = TypeVar("T")

RATE_WINDOW_S = 10.0
"""The engine's recent rate is that of this window."""
RETRY_RANGE_S = (1.0, 60.0)
CROWD_S = 1.0
"""Whoever was refused within this time wants the next place too."""
LARGEST_SHARE = 0.25
"""No promise counts for more than this share of the bound: 5000 digits promise half an hour, and would lock all others
out. What was made of it and not read counts in full.
"""
SETTLE_S = 0.05
"""settled() looks this often."""
GIVEN_WAY = 3.0
"""What is read for later rests so many times as long as it worked, while someone waits for the first sound."""
MOST_GIVEN_S = 0.1
"""At once."""


@dataclass(slots=True)
class _Share:
    """What one request holds, in seconds of audio."""

    promised_s: float
    made_s: float = 0.0
    taken_s: float = 0.0
    running: bool = True

    @property
    def held_s(self) -> float:
        return max(self.promised_s if self.running else 0.0, self.made_s) - self.taken_s


class Admission:
    """A ledger of the requests that were let in, and of their seconds of audio, made or promised and not yet read.

    A request counts until it has ended. Its seconds are what its text promised, less what was read; what was
    made and not yet read still counts after its end, which bounds the memory that slow readers hold.
    """

    def __init__(self, limits: AdmissionProfile, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        """They may be replaced; what was let in stays."""
        self._clock = clock
        self._shares: dict[str, _Share] = {}
        self._recent: deque[tuple[float, float]] = deque()
        self._recent_s = 0.0
        self.requests = 0
        """Running."""
        self.audio_s = 0.0
        """Promised or unread."""
        self._used_s = clock()
        self._refused: deque[float] = deque()

    def admit(self, request_id: str, audio_s: float, engines: int = 1) -> None:
        """Let a request of an estimated audio_s seconds in. Raises Overloaded, and then nothing is counted.

        The bounds are those of one engine, times the `engines` that share the work.
        """
        audio_s = min(audio_s, self.limits.max_audio_s * engines * LARGEST_SHARE)
        if (refusal := self._refusal(audio_s, engines)) is not None:
            raise refusal
        self._used_s = self._clock()
        self._shares[request_id] = share = _Share(audio_s)
        self.requests += 1
        self.audio_s += share.held_s

    def full(self, engines: int = 1) -> Overloaded | None:
        """Why even the shortest text would be refused now, else None."""
        return self._refusal(0.0, engines)

    def _refusal(self, audio_s: float, engines: int) -> Overloaded | None:
        most_requests = self.limits.max_requests * engines
        most_audio_s = self.limits.max_audio_s * engines
        if self.requests >= most_requests:
            share_s = self.audio_s / max(self.requests, 1)
            return Overloaded(
                f"{self.requests} requests are under way, the limit is {most_requests}",
                self._retry_after_s(share_s * self._crowd()),
            )
        excess_s = self.audio_s + audio_s - most_audio_s
        if excess_s > 0 and self.audio_s > 0:
            return Overloaded(
                f"{self.audio_s:.0f} s of audio are under way, the limit is {most_audio_s:g} s",
                self._retry_after_s(min(excess_s, self.audio_s) * self._crowd()),
            )
        return None

    @property
    def idle_s(self) -> float:
        """How long no request has run."""
        return 0.0 if self.requests else self._clock() - self._used_s

    async def settled(self, limit_s: float) -> None:
        """Wait until the engine makes no more of any request that is admitted now, at most limit_s."""
        under_way = [request_id for request_id, share in self._shares.items() if share.running]
        until_s = time.monotonic() + limit_s
        while time.monotonic() < until_s and any(map(self._runs, under_way)):  # noqa: ASYNC110 - seldom
            await asyncio.sleep(SETTLE_S)

    def _runs(self, request_id: str) -> bool:
        share = self._shares.get(request_id)
        return share is not None and share.running

    def made(self, request_id: str, audio_s: float) -> None:
        """The engine made more of a request."""
        self._recent.append((self._clock(), audio_s))
        self._recent_s += audio_s
        self._forget_old()
        share = self._shares[request_id]
        held_s = share.held_s
        share.made_s += audio_s
        self.audio_s += share.held_s - held_s

    def taken(self, request_id: str, audio_s: float) -> None:
        """The reader took some of what was made. Ignored once the request is closed."""
        if (share := self._shares.get(request_id)) is not None:
            share.taken_s += audio_s
            self.audio_s -= audio_s

    def end(self, request_id: str) -> None:
        """The engine makes no more of it; what is unread still counts. Idempotent."""
        share = self._shares.get(request_id)
        if share is not None and share.running:
            held_s = share.held_s
            share.running = False
            self._used_s = self._clock()
            self.requests -= 1
            self.audio_s += share.held_s - held_s

    def close(self, request_id: str) -> None:
        """Nobody will read the rest. Idempotent."""
        self.end(request_id)
        if (share := self._shares.pop(request_id, None)) is not None:
            self.audio_s -= share.held_s

    def _crowd(self) -> int:
        """How many were refused lately, the one that is being refused among them."""
        now = self._clock()
        self._refused.append(now)
        while self._refused[0] <= now - CROWD_S:
            self._refused.popleft()
        return len(self._refused)

    def _forget_old(self) -> None:
        while self._recent and self._recent[0][0] < self._clock() - RATE_WINDOW_S:
            self._recent_s -= self._recent.popleft()[1]

    def _retry_after_s(self, audio_s: float) -> float:
        """Time to make audio_s seconds at the recent rate; 1 audio second a second if nothing was made."""
        self._forget_old()
        least_s, most_s = RETRY_RANGE_S
        if not self._recent:
            return min(max(audio_s, least_s), most_s)
        span_s = max(self._clock() - self._recent[0][0], 1.0)
        return min(max(audio_s * span_s / self._recent_s, least_s), most_s)


class FirstSounds:
    """Who waits for the first sound of a stream, so that what is read for later gives way to them.

    All texts are read in threads of one process: whatever reads on takes the interpreter lock, and a core, from those
    who wait. A Watcher, to be called in the event loop; `paced` is for the threads.
    """

    def __init__(self) -> None:
        self._waiting = 0
        self._nobody = threading.Event()
        self._nobody.set()

    def __call__(self, params: SpeechParams, streaming: bool, audio_s: float) -> _FirstSound | None:
        """See serving.engine.watch.Watcher."""
        return _FirstSound(self) if streaming else None

    def add(self, count: int) -> None:
        """So many more wait, or fewer."""
        self._waiting += count
        if self._waiting:
            self._nobody.clear()
        else:
            self._nobody.set()

    def give_way(self, worked_s: float) -> None:
        """Rest after work of so much CPU time, in a thread, until nobody waits for a sound, or for GIVEN_WAY."""
        self._nobody.wait(min(GIVEN_WAY * worked_s, MOST_GIVEN_S))

    def paced(self, items: Iterator[T]) -> Iterator[T]:
        """The same items. After each that took some work the next waits for a while, if someone waits for a sound."""
        worked_s = 0.0
        while True:
            self.give_way(worked_s)
            begun_s = time.thread_time()
            try:
                item = next(items)
            except StopIteration:
                return
            worked_s = time.thread_time() - begun_s
            yield item


class _FirstSound:
    """One who waits."""

    def __init__(self, all_of_them: FirstSounds) -> None:
        self._all: FirstSounds | None = all_of_them
        all_of_them.add(1)

    def made(self, samples: NDArray[np.float32]) -> None:
        self._done()

    def ended(self, utterance: Utterance) -> None:
        self._done()

    def _done(self) -> None:
        if self._all is not None:
            self._all.add(-1)
            self._all = None
