"""Every wrong request is a problem that names its field, and the server goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import JSON, Api

PATHS = ["/tts", "/tts/stream"]

BAD_FIELDS: list[tuple[bytes, str, str]] = [
    (b"{}", "text", "required"),
    (b'{"text": ""}', "text", "length"),
    (b'{"text": " \\n\\t "}', "text", "empty"),
    (b'{"text": "?! ... --"}', "text", ""),
    (b'{"text": 3}', "text", "expected a string"),
    (b'{"text": null}', "text", "expected a string"),
    (b'{"text": "\\ud800"}', "text", "surrogate"),
    (b'{"text": "\\udc00 x"}', "text", "surrogate"),
    (b'{"text": "' + b"a" * 10_001 + b'"}', "text", "5000"),
    (b'{"text": "x", "voice": "nobody"}', "voice", "low, high"),
    (b'{"text": "x", "voice": ""}', "voice", "low, high"),
    (b'{"text": "x", "voice": 3}', "voice", "expected a string"),
    (b'{"text": "x", "format": "m4a"}', "format", "m4a"),
    (b'{"text": "x", "format": null}', "format", "expected a string"),
    (b'{"text": "x", "sample_rate_hz": 11025}', "sample_rate_hz", "11025"),
    (
        b'{"text": "x", "sample_rate_hz": "8000"}',
        "sample_rate_hz",
        "expected an integer or null, got a string",
    ),
    (b'{"text": "x", "format": "opus", "sample_rate_hz": 24000}', "sample_rate_hz", "always 48000 Hz"),
    (b'{"text": "x", "format": "mulaw", "sample_rate_hz": 16000}', "sample_rate_hz", "always 8000 Hz"),
    (b'{"text": "x", "speed": 0}', "speed", "0.5"),
    (b'{"text": "x", "speed": 4.01}', "speed", "2.0"),
    (b'{"text": "x", "speed": true}', "speed", "expected a number, got a boolean"),
    (b'{"text": "x", "speed": "1.5"}', "speed", "expected a number, got a string"),
    (b'{"text": "x", "speed": null}', "speed", "expected a number"),
    (b'{"text": "x", "temperature": -0.1}', "temperature", "0.0"),
    (b'{"text": "x", "temperature": NaN}', "temperature", "finite"),
    (b'{"text": "x", "temperature": -Infinity}', "temperature", "finite"),
    (b'{"text": "x", "temperature": 1e999}', "temperature", "out of range"),
    (b'{"text": "x", "temperature": ' + b"9" * 400 + b"}", "temperature", "out of range"),
    (b'{"text": "x", "top_p": 0}', "top_p", "0"),
    (b'{"text": "x", "top_p": 1.1}', "top_p", "1.0"),
    (b'{"text": "x", "top_k": 0}', "top_k", "1"),
    (b'{"text": "x", "top_k": 2.5}', "top_k", "expected an integer, got a number"),
    (b'{"text": "x", "top_k": false}', "top_k", "expected an integer, got a boolean"),
    (b'{"text": "x", "max_text_tokens_per_segment": 5}', "max_text_tokens_per_segment", "20"),
    (b'{"text": "x", "seed": -2}', "seed", "-1"),
    (b'{"text": "x", "seed": 18446744073709551616}', "seed", ""),
    (b'{"text": "x", "temprature": 0.5}', "temprature", "did you mean `temperature`"),
    (b'{"text": "x", "zzz": {"deep": ' + b"[" * 20_000, "zzz", "the fields are text,"),
]

BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "empty"),
    (b"{", "truncated"),
    (b'{"text": "x"', "truncated"),
    (b'{"text": "x"} trailing', "trailing"),
    (b"{'text': 'x'}", "not JSON"),
    (b'{"text": "a\nb"}', "not JSON"),
    (b"[1, 2]", "got an array"),
    (b'"text"', "got a string"),
    (b"null", "got null"),
    (b"[" * 100_000, "got an array"),
    (b'{"text": "\xff"}', "UTF-8"),
    (b'{"text": "\xed\xa0\x80"}', "UTF-8"),
    ('{"text": "x"}'.encode("utf-16"), "UTF-8"),
    (b"\x00\x01\x02", "not JSON"),
    (b"4.0", "got a number"),
    (b"5.5e16", "got a number"),
    (b"[1.0]", "got an array"),
]


@pytest.mark.parametrize("path", PATHS)
async def test_a_wrong_field_is_named(api: Api, path: str) -> None:
    for body, field, words in BAD_FIELDS:
        answer = await api.call("POST", path, body)
        assert answer.status == 400, body[:80]
        problem = answer.problem
        assert problem["field"] == field, body[:80]
        assert problem["code"] == "invalid_field"
        assert problem["detail"].startswith(f"{field}: ")
        assert words in problem["detail"], problem["detail"]
    assert (await api.call("POST", path, {"text": "Still here."})).status == 200


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_that_is_no_object_is_refused(api: Api, path: str) -> None:
    for body, words in BAD_BODIES:
        answer = await api.call("POST", path, body)
        assert answer.status == 400, body[:80]
        problem = answer.problem
        assert "field" not in problem
        assert problem["code"] == "malformed_body"
        assert words in problem["detail"], problem["detail"]
    assert (await api.call("POST", path, {"text": "Still here."})).status == 200


async def test_a_field_name_of_any_shape_is_answered_with_json(api: Api) -> None:
    for name in ("", "text\n", "ü" * 500, "`", "$.text", "a`b", "\u0000"):
        answer = await api.call("POST", "/tts", json.dumps({"text": "x", name: 1}).encode())
        assert answer.status == 400
        assert answer.problem["field"] == name[:200]
        assert len(answer.body) < 2000


@pytest.mark.parametrize(
    "content_type",
    [b"", b"text/plain", b"application/x-www-form-urlencoded", b"application/json; charset=latin-1", b"\xff"],
)
async def test_another_content_type_is_refused(api: Api, content_type: bytes) -> None:
    headers = ((b"content-type", content_type),) if content_type else ()
    answer = await api.call("POST", "/tts", {"text": "x"}, headers)
    assert answer.status == 415
    assert answer.problem["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    "content_type",
    [b"application/json", b"Application/JSON ; charset=UTF-8", b'application/json;charset="utf-8"'],
)
async def test_spellings_of_json_are_accepted(api: Api, content_type: bytes) -> None:
    answer = await api.call("POST", "/tts", {"text": "x"}, ((b"content-type", content_type),))
    assert answer.status == 200


async def test_a_compressed_body_is_refused(api: Api) -> None:
    answer = await api.call("POST", "/tts", b"\x1f\x8b", (*JSON, (b"content-encoding", b"gzip")))
    assert answer.status == 415
    assert "gzip" in answer.problem["detail"]


async def test_a_huge_body_is_refused_by_its_announced_size_unread(api: Api) -> None:
    parts = [b"x" * 1000] * 2000
    answer = await api.call(
        "POST", "/tts", headers=(*JSON, (b"content-length", b"2000000")), body_parts=parts
    )
    assert answer.status == 413
    assert answer.problem["code"] == "body_too_large"
    assert "1000000" in answer.problem["detail"]


async def test_a_huge_body_of_unknown_size_is_refused_at_the_limit(api: Api) -> None:
    answer = await api.call("POST", "/tts", body_parts=[b"x" * 100_000] * 11)
    assert answer.status == 413
    assert answer.problem["code"] == "body_too_large"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/tts", 405, "method_not_allowed"),
        ("DELETE", "/tts/stream", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/tts/stream/more", 404, "not_found"),
        ("GET", "/%00", 404, "not_found"),
    ],
)
async def test_wrong_methods_and_paths_are_problems(
    api: Api, method: str, path: str, status: int, code: str
) -> None:
    answer = await api.call(method, path, b"")
    assert answer.status == status
    assert answer.problem["code"] == code
    assert ("allow" in answer.headers) == (status == 405)


async def test_the_openapi_document_shows_body_answers_and_problems(api: Api) -> None:
    for path in ("/schema", "/schema/openapi.json"):
        document: dict[str, Any] = (await api.call("GET", path)).json
        for speech in PATHS:
            operation = document["paths"][speech]["post"]
            body = operation["requestBody"]["content"]["application/json"]["schema"]
            assert body["required"] == ["text"]
            assert body["additionalProperties"] is False
            assert body["properties"]["temperature"]["maximum"] == 2.0
            assert body["properties"]["top_k"]["default"] == 30
            assert set(operation["responses"]["200"]["content"]) == {
                *("audio/wav", "audio/pcm", "audio/flac", "audio/ogg", "audio/mpeg", "audio/aac"),
                *("audio/PCMU", "audio/PCMA", "multipart/mixed"),
            }
            assert body["properties"]["sample_rate_hz"]["anyOf"][0]["enum"] == [
                *(8000, 16000, 22050, 24000, 44100, 48000),
            ]
            assert {"400", "413", "415", "500", "503", "504"} <= set(operation["responses"])
            problem = operation["responses"]["400"]["content"]["application/problem+json"]["schema"]
            name = problem["$ref"].rsplit("/", 1)[-1]
            assert {"detail", "field"} <= set(document["components"]["schemas"][name]["properties"])
        assert {"/healthz", "/readyz", "/voices", "/stats"} <= set(document["paths"])


@pytest.mark.parametrize(
    ("given", "meant"), [("input", "text"), ("response_format", "format"), ("spede", "speed")]
)
async def test_a_field_of_another_server_is_hinted_at(api: Api, given: str, meant: str) -> None:
    answer = await api.call("POST", "/tts", {"text": "x", given: "y"})
    assert answer.status == 400
    assert f"did you mean `{meant}`?" in answer.problem["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((b"origin", b"http://["), 403),
        ((b"origin", b"//[x]"), 403),
        ((b"origin", b"\xff\xfe"), 403),
        ((b"accept", b"text/vtt;q=1e999,*/*"), 200),
        ((b"accept", b";;,,;q=,a/b;q=nan"), 200),
        ((b"cache-control", b"\xff,,="), 200),
        ((b"host", b"["), 421),
        ((b"host", b"\xff"), 421),
    ],
)
async def test_headers_that_no_client_sends(api: Api, headers: tuple[bytes, bytes], status: int) -> None:
    answer = await api.call("POST", "/tts/captions", {"text": "Hi."}, (*JSON, headers))
    assert answer.error is None
    assert answer.status == status


@pytest.mark.parametrize("path", [*PATHS, "/v1/audio/speech", "/v1/audio/speech/batch", "/spell"])
@pytest.mark.parametrize(
    "rest",
    [
        b'"seed":20.0,"z":' + b"[1.0," * 1000 + b"1.0" + b"]" * 1000,
        b",".join(b'"k%d":0' % number for number in range(70_000)),
        b'"' + b"k" * 900_000 + b'":1,"seed":"' + b"s" * 900 + b'"',
        b'"voice":{"id":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
    ids=["deep behind an integer", "70,000 fields", "a long name", "deep voice"],
)
async def test_a_body_that_is_meant_to_break_the_reader_is_refused(api: Api, path: str, rest: bytes) -> None:
    name = (
        b'"items":[{"input":"x"}]'
        if path.endswith("batch")
        else b'"input":"x"'
        if "v1" in path
        else b'"text":"x"'
    )
    answer = await api.call("POST", path, b"{" + name + b"," + rest + b"}")
    assert answer.status in (200, 400), answer.body  # an unknown field of OpenAI's API is no mistake
    assert len(answer.body) < 60_000 or answer.status == 200


async def test_what_is_ignored_has_no_bounds_that_nobody_checks(api: Api) -> None:
    """A voice of another model is any name, and the document says so."""
    schema = (await api.call("GET", "/schema/openapi.json")).json["paths"]["/tts"]["post"]["requestBody"]
    emo_voice = schema["content"]["application/json"]["schema"]["properties"]["emo_voice"]
    assert "Ignored" in emo_voice["description"]
    assert "format" not in str(emo_voice)
    assert (await api.call("POST", "/tts", {"text": "Hi.", "emo_voice": ""})).status == 200


async def test_an_integer_may_be_written_with_a_point(api: Api) -> None:
    asked = b'{"text": "Hi.", "seed": 7.0, "max_text_tokens_per_segment": 2e1, "temperature": 1}'
    answer = await api.call("POST", "/tts", asked)
    assert answer.status == 200
    for wrong in (
        b'{"text": "Hi.", "seed": 7.5}',
        b'{"text": "Hi.", "seed": 1e308}',
        b'{"text": 7.0, "seed": 7.0}',
    ):
        assert (await api.call("POST", "/tts", wrong)).status == 400


async def test_options_names_every_method(api: Api) -> None:
    for path, methods in (
        ("/v1/audio/voices", "GET, OPTIONS"),  # the tone model takes no voices
        ("/v1/models/tone", "GET, OPTIONS"),
        ("/tts", "OPTIONS, POST"),
        ("/healthz", "GET, HEAD, OPTIONS"),
    ):
        answer = await api.call("OPTIONS", path, b"", ())
        assert (answer.status, answer.headers["allow"]) == (204, methods)


@pytest.mark.parametrize("path", PATHS)
async def test_what_is_wrong_twice_is_the_callers_fault(api: Api, path: str) -> None:
    for body in (
        b'{"text":1.5',
        b'{"seed":20.0,"text":',
        b'{"seed":1.5,"text":"\\ud800"}',
        b"4.0 x",
        b'{"\\ud800": NaN}',
        b'{"\\ud800":"\\ud800"}',
    ):
        answer = await api.call("POST", path, body)
        assert answer.status == 400, body
        assert answer.problem["detail"]


async def test_a_path_longer_than_any_is_kept_by_no_router(api: Api) -> None:
    router = api.app.asgi_router
    before = router.handle_routing.cache_info().currsize
    for number in range(4):
        for start in ("/page/", "/v1/models/", "/nowhere/"):
            answer = await api.call("GET", f"{start}{number}{'x' * 5000}%F0%9F%98%80", b"", ())
            assert answer.status == 404
    assert router.handle_routing.cache_info().currsize == before
