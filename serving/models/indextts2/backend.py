"""What computes the networks of a window: torch, or our C kernels on a CPU. Chosen once, where the model is built."""

from __future__ import annotations

from typing import NamedTuple

import torch

from serving.models.indextts2.codes.cpu.gpt import CpuGpt
from serving.models.indextts2.codes.cpu.gpt import check_sizes as check_gpt_sizes
from serving.models.indextts2.codes.cpu.gpt import library as gpt_library
from serving.models.indextts2.codes.gpt import Gpt
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.mel.cpu.estimator import CpuEstimator
from serving.models.indextts2.mel.cpu.estimator import check_sizes as check_estimator_sizes
from serving.models.indextts2.mel.cpu.estimator import library as estimator_library
from serving.models.indextts2.mel.estimator import Estimator
from serving.models.indextts2.networks import CodeModel, MelVocoder, VelocityEstimator
from serving.models.indextts2.options import FUSED, Options
from serving.models.indextts2.self_check import Subjects, sound_parts
from serving.models.indextts2.wave.cpu.convolution import library as vocoder_library
from serving.models.indextts2.wave.cpu.vocoder import CpuVocoder
from serving.models.indextts2.wave.cpu.vocoder import check_sizes as check_vocoder_sizes
from serving.models.indextts2.wave.fused import FusedVocoder
from serving.models.indextts2.wave.vocoder import Vocoder
from serving.models.indextts2.weights.checkpoint import Weights
from serving.native import NativeError
from serving.native.choice import use_kernels
from serving.native.tiers import chosen_tier
from serving.profile import Profile, ProfileError

KERNEL_DTYPES = (torch.float32, torch.bfloat16)
"""Dtypes that a profile may ask for where kernels run; they compute in float32 for either."""


class Networks(NamedTuple):
    """The networks that every window passes, on one device."""

    gpt: CodeModel
    estimator: VelocityEstimator
    vocoder: MelVocoder
    kernels: str
    """What they run in: a tier of the CPU kernels, torch, or Triton's kernels and which of them are left out."""
    fused: frozenset[str] = frozenset()
    """Parts that run in Triton kernels; see options.FUSED."""


def load_networks(
    weights: Weights, options: Options, profile: Profile, device: torch.device, dtype: torch.dtype
) -> Networks:
    """Load the networks and choose what computes them. On a CPU the code model is float32 whatever `dtype` says.

    Raises ProfileError if the profile demands kernels that cannot be had, or float16 of a CPU.
    """
    flow_dtype = choose_flow_dtype(options, device, dtype)
    vocoder_dtype: torch.dtype = getattr(torch, options.vocoder_dtype)
    native = use_kernels(
        options.kernels,
        profile,
        device,
        {dtype, flow_dtype, vocoder_dtype},
        KERNEL_DTYPES,
        lambda: build_kernels(weights.config),
    )
    if device.type == "cpu" and dtype == torch.float16:
        raise ProfileError("engine.dtype: float16 needs a CUDA device; a CPU takes float32 or bfloat16")
    gpt: Gpt = weights.load("gpt", device)
    if native:
        # Each network is packed before the next is loaded: a CPU's memory need not hold both forms of all three.
        cpu_gpt = CpuGpt(gpt)
        estimator = CpuEstimator(weights.load("flow", device))
        return Networks(cpu_gpt, estimator, CpuVocoder(weights.load("vocoder", device)), chosen_tier())
    plain: Estimator = weights.load("flow", device)
    vocoder: Vocoder = weights.load("vocoder", device)
    if device.type != "cpu":
        gpt = gpt.to(dtype)
    plain.cast(flow_dtype)
    parts = choose_fused(options, device)
    parts = sound_parts(parts, Subjects(gpt, plain, vocoder, vocoder_dtype))
    gpt.fused = parts
    made = FusedVocoder(vocoder, vocoder_dtype) if "vocoder" in parts else vocoder.to(vocoder_dtype)
    return Networks(gpt, plain.fuse(parts), made, describe(parts), parts)


def describe(parts: frozenset[str]) -> str:
    """What runs in Triton's kernels, in words for /readyz: torch, triton, or triton without what is left out."""
    missing = ", ".join(part for part in FUSED if part not in parts)
    if not parts:
        return "torch"
    return f"triton without {missing}" if missing else "triton"


def choose_fused(options: Options, device: torch.device) -> frozenset[str]:
    """The parts that run as one kernel each. Raises ProfileError if some are demanded where there is no CUDA."""
    if options.fused == "auto":
        return frozenset(FUSED) if device.type == "cuda" else frozenset()
    if options.fused and device.type != "cuda":
        raise ProfileError(f"model.options.fused: these kernels run on CUDA, and the device is {device}")
    return frozenset(options.fused)


def build_kernels(config: IndexTts2Config) -> None:
    """Compile what runs the networks on a CPU, if need be. Raises NativeError, also for sizes that do not suit."""
    try:
        check_gpt_sizes(config.gpt)
        check_estimator_sizes(config.s2mel)
        check_vocoder_sizes(config.vocoder)
    except ValueError as error:
        raise NativeError(str(error)) from None
    for library in (gpt_library, estimator_library, vocoder_library):
        library()


def choose_flow_dtype(options: Options, device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """What the flow's estimator runs in: `dtype` on CUDA and float32 on a CPU, unless options.flow_dtype says."""
    if options.flow_dtype != "auto":
        chosen: torch.dtype = getattr(torch, options.flow_dtype)
        return chosen
    return torch.float32 if device.type == "cpu" else dtype
