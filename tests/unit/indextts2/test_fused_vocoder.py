"""The vocoder of few kernels is the vocoder: its filters, its biases and its rows, with the plain expressions between
them: the kernels are tested against these in test_kernels.py."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import torch

from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.wave import fused
from serving.models.indextts2.wave.snake import AntiAliasedSnake
from serving.models.indextts2.wave.vocoder import Vocoder

TINY = IndexTts2Config.tiny().vocoder


@pytest.fixture(scope="module")
def vocoder() -> Vocoder:
    torch.manual_seed(0)
    made = Vocoder(TINY).eval().requires_grad_(False)
    for module in made.modules():
        if isinstance(module, AntiAliasedSnake):
            module.frequency.uniform_(0.3, 3.0)
            module.amplitude.uniform_(0.3, 1.0)
    return made


@pytest.mark.parametrize("lengths", [None, (9, 4)])
def test_it_speaks_as_the_plain_one(vocoder: Vocoder, lengths: tuple[int, ...] | None) -> None:
    mel = torch.randn(2, TINY.num_mels, 9)
    live = None if lengths is None else torch.tensor(lengths)
    with torch.inference_mode():
        ours, plain = fused.FusedVocoder(vocoder, torch.float32, fused.PLAIN)(mel, live), vocoder(mel, live)
    assert ours.shape == plain.shape
    for row, frames in enumerate(lengths or (9, 9)):
        spoken = slice(0, frames * TINY.hop_length)
        assert plain[row, spoken].std() > 1e-3
        torch.testing.assert_close(ours[row, spoken], plain[row, spoken], atol=2e-6, rtol=1e-4)


def test_bfloat16_is_near(vocoder: Vocoder) -> None:
    mel = torch.randn(1, TINY.num_mels, 9)
    with torch.inference_mode():
        ours, plain = fused.FusedVocoder(vocoder, torch.bfloat16, fused.PLAIN)(mel), vocoder(mel)
    assert ours.dtype == torch.float32
    assert 0 < (ours - plain).norm() / plain.norm() < 0.05


def test_sizes_that_do_not_suit_are_named(vocoder: Vocoder) -> None:
    fused.check_sizes(vocoder)
    changed: dict[str, dict[str, Any]] = {
        "an upsampling by 4 with a kernel of 14": {"upsample_kernel_sizes": (14, 8, 4, 4, 4, 4)},
        "more than 3 residual blocks": {
            "resblock_kernel_sizes": (3, 3, 3, 3),
            "resblock_dilation_sizes": ((1,), (1,), (1,), (1,)),
        },
    }
    for words, sizes in changed.items():
        with pytest.raises(ValueError, match=words):
            fused.check_sizes(Vocoder(msgspec.structs.replace(TINY, **sizes)))
