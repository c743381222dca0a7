"""What the bench writes as JSON: samples, cells and runs of a load, and the sweep.

A run holds raw samples: for each request the times and sizes of the audio as it arrived. Every statistic is
derived from them by bench.metrics.

Clock: all times of a sample are seconds on the monotonic clock of the load generator, counted from the start
of its cell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from bench.heard import Heard

SCHEMA_VERSION = 2

ErrorKind = Literal[
    "refused", "http_error", "truncated", "timeout", "connect", "wrong_sample_count", "empty", "bad_audio"
]
"""refused: 429 or 503. http_error: another status than 200. truncated: the answer broke off before its end
mark. wrong_sample_count: whole answer, but not the samples its header states. empty: no audio. bad_audio: the
body is not the audio that was asked for."""

Encoding = Literal["s16", "u8", "s24", "s32", "f32", "f64", "ulaw", "alaw"]
"""How one sample of one channel lies in the raw audio: little-endian integers of so many bits, floats, or the 8 bits of
a telephone (G.711)."""
Mode = Literal["closed", "open"]
Endpoint = Literal["/tts", "/tts/stream"]
Validity = Literal["VALID", "INVALID"]

SPEED = "engine.batch_speed"
"""The regression gate's metric that the sweep takes for speed."""


class Sample(msgspec.Struct, kw_only=True):
    """One request as its client saw it."""

    index: int
    text: str
    characters: int
    due_s: float
    """When the schedule (open loop) or the free client (closed loop) wanted it sent."""
    sent_s: float
    """When the generator set about it: before a new connection was opened, whose time is part of every latency."""
    header_s: float | None = None
    """When the response's header was complete."""
    events: list[tuple[float, int]] = msgspec.field(default_factory=list)
    """(time_s, payload_bytes) of the audio after any container header: one event per socket read, for a chunk that
    begins in time and then waits is a wait. A compressed answer counts the bytes that its decoder gave."""
    chunks: int = 0
    """HTTP chunks or messages that held audio; 0: the body was sent whole."""
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
    channels: int = 1
    encoding: Encoding = "s16"
    codec: str | None = None
    """What the audio was decoded from, if it came coded: mp3, opus, aac or flac."""
    text_end_s: float | None = None
    """When the last word of a text that arrived word by word was due; None if it was sent at once."""
    left_s: float | None = None
    """When the listener went, on purpose, before the end; None if it heard it all."""
    stated_samples: int | None = None
    """What the answer's own header promises; None if it promises none."""
    ignored: list[str] = msgspec.field(default_factory=list)
    """Request fields that the server said it did not use."""
    wave: str | None = None
    """File of the kept audio, relative to the run's JSON."""
    heard: Heard | None = None
    """None for a request without audio."""
    doubts: list[str] = msgspec.field(default_factory=list)
    """What is wrong with its audio, in words; empty if nothing is."""
    transcript: str | None = None
    wer: float | None = None


class Generator(msgspec.Struct, kw_only=True):
    """Health of the load generator during a cell."""

    lateness_p50_s: float
    lateness_p99_s: float
    """sent_s - due_s of all requests."""
    loop_lag_p99_s: float
    """How late a timer of the generator's event loop fired: starved if this is large, at any load."""
    cpu_share: float
    """CPU seconds of the generator process per second, in cores."""
    machine_cpu_share: float
    """Busy share of all cores of the machine, 0 to 1."""


class LoadPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The load that an arm is measured at, the same for all arms.

    `clients` make a closed loop, `rate_rps` an open one with Poisson arrivals.
    """

    endpoint: Endpoint
    texts: str
    """Name of the text mix."""
    clients: int | None = None
    rate_rps: float | None = None

    @property
    def mode(self) -> Mode:
        return "closed" if self.rate_rps is None else "open"

    @property
    def load(self) -> str:
        """The load in words: `8 clients` or `4 requests/s`."""
        if self.rate_rps is not None:
            return f"{self.rate_rps:g} requests/s"
        return f"{self.clients} client{'' if self.clients == 1 else 's'}"

    @property
    def x(self) -> float:
        """The load as a number: clients, or requests per second."""
        return float(self.clients or 0) if self.rate_rps is None else self.rate_rps


class Cell(msgspec.Struct, kw_only=True):
    """One arm at one load point for one stretch of time."""

    arm: str
    mode: Mode
    endpoint: Endpoint
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
    server_cpu_s: float | None = None
    """CPU seconds of the server's processes from the first due time to the last answer, the warm-up left out."""
    server_peak_rss_bytes: int | None = None
    """Resident memory of the server's processes, each at its peak since its start."""
    energy_j: float | None = None
    """What the GPUs of this machine used in the same time, by NVML; None where there is none."""
    word_error_rate: float | None = None
    """Over the waves of this cell that the speech check transcribed."""
    waves_transcribed: int = msgspec.field(name="waves_heard", default=0)
    verdict: Validity = "VALID"
    reasons: list[str] = msgspec.field(default_factory=list)

    @property
    def point(self) -> LoadPoint:
        """The load point that this cell measures."""
        closed = self.mode == "closed"
        return LoadPoint(
            endpoint=self.endpoint,
            texts=self.texts,
            clients=self.clients if closed else None,
            rate_rps=None if closed else self.rate_rps,
        )


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


UNHEARD = "the speech check did not run"
"""Of a run that was interrupted: nothing in it was judged."""


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


class SwitchGain(msgspec.Struct, frozen=True, kw_only=True):
    """One switch of the profile, set on top of those before it."""

    name: str
    overrides: list[str]
    """What this switch sets, as --set takes it."""
    metric: str = SPEED
    """The figure that the gain is of."""
    gain: float | None = None
    """Times better than without the switch. None for the start, and for a switch that failed."""
    gain_low: float | None = None
    gain_high: float | None = None
    failure: str | None = None
    """Why it could not be measured; the next switch is then measured without it."""


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """A whole sweep, start first."""

    description: str
    switches: list[SwitchGain]


def write_json(record: msgspec.Struct, path: Path) -> None:
    """Write a record as JSON. The folder is created; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1))
    partial.replace(path)


def load_run(path: Path) -> Run:
    """Read a run. Raises ValueError that says what is wrong with it (no JSON, no run, another schema), or OSError."""
    data = path.read_bytes()
    try:
        content = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path.name} is no JSON: {error}") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version is None:
        raise ValueError(f"{path.name} is not a run of the bench: it has no schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"{path.name} has schema {version}, and this program reads {SCHEMA_VERSION}: its figures were taken by"
            f" other rules. Its own page stays as it is; measure again to compare"
        )
    try:
        return msgspec.json.decode(data, type=Run)
    except msgspec.ValidationError as error:
        raise ValueError(f"{path.name} is damaged: {error}") from None
