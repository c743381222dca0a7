"""IndexTTS-2.5 as the engine sees it: the stages of IndexTTS2 around another codec, voice and vocabulary."""

from __future__ import annotations

from dataclasses import replace

import torch

from serving.models.base import ModelSpec
from serving.models.indextts2.codes.sampling import Sampling
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.model import IndexTts2Model, open_weights
from serving.models.indextts2.options import Fields as Fields2
from serving.models.indextts2.options import Options as Options2
from serving.models.indextts2.stages.mel import CodeReader
from serving.models.indextts2.stages.streaming import StreamingOptions
from serving.models.indextts2.voice.conditioning import VoiceParts
from serving.models.indextts2.voice.library import Voices
from serving.models.indextts2.weights.checkpoint import Weights
from serving.models.indextts25.codec import DecodedCodes
from serving.models.indextts25.frontend import model_spec
from serving.models.indextts25.options import Fields
from serving.models.indextts25.voice import StyleVoiceParts
from serving.models.indextts25.weights import RELEASE


class IndexTts25Model(IndexTts2Model):
    """What 2.5 has in place of parts of 2.0, and its speaking rate."""

    has_latents = False

    def spec_of(self, options: Options2, config: IndexTts2Config, voices: Voices) -> ModelSpec:
        """What callers may know."""
        return model_spec(options, config, voices)

    def open_weights(self, options: Options2) -> Weights:
        """Random weights or the checkpoint's. Raises ProfileError if the checkpoint is not as it should be."""
        return open_weights(options, RELEASE)

    def voice_parts(self, weights: Weights, device: torch.device) -> VoiceParts:
        """The networks that condition on a recording."""
        names = StyleVoiceParts.__dataclass_fields__
        return StyleVoiceParts(**{name: weights.load(name, device) for name in names})

    def code_reader(self, weights: Weights, device: torch.device, parts: VoiceParts) -> CodeReader:
        """What reads the codes; it shares the regulator with voice_parts."""
        return DecodedCodes(weights.load("decoder", device), parts.regulator)

    def windows_of(self, fields: Fields2, *, urgent: bool) -> StreamingOptions:
        """The windows of a segment: the faster it is spoken, the more codes they hold."""
        return replace(super().windows_of(fields, urgent=urgent), stretch=1 / _speed(fields))

    def _sampling(self, fields: Fields2, seed: int, index: int) -> Sampling:
        """Slow speech has fewer codes at most: a slot of the flow has room for max_codes at speed 1."""
        sampling = super()._sampling(fields, seed, index)
        most = max(1, int(sampling.max_codes * min(_speed(fields), 1.0)))
        return replace(sampling, max_codes=most, min_codes=min(sampling.min_codes, most))


def _speed(fields: Fields2) -> float:
    assert isinstance(fields, Fields)
    return fields.speed
