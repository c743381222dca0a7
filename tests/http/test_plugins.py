"""Requests as LiveKit's, Pipecat's and Open WebUI's plugins for OpenAI's speech send them."""

from __future__ import annotations

import io
from typing import Any

import pytest
import soundfile

from serving.http.app import create_app
from tests.http.test_openai import SPEECH
from tests.http.test_speech import SEGMENTS, TEXT, differ, tones
from tests.support import JSON, running, tone_profile

# By their public code: livekit/agents (livekit-plugins-openai, tts.py), pipecat-ai/pipecat (services/openai/tts.py) and
# open-webui/open-webui (routers/audio.py, and apis/audio/index.ts, which writes the body).
BEARER = (b"authorization", b"Bearer sk-not-looked-at")
OPENAI_CLIENT = (
    *JSON,
    BEARER,
    (b"accept", b"application/octet-stream"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"user-agent", b"AsyncOpenAI/Python 3.57.0"),
    (b"x-stainless-lang", b"python"),
    (b"x-stainless-raw-response", b"stream"),
    (b"x-stainless-retry-count", b"0"),
)
PLUGINS: dict[str, tuple[tuple[tuple[bytes, bytes], ...], dict[str, Any]]] = {
    "livekit": (
        OPENAI_CLIENT,
        {
            "input": TEXT,
            "model": "gpt-4o-mini-tts",
            "voice": "ash",
            "instructions": "Speak in a friendly and conversational tone.",
            "response_format": "pcm",
            "speed": 1.0,
        },
    ),
    "livekit, its first": (
        (*JSON, BEARER, (b"accept", b"*/*"), (b"user-agent", b"Python/3.11 aiohttp/3.9.5")),
        {"input": TEXT, "model": "tts-1", "voice": "alloy", "response_format": "mp3"},
    ),
    "livekit, with speeds": (
        OPENAI_CLIENT,
        {"input": TEXT, "model": "tts-1", "voice": "alloy", "response_format": "mp3", "speed": 1.0},
    ),
    "pipecat": (
        OPENAI_CLIENT,
        {"input": TEXT, "model": "gpt-4o-mini-tts", "voice": "alloy", "response_format": "pcm", "speed": 1.2},
    ),
    "open-webui": (
        (
            *JSON,
            BEARER,
            (b"x-openwebui-user-name", b"A%20B"),
            (b"x-openwebui-user-id", b"1"),
            (b"x-openwebui-user-email", b"a@example.org"),
            (b"x-openwebui-user-role", b"admin"),
        ),
        {"input": TEXT, "voice": "nova", "model": "tts-1-hd"},
    ),
}


@pytest.mark.parametrize("plugin", PLUGINS)
async def test_requests_of_plugins(plugin: str) -> None:
    aliases = 'http.voice_aliases={alloy="low", ash="low", nova="low"}'
    headers, body = PLUGINS[plugin]
    async with running(create_app(tone_profile(aliases))) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        answer = await api.call("POST", SPEECH, body, headers)
        assert answer.status == 200
        assert answer.complete
        assert "content-encoding" not in answer.headers
        assert answer.headers["x-request-id"], "LiveKit reads it"
        spoken = tones(*SEGMENTS)
        if body.get("response_format") == "pcm":
            assert differ(answer.body, spoken) <= 1
        else:
            assert answer.headers["content-type"] == "audio/mpeg"
            samples, rate_hz = soundfile.read(io.BytesIO(answer.body))
            assert len(samples) / rate_hz == pytest.approx(len(spoken) / 2 / 24000, abs=0.1)
        # Open WebUI makes dictionaries of these.
        voices = (await api.call("GET", "/v1/audio/voices", b"")).json["voices"]
        assert {voice["id"]: voice["name"] for voice in voices}["nova"] == "nova"
        assert (await api.call("GET", "/v1/audio/models", b"")).json["models"] == [{"id": "tone"}]
