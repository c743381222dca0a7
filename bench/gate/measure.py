"""How the regression gate measures: base and head side by side, in rounds of adjacent pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field

import psutil

from bench.gate.messages import Request, hides_cpu, hides_time, overstates
from bench.gate.quality import QUALITY, Wave
from bench.gate.side import Side, SideFailed, Tree
from bench.gate.tasks import BATCH, COUNTS, HEARD, METRICS, ONCE, SHORT, TASKS, Values, tasks_of
from bench.gate.verdict import Pair
from bench.progress import Notify

WARMUPS = 3
GATE_OVERRIDES = ("engine.workers=1", "engine.threads=1")
"""Threads of one operation wait for each other, so a neighbour that takes a core for a moment slows them all:
one thread per side is what a small shared machine can time. --set engine.threads=N wins over it."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to measure."""

    rounds: int
    """Rounds of the engine: a new engine in each, with its weights laid out afresh."""
    rounds_per_process: int
    """After this number of rounds the engine's process is started anew as well."""
    server_rounds: int
    """Rounds through HTTP: new servers in each."""
    round_s: float
    """Time for the pairs of a round; at least MIN_PAIRS of each task, however long they take."""

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
MOST_DOUBTED = 1
"""Rounds in which head's probe may seem to hide time: a busy machine keeps one side waiting, but not each time. Such
a round does not count."""
FULL = Effort(rounds=8, rounds_per_process=4, server_rounds=5, round_s=12.0)
QUICK = Effort(rounds=5, rounds_per_process=5, server_rounds=3, round_s=4.0)


@dataclass(kw_only=True)
class Measurements:
    """Everything that was measured: metric to rounds of pairs, count to a value per round of each side."""

    pairs: dict[str, list[list[Pair]]] = field(default_factory=dict)
    counts: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    waves: tuple[list[Wave], list[Wave]] | None = None
    """Of the texts HEARD, of base and of head."""
    failures: dict[str, SideFailed] = field(default_factory=dict)
    """probe or server to why a side of it could not be measured."""

    def add(self, pairs: dict[str, list[Pair]]) -> None:
        """One more round of each metric."""
        for name, found in pairs.items():
            self.pairs.setdefault(name, []).append(found)


def measure(
    base: Tree,
    head: Tree,
    metrics: Sequence[str],
    effort: Effort,
    *,
    profile: str,
    overrides: Sequence[str],
    progress: Notify,
) -> Measurements:
    """Measure the named metrics (COUNTS for all counts, QUALITY for what is heard).

    A side that fails is a failure, not an exception.
    """
    found = Measurements()
    settings = [*GATE_OVERRIDES, *overrides]
    wanted = [metric for metric in METRICS if metric.name in metrics]

    def both(stack: ExitStack) -> list[Side]:
        return [
            stack.enter_context(Side(name, tree, profile, settings))
            for name, tree in (("base", base), ("head", head))
        ]

    tasks = tasks_of(wanted, "probe")
    doubted, stated_s = 0, [0.0, 0.0]
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
                            _count(sides, found)
                        for side in sides:
                            side.open_books()
                        pairs = _round(sides, tasks, effort.round_s, number)
                        books = [side.books() for side in sides]
                        stated_s = [
                            sum_s + book.stated_audio_s for sum_s, book in zip(stated_s, books, strict=True)
                        ]
                        if why := hides_cpu(*books):
                            raise SideFailed("head", why)
                        if why := hides_time(*books):
                            doubted += 1
                            if doubted > MOST_DOUBTED:
                                raise SideFailed("head", why)
                            continue
                        found.add(pairs)
        except SideFailed as failure:
            found.failures["probe"] = failure
    tasks = tasks_of(wanted, "server")
    if tasks or QUALITY in metrics:
        try:
            rounds = effort.server_rounds if tasks else 1
            for number in range(rounds):
                progress(f"HTTP: round {number + 1} of {rounds}")
                with ExitStack() as stack:
                    sides = both(stack)
                    _at_once(Side.start_server, sides)
                    if QUALITY in metrics and number == 0:
                        base_waves, head_waves = (side.speak(HEARD, BATCH) for side in sides)
                        found.waves = base_waves, head_waves
                    found.add(_round(sides, tasks, effort.round_s, number))
        except SideFailed as failure:
            found.failures["server"] = failure
    if found.waves is not None and "probe" not in found.failures:
        heard_s = [sum(wave.length_s for wave in waves) for waves in found.waves]
        if why := overstates((stated_s[0], stated_s[1]), (heard_s[0], heard_s[1])):
            found.failures["probe"] = SideFailed("head", why)
    names = {metric.name for metric in wanted}
    found.pairs = {name: rounds for name, rounds in found.pairs.items() if name in names}
    return found


def speaks(tree: Tree, *, profile: str, overrides: Sequence[str]) -> SideFailed | None:
    """Start head's server and let it say a text: why it does not, or None."""
    try:
        with Side("head", tree, profile, [*GATE_OVERRIDES, *overrides]) as side:
            side.start_server()
            side.ask_http(SHORT[0])
    except SideFailed as failure:
        return failure
    return None


def _at_once(action: Callable[[Side], object], sides: Sequence[Side]) -> None:
    """Do it to both sides at the same time and wait for both. Raises SideFailed, that of head if both fail.

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
    for future in reversed(started):
        future.result()


def _restart(side: Side) -> None:
    side.ask(Request(what="restart"))


def _round(sides: Sequence[Side], tasks: Sequence[str], round_s: float, number: int) -> dict[str, list[Pair]]:
    """Warm both sides, then measure pairs of every task in turn until the time is up: metric to pairs."""
    if not tasks:
        return {}
    timed = [task for task in tasks if task not in ONCE]
    for task in timed:
        for index in range(WARMUPS):
            for side in sides:
                TASKS[task](side, index)
    found: dict[str, list[Pair]] = {}

    def pair(task: str, index: int) -> None:
        values: list[Values] = [{}, {}]
        for which in (0, 1) if (index + number) % 2 == 0 else (1, 0):
            values[which] = TASKS[task](sides[which], index)
        for name in values[0]:
            found.setdefault(name, []).append((values[0][name], values[1][name]))

    until_s = time.monotonic() + round_s
    index = 0
    while timed and (index < MIN_PAIRS or time.monotonic() < until_s):
        for task in timed:
            pair(task, index)
        index += 1
    for task in tasks:
        if task in ONCE:
            pair(task, 0)
    return found


def _count(sides: Sequence[Side], into: Measurements) -> None:
    replies = [side.ask(Request(what="counts", texts=SHORT, streaming=True)) for side in sides]
    for name in sorted(set(replies[0].counts) | set(replies[1].counts)):
        base, head = into.counts.setdefault(f"{COUNTS}.{name}", ([], []))
        base.append(replies[0].counts.get(name, 0.0))
        head.append(replies[1].counts.get(name, 0.0))
