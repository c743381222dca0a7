"""Predicted against measured: the same texts, from as many clients or at the same moments, in virtual time and not."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from statistics import mean

import msgspec

from bench.hearing.cores import over_cores
from bench.load.generator import LoadPlan, Outcome, generate
from bench.metrics import audio_s
from bench.records import Sample
from bench.servers.start import Server, start_server
from bench.simulate.costs import CostTable
from bench.simulate.measure import TONE, server_costs, table_of
from bench.simulate.report import Checked, Row
from bench.simulate.speeches import said
from bench.simulate.steps import StepMeter
from bench.simulate.virtual import Simulation
from bench.workload import arrivals, mean_characters, warmup_texts
from serving.models import load_frontend
from serving.profile import load_profile

CHARACTERS_PER_S = 12_000
"""Of the texts prepared for a closed loop: more than this CPU speaks."""
WARMUP = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A closed loop of `clients`, or `rate_rps` requests per second at random moments."""

    mix: str
    clients: int = 0
    rate_rps: float = 0.0

    @property
    def name(self) -> str:
        """As it stands in the report."""
        if self.rate_rps:
            return f"{self.rate_rps:g} requests/s"
        return f"{self.clients} client{'s' if self.clients > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Check:
    """What a check was made of."""

    table: CostTable
    found: list[Checked]


def check(
    profile_name: str,
    overrides: Sequence[str],
    loads: Sequence[Load],
    *,
    open_simulation: Callable[[CostTable], Simulation],
    say: Callable[[str], None],
    seed: int = 1,
    duration_s: float = 2.5,
    repeats: int = 2,
) -> Check:
    """Measure costs and loads in turns, for the speed of a machine drifts; then predict the same loads by the costs.

    No figure of a load goes into the prediction. Raises ProfileError.
    """
    profile = load_profile(profile_name, overrides)
    frontend = load_frontend(profile)
    measured: dict[Load, list[Row]] = {load: [] for load in loads}
    with ExitStack() as stack:
        # Nothing is measured yet: both servers and the model load side by side.
        with ThreadPoolExecutor(2) as pool:
            starts = [
                pool.submit(stack.enter_context, start_server("granian", profile_name, overrides=more))
                for more in (TONE, overrides)
            ]
            meter = StepMeter(profile, frontend)
        tone, running = (start.result() for start in starts)
        meter.round()
        say("measuring what the server costs beside its engine")
        server = server_costs(tone, profile, frontend, meter)
        for repeat in range(repeats):
            meter.round()
            for load in loads:
                say(f"{load.name}, {load.mix} texts")
                outcome = _measured(running, load, duration_s, seed + repeat)
                measured[load].append(_row(load, outcome))
    table = table_of(meter, server)
    say("predicting")
    simulation = open_simulation(table)

    def predict(number: int) -> Row:
        repeat, load = divmod(number, len(loads))
        samples = _predicted(simulation, loads[load], duration_s, seed + repeat)
        row = Row.of(loads[load].name, loads[load].mix, samples)
        return msgspec.structs.replace(
            row, cpu_ms_per_audio_s=1e3 * simulation.cores_s / sum(map(audio_s, samples))
        )

    predicted = over_cores(predict, len(loads) * repeats)
    found = [
        Checked(predicted=_mean(predicted[number :: len(loads)]), measured=_mean(measured[load]))
        for number, load in enumerate(loads)
    ]
    return Check(table, found)


def _measured(server: Server, load: Load, duration_s: float, seed: int) -> Outcome:
    due_s = _due_s(load, duration_s, seed)
    wanted = len(due_s) or round(CHARACTERS_PER_S / mean_characters(load.mix) * duration_s) + load.clients
    return generate(
        LoadPlan(
            url=server.url,
            endpoint="/tts/stream",
            texts=list(islice(said(load.mix, seed), wanted)),
            warmup_texts=warmup_texts(load.mix, WARMUP, seed),
            clients=load.clients or None,
            due_s=due_s or None,
            duration_s=duration_s,
            server_pid=server.pid,
            hears=False,
        )
    )


def _predicted(simulation: Simulation, load: Load, duration_s: float, seed: int) -> list[Sample]:
    if load.rate_rps:
        return simulation.rate(_due_s(load, duration_s, seed), mix=load.mix, seed=seed)
    return simulation.streams(load.clients, mix=load.mix, duration_s=duration_s, seed=seed)


def _due_s(load: Load, duration_s: float, seed: int) -> list[float]:
    return arrivals("poisson", load.rate_rps, 2 * duration_s, seed) if load.rate_rps else []


def _row(load: Load, outcome: Outcome) -> Row:
    """With who used the cores meanwhile."""
    samples = [sample for sample in outcome.samples if sample.error is None]
    lasted_s = max(sample.end_s for sample in outcome.samples)
    ours = outcome.generator.cpu_share + (outcome.server_cpu_s or 0.0) / lasted_s
    return msgspec.structs.replace(
        Row.of(load.name, load.mix, samples),
        cpu_ms_per_audio_s=1e3 * ours * lasted_s / sum(map(audio_s, samples)),
        others_cores=max(0.0, (os.cpu_count() or 1) * outcome.generator.machine_cpu_share - ours),
    )


def _mean(rows: Sequence[Row]) -> Row:
    """Each figure, averaged over the repeats."""
    figures = ["ttfa_p50_ms", "ttfa_p95_ms", "audio_s_per_s", "without_underrun"]
    figures += ["cpu_ms_per_audio_s", "others_cores"]
    middle = {name: mean(getattr(row, name) for row in rows) for name in figures}
    return msgspec.structs.replace(
        rows[0],
        requests=sum(row.requests for row in rows),
        worst_underrun_ms=max(row.worst_underrun_ms for row in rows),
        **middle,
    )
