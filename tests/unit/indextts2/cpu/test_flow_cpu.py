"""The flow's kernels against the estimator in torch: one velocity, whole flows, edges, batches and threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from msgspec import structs
from torch import Tensor

from serving.models.indextts2.config import IndexTts2Config, S2MelConfig
from serving.models.indextts2.mel.cpu.estimator import CpuEstimator
from serving.models.indextts2.mel.cpu.toom_cook import minimal_filter
from serving.models.indextts2.mel.estimator import Estimator
from serving.models.indextts2.mel.flow import Flow
from serving.models.indextts2.networks import VelocityEstimator
from serving.models.indextts2.weights.checkpoint import RandomWeights
from tests.unit.indextts2.support import begin, target_mel

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def pair() -> tuple[Estimator, CpuEstimator]:
    """Plain torch and kernels, of the same weights."""
    estimator: Estimator = RandomWeights(IndexTts2Config.tiny(), 5).load("flow", CPU)
    return estimator, CpuEstimator(estimator)


def relative(ours: Tensor, truth: Tensor) -> float:
    """Root mean square of the difference over that of the truth."""
    assert ours.shape == truth.shape
    return float((ours - truth).square().mean().sqrt() / truth.square().mean().sqrt())


def begin_random(flow: Flow, slot: int, config: S2MelConfig, prompt: int, target: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    frames = prompt + target
    mels, content = config.dit.in_channels, config.dit.content_dim
    begin(
        flow,
        slot,
        random(prompt, mels),
        random(frames, content),
        random(config.style_dim),
        random(frames, mels),
    )


def run(
    estimator: VelocityEstimator, rows: list[tuple[int, int]], guidance: float = 0.7, iterations: int = 5
) -> list[Tensor]:
    """Mels of segments (prompt, target) that share every iteration."""
    width, reach = max(map(sum, rows)), estimator.reach
    flow = Flow(estimator, len(rows), width, iterations=iterations, guidance=guidance)
    for slot, (prompt, target) in enumerate(rows):
        begin_random(flow, slot, estimator.config, prompt, target, seed=prompt * 1000 + target)
    kept = max(min(prompt, reach) + target for prompt, target in rows)
    for _ in range(iterations):
        flow.iterate(torch.arange(len(rows)), width, kept, ragged=len(rows) > 1)
    return [target_mel(flow, slot) for slot in range(len(rows))]


@pytest.mark.parametrize("guidance", [0.7, 0.0])
@pytest.mark.parametrize(("prompt", "target"), [(40, 60), (3, 1), (1, 2), (30, 18), (0, 25), (17, 31)])
def test_a_flow_is_that_of_torch(
    pair: tuple[Estimator, CpuEstimator], prompt: int, target: int, guidance: float
) -> None:
    plain, kernels = (run(estimator, [(prompt, target)], guidance)[0] for estimator in pair)
    assert relative(kernels, plain) < 3e-4


@pytest.mark.parametrize("rows", [[(40, 60), (11, 29)], [(5, 3), (40, 60), (0, 49), (24, 24), (1, 1)]])
def test_ragged_rows_are_bit_for_bit_what_they_are_alone(
    pair: tuple[Estimator, CpuEstimator], rows: list[tuple[int, int]]
) -> None:
    _, kernels = pair
    for row, together in zip(rows, run(kernels, rows), strict=True):
        assert torch.equal(run(kernels, [row])[0], together)


def test_threads_change_no_bit(pair: tuple[Estimator, CpuEstimator]) -> None:
    _, kernels = pair
    flow = Flow(kernels, 1, 130, iterations=5)
    threads, mels = torch.get_num_threads(), []
    for count in (1, 2, 3):
        begin_random(flow, 0, kernels.config, 40, 90, seed=1)
        torch.set_num_threads(count)
        try:
            flow.iterate(torch.tensor([0]), 130, 106)
        finally:
            torch.set_num_threads(threads)
        mels.append(target_mel(flow, 0))
    assert torch.equal(mels[0], mels[1])
    assert torch.equal(mels[0], mels[2])


@pytest.mark.slow
def test_official_widths_stay_close_to_torch() -> None:
    """Products of full length, with fewer layers: what 16-bit levels cost where sums are long."""
    config = IndexTts2Config.official().s2mel
    dit = structs.replace(config.dit, depth=3)
    small = structs.replace(config, dit=dit, wavenet=structs.replace(config.wavenet, num_layers=2))
    torch.manual_seed(9)
    estimator = Estimator(small).requires_grad_(False)
    plain, kernels = (run(one, [(40, 60)])[0] for one in (estimator, CpuEstimator(estimator)))
    assert relative(kernels, plain) < 3e-4
    assert not torch.equal(kernels, plain)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("dit", {"hidden_dim": 528, "num_heads": 11}, "528"),
        ("dit", {"num_heads": 4}, "multiple of 16"),
        ("dit", {"depth": 33}, "33 layers"),
        ("wavenet", {"kernel_size": 3}, "5 taps, not 3"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(part: str, change: dict[str, int], message: str) -> None:
    config = IndexTts2Config.tiny().s2mel
    changed = structs.replace(config, **{part: structs.replace(getattr(config, part), **change)})
    with pytest.raises(ValueError, match=message):
        CpuEstimator(Estimator(changed))


@pytest.mark.parametrize(("outputs", "taps"), [(4, 5), (2, 3), (6, 3), (1, 5), (4, 1)])
def test_a_minimal_filter_is_a_filter(outputs: int, taps: int) -> None:
    a, g, b = minimal_filter(outputs, taps)
    assert g.shape == (outputs + taps - 1, taps)
    weights = torch.randn(taps, dtype=torch.float64)
    inputs = torch.randn(outputs + taps - 1, dtype=torch.float64)
    plain = inputs.unfold(0, taps, 1) @ weights
    assert torch.allclose(a @ ((g @ weights) * (b @ inputs)), plain, rtol=0, atol=1e-12)
