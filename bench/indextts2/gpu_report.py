"""What bench gpu measured, as JSON and as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from bench.indextts2.gpu_parts import Part, Rates
from bench.metrics import audio_seconds_per_second, continuity, percentile, stall_s, ttfa_s
from bench.records import Sample, write_json
from serving.models.indextts2.voice.recordings import BUILT_IN

AIMS = {
    "decode over its floor, 1 and 32 rows": "<= 1.5",
    "real-time factor of one request": "<= 0.04",
    "audio s/s at 64 streams": ">= 100",
    "TTFA p50 at 1 stream": "<= 80 ms",
    "TTFA p95 at 32 streams": "<= 400 ms",
    "times the package, one request": ">= 8",
}
"""What the project set itself on an H100."""


class StreamLoad(msgspec.Struct, kw_only=True):
    """A number of streams at once, each with a new request when the one before has ended."""

    streams: int
    requests: int
    audio_s_per_s: float
    ttfa_p50_ms: float
    ttfa_p95_ms: float
    ttfa_max_ms: float
    stall_max_ms: float
    without_stall: float | None
    """Share of requests whose playback buffer never empties, of those with more than one chunk; None if none has."""
    stagger_s: float = 0.0
    """Over so long the streams began."""
    samples: list[Sample] = []
    """What the figures are made of: when each piece of audio came."""

    @classmethod
    def of(cls, streams: int, samples: list[Sample], stagger_s: float = 0.0) -> StreamLoad:
        """Raises ValueError without samples."""
        first_ms = [1e3 * first for sample in samples if (first := ttfa_s(sample)) is not None]
        smooth = continuity(samples)
        return cls(
            streams=streams,
            requests=len(samples),
            audio_s_per_s=audio_seconds_per_second(samples),
            ttfa_p50_ms=percentile(first_ms, 50),
            ttfa_p95_ms=percentile(first_ms, 95),
            ttfa_max_ms=max(first_ms),
            stall_max_ms=1e3 * max(stall_s(sample) or 0.0 for sample in samples),
            without_stall=None if smooth is None else smooth[0.0],
            stagger_s=stagger_s,
            samples=samples,
        )


class GpuRun(msgspec.Struct, kw_only=True):
    """A run of this command."""

    started_at: str
    machine: dict[str, Any]
    device: str
    commit: str | None
    dirty: bool
    profile: str
    dtype: str
    graphs: bool
    codes: int
    prompt_s: float
    tiny: bool
    warm_s: float = 0.0
    """Compiling and capturing, once per start."""
    memory_gib: float | None = None
    """Most of the device's memory that was allocated by ours."""
    rates: Rates | None = None
    parts: list[Part] = []
    beside: float | None = None
    """What two streams gain, decode beside the flow: 0 nothing, 1 all."""
    offline_wall_s: list[float] = []
    """One request without a listener, again and again."""
    offline_rtf: float | None = None
    loads: list[StreamLoad] = []
    package: dict[str, float] = {}
    """Of each mode of the package, its real-time factor at one request (median)."""
    left_out: list[str] = []
    failed: list[str] = []
    """Parts that raised, and what."""


def save(result: GpuRun, folder: Path) -> None:
    """Write result.json and result.md."""
    write_json(result, folder / "result.json")
    (folder / "result.md").write_text(markdown(result), encoding="utf-8")


def markdown(result: GpuRun) -> str:
    """The run as text and tables."""
    lines = [
        f"# IndexTTS2 offline on {result.device}",
        "",
        f"{result.started_at}, commit {(result.commit or 'unknown')[:10]}{' with changes' if result.dirty else ''}, "
        f"torch {result.machine['versions'].get('torch')}, profile {result.profile}, {result.dtype}, "
        f"CUDA graphs {'on' if result.graphs else 'off'}, {'toy' if result.tiny else 'official'} shapes, random "
        f"weights, {result.codes} codes a request, a cached voice ({BUILT_IN!r}) of {result.prompt_s:g} s. "
        f"Warm-up {result.warm_s:.1f} s.",
    ]
    if result.memory_gib is not None:
        lines.append(f"Most memory allocated: {result.memory_gib:.1f} GiB.")
    if result.rates is not None:
        rate = result.rates
        lines += [
            "",
            f"Memory {rate.measured_bytes_per_s / 1e9:.0f} GB/s and products {rate.measured_flops / 1e12:.2f} TFLOP/s "
            f"measured; the floors take {rate.bytes_per_s / 1e9:.0f} GB/s and {rate.flops / 1e12:.2f} TFLOP/s.",
            "",
            "| part | rows | shape | ms | per | floor ms | times the floor |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {p.name} | {p.rows} | {p.shape} | {p.ms:.3f} | {p.unit} | {p.floor_ms:.3f} | {p.ratio:.2f} |"
            for p in result.parts
        ]
    if result.beside is not None:
        lines += [
            "",
            f"Decode and flow on two streams at once gain {100 * result.beside:.0f} %, which is for "
            f"`bench simulate --beside {result.beside:.2f}`.",
        ]
    if result.offline_rtf is not None:
        lines += ["", f"One request: real-time factor {result.offline_rtf:.4f}."]
        for name, factor in result.package.items():
            times = factor / result.offline_rtf
            lines.append(f"The package in {name}: real-time factor {factor:.4f}, {times:.2f} times ours.")
    if result.loads:
        lines += [
            "",
            "| streams | requests | audio s/s | TTFA p50 ms | p95 | max | longest stall ms | without stall |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {x.streams} | {x.requests} | {x.audio_s_per_s:.2f} | {x.ttfa_p50_ms:.0f} | {x.ttfa_p95_ms:.0f} "
            f"| {x.ttfa_max_ms:.0f} | {x.stall_max_ms:.0f} | {_smooth(x)} |"
            for x in result.loads
        ]
    lines += ["", "Aims on an H100: " + "; ".join(f"{what} {aim}" for what, aim in AIMS.items()) + "."]
    lines += [f"Left out: {text}." for text in result.left_out]
    lines += [f"FAILED: {text}" for text in result.failed]
    return "\n".join(lines) + "\n"


def _smooth(load: StreamLoad) -> str:
    return "one chunk" if load.without_stall is None else f"{100 * load.without_stall:.0f} %"
