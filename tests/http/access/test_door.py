"""Keys at the door, over ASGI: who gets in to what, with hostile headers, and what is told to whom."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from serving.access.keys import add_key
from serving.http.app import create_app
from serving.profile import ProfileError
from tests.support import JSON, Answer, Api, running, tone_profile

BODY = {"text": "Hello"}
OPEN = {"/", "/bench", "/docs", "/healthz", "/health", "/readyz", "/page/{name:str}"}
Headers = tuple[tuple[bytes, bytes], ...]


def bearer(key: str) -> Headers:
    return (*JSON, (b"authorization", b"Bearer " + key.encode()))


class Guarded:
    """A server with keys, and three of them."""

    def __init__(self, api: Api, file: Path, keys: dict[str, str]) -> None:
        self.api = api
        self.file = file
        self.keys = keys

    async def say(self, headers: Headers, path: str = "/tts", **more: Any) -> Answer:
        return await self.api.call("POST", path, BODY | more.pop("body", {}), headers, **more)


@pytest_asyncio.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    file = tmp_path / "keys.json"
    keys = {
        "ann": add_key(file, "ann"),
        "ops": add_key(file, "ops", operator=True),
        "slow": add_key(file, "slow", requests_per_minute=2),
        "one": add_key(file, "one", concurrent_streams=1),
        "short": add_key(file, "short", audio_s_per_day=0.5),
    }
    profile = tone_profile(
        f"access.keys_file={file}", "http.allow_get=true", "http.host=0.0.0.0", "batch.timeout_s=20"
    )
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        yield Guarded(api, file, keys)


async def test_a_known_key_speaks(guarded: Guarded) -> None:
    key = guarded.keys["ann"]
    for headers in (
        bearer(key),
        (*JSON, (b"authorization", b"bearer   " + key.encode() + b" ")),
        (*JSON, (b"xi-api-key", key.encode())),
    ):
        assert (await guarded.say(headers)).status == 200


def wrong_headers(key: str) -> dict[str, Headers]:
    raw = key.encode()
    return {
        "none": (),
        "unknown": ((b"authorization", b"Bearer tts_" + b"x" * 43),),
        "empty": ((b"authorization", b"Bearer "),),
        "scheme alone": ((b"authorization", b"Bearer"),),
        "no scheme": ((b"authorization", raw),),
        "basic": ((b"authorization", b"Basic " + raw),),
        "cut": ((b"authorization", b"Bearer " + raw[:-1]),),
        "longer": ((b"authorization", b"Bearer " + raw + b"x"),),
        "two in one": ((b"authorization", b"Bearer " + raw + b", Bearer " + raw),),
        "huge": ((b"authorization", b"Bearer " + b"x" * 1_000_000),),
        "bytes": ((b"authorization", b"Bearer \xff\xfe\x00"),),
        "tab": ((b"authorization", b"Bearer\t" + raw),),
        "twice": ((b"authorization", b"Bearer " + raw),) * 2,
        "wrong then right": ((b"authorization", b"Bearer x"), (b"authorization", b"Bearer " + raw)),
        "both kinds": ((b"authorization", b"Bearer " + raw), (b"xi-api-key", raw)),
        "empty xi": ((b"xi-api-key", b""),),
        "cookie": ((b"cookie", b"key=" + raw),),
        "proxy": ((b"proxy-authorization", b"Bearer " + raw),),
    }


@pytest.mark.parametrize("kind", sorted(wrong_headers("")))
async def test_wrong_keys_of_every_kind(
    guarded: Guarded, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = guarded.keys["ann"]
    headers = JSON + wrong_headers(key)[kind]
    refused = await guarded.say(headers)
    assert refused.status == 401
    assert refused.problem["code"] == "invalid_api_key"
    assert refused.headers["www-authenticate"].startswith("Bearer")
    openai = await guarded.say(headers, "/v1/audio/speech", body={"input": "Hello"})
    assert openai.status == 401
    assert openai.json["error"]["code"] == "invalid_api_key"
    for said in (caplog.text, refused.body.decode(), openai.body.decode()):
        assert key not in said
        assert key[4:20] not in said


@pytest.mark.parametrize("name", [b"key", b"api_key", b"access_token", b"authorization", b"xi-api-key"])
async def test_a_key_in_the_query_opens_nothing(guarded: Guarded, name: bytes) -> None:
    query = b"text=Hello&" + name + b"=" + guarded.keys["ann"].encode()
    assert (await guarded.api.call("GET", "/tts", headers=(), query=query)).status == 401


async def test_every_route_needs_a_key_but_health_and_the_pages(guarded: Guarded) -> None:
    seen = set()
    for route in guarded.api.app.routes:
        for method in getattr(route, "methods", ()):
            path = route.path.replace("{name:str}", "app.js").replace("{path:path}", "x")
            answer = await guarded.api.call(method, path, headers=JSON)
            if method == "OPTIONS":
                continue
            seen.add(route.path)
            assert (answer.status != 401) == (route.path in OPEN), f"{method} {route.path}: {answer.status}"
    assert seen > OPEN
    assert "/stats" in seen


@pytest.mark.parametrize(
    "path", ["//tts", "/tts/", "/./tts", "/page/../tts", "/healthz/../tts", "/TTS", "/tts;x"]
)
async def test_no_spelling_of_a_path_gets_past(guarded: Guarded, path: str) -> None:
    assert (await guarded.say(JSON, path)).status in (401, 404, 405)


async def test_an_operators_path_is_403_for_others(guarded: Guarded) -> None:
    refused = await guarded.api.call("GET", "/stats", headers=bearer(guarded.keys["ann"]))
    assert refused.status == 403
    assert refused.problem["code"] == "forbidden"
    assert (await guarded.api.call("GET", "/stats", headers=bearer(guarded.keys["ops"]))).status == 200


async def test_requests_per_minute(guarded: Guarded) -> None:
    headers = bearer(guarded.keys["slow"])
    assert [(await guarded.say(headers)).status for _ in range(2)] == [200, 200]
    refused = await guarded.say(headers)
    assert refused.status == 429
    assert refused.problem["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    openai = await guarded.say(headers, "/v1/audio/speech", body={"input": "Hello"})
    assert openai.status == 429
    assert openai.json["error"]["code"] == "rate_limit_exceeded"
    assert (await guarded.say(bearer(guarded.keys["ann"]))).status == 200


async def test_streams_at_once_end_with_their_client(guarded: Guarded) -> None:
    headers = bearer(guarded.keys["one"])
    gone = asyncio.Event()
    stalled = asyncio.ensure_future(guarded.say(headers, "/tts/stream", gone=gone, stall_after=1))
    await asyncio.sleep(0.02)
    refused = await guarded.say(headers)
    assert refused.status == 429
    await stalled
    assert (await guarded.say(headers)).status == 200


async def test_audio_of_a_day(guarded: Guarded) -> None:
    headers = bearer(guarded.keys["short"])
    assert (await guarded.say(headers, body={"text": "Hello there, all of you"})).status == 200
    refused = await guarded.say(headers)
    assert refused.status == 429
    assert "audio a day" in refused.problem["detail"]
    assert int(refused.headers["retry-after"]) <= 86400


async def test_a_batch_does_not_wait_for_the_next_day(guarded: Guarded) -> None:
    body = {"items": [{"input": "Hello there, all of you."} for _ in range(4)]}
    answer = await guarded.api.call("POST", "/v1/audio/speech/batch", body, bearer(guarded.keys["short"]))
    assert answer.status == 200
    told = [(one["status"], one.get("error_status"), one.get("error_code")) for one in answer.json["results"]]
    assert told == [("success", None, None)] + [("error", 429, "rate_limit_exceeded")] * 3


async def test_a_refused_request_leaves_nothing_behind(guarded: Guarded) -> None:
    for _ in range(20):
        assert (await guarded.say(bearer("tts_no"))).status == 401
    counted = await guarded.api.call("GET", "/stats", headers=bearer(guarded.keys["ops"]))
    assert sum(counted.json["requests"].values()) == 0


async def test_a_broken_file_is_503_for_all_and_health_stays(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.access.keys.RELOAD_S", 0.0)
    guarded.file.chmod(0o666)
    refused = await guarded.say(bearer(guarded.keys["ann"]))
    assert refused.status == 503
    assert "retry-after" in refused.headers
    assert str(guarded.file) not in refused.body.decode()
    assert (await guarded.api.call("GET", "/healthz", headers=())).status == 200
    guarded.file.chmod(0o600)
    assert (await guarded.say(bearer(guarded.keys["ann"]))).status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_an_address_that_others_reach_needs_keys_or_a_word(host: str, tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"access\.let_anyone_in"):
        create_app(tone_profile(f"http.host={host!r}"))
    create_app(tone_profile(f"http.host={host!r}", "access.let_anyone_in=true"))
    file = tmp_path / "keys.json"
    with pytest.raises(ProfileError, match="No such file"):
        create_app(tone_profile(f"http.host={host!r}", f"access.keys_file={file}"))
    add_key(file, "ann")
    with pytest.raises(ProfileError, match="contradicts"):
        create_app(tone_profile("access.let_anyone_in=true", f"access.keys_file={file}"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
async def test_loopback_needs_no_key(host: str) -> None:
    async with running(create_app(tone_profile(f"http.host={host!r}"))) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        assert (await api.call("POST", "/tts", BODY)).status == 200
