"""Sampling: its filters against their definitions, its noise against its distribution and its
independence."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from serving.models.indextts2.codes.sampling import Sampling, candidates, draw, penalise
from serving.models.indextts2.noise import gaussian, uniform


def reference_filter(logits: Tensor, top_k: int, top_p: float) -> set[int]:
    """The codes that stay, written as the definition: top-k, then the ascending tail of mass 1 - top_p
    goes."""
    order = logits.argsort()
    stays = order[-top_k:]
    tail = torch.softmax(logits[stays], dim=0).cumsum(dim=0)
    kept = stays[tail > 1 - top_p]
    return set((kept if len(kept) else stays[-1:]).tolist())


@pytest.mark.parametrize(("top_k", "top_p"), [(1, 1.0), (5, 0.8), (30, 0.8), (30, 0.01), (50, 1.0), (3, 0.5)])
def test_candidates_are_those_of_the_definition(top_k: int, top_p: float) -> None:
    torch.manual_seed(0)
    logits = 3 * torch.randn(4, 60)
    temperature = 0.8
    scores, codes = candidates(
        logits,
        temperature=torch.full((4,), temperature),
        top_k=torch.full((4,), top_k),
        top_p=torch.full((4,), top_p),
    )
    for row in range(4):
        kept = set(codes[row][scores[row] > -torch.inf].tolist())
        assert kept == reference_filter(logits[row] / temperature, top_k, top_p)


def test_penalty_divides_what_is_positive_and_multiplies_what_is_negative() -> None:
    logits = torch.tensor([[2.0, -2.0, 2.0, -2.0]])
    seen = torch.tensor([[True, True, False, False]])
    assert penalise(logits, seen, torch.tensor([[10.0]])).tolist() == [[pytest.approx(0.2), -20.0, 2.0, -2.0]]


def draws(logits: Tensor, seeds: Tensor, index: int = 3, top_k: int = 50) -> Tensor:
    rows = len(seeds)
    return draw(
        logits.expand(rows, -1),
        temperature=torch.ones(rows),
        top_k=torch.full((rows,), top_k),
        top_p=torch.ones(rows),
        seed=seeds,
        index=torch.full((rows,), index),
    )


def test_frequencies_follow_the_probabilities() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, 0.5]])
    counts = torch.bincount(draws(logits, torch.arange(20_000)), minlength=4) / 20_000
    assert torch.allclose(counts, torch.softmax(logits[0], dim=0), atol=0.015)


def test_a_draw_depends_on_its_own_seed_and_index_alone() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 40)
    seeds = torch.tensor([11, 5, 7, 99])
    together = draws(logits, seeds)
    for place, seed in enumerate(seeds.tolist()):
        assert draws(logits, torch.tensor([seed])).item() == together[place].item()
    assert torch.equal(draws(logits, seeds.flip(0)).flip(0), together)
    many = draws(logits, torch.arange(200))
    assert (draws(logits, torch.arange(200), index=4) != many).float().mean() > 0.5


def test_top_k_of_one_is_the_argmax() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 40)
    assert set(draws(logits, torch.arange(50), top_k=1).tolist()) == {int(logits.argmax())}


def test_noise_is_uniform_and_normal() -> None:
    seed, counter = torch.tensor([[3]]), torch.arange(100_000)[:, None]
    flat = uniform(seed, counter).flatten()
    assert 0 < float(flat.min()) < float(flat.max()) < 1
    histogram = torch.histc(flat, 20, 0, 1) / len(flat)
    assert torch.allclose(histogram, torch.full((20,), 0.05), atol=0.004)
    normal = gaussian(seed, torch.arange(1000)[:, None], torch.arange(80))
    assert abs(float(normal.mean())) < 0.02
    assert float(normal.std()) == pytest.approx(1.0, abs=0.02)
    assert float((normal.abs() > 2).float().mean()) == pytest.approx(0.0455, abs=0.005)
    columns = torch.corrcoef(normal[:, :20].t()) - torch.eye(20)
    assert columns.abs().max() < 0.15
    assert abs(float(torch.corrcoef(torch.stack([flat[:-1], flat[1:]]))[0, 1])) < 0.02


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 0.0),
        ("top_k", 0),
        ("top_k", 129),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("repetition_penalty", 0.0),
        ("max_codes", 0),
        ("min_codes", 1501),
    ],
)
def test_settings_out_of_range_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        Sampling(**{field: value})  # type: ignore[arg-type]
