"""What a client sees when the engine cannot, will not or does not finish."""

from __future__ import annotations

import asyncio

import pytest

from serving.http.app import create_app
from tests.support import Api, running, tone_profile

pytestmark = pytest.mark.slow

POISON = "model.options.fail_token=33"  # the code point of "!"


async def test_a_failure_of_the_model_is_a_problem_and_the_server_goes_on() -> None:
    async with running(create_app(tone_profile(POISON))) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        answer = await api.call("POST", "/tts", {"text": "This fails!"})
        assert answer.status == 500
        assert answer.problem["code"] == "internal"
        assert (await api.call("POST", "/tts", {"text": "This works."})).status == 200


async def test_a_stream_that_fails_is_cut_without_an_end(caplog: pytest.LogCaptureFixture) -> None:
    async with running(create_app(tone_profile(POISON))) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        answer = await api.call("POST", "/tts/stream", {"text": "This part is spoken. This fails!"})
        assert answer.status == 200
        assert len(answer.pieces) > 1
        assert not answer.complete
        assert answer.error is None
        assert "is cut (internal)" in caplog.text
        assert (await api.call("POST", "/tts/stream", {"text": "This works."})).complete


async def test_a_request_that_takes_too_long_expires() -> None:
    slow = tone_profile(
        "engine.request_timeout_s=0.2", "model.options.step_s=0.05", "model.options.max_window_tokens=1"
    )
    async with running(create_app(slow)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        answer = await api.call("POST", "/tts", {"text": "a" * 100})
        assert answer.status == 504
        assert answer.problem["code"] == "expired"
        stream = await api.call("POST", "/tts/stream", {"text": "a" * 100})
        assert not stream.complete


@pytest.mark.parametrize("limit", ["admission.max_requests=4", "admission.max_audio_s=52"])
async def test_overload_is_refused_at_once(limit: str) -> None:
    profile = tone_profile(limit, "model.options.step_s=0.02", "model.options.max_window_tokens=1")
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        text = {"text": "a" * 500}  # 25 s of audio, of which a quarter of the bound counts
        gone = [asyncio.Event() for _ in range(4)]
        busy = [asyncio.ensure_future(api.call("POST", "/tts/stream", text, gone=event)) for event in gone]
        await api.until("/stats", lambda stats: stats["slots_used"] >= 4)
        for path in ("/tts", "/tts/stream"):
            refused = await api.call("POST", path, text)
            assert refused.status == 503
            assert refused.problem["code"] == "overloaded"
            assert int(refused.headers["retry-after"]) >= 1
        for event in gone:
            event.set()
        await asyncio.gather(*busy)
        await api.until("/stats", lambda stats: not stats["slots_used"] + stats["in_flight"])
        assert (await api.call("POST", "/tts", {"text": "Now there is room."})).status == 200


async def test_before_the_engine_is_warm_speech_is_refused_and_health_is_not() -> None:
    async with running(create_app(tone_profile("model.options.load_s=0.3"))) as api:
        assert (await api.call("GET", "/healthz")).status == 200
        readiness = await api.call("GET", "/readyz")
        assert readiness.status == 503
        assert readiness.json["ready"] is False
        assert readiness.json["state"] == "starting"
        for path in ("/tts", "/tts/stream"):
            refused = await api.call("POST", path, {"text": "Too early."})
            assert refused.status == 503
            assert refused.problem["code"] == "not_ready"
            assert int(refused.headers["retry-after"]) >= 1
        assert (await api.call("GET", "/stats")).status == 503
        assert (await api.call("GET", "/voices")).status == 200
        await api.until("/readyz", lambda answer: answer["ready"])
        assert (await api.call("POST", "/tts", {"text": "Now."})).status == 200


async def test_an_engine_that_cannot_start_is_reported() -> None:
    failed = asyncio.Event()
    profile = tone_profile("engine.device=cuda:93")
    async with running(create_app(profile, on_failed=failed.set)) as api:
        await asyncio.wait_for(failed.wait(), 30)
        readiness = (await api.call("GET", "/readyz")).json
        assert readiness["state"] == "failed"
        assert readiness["problem"] == "the engine is failed; the log says why"


async def test_ready_says_what_runs(api: Api) -> None:
    answer = await api.call("GET", "/readyz")
    assert answer.status == 200
    said = answer.json
    assert (said["model"], said["device"], said["dtype"]) == ("tone", "cpu", "float32")
    assert said["profile"] == "default"
    assert said["voices"] == ["low", "high"]
    assert said["warmup_s"] > 0
    assert len(said["run_id"]) >= 8
