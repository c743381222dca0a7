"""What the tests of IndexTTS2 share: tiny random weights behind the frontend and the model, networks by one slot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from serving.models import load_frontend, load_model
from serving.models.base import Frontend
from serving.models.driver import speak
from serving.models.indextts2 import Fields
from serving.models.indextts2.codes.decoding import Decoding
from serving.models.indextts2.codes.sampling import Sampling, setting_rows
from serving.models.indextts2.mel.flow import Flow
from serving.models.indextts2.model import IndexTts2Model
from serving.models.indextts2.noise import gaussian
from serving.profile import EngineProfile, ModelProfile, PauseProfile, Profile, StreamingProfile
from serving.protocol import Segment, SpeechParams
from serving.text import Sentence, read
from serving.text.pauses import with_leads
from serving.text.scripts import text_language

CPU = torch.device("cpu")
CODES = 24
HOP = 256
TINY: dict[str, Any] = {
    "weights": "random",
    "size": "tiny",
    "prompt_s": 0.5,
    "history_s": 0.3,
    "lookahead_s": 0.06,
    "flow_iterations": 3,
    "max_codes": CODES,
    "min_codes": CODES,
}
STREAMING = StreamingProfile(first_chunk_s=0.15, growth=1.5, max_chunk_s=1.0)


def make_profile(
    engine: EngineProfile | None = None, streaming: StreamingProfile = STREAMING, **options: Any
) -> Profile:
    """IndexTTS2 from tiny random weights on the CPU."""
    settings = EngineProfile(device="cpu", threads=1, workers=1, max_slots=8, max_step_units=8192)
    return Profile(
        name="test",
        model=ModelProfile(name="indextts2", options=TINY | options),
        engine=engine or settings,
        streaming=streaming,
    )


def make(
    engine: EngineProfile | None = None, streaming: StreamingProfile = STREAMING, **options: Any
) -> tuple[Frontend, IndexTts2Model]:
    profile = make_profile(engine, streaming, **options)
    model = load_model(profile, CPU, torch.float32)
    assert isinstance(model, IndexTts2Model)
    return load_frontend(profile), model


def params(seed: int = 0, **fields: Any) -> SpeechParams:
    return SpeechParams(voice=fields.pop("voice", "hum"), seed=seed, fields=Fields(**fields))


def sentences_of(text: str, *, normalize: bool = True) -> Iterator[Sentence]:
    """A text as the server reads it for this model."""
    language = text_language(text, ("zh", "en"))
    return with_leads(read(text, language=language, normalize=normalize), PauseProfile())


def request(frontend: Frontend, text: str, **fields: Any) -> tuple[SpeechParams, Segment]:
    """A request of one segment."""
    wanted = params(**fields)
    (segment,) = frontend.segments(sentences_of(text), wanted)
    return wanted, segment


def wave_of(
    model: IndexTts2Model, wanted: tuple[SpeechParams, Segment], *, urgent: bool = False
) -> NDArray[np.float32]:
    """A request spoken alone."""
    (chunks,) = speak(model, [wanted], urgent=urgent)
    return np.concatenate(chunks)


def configure(decoding: Decoding, slot: int, sampling: Sampling) -> None:
    """One slot's settings."""
    decoding.configure(torch.tensor([slot]), *setting_rows([sampling]))


def begin(flow: Flow, slot: int, prompt: Tensor, mu: Tensor, style: Tensor, noise: Tensor) -> None:
    """One slot's segment: prompt [P, M], mu [P + N, content], style [S], noise [P + N, M] or [N, M]."""
    frames = len(mu)
    flow.begin(
        torch.tensor([slot]),
        F.pad(prompt, (0, 0, 0, frames - len(prompt)))[None],
        mu[None],
        style[None],
        F.pad(noise, (0, 0, frames - len(noise), 0))[None],
        torch.tensor([frames]),
        torch.tensor([len(prompt)]),
    )


def target_mel(flow: Flow, slot: int) -> Tensor:
    """The target's mel [N, M] of a slot, as it is now."""
    return flow.x[slot, int(flow.prompt_lengths[slot]) : int(flow.lengths[slot])].clone()


def frame_noise(seed: int, frames: int, mels: int) -> Tensor:
    """Standard normal [frames, mels], a function of seed, frame and bin: what the flow of a segment starts from."""
    frame, bins = torch.arange(frames)[:, None], torch.arange(mels)
    return gaussian(torch.full((1, 1), seed, dtype=torch.int64), frame, bins)


def plain_attention(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    slots: Tensor,
    lengths: Tensor,
    span: int,
    *,
    fused: bool = False,
) -> Tensor:
    """The definition of decode_attention: softmax(q k / sqrt(D)) v over the live cells of each row, [R, H, D]."""
    mask = torch.arange(span) < lengths[:, None, None, None]
    return F.scaled_dot_product_attention(
        q[:, :, None], keys[slots, :, :span], values[slots, :, :span], attn_mask=mask
    )[:, :, 0]


def relative_error(ours: NDArray[np.float32], alone: NDArray[np.float32]) -> float:
    """Largest difference over the largest magnitude; infinite if the lengths differ."""
    if ours.shape != alone.shape:
        return float("inf")
    return float(np.abs(ours - alone).max() / np.abs(alone).max())
