"""/v1/audio/voices with IndexTTS2 from tiny random weights: add, speak, list, replace, delete."""

from __future__ import annotations

import asyncio
import os
import unicodedata
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from serving.http.app import create_app
from serving.profile import ProfileError
from tests.cloning import (
    BOUNDARY,
    RATE_HZ,
    VOICES,
    WAVE,
    add,
    audio,
    delete,
    form,
    good,
    headers,
    names,
    profile_of,
    speak,
    stored,
)
from tests.http.test_openai import error_of
from tests.support import Api, running, tone_profile

pytestmark = pytest.mark.slow


async def test_a_voice_speaks_at_once_and_is_gone_when_it_is_deleted(cloning: Api, folder: Path) -> None:
    before = (await cloning.call("GET", VOICES, b"", ())).json
    assert before["can_add"]
    assert before["default_voice"] == "ann"
    assert [(voice["id"], voice["deletable"]) for voice in before["voices"]] == [("ann", False)]

    added = await add(cloning, "小明")
    assert added.status == 201, added.body
    assert "x-ignored-fields" not in added.headers
    voice = added.json
    assert voice.pop("created_at") > 1_700_000_000
    assert voice == {
        "object": "audio.voice",
        "id": "小明",
        "name": "小明",
        "language": "zh, en",
        "duration_s": 2.0,
        "warnings": [],
    }
    listed = (await cloning.call("GET", VOICES, b"", ())).json
    assert [(v["id"], v["deletable"]) for v in listed["voices"]] == [("ann", False), ("小明", True)]
    assert listed["default_voice"] == "ann"
    assert "小明" in (await cloning.call("GET", "/readyz")).json["voices"]
    assert "小明" in [v["name"] for v in (await cloning.call("GET", "/voices")).json["voices"]]

    spoken = await speak(cloning, "小明")
    assert spoken.status == 200, spoken.body
    assert spoken.headers["x-voice"] == quote("小明")
    assert (await speak(cloning, "ann", emo_voice="小明")).status == 200

    assert (await delete(cloning, "小明")).json == {"id": "小明", "object": "audio.voice", "deleted": True}
    assert await names(cloning) == ["ann"]
    assert stored(folder) == []
    after = await speak(cloning, "小明")
    assert (after.status, after.problem["field"]) == (400, "voice")
    again = await delete(cloning, "小明")
    assert (again.status, error_of(again)["param"], error_of(again)["code"]) == (404, "voice", "not_found")


async def test_a_name_that_is_taken_and_one_that_is_replaced(cloning: Api, folder: Path) -> None:
    assert (await add(cloning, "ben")).status == 201
    first = (await speak(cloning, "ben")).body
    taken = await add(cloning, "ben", audio(WAVE[::-1].copy()))
    assert (taken.status, error_of(taken)["param"], error_of(taken)["code"]) == (409, "name", "conflict")
    assert (await speak(cloning, "ben")).body == first
    replaced = await add(cloning, "ben", audio(WAVE[::-1].copy()), replace="true")
    assert replaced.status == 201, replaced.body
    assert replaced.json["duration_s"] == 4.0
    assert (await speak(cloning, "ben")).body != first
    assert len(stored(folder)) == 2
    own = await add(cloning, "ann", replace="true")
    assert (own.status, error_of(own)["param"]) == (409, "name")
    kept = await delete(cloning, "ann")
    assert (kept.status, error_of(kept)["param"]) == (409, "voice")
    assert (await speak(cloning, "ann")).status == 200


@pytest.mark.parametrize("name", ["小明", "हिन्दी", "สมชาย", "Änne", "さくら", "علي", "a_b-c.d", "2", "한국"])
async def test_names_in_any_script(cloning: Api, name: str) -> None:
    added = await add(cloning, unicodedata.normalize("NFD", name))
    assert added.status == 201, added.body
    assert added.json["id"] == unicodedata.normalize("NFC", name)
    spoken = await speak(cloning, added.json["id"])
    assert (spoken.status, spoken.headers["x-voice"]) == (200, quote(added.json["id"]))
    assert (await delete(cloning, unicodedata.normalize("NFD", name))).status == 200


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
async def test_formats_are_told_by_their_content(cloning: Api, kind: str) -> None:
    added = await cloning.call(
        "POST",
        VOICES,
        form(
            ("name", "x"),
            ("consent", "record 7"),
            ("audio_sample", audio(WAVE, kind=kind)),
            file_name="a.png",
        ),
        headers(),
    )
    assert added.status == 201, added.body
    assert added.json["duration_s"] == pytest.approx(4.0, abs=0.1)
    assert (await speak(cloning, "x")).status == 200


async def test_fields_that_nobody_uses_are_named(cloning: Api) -> None:
    added = await add(cloning, "ben", ref_text="Hello.", speaker_description="a man", süß="x")
    assert added.status == 201
    assert added.headers["x-ignored-fields"] == f"ref_text, {quote('süß')}, speaker_description"
    twice = form(
        ("tag", "a"),
        ("name", "zoe"),
        ("tag", "b"),
        ("consent", "true"),
        ("audio_sample", good()),
        ("", "x"),
        ("", "y"),
    )
    added = await cloning.call("POST", VOICES, twice, headers())
    assert (added.status, added.headers["x-ignored-fields"]) == (201, ", tag"), added.body


async def test_warnings_tell_how_the_recording_could_be_better(cloning: Api) -> None:
    late = np.concatenate([np.zeros(3 * RATE_HZ, np.float32), np.tile(WAVE, 4)])
    added = await add(cloning, "ben", audio(late))
    assert added.status == 201, added.body
    first, second = added.json["warnings"]
    assert first.startswith("only the first 15 s")
    assert second.startswith("the first 3.0 s are silent")


async def test_the_store_is_bounded(folder: Path) -> None:
    limits = ("voices.max_voices=2", "voices.max_bytes=500000")
    async with running(create_app(profile_of(folder, *limits))) as api:
        assert (await add(api, "a")).status == 201
        assert (await add(api, "b", good(2.0))).status == 201
        full = await add(api, "c")
        assert (full.status, error_of(full)["param"]) == (409, "name")
        assert "the limit is 2" in error_of(full)["message"]
        large = await add(api, "a", good(4.0), replace="1")
        assert (large.status, error_of(large)["param"]) == (409, "audio_sample")
        assert (await add(api, "a", good(2.0), replace="1")).status == 201
        assert await names(api) == ["ann", "b", "a"]
        assert len(stored(folder)) == 4


async def test_only_pages_of_this_server_may_change_voices(folder: Path) -> None:
    body = form(("name", "x"), ("consent", "yes"), ("audio_sample", good()))
    async with running(create_app(profile_of(folder, 'http.cors_origins=["https://good.example"]'))) as api:
        for origin, status in (("https://evil.example", 403), ("null", 403), ("https://good.example", 201)):
            answer = await api.call("POST", VOICES, body, headers(origin=origin, host="localhost:8009"))
            assert answer.status == status, answer.body
        evil = ((b"origin", b"https://evil.example"),)
        assert (await api.call("DELETE", f"{VOICES}/x", b"", evil)).status == 403
        own = headers(origin="http://localhost:8009", host="localhost:8009")
        assert (await api.call("DELETE", f"{VOICES}/x", b"", own)).status == 200


@pytest.mark.parametrize(
    ("settings", "writable"),
    [
        ((), True),
        (("http.host=::1",), True),
        (("http.host=localhost",), True),
        (("http.host=0.0.0.0",), False),
        (("http.host=example.org",), False),
        (("http.host=0.0.0.0", "voices.writable=always"), True),
        (("voices.writable=never",), False),
    ],
)
async def test_who_may_change_voices(folder: Path, settings: tuple[str, ...], writable: bool) -> None:
    async with running(create_app(profile_of(folder, *settings, "access.let_anyone_in=true"))) as api:
        assert (await api.call("GET", VOICES, b"", ())).json["can_add"] is writable
        added = await add(api, "x")
        assert added.status == (201 if writable else 403)
        if not writable:
            assert "voices.writable" in error_of(added)["message"]
            assert (await delete(api, "ann")).status == 403
            assert stored(folder) == []


async def test_a_model_that_does_not_clone_says_so() -> None:
    async with running(create_app(tone_profile())) as api:
        listed = (await api.call("GET", VOICES, b"", ())).json
        assert listed["can_add"] is False
        assert not any(voice["deletable"] for voice in listed["voices"])
        for answer in (await add(api, "x"), await delete(api, "low")):
            assert answer.status == 405
            assert "takes no new voices" in error_of(answer)["message"]
            assert answer.headers["allow"] == "GET"


async def test_voices_that_the_profile_needs_stay(folder: Path) -> None:
    async with running(create_app(profile_of(folder))) as api:
        assert (await add(api, "ben")).status == 201
        assert (await add(api, "eve")).status == 201
    (folder / "ann.wav").unlink()
    async with running(create_app(profile_of(folder, "http.voice_aliases.nova=ben"))) as api:
        listed = (await api.call("GET", VOICES, b"", ())).json
        assert [(v["id"], v["deletable"]) for v in listed["voices"]] == [
            ("ben", False),
            ("eve", True),
            ("nova", False),
        ]
        assert listed["default_voice"] == "ben"
        assert (await delete(api, "ben")).status == 409
        assert (await delete(api, "nova")).status == 404
        assert (await delete(api, "eve")).status == 200
    async with running(create_app(profile_of(folder))) as api:
        only = await delete(api, "ben")
        assert only.status == 409
        assert "the only one" in error_of(only)["message"]
    with pytest.raises(ProfileError, match="default_voice"):
        create_app(profile_of(folder, "model.options.default_voice=eve"))


async def test_what_a_killed_server_left_is_swept_at_the_start(folder: Path) -> None:
    async with running(create_app(profile_of(folder))) as api:
        assert (await add(api, "ben")).status == 201
    kept = stored(folder)
    for name in (".0123", f"{'a' * 32}.wav", f"{'b' * 32}.deleted"):
        (folder / "added" / name).write_bytes(b"left")
    async with running(create_app(profile_of(folder))) as api:
        assert stored(folder) == kept
        assert await names(api) == ["ann", "ben"]


async def test_records_that_are_none_are_passed_over(folder: Path) -> None:
    async with running(create_app(profile_of(folder))) as api:
        assert (await add(api, "ben")).status == 201
        record = next((folder / "added").glob("*.json"))
        content = record.read_bytes()
        (folder / "added" / f"{'0' * 32}.json").write_bytes(content)  # of another name
        (folder / "added" / f"{'1' * 32}.json").symlink_to("/etc/passwd")
        os.mkfifo(folder / "added" / f"{'2' * 32}.json")
        (folder / "added" / f"{'3' * 32}.json").write_bytes(b"{")
        (folder / "added" / f"{'4' * 32}.json").mkdir()
        assert await names(api) == ["ann", "ben"]
        escaping = content.replace(record_recording(content), b"../../../../etc/passwd")
        record.write_bytes(escaping)
        os.utime(folder / "added")
        assert await names(api) == ["ann"]
        assert (await speak(api, "ben")).status == 400


def record_recording(content: bytes) -> bytes:
    start = content.index(b'"recording":"') + len(b'"recording":"')
    return content[start : content.index(b'"', start)]


async def test_two_recordings_are_taken_at_once(folder: Path) -> None:
    async with running(create_app(profile_of(folder))) as api:
        answers = await asyncio.gather(*(add(api, f"v{number}", good(20)) for number in range(6)))
        statuses = sorted(answer.status for answer in answers)
        assert statuses[:2] == [201, 201]
        assert set(statuses[2:]) <= {201, 503}
        refused = [answer for answer in answers if answer.status == 503]
        assert all(answer.headers["retry-after"] for answer in refused)
        assert len(await names(api)) == 1 + statuses.count(201)


async def test_the_form_is_in_the_schema(cloning: Api) -> None:
    document = (await cloning.call("GET", "/schema/openapi.json", b"", ())).json
    body = document["paths"][VOICES]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert body["required"] == ["name", "audio_sample", "consent"]
    assert BOUNDARY.isascii()
