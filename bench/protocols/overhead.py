"""POST /v1/audio/speech with pcm against POST /tts/stream: the same speech, so what differs is the path.

Each pair asks both for the same texts with the same seeds, one after the other, in turn first (ABBA). CPU time of the
HTTP process is the figure with little noise; the times also hold the engine's work, which is the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.gate.verdict import Pair, estimate_slowdown
from bench.load.http1 import Connection
from bench.metrics import percentile
from bench.progress import Notify
from bench.protocols.client import connections, front_cpu_s, post_all
from bench.servers.start import Server
from bench.workload import texts

ROUNDS = 4
"""Blocks of pairs on one server, for the interval."""
PAIRS = 12
REQUESTS = {1: 6, 8: 24}
"""Clients to requests of each side of a pair."""


async def measure_overhead(server: Server, progress: Notify, effort: float) -> dict[str, Any]:
    """Ratios of /v1/audio/speech to /tts/stream, each with its interval of 95 %; 1 is no overhead."""
    figures: dict[str, Any] = {}
    pairs = max(2, round(PAIRS * effort))
    for clients, count in REQUESTS.items():
        spoken = texts("short", count, seed=3)
        rounds: dict[str, list[list[Pair]]] = {
            "CPU of the HTTP process": [],
            "first audio p50": [],
            "whole answer p50": [],
        }
        async with connections(server, clients) as opened:
            for number in range(ROUNDS):
                progress(f"overhead: {clients} clients, round {number + 1} of {ROUNDS}")
                blocks: dict[str, list[Pair]] = {name: [] for name in rounds}
                for pair in range(pairs):
                    sides: dict[str, dict[str, float]] = {}
                    for path in ("/tts/stream", "/v1/audio/speech")[:: 1 if pair % 2 else -1]:
                        sides[path] = await _side(server, opened, path, spoken)
                    for name, block in blocks.items():
                        block.append((sides["/tts/stream"][name], sides["/v1/audio/speech"][name]))
                for name, block in blocks.items():
                    rounds[name].append(block)
        for name, found in rounds.items():
            ratio = estimate_slowdown(found, "lower")
            figures[f"/v1/audio/speech over /tts/stream, {clients} clients, {name}"] = (
                f"{ratio.ratio:.4f} ({ratio.low:.4f} to {ratio.high:.4f})"
            )
        plain = [side for block in rounds["CPU of the HTTP process"] for side, _ in block]
        figures[f"/tts/stream, {clients} clients, CPU of the HTTP process, ms a request"] = percentile(
            plain, 50
        )
    return figures


async def _side(
    server: Server, opened: Sequence[Connection], path: str, spoken: Sequence[str]
) -> dict[str, float]:
    text, kind = ("text", "format") if path == "/tts/stream" else ("input", "response_format")
    bodies: list[dict[str, object]] = [
        {text: line, kind: "pcm", "seed": number} for number, line in enumerate(spoken)
    ]
    cpu_s = front_cpu_s(server)
    answers = await post_all(opened, path, bodies)
    return {
        "CPU of the HTTP process": (front_cpu_s(server) - cpu_s) / len(bodies) * 1000,
        "first audio p50": percentile([answer.bytes_after_ms() for answer in answers], 50),
        "whole answer p50": percentile([answer.complete_after_ms for answer in answers], 50),
    }
