"""The log of the real server as JSON: both processes, every line."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.support import children, serving

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_every_line_is_json_and_names_its_request(tmp_path: Path) -> None:
    settings = ["model.name=tests.faulty_tone", f"model.options.fail_token={ord('q')}", "engine.device=cpu"]
    settings += ["observe.log_format=json", "http.access_log=true"]
    with serving(tmp_path, *(word for one in settings for word in ("--set", one))) as server:
        assert children(server.pid)
        for text in ("Hello", "quince"):
            headers = {"X-Request-Id": f"mine-{text[0]}"}
            httpx.post(f"{server.base_url}/tts?secret=word", json={"text": text}, headers=headers, timeout=30)
        metrics = httpx.get(f"{server.base_url}/metrics").text
    log = server.log.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in log.splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(line) for line in lines))
    assert any(line["logger"].startswith("serving.engine.loop") for line in lines), "the engine's own"
    answered = {line["request_id"]: line for line in lines if line["logger"] == "serving.access"}
    assert answered["mine-H"]["outcome"] == "ok"
    assert answered["mine-q"]["outcome"] == "failed"
    assert answered["mine-q"]["status"] == 500
    assert 'tts_requests_total{endpoint="/tts",method="POST",outcome="failed"} 1.0' in metrics
    for word in ("quince", "secret"):
        assert word not in log
