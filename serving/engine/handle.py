"""What a caller holds of a request under way: its samples as they come, and the way to give it up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from serving.engine.admission import Ticket
from serving.protocol import RequestStats, SpeechFailed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Handle:
    """One request. Iterate chunks() to its end, or call abort(); either gives back all that it holds."""

    def __init__(
        self, request_id: str, ticket: Ticket, sample_rate_hz: int, on_abort: Callable[[Handle], None]
    ) -> None:
        self.request_id = request_id
        self.stats: RequestStats | None = None
        """What the request cost; set when it was spoken to its end."""
        self._ticket = ticket
        self._rate_hz = sample_rate_hz
        self._on_abort = on_abort
        self._unread: deque[NDArray[np.float32]] = deque()
        self._wake = asyncio.Event()
        self._failure: SpeechFailed | None = None
        self.ended = False
        """The engine has said its last word on it, or nobody wants to hear it."""

    async def chunks(self) -> AsyncIterator[NDArray[np.float32]]:
        """Yield mono float32 samples in order, read-only arrays of varying length.

        Raises SpeechFailed, after the samples that came before the failure. Leaving early aborts the request.
        """
        try:
            while True:
                while self._unread:
                    samples = self._unread.popleft()
                    self._ticket.taken(len(samples) / self._rate_hz)
                    yield samples
                if self.ended:
                    break
                self._wake.clear()
                await self._wake.wait()
            if self._failure is not None:
                raise self._failure
        finally:
            self.abort()

    def abort(self) -> None:
        """Give the request up: unread samples are dropped and the engine stops at its next step.

        Call it from the event loop's thread, at any point, as often as you like.
        """
        if not self.ended:
            self.fail(SpeechFailed("aborted", "the request was given up"))
            self._on_abort(self)
        self._unread.clear()
        self._ticket.close()

    # The rest is called by EngineClient.

    def receive(self, samples: NDArray[np.float32]) -> None:
        """Samples came from the engine."""
        self._ticket.made(len(samples) / self._rate_hz)
        self._unread.append(samples)
        self._wake.set()

    def finish(self, stats: RequestStats) -> None:
        """The engine made the last of it."""
        self.stats = stats
        self._end()

    def fail(self, failure: SpeechFailed) -> None:
        """The engine will make no more of it."""
        self._failure = failure
        self._end()

    def _end(self) -> None:
        self.ended = True
        self._ticket.end()
        self._wake.set()
