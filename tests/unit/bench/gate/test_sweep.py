"""The sweep's switches and its table; the measuring is the gate's and tested there."""

from __future__ import annotations

from bench.gate.sweep import START, SWITCHES, markdown
from bench.gate.tasks import METRICS
from bench.records import SPEED, Sweep, SwitchGain
from serving.profile import load_profile


def test_every_switch_is_a_setting_of_the_profile_and_of_a_metric() -> None:
    names = {metric.name for metric in METRICS}
    assert SPEED in names
    for switch in SWITCHES:
        assert switch.metric in names
        assert switch.overrides or switch.before
        load_profile("default", [*START, *switch.before, *switch.overrides])


def test_the_table_shows_gains_and_failures() -> None:
    result = Sweep(
        description="how",
        switches=[
            SwitchGain(name="batching", overrides=["a=1"], gain=2.0, gain_low=1.8, gain_high=2.2),
            SwitchGain(name="bfloat16", overrides=["c=1"], failure="no such device"),
        ],
    )
    text = markdown(result)
    assert "| batching | `a=1` | engine.batch_speed | ×2.00 | 1.80 to 2.20 |" in text
    assert "INVALID: no such device" in text
