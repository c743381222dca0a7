"""POST /v1/audio/speech/batch: shapes of the answer, items that fail, limits, clients that go or do not read."""

from __future__ import annotations

import asyncio
import base64
import email
import io
import json
import zipfile
from typing import Any

import pytest
import soundfile

from serving.http.app import create_app
from serving.http.batch.packing import ZipPacker
from tests.http.test_openai import error_of
from tests.support import Answer, Api, running, tone_profile

pytestmark = pytest.mark.slow

BATCH = "/v1/audio/speech/batch"
SPEECH = "/v1/audio/speech"
SHORT = "model.options.samples_per_token=24"
SLOW = (SHORT, "model.options.window_tokens=1", "model.options.max_window_tokens=1")
"""As many steps as a text has characters."""


async def batch(api: Api, items: list[Any], **shared: Any) -> Answer:
    return await api.call("POST", BATCH, {"items": items, **shared})


def files_of(answer: Answer) -> dict[str, bytes]:
    """The files of a zip, by a reader that checks their sums."""
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert not any(entry.flag_bits & 8 for entry in archive.infolist()), "sizes stand before the bytes"
        return {name: archive.read(name) for name in archive.namelist()}


async def alone(api: Api, text: str, **fields: Any) -> bytes:
    answer = await api.call(
        "POST", SPEECH, {"input": text, "response_format": "wav", "stream": False} | fields
    )
    assert answer.status == 200
    return answer.body


async def test_the_answer_of_a_client_of_vllm_omni(api: Api) -> None:
    answer = await batch(
        api,
        [
            {"input": "One."},
            {"input": "Two.", "voice": "high", "speed": None},
            {"input": "3", "response_format": "mp3"},
        ],
        voice="low",
        seed=5,
        model="Qwen/Qwen3-TTS",
        task_type="Base",
    )
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-ignored-fields"] == "model, seed, task_type"
    told = answer.json
    assert set(told) == {"id", "results", "total", "succeeded", "failed"}
    assert (told["total"], told["succeeded"], told["failed"]) == (3, 3, 0)
    assert [result["index"] for result in told["results"]] == [0, 1, 2]
    assert {result["status"] for result in told["results"]} == {"success"}
    assert [result["media_type"] for result in told["results"]] == ["audio/wav", "audio/wav", "audio/mpeg"]
    audio = [base64.b64decode(result["audio_data"]) for result in told["results"]]
    assert audio[0] == await alone(api, "One.", voice="low", seed=5)
    assert audio[1] == await alone(api, "Two.", voice="high", seed=5)
    assert audio[2] == await alone(api, "3", voice="low", seed=5, response_format="mp3")
    for result, sound in zip(told["results"][:2], audio[:2], strict=True):
        samples, rate_hz = soundfile.read(io.BytesIO(sound))
        assert rate_hz == result["sample_rate_hz"]
        assert result["audio_seconds"] == pytest.approx(len(samples) / rate_hz, abs=1e-3)
        assert result["seed"] == 5


async def test_a_zip_has_a_file_for_each_item_and_an_index() -> None:
    texts = ["A long one, which ends last. " * 4, "Zwei — 二.", "Three."]
    items = [
        {"input": texts[0]},
        {"input": texts[1], "response_format": "opus"},
        {"input": texts[2], "timestamps": "sentence"},
    ]
    async with running(create_app(tone_profile(*SLOW, "model.options.step_s=0.005"))) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        answer = await batch(api, items, seed=1, output="zip")
        files = files_of(answer)
        assert files["000.wav"] == await alone(api, texts[0], seed=1)
    index = json.loads(files.pop("index.json"))
    assert set(files) == {"000.wav", "001.opus", "002.wav"}
    assert [result["file"] for result in index["results"]] == ["000.wav", "001.opus", "002.wav"]
    assert [sentence["text"] for sentence in index["results"][2]["sentences"]] == ["Three."]
    assert index["id"] == answer.headers["x-request-id"]


async def test_multipart_has_the_same_parts(api: Api) -> None:
    answer = await batch(api, [{"input": "One."}, {"input": "Two."}], seed=1, output="multipart")
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.body)
    parts: Any = message.get_payload()
    by_name = {part.get_filename(): part for part in parts}
    assert set(by_name) == {"000.wav", "001.wav", "index.json"}
    assert by_name["001.wav"].get_payload(decode=True) == await alone(api, "Two.", seed=1)
    assert answer.complete


@pytest.mark.parametrize("output", ["json", "zip"])
async def test_an_item_that_fails_fails_alone(output: str) -> None:
    profile = tone_profile(SHORT, "model.options.fail_token=7", "text.max_chars=50")
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        items: list[Any] = [
            {"input": "Fine."},
            {"input": ""},
            {"input": "x" * 51},
            {"input": "Fine.", "voice": "nobody"},
            {"input": "Fine.", "seed": "x"},
            7,
            {},
            {"input": "... !"},
            {"input": "Fine.", "response_format": "wma"},
            {"input": "Fine.", "response_format": "opus", "sample_rate_hz": 8000},
            {"input": "Fine too."},
        ]
        answer = await batch(api, items, output=output)
        told = answer.json if output == "json" else json.loads(files_of(answer)["index.json"])
    assert (told["total"], told["succeeded"], told["failed"]) == (11, 2, 9)
    params = [result.get("error_param") for result in told["results"]]
    assert params == [
        None, "items[1].input", "items[2].input", "items[3].voice", "items[4].seed", "items[5]", "items[6].input",
        "items[7].input", "items[8].response_format", "items[9].sample_rate_hz", None,
    ]  # fmt: skip
    failed = [result for result in told["results"] if result["status"] == "error"]
    assert {result["error_status"] for result in failed} == {400}
    assert {result["error_code"] for result in failed} == {"invalid_field"}
    assert all(result["error"] and "audio_data" not in result and "file" not in result for result in failed)


async def test_a_text_that_the_engine_fails_on(api: Api) -> None:
    profile = tone_profile(SHORT, f"model.options.fail_token={ord('z')}")
    async with running(create_app(profile)) as faulty:
        await faulty.until("/readyz", lambda answer: answer["ready"])
        answer = await batch(
            faulty, [{"input": "Fine."}, {"input": "A buzz."}, {"input": "Well."}], output="zip"
        )
        await faulty.until("/stats", lambda stats: not stats["slots_used"] + stats["in_flight"])
    files = files_of(answer)
    index = json.loads(files.pop("index.json"))
    wrong = index["results"][1]
    assert (wrong["status"], wrong["error_status"], wrong["error_code"]) == ("error", 500, "internal")
    assert "001.wav" not in files
    for result in index["results"]:
        if result["status"] == "success":
            assert len(files[result["file"]]) > 44


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "items", "required"),
        ({"items": []}, "items", "length >= 1"),
        ({"items": "text"}, "items", "an array"),
        ({"items": [{"input": "x"}] * 33}, "items", "33 items; the limit is 32"),
        ({"items": [{"input": "x"}], "output": "tar"}, "output", "tar"),
        ({"items": [{"input": "x"}], "voice": "nobody"}, "voice", "nobody"),
        ({"items": [{"input": "x"}], "response_format": "wma"}, "response_format", "wma"),
        ({"items": [{"input": "x"}], "seed": 1.5}, "seed", "an integer"),
        ({"items": [{"input": "x"}], "input": "y"}, "input", "each of `items`"),
        (b"[1]", None, "an object"),
        (b"{", None, "not JSON"),
        (b"", None, "`items`"),
    ],
)
async def test_a_body_that_is_wrong_as_a_whole(api: Api, body: Any, param: str | None, words: str) -> None:
    answer = await api.call("POST", BATCH, body)
    assert answer.status == 400
    error = error_of(answer)
    assert error["param"] == param
    assert words in error["message"]


async def test_a_batch_fills_the_steps_and_leaves_room_in_admission() -> None:
    profile = tone_profile(
        SHORT, "model.options.step_s=0.005", "admission.max_requests=8", "engine.max_slots=16"
    )
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        work = asyncio.create_task(batch(api, [{"input": f"Text number {n}. " * 4} for n in range(20)]))
        await api.until("/stats", lambda stats: stats["rows"].get("render", 0) > 0)
        others = await asyncio.gather(
            *(api.call("POST", "/tts", {"text": "I come between."}) for _ in range(4))
        )
        assert [other.status for other in others] == [200] * 4
        answer = await work
        stats = (await api.call("GET", "/stats")).json
    assert answer.json["succeeded"] == 20
    assert stats["rows"]["render"] / stats["steps"]["render"] > 2


async def test_a_batch_that_admission_refuses_at_its_door_is_refused_as_a_whole() -> None:
    profile = tone_profile(*SLOW, "model.options.step_s=0.05", "admission.max_requests=1")
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        gone = asyncio.Event()
        other = asyncio.create_task(api.call("POST", "/tts", {"text": "One. " * 50}, gone=gone))
        await api.until("/stats", lambda stats: stats["slots_used"] > 0)
        answer = await batch(api, [{"input": "x"}])
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert error_of(answer)["code"] == "overloaded"
        gone.set()
        await other


async def test_items_wait_while_others_fill_admission() -> None:
    profile = tone_profile(*SLOW, "model.options.step_s=0.01", "admission.max_requests=2")
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        work = asyncio.create_task(batch(api, [{"input": "A text of some words."}] * 4, seed=1))
        await api.until("/stats", lambda stats: stats["slots_used"] > 0)
        other = await api.call("POST", "/tts", {"text": "Between them."})
        assert other.status == 200
        assert (await work).json["succeeded"] == 4


async def test_a_client_that_goes_leaves_nothing_behind() -> None:
    profile = tone_profile(*SLOW, "model.options.step_s=0.02")
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        for output in ("json", "zip"):
            gone = asyncio.Event()
            items = [{"input": "Hi."}, *({"input": "A long text of many words. " * 10},) * 20]
            body = {"items": items, "output": output}
            work = asyncio.create_task(api.call("POST", BATCH, body, gone=gone))
            await api.until("/stats", lambda stats: stats["slots_used"] > 4)
            gone.set()
            await work
            await api.until("/stats", lambda stats: not stats["slots_used"] + stats["in_flight"])
        assert (await api.call("POST", "/tts", {"text": "Still here."})).status == 200


def test_a_zip_that_was_given_up_is_collected_in_silence() -> None:
    packer = ZipPacker()
    packer.add("a.wav", "audio/wav", b"samples")
    packer._window.close()
    packer._zip.close()
    assert packer._window.take().endswith(b"\0\0"), "the end of the directory"


async def test_what_is_not_made_in_time_has_expired() -> None:
    profile = tone_profile(*SLOW, "model.options.step_s=0.1", "batch.timeout_s=3", "engine.max_slots=2")
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        answer = await batch(api, [{"input": "x"}, *[{"input": "Many words, slowly. " * 20}] * 5])
        told = answer.json
        assert answer.complete
        assert told["results"][0]["status"] == "success"
        late = told["results"][1:]
        assert {(result["error_status"], result["error_code"]) for result in late} == {(504, "expired")}
        await api.until("/stats", lambda stats: not stats["slots_used"] + stats["in_flight"])
