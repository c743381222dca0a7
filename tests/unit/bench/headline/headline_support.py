"""Runs with planted figures."""

from __future__ import annotations

from typing import Any

from bench.records import Arm, Cell, ColdStart, Generator, Run, Sample
from tests.unit.bench.support import heard

RATE_HZ = 24_000
CALM = Generator(
    lateness_p50_s=0.0, lateness_p99_s=0.001, loop_lag_p99_s=0.001, cpu_share=0.1, machine_cpu_share=0.9
)


def sample(index: int, *, ttfa_s: float, gap_s: float, chunks: int = 4, chunk_s: float = 0.5) -> Sample:
    """A stream of `chunks` chunks of `chunk_s` seconds of audio each, `gap_s` apart."""
    due = index * 1.0
    size = int(chunk_s * RATE_HZ) * 2
    events = [(due + ttfa_s + gap_s * number, size) for number in range(chunks)]
    return Sample(
        index=index, text="Hello.", characters=6, due_s=due, sent_s=due, header_s=due + 0.001, events=events,
        end_s=events[-1][0], heard=heard(), status=200, sample_rate_hz=RATE_HZ,
    )  # fmt: skip


def cell(arm: str, clients: int, *, ttfa_s: float, gap_s: float = 0.1, **fields: Any) -> Cell:
    """Twenty equal streams."""
    return Cell(
        arm=arm, mode="closed", endpoint="/tts/stream", texts="mixed", clients=clients, seed=1,
        duration_s=20.0, warmup_requests=2, generator=CALM,
        samples=[sample(index, ttfa_s=ttfa_s, gap_s=gap_s) for index in range(20)], **fields,
    )  # fmt: skip


def make_run() -> Run:
    """The server wins at 1 client, is even at 2 and loses at 4; at 8 the reference is INVALID."""
    arms = [
        Arm(
            name="server",
            description="this server",
            cold_starts=[ColdStart(ready_s=3.0, first_request_s=0.5, first_ttfa_s=0.1)],
        ),
        Arm(name="reference", description="a plain server <&>"),
        Arm(name="broken", description="never came up", failure="port taken"),
    ]
    void: dict[str, Any] = {"verdict": "INVALID", "reasons": ["late generator: sent 90 ms after due at p99"]}
    return Run(
        id="r1", started_at="2026-01-02T03:04:05Z", duration_s=60.0, machine={"cpu": "Test CPU", "cores": 2},
        commit="abc1234", dirty=False, profile="default", workload_seed=7, warmup_rule="two requests",
        noise_floor={"ttfa_p50_s": 0.08}, arms=arms, exclusions=["the first two requests of each cell"],
        cells=[
            cell("server", 1, ttfa_s=0.010), cell("reference", 1, ttfa_s=0.020),
            cell("server", 2, ttfa_s=0.021), cell("reference", 2, ttfa_s=0.020),
            cell("server", 4, ttfa_s=0.060, gap_s=0.7), cell("reference", 4, ttfa_s=0.030),
            cell("server", 8, ttfa_s=0.090), cell("reference", 8, ttfa_s=0.001, **void),
        ],
    )  # fmt: skip
