"""Speech as Server-Sent Events, with the tone model."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from serving.audio.encode import WAV_HEADER_BYTES, wav_header
from serving.http.app import create_app
from serving.http.events import HEARTBEAT, with_heartbeat
from tests.http.test_openai import SPEECH
from tests.http.test_speech import SEGMENTS, TEXT, differ, tones
from tests.support import Api, running, tone_profile

pytestmark = pytest.mark.slow


def events_of(body: bytes) -> list[dict[str, Any]]:
    """The JSON of each event; comments are skipped, as readers of events do."""
    found = []
    for block in body.decode().split("\n\n"):
        if block and not block.startswith(":"):
            assert block.startswith("data: {"), block
            found.append(json.loads(block.removeprefix("data: ")))
    return found


async def test_events_are_deltas_and_a_done(api: Api) -> None:
    body = {"input": TEXT, "response_format": "wav", "stream_format": "sse", "timestamps": "word"}
    answer = await api.call("POST", SPEECH, body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    events = events_of(answer.body)
    kinds = [event["type"] for event in events]
    assert set(kinds[:-1]) == {"speech.audio.delta", "speech.audio.times"}
    assert kinds[-1] == "speech.audio.done"
    assert kinds.count("speech.audio.delta") > 4
    audio = b"".join(base64.b64decode(event["audio"]) for event in events if "audio" in event)
    assert audio[:WAV_HEADER_BYTES] == wav_header(24000)
    assert differ(audio[WAV_HEADER_BYTES:], tones(*SEGMENTS)) <= 1
    sentences = [event["sentence"]["text"] for event in events if "sentence" in event]
    assert sentences == SEGMENTS
    usage = events[-1]["usage"]
    audio_s = (len(audio) - WAV_HEADER_BYTES) / 2 / 24000
    assert usage["input_tokens"] == len(TEXT)
    assert usage["output_tokens"] - 1 < audio_s * 20 <= usage["output_tokens"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["audio_seconds"] == pytest.approx(audio_s, abs=1e-3)


@pytest.mark.parametrize("audio_format", ["flac", "opus", "mp3", "aac"])
async def test_the_deltas_of_a_format_are_its_file(api: Api, audio_format: str) -> None:
    body = {"input": TEXT, "response_format": audio_format}
    plain = await api.call("POST", SPEECH, body)
    events = events_of((await api.call("POST", SPEECH, {**body, "stream_format": "sse"})).body)
    audio = b"".join(base64.b64decode(event["audio"]) for event in events if "audio" in event)
    assert audio == plain.body
    assert all(event["audio"] for event in events if "audio" in event), "a delta is never empty"


async def test_a_failure_in_mid_stream_is_the_last_event() -> None:
    profile = tone_profile("model.options.step_s=0.05", "engine.request_timeout_s=0.3")
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        answer = await api.call("POST", SPEECH, {"input": TEXT * 20, "stream_format": "sse"})
    assert answer.complete, "the events say it; the body need not be cut"
    events = events_of(answer.body)
    assert [event["type"] for event in events].count("error") == 1
    assert events[-1]["error"]["code"] == "expired"
    assert events[-1]["error"]["type"] == "server_error"


async def test_a_heartbeat_is_sent_while_nothing_else_is() -> None:
    profile = tone_profile("model.options.step_s=0.2", "http.heartbeat_s=0.02")
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        answer = await api.call("POST", SPEECH, {"input": "Hello.", "stream_format": "sse"})
    assert answer.body.count(HEARTBEAT) > 1
    assert events_of(answer.body)[-1]["type"] == "speech.audio.done"


async def test_a_source_that_fails_under_a_heartbeat_fails_the_reader() -> None:
    async def failing() -> Any:
        yield b"one"
        await asyncio.sleep(0.03)
        raise ValueError("broken")

    seen = []

    async def read() -> None:
        async for piece in with_heartbeat(failing(), 0.01):
            seen.append(piece)

    with pytest.raises(ValueError, match="broken"):
        await read()
    assert seen[0] == b"one"
    assert HEARTBEAT in seen


async def test_a_client_gone_in_mid_events_frees_its_slot() -> None:
    profile = tone_profile("model.options.step_s=0.02", "model.options.max_window_tokens=2")
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        await api.call("POST", SPEECH, {"input": TEXT, "stream_format": "sse"}, disconnect_after=3)
        stats = await api.until("/stats", lambda stats: not stats["slots_used"] + stats["in_flight"])
        assert stats["requests"]["aborted"] == 1
