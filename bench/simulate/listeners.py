"""Those who ask, in virtual time: streams that ask again when they were answered, or requests at given moments.

They stand at the engine's end of the socket (serving.engine.loop.Pair), behind the socket's own thread, an HTTP process
and a client process of one thread each, whose work and waits are billed by the table.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.records import Sample
from bench.simulate.costs import ServerCost
from bench.simulate.machine import Lane, Machine
from serving.protocol import (
    Extend,
    Failed,
    Finished,
    FromEngine,
    Segment,
    Shutdown,
    SpeechParams,
    Submit,
    ToEngine,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TIMEOUT_S = 3600.0


class SimulationFailed(RuntimeError):
    """The engine refused or failed a request; the message is its own."""


@dataclass(frozen=True, slots=True)
class Speech:
    """One request: a text, and the segments that the model's frontend made of it."""

    text: str
    segments: Sequence[Segment]
    params: SpeechParams


@dataclass(slots=True)
class Listeners:
    """serving.engine.loop.Pair in virtual time. One Sample for each request, times in virtual seconds."""

    machine: Machine
    server: ServerCost
    rate_hz: int
    speeches: Iterator[Speech]
    """What is asked for, in order; the load ends with it."""
    duration_s: float = float("inf")
    """Streams send no new request after this."""
    samples: dict[str, Sample] = field(default_factory=dict)
    _inbox: deque[ToEngine] = field(default_factory=deque)
    _open: int = 0
    _more: bool = True
    _io: Lane = field(init=False)
    _http: Lane = field(init=False)
    _client: Lane = field(init=False)
    _then: dict[str, Callable[[], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._io, self._http, self._client = (Lane(self.machine) for _ in range(3))

    def stream(self, clients: int) -> None:
        """That number of clients ask now, and each again when its answer is whole."""
        for _ in range(clients):
            self._again()

    def arrive(self, due_s: Sequence[float]) -> None:
        """One request at each moment, however slow the answers are."""
        self._open += len(due_s)
        for moment_s in due_s:
            self.machine.at(moment_s, lambda: self._ask(lambda: None))

    # ---- loop.Pair -----------------------------------------------------------------------------------------

    def receive(self) -> Sequence[ToEngine]:
        """What has come; Shutdown when all was answered."""
        messages = list(self._inbox)
        self._inbox.clear()
        if not self._open and not messages:
            return [Shutdown()]
        return messages

    def wait(self, timeout_s: float | None) -> None:
        """Let time pass until something comes."""
        until_s = float("inf") if timeout_s is None else self.machine.now_s + timeout_s
        self.machine.advance(until_s, lambda: bool(self._inbox) or not self._open)

    def send(self, message: FromEngine) -> None:
        """An end goes the way of a chunk. Raises SimulationFailed for a request that failed."""
        if isinstance(message, Failed):
            raise SimulationFailed(f"{message.request_id}: {message.code}: {message.message}")
        if isinstance(message, Finished):
            request_id = message.request_id

            def ended() -> None:
                self.samples[request_id].end_s = self.machine.now_s
                self._open -= 1
                self._then.pop(request_id)()

            self._to_client(self.server.request_s / 2, self.server.client_request_s / 2, ended)

    def send_chunk(self, request_id: str, samples: NDArray[np.float32]) -> None:
        """A chunk, through the HTTP process to the client that books it."""
        size = 2 * len(samples)
        sample = self.samples[request_id]

        self.machine.spend(self.server.send_s)
        audio_s = len(samples) / self.rate_hz
        self._to_client(
            self.server.chunk_s + self.server.per_audio_s * audio_s,
            self.server.client_chunk_s + self.server.client_per_audio_s * audio_s,
            lambda: sample.events.append((self.machine.now_s, size)),
            self.server.io_s,
        )

    # ---- inside --------------------------------------------------------------------------------------------

    def _again(self) -> None:
        if self.machine.now_s < self.duration_s:
            self._open += 1
            self._ask(self._again)

    def _ask(self, then: Callable[[], None]) -> None:
        speech = next(self.speeches, None)
        if speech is None:
            raise SimulationFailed("more requests than texts were prepared")
        request_id = str(len(self.samples))
        now_s = self.machine.now_s
        self.samples[request_id] = Sample(
            index=len(self.samples),
            text=speech.text,
            characters=len(speech.text),
            due_s=now_s,
            sent_s=now_s,
            end_s=now_s,
            sample_rate_hz=self.rate_hz,
        )
        self._then[request_id] = then
        first, *rest = speech.segments
        # The frontend makes the first segment before anything is sent, the others while the engine works.
        share = len(first.tokens) / max(sum(len(segment.tokens) for segment in speech.segments), 1)
        text_s = self.server.per_character_s * len(speech.text)
        submit = Submit(
            request_id=request_id,
            params=speech.params,
            streaming=True,
            timeout_s=TIMEOUT_S,
            segments=[first],
            last=not rest,
        )

        def submitted() -> None:
            self._inbox.append(submit)
            if rest:
                self._http.do(self._as_it_is_s(text_s * (1 - share)), extended)

        def extended() -> None:
            self._inbox.append(Extend(request_id=request_id, segments=rest, last=True))

        def read() -> None:
            cost_s = self._as_it_is_s(self.server.request_s / 2 + text_s * share)
            self._http.do(cost_s, lambda: self._hop(submitted))

        self._client.do(self._as_it_is_s(self.server.client_request_s / 2), lambda: self._hop(read))

    def _to_client(self, http_s: float, client_s: float, then: Callable[[], None], io_s: float = 0.0) -> None:
        def to_client() -> None:
            self._hop(lambda: self._client.do(self._as_it_is_s(client_s), then))

        def to_http() -> None:
            self._hop(lambda: self._http.do(self._as_it_is_s(http_s), to_client))

        self._io.do(io_s, to_http)

    def _hop(self, then: Callable[[], None]) -> None:
        self.machine.at(self.machine.now_s + self.server.hop.of(self.machine.crowd()), then)

    def _as_it_is_s(self, cpu_s: float) -> float:
        """What this work costs as things are."""
        return cpu_s if self.machine.crowd() == "idle" else cpu_s * self.server.crowded
