"""The embedded voice as the engine sees it: spec, stages, and segments opened and closed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from serving.models.base import ModelSpec, Stage
from serving.models.hibari.cpu.decode import CpuDecode
from serving.models.hibari.cpu.layers import library
from serving.models.hibari.cpu.network import CpuEncoder, CpuProsodyNet
from serving.models.hibari.frontend import SPEC, Options
from serving.models.hibari.stages import MAX_TOKENS, Decode, Encode, HibariState, Prosody
from serving.models.hibari.torch.network import Decoder, Encoder, ProsodyNet
from serving.models.hibari.weights import load_weights
from serving.native.choice import use_kernels
from serving.profile import Profile
from serving.protocol import InputError, Segment, SpeechParams


class HibariModel:
    """The network on one device, in three stages: encode, prosody, decode."""

    spec: ModelSpec = SPEC
    first_stages: tuple[str, ...] = ("encode",)

    def __init__(self, profile: Profile, options: Options, device: torch.device, dtype: torch.dtype) -> None:
        weights = load_weights()
        encoder, net, decoder = Encoder(weights), ProsodyNet(weights), Decoder(weights, dtype)
        self.native = use_kernels(options.kernels, profile, device, {dtype}, {torch.float32}, library)
        if self.native:
            self.encode = Encode(profile, CpuEncoder(encoder), device)
            self.prosody = Prosody(profile, CpuProsodyNet(net), device)
            self.decode: Decode | CpuDecode = CpuDecode(profile, decoder)
        else:
            self.encode = Encode(profile, encoder, device).to(device)
            self.prosody = Prosody(profile, net, device).to(device)
            self.decode = Decode(profile, decoder, device).to(device)
        self.stages: Mapping[str, Stage] = {
            "encode": self.encode,
            "prosody": self.prosody,
            "decode": self.decode,
        }

    def open(self, params: SpeechParams, segment: Segment, slot: int, *, urgent: bool) -> HibariState:
        """Begin a segment. Raises InputError (field "text") if it has no tokens or more than 402."""
        if not 1 <= len(segment.tokens) <= MAX_TOKENS:
            raise InputError("text", f"a segment has 1 to {MAX_TOKENS} tokens, got {len(segment.tokens)}")
        return HibariState(
            slot=slot,
            stage="encode",
            length=len(segment.tokens),
            tokens=np.asarray(segment.tokens, np.int64),
            speed=params.fields.speed,
            noise_seed=(params.seed, segment.index),
            urgent=urgent,
        )

    def close(self, state: HibariState) -> None:
        """Nothing to free: a segment's first window reads no history from its slot."""
        state.stage = None
