"""What carrying costs: one message across the engine's boundary, and whole HTTP requests."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.servers.start import start_server
from serving.engine.client import EngineClient
from serving.models import load_frontend
from serving.profile import load_profile

TEXT = "The train to London leaves at nine."


@pytest.mark.benchmark(group="boundary")
def test_message(benchmark: BenchmarkFixture) -> None:
    """GetStats to the engine's process and Stats back."""
    profile = load_profile("default", ["model.name=tone"])
    client = EngineClient(profile, load_frontend(profile).spec)
    with asyncio.Runner() as runner:
        runner.run(client.start())
        try:
            runner.run(client.wait_ready(60.0))
            benchmark(lambda: runner.run(client.stats()))
        finally:
            runner.run(client.stop())


@pytest.fixture(scope="module", params=["tone", "hibari"])
def connection(request: pytest.FixtureRequest) -> Iterator[http.client.HTTPConnection]:
    """A connection, kept alive, to a server of one model; one thread, so that other programs disturb it less."""
    overrides = [f"model.name={request.param}", "engine.threads=1"]
    with start_server("granian", overrides=overrides) as server:
        url = urlsplit(server.url)
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
        yield connection
        connection.close()


@pytest.mark.benchmark(group="http")
@pytest.mark.parametrize("endpoint", ["/tts", "/tts/stream"])
def test_request(benchmark: BenchmarkFixture, connection: http.client.HTTPConnection, endpoint: str) -> None:
    """One whole request, sent to last byte."""
    body = json.dumps({"text": TEXT, "seed": 1})

    def ask() -> int:
        connection.request("POST", endpoint, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200
        return len(response.read())

    assert benchmark(ask) > 44
