"""The load generator against a server of known behaviour: the metrics are true, and every fault is named."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import soundfile

from bench.load.generator import LoadGenerator, LoadPlan, Outcome, generate
from bench.load.validity import faults
from bench.metrics import audio_s, gaps_s, real_time_factor, stall_s, total_s, ttfa_s
from bench.records import Cell, Sample
from bench.servers.start import Server, free_port, get, start_server
from bench.targets.spec import Target
from tests.unit.bench.support import FAKE

RATE_HZ = 24_000
TOLERANCE_S = 0.002
IMPATIENT = Target(timeout_s=0.3)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fake() -> Iterator[Server]:
    with start_server("fake", spec=FAKE, timeout_s=30) as server:
        yield server


def _script(*chunks: tuple[float, int], **more: Any) -> str:
    return json.dumps({"chunks": chunks, **more})


def _plan(server: Server, texts: list[str], **more: Any) -> LoadPlan:
    settings: dict[str, Any] = {"clients": 1, "duration_s": 60.0, "endpoint": "/tts/stream"}
    return LoadPlan(url=server.url, texts=texts, warmup_texts=[], **(settings | more))


def _here(plan: LoadPlan) -> Outcome:
    return asyncio.run(LoadGenerator(plan).run())


def _one(server: Server, script: str, **more: Any) -> Sample:
    return _here(_plan(server, [script], **more)).samples[0]


def _cell(outcome: Outcome) -> Cell:
    return Cell(
        arm="fake", mode="closed", endpoint="/tts/stream", texts="short", clients=1, seed=1, duration_s=1.0,
        warmup_requests=0, samples=outcome.samples, generator=outcome.generator,
    )  # fmt: skip


def _stall_of(sent: list[tuple[float, int]]) -> float:
    """The player's deficit, computed by playing: it stops when it has nothing and goes on with each chunk."""
    played_until = sent[0][0]
    waited = 0.0
    for moment, samples in sent:
        if moment > played_until:
            waited += moment - played_until
            played_until = moment
        played_until += samples / RATE_HZ
    return waited


def test_metrics_are_those_of_the_bytes_and_times_that_were_sent(fake: Server) -> None:
    # 50 ms of audio every 80 ms empties the playback buffer; the last chunk comes after the long one and
    # costs nothing more.
    script = _script((0.03, 1200), (0.08, 1200), (0.08, 1200), (0.02, 4800), (0.1, 2400))
    already = len(_notes(fake))
    outcome = generate(_plan(fake, [script] * 9))
    notes = _notes(fake)[already:]
    assert [sample.error for sample in outcome.samples] == [None] * 9
    errors: dict[str, list[float]] = {"ttfa": [], "gaps": [], "stall": [], "total": [], "factor": []}
    for sample, note in zip(outcome.samples, notes, strict=True):
        sent = [(moment, samples) for moment, samples in note["sent"]]
        times = [moment for moment, _ in sent]
        assert [size for _, size in sample.events] == [2 * samples for _, samples in sent]
        assert audio_s(sample) == pytest.approx(0.45)
        expected_total = times[-1] - note["received"]
        expected_gaps = [later - earlier for earlier, later in pairwise(times)]
        errors["ttfa"].append(abs((ttfa_s(sample) or 0.0) - (times[0] - note["received"])))
        errors["gaps"].append(
            max(abs(seen - sent) for seen, sent in zip(gaps_s(sample), expected_gaps, strict=True))
        )
        errors["stall"].append(abs((stall_s(sample) or 0.0) - _stall_of(sent)))
        errors["total"].append(abs(total_s(sample) - expected_total))
        errors["factor"].append(abs((real_time_factor(sample) or 0.0) - expected_total / 0.45) * 0.45)
        assert _stall_of(sent) > 0.05
    # A busy machine delays reads, more of them the busier it is; an error of the method would be in every stream.
    assert {name: min(values) <= TOLERANCE_S for name, values in errors.items()} == dict.fromkeys(
        errors, True
    )


def test_a_container_header_is_no_audio_however_it_is_cut(fake: Server) -> None:
    for drip in (1, 7, 43, 44, 45):
        sample = _one(fake, _script((0.0, 60), (0.0, 80), drip=drip))
        assert (sample.error, sum(size for _, size in sample.events), sample.chunks) == (None, 280, 2)


def test_ten_milliseconds_and_a_hole_are_a_stall(fake: Server) -> None:
    """A chunk that begins in time and then drips is booked as it is read."""
    sample = _one(fake, _script((0.0, 1200), drip=1000, drip_s=0.08))
    assert (sample.error, sample.chunks) == (None, 1)
    # 20 ms of audio every 80 ms.
    assert (stall_s(sample) or 0.0) > 0.05


def test_a_header_alone_is_no_first_audio(fake: Server) -> None:
    sample = _one(fake, _script((0.0, 0), (0.1, 240)))
    assert sample.header_s is not None
    assert (ttfa_s(sample) or 0.0) - (sample.header_s - sample.due_s) >= 0.09
    assert len(sample.events) == 1


def test_a_wav_per_chunk_is_read_as_one_stream(fake: Server) -> None:
    sample = _one(fake, _script((0.0, 100), (0.0, 200), header="each"))
    assert (sample.error, sample.stated_samples, [size for _, size in sample.events]) == (
        None,
        300,
        [200, 400],
    )


def test_raw_pcm_takes_its_rate_from_the_response(fake: Server) -> None:
    script = _script((0.0, 2400), header="none", more_headers={"X-Sample-Rate": "24000"})
    sample = _one(fake, script, fields={"format": "pcm"})
    assert sample.error is None
    assert audio_s(sample) == pytest.approx(0.1)


def test_ignored_fields_are_kept(fake: Server) -> None:
    sample = _one(fake, _script((0.0, 10), more_headers={"X-Ignored-Fields": "top_k, temperature"}))
    assert sample.ignored == ["top_k", "temperature"]


@pytest.mark.parametrize(
    ("script", "more", "kind", "words"),
    [
        (_script((0.0, 100), (0.0, 100), end="cut"), {}, "truncated", "broke off after 400 bytes"),
        (_script((0.0, 100), stated=90), {}, "wrong_sample_count", "100 samples"),
        (_script((0.0, 100), stated=110, length=True), {}, "wrong_sample_count", "states 110"),
        (_script((0.0, 2400), more_headers={"X-Audio-Seconds": "0.2"}), {}, "wrong_sample_count", "0.2"),
        (_script((0.0, 0)), {}, "empty", "without a sample"),
        (_script((0.0, 100), header="none"), {}, "bad_audio", "no WAV header"),
        (_script((0.0, 100), status=500), {}, "http_error", "status 500"),
        (_script((0.0, 100), status=429), {}, "refused", "429"),
        (_script((0.0, 100), status=503), {}, "refused", "503"),
        (_script((0.0, 100), end="hang"), {"target": IMPATIENT}, "timeout", "0.3 s"),
    ],
)  # fmt: skip
def test_a_fault_is_named(fake: Server, script: str, more: dict[str, Any], kind: str, words: str) -> None:
    good = _script((0.0, 100))
    outcome = _here(_plan(fake, [script, good], **more))
    bad, after = outcome.samples
    assert bad.error == kind
    assert words in bad.detail
    assert after.error is None
    named = [reason for reason in faults(_cell(outcome)) if reason.startswith(kind)]
    assert bool(named) == (kind != "refused")


def test_a_server_that_is_not_there_is_named() -> None:
    nowhere = Server("none", f"http://127.0.0.1:{free_port()}", None, {}, None)
    outcome = _here(_plan(nowhere, [_script((0.0, 1))]))
    assert outcome.samples[0].error == "connect"
    assert faults(_cell(outcome))[0] == "no request succeeded"


def test_the_open_loop_sends_on_time_however_slow_the_server_is(fake: Server) -> None:
    slow = _script((0.3, 100))
    due = [index * 0.05 for index in range(8)]
    outcome = generate(_plan(fake, [slow] * 8, due_s=due, clients=None))
    assert [sample.due_s for sample in outcome.samples] == due
    assert all(sample.sent_s >= sample.due_s for sample in outcome.samples)
    # One after the other they would need 2.4 s.
    assert max(sample.end_s for sample in outcome.samples) < 2.0


def test_a_late_generator_is_named(fake: Server) -> None:
    plan = _plan(fake, [_script((0.0, 10))] * 5, due_s=[0.1 * index for index in range(5)], clients=None)

    async def starved() -> Outcome:
        async def hog() -> None:
            while True:
                time.sleep(0.07)  # noqa: ASYNC251 - starving the loop is the point
                await asyncio.sleep(0)

        blocker = asyncio.create_task(hog())
        outcome = await LoadGenerator(plan).run()
        blocker.cancel()
        return outcome

    reasons = faults(_cell(asyncio.run(starved())))
    assert any(reason.startswith("late generator") for reason in reasons)
    assert any(reason.startswith("starved generator: timers") for reason in reasons)


def test_a_generator_that_keeps_up_is_not_named(fake: Server) -> None:
    outcome = generate(_plan(fake, [_script((0.02, 10))] * 20))
    assert outcome.generator.cpu_share < 0.7
    assert not [reason for reason in faults(_cell(outcome)) if "late generator" in reason]


def test_the_closed_loop_stops_sending_after_its_time(fake: Server) -> None:
    outcome = _here(_plan(fake, [_script((0.05, 10))] * 1000, clients=2, duration_s=0.3, min_requests=2))
    assert 2 <= len(outcome.samples) < 100
    assert [sample.index for sample in outcome.samples] == list(range(len(outcome.samples)))


def test_kept_waves_hold_the_audio_that_was_timed(fake: Server, tmp_path: Path) -> None:
    plan = _plan(fake, [_script((0.0, 300), (0.0, 200))] * 5, keep_waves=2, waves=str(tmp_path), name="cell")
    kept = [sample for sample in _here(plan).samples if sample.wave is not None]
    assert len(kept) == 2
    for sample in kept:
        audio, rate = soundfile.read(tmp_path / str(sample.wave), dtype="int16")
        assert (rate, len(audio), set(audio)) == (RATE_HZ, 500, {1000, -1000})


def test_the_servers_counters_are_read_after_the_warm_up(fake: Server) -> None:
    plan = _plan(fake, [_script((0.0, 10))] * 3)
    plan.warmup_texts = [_script((0.0, 20))] * 4
    outcome = _here(plan)
    assert outcome.stats_before is not None
    assert outcome.stats_after is not None
    assert outcome.stats_after["requests"] - outcome.stats_before["requests"] == 3
    assert [sample.events[0][1] for sample in outcome.samples] == [20, 20, 20]


def _notes(server: Server) -> list[dict[str, Any]]:
    _, content = get(f"{server.url}/log")
    assert content is not None
    notes: list[dict[str, Any]] = content["notes"]
    return notes


def test_clients_begin_one_after_the_other_and_not_as_a_wave(fake: Server) -> None:
    texts = [_script((0.6, 2400))] * 4
    samples = _here(_plan(fake, texts, clients=4, duration_s=0.0, min_requests=4, stagger_s=0.4)).samples
    first, *others = (sample.due_s for sample in samples)
    assert [due - first for due in others] == pytest.approx([0.1, 0.2, 0.3], abs=0.05)
    assert all(sample.sent_s >= sample.due_s for sample in samples)


def test_a_load_point_lasts_several_times_its_longest_request(fake: Server) -> None:
    texts = [_script((0.2, 2400))] * 20
    samples = _here(_plan(fake, texts, duration_s=0.25, longest_times=3.0)).samples
    assert len(samples) == 3 or samples[-1].end_s >= 0.6, "0.2 s each, so 0.6 s in all"
    capped = _here(_plan(fake, texts, duration_s=0.1, longest_times=30.0)).samples
    assert 0.5 <= capped[-1].end_s < 0.2 * 20, "at most five times what was asked for"


def test_a_start_that_comes_before_it_can_go_on_is_a_hole_and_a_late_server_is_none(fake: Server) -> None:
    piece = RATE_HZ // 5
    hole = _script((0.0, piece), (0.5, 20 * piece))
    late = _script((0.0, piece), *[(0.5, piece)] * 3)
    early = _cell(_here(_plan(fake, [hole] * 4, duration_s=0.0, min_requests=4)))
    assert any(reason.startswith("a hole: 4 of 4") for reason in faults(early)), faults(early)
    slow = _cell(_here(_plan(fake, [late] * 2, duration_s=0.0, min_requests=2)))
    assert not any("a hole" in reason for reason in faults(slow)), faults(slow)
