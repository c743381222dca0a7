"""What browsers need: origins that may call, and speech by GET."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from serving.audio.encode import wav_header
from serving.http.app import create_app
from serving.profile import ProfileError
from tests.http.test_speech import SEGMENTS, TEXT, differ, tones
from tests.support import JSON, Api, running, tone_profile

pytestmark = pytest.mark.slow

PAGE = (b"origin", b"https://page.example")
STRANGER = (b"origin", b"https://stranger.example")
PREFLIGHT = (
    (b"access-control-request-method", b"POST"),
    (b"access-control-request-headers", b"content-type, authorization"),
)


async def test_no_origin_may_call_by_default(api: Api) -> None:
    answer = await api.call("POST", "/v1/audio/speech", {"input": "Hi."}, (*JSON, PAGE))
    assert answer.status == 403
    assert answer.json["error"]["code"] == "forbidden"
    assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = await api.call("OPTIONS", "/v1/audio/speech", b"", (PAGE, *PREFLIGHT))
    assert not [name for name in preflight.headers if name.startswith("access-control")]


async def test_origins_of_the_profile_may_call() -> None:
    profile = tone_profile('http.cors_origins=["https://page.example"]')
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        for path in ("/v1/audio/speech", "/tts/stream"):
            preflight = await api.call("OPTIONS", path, b"", (PAGE, *PREFLIGHT))
            assert preflight.status == 204
            assert preflight.headers["access-control-allow-origin"] == "https://page.example"
            assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
            assert (await api.call("OPTIONS", path, b"", (STRANGER, *PREFLIGHT))).status == 400
        for body, status in (({"input": "Hi."}, 200), ({"input": ""}, 400)):
            answer = await api.call("POST", "/v1/audio/speech", body, (*JSON, PAGE))
            assert answer.status == status
            assert answer.headers["access-control-allow-origin"] == "https://page.example"
            shown = answer.headers["access-control-expose-headers"]
            assert {"X-Sample-Rate", "X-Ignored-Fields", "X-Speed", "Retry-After"} <= set(shown.split(", "))
            stranger = await api.call("POST", "/v1/audio/speech", body, (*JSON, STRANGER))
            assert "access-control-allow-origin" not in stranger.headers
        lost = await api.call("GET", "/v1/nothing", b"", (PAGE,))
        assert (lost.status, lost.headers["access-control-allow-origin"]) == (404, "https://page.example")


@pytest.mark.parametrize("origin", ["page.example", "https://page.example/", "https://*.example", ""])
def test_what_is_no_origin_is_refused_at_the_start(origin: str) -> None:
    with pytest.raises(ProfileError, match=r"http.cors_origins: .* is no origin"):
        create_app(tone_profile(f'http.cors_origins=["{origin}"]'))


async def test_get_is_off_by_default(api: Api) -> None:
    answer = await api.call("GET", "/tts", b"", (), query=b"text=Hi.")
    assert answer.status == 405


async def test_get_speaks_small_texts() -> None:
    async with running(create_app(tone_profile("http.allow_get=true"))) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        query = (
            f"text={quote(TEXT)}&voice=high&seed=7&normalize=true&max_text_tokens_per_segment=100&speed=1.5"
        )
        answer = await api.call("GET", "/tts", b"", (), query=query.encode())
        assert answer.status == 200
        assert answer.headers["content-type"] == "audio/wav"
        assert answer.headers["accept-ranges"] == "none"
        assert answer.headers["x-seed"] == "7"
        assert answer.headers["x-ignored-fields"] == "seed, speed"
        assert answer.pieces[0] == wav_header(24000)
        assert differ(answer.body[44:], tones(*SEGMENTS, voice="high")) <= 1
        browser = await api.call("GET", "/tts", b"", ((b"range", b"bytes=0-"),), query=query.encode())
        assert browser.status == 200
        assert browser.body == answer.body
        for part in (b"bytes=0-1", b"bytes=100-", b"bytes=-5", b"frames=1"):
            refused = await api.call("GET", "/tts", b"", ((b"range", part),), query=query.encode())
            assert refused.status == 416
            assert refused.headers["accept-ranges"] == "none"
            assert part.decode() in refused.problem["detail"]
        coded = await api.call("GET", "/tts", b"", (), query=b"text=Hi.&format=mp3&sample_rate_hz=16000")
        assert (coded.status, coded.headers["content-type"]) == (200, "audio/mpeg")
        assert coded.headers["x-sample-rate"] == "16000"
        posted = await api.call("POST", "/tts", {"text": "Hi."})
        assert posted.status == 200


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (b"", "text"),
        (b"text=", "text"),
        (b"text=" + b"a" * 501, "text"),
        (b"text=Hi&voice=nobody", "voice"),
        (b"text=Hi&text=Ho", "text"),
        (b"text=Hi&speed=fast", "speed"),
        (b"text=Hi&seed=1.5", "seed"),
        (b"text=Hi&what=1", "what"),
        (b"text=%FF", None),
        (b"text=\xff", None),
        (b"&".join(b"a%d=1" % number for number in range(200)), None),
    ],
)
async def test_a_wrong_query_is_refused(query: bytes, field: str | None) -> None:
    async with running(create_app(tone_profile("http.allow_get=true"))) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        answer = await api.call("GET", "/tts", b"", (), query=query)
        assert answer.status == 400
        assert answer.problem.get("field") == field
