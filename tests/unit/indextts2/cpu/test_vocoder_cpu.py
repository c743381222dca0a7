"""The vocoder's CPU kernels against plain torch: layers, the whole, and what a row does not depend on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from serving.models.indextts2.config import BigVganConfig, IndexTts2Config
from serving.models.indextts2.wave.cpu import convolution as vocoder_kernels
from serving.models.indextts2.wave.cpu.convolution import Convolution, Scratch, stored_channels
from serving.models.indextts2.wave.cpu.vocoder import CpuVocoder
from serving.models.indextts2.wave.snake import AntiAliasedSnake
from serving.models.indextts2.wave.vocoder import Vocoder, reach_frames
from serving.native import build

pytestmark = pytest.mark.slow

TINY = IndexTts2Config.tiny().vocoder
ODD = BigVganConfig(
    num_mels=12,
    upsample_rates=(2, 6),
    upsample_kernel_sizes=(4, 12),
    upsample_initial_channel=48,
    resblock_kernel_sizes=(1, 9, 15),
    resblock_dilation_sizes=((1,), (2, 7), (1, 3, 4)),
    use_bias_at_final=True,
)
"""Sizes that are not the released ones."""

KERNELS = [(1, 1), (3, 1), (3, 5), (5, 2), (7, 3), (9, 1), (11, 1), (11, 5), (13, 1), (13, 3), (17, 2)]
"""Taps and dilation: one piece of every scheme, and pieces of four taps where more than twelve are wanted."""


@pytest.fixture(scope="module", autouse=True)
def _inference() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


def make(config: BigVganConfig, seed: int = 0) -> tuple[Vocoder, CpuVocoder]:
    """A vocoder that is loud and seldom clipped, and its kernels."""
    torch.manual_seed(seed)
    vocoder = Vocoder(config).eval().requires_grad_(False)
    for module in vocoder.modules():
        if isinstance(module, AntiAliasedSnake):
            randomise(module)
    return vocoder, CpuVocoder(vocoder)


def randomise(snake: AntiAliasedSnake) -> None:
    snake.frequency.copy_(torch.rand_like(snake.frequency) * 3 + 0.2)
    snake.amplitude.copy_(torch.rand_like(snake.amplitude) + 0.2)


def assert_close(ours: Tensor, theirs: Tensor, rms: float = 1e-5, most: float = 1e-4) -> None:
    """Relative errors: root mean squares, and largest difference over largest magnitude."""
    assert ours.shape == theirs.shape
    error, size = (ours.double() - theirs.double()).abs(), theirs.double().abs()
    assert size.max() > 0
    assert error.square().mean().sqrt() <= rms * size.square().mean().sqrt()
    assert error.max() <= most * size.max()


def layer(inputs: int, outputs: int, kernel: int, dilation: int, frames: int) -> tuple[Tensor, Tensor]:
    """Ours and torch's [frames, outputs], the latter in float64, of a random layer."""
    torch.manual_seed(kernel * 100 + frames)
    first = -(dilation * (kernel - 1) // 2)
    conv = nn.Conv1d(inputs, outputs, kernel, dilation=dilation, padding=-first).requires_grad_(False)
    snake = AntiAliasedSnake(inputs).requires_grad_(False)
    randomise(snake)
    ours = Convolution(conv.weight, conv.bias, first=first, dilation=dilation, snake=snake)
    x = torch.zeros(frames, stored_channels(inputs))
    x[:, :inputs] = 2 * torch.randn(frames, inputs)
    y = torch.full((frames, stored_channels(outputs)), torch.nan)
    ours(x, y, Scratch())
    theirs = conv.double()(snake.double()(x[:, :inputs].double().T[None]))[0].T
    return y[:, :outputs], theirs


@pytest.mark.parametrize(("kernel", "dilation"), KERNELS)
@pytest.mark.parametrize("frames", [1, 2, 3, 7, 95, 700])
def test_a_layer_is_a_snake_and_a_convolution(kernel: int, dilation: int, frames: int) -> None:
    assert_close(*layer(24, 24, kernel, dilation, frames), rms=1e-6, most=3e-6)


@pytest.mark.parametrize(("inputs", "outputs"), [(48, 48), (40, 8), (3, 5), (24, 1), (8, 72), (16, 32)])
def test_any_number_of_channels(inputs: int, outputs: int) -> None:
    assert_close(*layer(inputs, outputs, 7, 3, 61), rms=1e-6, most=3e-6)


@pytest.mark.parametrize("kernel", [3, 11])
def test_an_official_width(kernel: int) -> None:
    assert_close(*layer(768, 768, kernel, 3, 48), rms=4e-6, most=2e-5)


def test_the_sine_is_close_everywhere() -> None:
    """A constant signal goes through the resampling filters as it is."""
    snake = AntiAliasedSnake(1).requires_grad_(False)
    snake.frequency.fill_(2.0)
    identity = Convolution(torch.ones(1, 1, 1), None, first=0, snake=snake)
    values, y = torch.linspace(-40, 40, 401), torch.empty(9, 8)
    x = torch.zeros(9, 8)
    for value in values:
        x[:, 0] = value
        identity(x, y, Scratch())
        expected = value.double() + torch.sin(2 * value.double()).square()
        assert (y[:, 0] - expected).abs().max() <= 1e-6 + 4e-7 * value.abs()


def test_residual_share_and_sum() -> None:
    torch.manual_seed(0)
    weight, x, residual, old = torch.randn(8, 8, 3), torch.randn(3, 50, 8), None, None
    x, residual, old = x
    convolution = Convolution(weight, None, first=-1)
    plain = torch.nn.functional.conv1d(x.T[None], weight, padding=1)[0].T
    y = old.clone()
    convolution(x, y, Scratch(), residual=residual, share=0.5, more=True)
    assert_close(y, old + 0.5 * (plain + residual), rms=1e-6, most=1e-5)
    y = residual.clone()
    convolution(x, y, Scratch(), residual=y)
    assert_close(y, plain + residual, rms=1e-6, most=1e-5)


@pytest.mark.parametrize("config", [TINY, ODD], ids=["tiny", "odd"])
@pytest.mark.parametrize("frames", [1, 2, 3, 40])
def test_the_whole(config: BigVganConfig, frames: int) -> None:
    vocoder, ours = make(config)
    mel = 2 * torch.randn(1, config.num_mels, frames)
    wave = vocoder(mel)
    assert (wave.abs() == 1).double().mean() < 0.5
    assert_close(ours(mel), wave)


def test_official_stages() -> None:
    """The third and the fourth, as the released model has them."""
    config = BigVganConfig(upsample_initial_channel=384, upsample_rates=(2, 2), upsample_kernel_sizes=(4, 4))
    vocoder, ours = make(config)
    mel = 2 * torch.randn(1, 80, 9)
    assert_close(ours(mel), vocoder(mel))


def test_the_wave_is_clamped() -> None:
    vocoder, _ = make(TINY)
    vocoder.conv_out.weight.mul_(100)
    mel = torch.randn(1, 80, 4)
    wave = CpuVocoder(vocoder)(mel)
    assert wave.abs().max() == 1
    assert_close(wave, vocoder(mel), rms=1e-3, most=1e-2)


def test_a_batch_is_its_rows_bit_for_bit() -> None:
    vocoder, ours = make(TINY)
    lengths = torch.tensor([1, 13, 2, 3, 29])
    mel = torch.randn(5, 80, 29)
    together = ours(mel, lengths)
    assert_close(together[1, : 13 * 256], vocoder(mel[1:2, :, :13])[0])
    for row, length in enumerate(lengths.tolist()):
        assert torch.equal(together[row, : length * 256], ours(mel[row : row + 1, :, :length])[0])
        assert not together[row, length * 256 :].any()


def test_threads_do_not_matter_bit_for_bit() -> None:
    _, ours = make(TINY)
    mel = torch.randn(1, 80, 97)
    alone = ours(mel)
    for threads in (2, 3):
        torch.set_num_threads(threads)
        try:
            assert torch.equal(ours(mel), alone)
        finally:
            torch.set_num_threads(1)


def test_chunks_do_not_matter_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    _, ours = make(TINY)
    mel = torch.randn(1, 80, 40)
    whole = ours(mel)
    monkeypatch.setattr(vocoder_kernels, "_CHUNK_FRAMES", 50)
    assert torch.equal(ours(mel), whole)


def test_windows_equal_the_whole() -> None:
    _, ours = make(TINY)
    reach = reach_frames(TINY)
    frames, first, last = 2 * reach + 30, reach + 5, reach + 20
    mel = 2 * torch.randn(1, 80, frames)
    whole = ours(mel)[:, first * 256 : last * 256]
    window = ours(mel[:, :, first - reach : last + reach])[:, reach * 256 : -reach * 256]
    assert_close(window, whole)
    mel[:, :, : first - reach] += 10.0
    mel[:, :, last + reach :] += 10.0
    assert_close(ours(mel)[:, first * 256 : last * 256], whole)


def test_no_torch_weights_are_kept() -> None:
    vocoder, ours = make(TINY)
    assert ours.dtype == vocoder.dtype == torch.float32
    assert ours.config is vocoder.config
    mel = torch.randn(1, 80, 3)
    wave = ours(mel)
    for parameter in vocoder.parameters():
        parameter.zero_()
    assert torch.equal(ours(mel), wave)


def test_what_the_kernels_cannot_do_is_refused() -> None:
    config = BigVganConfig(upsample_rates=(3,), upsample_kernel_sizes=(7,), upsample_initial_channel=8)
    with pytest.raises(ValueError, match="rate of 3"):
        CpuVocoder(Vocoder(config))
    convolution = Convolution(torch.ones(8, 8, 3), None, first=-1)
    good = torch.ones(5, 8)
    for x, y in ((good[:, :7], good), (good, good[:4]), (good.double(), good), (good.T.contiguous().T, good)):
        with pytest.raises(AssertionError):
            convolution(x, y, Scratch())


def test_plain_code_gives_the_sums_of_the_vector_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernels as another processor than x86 compiles them."""
    _, ours = make(TINY)
    mel = torch.randn(1, 80, 3)
    fast = ours(mel)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TTS_NATIVE_TIER", "scalar")
    monkeypatch.setattr(build, "FLAGS", [flag for flag in build.FLAGS if flag != "-O3"])  # built sooner
    plain = vocoder_kernels.library.__wrapped__()
    monkeypatch.setattr(vocoder_kernels, "library", lambda: plain)
    assert_close(ours(mel), fast)
