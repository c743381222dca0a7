"""What computes the networks: kernels where they take the sizes, else torch."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
import torch

from serving.models import load_options
from serving.models.indextts2.backend import describe, load_networks
from serving.models.indextts2.codes.cpu.gpt import CpuGpt
from serving.models.indextts2.codes.gpt import Gpt
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.options import FUSED, Options
from serving.models.indextts2.weights.checkpoint import RandomWeights
from serving.profile import ProfileError
from tests.unit.indextts2.support import CPU, make_profile

TINY = IndexTts2Config.tiny()
GPT_HEADS = msgspec.structs.replace(TINY, gpt=msgspec.structs.replace(TINY.gpt, model_dim=72, heads=3))
"""24 channels a head: the kernels take multiples of 16 up to 64."""
WAVENET_TAPS = msgspec.structs.replace(
    TINY,
    s2mel=msgspec.structs.replace(
        TINY.s2mel, wavenet=msgspec.structs.replace(TINY.s2mel.wavenet, kernel_size=3)
    ),
)
VOCODER_KERNELS = msgspec.structs.replace(
    TINY, vocoder=msgspec.structs.replace(TINY.vocoder, upsample_kernel_sizes=(12, 8, 4, 4, 4, 4))
)


def networks(config: IndexTts2Config, **options: Any) -> Any:
    profile = make_profile(**options)
    found = load_options(profile)
    assert isinstance(found, Options)
    return load_networks(RandomWeights(config, 0), found, profile, CPU, torch.float32)


def test_what_is_left_out_is_named() -> None:
    assert describe(frozenset(FUSED)) == "triton"
    assert describe(frozenset(FUSED) - {"swiglu", "norm"}) == "triton without norm, swiglu"
    assert describe(frozenset()) == "torch" == networks(TINY, kernels="torch").kernels


def test_sizes_that_suit_run_in_kernels() -> None:
    assert isinstance(networks(TINY).gpt, CpuGpt)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (GPT_HEADS, "heads of 24 channels"),
        (WAVENET_TAPS, "convolutions of 5 taps"),
        (VOCODER_KERNELS, "a kernel of 12 at a rate of 4"),
    ],
)
def test_sizes_that_the_kernels_do_not_take_run_in_torch(
    config: IndexTts2Config, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert isinstance(networks(config).gpt, Gpt)
    assert words in caplog.text
    with pytest.raises(ProfileError, match=f"model.options.kernels.*{words}"):
        networks(config, kernels="native")
