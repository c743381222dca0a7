"""The code model's C kernels: what torch computes, and the same bits in any company and on any count of threads."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import msgspec
import pytest
import torch
from torch import Tensor

from serving.models.indextts2.codes.cpu.gpt import Bits, CpuGpt
from serving.models.indextts2.codes.decoding import Decoding
from serving.models.indextts2.codes.gpt import CodeCache, Gpt
from serving.models.indextts2.codes.sampling import Sampling
from serving.models.indextts2.config import GptConfig, IndexTts2Config
from serving.models.indextts2.networks import CodeModel
from tests.unit.indextts2.support import configure

pytestmark = pytest.mark.slow

TINY = IndexTts2Config.tiny().gpt
OFFICIAL = msgspec.structs.replace(IndexTts2Config.official().gpt, layers=2)
CELLS = 90
CODES = 50


@pytest.fixture(scope="module", autouse=True)
def _inference() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


def make(config: GptConfig) -> Gpt:
    """Random weights that tell mistakes apart: norms and biases do something, logits are far from each other."""
    torch.manual_seed(0)
    gpt = Gpt(config).eval()
    for name, value in gpt.named_parameters():
        if "norm" in name or "bias" in name:
            value.add_(torch.randn_like(value), alpha=0.2)
    gpt.code_head.weight.mul_(8)
    return gpt


@pytest.fixture(scope="module")
def tiny() -> Gpt:
    return make(TINY)


@pytest.fixture(scope="module")
def ours(tiny: Gpt) -> CpuGpt:
    return CpuGpt(copy.deepcopy(tiny))


def rms_error(ours: Tensor, theirs: Tensor) -> float:
    """Root mean square of the difference over that of theirs."""
    return float((ours - theirs).pow(2).mean().sqrt() / theirs.pow(2).mean().sqrt())


def whole(*values: int) -> Tensor:
    return torch.tensor(values)


def passes(gpt: CodeModel, rows: int) -> list[Tensor]:
    """Live states of a prefill, of a decode, and of an extend behind them, for ragged rows; then logits."""
    torch.manual_seed(1)
    config = gpt.config
    cache = CodeCache(config, rows, CELLS, torch.device("cpu"), torch.float32)
    slots = torch.arange(rows).flip(0)
    lengths = 17 - 3 * torch.arange(rows)
    vectors = torch.randn(rows, 17, config.model_dim)
    live = torch.arange(17) < lengths[:, None]
    first = gpt.extend(vectors, lengths, slots, cache)[live]
    second = gpt.decode(torch.randn(rows, config.model_dim), slots, lengths, cache, 40)
    counts = 9 - torch.arange(rows)
    third = gpt.extend(torch.randn(rows, 9, config.model_dim), counts, slots, cache, lengths + 1, 40)
    third = third[torch.arange(9) < counts[:, None]]
    return [first, second, third, gpt.logits(second)]


@pytest.mark.parametrize("rows", [1, 4])
def test_as_torch(tiny: Gpt, ours: CpuGpt, rows: int) -> None:
    for theirs, got in zip(passes(tiny, rows), passes(ours, rows), strict=True):
        assert got.shape == theirs.shape
        assert rms_error(got, theirs) <= 5e-4


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "bound"), [(12, 1e-3), (8, 1e-2)])
def test_as_torch_at_official_width(bits: Bits, bound: float) -> None:
    gpt = make(OFFICIAL)
    theirs = passes(gpt, 2)
    got = passes(CpuGpt(gpt, bits), 2)
    errors = [rms_error(*pair) for pair in zip(got, theirs, strict=True)]
    assert all(bound / 100 < error <= bound for error in errors), errors


class Speech:
    """The inputs of one segment."""

    def __init__(self, seed: int, codes: int, top_k: int = 30) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.latents = torch.randn(32, TINY.model_dim, generator=generator)
        self.emovec = torch.randn(TINY.model_dim, generator=generator)
        self.text = torch.randint(2, 200, (4 + 5 * seed % 17,), generator=generator)
        self.sampling = Sampling(seed=seed, max_codes=codes, min_codes=codes, top_k=top_k)


def begin(decoding: Decoding, speeches: dict[int, Speech]) -> None:
    """Prefill the speeches, by slot, in one batch."""
    for slot, speech in speeches.items():
        configure(decoding, slot, speech.sampling)
    texts = [speech.text for speech in speeches.values()]
    decoding.prefill(
        whole(*speeches),
        torch.stack([speech.latents for speech in speeches.values()]),
        torch.stack([speech.emovec for speech in speeches.values()]),
        torch.nn.utils.rnn.pad_sequence(texts, batch_first=True),
        whole(*map(len, texts)),
    )


def alone(gpt: CodeModel, speech: Speech) -> Decoding:
    decoding = Decoding(gpt, 1, max_codes=CODES, max_text=24)
    begin(decoding, {0: speech})
    for _ in range(speech.sampling.max_codes):
        decoding.decode(whole(0), decoding.cache.max_cells)
    return decoding


def test_greedy_codes_as_torch(tiny: Gpt, ours: CpuGpt) -> None:
    for seed in range(3):
        speech = Speech(seed, CODES, top_k=1)
        theirs, got = alone(tiny, speech), alone(ours, speech)
        assert torch.equal(got.codes[0], theirs.codes[0])
        assert len(set(theirs.codes[0].tolist())) > CODES // 2
        assert 0 < rms_error(got.states[0], theirs.states[0]) <= 1e-3


@pytest.mark.parametrize("rows", [2, 5])
def test_a_row_has_the_same_bits_in_any_company(ours: CpuGpt, rows: int) -> None:
    """Segments of several lengths; one joins in mid-flight and the others leave one by one."""
    speeches = {rows - 1 - i: Speech(i, 12 + 3 * i) for i in range(rows)}
    together = Decoding(ours, rows, max_codes=CODES, max_text=24, second_rows=True)
    late = rows - 1
    begin(together, {slot: speech for slot, speech in speeches.items() if slot != late})
    for turn in range(40):
        if turn == 5:
            begin(together, {late: speeches[late]})
        counts = {slot: speech.sampling.max_codes for slot, speech in speeches.items()}
        slots = [s for s, c in counts.items() if (s != late or turn >= 5) and together.counts[s] <= c]
        if slots:
            together.decode(whole(*slots, together.spare), together.cache.max_cells)
    by_itself = {slot: alone(ours, speech) for slot, speech in speeches.items()}
    for slot, decoding in by_itself.items():
        count = speeches[slot].sampling.max_codes
        assert torch.equal(together.codes[slot, : count + 1], decoding.codes[0, : count + 1])
        assert torch.equal(together.states[slot, :count], decoding.states[0, :count])
    # The second pass of official positions, in two pieces, behind cached cells.
    every, left = whole(*speeches), whole(*(speech.sampling.max_codes - 3 for speech in speeches.values()))
    for start, live in ((1, torch.full((rows,), 2)), (3, left)):
        starts = torch.full((rows,), start)
        together.latents(every, starts, live, int(live.max()), together.cache.max_cells)
    for slot, decoding in by_itself.items():
        count = speeches[slot].sampling.max_codes - 1
        decoding.latents(whole(0), whole(1), whole(count), count, decoding.cache.max_cells)
        assert torch.equal(together.states[slot, : count + 1], decoding.states[0, : count + 1])


@pytest.mark.slow
def test_threads_change_no_bit(ours: CpuGpt) -> None:
    official = CpuGpt(make(OFFICIAL))
    for gpt in (ours, official):
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(passes(gpt, 2) + passes(gpt, 5))
        torch.set_num_threads(1)
        for other in results[1:]:
            assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_padding_and_other_slots_are_left_alone(ours: CpuGpt) -> None:
    cache = CodeCache(TINY, 3, CELLS, torch.device("cpu"), torch.float32)
    vectors = torch.randn(1, 12, TINY.model_dim)
    states = ours.extend(vectors, whole(7), whole(1), cache)
    assert not states[0, 7:].any()
    assert states[0, :7].any(1).all()
    for cached in (*cache.keys, *cache.values):
        assert cached[1, :, :7].any(2).all()
        assert not cached[1, :, 7:].any()
        assert not cached[[0, 2, 3]].any()


def test_it_takes_the_blocks_over(tiny: Gpt) -> None:
    gpt = copy.deepcopy(tiny)
    ours = CpuGpt(gpt)
    assert len(gpt.blocks) == 0
    assert not hasattr(gpt, "code_head")
    assert ours.device == torch.device("cpu")
    assert ours.dtype == torch.float32


def test_heads_that_the_kernels_do_not_take() -> None:
    with pytest.raises(ValueError, match="heads of 8 channels"):
        CpuGpt(Gpt(msgspec.structs.replace(TINY, heads=8)))
