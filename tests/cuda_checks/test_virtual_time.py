"""The engine's own loop, scheduler and windows in virtual time, with the modelled costs of an H100.

The bounds are what the code does today, with room for a change of order: a change of scheduler, windows or profile that
costs the listeners more than that shows here. Better figures move the bounds.
"""

from __future__ import annotations

import pytest

from bench.simulate.costs import load_costs
from bench.simulate.report import Row
from bench.simulate.virtual import open_simulation
from bench.workload import arrivals

pytestmark = pytest.mark.slow

SECONDS = 5.0
"""Of speech in each request."""


@pytest.mark.parametrize(
    ("table", "alone_ms", "together_ms", "audio_s_per_s"),
    [("h100-today", 102.0, 400.0, 17.0), ("h100-fused", 46.0, 100.0, 23.0)],
)
def test_listeners_wait_no_longer_than_before(
    table: str, alone_ms: float, together_ms: float, audio_s_per_s: float
) -> None:
    simulation = open_simulation("indextts2-low-latency", [], load_costs(table), seconds=SECONDS)
    alone = Row.of("1 stream", "", simulation.streams(1, mix="", duration_s=1.0))
    assert alone.ttfa_p95_ms <= alone_ms
    assert alone.without_underrun == 1.0
    crowd = Row.of("5 requests/s", "", simulation.rate(arrivals("poisson", 5.0, 3.0, 1), mix=""))
    assert crowd.ttfa_p95_ms <= together_ms
    assert crowd.audio_s_per_s >= audio_s_per_s
