"""The counters of several engines, told as those of one."""

from __future__ import annotations

from serving.cluster.wire import added, application, decode_from_engine, encode
from serving.profile import load_profile
from serving.protocol import Stats

ONE = Stats(
    requests={"finished": 3, "aborted": 1},
    steps={"render": 5},
    rows={"render": 9},
    padded_units={"render": 1},
    bucket_misses={"render": 0},
    chunks=7,
    copies_to_host=5,
    busy_s=1.5,
    slots_used=2,
    slots=16,
    waiting_segments=1,
    in_flight=2,
    max_rows={"render": 16},
    step_times={"render": [1, 4, 0]},
    step_s={"render": 0.5},
)
OTHER = Stats(
    requests={"finished": 1},
    steps={"render": 1, "embed": 2},
    rows={"render": 1, "embed": 2},
    padded_units={},
    bucket_misses={},
    chunks=1,
    copies_to_host=1,
    busy_s=0.5,
    slots_used=0,
    slots=16,
    waiting_segments=0,
    in_flight=3,
    max_rows={"embed": 16},
    step_times={"render": [0, 0, 1], "embed": [2, 0, 0]},
    step_s={"render": 0.25, "embed": 0.125},
)


def test_counters_are_added_stage_by_stage() -> None:
    both = added([ONE, OTHER])
    assert both.requests == {"finished": 4, "aborted": 1}
    assert both.steps == {"render": 6, "embed": 2}
    assert both.step_times == {"render": [1, 4, 1], "embed": [2, 0, 0]}
    assert both.step_s == {"render": 0.75, "embed": 0.125}
    assert both.max_rows == {"render": 16, "embed": 16}
    assert (both.chunks, both.busy_s, both.slots, both.slots_used, both.waiting_segments, both.in_flight) == (
        8,
        2.0,
        32,
        2,
        1,
        5,
    )


def test_one_engine_alone_is_told_as_it_is() -> None:
    assert added([ONE]) == ONE


def test_none_is_nothing() -> None:
    assert added([]).slots == 0


def test_messages_survive_the_way() -> None:
    assert decode_from_engine(encode(ONE)) == ONE


def test_http_processes_share_the_engines_of_a_profile_whatever_their_address() -> None:
    name = application(load_profile("default", environ={}))
    for same in ("http.port=9000", "cluster.address=10.0.0.1:6379", "observe.log_level=error"):
        assert application(load_profile("default", [same], environ={})) == name
    for other in ("model.name=tone", "engine.max_slots=3", "cluster.replicas=2"):
        assert application(load_profile("default", [other], environ={})) != name
