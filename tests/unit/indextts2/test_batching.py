"""Rows of a batch do not change each other: joins and leaves in mid-flight, at every core, in float32."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from serving.models.indextts2.codes.decoding import Decoding, PositionMode
from serving.models.indextts2.codes.gpt import Gpt
from serving.models.indextts2.codes.sampling import Sampling
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.mel.estimator import Estimator
from serving.models.indextts2.mel.flow import Flow
from serving.models.indextts2.wave.vocoder import Vocoder, reach_frames
from tests.unit.indextts2.support import begin, configure, frame_noise, target_mel

CONFIG = IndexTts2Config.tiny()
TOLERANCE = 1e-5


@pytest.fixture(scope="module", autouse=True)
def _inference() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def gpt() -> Gpt:
    torch.manual_seed(0)
    return Gpt(CONFIG.gpt).eval()


@pytest.fixture(scope="module")
def estimator() -> Estimator:
    torch.manual_seed(1)
    return Estimator(CONFIG.s2mel).eval()


@pytest.fixture(scope="module")
def vocoder() -> Vocoder:
    torch.manual_seed(2)
    return Vocoder(CONFIG.vocoder).eval()


def relative_error(ours: Tensor, alone: Tensor) -> float:
    """Largest difference over the largest magnitude."""
    return float((ours - alone).abs().max() / alone.abs().max())


class Speech:
    """The inputs of one segment."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        dim = CONFIG.gpt.model_dim
        self.latents = torch.randn(32, dim, generator=generator)
        self.emovec = torch.randn(dim, generator=generator)
        self.text = torch.randint(2, 200, (4 + 5 * seed % 17,), generator=generator)
        self.sampling = Sampling(seed=seed, max_codes=12 + 3 * seed)


def decode_all(decoding: Decoding, joins: dict[int, list[tuple[int, Speech]]], steps: int) -> None:
    """Step the batch; at step i the segments of joins[i] begin, and each leaves when it has its codes."""
    live: dict[int, Speech] = {}
    for step in range(steps):
        for slot, speech in joins.get(step, []):
            configure(decoding, slot, speech.sampling)
            live[slot] = speech
        if new := joins.get(step):
            width = max(len(speech.text) for _, speech in new)
            text = torch.stack(
                [torch.nn.functional.pad(speech.text, (0, width - len(speech.text))) for _, speech in new]
            )
            decoding.prefill(
                torch.tensor([slot for slot, _ in new]),
                torch.stack([speech.latents for _, speech in new]),
                torch.stack([speech.emovec for _, speech in new]),
                text,
                torch.tensor([len(speech.text) for _, speech in new]),
            )
        counts = {slot: int(decoding.counts[slot]) for slot in live}
        live = {slot: s for slot, s in live.items() if counts[slot] <= s.sampling.max_codes}
        if live:
            # One row of the bucket is inert.
            decoding.decode(torch.tensor([*live, decoding.spare]), decoding.cache.max_cells)


@pytest.mark.parametrize("rows", [2, 5, 8])
@pytest.mark.parametrize("positions", ["official", "aligned"])
def test_decoding(gpt: Gpt, rows: int, positions: PositionMode) -> None:
    speeches = [Speech(seed) for seed in range(rows)]
    together = Decoding(gpt, rows, max_codes=40, max_text=24, positions=positions)
    joins: dict[int, list[tuple[int, Speech]]] = {}
    for index, speech in enumerate(speeches):
        joins.setdefault(index // 2 * 3, []).append((rows - 1 - index, speech))
    decode_all(together, joins, 60)
    for index, speech in enumerate(speeches):
        alone = Decoding(gpt, 1, max_codes=40, max_text=24, positions=positions)
        decode_all(alone, {0: [(0, speech)]}, 60)
        slot, count = rows - 1 - index, speech.sampling.max_codes
        assert torch.equal(together.codes[slot, :count], alone.codes[0, :count])
        assert together.codes[slot, count] == CONFIG.gpt.stop_mel_token
        assert relative_error(together.states[slot, :count], alone.states[0, :count]) <= TOLERANCE


def test_second_pass_of_ragged_rows(gpt: Gpt) -> None:
    speeches = [Speech(seed) for seed in range(3)]
    together = Decoding(gpt, 3, max_codes=40, max_text=24, second_rows=True)
    decode_all(together, {0: list(enumerate(speeches))}, 60)
    counts = torch.tensor([speech.sampling.max_codes - 1 for speech in speeches])
    span = together.cache.max_cells
    slots = torch.arange(3)
    together.latents(slots, torch.ones(3, dtype=torch.int64), counts, int(counts.max()), span)
    for slot, speech in enumerate(speeches):
        alone = Decoding(gpt, 1, max_codes=40, max_text=24)
        decode_all(alone, {0: [(0, speech)]}, 60)
        count = counts[slot : slot + 1]
        alone.latents(torch.tensor([0]), torch.tensor([1]), count, int(count), span)
        last = int(count) + 1
        assert relative_error(together.states[slot, :last], alone.states[0, :last]) <= TOLERANCE


def test_forced_code_counts(gpt: Gpt) -> None:
    """With min_codes == max_codes the stop comes exactly then, however likely it was before."""
    lively = Gpt(CONFIG.gpt).eval()
    lively.load_state_dict(gpt.state_dict())
    lively.code_head.bias[CONFIG.gpt.stop_mel_token] = 50.0
    for sampling, expected in (
        (Sampling(max_codes=20, min_codes=20), 20),
        (Sampling(max_codes=20), 0),
    ):
        speech = Speech(1)
        speech.sampling = sampling
        decoding = Decoding(lively, 1, max_codes=40, max_text=24)
        decode_all(decoding, {0: [(0, speech)]}, 30)
        codes = decoding.codes[0].tolist()
        assert codes.index(CONFIG.gpt.stop_mel_token) == expected
        assert set(codes[expected:]) == {CONFIG.gpt.stop_mel_token}


class Mel:
    """The inputs of one flow."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.prompt_frames, self.frames = 3 + 7 * seed % 23, 30 + 11 * seed % 41
        self.prompt = torch.randn(self.prompt_frames, 80, generator=generator)
        self.mu = torch.randn(self.frames, CONFIG.s2mel.dit.content_dim, generator=generator)
        self.style = torch.randn(192, generator=generator)
        self.noise = frame_noise(seed, self.frames - self.prompt_frames, 80)

    def begin(self, flow: Flow, slot: int) -> None:
        begin(flow, slot, self.prompt, self.mu, self.style, self.noise)


@pytest.mark.parametrize("rows", [2, 5, 8])
def test_flow(estimator: Estimator, rows: int) -> None:
    """Segments join two at a time, three Euler iterations apart, and leave after their own last one."""
    iterations = 9
    mels = [Mel(seed) for seed in range(rows)]
    width = max(mel.frames for mel in mels)
    together = Flow(estimator, rows, width, iterations=iterations)
    for turn in range(iterations + rows // 2 * 3):
        for index, mel in enumerate(mels):
            if turn == index // 2 * 3:
                mel.begin(together, rows - 1 - index)
        live = [rows - 1 - i for i in range(rows) if i // 2 * 3 <= turn < i // 2 * 3 + iterations]
        if live:
            together.iterate(torch.tensor([*live, together.spare]), width, width)
    for index, mel in enumerate(mels):
        alone = Flow(estimator, 1, mel.frames, iterations=iterations)
        mel.begin(alone, 0)
        for _ in range(iterations):
            alone.iterate(torch.tensor([0]), mel.frames, mel.frames, ragged=False)
        assert relative_error(target_mel(together, rows - 1 - index), target_mel(alone, 0)) <= TOLERANCE


def test_flow_keeps_only_the_frames_it_needs(estimator: Estimator) -> None:
    """Running the tail on the target and the WaveNet's reach alone gives what running it on every frame
    gives."""
    mel = Mel(2)
    reach = estimator.reach
    assert mel.prompt_frames > reach
    results = []
    for kept in (reach, mel.prompt_frames, reach - 1):
        flow = Flow(estimator, 1, mel.frames, iterations=5)
        flow.reach = kept
        mel.begin(flow, 0)
        for _ in range(5):
            flow.iterate(torch.tensor([0]), mel.frames, mel.frames - mel.prompt_frames + kept, ragged=False)
        results.append(target_mel(flow, 0))
    enough, everything, too_little = results
    assert relative_error(enough, everything) <= TOLERANCE
    assert relative_error(too_little, everything) > TOLERANCE


def test_a_finished_row_stays_as_it_is(estimator: Estimator) -> None:
    mel = Mel(1)
    flow = Flow(estimator, 1, mel.frames, iterations=3)
    mel.begin(flow, 0)
    for _ in range(3):
        flow.iterate(torch.tensor([0]), mel.frames, mel.frames)
    done = target_mel(flow, 0)
    flow.iterate(torch.tensor([0]), mel.frames, mel.frames)
    assert torch.equal(target_mel(flow, 0), done)


def test_a_segment_longer_than_its_slot_is_refused(estimator: Estimator) -> None:
    with pytest.raises(ValueError, match="frames"):
        Mel(1).begin(Flow(estimator, 1, 10), 0)


@pytest.mark.parametrize("rows", [2, 5, 8])
def test_vocoder(vocoder: Vocoder, rows: int) -> None:
    lengths = torch.tensor([1 + 5 * row % 13 for row in range(rows)])
    torch.manual_seed(0)
    mels = torch.randn(rows, 80, int(lengths.max()))
    together = vocoder(mels, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = vocoder(mels[row : row + 1, :, :length])
        assert relative_error(together[row : row + 1, : length * 256], alone) <= TOLERANCE


def test_vocoder_windows_equal_the_whole(vocoder: Vocoder) -> None:
    """With the receptive field on both sides nothing further away matters."""
    reach = reach_frames(CONFIG.vocoder)
    frames, first, last = 2 * reach + 30, reach + 5, reach + 20
    torch.manual_seed(0)
    mel = 2 * torch.randn(1, 80, frames)
    whole = vocoder(mel)[:, first * 256 : last * 256]
    window = vocoder(mel[:, :, first - reach : last + reach])[:, reach * 256 : -reach * 256]
    assert relative_error(window, whole) <= TOLERANCE
    mel[:, :, : first - reach] += 10.0
    mel[:, :, last + reach :] += 10.0
    assert relative_error(vocoder(mel)[:, first * 256 : last * 256], whole) <= TOLERANCE
