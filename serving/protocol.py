"""The messages between the HTTP side and the engine, and the errors that a caller sees. No torch, no litestar.

Two processes speak these structs as msgpack over a ZeroMQ pair of sockets; audio travels beside them as a raw
frame of little-endian float32 samples, so that it is never re-encoded. In one process the same bytes go over
an inproc socket.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

STEP_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Bounds of the histogram of step times, upper and inclusive."""

Timestamps = Literal["none", "sentence", "word"]
FailureCode = Literal["aborted", "expired", "engine_died", "invalid_field", "internal"]


class WordSpan(NamedTuple):
    """A word of a segment: tokens [first, last), which stand for characters [start, end) of the request's text."""

    first: int
    last: int
    start: int
    end: int


class Segment(msgspec.Struct, frozen=True):
    """A piece of a request's text that the model takes at once."""

    index: int
    """Position within the request, from 0 and without gaps."""
    tokens: list[int]
    """The model's own ids (phonemes, BPE pieces)."""
    text: str = ""
    """What the tokens say, for logs."""
    lead_s: float = 0.0
    """Silence before its first sound: the pause after the segment before it, or one that the text asks for."""
    start: int = 0
    end: int = 0
    """The characters of the request's text that it stands for."""
    words: list[WordSpan] = []
    """In order; for a model that tells when each is spoken."""


class SpeechParams(msgspec.Struct, frozen=True, kw_only=True):
    """How to speak: the request's fields once checked."""

    voice: str
    seed: int
    """Fixes everything random; the same seed, text and voice give the same samples."""
    normalize: bool = True
    """The words of the sentences are written out; false: they are as the client wrote them."""
    timestamps: Timestamps = "none"
    """What Times are sent for; a frontend may cut its segments by it."""
    fields: Any = {}
    """The request fields of the model's own: a struct of its ModelSpec.fields. On the wire it is a map, which the
    engine's loop turns into the struct again.
    """


class RequestStats(msgspec.Struct, frozen=True, kw_only=True):
    """What one request cost the engine. Times are on the engine's monotonic clock, from the arrival of Submit."""

    queue_s: float
    """Arrival to the first step."""
    first_chunk_s: float
    """Arrival to the first samples."""
    total_s: float
    audio_s: float
    chunks: int
    steps: dict[str, int]
    """Stage name to the number of steps that this request took part in."""
    stages: dict[str, tuple[float, float]] = {}
    """Stage name to the beginning of its first step with this request and the end of its last."""


# ---- HTTP to engine ------------------------------------------------------------------------------------------


class Submit(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """A new request, with as many of its segments as are known yet."""

    request_id: str
    params: SpeechParams
    streaming: bool
    """A listener plays the audio as it comes: the first chunk is due at once, each later one before the playback
    buffer empties.
    """
    timeout_s: float
    """The request expires this long after its arrival, whatever state it is in."""
    segments: list[Segment]
    last: bool
    """No Extend follows."""


class Extend(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """More segments of a request. Unknown request ids are ignored: the request has ended meanwhile."""

    request_id: str
    segments: list[Segment]
    last: bool


class Abort(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """The client is gone: free the request's slots at the next step. Idempotent."""

    request_id: str


class GetStats(msgspec.Struct, tag=True, frozen=True):
    """Ask for one Stats."""


class Shutdown(msgspec.Struct, tag=True, frozen=True):
    """Stop the engine now; the HTTP side has drained first."""


ToEngine = Submit | Extend | Abort | GetStats | Shutdown

# ---- engine to HTTP ------------------------------------------------------------------------------------------


class Warming(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """Progress of load, compile and capture."""

    what: str
    done: int
    total: int
    elapsed_s: float


class Ready(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """The engine is warm and takes requests."""

    model: str
    device: str
    dtype: str
    kernels: str | None
    """What its networks run in: a tier of the CPU kernels, torch, or triton; None of a model that does not say."""
    warmup_s: float
    pid: int


class Chunk(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """Samples of one request, in order. The samples are the message's second frame: float32, little endian."""

    request_id: str
    samples: int


class Times(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """When a segment is spoken, in seconds from the request's first sample; sent as soon as it is known.

    A model that knows its durations tells them before the segment's samples; of another, the whole segment is
    told after its last sample.
    """

    request_id: str
    segment: int
    start_s: float
    end_s: float
    """Of its last sound, where the model knows it; else of its last sample."""
    words: list[tuple[float, float]] = []
    """Of each of Segment.words; empty without word times."""


class Finished(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """A request has been spoken to its end; no message about it follows."""

    request_id: str
    stats: RequestStats


class Failed(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """A request was not spoken to its end; no message about it follows."""

    request_id: str
    code: FailureCode
    message: str
    field: str | None = None
    """The request field that cannot be spoken, with invalid_field."""


class Stats(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """Counters since start; none of them depends on a clock except busy_s."""

    requests: dict[str, int]
    """Outcome (finished, aborted, failed, expired) to requests."""
    steps: dict[str, int]
    """Stage to steps."""
    rows: dict[str, int]
    """Stage to rows run, padding left out."""
    padded_units: dict[str, int]
    """Stage to units (rows times length) computed only as padding."""
    bucket_misses: dict[str, int]
    """Stage to steps that found no captured shape. Zero under a graph profile."""
    chunks: int
    copies_to_host: int
    busy_s: float
    """Time inside steps."""
    slots_used: int
    slots: int
    waiting_segments: int
    in_flight: int
    """Requests that have not ended, those that wait for more text among them: they may hold no slot."""
    max_rows: dict[str, int] = {}
    """Stage to the rows of a full batch."""
    step_times: dict[str, list[int]] = {}
    """Stage to steps by their time: one count for each bound of STEP_BUCKETS_S, and one for what is longer."""
    step_s: dict[str, float] = {}
    """Stage to the time of all its steps."""


class Broken(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """The engine cannot start or go on (no such device, bad model options); it exits after this."""

    message: str


FromEngine = Warming | Ready | Chunk | Times | Finished | Failed | Stats | Broken

# ---- errors that the caller of the engine sees -----------------------------------------------------------------


class InputError(ValueError):
    """A request field is wrong. `field` names it as the client wrote it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class VoiceConflict(InputError):
    """A voice cannot be added or deleted as things stand: the name is taken, the store is full, it is needed."""


class VoiceUnknown(InputError):
    """There is no voice of this name to delete."""


class Overloaded(RuntimeError):
    """Admission is full. Nothing was queued; try again after retry_after_s seconds."""

    passes = True
    """It is worth while to wait for room, with the caller's connection open."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotReady(Overloaded):
    """The engine is starting, warming or being restarted. The message may say why in the words of an exception, `told`
    is what clients are told.
    """

    passes = False

    def __init__(self, message: str, retry_after_s: float, told: str | None = None) -> None:
        super().__init__(message, retry_after_s)
        self.told = told or message


class SpeechFailed(RuntimeError):
    """An admitted request did not reach its end. The message is for the log, `told` is what clients are told."""

    def __init__(
        self,
        code: FailureCode,
        message: str,
        field: str | None = None,
        retry_after_s: float | None = None,
        reference: str = "",
    ) -> None:
        """`retry_after_s`: when the same request may do better, if that is known. `reference`: its name in the log."""
        super().__init__(message)
        self.code = code
        self.field = field
        self.retry_after_s = retry_after_s
        self.told = failed_inside(reference) if code == "internal" else message


def failed_inside(reference: str) -> str:
    """What a client is told of an error of ours: where to look, and nothing of what was found."""
    return f"the server failed on this request; its log says why under {reference}"
