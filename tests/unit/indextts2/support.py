"""What the tests of IndexTTS2 share: tiny random weights behind the frontend and the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from serving.models import load_frontend, load_model
from serving.models.base import Frontend
from serving.models.driver import speak
from serving.models.indextts2 import Fields
from serving.models.indextts2.model import IndexTts2Model
from serving.profile import EngineProfile, ModelProfile, Profile, StreamingProfile
from serving.protocol import Segment, SpeechParams

CPU = torch.device("cpu")
CODES = 24
HOP = 256
TINY: dict[str, Any] = {
    "weights": "random",
    "size": "tiny",
    "prompt_s": 0.5,
    "history_s": 0.3,
    "lookahead_s": 0.06,
    "flow_steps": 3,
    "max_codes": CODES,
    "min_codes": CODES,
}
STREAMING = StreamingProfile(first_chunk_s=0.15, growth=1.5, max_chunk_s=1.0)


def make_profile(engine: EngineProfile | None = None, **options: Any) -> Profile:
    """IndexTTS2 from tiny random weights on the CPU."""
    settings = EngineProfile(device="cpu", threads=1, workers=1, max_slots=8, max_step_units=8192)
    return Profile(
        name="test",
        model=ModelProfile(name="indextts2", options=TINY | options),
        engine=engine or settings,
        streaming=STREAMING,
    )


def make(engine: EngineProfile | None = None, **options: Any) -> tuple[Frontend, IndexTts2Model]:
    profile = make_profile(engine, **options)
    model = load_model(profile, CPU, torch.float32)
    assert isinstance(model, IndexTts2Model)
    return load_frontend(profile), model


def params(seed: int = 0, **fields: Any) -> SpeechParams:
    return SpeechParams(voice=fields.pop("voice", "hum"), seed=seed, fields=Fields(**fields))


def request(frontend: Frontend, text: str, **fields: Any) -> tuple[SpeechParams, Segment]:
    """A request of one segment."""
    wanted = params(**fields)
    (segment,) = frontend.segments(text, wanted)
    return wanted, segment


def wave_of(
    model: IndexTts2Model, wanted: tuple[SpeechParams, Segment], *, urgent: bool = False
) -> NDArray[np.float32]:
    """A request spoken alone."""
    (chunks,) = speak(model, [wanted], urgent=urgent)
    return np.concatenate(chunks)


def relative_error(ours: NDArray[np.float32], alone: NDArray[np.float32]) -> float:
    """Largest difference over the largest magnitude; infinite if the lengths differ."""
    if ours.shape != alone.shape:
        return float("inf")
    return float(np.abs(ours - alone).max() / np.abs(alone).max())
