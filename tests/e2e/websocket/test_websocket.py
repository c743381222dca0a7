"""WS /v1/audio/speech/stream with a client library and the real server."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import soundfile
from websockets import InvalidStatus, Origin, Subprotocol
from websockets.asyncio.client import connect

from tests.live import (
    PAUSE_S,
    PCM,
    SENTENCES,
    TEXT,
    alone,
    hear,
    send,
    session,
    speak,
    stats,
    tone_server,
    until,
    until_idle,
)
from tests.support import Server, serving

pytestmark = pytest.mark.e2e
LONG = f"The boat left {'and came back ' * 250}at noon. And then"
"""One sentence of minutes: the engine is within it when its client goes, where short ones may all be made by then."""


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with tone_server(tmp_path_factory.mktemp("tone")) as started:
        yield started


async def test_one_word_every_50_ms_is_spoken_while_the_text_is_written(server: str) -> None:
    words = [f"{word} " for word in TEXT.split()]
    async with session(server, seed=3, **PCM) as client:
        reading = asyncio.ensure_future(hear(client))
        for word in words:
            await send(client, "input.text", text=word)
            await asyncio.sleep(0.05)
        await send(client, "input.done")
        heard = await reading
    assert heard.sentences == SENTENCES
    (done,) = heard.of("session.done")
    assert (done["reason"], done["total_sentences"]) == ("stop", len(SENTENCES))
    assert done["samples"] == len(heard.samples) == sum(event["samples"] for event in heard.of("audio.done"))
    at = 0
    for number, sentence in enumerate(SENTENCES):
        # Each is what /tts makes of it alone, behind the pause after the sentence before it.
        at += round(PAUSE_S * done["sample_rate"]) if number else 0
        expected = await alone(server, sentence, 3)
        spoken = heard.samples[at : at + len(expected)]
        assert np.abs(spoken - expected).max() <= 4
        at += len(expected)
    assert at == done["samples"]


async def test_the_pieces_do_not_change_the_audio(server: str) -> None:
    whole = await speak(server, [TEXT], seed=5, **PCM)
    by_three = await speak(server, [TEXT[at : at + 3] for at in range(0, len(TEXT), 3)], seed=5, **PCM)
    assert by_three.sentences == whole.sentences == SENTENCES
    assert len(by_three.samples) == len(whole.samples)
    assert np.abs(by_three.samples - whole.samples).max() <= 4


async def test_audio_comes_before_the_text_has_ended(server: str) -> None:
    async with session(server, **PCM) as client:
        await send(client, "input.text", text="It is late.")
        heard = await hear(client, "audio.done")
        assert heard.sentences == ["It is late."]
        assert len(heard.samples) == heard.of("audio.done")[0]["samples"] > 0
        await send(client, "input.done")
        assert (await hear(client)).of("session.done")[0]["total_sentences"] == 1


async def test_a_text_that_comes_at_once_waits_unread_and_a_cancel_passes_it(tone: Server) -> None:
    text = "Hello there. " * 1536
    async with session(tone.base_url, **PCM) as client:
        await send(client, "input.text", text=text)
        await send(client, "input.done")
        while isinstance(await client.recv(), str):
            pass
        await send(client, "response.cancel")
        async with asyncio.timeout(20):
            (done,) = (await hear(client)).of("session.done")
        assert done["reason"] == "cancelled"
        assert done["total_sentences"] < 1536
        await send(client, "input.text", text="Hello again.")
        await send(client, "input.done")
        assert (await hear(client)).of("session.done")[0]["reason"] == "stop"


async def test_a_cancel_in_mid_speech_frees_the_engine_and_leaves_seven_neighbours_alone(server: str) -> None:
    texts = [f"Neighbour {number} goes on. {TEXT}" for number in range(7)]
    cancels = 3
    before = await stats(server)
    async with httpx.AsyncClient(base_url=server, timeout=60) as client, session(server, **PCM) as leaving:
        neighbours = [
            asyncio.ensure_future(client.post("/tts/stream", json={"text": text, "seed": 2, "format": "pcm"}))
            for text in texts
        ]
        for number in range(cancels):
            await send(leaving, "input.text", text=LONG)
            while isinstance(await leaving.recv(), str):
                pass
            await send(leaving, "response.cancel")
            heard = await hear(leaving)
            (done,) = heard.of("session.done")
            assert (done["reason"], done["utterance_index"]) == ("cancelled", number)
        together = [await neighbour for neighbour in neighbours]
        after = await until_idle(server)
        assert after["requests"]["aborted"] > before["requests"]["aborted"]
        assert after["requests"]["failed"] == before["requests"]["failed"]
        for text, answer in zip(texts, together, strict=True):
            again = await client.post("/tts/stream", json={"text": text, "seed": 2, "format": "pcm"})
            first, second = (np.frombuffer(side.content, "<i2").astype(int) for side in (answer, again))
            assert len(first) == len(second)
            assert np.abs(first - second).max() <= 1
        await send(leaving, "input.text", text="And it speaks again.")
        await send(leaving, "input.done")
        assert (await hear(leaving)).of("session.done")[0]["total_sentences"] == 1


async def test_one_frame_a_sentence_is_a_whole_file(server: str) -> None:
    heard = await speak(server, [TEXT], seed=3)  # the defaults of vLLM-Omni: wav, not streamed
    assert heard.order == ["audio.start", "audio", "audio.done"] * 3 + ["session.done"]
    for frame, done in zip(heard.frames, heard.of("audio.done"), strict=True):
        samples, rate_hz = soundfile.read(io.BytesIO(frame))
        assert (len(samples), rate_hz) == (done["samples"], done["sample_rate"])
        assert done["total_bytes"] == len(frame)


async def test_a_clause_is_spoken_when_the_playback_buffer_would_empty(tone: Server) -> None:
    async with session(tone.base_url, **PCM) as client:
        await send(client, "input.text", text="Hi. When the wind turned, every window on the qu")
        heard = await hear(client, "audio.done")
        clause = await hear(client, "audio.done")
        await send(client, "input.text", text="ay began to rattle.")
        await send(client, "input.done")
        rest = await hear(client)
    spoken = heard.sentences + clause.sentences + rest.sentences
    assert spoken == ["Hi.", "When the wind turned,", "every window on the quay began to rattle."]


@pytest.mark.parametrize(
    ("granularity", "expected"),
    [
        ("clause", ["When it turned,", "we left."]),
        ("sentence", ["When it turned, we left."]),
        ("none", ["When it turned, we left."]),
    ],
)
async def test_granularity(tone: Server, granularity: str, expected: list[str]) -> None:
    pieces = ["When it tur", "ned, we ", "left."]
    heard = await speak(tone.base_url, pieces, split_granularity=granularity, **PCM)
    assert heard.sentences == expected


async def test_times_of_words_are_events_that_count_from_the_first_sample(tone: Server) -> None:
    heard = await speak(tone.base_url, ["Hi you. And", " me too."], timestamps="word", **PCM)
    first, second = heard.of("audio.times")
    assert [(word["text"], word["start_s"]) for word in first["words"]] == [("Hi", 0.0), ("you.", 0.15)]
    start_s = 0.05 * len("Hi you.") + PAUSE_S
    assert second["words"][0] == {
        "text": "And",
        "start": 8,
        "end": 11,
        "start_s": start_s,
        "end_s": start_s + 0.15,
    }
    assert heard.order.index("audio.times") < heard.order.index("audio")


async def test_word_timestamps_as_vllm_omni_sends_them(tone: Server) -> None:
    heard = await speak(tone.base_url, ["Hi you."], word_timestamps=True, **PCM)
    *chunks, last = heard.of("audio.chunk")
    assert heard.frames == []
    assert (
        sum(len(base64.b64decode(chunk["audio_b64"])) for chunk in chunks)
        == heard.of("audio.done")[0]["total_bytes"]
    )
    assert all(chunk["timestamps"] is None for chunk in chunks)
    assert last["timestamps"][0] == {"word": "Hi", "start_ms": 0, "end_ms": 100}


@pytest.mark.parametrize(
    ("frame", "code", "close_code"),
    [
        ("{", "malformed_message", 1007),
        ("[]", "malformed_message", 1007),
        (b"\x00\x01", "binary_frame", 1003),
        (json.dumps({"type": "input.text", "text": "x" * 200_000}), "frame_too_large", 1009),
        (json.dumps({"type": "input.text"}), "invalid_field", 1008),
        (json.dumps({"type": "input.text", "text": 5}), "invalid_field", 1008),
        (json.dumps({"type": "input.text", "text": "x" * 20_001}), "text_too_long", 1008),
        (json.dumps({"type": "dance"}), "unknown_message", 1008),
        (json.dumps({"type": "session.config", "voice": "nobody"}), "invalid_field", 1008),
        (json.dumps({"type": "session.config", "response_format": "midi"}), "invalid_field", 1008),
        (json.dumps({"type": "session.config", "speaker": "nobody"}), "invalid_field", 1008),
        (json.dumps({"type": "session.config", "speed": 5}), "invalid_field", 1008),
        (json.dumps({"type": "session.config", "format": "wav"}), "invalid_field", 1008),
        (json.dumps({"type": "session.config", "sample_rate_hz": 11025}), "invalid_field", 1008),
        (json.dumps({"type": "session.config", "stream_audio": "yes"}), "invalid_field", 1008),
        (
            '{"type": "session.config", "colour": ' + "[" * 9_999 + "]" * 9_999 + "}",
            "malformed_message",
            1007,
        ),
        (json.dumps({"type": "session.config", "word_timestamps": True}), "invalid_field", 1008),
        (json.dumps({"type": "session.config", "text": "Hi"}), "invalid_field", 1008),
    ],
)
async def test_a_wrong_frame_gets_an_error_and_a_close_code(
    tone: Server, frame: str | bytes, code: str, close_code: int
) -> None:
    async with session(tone.base_url) as client:
        await client.send(frame)
        heard = await hear(client, "error")
        assert heard.events[-1]["code"] == code
        await client.wait_closed()
        assert client.close_code == close_code
    assert (await speak(tone.base_url, ["Still here."], **PCM)).sentences == ["Still here."]


async def test_text_before_the_config_and_silence_are_refused(tone: Server) -> None:
    address = tone.base_url.replace("http", "ws", 1) + "/v1/audio/speech/stream"
    async with connect(address) as client:
        await send(client, "input.text", text="Hi.")
        assert (await hear(client)).events[-1]["code"] == "not_configured"
    async with connect(address) as client:
        assert (await hear(client)).events[-1]["code"] == "idle"
        await client.wait_closed()
        assert client.close_code == 1008


async def test_fields_of_other_servers_are_ignored_and_named(tone: Server) -> None:
    config: dict[str, Any] = {
        "language": "English",
        "max_new_tokens": 5,
        "colour": {"red": 1},
        "stream": True,
    }
    heard = await speak(tone.base_url, ["Hi."], model="x", seed=None, **config, **PCM)
    assert heard.of("session.done")[0]["ignored_fields"] == [
        *("colour", "language", "max_new_tokens", "model", "stream")
    ]


async def test_a_text_without_words_is_an_error_and_the_connection_goes_on(tone: Server) -> None:
    async with session(tone.base_url, **PCM) as client:
        await send(client, "input.text", text="... !")
        await send(client, "input.done")
        assert (await hear(client)).events[-1]["field"] == "text"
        assert (await hear(client)).of("session.done")[0]["reason"] == "error"
        await send(client, "input.text", text="Hi. ")
        await send(client, "input.done")
        await send(client, "input.text", text="You.")
        await send(client, "input.done")
        assert [(await hear(client)).sentences, (await hear(client)).sentences] == [["Hi."], ["You."]]
        await send(client, "session.close")
        await client.wait_closed()
        assert client.close_code == 1000


async def test_a_client_that_goes_frees_the_engine(server: str) -> None:
    before = await stats(server)
    async with session(server, **PCM) as client:
        await send(client, "input.text", text=LONG)
        while isinstance(await client.recv(), str):
            pass
    after = await until_idle(server)
    assert after["requests"]["aborted"] > before["requests"]["aborted"]


async def test_a_client_that_does_not_read_is_given_up(tone: Server) -> None:
    before = await stats(tone.base_url)
    address = urlsplit(tone.base_url)
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.connect((address.hostname, address.port))
    client = await connect(
        f"ws://{address.netloc}/v1/audio/speech/stream", sock=small, max_queue=1, ping_interval=None
    )
    await send(client, "session.config", **PCM)
    for _ in range(100):  # about 14 minutes of audio, 40 MB
        await send(client, "input.text", text=f"{TEXT} ")
    await send(client, "input.done")
    await until(tone.base_url, lambda _: "took nothing for 0.5 s" in tone.log.read_text(encoding="utf-8"))
    after = await until_idle(tone.base_url)
    # What the sockets hold was made, and two sentences; not the 300 of the text.
    assert after["requests"]["finished"] - before["requests"]["finished"] < 150
    assert (await speak(tone.base_url, ["Still here."], **PCM)).sentences == ["Still here."]
    client.transport.abort()
    await client.wait_closed()


async def test_an_engine_that_is_full_refuses_an_utterance_and_the_connection_goes_on(tmp_path: Path) -> None:
    slow = ["model.name=tests.faulty_tone", "model.options.step_s=0.05", "model.options.max_window_tokens=1"]
    settings = [*slow, "admission.max_requests=1"]
    with serving(tmp_path, *(part for key in settings for part in ("--set", key))) as busy:
        async with session(busy.base_url, **PCM) as first, session(busy.base_url, **PCM) as second:
            await send(first, "input.text", text="x" * 300 + ".\n\n")
            await hear(first, "audio.start")
            await send(second, "input.text", text="Hi.\n\n")
            await send(second, "input.done")
            assert (await hear(second)).events[-1]["code"] == "overloaded"
            assert (await hear(second)).of("session.done")[0]["reason"] == "error"
            await send(first, "response.cancel")
            await hear(first)
            await send(second, "input.text", text="Hi.")
            await send(second, "input.done")
            assert (await hear(second)).sentences == ["Hi."]


@pytest.mark.parametrize("path", ["stream", "ws"])
async def test_pages_of_other_origins_may_not_connect(tone: Server, path: str) -> None:
    address = tone.base_url.replace("http://", "ws://") + f"/v1/audio/speech/{path}"
    with pytest.raises(InvalidStatus) as refused:
        async with connect(
            address, origin=Origin("http://evil.example"), subprotocols=[Subprotocol("nari.speech.v1")]
        ):
            pass
    assert refused.value.response.status_code == 403
    async with connect(address, origin=Origin(tone.base_url), subprotocols=[Subprotocol("nari.speech.v1")]):
        pass
