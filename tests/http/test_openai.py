"""The paths of OpenAI's API with the tone model: fields, voices, errors."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile

from serving.audio.encode import AUDIO_FORMATS, WAV_HEADER_BYTES, wav_header
from serving.http.app import create_app
from serving.models.tone.options import Options, make_spec
from serving.openai import parse_speech
from serving.profile import ProfileError
from serving.protocol import InputError
from tests.http.test_speech import SEGMENTS, TEXT, differ, tones
from tests.support import JSON, Answer, Api, running, tone_profile

pytestmark = pytest.mark.slow

SPEECH = "/v1/audio/speech"


def error_of(answer: Answer) -> dict[str, Any]:
    """The envelope's inside, once its shape is checked."""
    assert answer.headers["content-type"] == "application/json", answer.body
    error: dict[str, Any] = answer.json["error"]
    assert set(answer.json) == {"error"}
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == ("server_error" if answer.status >= 500 else "invalid_request_error")
    assert error["message"]
    assert answer.headers["x-request-id"]
    return error


async def test_speech_is_streamed_as_it_is_made(api: Api) -> None:
    body = {"model": "tone", "input": TEXT, "voice": "high", "response_format": "pcm"}
    answer = await api.call("POST", SPEECH, body)
    assert answer.status == 200
    assert answer.complete
    assert answer.headers["content-type"] == "audio/pcm"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-voice"] == "high"
    assert "content-length" not in answer.headers
    assert "x-ignored-fields" not in answer.headers
    assert len(answer.pieces) > 4
    assert differ(answer.body, tones(*SEGMENTS, voice="high")) <= 1


async def test_stream_false_is_a_whole_file(api: Api) -> None:
    body = {"input": TEXT, "response_format": "wav", "stream": False}
    answer = await api.call("POST", SPEECH, body)
    samples, rate_hz = soundfile.read(io.BytesIO(answer.body), dtype="int16")
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert answer.body[:WAV_HEADER_BYTES] == wav_header(rate_hz, len(samples))
    assert float(answer.headers["x-audio-seconds"]) == pytest.approx(len(samples) / rate_hz, abs=1e-3)
    # libsndfile opens no FLAC of unknown length, so this is how its users get one.
    flac = await api.call("POST", SPEECH, {**body, "response_format": "flac"})
    assert differ(soundfile.read(io.BytesIO(flac.body), dtype="int16")[0].tobytes(), samples.tobytes()) == 0


@pytest.mark.parametrize("audio_format", AUDIO_FORMATS)
async def test_every_format_is_that_of_tts(api: Api, audio_format: str) -> None:
    theirs = await api.call("POST", SPEECH, {"input": TEXT, "response_format": audio_format})
    ours = await api.call("POST", "/tts/stream", {"text": TEXT, "format": audio_format})
    assert theirs.status == 200
    assert theirs.body == ours.body
    for header in ("content-type", "x-sample-rate"):
        assert theirs.headers[header] == ours.headers[header]


async def test_mp3_is_the_default(api: Api) -> None:
    for given in ({}, {"response_format": None}):
        answer = await api.call("POST", SPEECH, {"input": TEXT, **given})
        assert answer.headers["content-type"] == "audio/mpeg"
        samples, rate_hz = soundfile.read(io.BytesIO(answer.body), dtype="float32")
        assert rate_hz == 24000
        assert len(samples) / rate_hz == pytest.approx(len(tones(*SEGMENTS)) / 2 / 24000, abs=0.1)


def test_pcm_is_at_the_rate_that_clients_take_for_granted() -> None:
    spec = msgspec.structs.replace(make_spec(Options()), sample_rate_hz=22050)

    def rate_hz(**fields: object) -> int:
        return parse_speech(
            msgspec.json.encode({"input": "Hi.", **fields}), spec, None, {}
        ).order.output_rate_hz

    assert rate_hz(response_format="pcm") == 24000
    assert rate_hz(response_format="pcm", sample_rate_hz=16000) == 16000
    assert rate_hz(response_format="wav") == 22050, "its header tells"
    with pytest.raises(InputError, match="always 8000 Hz"):
        rate_hz(response_format="mulaw", sample_rate_hz=24000)


async def test_a_voice_is_a_name_or_an_object_with_an_id(api: Api) -> None:
    for voice, spoken in (("high", "high"), ({"id": "high"}, "high"), (None, "low")):
        answer = await api.call("POST", SPEECH, {"input": "Hello.", "voice": voice, "response_format": "pcm"})
        assert answer.headers["x-voice"] == spoken
        assert differ(answer.body, tones("Hello.", voice=spoken)) <= 1


async def test_aliases_speak_and_are_listed() -> None:
    profile = tone_profile('http.voice_aliases={alloy="high", low="high"}')
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        for asked, spoken in (("alloy", "high"), ({"id": "alloy"}, "high"), ("low", "low")):
            answer = await api.call("POST", SPEECH, {"input": "Hello.", "voice": asked})
            assert answer.headers["x-voice"] == spoken, "a voice of the model wins over an alias"
        unknown = error_of(await api.call("POST", SPEECH, {"input": "Hello.", "voice": "nova"}))
        assert unknown["param"] == "voice"
        listed = (await api.call("GET", "/v1/audio/voices", b"")).json
        assert [(voice["id"], voice["name"], voice["alias_of"]) for voice in listed["voices"]] == [
            ("low", "low", None),
            ("high", "high", None),
            ("alloy", "alloy", "high"),
        ]
        other = await api.call("POST", "/tts", {"text": "Hello.", "voice": "alloy"})
        assert other.status == 400, "aliases belong to OpenAI's paths"


def test_an_alias_of_no_voice_is_refused_at_the_start() -> None:
    with pytest.raises(ProfileError, match=r"http.voice_aliases.alloy: no voice is called 'nobody'"):
        create_app(tone_profile('http.voice_aliases={alloy="nobody"}'))


async def test_fields_of_other_servers_are_named_and_change_nothing(api: Api) -> None:
    fields = {
        "language": "English",
        "non_streaming_mode": False,
        "task_type": "CustomVoice",
        "max_new_tokens": 2048,
        "ref_text": "x",
        "ref_audio": "https://example.org/a.wav",
        "initial_codec_chunk_frames": 1,
        "instructions": "Speak softly.",
        "temperature": "of another scale",
        "top_k": -1,
        "text": "not this",
        "format": "neither",
        "lang_code": None,
        "a, b\r\nX-Evil: 1": {"deep": [1, 2, {"er": None}]},
        "ü" * 500: 1,
    }
    body = {"model": "tts-1", "input": TEXT, "response_format": "pcm", "stream": True, **fields}
    answer = await api.call("POST", SPEECH, body)
    assert answer.status == 200
    named = answer.headers["x-ignored-fields"].split(", ")
    assert set(fields) - {"a, b\r\nX-Evil: 1", "ü" * 500, "lang_code"} <= set(named)
    assert "model" in named
    assert "a%2C%20b%0D%0AX-Evil%3A%201" in named
    assert max(map(len, named)) <= 60
    assert "lang_code" not in named, "null is as good as absent"
    assert "stream" not in named
    assert differ(answer.body, tones(*SEGMENTS)) <= 1


async def test_a_thousand_unknown_fields_make_a_header_of_bounded_size(api: Api) -> None:
    answer = await api.call("POST", SPEECH, {"input": "Hi.", **{f"{'x' * 90}{n}": n for n in range(990)}})
    assert answer.status == 200
    assert len(answer.headers["x-ignored-fields"]) < 4000


async def test_our_own_fields_work_there_too(api: Api) -> None:
    fields = {"seed": 7, "text_format": "plain", "normalize": False, "max_text_tokens_per_segment": 20}
    answer = await api.call("POST", SPEECH, {"input": TEXT, "response_format": "pcm", **fields})
    ours = await api.call("POST", "/tts", {"text": TEXT, "format": "pcm", **fields})
    assert answer.headers["x-seed"] == "7"
    assert answer.body == ours.body
    timed = await api.call("POST", SPEECH, {"input": TEXT, "timestamps": "word", "response_format": "pcm"})
    assert timed.headers["content-type"].startswith("multipart/mixed")
    wrong = error_of(await api.call("POST", SPEECH, {"input": TEXT, "max_text_tokens_per_segment": 5}))
    assert wrong["param"] == "max_text_tokens_per_segment"


async def test_a_wrong_field_is_named_as_the_client_wrote_it(api: Api) -> None:
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({}, "input", "required"),
        ({"input": ""}, "input", "length"),
        ({"input": " "}, "input", "empty"),
        ({"input": "?!"}, "input", "nothing to speak"),
        ({"input": None}, "input", "a string"),
        ({"input": ["a"]}, "input", "a string"),
        ({"input": "a" * 5001}, "input", "5000"),
        ({"input": "x", "voice": "nobody"}, "voice", "low, high"),
        ({"input": "x", "voice": 3}, "voice", "a string"),
        ({"input": "x", "voice": {}}, "voice", "id"),
        ({"input": "x", "voice": {"id": 3}}, "voice", "id"),
        ({"input": "x", "speaker": "nobody"}, "speaker", "low, high"),
        ({"input": "x", "voice": "low", "speaker": "nobody"}, "speaker", "low, high"),
        ({"input": "x", "voice": "low", "speaker": {"id": 3}}, "speaker", "id"),
        ({"input": "x", "response_format": "mp4"}, "response_format", "mp4"),
        ({"input": "x", "stream_format": "websocket"}, "stream_format", "websocket"),
        ({"input": "x", "speed": 0.2}, "speed", "0.25"),
        ({"input": "x", "speed": 4.1}, "speed", "4.0"),
        ({"input": "x", "speed": "fast"}, "speed", "a number"),
        ({"input": "x", "stream": "yes"}, "stream", "a boolean"),
        ({"input": "x", "model": 3}, "model", "a string"),
        ({"input": "x", "seed": "y"}, "seed", "an integer"),
    ]
    for body, field, words in wrong:
        answer = await api.call("POST", SPEECH, msgspec.json.encode(body))
        assert answer.status == 400, body
        error = error_of(answer)
        assert (error["param"], error["code"]) == (field, "invalid_field"), error
        assert error["message"].startswith(f"{field}: ")
        assert words in error["message"]
    for raw, words in (
        (b"", "`input`"),
        (b"[1]", "an array"),
        (b"{", "truncated"),
        (b'{"input": "\xff"}', "UTF-8"),
    ):
        error = error_of(await api.call("POST", SPEECH, raw))
        assert (error["param"], error["code"]) == (None, "malformed_body")
        assert words in error["message"]
    surrogate = error_of(await api.call("POST", SPEECH, b'{"input": "\\ud800"}'))
    assert surrogate["param"] == "input"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", SPEECH, 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/chat/completions", 404, "not_found"),
        ("POST", "/v1/", 404, "not_found"),
        ("GET", "/v1/models/tts-1", 404, "not_found"),
    ],
)
async def test_wrong_methods_and_paths_are_envelopes(
    api: Api, method: str, path: str, status: int, code: str
) -> None:
    answer = await api.call(method, path, b"")
    assert answer.status == status
    assert error_of(answer)["code"] == code


async def test_wrong_bodies_and_a_server_that_cannot_are_envelopes() -> None:
    async with running(
        create_app(
            tone_profile("admission.max_requests=1", "model.options.step_s=0.05", "model.options.load_s=0.3")
        )
    ) as api:
        early = await api.call("POST", SPEECH, {"input": "x"})
        assert (early.status, error_of(early)["code"]) == (503, "not_ready")
        assert int(early.headers["retry-after"]) >= 1
        await api.until("/readyz", lambda answer: answer["ready"])
        text = await api.call("POST", SPEECH, b"x", ((b"content-type", b"text/plain"),))
        assert (text.status, error_of(text)["code"]) == (415, "unsupported_media_type")
        large = await api.call("POST", SPEECH, headers=(*JSON, (b"content-length", b"2000000")))
        assert (large.status, error_of(large)["code"]) == (413, "body_too_large")
        busy = asyncio.ensure_future(api.call("POST", SPEECH, {"input": TEXT}))
        await api.until("/stats", lambda stats: stats["slots_used"] > 0)
        refused = await api.call("POST", SPEECH, {"input": "x"})
        assert (refused.status, error_of(refused)["code"]) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await busy).status == 200
        elsewhere = await api.call("POST", "/tts", {"text": ""})
        assert elsewhere.problem["field"] == "text"


async def test_models_as_the_api_lists_them(api: Api) -> None:
    listed = (await api.call("GET", "/v1/models", b"")).json
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["tone"]
    assert (await api.call("GET", "/v1/models/tone", b"")).json == listed["data"][0]
    assert (await api.call("GET", "/health", b"")).json == {"status": "ok"}


async def test_the_api_description_shows_the_body(api: Api) -> None:
    document = (await api.call("GET", "/schema/openapi.json", b"")).json
    operation = document["paths"][SPEECH]["post"]
    properties = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert {
        "input",
        "voice",
        "response_format",
        "stream_format",
        "max_text_tokens_per_segment",
    } <= set(properties)
    assert not {"text", "format", "temperature"} & set(properties), "the tone model has no use for them"
    assert "text/event-stream" in operation["responses"]["200"]["content"]
    error = operation["responses"]["400"]["content"]["application/json"]["schema"]["$ref"]
    assert error.endswith("OpenAIEnvelope")


async def test_speeds_are_brought_into_the_model_s_range() -> None:
    # The tone model has no speeds: what is asked for is named, and 1 is spoken.
    async with running(create_app(tone_profile())) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        answer = await api.call("POST", SPEECH, {"input": "Hi.", "speed": 2, "response_format": "pcm"})
        assert answer.headers["x-speed"] == "1"
        assert answer.headers["x-ignored-fields"] == "speed"
        assert len(np.frombuffer(answer.body, "<i2")) == len("Hi.") * 1200
