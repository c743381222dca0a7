"""Who listens and when they ask: the schedules are pure, and a trace holds what a log told."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench.load.listeners import Listener, bursts, listeners, played_until_s, texts_of
from bench.load.trace import Asked, TraceError, from_log, plan_of, read_trace, write_trace
from bench.records import Sample


def test_a_share_of_listeners_leaves_and_the_others_think() -> None:
    found = listeners(200, 1, think_mean_s=2.0, barge_in_share=0.25, barge_in_s=(0.5, 1.0))
    leaving = [one.leave_after_s for one in found if one.leave_after_s is not None]
    assert len(leaving) == 50
    assert all(0.5 <= after <= 1.0 for after in leaving)
    thinking = [one.think_s or 0.0 for one in found]
    assert 1.6 < sum(thinking) / 200 < 2.4
    assert found == listeners(200, 1, think_mean_s=2.0, barge_in_share=0.25, barge_in_s=(0.5, 1.0))
    assert found != listeners(200, 2, think_mean_s=2.0, barge_in_share=0.25, barge_in_s=(0.5, 1.0))
    assert listeners(3, 1) == [Listener()] * 3
    assert listeners(3, 1, think_mean_s=0.0) == [Listener(think_s=0.0)] * 3
    with pytest.raises(ValueError, match="barge_in_share"):
        listeners(3, 1, barge_in_share=1.5)


def test_bursts_keep_the_mean_rate() -> None:
    due = bursts(8.0, 500.0, 4, 1)
    assert due == sorted(due)
    assert set(Counter(due).values()) == {4}
    assert 0.85 < len(due) / 4000 < 1.15
    assert bursts(8.0, 5.0, 4, 1) == bursts(8.0, 5.0, 4, 1)


def test_a_player_ends_when_it_has_played_all() -> None:
    sample = Sample(
        index=0, text="a", characters=1, due_s=0.0, sent_s=0.0, end_s=1.5, sample_rate_hz=1000,
        events=[(0.5, 1000), (1.2, 2000)],
    )  # fmt: skip
    # It plays from 0.5 to 1.0, waits until 1.2, and plays a second more.
    assert played_until_s(sample) == pytest.approx(2.2)
    sample.left_s = 0.9
    sample.end_s = 0.9
    assert played_until_s(sample) == 0.9


def test_texts_have_the_lengths_that_are_asked_for() -> None:
    lengths = [1, 2, 7, 30, 31, 61, 250, 1000, 5000] * 3
    found = texts_of(lengths, 1)
    assert [len(text) for text in found] == lengths
    assert found == texts_of(lengths, 1)
    long = [text for text in found if len(text) > 20]
    assert len(set(long)) == len(long)
    assert all(text[-1] in ".?!" for text in long)
    with pytest.raises(ValueError, match="no characters"):
        texts_of([0], 1)


NGINX = """
10.0.0.1 - - [29/Nov/2026:10:00:00 +0000] "POST /tts/stream HTTP/1.1" 200 192044 "-" "curl"
10.0.0.1 - - [29/Nov/2026:10:00:02 +0000] "GET /healthz HTTP/1.1" 200 15 "-" "curl"
10.0.0.2 - - [29/Nov/2026:10:00:05 +0000] "POST /v1/audio/speech HTTP/1.1" 499 48000 "-" "app"
10.0.0.2 - - [29/Nov/2026:10:00:06 +0000] "POST /tts HTTP/1.1" 422 100 "-" "app"
10.0.0.2 - - [29/Nov/2026:10:00:07 +0000] "POST /tts HTTP/1.1" 429 0 "-" "app"
10.0.0.3 - - [29/Nov/2026:10:00:08 +0000] "OPTIONS /tts/stream HTTP/1.1" 204 0 "-" "browser"
10.0.0.3 - - [29/Nov/2026:10:00:08 +0000] "POST /tts/captions HTTP/1.1" 200 90000 "-" "browser"
10.0.0.3 - - [29/Nov/2026:10:00:09 +0000] "POST /v1/audio/speech/batch?x=1 HTTP/1.1" 200 90000 "-" "app"
not a line of a log
""".strip().splitlines()


def test_a_trace_from_common_log_format() -> None:
    trace, other = from_log(NGINX)
    assert other == 6
    assert [asked.time_s for asked in trace] == [0.0, 5.0, 7.0]
    assert [asked.characters for asked in trace] == [60, 15, 38]
    assert [asked.cancel_after_s for asked in trace] == [None, 1.0, None]


def test_a_trace_from_json_lines_keeps_no_text() -> None:
    lines = [
        '{"time": "2026-11-29T10:00:01Z", "text": "Hello there.", "voice": "heart", "path": "/tts"}',
        '{"ts": 1796000000.5, "characters": 40, "cancel_after_s": 0.7, "request_time": 0.5}',
        '{"time": "2026-11-29T10:00:00Z", "path": "/healthz", "characters": 3}',
        '{"time": "yesterday", "characters": 3}',
    ]
    trace, other = from_log(lines)
    assert other == 2
    assert {asked.characters for asked in trace} == {12, 40}
    assert {(asked.voice, asked.cancel_after_s) for asked in trace} == {("heart", None), (None, 0.7)}
    assert "Hello" not in repr(trace)


def test_a_trace_is_read_as_it_was_written(tmp_path: Path) -> None:
    trace = [
        Asked(time_s=0.0, characters=20),
        Asked(time_s=2.0, characters=30, voice="v", cancel_after_s=0.5),
    ]
    write_trace(trace, tmp_path / "trace.jsonl")
    assert read_trace(tmp_path / "trace.jsonl") == trace
    plan = plan_of(trace, url="http://x", seed=1, speed=2.0, endpoint="/tts/stream", warmup_texts=[])
    assert plan.due_s == [0.0, 1.0]
    assert [len(text) for text in plan.texts] == [20, 30]
    assert plan.listeners == [Listener(), Listener(leave_after_s=0.5, voice="v")]


@pytest.mark.parametrize(
    "line", ["", "{", '{"time_s": 0}', '{"time_s": -1, "characters": 5}', '{"time_s": 0, "characters": 0}',
             '{"time_s": 0, "characters": 5, "who": 1}', '{"time_s": 0, "characters": 5, "cancel_after_s": -1}'],
)  # fmt: skip
def test_a_wrong_trace_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "t.jsonl").write_text(line)
    with pytest.raises(TraceError, match=r"t\.jsonl"):
        read_trace(tmp_path / "t.jsonl")
