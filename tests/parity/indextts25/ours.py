"""Our networks of 2.5 filled from the small official checkpoints."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from serving.models.indextts2.voice.conditioning import ReferenceEncoder, VoiceConditioning
from serving.models.indextts2.weights.checkpoint import NoInitialWeights
from serving.models.indextts2.weights.state_dict import load
from serving.models.indextts25.voice import StyleVoiceParts
from serving.models.indextts25.weights import RELEASE
from tests.parity.indextts25 import peer


@functools.cache
def networks(seed: int) -> dict[str, Any]:
    """Every component of peer.checkpoint(seed) by name, converted by our loader."""
    sources, config = RELEASE.locate(peer.checkpoint(seed), None)
    states = RELEASE.convert(sources, config)
    made: dict[str, Any] = {}
    for name, build in RELEASE.components.items():
        with NoInitialWeights():
            made[name] = build(config).eval()
        load(made[name], states[name], name)
        made[name].requires_grad_(False)
    if seed:
        # All seeds read one w2v-bert file, so they may hold one.
        made["speech"].layers = networks(0)["speech"].layers
    return made


@functools.cache
def reference_encoder(seed: int) -> ReferenceEncoder:
    """Our conditioning for the same checkpoint."""
    _, config = RELEASE.locate(peer.checkpoint(seed), None)
    made = networks(seed)
    parts = StyleVoiceParts(**{name: made[name] for name in StyleVoiceParts.__dataclass_fields__})
    return ReferenceEncoder(config, parts)


@functools.cache
def conditioning(seed: int, path: Path) -> VoiceConditioning:
    """Our conditioning of a recording, as the condition stage makes it."""
    encoder = reference_encoder(seed)
    return encoder.encode(encoder.read(path))
