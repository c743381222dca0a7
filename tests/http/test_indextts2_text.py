"""IndexTTS2 behind HTTP: texts that stopped its normaliser, and a voice whose name is not Latin."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
import soundfile

from serving.http.app import create_app
from serving.models.indextts2.voice.recordings import built_in_wave
from serving.profile import load_profile
from tests.support import Api, running

TEXTS = (
    "First paragraph.\n\nSecond paragraph.", "It rose by +5 points.", "It costs 15€ online.", "It fell to −5 degrees.",
    "## Getting started", "Hello \u00a0 there.", "A tab\there.", "Windows\r\n\r\nline ends.", "**bold** words",
    "1 + 1 = 2",     "A \u3000 wide blank.", "€", "£20 & ¥500", "~5%", "C:\\dir", "你好\n\n+5分", "😀 ok",
)  # fmt: skip
VOICE = "%E5%B0%8F%E6%98%8E"


@pytest_asyncio.fixture
async def indextts2(tmp_path: Path) -> AsyncIterator[Api]:
    """The application with IndexTTS2 from tiny random weights in this process, and one voice, 小明."""
    soundfile.write(tmp_path / "小明.wav", built_in_wave(24000)[:36000], 24000)
    settings = {
        "model.options.weights": "random",
        "model.options.size": "tiny",
        "model.options.max_codes": 12,
        "model.options.prompt_s": 0.4,
        "model.options.flow_iterations": 2,
        "model.options.voices": tmp_path,
        "engine.process": "false",
        "engine.threads": 1,
        "engine.workers": 1,
        "engine.device": "cpu",
    }
    profile = load_profile(
        "indextts2-default", [f"{key}={value}" for key, value in settings.items()], environ={}
    )
    async with running(create_app(profile)) as warm:
        await warm.until("/readyz", lambda answer: answer["ready"])
        yield warm


async def test_a_voice_with_a_chinese_name_speaks_every_text(indextts2: Api) -> None:
    voices = (await indextts2.call("GET", "/voices")).json
    assert [voice["name"] for voice in voices["voices"]] == ["小明"]
    for fields in ({}, {"voice": "小明"}):
        answer = await indextts2.call("POST", "/tts", {"text": "Hello.", "seed": 1, **fields})
        assert answer.status == 200, answer.body
        assert answer.headers["x-voice"] == VOICE
    for text in TEXTS:
        answer = await indextts2.call("POST", "/tts", {"text": text, "seed": 1, "format": "pcm"})
        assert answer.status == 200, (text, answer.body)
        assert answer.body
    stream = await indextts2.call("POST", "/tts/stream", {"text": TEXTS[0], "seed": 1})
    assert stream.status == 200
    assert stream.headers["x-voice"] == VOICE


async def test_an_unknown_voice_with_a_chinese_name_is_refused_by_its_name(indextts2: Api) -> None:
    answer = await indextts2.call("POST", "/tts", {"text": "Hello.", "voice": "小红"})
    assert answer.status == 400
    assert answer.json["field"] == "voice"
    said = answer.body.decode()
    assert "小红" in said
    assert "小明" in said


async def test_what_this_server_cannot_do_is_refused_on_every_path_and_told_in_the_document(
    indextts2: Api,
) -> None:
    longest = 160
    for fields, field in (
        ({"emo_text": "Alas!"}, "emo_text"),
        ({"max_text_tokens_per_segment": longest + 1}, "max_text_tokens_per_segment"),
    ):
        for path, body in (
            ("/tts", {"text": "Hello."}),
            ("/tts/captions", {"text": "Hello."}),
            ("/v1/audio/speech", {"input": "Hello."}),
            ("/v1/audio/speech/batch", {"items": [None]}),
            ("/v1/audio/speech/batch", {"items": [{"input": "Hello."}]}),
        ):
            answer = await indextts2.call("POST", path, {**body, **fields})
            assert answer.status == 400, (path, fields)
            assert field in answer.body.decode()
    paths = (await indextts2.call("GET", "/schema/openapi.json")).json["paths"]
    for path in ("/tts", "/v1/audio/speech", "/v1/audio/speech/batch"):
        body = paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        bound = body["properties"]["max_text_tokens_per_segment"]
        assert [part["maximum"] for part in (bound, *bound.get("anyOf", ())) if "maximum" in part] == [
            longest
        ]
    answer = await indextts2.call("POST", "/tts", {"text": "Hello.", "max_text_tokens_per_segment": longest})
    assert answer.status == 200
