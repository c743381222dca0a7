"""IndexTTS2 at its official widths with fewer layers, from random weights: a request takes a core a second or two.

The official size takes a core some six seconds for 0.6 s of audio, and 8 GB of memory for each engine. Here the code
model has 6 of 24 layers, the flow's transformer 4 of 13 and its WaveNet 4 of 8, the vocoder half the channels, the
encoder of recordings 4 of 17 layers. Stages and kernels are those of the official size.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from serving.models import indextts2
from serving.models.indextts2 import create_frontend, create_model, open_voices, voice_digest, weights_digest
from serving.models.indextts2.config import IndexTts2Config

__all__ = [
    "Fields",
    "Options",
    "create_frontend",
    "create_model",
    "open_voices",
    "voice_digest",
    "weights_digest",
]

Fields = indextts2.Fields
SIZE = "official widths, layers 6 of 24 (codes), 4 of 13 and 4 of 8 (flow), half the vocoder's channels"


class Options(indextts2.Options, frozen=True, kw_only=True):
    """model.options."""

    weights: Literal["random"] = "random"

    def shapes(self) -> IndexTts2Config:
        """The official shapes with fewer layers."""
        replace = msgspec.structs.replace
        whole = IndexTts2Config.official()
        flow = replace(
            whole.s2mel,
            dit=replace(whole.s2mel.dit, depth=4),
            wavenet=replace(whole.s2mel.wavenet, num_layers=4),
        )
        return replace(
            whole,
            gpt=replace(whole.gpt, layers=6),
            s2mel=flow,
            vocoder=replace(
                whole.vocoder, upsample_initial_channel=whole.vocoder.upsample_initial_channel // 2
            ),
            w2v=replace(whole.w2v, num_hidden_layers=4),
        )
