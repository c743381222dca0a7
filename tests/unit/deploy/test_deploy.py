"""The files of docs/deploy: each is read, and names only what the server has. `nox -s deploy` runs the linters."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from serving.http.app import create_app
from serving.profile import Profile, load_profile
from tests.support import ROOT, running, tone_profile

DEPLOY = ROOT / "docs" / "deploy"
UID = "10001"


def text(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


@pytest.fixture
async def told(tmp_path: Path) -> set[str]:
    """The names that GET /metrics tells of a server with everything on, after one request."""
    settings = (f"cache.folder={tmp_path}", "cache.max_bytes=1000000")
    async with running(create_app(tone_profile(*settings))) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        await api.call("POST", "/tts/stream", {"text": "Hello"})
        body = (await api.call("GET", "/metrics", headers=())).body.decode()
    return {sample.name for family in text_string_to_metric_families(body) for sample in family.samples}


def named(queries: str) -> set[str]:
    return set(re.findall(r"\b(?:tts|process)_[a-z_]+[a-z]\b", queries))


def queries_of(dashboard: Any) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


async def test_the_dashboard_asks_for_metrics_that_there_are(told: set[str]) -> None:
    dashboard = json.loads(text("grafana/dashboard.json"))
    queries = queries_of(dashboard)
    assert len(queries) > 20
    asked = named("\n".join(queries))
    assert len(asked) > 20
    assert asked <= told
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in dashboard["panels"]})


async def test_the_alerts_ask_for_metrics_that_there_are(told: set[str]) -> None:
    rules = [rule for group in yaml.safe_load(text("alerts.yml"))["groups"] for rule in group["rules"]]
    assert named("\n".join(rule["expr"] for rule in rules)) <= told
    tested = {
        case["alertname"] for case in yaml.safe_load(text("alerts_test.yml"))["tests"][0]["alert_rule_test"]
    }
    assert tested < {rule["alert"] for rule in rules}


async def test_the_page_lists_every_metric(told: set[str]) -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in told if name.startswith("tts_")}
    listed = set(re.findall(r"`(tts_\w+)`", page))
    assert listed == families


def settings_of(names: dict[str, str]) -> Profile:
    return load_profile("default", environ=names)


def test_the_environment_of_the_image_and_of_the_unit_is_a_profile() -> None:
    image = dict(re.findall(r"\b(TTS_\w+)=(\S+)", text("Dockerfile")))
    profile = settings_of(image)
    assert profile.http.host == "0.0.0.0"
    assert profile.access.keys_file == "/etc/tts-serving/keys.json"
    assert profile.observe.log_format == "json"
    unit = text("tts-serving.service")
    assert settings_of(dict(re.findall(r"\b(TTS_\w+)=(\S+)", unit))).observe.log_format == "json"
    stop_s = int(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[0])
    grace_s = [
        service.get("stop_grace_period")
        for service in yaml.safe_load(text("compose.yaml"))["services"].values()
    ]
    assert stop_s > profile.http.drain_s
    assert grace_s[0] == f"{stop_s}s"


def test_containers_run_as_nobody_in_particular_and_are_probed() -> None:
    assert f"USER {UID}:{UID}" in text("Dockerfile")
    deployment = next(iter(yaml.safe_load_all(text("kubernetes.yaml"))))
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == int(UID)
    assert (
        pod["terminationGracePeriodSeconds"]
        > msgspec.structs.asdict(load_profile("default", environ={}).http)["drain_s"]
    )
    (container,) = pod["containers"]
    ports = {port["name"] for port in container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] in ports
        assert asked["path"] in ("/readyz", "/healthz")
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz", (
        "a restart of the engine is not ours to punish"
    )


@pytest.mark.parametrize("name", ["compose.yaml", "prometheus.yml"])
def test_files_that_are_named_beside_are_there(name: str) -> None:
    made_by_the_reader = {"keys", "metrics.key"}
    beside = set(re.findall(r"\./([\w./-]+):", text(name))) | set(
        re.findall(r"^  - (\w+\.yml)$", text(name), re.MULTILINE)
    )
    assert beside
    for file in beside - made_by_the_reader:
        assert (DEPLOY / file).is_file(), file
