"""What the tests of IndexTTS-2.5 share: tiny random weights behind the frontend and the model."""

from __future__ import annotations

from typing import Any

import torch

from serving.models import load_frontend, load_model
from serving.models.base import Frontend
from serving.models.indextts25 import Fields
from serving.models.indextts25.model import IndexTts25Model
from serving.profile import EngineProfile, ModelProfile, PauseProfile, Profile, StreamingProfile
from serving.protocol import Segment, SpeechParams
from serving.text import read
from serving.text.pauses import with_leads
from serving.text.scripts import text_language
from tests.unit.indextts2.support import STREAMING, TINY

CPU = torch.device("cpu")
CODES = 12
TEXTS = {
    "zh": "你好，25%的人。",
    "en": "Hello there!",
    "ja": "東京で3つの発売。",
    "es": "¿Qué tal, 21 amigos?",
    "ar": "اشترى ٢٥ كتابا.",
}
"""A text of each language, none of which the language has to be named for."""


def make_profile(
    engine: EngineProfile | None = None, streaming: StreamingProfile = STREAMING, **options: Any
) -> Profile:
    """IndexTTS-2.5 from tiny random weights on the CPU."""
    settings = EngineProfile(device="cpu", threads=1, workers=1, max_slots=8, max_step_units=8192)
    tiny = TINY | {"max_codes": CODES, "min_codes": CODES}
    return Profile(
        name="test",
        model=ModelProfile(name="indextts25", options=tiny | options),
        engine=engine or settings,
        streaming=streaming,
    )


def make(
    engine: EngineProfile | None = None, streaming: StreamingProfile = STREAMING, **options: Any
) -> tuple[Frontend, IndexTts25Model]:
    profile = make_profile(engine, streaming, **options)
    model = load_model(profile, CPU, torch.float32)
    assert isinstance(model, IndexTts25Model)
    return load_frontend(profile), model


def segments(frontend: Frontend, text: str, **fields: Any) -> tuple[SpeechParams, list[Segment]]:
    """A request as the server makes it, in the language that its text is in unless one is named."""
    params = SpeechParams(voice="hum", seed=fields.pop("seed", 0), fields=Fields(**fields))
    named = fields.get("language", "auto")
    language = text_language(text, frontend.spec.languages if named == "auto" else (named,))
    sentences = with_leads(read(text, language=language), PauseProfile())
    return params, list(frontend.segments(sentences, params))


def request(frontend: Frontend, text: str, **fields: Any) -> tuple[SpeechParams, Segment]:
    """A request of one segment."""
    params, (segment,) = segments(frontend, text, **fields)
    return params, segment
