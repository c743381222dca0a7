"""What a probe offers: the plans are pure, and each is put to a server that has heard nothing."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from bench.capacity.probe import Load, measure, plan_of, replayed
from bench.load.trace import Asked
from bench.servers.start import Server, StartFailed, start_server
from bench.targets.spec import Target
from tests.unit.bench.support import FAKE

SERVER = Server("granian", "http://127.0.0.1:1", 1.0, {}, None)


def test_listeners_come_one_after_another_and_think() -> None:
    plan = plan_of(SERVER, "streams", 8, Load(duration_s=10.0, think_mean_s=2.0, barge_in_share=0.25), seed=1)
    assert (plan.clients, plan.due_s, plan.stagger_s) == (8, None, 2.5)
    assert len(plan.texts) == len(set(plan.texts)) == len(plan.listeners)
    assert all(one.think_s is not None for one in plan.listeners)
    going = sum(one.leave_after_s is not None for one in plan.listeners)
    assert going == round(0.25 * len(plan.listeners))


def test_an_open_loop_comes_in_bursts_and_another_seed_is_another_load() -> None:
    plans = [plan_of(SERVER, "rate", 6.0, Load(duration_s=50.0, burst=3), seed=seed) for seed in (1, 1, 2)]
    due = plans[0].due_s
    assert due is not None
    assert set(Counter(due).values()) == {3}
    assert 200 < len(due) < 400
    assert (plans[0].due_s, plans[0].texts) == (plans[1].due_s, plans[1].texts)
    assert plans[0].texts != plans[2].texts
    assert plans[0].clients is None


def test_text_word_by_word_goes_over_a_socket_or_not_at_all() -> None:
    plan = plan_of(SERVER, "streams", 1, Load(word_interval_s=0.05), seed=1)
    assert (plan.target.adapter, plan.target.word_interval_s) == ("omni", 0.05)
    other = Server("x", "http://127.0.0.1:1", None, {}, None, Target(name="x", adapter="openai"))
    with pytest.raises(StartFailed, match="x: text word by word needs a WebSocket, not the adapter openai"):
        plan_of(other, "streams", 1, Load(word_interval_s=0.05), seed=1)


def test_a_trace_is_replayed_at_the_rate_that_is_asked_for_until_the_time_is_full() -> None:
    trace = [Asked(time_s=time, characters=40 + time, voice="a", cancel_after_s=1.0) for time in (0, 1, 4, 9)]
    for rate in (0.5, 2.0, 10.0):
        found = replayed(trace, rate, 20.0)
        assert len(found) == pytest.approx(rate * 20.0, abs=4)
        times = [one.time_s for one in found]
        assert times == sorted(times)
        assert times[-1] < 20.0
    plan = plan_of(SERVER, "rate", 2.0, Load(duration_s=20.0, trace=trace), seed=1)
    assert [len(text) for text in plan.texts[:4]] == [40, 41, 44, 49]
    assert {(one.voice, one.leave_after_s) for one in plan.listeners} == {("a", 1.0)}
    assert replayed([Asked(time_s=0.0, characters=5)], 2.0, 1.0) != []


@pytest.mark.slow
def test_each_probe_has_a_fresh_server(tmp_path: Path) -> None:
    fresh = partial(start_server, "fake", spec=FAKE, timeout_s=30)
    waves = tmp_path / "waves"
    waves.mkdir()
    load = Load(duration_s=1.0, think_mean_s=0.0, burst=4, barge_in_share=0.5)
    rate = measure(fresh, "rate", 20.0, load, seed=1, order=0, waves=waves)
    assert rate.samples
    assert len(rate.samples) % 4 == 0
    assert [sample.error for sample in rate.samples] == [None] * len(rate.samples)
    streams = measure(fresh, "streams", 3, load, seed=1, order=1, waves=waves)
    # Each plays 0.2 s of audio before it asks again, and they come over a quarter of a second.
    assert 3 <= len(streams.samples) <= 21
    assert sorted(sample.due_s for sample in streams.samples)[1] > 0.05
    for cell in (rate, streams):
        assert cell.server_before is not None
        assert cell.server_before["requests"] <= 8, "the warm-up alone"
        assert cell.server_cpu_s is not None, "of which little was used"
        assert (cell.server_peak_rss_bytes or 0) > 2**20
        assert cell.energy_j is None
        assert all("waves/" in sample.wave for sample in cell.samples if sample.wave)
