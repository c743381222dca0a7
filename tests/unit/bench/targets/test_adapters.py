"""Each adapter against a server that speaks its API: what is asked, and that the times are true within 2 ms."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from bench.load.generator import generate
from bench.load.listeners import Listener
from bench.metrics import audio_s, ttfa_s
from bench.servers.start import Server, start_server
from bench.targets.spec import Target
from tests.unit.bench.targets.fake_targets import KEY, RATE_HZ
from tests.unit.bench.targets.targets_support import HTTP, SOCKET, ask, notes, plan, script

pytestmark = pytest.mark.slow

TOLERANCE_S = 0.002
URL = "http://set-by-the-plan"

OPENAI = Target(adapter="openai", url=URL, model="m", voice="v", instructions="calm", fields={"seed": 3})
EVENTS = Target(adapter="openai", url=URL, sse=True)
ELEVEN = Target(adapter="elevenlabs", url=URL, voice="bella", model="flash", key_env="TARGETS_TEST_KEY")
ANY = Target(
    adapter="http", url=URL, path="/any", body={"text": "{text}"}, format="pcm", sample_rate_hz=RATE_HZ
)
OMNI = Target(adapter="omni", url=URL)


@pytest.fixture(scope="module", autouse=True)
def key() -> Iterator[None]:
    os.environ["TARGETS_TEST_KEY"] = KEY
    yield
    del os.environ["TARGETS_TEST_KEY"]


@pytest.fixture(scope="module")
def http() -> Iterator[Server]:
    with start_server("fake", spec=HTTP, timeout_s=30) as server:
        yield server


@pytest.fixture(scope="module")
def socket() -> Iterator[Server]:
    with start_server("fake", spec=SOCKET, timeout_s=30) as server:
        yield server


@pytest.mark.parametrize(
    "target",
    [OPENAI, EVENTS, ELEVEN, ANY, OMNI],
    ids=["openai", "openai events", "elevenlabs", "http", "omni"],
)
def test_times_are_those_of_the_server(http: Server, socket: Server, target: Target) -> None:
    server = socket if target.socket else http
    already = len(notes(server))
    wanted = script((0.03, 1200), (0.08, 1200), (0.02, 4800))
    samples = generate(plan(server.url, target, [wanted] * 9)).samples
    assert [(sample.error, sample.detail) for sample in samples] == [(None, "")] * 9
    errors: dict[str, list[float]] = {"first": [], "gaps": []}
    for sample, note in zip(samples, notes(server)[already:], strict=True):
        times = [moment for moment, _ in note["sent"]]
        began = note["received"] if "received" in note else note["words"][-1]
        assert audio_s(sample) == pytest.approx(0.3)
        assert [size for _, size in sample.events] == [2400, 2400, 9600]
        errors["first"].append(abs((ttfa_s(sample) or 0.0) - (times[0] - began)))
        seen = [moment - sample.events[0][0] for moment, _ in sample.events]
        sent = [moment - times[0] for moment in times]
        errors["gaps"].append(max(abs(a - b) for a, b in zip(seen, sent, strict=True)))
    # A busy machine delays reads; an error of the method would be in every stream.
    assert {name: min(values) <= TOLERANCE_S for name, values in errors.items()} == dict.fromkeys(
        errors, True
    )


def test_openai_is_asked_as_its_documentation_says(http: Server) -> None:
    assert ask(http.url, OPENAI, "Hello.")[0].error is None
    body, headers = notes(http)[-1]["body"], notes(http)[-1]["headers"]
    assert {
        "model": "m",
        "voice": "v",
        "instructions": "calm",
        "response_format": "pcm",
        "seed": 3,
    }.items() <= (body.items())
    assert headers["content-type"] == "application/json"
    assert "authorization" not in headers


def test_elevenlabs_is_asked_as_its_documentation_says(http: Server) -> None:
    sample = ask(http.url, ELEVEN, "Hello.")[0]
    assert (sample.error, sample.sample_rate_hz) == (None, RATE_HZ)
    assert notes(http)[-1]["body"] == {"model_id": "flash", "text": "", "input": ""}
    assert notes(http)[-1]["headers"]["xi-api-key"] == KEY


@pytest.mark.parametrize(
    "more",
    [
        {"body": {"text": "{text}", "deep": {"words": ["{text}"]}}},
        {"body": {"text": "{text}"}, "content_type": "application/x-www-form-urlencoded"},
        {"body": "{text}"},
        {"body": None, "method": "GET", "path": "/any?text={text}"},
    ],
)
def test_any_other_api_is_a_template(http: Server, more: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"adapter": "http", "url": URL, "path": "/any", "format": "pcm"}
    target = Target(**(settings | {"sample_rate_hz": 8000} | more))
    sample = ask(http.url, target, script((0.0, 800), umlaut="ä & ö = {x}"))[0]
    assert (sample.error, audio_s(sample)) == (None, 0.1)


def test_a_prefix_and_headers_from_the_environment(http: Server) -> None:
    target = Target(
        adapter="openai", url=URL, headers={"X-Trace": "t-${TARGETS_TEST_KEY}"}, fields={"voice": None}
    )
    assert ask(f"{http.url}/v1", target, "Hello.")[0].error is None
    assert notes(http)[-1]["headers"]["x-trace"] == f"t-{KEY}"
    assert "voice" not in notes(http)[-1]["body"]


def test_raw_samples_of_another_kind(http: Server) -> None:
    target = Target(adapter="openai", url=URL, encoding="f32", channels=2, sample_rate_hz=16_000)
    sample = ask(http.url, target, script((0.0, 8000)))[0]
    assert (sample.error, sample.encoding, sample.channels, sample.frame_bytes) == (None, "f32", 2, 8)
    assert audio_s(sample) == pytest.approx(16_000 / 8 / 16_000)


def test_text_arrives_word_by_word_on_its_schedule(socket: Server) -> None:
    target = Target(adapter="omni", url=URL, word_interval_s=0.04)
    already = len(notes(socket))
    samples = ask(socket.url, target, *[script((0.0, 2400), a="b c d e")] * 3)
    for sample, note in zip(samples, notes(socket)[already:], strict=True):
        words = note["words"]
        assert len(words) == len(sample.text.split()) > 5
        assert sample.text_end_s == pytest.approx(sample.due_s + 0.04 * (len(words) - 1))
        # The latency counts from when the text was due, not from its last word.
        assert (ttfa_s(sample) or 0.0) >= 0.04 * (len(words) - 1)


def test_a_listener_who_leaves_is_no_fault(http: Server, socket: Server) -> None:
    long = script((0.0, 2400), *[(0.05, 2400)] * 40)
    for server, target in ((http, OPENAI), (socket, OMNI)):
        (sample,) = ask(server.url, target, long, listeners=[Listener(leave_after_s=0.12)])
        assert (sample.error, sample.wave) == (None, None)
        assert sample.left_s == sample.end_s
        assert 0.12 <= sample.end_s - sample.events[0][0] < 1.0
        assert len(sample.events) < 20
        assert ask(server.url, target, json.dumps({"chunks": [[0, 240]]}))[0].error is None


def test_a_listener_plays_what_it_got_before_it_asks_again(http: Server) -> None:
    half_a_second = script((0.0, 12_000))
    more: dict[str, Any] = {"listeners": [Listener(think_s=0.2)] * 3}
    for target in (OPENAI, Target(adapter="openai", url=URL)):
        samples = ask(http.url, target, *[half_a_second] * 3, **more)
        waits = [later.due_s - earlier.events[0][0] for earlier, later in pairwise(samples)]
        assert waits == pytest.approx([0.7, 0.7])
        assert all(sample.sent_s >= sample.due_s for sample in samples)


def test_a_listener_may_want_another_voice(http: Server) -> None:
    ask(http.url, OPENAI, "Hello.", "World.", listeners=[Listener(voice="other"), Listener()])
    assert [note["body"]["voice"] for note in notes(http)[-2:]] == ["other", "v"]
