"""The vocoder against the official one: waveforms, the snake's filters and borders, windows, ragged
batches."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest
import torch
from indextts.s2mel.modules.bigvgan import bigvgan
from torch import Tensor

from serving.models.indextts2.config import BigVganConfig
from serving.models.indextts2.wave import snake
from serving.models.indextts2.wave.vocoder import Vocoder, convert
from tests.parity.indextts2 import official

SHAPES: dict[str, dict[str, Any]] = {
    "six-stages": {},
    "final-bias": {
        "upsample_initial_channel": 64,
        "use_bias_at_final": True,
        "resblock_kernel_sizes": [3, 5, 7],
    },
}


@pytest.fixture(scope="module", autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module", params=[(shape, seed) for shape in SHAPES for seed in range(3)], ids=str)
def pair(request: pytest.FixtureRequest) -> tuple[Any, Vocoder]:
    """The official vocoder with random weights, and ours with the same."""
    shape, seed = request.param
    hyper = bigvgan.load_hparams_from_json(str(official.HERE / "small_bigvgan.json"))
    hyper.update(SHAPES[shape])
    theirs = official.random_module(seed, lambda: bigvgan.BigVGAN(hyper))
    official.bound_output(theirs, seed)
    fields = {name: hyper[name] for name in BigVganConfig.__struct_fields__ if name in hyper}
    config = msgspec.convert(fields, BigVganConfig)
    ours = Vocoder(config).eval()
    ours.load_state_dict(convert(theirs.state_dict(), config))
    return theirs, ours


def mel(frames: int, seed: int = 0) -> Tensor:
    return 1.5 * torch.randn(1, 80, frames, generator=torch.Generator().manual_seed(seed))


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference over the largest magnitude."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("frames", [1, 7, 50])
def test_waveform(pair: tuple[Any, Vocoder], frames: int) -> None:
    theirs, ours = pair
    expected = theirs(mel(frames))[0]
    assert expected.abs().max() > 0.05, "silence would prove little"
    assert ours(mel(frames)).shape == (1, frames * 256)
    assert relative_error(ours(mel(frames)), expected) <= 1e-3


def test_filter_is_the_checkpoint_s(pair: tuple[Any, Vocoder]) -> None:
    theirs, _ = pair
    taps = torch.tensor(snake.sinc_filter())
    for name in ("upsample.filter", "downsample.lowpass.filter"):
        stored = theirs.state_dict()[f"resblocks.0.activations.0.{name}"]
        assert torch.allclose(stored.flatten(), taps, atol=1e-7, rtol=0)


@pytest.mark.parametrize("form", [snake.snake_by_convolution, snake.snake_by_shifts])
@pytest.mark.parametrize("width", [1, 2, 3, 5, 40])
def test_snake_forms(pair: tuple[Any, Vocoder], form: Any, width: int) -> None:
    theirs, ours = pair[0], cast(Any, pair[1])
    x = 2.0 * torch.randn(2, ours.blocks[0].snakes[0].frequency.shape[0], width)
    expected = theirs.resblocks[0].activations[0](x)
    parameters = ours.blocks[0].snakes[0]
    assert relative_error(form(x, parameters.frequency, parameters.amplitude, None), expected) <= 1e-5


def test_trap_zero_borders_of_the_snake(pair: tuple[Any, Vocoder], monkeypatch: pytest.MonkeyPatch) -> None:
    """The snake replicates its borders; zeros there would show."""
    theirs, ours = pair
    pad = torch.nn.functional.pad

    def zeros(x: Tensor, sides: Any, mode: str = "constant", value: float = 0.0) -> Tensor:
        return pad(x, sides)

    monkeypatch.setattr(torch.nn.functional, "pad", zeros)
    assert relative_error(ours(mel(7)), theirs(mel(7))[0]) > 1e-3


def test_trap_weight_norm(pair: tuple[Any, Vocoder]) -> None:
    """The gain is not the norm of the direction: an unfolded gain would show."""
    theirs, ours = pair
    unfolded = copy.deepcopy(ours)
    unfolded.conv_in.weight.copy_(theirs.conv_pre.weight_v)
    assert relative_error(unfolded(mel(7)), theirs(mel(7))[0]) > 1e-3
