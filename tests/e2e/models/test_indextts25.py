"""The real server with IndexTTS-2.5 from tiny random weights: what it says is noise, how it says it is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from serving.models.indextts2.mel.regulator import target_frames
from tests.support import serving
from tests.unit.indextts25.support import TEXTS

pytestmark = pytest.mark.e2e

CODES = 16
SETTINGS = {
    "model.options.weights": "random",
    "model.options.size": "tiny",
    "model.options.min_codes": CODES,
    "model.options.max_codes": CODES,
    "model.options.prompt_s": 0.4,
    "model.options.flow_iterations": 2,
    "streaming.first_chunk_s": 0.2,
    "streaming.growth": 1.5,
    "engine.workers": 1,
    "engine.threads": 1,
    "engine.device": "cpu",
}
SAMPLES = target_frames(CODES, 2) * 256
"""Of one segment at speed 1."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    overrides = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    folder = Path(tmp_path_factory.mktemp("server"))
    with serving(folder, "--profile", "indextts25-default", *overrides) as it:
        yield it.base_url


def pcm(answer: httpx.Response) -> NDArray[np.int64]:
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<i2").astype(np.int64)


def speak(url: str, path: str = "/tts", **fields: Any) -> NDArray[np.int64]:
    body = {"seed": 3, "format": "pcm", **fields}
    return pcm(httpx.post(url + path, json=body, timeout=120))


@pytest.mark.parametrize("language", TEXTS)
def test_each_language_is_told_by_its_text_and_may_be_named(url: str, language: str) -> None:
    text = TEXTS[language]
    spoken = speak(url, text=text)
    assert len(spoken) == SAMPLES
    assert np.abs(spoken).max() > 0
    assert np.array_equal(spoken, speak(url, text=text, language=language))
    assert len(speak(url, "/tts/stream", text=text)) == SAMPLES


def test_a_named_language_and_a_rate_change_the_sound(url: str) -> None:
    english, spanish = (speak(url, text="Taxi no", language=language) for language in ("en", "es"))
    assert not np.array_equal(english, spanish)
    assert len(speak(url, text="Hello", speed=2.0)) == target_frames(CODES, 2, 0.5) * 256


def test_an_unknown_language_is_refused_by_name(url: str) -> None:
    for path in ("/tts", "/tts/stream"):
        answer = httpx.post(url + path, json={"text": "Hello.", "language": "fr"}, timeout=60)
        assert answer.status_code == 400
        assert answer.json()["field"] == "language"
    schema = str(httpx.get(f"{url}/schema/openapi.json", timeout=60).json())
    assert "'enum': ['ar', 'auto', 'en', 'es', 'ja', 'zh']" in schema
