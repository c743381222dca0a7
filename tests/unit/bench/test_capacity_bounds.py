"""What the low-latency profiles hold in virtual time, with bounds: a worse policy or profile fails here."""

from __future__ import annotations

import msgspec
import pytest

from bench.simulate.costs import load_costs
from bench.simulate.report import Row
from bench.simulate.virtual import Simulation, open_simulation
from bench.workload import arrivals


def open_fused(beside: float, *overrides: str, new_voice_every: int = 0) -> Simulation:
    table = msgspec.structs.replace(load_costs("h100-fused"), beside=beside)
    settings = ["model.options.weights=random", *overrides]
    return open_simulation(
        "indextts2-low-latency", settings, table, seconds=5.0, new_voice_every=new_voice_every
    )


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return open_fused(0.6)


def test_ten_requests_a_second_are_heard_soon(simulation: Simulation) -> None:
    samples = simulation.rate(arrivals("poisson", 10, 5.0, 1), mix="")
    row = Row.of("", "", samples)
    assert row.ttfa_p95_ms < 95
    assert row.worst_underrun_ms == 0
    assert sum(len(sample.events) for sample in samples) <= 2.1 * len(samples)


def test_twenty_requests_a_second_are_heard_soon_and_never_run_dry(simulation: Simulation) -> None:
    row = Row.of("", "", simulation.rate(arrivals("poisson", 20, 5.0, 1), mix=""))
    assert row.ttfa_p95_ms < 150
    assert row.worst_underrun_ms == 0


@pytest.mark.parametrize("beside", [0.3, 0.6])
def test_sixty_four_streams_are_spoken_without_a_gap(beside: float) -> None:
    samples = open_fused(beside).streams(64, mix="", duration_s=4.0)
    row = Row.of("", "", samples)
    assert row.audio_s_per_s > 110
    assert row.worst_underrun_ms < 50
    assert sum(len(sample.events) for sample in samples) <= 2.1 * len(samples)


def test_a_new_voice_delays_the_others_little_beside_them() -> None:
    def others(side_streams: str) -> Row:
        simulation = open_fused(0.6, f"engine.side_streams={side_streams}", new_voice_every=5)
        samples = simulation.rate(arrivals("poisson", 5, 5.0, 1), mix="")
        return Row.of("", "", simulation.known(samples))

    before, after = others("false"), others("true")
    assert after.ttfa_p95_ms < 130 < before.ttfa_p95_ms
    assert after.worst_underrun_ms == 0
