"""Sample, Cell and Run: the JSON of a benchmark, and every metric, defined here and nowhere else.

A run holds raw samples: for each request the times and sizes of the audio as it arrived. Every statistic is
derived from them by the functions below, so a report can be made again, or differently, from the same file.

Clock: all times of a sample are seconds on the monotonic clock of the load generator, counted from the start
of its cell. A listener is a player that starts at the first audio byte and never waits on purpose.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import msgspec

SCHEMA_VERSION = 1

ErrorKind = Literal[
    "refused", "http_error", "truncated", "timeout", "connect", "wrong_sample_count", "empty", "bad_audio"
]
"""refused: 429 or 503. http_error: another status than 200. truncated: the answer broke off before its end
mark. wrong_sample_count: whole answer, but not the samples its header states. empty: no audio. bad_audio: the
body is not the audio that was asked for."""

Mode = Literal["closed", "open"]
Verdict = Literal["VALID", "INVALID"]

STALL_LIMITS_S = (0.0, 0.05, 0.1, 0.2)


class Sample(msgspec.Struct, kw_only=True):
    """One request as its client saw it."""

    index: int
    text: str
    characters: int
    due_s: float
    """When the schedule (open loop) or the free client (closed loop) wanted it sent."""
    sent_s: float
    """When its first byte was handed to the socket."""
    header_s: float | None = None
    """When the response's header was complete."""
    events: list[tuple[float, int]] = msgspec.field(default_factory=list)
    """(time_s, payload_bytes) of the audio after any container header: one event per HTTP chunk, stamped when
    its first audio byte was read; one per socket read if the body is not chunked."""
    end_s: float
    """When the last byte was read, or the request failed."""
    status: int | None = None
    error: ErrorKind | None = None
    detail: str = ""
    """What went wrong, in words."""
    streaming: bool = True
    format: Literal["wav", "pcm"] = "wav"
    sample_rate_hz: int = 0
    frame_bytes: int = 2
    """Bytes of one sample of all channels."""
    stated_samples: int | None = None
    """What the answer's own header promises; None if it promises none."""
    ignored: list[str] = msgspec.field(default_factory=list)
    """Request fields that the server said it did not use."""
    wave: str | None = None
    """File of the kept audio, relative to the run's JSON."""
    transcript: str | None = None
    wer: float | None = None


class Generator(msgspec.Struct, kw_only=True):
    """Health of the load generator during a cell."""

    lateness_p50_s: float
    lateness_p99_s: float
    """sent_s - due_s of all requests."""
    loop_lag_p99_s: float
    """How late a timer of the generator's event loop fired: starved if large, whatever the load."""
    cpu_share: float
    """CPU seconds of the generator process per second, in cores."""
    machine_cpu_share: float
    """Busy share of all cores of the machine, 0 to 1."""


class Cell(msgspec.Struct, kw_only=True):
    """One load point: one arm, one kind of load, one stretch of time."""

    arm: str
    mode: Mode
    endpoint: Literal["/tts", "/tts/stream"]
    texts: str
    """Name of the text mix."""
    stage: str = ""
    """Of a staged load: ramp, hold, spike or soak."""
    clients: int | None = None
    """Closed loop: how many clients wait for their answer before they ask again."""
    rate_rps: float | None = None
    """Open loop: requests due per second."""
    arrivals: Literal["poisson", "constant"] | None = None
    repeat: int = 0
    order: int = 0
    """Position in the run's sequence of cells."""
    seed: int
    duration_s: float
    """How long requests were sent."""
    warmup_requests: int
    samples: list[Sample]
    generator: Generator
    server_before: dict[str, Any] | None = None
    server_after: dict[str, Any] | None = None
    """GET /stats after the warm-up and after the cell, if the server offers it."""
    server_cpu_share: float | None = None
    """CPU seconds of the server's processes per second of the cell and its warm-up, in cores."""
    others_cpu_share: float | None = None
    """The same of all that is neither server nor generator: other programs, the kernel, the hypervisor."""
    word_error_rate: float | None = None
    """Over the waves of this cell that the quality gate heard."""
    waves_heard: int = 0
    verdict: Verdict = "VALID"
    reasons: list[str] = msgspec.field(default_factory=list)

    @property
    def load(self) -> str:
        """The load point in words: `8 clients` or `4 requests/s`."""
        if self.mode == "closed":
            return f"{self.clients} client{'' if self.clients == 1 else 's'}"
        return f"{self.rate_rps:g} requests/s"


class ColdStart(msgspec.Struct, kw_only=True):
    """The first moments of an arm. Never pooled with warm figures."""

    ready_s: float
    """Process start to the first 200 of /readyz: imports, load, compile and capture."""
    first_request_s: float
    """Due to end of the first request after that."""
    first_ttfa_s: float


class Arm(msgspec.Struct, kw_only=True):
    """A server under test."""

    name: str
    description: str
    info: dict[str, Any] = msgspec.field(default_factory=dict)
    """What its /readyz says: model, voice, device, profile, run id."""
    cold_starts: list[ColdStart] = msgspec.field(default_factory=list)
    failure: str | None = None
    """Why it could not be measured; a failed start is a failed run, never a zero."""


class Slo(msgspec.Struct, frozen=True, kw_only=True):
    """What a listener accepts."""

    ttfa_s: float = 0.25
    stall_s: float = 0.1


class Run(msgspec.Struct, kw_only=True):
    """One benchmark run: everything that a report needs."""

    schema_version: int = SCHEMA_VERSION
    id: str
    started_at: str
    """UTC, ISO 8601."""
    duration_s: float = 0.0
    machine: dict[str, Any]
    """CPU model, cores, memory, kernel, versions. No host name and no path."""
    commit: str | None
    dirty: bool
    profile: str
    workload_seed: int
    warmup_rule: str
    quality: dict[str, Any] = msgspec.field(default_factory=dict)
    """Recogniser, its settings, the WER limit and the normalisation."""
    slo: Slo = Slo()
    noise_floor: dict[str, float] | None = None
    """Metric to the relative spread of A/A runs, if measured."""
    arms: list[Arm] = msgspec.field(default_factory=list)
    cells: list[Cell] = msgspec.field(default_factory=list)
    exclusions: list[str] = msgspec.field(default_factory=list)
    """What was left out, and why."""


def save_run(run: Run, path: Path) -> None:
    """Write the run as JSON. The folder is created; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))
    partial.replace(path)


def load_run(path: Path) -> Run:
    """Read a run. Raises ValueError for another schema version, msgspec.ValidationError for another shape."""
    data = path.read_bytes()
    version = msgspec.json.decode(data, type=dict[str, Any]).get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(f"{path.name}: schema_version {version}, this program reads {SCHEMA_VERSION}")
    return msgspec.json.decode(data, type=Run)


# ---- metrics of one request ------------------------------------------------------------------------------


def ttfa_s(sample: Sample) -> float | None:
    """Time to first audio: from when the request was due to its first audio byte after any header."""
    return sample.events[0][0] - sample.due_s if sample.events else None


def total_s(sample: Sample) -> float:
    """From when the request was due to its last byte."""
    return sample.end_s - sample.due_s


def audio_s(sample: Sample) -> float:
    """Seconds of audio received, from the payload itself and never from what a header claims."""
    if not sample.events:
        return 0.0
    return sum(size for _, size in sample.events) / sample.frame_bytes / sample.sample_rate_hz


def real_time_factor(sample: Sample) -> float | None:
    """total_s over audio_s: below 1 is faster than speech. The wait for a free server is inside."""
    seconds = audio_s(sample)
    return total_s(sample) / seconds if seconds else None


def gaps_s(sample: Sample) -> list[float]:
    """Times between successive audio chunks."""
    times = [time for time, _ in sample.events]
    return [later - earlier for earlier, later in pairwise(times)]


def stall_s(sample: Sample) -> float | None:
    """How long the listener's player would have run dry in all: the largest deficit at any chunk's arrival.

    max over chunks of (arrival - first arrival - audio delivered before it), at least 0. None without audio.
    """
    if not sample.events:
        return None
    first = sample.events[0][0]
    delivered = 0.0
    worst = 0.0
    for time, size in sample.events:
        worst = max(worst, time - first - delivered)
        delivered += size / sample.frame_bytes / sample.sample_rate_hz
    return worst


def meets(sample: Sample, slo: Slo) -> bool:
    """The request succeeded, began in time (not streamed: was whole in time) and never ran dry too long."""
    if sample.error is not None:
        return False
    first = ttfa_s(sample) if sample.streaming else total_s(sample)
    stall = (stall_s(sample) or 0.0) if sample.streaming else 0.0
    return first is not None and first <= slo.ttfa_s and stall <= slo.stall_s


# ---- metrics of many ------------------------------------------------------------------------------


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that at least `percent` % of the values do not exceed.

    It is always one of the values: nothing is interpolated or bucketed. Raises ValueError on no values.
    """
    if not values:
        raise ValueError("a percentile of no values")
    rank = math.ceil(round(percent / 100 * len(values), 9))
    return sorted(values)[max(rank, 1) - 1]


def supported(count: int, percent: float) -> bool:
    """Whether `count` values are enough to tell this percentile from the maximum (p95: 20, p99: 100)."""
    return count * (100 - percent) >= 100


class Distribution(msgspec.Struct, kw_only=True):
    """Exact percentiles; None where there are too few values."""

    count: int
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


def distribution(values: Iterable[float]) -> Distribution:
    """Mean, maximum and those percentiles that so many values support."""
    known = list(values)
    if not known:
        return Distribution(count=0, mean=None, p50=None, p95=None, p99=None, max=None)
    p95, p99 = (percentile(known, p) if supported(len(known), p) else None for p in (95, 99))
    mean = sum(known) / len(known)
    return Distribution(
        count=len(known), mean=mean, p50=percentile(known, 50), p95=p95, p99=p99, max=max(known)
    )


def good(samples: Iterable[Sample]) -> list[Sample]:
    """The samples that ended without error. Latencies are of these; the others are counted by kind."""
    return [sample for sample in samples if sample.error is None]


def errors_by_kind(samples: Iterable[Sample]) -> dict[str, int]:
    """Error kind to requests."""
    return dict(Counter(sample.error for sample in samples if sample.error is not None))


def window_s(samples: Sequence[Sample]) -> float:
    """From the first due time to the last end: the time that all rates below divide by.

    The last requests run beside ever fewer others, so a cell should last several times its longest request.
    """
    if not samples:
        return 0.0
    return max(sample.end_s for sample in samples) - min(sample.due_s for sample in samples)


def audio_seconds_per_second(samples: Sequence[Sample]) -> float:
    """Seconds of good audio made per second: the throughput that does not depend on the texts' length."""
    window = window_s(samples)
    return sum(map(audio_s, good(samples))) / window if window else 0.0


def requests_per_second(samples: Sequence[Sample]) -> float:
    """Good answers per second."""
    window = window_s(samples)
    return len(good(samples)) / window if window else 0.0


def goodput_rps(samples: Sequence[Sample], slo: Slo) -> float:
    """Answers per second that a listener accepts."""
    window = window_s(samples)
    return sum(meets(sample, slo) for sample in samples) / window if window else 0.0


def continuity(samples: Iterable[Sample]) -> dict[float, float] | None:
    """Share of good streams whose stall is at most 0, 50, 100 and 200 ms.

    A stream of a single chunk cannot run dry and says nothing, so it is left out; None if no stream is left.
    """
    streams = [sample for sample in good(samples) if sample.streaming and len(sample.events) > 1]
    stalls = [stall_s(sample) or 0.0 for sample in streams]
    if not stalls:
        return None
    return {limit: sum(stall <= limit for stall in stalls) / len(stalls) for limit in STALL_LIMITS_S}
