"""The metrics by hand-made samples, exact percentiles, and the JSON there and back."""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.validity import MAX_GENERATOR_CPU, MAX_LATENESS_P99_S, MAX_OTHERS_CPU, faults, validate
from bench.metrics import (
    audible_ttfa_s,
    audio_seconds_per_second,
    continuity,
    distribution,
    errors_by_kind,
    first_payload_s,
    first_playable_s,
    goodput_rps,
    meets,
    percentile,
    playback,
    real_time_factor,
    requests_per_second,
    stall_s,
    supported,
    total_s,
    ttfa_s,
    window_s,
)
from bench.records import Cell, Generator, Run, Sample, Slo, load_run, write_json
from tests.unit.bench.support import heard

SECOND = 48_000
"""Bytes of a second of 16-bit mono at 24 kHz."""


def _sample(events: list[tuple[float, int]], **more: Any) -> Sample:
    settings: dict[str, Any] = {
        "heard": heard(),
        "due_s": 0.0,
        "sent_s": 0.0,
        "end_s": events[-1][0] if events else 1.0,
    }
    return Sample(
        index=0, text="a", characters=1, events=events, sample_rate_hz=24_000, **(settings | more)
    )  # fmt: skip


def _cell(samples: list[Sample], **health: float) -> Cell:
    calm = {"lateness_p50_s": 0.0, "lateness_p99_s": 0.0, "loop_lag_p99_s": 0.0, "cpu_share": 0.0}
    generator = Generator(machine_cpu_share=0.5, **(calm | health))
    return Cell(
        arm="granian", mode="closed", endpoint="/tts/stream", texts="short", clients=2, seed=1,
        duration_s=1.0, warmup_requests=2, samples=samples, generator=generator,
    )  # fmt: skip


def test_latencies_count_from_when_the_request_was_due() -> None:
    sample = _sample([(1.5, SECOND), (2.0, SECOND)], due_s=1.0, sent_s=1.4)
    assert ttfa_s(sample) == pytest.approx(0.5)
    assert total_s(sample) == pytest.approx(1.0)
    assert real_time_factor(sample) == pytest.approx(0.5)


def test_the_stall_is_the_largest_deficit_not_the_last() -> None:
    # Half a second of audio, then 0.8 s without any: the playback buffer is empty for 0.3 s. The second chunk
    # makes up for it.
    sample = _sample([(1.0, SECOND // 2), (1.8, 2 * SECOND), (2.0, SECOND)])
    assert stall_s(sample) == pytest.approx(0.3)


def test_a_stream_in_time_never_stalls() -> None:
    assert stall_s(_sample([(1.0, SECOND), (1.9, SECOND), (2.9, SECOND)])) == 0.0


def test_the_first_sound_waits_for_the_silence_before_it_and_for_its_bytes() -> None:
    # The sound begins 0.2 s into the wave.
    early = _sample([(1.0, SECOND)], due_s=0.5, heard=heard(0.2))
    assert audible_ttfa_s(early) == pytest.approx(0.7)
    # One sample at once and the rest at 1.4: the player stops at 1.00004 and goes on at 1.4.
    byte = _sample([(1.0, 2), (1.4, SECOND)], due_s=0.5, heard=heard(0.2))
    assert audible_ttfa_s(byte) == pytest.approx(1.1, abs=1e-3)
    # What comes late behind the sound does not move it.
    later = _sample([(1.0, SECOND // 2), (3.0, SECOND)], due_s=0.5, heard=heard(0.2))
    assert audible_ttfa_s(later) == pytest.approx(0.7)
    assert audible_ttfa_s(_sample([(1.0, SECOND)], heard=heard(None))) is None
    assert audible_ttfa_s(_sample([(1.0, SECOND)], heard=None)) is None


def test_half_a_sample_cannot_be_played() -> None:
    sample = _sample([(0.1, 3), (0.2, 5), (0.3, SECOND)], frame_bytes=4, channels=2)
    assert first_playable_s(sample) == pytest.approx(0.2)
    assert first_payload_s(sample) == pytest.approx(3 / 96_000)
    assert ttfa_s(sample) == pytest.approx(0.1)


def test_underruns_are_counted_and_the_smallest_prebuffer_prevents_them() -> None:
    # 0.1 s of audio every 0.15 s, four times, then the rest: each piece but the first comes 0.05 s late.
    tenth = SECOND // 10
    sample = _sample([(0.0, tenth), (0.15, tenth), (0.3, tenth), (0.45, tenth), (0.5, SECOND)])
    played = playback(sample)
    assert played is not None
    assert played.underruns == 3
    assert played.underrun_s == pytest.approx(0.15)
    # A start at 0.15 s has two tenths: then nothing is ever missing.
    assert played.prebuffer_s == pytest.approx(0.1)
    assert playback(_sample([(0.0, SECOND), (0.9, SECOND)])) == (0, 0.0, 0.0)
    # Half a second every 0.7 s, four times: a player with the first piece alone is 0.2 s short three times.
    half = playback(_sample([(0.0, SECOND // 2), (0.7, SECOND // 2), (1.4, SECOND // 2), (2.1, SECOND // 2)]))
    assert half is not None
    assert half.underrun_s == pytest.approx(0.6)
    assert (half.underruns, half.prebuffer_s) == (3, 0.5)
    assert playback(_sample([])) is None


@given(st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 40_000)), min_size=1, max_size=30))
def test_a_player_that_holds_the_prebuffer_never_runs_dry(pieces: list[tuple[float, int]]) -> None:
    now, events = 0.0, []
    for wait, samples in pieces:
        now += wait
        events.append((now, 2 * samples))
    sample = _sample(events)
    played = playback(sample)
    assert played is not None
    delivered = 0.0
    for time, size in events:
        # Started later by all that was waited, the player has at each arrival something left, or less than
        # what nobody hears per underrun is missing.
        assert time - events[0][0] - played.underrun_s <= delivered + 0.001 * len(events)
        delivered += size / SECOND


@given(st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 40_000)), min_size=1, max_size=30))
def test_a_player_that_starts_above_the_prebuffer_never_runs_dry(pieces: list[tuple[float, int]]) -> None:
    now, events = 0.0, []
    for wait, samples in pieces:
        now += wait
        events.append((now, 2 * samples))
    played = playback(_sample(events))
    assert played is not None
    least = round(played.prebuffer_s * SECOND)
    got = list(accumulate(size for _, size in events))
    start = next((time for (time, _), size in zip(events, got, strict=True) if size > least), events[-1][0])
    for (time, size), so_far in zip(events, got, strict=True):
        assert time - start <= (so_far - size) / SECOND + 0.001 * len(events)


def test_no_audio_has_no_latency() -> None:
    sample = _sample([], error="empty")
    assert (ttfa_s(sample), stall_s(sample), real_time_factor(sample)) == (None, None, None)


def test_continuity_leaves_single_chunks_and_failures_out() -> None:
    smooth = _sample([(0.0, SECOND), (0.5, SECOND)])
    brief = _sample([(0.0, SECOND), (1.08, SECOND)])
    broken = _sample([(0.0, SECOND), (9.0, SECOND)], error="truncated")
    assert continuity([smooth, brief, broken, _sample([(0.0, SECOND)])]) == {
        0.0: 0.5,
        0.05: 0.5,
        0.1: 1.0,
        0.2: 1.0,
    }
    assert continuity([_sample([(0.0, SECOND)])]) is None


def test_rates_divide_by_first_due_to_last_end_and_count_good_answers_only() -> None:
    samples = [
        _sample([(1.0, SECOND)], due_s=0.5),
        _sample([(2.5, 3 * SECOND)], due_s=1.0),
        _sample([(1.0, SECOND)], due_s=1.0, end_s=1.0, error="truncated"),
    ]
    assert window_s(samples) == pytest.approx(2.0)
    assert audio_seconds_per_second(samples) == pytest.approx(2.0)
    assert requests_per_second(samples) == pytest.approx(1.0)
    assert errors_by_kind(samples) == {"truncated": 1}
    assert (window_s([]), requests_per_second([])) == (0.0, 0.0)


def test_goodput_wants_an_early_start_no_stall_and_no_error() -> None:
    slo = Slo(ttfa_s=0.25, stall_s=0.1)
    good = _sample([(0.2, SECOND)])
    late = _sample([(0.3, SECOND)])
    stalling = _sample([(0.1, SECOND // 10), (0.9, SECOND)])
    failed = _sample([(0.1, SECOND)], error="timeout")
    whole = _sample([(0.2, SECOND), (0.3, SECOND)], streaming=False)
    assert [meets(sample, slo) for sample in (good, late, stalling, failed, whole)] == [
        True,
        False,
        False,
        False,
        False,
    ]
    assert goodput_rps([good, late, stalling], slo) == pytest.approx(1 / 0.9)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.floats(0.1, 100))
def test_a_percentile_is_the_smallest_value_with_enough_below(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    need = percent / 100 * len(values) - 1e-6
    assert found in values
    assert sum(value <= found for value in values) >= need
    smaller = [value for value in values if value < found]
    assert not smaller or sum(value <= max(smaller) for value in values) < need + 2e-6


def test_percentiles_by_hand() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, p) for p in (1, 50, 95, 99, 100)] == [1, 50, 95, 99, 100]
    assert percentile([3.0, 1.0], 50) == 1.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_a_percentile_that_is_only_the_maximum_is_left_out() -> None:
    assert (supported(19, 95), supported(20, 95), supported(99, 99), supported(100, 99)) == (
        False,
        True,
        False,
        True,
    )
    few = distribution([1.0, 2.0])
    assert (few.p50, few.p95, few.max) == (1.0, None, 2.0)
    assert distribution([]).mean is None


@pytest.mark.parametrize(
    ("health", "words"),
    [
        ({"lateness_p99_s": MAX_LATENESS_P99_S * 1.1}, "late generator"),
        ({"loop_lag_p99_s": MAX_LATENESS_P99_S * 1.1}, "starved generator: timers"),
        ({"cpu_share": MAX_GENERATOR_CPU + 0.1}, "starved generator: it used"),
    ],
)
def test_an_unhealthy_generator_makes_the_cell_invalid(health: dict[str, float], words: str) -> None:
    cell = _cell([_sample([(0.1, SECOND)])], **health)
    validate(cell)
    assert cell.verdict == "INVALID"
    assert [reason for reason in cell.reasons if reason.startswith(words)]


def test_a_disturbed_machine_makes_the_cell_invalid() -> None:
    cell = _cell([_sample([(0.1, SECOND)])])
    assert faults(cell) == []
    cell.others_cpu_share = MAX_OTHERS_CPU + 0.1
    assert "disturbed machine" in faults(cell)[0]


def test_refusals_are_a_result_unless_nothing_else_came() -> None:
    refused = _sample([], error="refused", detail="status 429")
    assert faults(_cell([refused, _sample([(0.1, SECOND)])])) == []
    assert faults(_cell([refused])) == ["no request succeeded"]


def test_a_run_comes_back_from_its_json(tmp_path: Path) -> None:
    run = Run(
        id="r", started_at="2026-01-01T00:00:00+00:00", machine={"cores": 2}, commit=None, dirty=True,
        profile="default", workload_seed=1, warmup_rule="two", cells=[_cell([_sample([(0.1, SECOND)])])],
    )  # fmt: skip
    path = tmp_path / "deep" / "run.json"
    write_json(run, path)
    assert load_run(path) == run
    assert [file.name for file in path.parent.iterdir()] == ["run.json"]


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(ValueError, match=r"run\.json has schema 99, and this program reads 2"):
        load_run(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"run\.json is no JSON"),
        ("[]", r"run\.json is not a run of the bench"),
        ('{"figures": 1}', r"run\.json is not a run of the bench"),
        ('{"schema_version": 1, "arms": [], "cells": []}', "measure again to compare"),
        ('{"schema_version": 2, "arms": [], "cells": 3}', r"run\.json is damaged: .*"),
    ],
)
def test_what_is_no_run_is_said_to_be_none(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_run(path)


def test_a_load_point_has_a_name() -> None:
    cell = _cell([])
    assert cell.point.load == "2 clients"
    assert msgspec.structs.replace(cell, clients=1).point.load == "1 client"
    assert msgspec.structs.replace(cell, mode="open", rate_rps=2.5).point.load == "2.5 requests/s"


def test_one_chunk_that_drips_is_a_stream_that_stalls() -> None:
    dripped = _sample([(0.1, SECOND // 10), (1.0, 3 * SECOND)], chunks=1)
    whole = _sample([(0.1, SECOND // 2), (0.2, 3 * SECOND)], chunks=1)
    assert continuity([dripped]) == {0.0: 0.0, 0.05: 0.0, 0.1: 0.0, 0.2: 0.0}
    assert continuity([whole]) is None, "read in two goes, and sent in one"
