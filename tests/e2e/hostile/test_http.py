"""Bad input to every operation of the OpenAPI document: a clear refusal, and nothing left: no handle, slot or file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.e2e.hostile.raw import exchange, head, status_of
from tests.live import until_idle
from tests.support import Server, children

pytestmark = pytest.mark.e2e

GIGABYTE = 1 << 30


def operations(server: Server) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path with its parameters filled in, and the operation."""
    document = httpx.get(f"{server.base_url}/schema/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), re.sub(r"\{[^}]+\}", "%F0%9F%90%92", path), operation


def json_schema(operation: dict[str, Any]) -> dict[str, Any] | None:
    content = operation.get("requestBody", {}).get("content", {})
    schema: dict[str, Any] | None = content.get("application/json", {}).get("schema")
    return schema


def named(answer: httpx.Response) -> str | None:
    """The field that an error names; the error is one of the two documented shapes."""
    body = answer.json()
    if "error" in body:
        assert body["error"]["message"]
        assert body["error"]["code"]
        param: str | None = body["error"]["param"]
        return param
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["detail"]
    assert body["code"]
    assert body["status"] == answer.status_code
    field: str | None = body.get("field")
    return field


def required(schema: dict[str, Any]) -> dict[str, Any]:
    """What a body has to have, each with a value of its type."""
    return {
        name: [{"input": "Hi."}] if schema["properties"][name].get("type") == "array" else "Hi."
        for name in schema.get("required", ())
    }


def refusals(operation: dict[str, Any]) -> set[int]:
    """Statuses of a body that is refused unread; 405 of an operation whose document says that a model may lack it."""
    return {413, 415} | ({405} & {int(status) for status in operation["responses"]})


DEEP = "[" * 100_000
NO_OBJECTS = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"\xff\xfe",
    b"\x00" * 1000,
    DEEP.encode(),
    b"-",
    b"{} {}",
]


async def test_a_body_that_is_no_object_is_a_400_everywhere(tone: Server) -> None:
    seen = 0
    async with httpx.AsyncClient(base_url=tone.base_url, timeout=30) as client:
        for method, path, operation in operations(tone):
            if json_schema(operation) is None:
                continue
            seen += 1
            for body in NO_OBJECTS:
                headers = {"Content-Type": "application/json"}
                answer = await client.request(method, path, content=body, headers=headers)
                assert answer.status_code == 400, (path, body[:20], answer.text)
                named(answer)
    assert seen >= 5


WRONG: list[str] = [
    '{"a": 1}',
    "[[1]]",
    '"\\u0000 \\uffff"',
    "1e308",
    "-1",
    "9" * 400,
    DEEP,
    DEEP + "]" * 100_000,
]


async def test_a_value_of_a_wrong_type_is_named_or_ignored_by_name(tone: Server) -> None:
    """Each property of each body, with values of every type: never a 500, and whoever refuses says why."""
    refused = 0
    async with httpx.AsyncClient(base_url=tone.base_url, timeout=30) as client:
        for method, path, operation in operations(tone):
            schema = json_schema(operation)
            if schema is None:
                continue
            needed = required(schema)
            for name in [*schema.get("properties", {}), "unheard_of"]:
                for wrong in WRONG:
                    kept = json.dumps({key: value for key, value in needed.items() if key != name})[1:-1]
                    body = "{" + ", ".join(filter(None, [kept, f"{json.dumps(name)}: {wrong}"])) + "}"
                    answer = await client.request(
                        method, path, content=body.encode(), headers={"Content-Type": "application/json"}
                    )
                    where = (
                        path,
                        name,
                        wrong[:20],
                        answer.status_code,
                        answer.text[:300] if answer.status_code >= 400 else "",
                    )
                    assert answer.status_code in (200, 400), where
                    if answer.status_code == 400:
                        refused += 1
                        assert named(answer) == name or "JSON" in answer.text or "nested" in answer.text, (
                            where
                        )
    assert refused > 100


async def test_every_other_operation_survives_nonsense(tone: Server) -> None:
    async with httpx.AsyncClient(base_url=tone.base_url, timeout=30) as client:
        for method, path, _ in operations(tone):
            for query in ("?%ff=%ff", "?text", "?" + "&".join(f"a{n}={n}" for n in range(2000))):
                answer = await client.request(method, path + query, content=b"\xff" * 100)
                assert answer.status_code < 500, (method, path, answer.text)
                if answer.status_code >= 400:
                    named(answer)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_a_compressed_bomb_is_refused_packed(tone: Server, encoding: str) -> None:
    bomb = zlib.compress(b" " * 50_000_000)
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    seen = set()
    async with httpx.AsyncClient(base_url=tone.base_url, timeout=30) as client:
        for method, path, operation in operations(tone):
            if method == "POST":
                answer = await client.post(path, content=bomb, headers=headers)
                assert answer.status_code in refusals(operation), (path, answer.text)
                named(answer)
                seen.add(answer.status_code)
    assert 415 in seen


async def test_a_gigabyte_that_is_declared_is_refused_unread(tone: Server) -> None:
    seen = set()
    for method, path, operation in operations(tone):
        if method == "POST":
            for kind in ("application/json", "multipart/form-data; boundary=x"):
                lines = (f"Content-Type: {kind}", f"Content-Length: {GIGABYTE}", "Connection: close")
                status = status_of(await exchange(tone, head("POST", path, *lines), b"{"))
                assert status in refusals(operation), path
                seen.add(status)
    assert seen >= {413, 415}


async def test_a_gigabyte_that_is_sent_is_cut_off(tone: Server) -> None:
    address = urlsplit(tone.base_url)
    piece = b"ffff0\r\n" + b" " * 0xFFFF0 + b"\r\n"
    for method, path, operation in operations(tone):
        if method != "POST":
            continue
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            writer.write(head("POST", path, "Content-Type: application/json", "Transfer-Encoding: chunked"))
            sent, answer = 0, b""
            with contextlib.suppress(ConnectionError, TimeoutError):
                while sent < GIGABYTE and not answer:
                    writer.write(piece)
                    await asyncio.wait_for(writer.drain(), 5)
                    sent += len(piece)
                    with contextlib.suppress(TimeoutError):
                        answer += await asyncio.wait_for(reader.read(65_536), 0.001)
            assert sent < GIGABYTE // 4, path
            assert status_of(answer) in {*refusals(operation), None}, path
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
    for pid in children(tone.pid):
        assert psutil.Process(pid).memory_info().rss < 1_500_000_000


@pytest.mark.parametrize(
    "request_bytes",
    [
        head("POST", "/tts", "Content-Type: application/json", "X-Flood: " + "x" * 1_000_000),
        head("POST", "/tts", "Content-Type: application/json", *(f"X-{n}: {n}" for n in range(20_000))),
        head("GET", "/" + "x" * 500_000),
        b"GET /tts HTTP/1.1\r\n" + b"X: y\r\n" * 500_000,
        head("POST", "/tts", "Content-Length: -1"),
        head("POST", "/tts", "Content-Length: 5", "Content-Length: 50") + b"{}",
        head("POST", "/tts", "Transfer-Encoding: chunked", "Content-Type: application/json")
        + b"zz\r\n{}\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 100,
        b"\x00" * 100_000,
    ],
    ids=[
        *("long header", "many headers", "long path", "endless headers", "negative length", "two lengths"),
        *("bad chunk", "TLS", "HTTP/2", "zeros"),
    ],
)
async def test_what_is_no_request_is_a_4xx_or_a_closed_connection(tone: Server, request_bytes: bytes) -> None:
    assert status_of(await exchange(tone, request_bytes)) in (400, 413, 414, 431, None)


async def test_a_head_is_held_in_memory_no_further_than_it_may_be_long(tone: Server) -> None:
    assert status_of(await exchange(tone, head("GET", "/healthz", "X: " + "x" * 60_000))) == 200
    assert status_of(await exchange(tone, head("GET", "/healthz", "X: " + "x" * 300_000))) in (431, None)


SPOKEN = b'{"text": "Hi.", "format": "pcm"}'


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("Content-Type: application/json", "Expect: 100-continue"), 200),
        (("Content-Type: text/plain", "Expect: 100-continue"), 415),
    ],
    ids=["taken", "refused"],
)
async def test_a_client_that_asks_before_it_sends_gets_one_answer(
    tone: Server, lines: tuple[str, ...], status: int
) -> None:
    first = head("POST", "/tts", *lines, f"Content-Length: {len(SPOKEN)}", "Connection: close")
    answer = await exchange(tone, first, SPOKEN)
    while answer.startswith(b"HTTP/1.1 100 "):
        answer = answer.partition(b"\r\n\r\n")[2]
    assert status_of(answer) == status
    assert answer.count(b"HTTP/1.1 ") == 1


CHUNK = b"%x\r\n%s\r\n" % (len(SPOKEN), SPOKEN)


@pytest.mark.parametrize(
    ("chunks", "statuses"),
    [
        (CHUNK + b"0\r\nX-Late: 1\r\nHost: evil\r\n\r\n", {200}),
        (b"".join(b"1\r\n%c\r\n" % byte for byte in SPOKEN) + b"0\r\n\r\n", {200}),
        (CHUNK + b"0\r\n" + b"X: y\r\n" * 200_000 + b"\r\n", {400, 431, None}),
        (b"1;" + b"x" * 1_000_000 + b"\r\n{\r\n0\r\n\r\n", {400, 413, None}),
        (b"f" * 40 + b"\r\n{}\r\n0\r\n\r\n", {400, 413, None}),
        (b"5\r\n{}\r\n0\r\n\r\n", {400, None}),
    ],
    ids=[
        "trailers",
        "one byte each",
        "endless trailers",
        "a long extension",
        "a size of 160 bits",
        "a wrong size",
    ],
)
async def test_chunks_of_every_kind(tone: Server, chunks: bytes, statuses: set[int | None]) -> None:
    lines = ("Content-Type: application/json", "Transfer-Encoding: chunked", "Connection: close")
    assert status_of(await exchange(tone, head("POST", "/tts", *lines), chunks)) in statuses


async def test_a_client_that_closes_its_side_after_the_request_gets_no_slot_for_ever(tone: Server) -> None:
    body = json.dumps({"text": "Hi.", "format": "pcm"}).encode()
    for path in ("/tts", "/tts/stream"):
        lines = ("Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close")
        await exchange(tone, head("POST", path, *lines), body, half_close=True)
        await exchange(tone, head("POST", path, *lines), body[:5], half_close=True)
    await until_idle(tone.base_url)


def test_no_file_is_left(tone: Server, folder: Path) -> None:
    assert [path.name for path in folder.iterdir()] == ["server.log"]
