"""Watches every utterance while the engine speaks it (serving.engine.watch)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from serving.http.observe.calls import CALL
from serving.http.observe.metrics import Metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from serving.engine.client import Utterance
    from serving.engine.watch import Watch, Watcher
    from serving.protocol import SpeechParams

AUDIBLE = 10 ** (-40 / 20)
"""A sample of this size is sound: -40 dBFS."""


def watcher_of(metrics: Metrics, sample_rate_hz: int) -> Watcher:
    """What begins to watch each utterance."""

    def begin(_: SpeechParams, streaming: bool, __: float) -> Watch:
        now_s = time.perf_counter()
        if (call := CALL.get()) is not None:
            # The first utterance of a request began with the request, what it waited for is waiting too. On a
            # WebSocket the text came long after the connection.
            if call.is_http and not call.utterances:
                now_s = call.started_s
            call.utterances += 1
        return _Watch(metrics, sample_rate_hz, streaming, now_s)

    return begin


class _Watch:
    """One utterance."""

    __slots__ = ("_begun_s", "_heard", "_metrics", "_plays_s", "_rate_hz", "_samples", "_streaming")

    def __init__(self, metrics: Metrics, rate_hz: int, streaming: bool, begun_s: float) -> None:
        self._metrics = metrics
        self._rate_hz = rate_hz
        self._streaming = streaming
        self._begun_s = begun_s
        self._plays_s = 0.0
        """When the first sample is played, moved on by every underrun."""
        self._samples = 0
        self._heard = False

    def made(self, samples: NDArray[np.float32]) -> None:
        """A listener plays the first chunk as it comes, and needs each later one when those before it are over."""
        metrics = self._metrics
        metrics.audio.inc(len(samples) / self._rate_hz)
        if not self._streaming:
            return
        now_s = time.perf_counter()
        if not self._samples:
            self._plays_s = now_s
        late_s = now_s - (self._plays_s + self._samples / self._rate_hz)
        if self._samples and late_s > 0:
            metrics.underruns.inc()
            metrics.underrun_s.inc(late_s)
            self._plays_s += late_s
        if not self._heard:
            loud = np.abs(samples) > AUDIBLE
            if loud.any():
                self._heard = True
                at_s = self._plays_s + (self._samples + int(loud.argmax())) / self._rate_hz
                metrics.first_audio.observe(at_s - self._begun_s)
        self._samples += len(samples)

    def ended(self, utterance: Utterance) -> None:
        """Count how it ended, and what it cost the engine."""
        if (stats := utterance.stats) is not None:
            self._metrics.queue.observe(stats.queue_s)
            if stats.audio_s > 0:
                self._metrics.real_time_factor.observe(stats.total_s / stats.audio_s)
        outcome = (
            "finished" if stats is not None else utterance.failure.code if utterance.failure else "refused"
        )
        self._metrics.utterances.labels(outcome).inc()
