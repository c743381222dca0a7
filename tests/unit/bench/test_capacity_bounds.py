"""What the low-latency profiles hold in virtual time, with bounds: a worse policy or profile fails here."""

from __future__ import annotations

import pytest

from bench.simulate.costs import load_costs
from bench.simulate.report import Row
from bench.simulate.virtual import Simulation, open_simulation
from bench.workload import arrivals


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    overrides = ["model.options.weights=random"]
    return open_simulation("indextts2-low-latency", overrides, load_costs("h100-fused"), seconds=5.0)


def test_ten_requests_a_second_are_heard_soon(simulation: Simulation) -> None:
    samples = simulation.rate(arrivals("poisson", 10, 5.0, 1), mix="")
    row = Row.of("", "", samples)
    assert row.ttfa_p95_ms < 150
    assert row.worst_underrun_ms < 100
    assert sum(len(sample.events) for sample in samples) <= 3.1 * len(samples)


def test_sixty_four_streams_are_spoken_faster_than_a_hundred_audio_seconds_a_second(
    simulation: Simulation,
) -> None:
    samples = simulation.streams(64, mix="", duration_s=5.0)
    assert Row.of("", "", samples).audio_s_per_s > 100
    assert sum(len(sample.events) for sample in samples) <= 3.5 * len(samples)
