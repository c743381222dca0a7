"""Cells whose every figure is set, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

from bench.records import Cell, Generator, Sample
from tests.unit.bench.support import heard

RATE_HZ = 24_000


def sample(
    index: int = 0, *, ttfa_s: float = 0.1, stall_s: float = 0.0, due_s: float = 5.0, **more: Any
) -> Sample:
    """Four seconds of audio in two pieces, heard from the first sample on."""
    first, second = due_s + ttfa_s, due_s + ttfa_s + 2.0 + stall_s
    usual: dict[str, Any] = {
        "index": index, "text": "a text of sixty characters", "characters": 60, "due_s": due_s, "sent_s": due_s,
        "end_s": second, "events": [(first, 4 * RATE_HZ), (second, 4 * RATE_HZ)], "chunks": 2, "status": 200,
        "sample_rate_hz": RATE_HZ, "heard": heard(0.0),
    }  # fmt: skip
    return Sample(**(usual | more))


def refused(index: int = 0) -> Sample:
    return sample(index, events=[], heard=None, error="refused", detail="status 429", status=429)


def cell(
    samples: list[Sample], *, arm: str = "granian", health: dict[str, float] | None = None, **more: Any
) -> Cell:
    calm = {"lateness_p50_s": 0.0, "lateness_p99_s": 0.001, "loop_lag_p99_s": 0.001, "cpu_share": 0.1}
    usual: dict[str, Any] = {
        "arm": arm, "mode": "closed", "endpoint": "/tts/stream", "texts": "short", "clients": 4, "seed": 1,
        "duration_s": 10.0, "warmup_requests": 2, "samples": samples, "others_cpu_share": 0.1, "server_cpu_s": 2.0,
        "server_peak_rss_bytes": 2**30,
        "generator": Generator(**(calm | {"machine_cpu_share": 0.5} | (health or {}))),
    }  # fmt: skip
    return Cell(**(usual | more))
