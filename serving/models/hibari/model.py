"""The embedded voice as the engine sees it: spec, stages, and segments opened and closed."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import torch

from serving.models.base import ModelSpec, Stage
from serving.models.hibari.backend import Backend
from serving.models.hibari.constants import VOICE_LUFS
from serving.models.hibari.cpu.backend import CpuBackend
from serving.models.hibari.frontend import SPEC, Options
from serving.models.hibari.stages import DECODE, MAX_TOKENS, Encode, Prosody
from serving.models.hibari.state import HibariState
from serving.models.hibari.torch.backend import TorchBackend
from serving.models.hibari.weights import load_weights
from serving.native.choice import use_kernels
from serving.profile import Profile
from serving.protocol import InputError, Segment, SpeechParams


class HibariModel:
    """The network on one device, in three stages: encode, prosody, decode."""

    spec: ModelSpec = SPEC
    first_stages: tuple[str, ...] = ("encode",)

    def __init__(self, profile: Profile, options: Options, device: torch.device, dtype: torch.dtype) -> None:
        backend = choose_backend(profile, options, device, dtype)
        self.kernels = backend.kernels
        self.spreads = isinstance(backend, CpuBackend)
        self.trim = options.trim
        target_lufs = VOICE_LUFS if options.loudness_lufs is None else options.loudness_lufs
        self.gain = 10 ** ((target_lufs - VOICE_LUFS) / 20)
        self.encode, self.prosody = Encode(profile, backend), Prosody(profile, backend)
        self.decode = backend.decode(profile)
        self.stages: Mapping[str, Stage] = {
            Encode.name: self.encode,
            Prosody.name: self.prosody,
            DECODE: self.decode,
        }

    def open(self, params: SpeechParams, segment: Segment, slot: int, *, urgent: bool) -> HibariState:
        """Begin a segment. Raises InputError (field "text") if it has no tokens or more than 402."""
        if not 1 <= len(segment.tokens) <= MAX_TOKENS:
            raise InputError("text", f"a segment has 1 to {MAX_TOKENS} tokens, got {len(segment.tokens)}")
        return HibariState(
            slot=slot,
            stage=Encode.name,
            length=len(segment.tokens),
            tokens=np.asarray(segment.tokens, np.int64),
            speed=params.fields.speed,
            noise_seed=(params.seed, segment.index),
            words=segment.words if params.timestamps != "none" else (),
            trim=self.trim,
            gain=self.gain,
            urgent=urgent,
        )

    def close(self, state: HibariState) -> None:
        """Nothing to free: a segment's first window reads no history from its slot."""
        state.stage = None


def choose_backend(profile: Profile, options: Options, device: torch.device, dtype: torch.dtype) -> Backend:
    """The kernels where the options want them and they can be had, else torch.

    Raises ProfileError if the options demand kernels that cannot be had.
    """
    weights = load_weights()
    kernels = functools.cache(functools.partial(CpuBackend, weights))
    if use_kernels(options.kernels, profile, device, {dtype}, {torch.float32}, kernels):
        return kernels()
    return TorchBackend(weights, device, dtype)
