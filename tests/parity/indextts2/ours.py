"""Our networks filled from the small official checkpoints, and recordings to condition on."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from torch import Tensor

from serving.models.indextts2.voice.conditioning import ConditioningParts, ReferenceEncoder, VoiceConditioning
from serving.models.indextts2.weights.checkpoint import COMPONENTS, NoInitialWeights, convert
from serving.models.indextts2.weights.sources import locate
from serving.models.indextts2.weights.state_dict import load
from tests.parity.indextts2 import official


@functools.cache
def networks(seed: int) -> dict[str, Any]:
    """Every component of official.checkpoint(seed) by name, converted by our loader."""
    sources, config = locate(official.checkpoint(seed))
    states = convert(sources, config)
    made: dict[str, Any] = {}
    for name, build in COMPONENTS.items():
        # Initial weights would be drawn only to be overwritten: for w2v-bert alone, a second.
        with NoInitialWeights():
            made[name] = build(config).eval()
        load(made[name], states[name], name)
        made[name].requires_grad_(False)
    if seed:
        # All seeds read one w2v-bert file, so they may hold one: half a gigabyte less for each.
        made["speech"].layers = networks(0)["speech"].layers
    return made


@functools.cache
def reference_encoder(seed: int) -> ReferenceEncoder:
    """Our conditioning for the same checkpoint."""
    _, config = locate(official.checkpoint(seed))
    made = networks(seed)
    parts = ConditioningParts(**{name: made[name] for name in ConditioningParts.__slots__})
    return ReferenceEncoder(config, parts)


@functools.cache
def conditioning(seed: int, path: Path) -> VoiceConditioning:
    """Our conditioning of a recording, as the condition stage makes it."""
    encoder = reference_encoder(seed)
    return encoder.encode(encoder.read(path))


def recording(path: Path, *, seed: int, seconds: float, rate_hz: int, channels: int = 1) -> Path:
    """Write a voiced sound with a gliding pitch, formant-like noise and pauses, as 16-bit audio."""
    random = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    pitch_hz = 110 + 40 * np.sin(2 * np.pi * 0.7 * time_s + seed)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    voiced = sum(np.sin(k * phase + k * seed) / k for k in range(1, 25))
    loud = 0.15 * np.clip(np.sin(2 * np.pi * 2.3 * time_s), 0, 1) + 0.002
    wave = loud * (voiced + 0.5 * random.standard_normal(len(time_s)))
    stereo = np.stack([wave * (1 - 0.2 * channel) for channel in range(channels)], axis=1)
    soundfile.write(path, stereo, rate_hz, subtype="PCM_16")
    return path


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference over the largest magnitude of the reference. The shapes must be equal."""
    assert ours.shape == theirs.shape, (tuple(ours.shape), tuple(theirs.shape))
    scale = theirs.double().abs().max()
    return float((ours.double() - theirs.double()).abs().max() / scale)
