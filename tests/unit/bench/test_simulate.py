"""Virtual time: the machine's arithmetic, the fit of costs, and a load whose answer can be had by hand."""

from __future__ import annotations

import random

import msgspec
import pytest

from bench.metrics import audio_s, ttfa_s
from bench.simulate.command import main as simulate_main
from bench.simulate.costs import CostTable, ServerCost, Step, StepCost, Wait, fit, load_costs
from bench.simulate.engine import Hollow, VirtualRunner, VirtualWorkers
from bench.simulate.machine import Lane, Machine
from bench.simulate.speeches import speeches
from bench.simulate.virtual import open_simulation
from serving.engine.scheduler import Scheduler
from serving.models import load_frontend
from serving.profile import load_profile
from serving.protocol import Submit


def never() -> bool:
    return False


def test_tasks_share_the_cores_and_slow_each_other_down() -> None:
    machine = Machine(speeds=(1.0, 0.8))
    ended: list[tuple[str, float]] = []
    machine.work(1.0, lambda: ended.append(("a", machine.now_s)))
    machine.work(2.0, lambda: ended.append(("b", machine.now_s)))
    machine.advance(10.0, never)
    # Both at 0.8 until a has had its second; then b alone has one second to go.
    assert [name for name, _ in ended] == ["a", "b"]
    assert [moment_s for _, moment_s in ended] == pytest.approx([1.25, 2.25])
    assert machine.now_s == 10.0


def test_the_third_task_stands_in_a_queue_until_a_core_is_idle() -> None:
    machine = Machine(speeds=(1.0, 1.0))
    ended: list[float] = []
    for _ in range(3):
        machine.work(1.0, lambda: ended.append(machine.now_s))
    machine.advance(float("inf"), lambda: len(ended) == 3)
    # Two share a core until the other is idle and takes one of them.
    assert ended == pytest.approx([1.0, 1.5, 1.5])


def test_who_steps_back_has_less_of_the_core_that_it_shares() -> None:
    machine = Machine(speeds=(1.0, 1.0))
    ended: dict[str, float] = {}
    machine.work(1.0, lambda: ended.update(heavy=machine.now_s), 2.0)
    for name in ("one", "two"):
        machine.work(1.0, lambda name=name: ended.update({name: machine.now_s}), 0.5)  # type: ignore[misc]
    machine.advance(10.0, never)
    # The heavy one has four fifths of its core, though the other core has only what steps back.
    assert ended == pytest.approx({"heavy": 1.2, "one": 1.0, "two": 1.8})


def test_a_lane_does_one_thing_after_another() -> None:
    machine = Machine(speeds=(1.0, 1.0))
    lane = Lane(machine)
    ended: list[float] = []
    for _ in range(3):
        lane.do(1.0, lambda: ended.append(machine.now_s))
    machine.advance(5.0, never)
    assert ended == [1.0, 2.0, 3.0]


def test_what_begins_while_time_passes_counts() -> None:
    machine = Machine(speeds=(1.0,))
    ended: list[float] = []
    machine.at(1.0, lambda: machine.work(0.5, lambda: ended.append(machine.now_s)))
    machine.advance(float("inf"), lambda: bool(ended))
    assert ended == [1.5]


def test_time_that_stands_still_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="stands still"):
        Machine(speeds=(1.0,)).advance(float("inf"), never)


def test_the_fit_finds_the_costs_beneath_interruptions_and_pays_for_these_too() -> None:
    rng = random.Random(1)
    steps = []
    for _ in range(400):
        rows, length = rng.randint(1, 8), rng.randint(5, 100)
        seconds = 0.002 + 0.0005 * rows + 3e-5 * rows * length
        seconds *= rng.uniform(0.99, 1.01) * (3.0 if rng.random() < 0.05 else 1.0)
        steps.append(Step("decode", rows, rows * length, seconds))
    found = fit(steps)["decode"]
    assert found.of(4, 200) / found.of(1, 10) == pytest.approx(0.010 / 0.0028, rel=0.05)
    assert sum(found.of(step.rows, step.units) for step in steps) == pytest.approx(
        sum(step.seconds for step in steps)
    )


def test_a_curve_goes_on_straight_behind_its_last_point() -> None:
    cost = StepCost(units=(0.0, 10.0, 20.0), seconds=(0.0, 1.0, 3.0))
    assert [cost.of(1, units) for units in (5, 15, 30)] == pytest.approx([0.5, 2.0, 5.0])


TONE = CostTable(
    device="by hand",
    source="a test",
    stages={"embed": StepCost(fixed_s=0.010), "render": StepCost(fixed_s=0.020)},
    speeds=(1.0,),
    server=ServerCost(
        request_s=0.004,
        chunk_s=0.001,
        client_request_s=0.002,
        client_chunk_s=0.001,
        hop=Wait(idle_s=0.003, behind_s=0.003, pressing_s=0.003),
    ),
)


def test_one_client_is_served_when_the_costs_say() -> None:
    simulation = open_simulation("default", ["model.name=tone"], TONE, seconds=5)
    samples = simulation.streams(1, mix="short", duration_s=1.0)
    # Client 1 ms, hop 3, HTTP 2, hop 3, embed 10, render 20, hop 3, HTTP 1, hop 3, client 1; the last two take
    # twice as long, for the next window has half of the only core.
    assert {round(1e3 * (ttfa_s(sample) or 0), 3) for sample in samples} == {49.0}
    again = simulation.streams(1, mix="short", duration_s=1.0)
    assert [sample.events for sample in samples] == [sample.events for sample in again]


def test_the_loop_is_billed_for_each_step_of_a_single_worker_too() -> None:
    def first_s(turn_s: float) -> float:
        table = CostTable(
            device="by hand", source="a test", stages=TONE.stages, server=ServerCost(turn_s=turn_s)
        )
        simulation = open_simulation("default", ["model.name=tone"], table, seconds=5)
        return ttfa_s(simulation.streams(1, mix="short", duration_s=0.1)[0]) or 0.0

    assert first_s(0.001) == pytest.approx(first_s(0.0) + 0.002)


def test_the_loop_is_billed_for_outputs_and_for_looking_while_a_worker_is_idle() -> None:
    def first_s(**costs: StepCost | float) -> float:
        finishes = {name: cost for name, cost in costs.items() if isinstance(cost, StepCost)}
        server = {name: cost for name, cost in costs.items() if isinstance(cost, float)}
        table = CostTable(
            device="by hand",
            source="a test",
            stages=TONE.stages,
            finishes=finishes,
            speeds=(1.0, 1.0),
            server=msgspec.structs.replace(ServerCost(), **server),
        )
        simulation = open_simulation("default", ["model.name=tone"], table, seconds=5)
        return ttfa_s(simulation.streams(1, mix="short", duration_s=0.1)[0]) or 0.0

    plain = first_s()
    assert first_s(render=StepCost(fixed_s=0.005)) == pytest.approx(plain + 0.005)
    assert first_s(hand_s=0.001) == pytest.approx(plain + 2 * 0.001)
    # The worker ends its step while the loop looks: what is left of a look of 0.1 ms is waited for.
    assert plain <= first_s(poll_s=0.0001) <= plain + 2 * 0.0001


def test_rows_that_run_one_by_one_are_billed_by_their_own_lengths() -> None:
    def last_s(*, padded: bool) -> float:
        stage = StepCost(seconds=(0.0, 0.001))
        table = CostTable(
            device="by hand", source="a test", stages={"embed": stage, "render": stage}, padded=padded
        )
        simulation = open_simulation("default", ["model.name=tone"], table, seconds=5)
        return max(sample.end_s for sample in simulation.rate([0.0] * 4, mix="mixed"))

    assert last_s(padded=False) < last_s(padded=True)


@pytest.mark.slow
def test_the_voice_is_timed_alike_whether_its_decoder_computes_or_not() -> None:
    stages = {name: StepCost(fixed_s=0.001, seconds=(0.0, 3e-5)) for name in ("encode", "prosody", "decode")}
    table = CostTable(device="by hand", source="a test", stages=stages, padded=False)
    simulation = open_simulation("default", [], table, seconds=5)
    hollow = simulation.streams(3, mix="short", duration_s=0.05)
    simulation.hollow = Hollow({})
    whole = simulation.streams(3, mix="short", duration_s=0.05)
    assert [len(sample.events) for sample in hollow] == [len(sample.events) for sample in whole]
    assert sum(map(audio_s, hollow)) == pytest.approx(sum(map(audio_s, whole)), rel=0.01)
    assert [ttfa_s(sample) for sample in hollow] == pytest.approx(
        [ttfa_s(sample) for sample in whole], rel=0.05
    )


def test_two_workers_hold_twice_as_much_as_one() -> None:
    def rate(speeds: tuple[float, ...]) -> float:
        table = CostTable(device="by hand", source="a test", stages=TONE.stages, speeds=speeds)
        simulation = open_simulation("default", ["model.name=tone"], table, seconds=5)
        samples = simulation.streams(8, mix="short", duration_s=2.0)
        return sum(map(audio_s, samples)) / max(sample.end_s for sample in samples)

    assert rate((1.0, 1.0)) > rate((1.0,))


@pytest.mark.slow
def test_a_toy_that_computes_nothing_is_timed_like_one_that_computes_all() -> None:
    simulation = open_simulation("indextts2-low-latency", [], load_costs("h100-today"), seconds=1.0)
    hollow = simulation.rate([0.0, 0.01, 0.2], mix="short")
    simulation.hollow = Hollow({})
    whole = simulation.rate([0.0, 0.01, 0.2], mix="short")
    assert [sample.events for sample in hollow] == [sample.events for sample in whole]
    assert all(audio_s(sample) == pytest.approx(1.0, abs=0.03) for sample in hollow)


@pytest.mark.slow
def test_a_toy_has_the_limits_of_the_device_that_captures_its_shapes() -> None:
    stages = open_simulation("indextts2-low-latency", [], load_costs("h100-today"), seconds=1.0).model.stages
    assert stages["vocode"].max_units < stages["flow"].max_units


@pytest.mark.slow
def test_fused_kernels_hold_more_streams_than_todays() -> None:
    def rate(table: str) -> float:
        simulation = open_simulation("indextts2-low-latency", [], load_costs(table), seconds=1.0)
        samples = simulation.streams(8, mix="short", duration_s=0.5)
        return sum(map(audio_s, samples)) / max(sample.end_s for sample in samples)

    assert rate("h100-fused") > 1.2 * rate("h100-today")


def test_an_unknown_table_is_named_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    from bench.simulate.command import add_arguments

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert simulate_main(parser.parse_args(["--costs", "abacus"])) == 2
    assert "abacus" in (said := capsys.readouterr().err)
    assert "h100-today" in said


def test_a_step_is_under_way_until_it_was_taken_as_on_a_device() -> None:
    """Else a lane would begin a step of others, since its own segments are still held by the one that ended."""
    simulation = open_simulation("default", ["model.name=tone"], TONE, seconds=5)
    machine = Machine(speeds=(1.0,))
    runner = VirtualRunner(simulation.model, simulation.profile.engine, TONE, machine, padded=False)
    scheduler = Scheduler(runner.limits(), max_slots=1, sample_rate_hz=24000)
    speech = next(simulation.make("short", 1))
    submit = Submit(
        request_id="a",
        params=speech.params,
        streaming=True,
        timeout_s=9.0,
        segments=list(speech.segments[:1]),
        last=True,
    )
    scheduler.submit(submit, 0.0)
    part = scheduler.open_next(0.0)
    assert part is not None
    part.state = simulation.model.open(speech.params, part.segment, part.slot, urgent=True)
    plan = scheduler.plan(0.0)
    assert plan is not None
    workers = VirtualWorkers(runner, machine, ServerCost(), 1)
    workers.start(plan)
    machine.advance(1.0, never)
    assert list(workers.plans) == [plan]
    assert [taken for taken, _ in workers.ended(0.0)] == [plan]
    assert not workers.plans


def test_a_step_that_ends_while_the_loop_is_at_work_is_not_lost() -> None:
    """Else its request would stand still until it expires, which fails the simulation."""
    table = CostTable(
        device="by hand",
        source="a test",
        stages=TONE.stages,
        speeds=(1.0, 1.0),
        server=ServerCost(turn_s=0.05),
    )
    simulation = open_simulation("default", ["model.name=tone"], table, seconds=5)
    assert simulation.rate([0.0], mix="short")


def test_a_step_begins_when_its_thread_was_woken_and_is_known_when_the_loop_was() -> None:
    def first_s(wait: Wait) -> float:
        table = CostTable(
            device="by hand",
            source="a test",
            stages=TONE.stages,
            speeds=(1.0, 1.0),
            server=ServerCost(wake=wait),
        )
        simulation = open_simulation("default", ["model.name=tone"], table, seconds=5)
        return ttfa_s(simulation.streams(1, mix="short", duration_s=0.1)[0]) or 0.0

    # Two steps until the first sound, each with a thread that is woken and a loop that is.
    assert first_s(Wait(idle_s=0.001)) == pytest.approx(first_s(Wait()) + 4 * 0.001, abs=1e-6)


def test_who_has_the_cores_is_told_by_the_weights_of_the_tasks() -> None:
    machine = Machine(speeds=(1.0, 1.0))
    seen = [machine.crowd()]
    for weight in (1.0, 0.3, 1.0):
        machine.work(1.0, lambda: None, weight)
        seen.append(machine.crowd())
    assert seen == ["idle", "idle", "behind", "pressing"]


def test_the_pauses_between_sentences_are_heard_in_virtual_time_too() -> None:
    profile = load_profile("default", ["model.name=tone"])
    spoken = next(speeches(load_frontend(profile), "long", 1, profile.text.pauses))
    assert [segment.lead_s > 0 for segment in spoken.segments][1:].count(True) > 0
