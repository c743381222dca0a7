"""Keys and TLS with the real server: WebSockets, the command line, the log."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets import InvalidStatus, Subprotocol
from websockets.asyncio.client import connect

from serving.access.keys import RELOAD_S, add_key, remove_key
from tests.live import PCM, hear, send
from tests.support import ROOT, Server, command, environment, serving

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TONE = ("--set", "model.name=tone", "--set", "engine.device=cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A file of keys, one of them, and a certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("access")
    certificate, private_key = folder / "cert.pem", folder / "key.pem"
    make = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {private_key} -out {certificate}"
    subprocess.run(
        ["openssl", *make.split(), "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )
    keys = folder / "keys.json"
    return {
        "keys": str(keys),
        "ann": add_key(keys, "ann"),
        "busy": add_key(keys, "busy", concurrent_streams=1),
        "short": add_key(keys, "short", audio_s_per_day=3),
        "cert": str(certificate),
        "key": str(private_key),
    }


@pytest.fixture(scope="module")
def server(files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = (f"access.keys_file={files['keys']}", "http.access_log=true")
    with serving(
        tmp_path_factory.mktemp("server"), *TONE, *(word for one in settings for word in ("--set", one))
    ) as running:
        yield running


def url(server: Server, path: str = "/v1/audio/speech/stream") -> str:
    return server.base_url.replace("http", "ws", 1) + path


@pytest.mark.parametrize("path", ["/v1/audio/speech/stream", "/v1/audio/speech/ws"])
@pytest.mark.parametrize("value", [None, "Bearer wrong", "Basic x", "Bearer "])
async def test_a_websocket_without_a_key_is_refused_before_it_opens(
    server: Server, path: str, value: str | None
) -> None:
    headers = {} if value is None else {"Authorization": value}
    with pytest.raises(InvalidStatus) as refused:
        async with connect(url(server, path), additional_headers=headers):
            pass
    assert refused.value.response.status_code == 403


async def test_a_websocket_with_a_key_speaks_and_counts_as_a_stream(
    server: Server, files: dict[str, str]
) -> None:
    headers = {"Authorization": f"Bearer {files['busy']}"}
    async with connect(url(server), additional_headers=headers, max_size=None) as client:
        await send(client, "session.config", **PCM)
        await send(client, "input.text", text="Hello there.")
        await send(client, "input.done")
        with pytest.raises(InvalidStatus):
            async with connect(url(server), additional_headers=headers):
                pass
        heard = await hear(client)
    assert len(heard.samples) > 1000
    async with connect(url(server), additional_headers=headers):
        pass


@pytest.mark.parametrize("path", ["/v1/audio/speech/stream", "/v1/audio/speech/ws"])
async def test_a_websocket_ends_when_its_key_was_taken_away(
    server: Server, files: dict[str, str], path: str
) -> None:
    keys = Path(files["keys"])
    headers = {"Authorization": f"Bearer {add_key(keys, 'eve')}"}
    await asyncio.sleep(2 * RELOAD_S)
    async with connect(
        url(server, path), additional_headers=headers, subprotocols=[Subprotocol("nari.speech.v1")]
    ) as client:
        configured = "session.config" if path.endswith("stream") else "request.start"
        await send(client, configured, response_format="pcm")
        remove_key(keys, "eve")
        await asyncio.sleep(2 * RELOAD_S)
        await send(client, "input.text", text="Am I still let in?")
        heard = await hear(client, "none")  # to the end of the connection
        assert not heard.frames
        assert (client.close_code, client.close_reason) == (1008, "invalid_api_key")


async def test_an_utterance_past_the_audio_of_a_day_ends(server: Server, files: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {files['short']}"}
    async with connect(url(server), additional_headers=headers, max_size=None) as client:
        await send(client, "session.config", **PCM)
        await send(client, "input.text", text="This is a sentence. " * 20)
        await send(client, "input.done")
        heard = await hear(client, "session.done")
    assert [event["code"] for event in heard.of("error")] == ["overloaded"]
    assert heard.events[-1]["reason"] == "error"
    assert heard.sentences, "what the day had left was spoken"


async def test_a_key_twice_and_a_key_in_the_query(server: Server, files: dict[str, str]) -> None:
    key = files["ann"]
    async with httpx.AsyncClient(base_url=server.base_url) as client:
        twice = [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")]
        answer = await client.post("/tts", json={"text": "Hello"}, headers=twice)
        assert answer.status_code == 401
        answer = await client.post(f"/tts?key={key}&Authorization=Bearer%20{key}", json={"text": "Hello"})
        assert answer.status_code == 401
        assert (await client.get("/voices", headers={"xi-api-key": key})).status_code == 200
    with pytest.raises(InvalidStatus):
        async with connect(url(server, f"/v1/audio/speech/stream?key={key}")):
            pass


@pytest.mark.parametrize("size", [4_000, 70_000, 1_000_000])
def test_a_huge_header_harms_nobody(server: Server, size: int) -> None:
    try:
        answer = httpx.get(f"{server.base_url}/voices", headers={"Authorization": "Bearer " + "x" * size})
        assert answer.status_code in (401, 431)
    except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
        pass  # the server does not read on
    assert httpx.get(f"{server.base_url}/healthz").status_code == 200


def test_no_key_and_no_text_is_in_the_log(server: Server, files: dict[str, str]) -> None:
    text = "Zanzibar marmalade"
    headers = {"Authorization": f"Bearer {files['ann']}"}
    assert httpx.post(f"{server.base_url}/tts", json={"text": text}, headers=headers).status_code == 200
    assert httpx.get(f"{server.base_url}/voices?key={files['ann']}&text={text}").status_code == 401
    log = server.log.read_text(encoding="utf-8")
    for name in ("ann", "busy"):
        assert files[name] not in log
        assert files[name][4:24] not in log
    assert "marmalade" not in log


def test_others_are_not_let_in_by_accident(tmp_path: Path) -> None:
    refused = subprocess.run(
        command("serve", "--host", "0.0.0.0", "--port", "0", *TONE),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 2, refused.stderr
    assert "access.keys_file" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_https(files: dict[str, str], tmp_path: Path) -> None:
    settings = (
        f"http.tls_cert={files['cert']}",
        f"http.tls_key={files['key']}",
        f"access.keys_file={files['keys']}",
    )
    context = ssl.create_default_context(cafile=files["cert"])
    with serving(tmp_path, *TONE, *(word for one in settings for word in ("--set", one))) as running:
        assert running.base_url.startswith("https://")
        headers = {"Authorization": f"Bearer {files['ann']}"}
        answer = httpx.post(f"{running.base_url}/tts", json={"text": "Hi"}, headers=headers, verify=context)
        assert answer.status_code == 200
        assert answer.content[:4] == b"RIFF"
        with pytest.raises(httpx.HTTPError):
            httpx.get(running.base_url.replace("https", "http") + "/healthz")
        old = ssl.create_default_context(cafile=files["cert"])
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert httpx.get(f"{running.base_url}/healthz", verify=old).status_code == 200


@pytest.mark.parametrize(
    ("cert", "key", "why"),
    [
        ("{cert}", "", "http.tls_key"),
        ("", "{key}", "http.tls_cert"),
        ("/nowhere.pem", "{key}", "http.tls_cert"),
        ("{key}", "{key}", "http.tls_cert"),
        ("{cert}", "{keys}", "http.tls_cert, http.tls_key"),
    ],
)
def test_tls_that_cannot_begin(files: dict[str, str], cert: str, key: str, why: str) -> None:
    settings = [
        f"http.tls_cert={json.dumps(cert.format(**files))}",
        f"http.tls_key={json.dumps(key.format(**files))}",
    ]
    refused = subprocess.run(
        command("serve", "--port", "0", *TONE, *(word for one in settings for word in ("--set", one))),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 2
    assert why in refused.stderr
    assert "Traceback" not in refused.stderr
