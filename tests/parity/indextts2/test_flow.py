"""The flow against the official one: estimator, whole integration with injected noise, and its traps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from indextts.s2mel.modules.commons import MyModel
from omegaconf import OmegaConf
from torch import Tensor

from serving.models.indextts2.config import DiTConfig, S2MelConfig, WaveNetConfig
from serving.models.indextts2.mel import schedule, wavenet
from serving.models.indextts2.mel.estimator import Estimator, convert
from serving.models.indextts2.mel.flow import Flow
from tests.parity.indextts2 import official
from tests.unit.indextts2.support import begin, target_mel

SETTINGS = OmegaConf.load(official.HERE / "small_config.yaml").s2mel
SHAPES = {
    "five-blocks": {},
    "seven-blocks": {
        "DiT": {"hidden_dim": 64, "num_heads": 4, "depth": 7, "content_dim": 48},
        "wavenet": {"hidden_dim": 64, "num_layers": 3},
        "length_regulator": {"channels": 48},
    },
}
PROMPT, TARGET = 37, 61


@dataclass
class Case:
    """An official flow, ours with its weights, and one segment's inputs."""

    theirs: Any
    ours: Estimator
    prompt: Tensor
    mu: Tensor
    style: Tensor
    noise: Tensor

    def official_flow(self, iterations: int = 25) -> Tensor:
        """The target's mel [TARGET, 80] by the official Euler loop from the injected noise."""
        out = self.theirs.solve_euler(
            self.noise.t()[None].clone(),
            torch.tensor([len(self.mu)]),
            self.prompt.t()[None],
            self.mu[None],
            self.style[None],
            None,
            torch.linspace(0, 1, iterations + 1),
            0.7,
        )
        mel: Tensor = out[0, :, PROMPT:].t()
        return mel

    def our_flow(self, estimator: Estimator | None = None, iterations: int = 25) -> Tensor:
        """The same by ours."""
        flow = Flow(estimator or self.ours, 1, len(self.mu), iterations=iterations)
        begin(flow, 0, self.prompt, self.mu, self.style, self.noise)
        for _ in range(iterations):
            flow.iterate(torch.tensor([0]), len(self.mu), len(self.mu), ragged=False)
        return target_mel(flow, 0)

    def broken(self) -> Estimator:
        """A copy of ours to break."""
        estimator = Estimator(self.ours.config).eval()
        estimator.load_state_dict(self.ours.state_dict())
        return estimator


@pytest.fixture(scope="module", autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module", params=[(shape, seed) for shape in SHAPES for seed in range(3)], ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    shape, seed = request.param
    return build_case(SHAPES[shape], seed)


@pytest.fixture(scope="module")
def one() -> Case:
    """One case more, for what need not be shown on every shape."""
    return build_case({}, 7)


def build_case(changes: dict[str, Any], seed: int) -> Case:
    """The official flow from random weights."""
    settings = OmegaConf.merge(SETTINGS, changes)
    theirs = official.random_module(seed, lambda: MyModel(settings, use_gpt_latent=True)).models["cfm"]
    for layer in theirs.estimator.transformer.layers:
        # Sharper attention: with nearly even weights a rotation would hardly show.
        layer.attention.wqkv.weight[: 2 * settings.DiT.hidden_dim].mul_(5)
    theirs.estimator.setup_caches(max_batch_size=1, max_seq_length=settings.DiT.block_size)
    config = S2MelConfig(
        dit=DiTConfig(
            hidden_dim=settings.DiT.hidden_dim,
            num_heads=settings.DiT.num_heads,
            depth=settings.DiT.depth,
            content_dim=settings.DiT.content_dim,
            max_frames=2 * settings.DiT.block_size,
        ),
        wavenet=WaveNetConfig(hidden_dim=settings.wavenet.hidden_dim, num_layers=settings.wavenet.num_layers),
    )
    ours = Estimator(config).eval()
    ours.load_state_dict(convert(theirs.state_dict(), config))
    generator = torch.Generator().manual_seed(seed)
    return Case(
        theirs=theirs,
        ours=ours,
        prompt=torch.randn(PROMPT, 80, generator=generator) - 2,
        mu=torch.randn(PROMPT + TARGET, config.dit.content_dim, generator=generator),
        style=torch.randn(192, generator=generator),
        noise=torch.randn(PROMPT + TARGET, 80, generator=generator),
    )


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference over the largest magnitude."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def velocity(case: Case, estimator: Estimator, iteration: int) -> Tensor:
    """Our guided velocity of all frames at an Euler time, from x = noise."""
    frames = len(case.mu)
    flow = Flow(estimator, 1, frames)
    padded = torch.nn.functional.pad(case.prompt, (0, 0, 0, TARGET))[None]
    guided: Tensor = estimator(
        case.noise[None],
        estimator.constant(padded, case.mu[None], case.style[None]),
        flow.rows(torch.tensor([iteration])),
        torch.tensor([frames]),
        torch.arange(frames)[None],
        torch.tensor([frames]),
        guidance=0.7,
        ragged=False,
    )[0]
    return guided


def official_velocity(case: Case, iteration: int) -> Tensor:
    """The same by the official estimator and guidance formula."""
    frames = len(case.mu)
    x = case.noise.t()[None]
    prompt = torch.nn.functional.pad(case.prompt, (0, 0, 0, TARGET)).t()[None]
    # Time accumulates in float32, as in the official loop.
    ends = torch.linspace(0, 1, 26)
    time = ends[0]
    for index in range(iteration):
        time = time + (ends[index + 1] - ends[index])

    def estimate(prompt: Tensor, style: Tensor, mu: Tensor) -> Tensor:
        result: Tensor = case.theirs.estimator(x, prompt, torch.tensor([frames]), time[None], style, mu)
        return result

    guided = estimate(prompt, case.style[None], case.mu[None])
    free = estimate(prompt * 0, case.style[None] * 0, case.mu[None] * 0)
    return (1.7 * guided - 0.7 * free)[0].t()


@pytest.mark.parametrize("iteration", [0, 11, 24])
def test_one_estimator_call(case: Case, iteration: int) -> None:
    assert relative_error(velocity(case, case.ours, iteration), official_velocity(case, iteration)) <= 1e-4


def test_whole_flow(case: Case) -> None:
    assert relative_error(case.our_flow(), case.official_flow()) <= 1e-4


def test_fewer_iterations(one: Case) -> None:
    assert relative_error(one.our_flow(iterations=7), one.official_flow(iterations=7)) <= 1e-4


# To be broken, an estimator is Any: types see its parts as Tensor | Module.


def modulation_gains_from_one(estimator: Any) -> None:
    estimator.time.norms[0].bias[: estimator.config.dit.hidden_dim] += 1.0


def scale_and_shift_swapped(estimator: Any) -> None:
    for name in ("weight", "bias"):
        tensor = getattr(estimator.time.final, name)
        tensor.copy_(torch.cat(tensor.clone().chunk(2)[::-1]))


def rotary_of_neighbours(estimator: Any) -> None:
    """Undo the reordering of q and k rows."""
    dim, heads = estimator.config.dit.hidden_dim, estimator.config.dit.num_heads
    for block in estimator.transformer.blocks:
        for part in range(2):
            rows = block.qkv.weight[part * dim : (part + 1) * dim]
            halves = rows.clone().reshape(heads, 2, dim // heads // 2, dim)
            rows.copy_(halves.transpose(1, 2).reshape(dim, dim))


def free_row_without_bias(estimator: Any) -> None:
    estimator.merge_mu.bias.zero_()


BREAKS = [modulation_gains_from_one, scale_and_shift_swapped, rotary_of_neighbours, free_row_without_bias]


@pytest.mark.parametrize("breaks", BREAKS, ids=lambda breaks: breaks.__name__)
def test_traps_in_the_weights(one: Case, breaks: Callable[[Estimator], None]) -> None:
    """Gain of the norms, order of shift and scale, order of rotary pairs, bias of the unconditioned row."""
    estimator = one.broken()
    breaks(estimator)
    assert relative_error(velocity(one, estimator, 11), official_velocity(one, 11)) > 1e-3


def sines_first(times: Tensor, width: int = 256) -> Tensor:
    return schedule_time_features(times, width).roll(width // 2, dims=1)


def unscaled_time(times: Tensor, width: int = 256) -> Tensor:
    return schedule_time_features(times / 1000.0, width)


schedule_time_features = schedule.time_features


@pytest.mark.parametrize("features", [sines_first, unscaled_time], ids=lambda features: features.__name__)
def test_trap_time_embedding(
    one: Case, features: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "time_features", features)
    assert relative_error(velocity(one, one.ours, 11), official_velocity(one, 11)) > 1e-3


def test_trap_times_are_the_official_ones(one: Case) -> None:
    """Bit for bit what the official loop, which adds up its times, gives its estimator."""
    seen: list[Tensor] = []
    hook = one.theirs.estimator.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[3][0]))
    for iterations in (25, 12):
        seen.clear()
        one.official_flow(iterations)
        times, _ = schedule.euler_times(iterations)
        assert torch.equal(torch.stack(seen), times)
    hook.remove()


def test_trap_reflected_borders(one: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicating the WaveNet's borders instead of reflecting them shows."""

    def replicate(lengths: Tensor, width: int, pad: int) -> Tensor:
        place = torch.arange(width + 2 * pad) - pad
        return torch.minimum(place.clamp(min=0), lengths[:, None] - 1)

    monkeypatch.setattr(wavenet, "reflect_index", replicate)
    assert relative_error(velocity(one, one.ours, 11), official_velocity(one, 11)) > 1e-3


def test_trap_rope_stays_float32(one: Case) -> None:
    """Casting leaves the rotary table and the time layers alone; a narrow table would be off."""
    cast: Any = one.broken().cast(torch.bfloat16)
    assert {cast.transformer.cos.dtype, cast.transformer.sin.dtype, cast.time.final.weight.dtype} == {
        torch.float32
    }
    assert cast.transformer.blocks[0].qkv.weight.dtype == torch.bfloat16
    cos = one.theirs.estimator.transformer.freqs_cis[: len(cast.transformer.cos), :, 0]
    assert relative_error(cast.transformer.cos, cos) <= 1e-5
    assert relative_error(cast.transformer.cos.bfloat16().float(), cos) > 1e-3
