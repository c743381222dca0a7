"""One rate, or one number of simultaneous real-time streams, on a fresh server: the step of a search for capacity.

The search itself asks these again and again; each answer stands alone, for its server has heard nothing before.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from bench.load.generator import LoadPlan, Outcome, generate
from bench.load.listeners import bursts, listeners
from bench.servers.start import Server
from bench.workload import texts, warmup_texts

Fresh = Callable[[], AbstractContextManager[Server]]
"""Starts a server that has served nobody, and ends it: functools.partial(start_server, "granian") for one."""


def measure_rate(
    fresh: Fresh,
    rate_rps: float,
    *,
    duration_s: float,
    mix: str,
    seed: int,
    burst: int = 1,
    barge_in_share: float = 0.0,
) -> Outcome:
    """An open loop of `rate_rps` requests per second, in bursts of so many, of whom a share leaves early."""
    due = bursts(rate_rps, duration_s, burst, seed)
    with fresh() as server:
        return generate(
            LoadPlan(
                url=server.url,
                target=server.target,
                endpoint="/tts/stream",
                texts=texts(mix, len(due), seed),
                warmup_texts=warmup_texts(mix, 4, seed),
                due_s=due,
                duration_s=duration_s,
                listeners=listeners(len(due), seed, barge_in_share=barge_in_share),
            )
        )


def measure_streams(
    fresh: Fresh,
    streams: int,
    *,
    duration_s: float,
    mix: str,
    seed: int,
    think_mean_s: float = 0.0,
    barge_in_share: float = 0.0,
) -> Outcome:
    """`streams` listeners, each of whom plays what it got, thinks, and asks again: that many real-time streams."""
    # Nobody plays more than five texts a second.
    count = streams * (2 + round(5 * duration_s))
    with fresh() as server:
        return generate(
            LoadPlan(
                url=server.url,
                target=server.target,
                endpoint="/tts/stream",
                texts=texts(mix, count, seed),
                warmup_texts=warmup_texts(mix, min(max(2, streams), 8), seed),
                clients=streams,
                duration_s=duration_s,
                min_requests=streams,
                listeners=listeners(count, seed, think_mean_s=think_mean_s, barge_in_share=barge_in_share),
            )
        )
