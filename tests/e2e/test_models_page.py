"""The model of docs/models.md, run from the page as a module outside the package, with no edit in serving/."""

from __future__ import annotations

import io
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from tests.support import ROOT, Server, command, environment, serving

pytestmark = pytest.mark.e2e

WHISTLE = ("--set", "model.name=whistle", "--set", "engine.threads=1", "--set", "engine.device=cpu")


def model_of_the_page() -> str:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- file: whistle.py -->\n```python\n(.*?)```", page, re.DOTALL)
    assert block is not None
    return block[1]


def with_module(folder: Path) -> dict[str, str]:
    return environment() | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=folder, env=with_module(folder), capture_output=True, text=True, timeout=60
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whistle")
    (folder / "whistle.py").write_text(model_of_the_page(), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving(folder, *WHISTLE, environ=with_module(folder)) as server:
        yield server


def test_the_model_is_short() -> None:
    assert len(model_of_the_page().splitlines()) <= 60


def test_it_is_served_with_its_field(server: Server) -> None:
    loud, soft = (
        httpx.post(f"{server.base_url}/tts", json={"text": "Here! Boy!", "whistle": loudness}, timeout=30)
        for loudness in (0.9, 0.1)
    )
    assert loud.status_code == soft.status_code == 200
    assert "x-ignored-fields" not in loud.headers
    waves = [soundfile.read(io.BytesIO(answer.content), dtype="float32") for answer in (loud, soft)]
    assert [rate for _, rate in waves] == [16000, 16000]
    assert [np.abs(wave).max() for wave, _ in waves] == pytest.approx([0.9, 0.1], abs=0.01)
    assert len(waves[0][0]) == 2 * 3200 + 0.4 * 16000, "two sentences of 0.2 s, and the pause between them"
    streamed = httpx.post(
        f"{server.base_url}/tts/stream", json={"text": "Here! Boy!", "format": "pcm"}, timeout=30
    )
    assert len(streamed.content) == 2 * (2 * 3200 + 0.4 * 16000)


def test_its_field_is_in_the_schema_and_its_voice_among_the_voices(server: Server) -> None:
    schema = httpx.get(f"{server.base_url}/schema/openapi.json", timeout=30).json()
    body = schema["paths"]["/tts"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    field = body["properties"]["whistle"]
    assert (field["minimum"], field["maximum"], field["default"]) == (0, 1, 0.5)
    assert field["description"] == "Loudness; 0 is silence."
    assert body["properties"]["temperature"]["description"].endswith("Ignored by the model whistle.")
    voices = httpx.get(f"{server.base_url}/voices", timeout=30).json()
    assert [voice["name"] for voice in voices["voices"]] == ["shepherd"]
    assert "whistle" in voices["used_fields"]


@pytest.mark.parametrize(("value", "words"), [(2, "number <= 1"), ("loud", "a string"), (None, "a number")])
def test_a_wrong_value_is_refused(server: Server, value: object, words: str) -> None:
    answer = httpx.post(f"{server.base_url}/tts", json={"text": "x", "whistle": value}, timeout=30)
    assert answer.status_code == 400
    assert answer.json()["field"] == "whistle"
    assert words in answer.json()["detail"]


def test_a_field_of_another_model_is_named_and_a_typo_is_explained(server: Server) -> None:
    answer = httpx.post(f"{server.base_url}/tts", json={"text": "x", "speed": 1.5, "seed": 1}, timeout=30)
    assert answer.headers["x-ignored-fields"] == "seed, speed"
    typo = httpx.post(f"{server.base_url}/tts", json={"text": "x", "wistle": 0.5}, timeout=30)
    assert "did you mean `whistle`?" in typo.json()["detail"]


def test_say_has_its_flag(folder: Path) -> None:
    done = run(folder, "say", "Here boy", *WHISTLE, "--whistle", "0.9", "-o", "here.wav")
    assert done.returncode == 0, done.stderr
    wave, _ = soundfile.read(folder / "here.wav", dtype="float32")
    assert np.abs(wave).max() == pytest.approx(0.9, abs=0.01)
    assert "--whistle" in run(folder, "say", *WHISTLE, "--help").stdout
    refused = run(folder, "say", "Here boy", *WHISTLE, "--whistle", "2")
    assert (refused.returncode, refused.stderr) == (2, "tts-serving: whistle: expected a number <= 1.0\n")


def test_its_options_are_checked(folder: Path) -> None:
    long = run(folder, "say", "Here", *WHISTLE, "--set", "model.options.glide_s=0.5", "-o", "long.wav")
    assert long.returncode == 0, long.stderr
    assert soundfile.info(folder / "long.wav").frames == 8000
    unknown = run(folder, "say", "Here", *WHISTLE, "--set", "model.options.glide=1")
    assert unknown.returncode == 2
    assert "unknown field `glide`" in unknown.stderr
    wrong = run(folder, "say", "Here", *WHISTLE, "--set", "model.options.glide_s=9")
    assert wrong.returncode == 2
    assert "model.options.glide_s" in wrong.stderr


@pytest.mark.parametrize(
    ("right", "typo"),
    [
        ('first_stages = Frontend.spec, ("glide",)', 'first_stages = Frontend.spec, ("glyde",)'),
        ('max_units = "glide", ()', 'max_units = "glide", ("glyde",)'),
        ('max_units = "glide", ()', 'max_units = "glyde", ()'),
        ('self.stages = {"glide"', 'self.stages = {"glyde"'),
    ],
)
def test_a_typo_in_a_stage_name_is_told_at_load(tmp_path: Path, right: str, typo: str) -> None:
    source = model_of_the_page()
    assert right in source
    (tmp_path / "whistle.py").write_text(source.replace(right, typo), encoding="utf-8")
    done = run(tmp_path, "say", "Here", *WHISTLE)
    assert done.returncode == 1
    assert "model whistle: " in done.stderr
    assert "glyde" in done.stderr
    assert "Traceback" not in done.stderr
