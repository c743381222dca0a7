"""The official files of 2.5: where they come from and lie, and how they become our networks' states."""

from __future__ import annotations

import functools

from torch import Tensor, nn

from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.weights import fetch
from serving.models.indextts2.weights.checkpoint import (
    COMPONENTS,
    Release,
    convert_shared,
    read_gpt,
    read_net,
    storable,
)
from serving.models.indextts2.weights.fetch import HubFile
from serving.models.indextts2.weights.sources import Sources, locate, read_state
from serving.models.indextts2.weights.state_dict import take
from serving.models.indextts25 import codec
from serving.models.indextts25.config import PLACES, VOCABULARY, read_config

LICENSE_NOTICE = """\
IndexTTS-2.5 weights: bilibili Model Use License Agreement. Above 100 million monthly users or RMB 1 billion
  revenue an own licence is needed; derivatives must carry its notice; neither the model nor its output may be used
  to improve another AI model, except non-commercial ones (section 3.4c); cloning a voice needs its owner's consent.
w2v-bert-2.0: MIT. CAMPPlus: Apache-2.0. BigVGAN v2: MIT.
Read the licences on the model pages before use. Nothing of these files is part of this project."""

_REPOSITORY = "IndexTeam/IndexTTS-2.5"
MODEL_FILES = (
    "config.yaml",
    "gpt.pth",
    "s2mel.pth",
    "codec.pth",
    VOCABULARY,
    "feat1.pt",
    "feat2.pt",
    "wav2vec2bert_stats.pt",
)
FILES = (
    *(HubFile(_REPOSITORY, name, name) for name in MODEL_FILES),
    *(
        file
        for file in fetch.FILES
        if file.place.startswith("hf_cache/") and "MaskGCT" not in file.repository
    ),
)


def convert(sources: Sources, config: IndexTts2Config) -> dict[str, dict[str, Tensor]]:
    """Component name to its state, float32. Raises CheckpointError as Release.convert says.

    s2mel.pth holds a projection of latents that 2.5 does not read.
    """
    gpt_state = read_gpt(sources.gpt, r"spk_emb_proj|lang_embedding")
    parts = read_net(sources.s2mel, "cfm", "length_regulator")
    own = {
        "decoder": codec.convert(read_state(sources.semantic_codec, "model")),
        "speaker": take(gpt_state, "spk_emb_proj."),
    }
    return storable(own | convert_shared(sources, config, gpt_state, parts))


RELEASE = Release(
    {name: build for name, build in COMPONENTS.items() if name not in ("codec", "projection", "speaker")}
    | {
        "speaker": lambda config: nn.Linear(config.s2mel.style_dim, config.gpt.model_dim),
        "decoder": lambda config: codec.SemanticDecoder(config.codec),
    },
    functools.partial(locate, usual=PLACES, read=read_config),
    convert,
)
"""IndexTTS-2.5."""
