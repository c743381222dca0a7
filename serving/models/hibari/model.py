"""The embedded voice as the engine sees it: spec, stages, and segments opened and closed."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import torch

from serving.models.base import ModelSpec, Stage
from serving.models.hibari.frontend import SPEC, read_options
from serving.models.hibari.kernels import library
from serving.models.hibari.network import Decoder, Encoder, ProsodyNet
from serving.models.hibari.network_cpu import CpuEncoder, CpuProsodyNet
from serving.models.hibari.stages import MAX_TOKENS, Decode, Encode, HibariState, Prosody
from serving.models.hibari.stages_cpu import CpuDecode
from serving.models.hibari.weights import load_weights
from serving.native import NativeError, has_avx2
from serving.profile import Profile, ProfileError
from serving.protocol import InputError, Segment, SpeechParams

log = logging.getLogger(__name__)


class HibariModel:
    """The network on one device, in three stages: encode, prosody, decode."""

    spec: ModelSpec = SPEC

    def __init__(self, profile: Profile, device: torch.device, dtype: torch.dtype) -> None:
        weights = load_weights()
        encoder, net, decoder = Encoder(weights), ProsodyNet(weights), Decoder(weights, dtype)
        self.native = use_kernels(profile, device, dtype)
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
            speed=params.speed,
            noise_seed=(params.seed, segment.index),
            urgent=urgent,
        )

    def close(self, state: HibariState) -> None:
        """Nothing to free: a segment's first window reads no history from its slot."""
        state.stage = None


def use_kernels(profile: Profile, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the network runs in our own CPU kernels (native/kernels.c); see HibariOptions.kernels.

    Raises ProfileError if the profile demands them where they cannot be had.
    """
    wanted = read_options(profile).kernels
    if wanted == "torch":
        return False
    reason = None
    if device.type != "cpu":
        reason = f"they run on a CPU, and the device is {device}"
    elif profile.engine.compile or dtype != torch.float32:
        reason = "they take the place of engine.compile and of other types than float32"
    elif not has_avx2():
        reason = "this CPU has no AVX2"
    else:
        try:
            library()
        except NativeError as error:
            reason = str(error)
            log.warning("speaking with plain torch operations, at about half the speed: %s", error)
    if reason and wanted == "native":
        raise ProfileError(f"model.options.kernels: native kernels cannot be had: {reason}")
    return reason is None
