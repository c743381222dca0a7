"""The tone model, slow on purpose: a step takes 50 ms and makes one letter.

A step that holds "!" hangs. TTS_FAULT=start in the environment ends the engine at its start.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from serving.models import tone
from serving.models.tone.frontend import ToneFrontend
from serving.profile import Profile

if TYPE_CHECKING:
    import torch

    from serving.models.base import Bucket, Model
    from serving.models.tone.model import ToneState

STEP_S = 0.05

Fields = tone.Fields


class Options(tone.Options, frozen=True, kw_only=True):
    """model.options; a window is one letter."""

    max_window_tokens: int = 1


def create_frontend(profile: Profile, options: Options) -> ToneFrontend:
    return ToneFrontend(options)


def create_model(profile: Profile, options: Options, device: torch.device, dtype: torch.dtype) -> Model:
    from serving.models.tone.model import RenderStage, ToneModel

    if os.environ.get("TTS_FAULT") == "start":
        os._exit(70)

    class Slow(RenderStage):
        def collate(self, states: Sequence[ToneState], bucket: Bucket) -> tuple[torch.Tensor, ...]:
            if any("!" in map(chr, s.tokens[s.done : s.done + s.length]) for s in states):
                time.sleep(3600)  # a step that hangs
            if states:
                time.sleep(STEP_S)
            return super().collate(states, bucket)

    model = ToneModel(options, profile.engine, device)
    render = model.stages["render"]
    assert isinstance(render, RenderStage)
    model.stages = dict(model.stages) | {
        "render": Slow(render.pitch_hz, options, render.max_rows, render.max_units)
    }
    return model
