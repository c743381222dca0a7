"""The CPU kernels against plain torch, layer by layer, and how they are built and chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from serving.models import load_model
from serving.models.hibari.constants import CHANNELS, HOP, N_FFT, OVERLAP
from serving.models.hibari.cpu import layers
from serving.models.hibari.cpu.decode import CpuDecode
from serving.models.hibari.cpu.layers import Block, Layer
from serving.models.hibari.cpu.network import CpuDecoder, CpuEncoder, CpuProsodyNet, CpuTextEncoder
from serving.models.hibari.cpu.synthesis import CpuPulseSource, CpuSynthesis
from serving.models.hibari.model import HibariModel
from serving.models.hibari.torch.decode import Decode
from serving.models.hibari.torch.network import (
    ConvNeXt,
    Decoder,
    Encoder,
    ProsodyNet,
    TextEncoder,
    folded,
    neighbours,
)
from serving.models.hibari.torch.synthesis import PulseSource, Synthesis
from serving.models.hibari.weights import Weights, load_weights
from serving.models.hibari.windows import FIRST, INSIDE, LAST, SECOND_TO_LAST, Window
from serving.profile import EngineProfile, ModelProfile, Profile, ProfileError

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights() -> Weights:
    return load_weights()


def relative(ours: Tensor, theirs: Tensor) -> float:
    """Root mean square of the difference over that of the truth."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).square().mean().sqrt() / theirs.square().mean().sqrt())


def linear_of(inputs: int, outputs: int) -> nn.Linear:
    torch.manual_seed(inputs)
    return nn.Linear(inputs, outputs).requires_grad_(False)


@pytest.mark.parametrize(("inputs", "outputs"), [(256, 768), (768, 256), (910, 256), (256, 601), (7, 3)])
@pytest.mark.parametrize("rows", [1, 5, 6, 49])
def test_a_matrix_is_a_linear_layer(inputs: int, outputs: int, rows: int) -> None:
    layer = linear_of(inputs, outputs)
    x = torch.randn(rows, inputs) * torch.logspace(-3, 3, rows)[:, None]
    assert relative(Layer(layer)(x), layer(x)) < 1e-3
    residual = torch.randn(rows, outputs)
    assert relative(Layer(layer)(x, residual=residual), residual + layer(x)) < 1e-3


@pytest.mark.parametrize(("inputs", "outputs"), [(256, 768), (768, 256), (7, 3)])
@pytest.mark.parametrize("shift", [-3.0, 0.0, 3.0])
def test_a_matrix_in_bytes_is_nearly_a_linear_layer(inputs: int, outputs: int, shift: float) -> None:
    """Also of rows that lie on one side of zero, and of rows that differ in size."""
    layer = linear_of(inputs, outputs)
    x = (torch.randn(13, inputs) + shift) * torch.logspace(-3, 3, 13)[:, None]
    matrix = Layer(layer, in_bytes=True)
    for row, ours, theirs in zip(x, matrix(x), layer(x), strict=True):
        assert relative(ours, theirs) < 3e-2
        assert torch.equal(matrix(row[None])[0], ours)


def test_norm_and_gelu_are_part_of_a_layer(weights: Weights) -> None:
    """A layer behind a norm, its weight in whole steps of the package's."""
    layer, x = folded(weights, "pn.pro.1.pw1.", norm="pn.pro.1.norm"), 5 + 3 * torch.randn(20, 192)
    expected = nn.functional.gelu(layer(nn.functional.layer_norm(x, (192,), eps=1e-5)))
    for in_bytes, tolerance in ((False, 1e-4), (True, 1e-2)):
        assert relative(Layer(layer, in_bytes=in_bytes)(x, gelu=True), expected) < tolerance


def test_gelu_is_close_everywhere() -> None:
    layer = nn.Linear(2, 1, bias=False).requires_grad_(False)
    layer.weight.copy_(torch.tensor([[1.0, 0.0]]))
    layer.bias = nn.Parameter(torch.zeros(1), requires_grad=False)
    x = torch.linspace(-12, 12, 4001)[:, None] * torch.tensor([[1.0, 0.0]])
    np.testing.assert_allclose(
        Layer(layer)(x, gelu=True).numpy(), nn.functional.gelu(x[:, :1]).numpy(), atol=2e-4
    )


def test_sums_at_the_limit_do_not_overflow() -> None:
    """Every input and weight at its largest: the sum is as near 2^31 as the limit lets it come."""
    layer = linear_of(1024, 16)
    layer.weight.fill_(1.0)
    assert relative(Layer(layer)(torch.ones(3, 1024)), layer(torch.ones(3, 1024))) < 1e-3
    assert relative(Layer(layer)(-torch.ones(3, 1024)), layer(-torch.ones(3, 1024))) < 1e-3


@pytest.mark.parametrize("in_bytes", [False, True])
def test_a_row_of_zeros_gives_the_bias(in_bytes: bool) -> None:
    layer = linear_of(256, 32)
    assert torch.equal(Layer(layer, in_bytes=in_bytes)(torch.zeros(1, 256))[0], layer.bias)


def test_a_block_is_a_convnext_block(weights: Weights) -> None:
    for block in ProsodyNet(weights).blocks:  # dilations 1 to 8
        assert isinstance(block, ConvNeXt)
        x = torch.randn(37, block.channels)
        assert relative(Block(block)(x), block(x[None])[0]) < 1e-3


@pytest.mark.parametrize(("in_bytes", "tolerance"), [(False, 2e-3), (True, 5e-2)])
def test_windows_of_the_decoder_are_the_decoder(weights: Weights, in_bytes: bool, tolerance: float) -> None:
    """Each frame once, whatever the windows, and bit for bit."""
    module, frames = Decoder(weights, torch.float32), 100
    windows, inputs = CpuDecoder(module, in_bytes=in_bytes), torch.randn(frames, 130)
    padded = nn.functional.pad(inputs, (0, 0, 3, 3))

    def spoken(*stops: int) -> Tensor:
        start, history, parts = 0, torch.empty(8, 0, CHANNELS), []
        for stop in stops:
            window = Window(start, stop, frames)
            new = window.new(0)
            features, history = windows(padded[new.start : new.stop + 6], history, window)
            parts.append(features)
            start = stop
        return torch.cat(parts)

    whole = spoken(frames)
    for stops in ((5, 12, 40, 100), (70, 71, 72, 100)):
        assert torch.equal(spoken(*stops), whole)
    x = module.first(neighbours(padded[None], 7))
    for block in module.blocks:
        x = block(x)
    assert relative(whole, x[0]) < tolerance


def test_a_text_encoder_is_a_text_encoder(weights: Weights) -> None:
    for prefix, repeats in (("m.text", 4), ("pn.text", 6)):
        module = TextEncoder(weights, prefix, repeats)
        for tokens in (1, 2, 63, 402):
            ids = torch.randint(1, 170, (tokens,), generator=torch.Generator().manual_seed(tokens))
            theirs = module(ids[None], torch.ones(1, tokens, dtype=torch.bool))[0]
            assert relative(CpuTextEncoder(module)(ids), theirs) < 3e-3


@pytest.mark.parametrize(("in_bytes", "tolerance"), [(False, 2e-3), (True, 5e-2)])
@pytest.mark.parametrize("frames", [4, 8, 29, 49])
def test_the_spectra_are_those_of_the_synthesis(
    weights: Weights, frames: int, in_bytes: bool, tolerance: float
) -> None:
    decoder, synthesis = Decoder(weights, torch.float32), Synthesis()
    heads = [head for head in decoder.heads if isinstance(head, nn.Linear)]
    spectra = CpuSynthesis(heads, synthesis, in_bytes=in_bytes)
    x, source = torch.randn(frames, CHANNELS), torch.randn(frames + 3, HOP)
    noise_rows = torch.arange(frames)
    normal = nn.functional.layer_norm(x, (CHANNELS,), eps=1e-5)
    whole = source.as_strided((frames, N_FFT), (HOP, 1))
    windowed = synthesis(decoder.parameters_of(normal), whole, noise_rows)
    apart = nn.functional.pad(windowed, (0, 0, OVERLAP - 1, 2)).view(-1, OVERLAP, HOP)
    theirs = torch.stack(
        [
            torch.stack([apart[block + 5 - part, part] for part in range(OVERLAP)]).sum(0)
            for block in range(frames)
        ]
    )
    kinds = torch.full((frames,), INSIDE)
    kinds[0], kinds[-2], kinds[-1] = FIRST, SECOND_TO_LAST, LAST
    theirs = (theirs * synthesis.tapers[kinds]).clamp(-1, 1)

    def spoken(*stops: int) -> Tensor:
        start, tail, parts = 0, torch.zeros(OVERLAP - 1, N_FFT), []
        for stop in stops:
            blocks, tail = spectra(
                x[start:stop],
                source[start : stop + 3],
                noise_rows[start:stop],
                tail,
                Window(start, stop, frames),
            )
            parts.append(blocks)
            start = stop
        return torch.cat(parts)

    ours = spoken(frames)
    assert relative(ours, theirs) < tolerance
    assert torch.equal(spoken(1, 2, frames - 1, frames), ours)


def test_pulses_are_those_of_the_synthesis() -> None:
    source = PulseSource()
    f0 = torch.rand(2, 40) * 300 + 60
    f0[:, 10:14] = 0
    lengths = torch.tensor([40, 25])
    ours, theirs = CpuPulseSource(source)(f0, lengths), source(f0, lengths)
    for row, frames in enumerate(lengths.tolist()):
        assert relative(ours[row, : frames + 3], theirs[row, : frames + 3]) < 1e-2


def test_encoder_and_prosody_are_close(weights: Weights) -> None:
    encoder, net = Encoder(weights), ProsodyNet(weights)
    ids = torch.randint(1, 170, (3, 50), generator=torch.Generator().manual_seed(4))
    lengths = torch.tensor([50, 1, 23])
    ours, theirs = CpuEncoder(encoder)(ids, lengths), encoder(ids, lengths)
    for row, length in enumerate(lengths.tolist()):
        for mine, other in zip(ours[:2], theirs[:2], strict=True):
            assert relative(mine[row, :length], other[row, :length]) < 3e-3
        assert (ours[2][row, :length] - theirs[2][row, :length]).abs().max() <= 1
    inside = torch.arange(100) < 2 * lengths[:, None]
    for mine, other in zip(CpuProsodyNet(net)(theirs[1], lengths), net(theirs[1], lengths), strict=True):
        assert relative(mine[inside], other[inside]) < 3e-3


def test_a_wrong_shape_never_reaches_the_kernels() -> None:
    matrix = Layer(linear_of(8, 8))
    for x in (torch.ones(2, 7), torch.ones(8), torch.ones(2, 8, dtype=torch.float64)):
        with pytest.raises(AssertionError):
            matrix(x)


@pytest.mark.slow
def test_plain_code_gives_the_sums_of_the_vector_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernels as another processor than x86 compiles them: the same integers, so nearly the same floats."""
    layer, x = linear_of(192, 384), torch.randn(11, 192)
    fast = Layer(layer)(x, gelu=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TTS_NATIVE_TIER", "scalar")
    plain = layers.library.__wrapped__()
    monkeypatch.setattr(layers, "library", lambda: plain)
    assert relative(Layer(layer)(x, gelu=True), fast) < 1e-5


def test_the_profile_chooses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def profile(kernels: str, **engine: bool) -> Profile:
        options = ModelProfile(options={"kernels": kernels})
        return Profile(name="test", model=options, engine=EngineProfile(**engine))  # type: ignore[arg-type]

    with pytest.raises(ProfileError, match="kernels"):
        load_model(profile("fast"), CPU, torch.float32)
    with pytest.raises(ProfileError, match=r"model\.options\.kernels.*compile"):
        load_model(profile("native", compile=True), CPU, torch.float32)
    with pytest.raises(ProfileError, match=r"model\.options\.kernels.*float32"):
        load_model(profile("native"), CPU, torch.bfloat16)
    for kernels, stage in (("torch", Decode), ("auto", CpuDecode)):
        model = load_model(profile(kernels), CPU, torch.float32)
        assert isinstance(model.stages["decode"], stage)


def test_kernels_without_room_give_way_to_torch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A network of other sizes: auto speaks through torch and says why, native refuses."""
    monkeypatch.setattr(layers, "room", lambda name: 256)

    def model(kernels: str) -> HibariModel:
        profile = Profile(name="test", model=ModelProfile(options={"kernels": kernels}))
        made = load_model(profile, CPU, torch.float32)
        assert isinstance(made, HibariModel)
        return made

    assert isinstance(model("auto").decode, Decode)
    assert "no room for a layer of" in caplog.text
    with pytest.raises(ProfileError, match="no room for a layer of"):
        model("native")
