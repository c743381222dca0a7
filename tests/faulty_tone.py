"""The tone model with faults to order: it can be slow, fail, crash, and break each rule of a model."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from serving.models import tone
from serving.models.base import SegmentTimes
from serving.models.tone.frontend import ToneFrontend
from serving.profile import Profile
from serving.protocol import SpeechParams

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from serving.models.base import Bucket, Model
    from serving.models.tone.model import ToneState

Fields = tone.Fields

Mistake = Literal[
    "open_stage",
    "scatter_stage",
    "missing_samples",
    "extra_samples",
    "bad_samples",
    "nan",
    "times",
    "length",
    "close",
    "pinned",
]


class Options(tone.Options, frozen=True, kw_only=True):
    """model.options of a faulty model."""

    step_s: Annotated[float, Meta(ge=0)] = 0.0
    """Time that each render step sleeps, for tests that need a request in flight."""
    load_s: Annotated[float, Meta(ge=0)] = 0.0
    """Time that loading sleeps."""
    fail_token: int | None = None
    """A step that holds this token raises."""
    crash_token: int | None = None
    """A step that holds this token ends the process without a word, as a segmentation fault would."""
    hang_token: int | None = None
    """A step that holds this token does not end."""
    crash_at_start: bool = False
    """The engine's process ends without a word while it loads."""
    mistake: Mistake | None = None
    """What the model does wrong with a segment that holds mistake_token."""
    mistake_token: int = ord("q")
    first_stage: str = "embed"
    """What the model declares as its first stage."""


def create_frontend(profile: Profile, options: Options) -> ToneFrontend:
    return ToneFrontend(options)


def create_model(profile: Profile, options: Options, device: torch.device, dtype: torch.dtype) -> Model:
    from serving.models.tone.model import RenderStage, ToneModel

    class FaultyRender(RenderStage):
        def collate(self, states: Sequence[ToneState], bucket: Bucket) -> tuple[torch.Tensor, ...]:
            for state in states:
                window = state.tokens[state.done : state.done + state.length]
                if options.crash_token in window:
                    os._exit(70)
                if options.hang_token in window:
                    time.sleep(3600)
                if options.fail_token in window:
                    raise RuntimeError(f"token {options.fail_token} was asked to fail")
            if states:
                time.sleep(options.step_s)
            return super().collate(states, bucket)

        def scatter(
            self, states: Sequence[ToneState], outputs: tuple[torch.Tensor, ...]
        ) -> list[NDArray[np.float32] | None]:
            samples: list[Any] = super().scatter(states, outputs)
            if any(options.mistake_token in state.tokens for state in states):
                match options.mistake:
                    case "scatter_stage":
                        states[0].stage = "rendr"
                    case "length":
                        states[0].stage, states[0].length = "render", "long"  # type: ignore[assignment]
                    case "missing_samples":
                        samples.pop()
                    case "extra_samples":
                        samples.append(None)
                    case "bad_samples":
                        samples[0] = samples[0][None]
                    case "nan":
                        samples[0][-1] = float("nan")
                    case "times":
                        states[0].times = SegmentTimes(0.0, samples[0].max(), [])
            return samples

    class FaultyTone(ToneModel):
        first_stages: tuple[str, ...] = (options.first_stage,)

        def open(self, *arguments: Any, urgent: bool) -> ToneState:
            state = super().open(*arguments, urgent=urgent)
            if options.mistake == "open_stage" and options.mistake_token in state.tokens:
                state.stage = "embd"
            return state

        def pinned(self, params: SpeechParams) -> SpeechParams:
            if options.mistake == "pinned":
                raise RuntimeError("pinned was asked to fail")
            return params

        def close(self, state: ToneState) -> None:
            if options.mistake == "close" and options.mistake_token in state.tokens:
                raise RuntimeError("close was asked to fail")

    time.sleep(options.load_s)
    if options.crash_at_start:
        os._exit(70)
    model = FaultyTone(options, profile.engine, device)
    render = model.stages["render"]
    assert isinstance(render, RenderStage)
    model.stages = dict(model.stages) | {
        "render": FaultyRender(render.pitch_hz, options, render.max_rows, render.max_units)
    }
    return model
