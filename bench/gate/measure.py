"""What the regression gate measures, and how: base and head side by side, in rounds of adjacent pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.gate.probe import Request
from bench.gate.side import Side, SideFailed
from bench.gate.verdict import Better, Pair
from bench.workload import texts

TEXT_SEED = 1806
WARMUPS = 3
BATCH = 4
ENCODE_AUDIO_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure that base and head are compared by."""

    name: str
    unit: str
    better: Better
    task: str
    """The task that measures it; metrics of one task share its measurements."""
    needs: str
    """probe or server."""
    meaning: str


METRICS = (
    Metric(
        name="engine.stream_cpu", unit="CPU s / audio s", better="lower", task="stream", needs="probe",
        meaning="CPU seconds of the engine on one thread per second of audio, one streaming request",
    ),
    Metric(
        name="engine.batch_cpu", unit="CPU s / audio s", better="lower", task="batch", needs="probe",
        meaning=f"the same with {BATCH} requests at once and nobody listening",
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
        meaning="/tts/stream at one client: request to first audio byte",
    ),
    Metric(
        name="http.throughput_1", unit="audio s / s", better="higher", task="http", needs="server",
        meaning="/tts/stream at one client: seconds of audio per second",
    ),
    Metric(
        name=f"http.throughput_{BATCH}", unit="audio s / s", better="higher", task="burst", needs="server",
        meaning=f"/tts/stream at {BATCH} clients: seconds of audio per second",
    ),
)  # fmt: skip

GATE_OVERRIDES = ("engine.workers=1", "engine.threads=1")
"""Threads of one operation wait for each other, so a neighbour that takes a core for a moment slows them all:
one thread per side is what a small shared machine can time. --set engine.threads=N wins over it."""

COUNTS = "counts"
"""The name that selects all counts; each is its own metric, counts.<counter>.<stage>."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to measure."""

    rounds: int
    """Rounds of the engine: a new engine in each, with its weights laid out afresh."""
    rounds_per_process: int
    """After so many rounds the engine's process is started anew as well."""
    server_rounds: int
    """Rounds through HTTP: new servers in each."""
    round_s: float
    """Time for the pairs of a round; at least MIN_PAIRS of each task whatever it takes."""

    def longer(self) -> Effort:
        """For the confirmation of a suspect."""
        return Effort(
            rounds=self.rounds + 1,
            rounds_per_process=self.rounds_per_process,
            server_rounds=self.server_rounds + 1,
            round_s=self.round_s * 1.5,
        )


MIN_PAIRS = 6
MIN_COUNTS = 2
"""Rounds that count: a count that differs between them depends on a clock."""
FULL = Effort(rounds=8, rounds_per_process=4, server_rounds=5, round_s=12.0)
QUICK = Effort(rounds=5, rounds_per_process=5, server_rounds=3, round_s=4.0)


@dataclass(kw_only=True)
class Measured:
    """Everything that was measured: metric to rounds of pairs, count to a value per round of each side."""

    pairs: dict[str, list[list[Pair]]] = field(default_factory=dict)
    counts: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """probe or server to why a side of it could not be measured."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Where a side's code lies, and what is set in its environment."""

    path: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    overrides: Sequence[str] = ()
    """Settings of this side alone; the sweep compares two settings of one tree."""


Progress = Callable[[str], None]
Values = dict[str, float]


def measure(
    base: Tree,
    head: Tree,
    metrics: Sequence[str],
    effort: Effort,
    *,
    profile: str,
    overrides: Sequence[str],
    progress: Progress,
) -> Measured:
    """Measure the named metrics (COUNTS for all counts). A side that fails is a failure, not an exception."""
    measured = Measured()
    settings = [*GATE_OVERRIDES, *overrides]
    wanted = [metric for metric in METRICS if metric.name in metrics]

    def both(stack: ExitStack) -> list[Side]:
        return [
            stack.enter_context(Side(name, tree.path, profile, [*settings, *tree.overrides], tree.environ))
            for name, tree in (("base", base), ("head", head))
        ]

    tasks = tasks_of(wanted, "probe")
    if tasks or COUNTS in metrics:
        try:
            for first in range(0, effort.rounds, effort.rounds_per_process):
                with ExitStack() as stack:
                    sides = both(stack)
                    _at_once(Side.start_probe, sides)
                    for number in range(first, min(first + effort.rounds_per_process, effort.rounds)):
                        progress(f"engine: round {number + 1} of {effort.rounds}")
                        if number > first:
                            _at_once(_restart, sides)
                        if COUNTS in metrics and number < MIN_COUNTS:
                            _count(sides, measured)
                        _round(sides, tasks, effort.round_s, number, measured)
        except SideFailed as failure:
            measured.failures["probe"] = str(failure)
    if tasks := tasks_of(wanted, "server"):
        try:
            for number in range(effort.server_rounds):
                progress(f"HTTP: round {number + 1} of {effort.server_rounds}")
                with ExitStack() as stack:
                    sides = both(stack)
                    _at_once(Side.start_server, sides)
                    _round(sides, tasks, effort.round_s, number, measured)
        except SideFailed as failure:
            measured.failures["server"] = str(failure)
    names = {metric.name for metric in wanted}
    measured.pairs = {name: rounds for name, rounds in measured.pairs.items() if name in names}
    return measured


def tasks_of(metrics: Sequence[Metric], needs: str) -> list[str]:
    """The tasks that measure the metrics with this need, each once."""
    return list(dict.fromkeys(metric.task for metric in metrics if metric.needs == needs))


def _at_once(action: Callable[[Side], object], sides: Sequence[Side]) -> None:
    """Do it to both sides at the same time and wait for both. Raises the first SideFailed.

    When interrupted it ends the processes and waits until both threads have seen that, so that none of them
    starts a server behind the back of the caller's clean-up.
    """
    with ThreadPoolExecutor(len(sides)) as pool:
        started = [pool.submit(action, side) for side in sides]
        try:
            wait(started)
        except KeyboardInterrupt:
            for child in psutil.Process().children():
                child.kill()
            wait(started)
            raise
    for future in started:
        future.result()


def _restart(side: Side) -> None:
    side.ask(Request(what="restart"))


def _round(sides: Sequence[Side], tasks: Sequence[str], round_s: float, number: int, into: Measured) -> None:
    """Warm both sides, then measure pairs of every task in turn until the time is up."""
    for task in tasks:
        for index in range(WARMUPS):
            for side in sides:
                TASKS[task](side, index)
    found: dict[str, list[Pair]] = {}
    until_s = time.monotonic() + round_s
    index = 0
    while index < MIN_PAIRS or time.monotonic() < until_s:
        for task in tasks:
            values: list[Values] = [{}, {}]
            for which in (0, 1) if (index + number) % 2 == 0 else (1, 0):
                values[which] = TASKS[task](sides[which], index)
            for name in values[0]:
                found.setdefault(name, []).append((values[0][name], values[1][name]))
        index += 1
    for name, pairs in found.items():
        into.pairs.setdefault(name, []).append(pairs)


def _count(sides: Sequence[Side], into: Measured) -> None:
    replies = [side.ask(Request(what="counts", texts=SHORT, streaming=True)) for side in sides]
    for name in sorted(set(replies[0].counts) | set(replies[1].counts)):
        base, head = into.counts.setdefault(f"{COUNTS}.{name}", ([], []))
        base.append(replies[0].counts.get(name, 0.0))
        head.append(replies[1].counts.get(name, 0.0))


SHORT = texts("short", 16, TEXT_SEED)
BYTES_PER_AUDIO_SECOND = 48_000.0
"""Any constant does: the audio is the same on both sides, and only the ratio counts."""


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
    first_s, total_s, size = side.stream(SHORT[index % len(SHORT)])
    return {"http.ttfa": first_s, "http.throughput_1": size / BYTES_PER_AUDIO_SECOND / total_s}


def _burst(side: Side, index: int) -> Values:
    chosen = [SHORT[(index * BATCH + offset) % len(SHORT)] for offset in range(2 * BATCH)]
    total_s, size = side.burst(chosen, BATCH)
    return {f"http.throughput_{BATCH}": size / BYTES_PER_AUDIO_SECOND / total_s}


TASKS: dict[str, Callable[[Side, int], Values]] = {
    "stream": _stream,
    "batch": _batch,
    "frontend": _frontend,
    "encode": _encode,
    "http": _http,
    "burst": _burst,
}
