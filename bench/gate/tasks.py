"""What the regression gate compares base and head by, and the tasks that measure it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.gate.messages import Request
from bench.gate.side import Side
from bench.gate.verdict import CALL, Better
from bench.workload import texts

TEXT_SEED = 1806
BATCH = 4
ENCODE_AUDIO_S = 600.0

Values = dict[str, float]
"""Metric to its measured value."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure that base and head are compared by."""

    name: str
    unit: str
    better: Better
    task: str
    """The task that measures it; metrics of one task share its measurements."""
    needs: Literal["probe", "server"]
    meaning: str
    call: float = CALL
    """It is called from here on."""


MEMORY_CALL = 0.05
"""Starts of one server settle at one of two levels, 930 or 985 MiB here: with a pair a round, three or four rounds may
all show that step, of which no interval of so few rounds knows.
"""

METRICS = (
    Metric(
        name="engine.stream_cpu", unit="CPU s / audio s", better="lower", task="stream", needs="probe",
        meaning="CPU seconds of the engine on one thread per second of audio, one streaming request",
    ),
    Metric(
        name="engine.batch_cpu", unit="CPU s / audio s", better="lower", task="batch", needs="probe",
        meaning=f"the same with {BATCH} requests at once, none of them streaming",
    ),
    Metric(
        name="engine.batch_speed", unit="audio s / s", better="higher", task="batch", needs="probe",
        meaning="seconds of audio per second of the clock, the same batch",
    ),
    Metric(
        name="engine.first_chunk", unit="s", better="lower", task="stream", needs="probe",
        meaning="submission to the first samples inside the engine's process, one streaming request",
    ),
    Metric(
        name="micro.frontend", unit="CPU s", better="lower", task="frontend", needs="probe",
        meaning="text to segments, 16 texts of 60 characters",
    ),
    Metric(
        name="micro.encode", unit="CPU s", better="lower", task="encode", needs="probe",
        meaning=f"{ENCODE_AUDIO_S:g} s of samples to pcm in chunks of a quarter second",
    ),
    Metric(
        name="http.ttfa", unit="s", better="lower", task="http", needs="server",
        meaning="/tts/stream at one client: request to first sound",
    ),
    Metric(
        name="http.throughput_1", unit="audio s / s", better="higher", task="http", needs="server",
        meaning="/tts/stream at one client: seconds of audio per second",
    ),
    Metric(
        name=f"http.throughput_{BATCH}", unit="audio s / s", better="higher", task="burst", needs="server",
        meaning=f"/tts/stream at {BATCH} clients: seconds of audio per second",
    ),
    Metric(
        name="http.long_cpu", unit="CPU s / audio s", better="lower", task="long", needs="server",
        meaning="/tts with texts of 600 characters: CPU seconds of all of the server's processes per second of audio",
    ),
    Metric(
        name="http.long_speed", unit="audio s / s", better="higher", task="long", needs="server",
        meaning="the same by the clock: seconds of audio per second, answered whole",
    ),
    Metric(
        name="http.memory", unit="MiB", better="lower", task="memory", needs="server",
        meaning="peak resident memory of all of the server's processes, at the end of a round", call=MEMORY_CALL,
    ),
)  # fmt: skip

COUNTS = "counts"
"""The name that selects all counts; each is its own metric, counts.<counter>.<stage>."""


def tasks_of(metrics: Sequence[Metric], needs: Literal["probe", "server"]) -> list[str]:
    """The tasks that measure the metrics with this need, each once."""
    return list(dict.fromkeys(metric.task for metric in metrics if metric.needs == needs))


SHORT = texts("short", 16, TEXT_SEED)
LONG = texts("long", 4, TEXT_SEED + 2)
HEARD = texts("short", 12, TEXT_SEED + 1) + LONG[:2]
"""What base and head say for the comparison of their quality."""
BYTES_PER_AUDIO_SECOND = 48_000.0
"""Any constant does, for only the ratio counts: bench.gate.quality sees to it that both sides say as much."""


def _stream(side: Side, index: int) -> Values:
    reply = side.ask(Request(what="speak", texts=[SHORT[index % len(SHORT)]], streaming=True))
    return {"engine.stream_cpu": reply.cpu_s / reply.audio_s, "engine.first_chunk": reply.first_s}


def _batch(side: Side, index: int) -> Values:
    chosen = [SHORT[(index * BATCH + offset) % len(SHORT)] for offset in range(BATCH)]
    reply = side.ask(Request(what="speak", texts=chosen))
    return {
        "engine.batch_cpu": reply.cpu_s / reply.audio_s,
        "engine.batch_speed": reply.audio_s / reply.wall_s,
    }


def _frontend(side: Side, index: int) -> Values:
    return {"micro.frontend": side.ask(Request(what="frontend", texts=SHORT)).cpu_s}


def _encode(side: Side, index: int) -> Values:
    return {"micro.encode": side.ask(Request(what="encode", audio_s=ENCODE_AUDIO_S)).cpu_s}


def _http(side: Side, index: int) -> Values:
    first_s, total_s, size = side.ask_http(SHORT[index % len(SHORT)])
    return {"http.ttfa": first_s, "http.throughput_1": size / BYTES_PER_AUDIO_SECOND / total_s}


def _burst(side: Side, index: int) -> Values:
    chosen = [SHORT[(index * BATCH + offset) % len(SHORT)] for offset in range(2 * BATCH)]
    total_s, size = side.burst(chosen, BATCH)
    return {f"http.throughput_{BATCH}": size / BYTES_PER_AUDIO_SECOND / total_s}


def _long(side: Side, index: int) -> Values:
    before_s = side.server_cpu_s()
    answers = [side.ask_http(LONG[(2 * index + offset) % len(LONG)], "/tts") for offset in range(2)]
    used_s = side.server_cpu_s() - before_s
    audio_s = sum(size for *_, size in answers) / BYTES_PER_AUDIO_SECOND
    return {
        "http.long_cpu": used_s / audio_s,
        "http.long_speed": audio_s / sum(total_s for _, total_s, _ in answers),
    }


def _memory(side: Side, index: int) -> Values:
    return {"http.memory": side.server_memory_mib()}


ONCE = ("memory",)
"""Tasks that are measured once a round, at its end."""
TASKS: dict[str, Callable[[Side, int], Values]] = {
    "stream": _stream,
    "batch": _batch,
    "frontend": _frontend,
    "encode": _encode,
    "http": _http,
    "burst": _burst,
    "long": _long,
    "memory": _memory,
}
