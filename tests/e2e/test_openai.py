"""The official openai client, unchanged, against the real server with the embedded voice."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import openai
import pytest
import soundfile

from serving.audio.encode import WAV_HEADER_BYTES, wav_header
from tests.e2e.test_server import LONG
from tests.support import serving

pytestmark = pytest.mark.e2e

KEY = "not looked at"
MODEL = "gpt-4o-mini-tts"


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server that profiles/openai.toml describes."""
    with serving(tmp_path_factory.mktemp("openai"), "--profile", "openai") as started:
        yield f"{started.base_url}/v1"


@pytest.fixture
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=base_url, api_key=KEY, timeout=60, max_retries=0) as made:
        yield made


def test_create_answers_speech(client: openai.OpenAI, tmp_path: Path) -> None:
    answer = client.audio.speech.create(
        model=MODEL,
        voice="alloy",
        input="Hello world.",
        instructions="Speak softly.",
        response_format="wav",
    )
    answer.write_to_file(tmp_path / "hello.wav")
    samples, rate_hz = soundfile.read(io.BytesIO(answer.content))
    assert rate_hz == 24000
    assert 0.3 < len(samples) / rate_hz < 5
    assert np.abs(samples).max() > 0.05
    assert answer.response.headers["x-ignored-fields"] == "instructions, model"
    assert answer.response.headers["x-voice"] == "heart"


@pytest.mark.parametrize(
    ("audio_format", "bytes_of_start"),
    [
        ("mp3", b"\xff"),
        ("opus", b"OggS"),
        ("aac", b"\xff"),
        ("flac", b"fLaC"),
        ("wav", b"RIFF"),
        (openai.omit, b"\xff"),
    ],
)
def test_every_format_streamed_and_not(
    client: openai.OpenAI, audio_format: Any, bytes_of_start: bytes
) -> None:
    request: dict[str, Any] = {"model": MODEL, "voice": "alloy", "input": LONG, "extra_body": {"seed": 7}}
    whole = client.audio.speech.create(**request, response_format=audio_format).content
    with client.audio.speech.with_streaming_response.create(
        **request, response_format=audio_format
    ) as answer:
        pieces = list(answer.iter_bytes())
    assert len(pieces) > 3
    pcm = client.audio.speech.create(**request, response_format="pcm").content
    for audio in (whole, b"".join(pieces)):
        assert audio.startswith(bytes_of_start)
        # Codecs add less than a tenth of a second at the ends; nothing of the speech is missing.
        assert -0.001 < decoded_s(audio) - len(pcm) / 2 / 24000 < 0.2
    # What has come before the end can be played.
    assert decoded_s(whole[: len(whole) // 2]) > 0.25 * len(pcm) / 2 / 24000


def decoded_s(audio: bytes) -> float:
    """Seconds that libav makes of a file, or of its beginning."""
    with av.open(io.BytesIO(audio), "r") as container:
        frames = list(frames_of(container))
    return sum(frame.samples / frame.sample_rate for frame in frames)


def frames_of(container: av.container.InputContainer) -> Iterator[av.AudioFrame]:
    """Frames until the end, or to where the file was cut."""
    try:
        yield from container.decode(audio=0)
    except av.error.InvalidDataError:
        return


def test_extra_fields_of_ours_go_through_the_client(client: openai.OpenAI, server: str) -> None:
    answer = client.audio.speech.create(
        model="hibari",
        voice={"id": "heart"},
        input=LONG,
        speed=1.25,
        response_format="pcm",
        extra_body={"seed": 7, "language": "en"},
    )
    assert answer.response.headers["x-seed"] == "7"
    assert answer.response.headers["x-speed"] == "1.25"
    assert answer.response.headers["x-ignored-fields"] == "language"
    ours = httpx.post(
        f"{server}/tts/stream", json={"text": LONG, "seed": 7, "speed": 1.25, "format": "pcm"}, timeout=60
    )
    assert len(answer.content) == len(ours.content)
    theirs, own = (np.frombuffer(side, "<i2").astype(int) for side in (answer.content, ours.content))
    assert np.abs(theirs - own).max() <= 4


def test_speeds_are_brought_into_the_model_s_range(client: openai.OpenAI) -> None:
    seconds = {}
    for asked, spoken in ((0.25, "0.5"), (1.0, "1"), (4.0, "2")):
        answer = client.audio.speech.create(
            model=MODEL, voice="nova", input="Hello world, how are you?", speed=asked, response_format="pcm"
        )
        assert answer.response.headers["x-speed"] == spoken
        seconds[asked] = len(answer.content) / 2 / 24000
    assert seconds[0.25] > 1.3 * seconds[1.0] > 1.3 * 1.3 * seconds[4.0]


def test_the_first_bytes_come_before_the_sentence_is_finished(client: openai.OpenAI, server: str) -> None:
    whole = client.audio.speech.create(model=MODEL, voice="alloy", input=LONG, response_format="wav")
    root = str(client.base_url).removesuffix("v1/")
    in_flight = 0
    pieces: list[bytes] = []
    with client.audio.speech.with_streaming_response.create(
        model=MODEL, voice="alloy", input=LONG * 12, response_format="wav"
    ) as answer:
        assert answer.headers["x-request-id"] == answer.request_id
        for piece in answer.iter_bytes():
            if not pieces:
                in_flight = httpx.get(f"{root}stats").json()["in_flight"]
            pieces.append(piece)
    assert in_flight > 0, "the engine was done when the first bytes came"
    body = b"".join(pieces)
    assert len(pieces) > 3
    assert body[:WAV_HEADER_BYTES] == wav_header(24000)
    assert len(body) > 1.8 * len(whole.content)


def test_events_through_the_client(client: openai.OpenAI) -> None:
    audio, done = b"", None
    with client.audio.speech.with_streaming_response.create(
        model=MODEL, voice="alloy", input=LONG, response_format="pcm", stream_format="sse"
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if not line.startswith("data: "):
                continue
            event = json.loads(line.removeprefix("data: "))
            assert done is None, "nothing follows speech.audio.done"
            if event["type"] == "speech.audio.delta":
                audio += base64.b64decode(event["audio"])
            else:
                assert event["type"] == "speech.audio.done"
                done = event["usage"]
    assert done is not None
    assert done["audio_seconds"] == pytest.approx(len(audio) / 2 / 24000, abs=1e-3)
    assert np.abs(np.frombuffer(audio, "<i2")).max() > 1000


def test_a_client_that_leaves_its_events_frees_its_slot(client: openai.OpenAI) -> None:
    root = str(client.base_url).removesuffix("v1/")
    aborted = httpx.get(f"{root}stats").json()["requests"]["aborted"]
    with client.audio.speech.with_streaming_response.create(
        model=MODEL, voice="alloy", input=LONG * 12, response_format="pcm", stream_format="sse"
    ) as answer:
        next(answer.iter_lines())
    deadline_s = time.monotonic() + 10
    while (stats := httpx.get(f"{root}stats").json())["slots_used"] or stats["in_flight"]:
        assert time.monotonic() < deadline_s
    assert stats["requests"]["aborted"] == aborted + 1


async def test_the_asynchronous_client(base_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=base_url, api_key=KEY, timeout=60, max_retries=0) as client:
        whole = await client.audio.speech.create(
            model=MODEL, voice="coral", input=LONG, response_format="pcm", extra_body={"seed": 7}
        )
        streamed = b""
        async with client.audio.speech.with_streaming_response.create(
            model=MODEL, voice="coral", input=LONG, response_format="pcm", extra_body={"seed": 7}
        ) as answer:
            async for piece in answer.iter_bytes(1024):
                streamed += piece
        assert len(streamed) == len(whole.content)
        models = [model.id async for model in client.models.list()]
    assert models == ["hibari"]


def test_the_client_understands_the_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as wrong_voice:
        client.audio.speech.create(model=MODEL, voice="nobody", input="Hello.")
    assert (wrong_voice.value.param, wrong_voice.value.code) == ("voice", "invalid_field")
    assert wrong_voice.value.type == "invalid_request_error"
    assert "there are heart" in wrong_voice.value.message
    with pytest.raises(openai.BadRequestError, match="input"):
        client.audio.speech.create(model=MODEL, voice="alloy", input=" ")
    with pytest.raises(openai.NotFoundError) as no_model:
        client.models.retrieve("tts-1")
    assert no_model.value.code == "not_found"
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model=MODEL, input="Hello.")
    assert client.models.retrieve("hibari").owned_by == "tts-serving"
    assert client.models.list().data[0].created > 1_600_000_000
