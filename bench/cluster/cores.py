"""What a second core brings: one engine and two, each on a core of its own, asked in turn in one Ray.

All three run at once, and those that are not asked wait. Each takes `slots` requests at a time, and there are five
times as many clients: behind the slots of two engines some wait too, though one has a few requests more than the other
(placing.SLACK). So either arm has as many requests to put into a step as an engine takes.
"""

from __future__ import annotations

import asyncio
import os
import statistics
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from bench.cluster import indextts2
from bench.cluster.asking import audio_s, together, told
from bench.cluster.nodes import Nodes, clustered, pin
from bench.faults.server import check
from bench.machine import cpu_s, tree_cpu_s
from serving.native.cores import usable_cores

SENTENCE = "The harbour was quiet when the first boats came home."
ALONE = ("engine.device=cpu", "engine.threads=1", "engine.workers=1", "cluster.cpus=0.5")
CLIENTS_PER_SLOT = 5
OTHERS = 0.1
CODES = 50
"""A second of audio of IndexTTS2."""


class Load(NamedTuple):
    """A model and how it is asked."""

    size: str
    settings: tuple[str, ...]
    profile: str
    text: str
    rate_hz: int
    slots: int
    turn_s: float
    rounds: int


LOADS = {
    "hibari": Load(
        size="the embedded voice in plain torch, so that speaking is what costs; answers of 40 s",
        settings=("model.options.kernels=torch", *ALONE),
        profile="default",
        text=f"{SENTENCE} " * 12,
        rate_hz=24_000,
        slots=8,
        turn_s=15.0,
        rounds=2,
    ),
    "indextts2": Load(
        size=f"IndexTTS2 from random weights, {indextts2.SIZE}; its own kernels, 10 Euler iterations, answers of 1 s",
        settings=(
            "model.name=bench.cluster.indextts2",
            f"model.options.min_codes={CODES}",
            f"model.options.max_codes={CODES}",
            "model.options.prompt_s=1",
            "model.options.flow_iterations=10",
            "model.options.flow_rows=4",
            "model.options.preload=default",
            *ALONE,
        ),
        profile="indextts2-default",
        text=SENTENCE,
        rate_hz=22_050,
        slots=4,
        turn_s=16.0,
        rounds=2,
    ),
}


class Turn(NamedTuple):
    """One arm, asked once."""

    rate: float
    """Seconds of audio per second."""
    engines: list[float]
    """Share of a core that each engine had."""
    rest: float
    """Cores that all else of this bench took: Ray, HTTP and the clients."""
    others: float
    """Cores that other programs took."""

    @property
    def efficiency(self) -> float:
        """Seconds of audio for each second of an engine's CPU time."""
        return self.rate / sum(self.engines)


class Arm:
    """A server, its engines pinned."""

    def __init__(self, url: str, engines: list[psutil.Process], load: Load) -> None:
        self.url = url
        self.engines = engines
        self._load = load

    def ask(self, duration_s: float) -> Turn:
        """A closed loop of clients. Raises FaultError unless all are answered."""
        before_s, all_before_s, (busy_before_s, _) = self._engines_s(), tree_cpu_s(os.getpid()), cpu_s()
        load = self._load
        clients = CLIENTS_PER_SLOT * load.slots
        heard, took_s = asyncio.run(
            together(self.url, load.text, clients, duration_s, paths=["/tts"], voices=[None])
        )
        all_s, busy_s = tree_cpu_s(os.getpid()) - all_before_s, cpu_s()[0] - busy_before_s
        used_s = [now - then for now, then in zip(self._engines_s(), before_s, strict=True)]
        check(all(one.status == 200 and one.whole for one in heard), f"not all are whole: {told(heard)}")
        return Turn(
            audio_s(heard, load.rate_hz) / took_s,
            [used / took_s for used in used_s],
            (all_s - sum(used_s)) / took_s,
            max(0.0, busy_s - all_s) / took_s,
        )

    def _engines_s(self) -> list[float]:
        return [sum(engine.cpu_times()[:2]) for engine in self.engines]


def _said(turns: list[Turn]) -> str:
    """Their medians."""
    shares = [statistics.median(shares) for shares in zip(*(turn.engines for turn in turns), strict=True)]
    return (
        f"{statistics.median(turn.rate for turn in turns):.2f} audio s/s "
        f"(engines {', '.join(f'{share:.2f}' for share in shares)} of a core, "
        f"{statistics.median(turn.efficiency for turn in turns):.2f} s of audio for each second of it; "
        f"Ray, HTTP and clients {statistics.median(turn.rest for turn in turns):.2f}, "
        f"other programs {statistics.median(turn.others for turn in turns):.2f})"
    )


def _quiet(pair: list[Turn]) -> bool:
    """Whether other programs left both turns alone."""
    return all(turn.others <= OTHERS for turn in pair)


def cores(ray: Nodes, folder: Path, model: str) -> str:
    """One engine and two in turn; the ratio is of each round's pair.

    Rounds in which other programs took more than OTHERS of a core are left out, if any are left, and others take their
    place, up to twice as many.
    """
    load = LOADS[model]
    settings: dict[str, Any] = {"slots_each": load.slots, "profile": load.profile}
    with ExitStack() as held:
        arms: list[Arm] = []
        known: set[int] = set()
        for engines in (1, 2):
            victim = held.enter_context(clustered(ray, folder, engines, *load.settings, **settings))
            pinned = pin(engines, known)
            known |= {engine.pid for engine in pinned}
            arms.append(Arm(victim.url, pinned, load))
            arms[-1].ask(3)
        pairs: list[list[Turn]] = []
        while sum(map(_quiet, pairs)) < load.rounds and len(pairs) < 2 * load.rounds:
            forward = len(pairs) % 2 == 0
            pair = [arm.ask(load.turn_s) for arm in (arms if forward else reversed(arms))]
            pairs.append(pair if forward else pair[::-1])
    kept = list(filter(_quiet, pairs)) or pairs
    ratios = [two.rate / one.rate for one, two in kept]
    alone = [(usable_cores() - two.rest) * two.efficiency / one.efficiency for one, two in kept]
    disturbed = "" if _quiet(kept[0]) else ", ALL DISTURBED by other programs"
    return (
        f"{load.size}; {usable_cores()} cores, each engine one thread on one of them, "
        f"{CLIENTS_PER_SLOT * load.slots} clients, {load.slots} slots of each engine; "
        f"{len(kept)} of {len(pairs)} rounds of {load.turn_s:.0f} s{disturbed}. "
        f"One engine: {_said([one for one, _ in kept])}. "
        f"Two: {_said([two for _, two in kept])}. "
        f"{statistics.median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f}); by CPU times, if nothing "
        f"else ran and one had its core to itself, {statistics.median(alone):.2f} times "
        f"({min(alone):.2f} to {max(alone):.2f})"
    )
