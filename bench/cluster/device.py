"""A device as the CPU sees it: the tone model, whose steps cost nothing and sleep.

Its step takes step_s for each row, so an engine that is full makes 1 / step_s windows a second however many ask: as
with a device that is full, another request waits, and another engine helps. No core is busy meanwhile, which is how
several devices can be stood in for on a machine of two cores.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from serving.models import tone
from serving.models.tone.frontend import ToneFrontend
from serving.profile import Profile

if TYPE_CHECKING:
    import torch

    from serving.models.base import Bucket, Model
    from serving.models.tone.model import ToneState

Fields = tone.Fields


class Options(tone.Options, frozen=True, kw_only=True):
    """model.options."""

    step_s: Annotated[float, Meta(ge=0)] = 0.02
    """What a row of a step sleeps."""
    max_window_tokens: int = 8


def create_frontend(profile: Profile, options: Options) -> ToneFrontend:
    return ToneFrontend(options)


def create_model(profile: Profile, options: Options, device: torch.device, dtype: torch.dtype) -> Model:
    from serving.models.tone.model import RenderStage, ToneModel

    class Sleeping(RenderStage):
        def collate(self, states: Sequence[ToneState], bucket: Bucket) -> tuple[torch.Tensor, ...]:
            time.sleep(options.step_s * len(states))
            return super().collate(states, bucket)

    model = ToneModel(options, profile.engine, device)
    render = model.stages["render"]
    assert isinstance(render, RenderStage)
    model.stages = dict(model.stages) | {
        "render": Sleeping(render.pitch_hz, options, render.max_rows, render.max_units)
    }
    return model
