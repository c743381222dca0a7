"""IndexTTS2 as the engine steps it: alone or in a batch, exact or padded shapes, streamed or whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from serving.engine.graphs import pick_bucket
from serving.models.base import Bucket, Frontend
from serving.models.driver import speak, step
from serving.models.indextts2.mel.flow import Flow
from serving.models.indextts2.mel.regulator import target_frames
from serving.models.indextts2.model import IndexTts2Model, segment_seed
from serving.models.indextts2.stages.mel import MelParts
from serving.models.indextts2.voice.features import log_mel
from serving.profile import EngineProfile
from serving.protocol import InputError, Segment
from tests.unit.indextts2.support import (
    CODES,
    HOP,
    begin,
    frame_noise,
    make,
    params,
    relative_error,
    request,
    wave_of,
)

TOLERANCE = 1e-5
TEXTS = (
    "Hello.",
    "A somewhat longer text is this one, is it not?",
    "The third of three texts, and by far the longest of them all, as anybody can see who reads it.",
)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=["native", "torch"])
def made(request: pytest.FixtureRequest) -> tuple[Frontend, IndexTts2Model]:
    return make(kernels=request.param)


def favour_stop(model: IndexTts2Model, gain: float) -> None:
    """Make the stop code likelier than the weights do."""
    gpt, plain = model.decoding.gpt, model.decoding.gpt.logits

    def logits(states: Tensor) -> Tensor:
        drawn = plain(states).clone()
        drawn[..., model.config.gpt.stop_mel_token] += gain
        return drawn

    gpt.logits = logits  # type: ignore[method-assign]


@pytest.mark.parametrize("kernels", ["native", "torch"])
@pytest.mark.parametrize(("positions", "urgent"), [("aligned", True), ("official", False)])
def test_together_is_as_alone(positions: str, urgent: bool, kernels: str) -> None:
    """Ragged texts, and ragged lengths: each stops at a length of its own."""
    frontend, model = make(positions=positions, min_codes=12, kernels=kernels)
    favour_stop(model, 2.5)
    requests = [request(frontend, text, seed=seed) for seed, text in enumerate(TEXTS)]
    together = [np.concatenate(chunks) for chunks in speak(model, requests, urgent=urgent)]
    assert len({len(wave) for wave in together}) > 1
    for wave, wanted in zip(together, requests, strict=True):
        assert relative_error(wave, wave_of(model, wanted, urgent=urgent)) <= TOLERANCE


def test_the_count_of_codes_fixes_the_samples(made: tuple[Frontend, IndexTts2Model]) -> None:
    frontend, model = made
    for urgent in (False, True):
        wave = wave_of(model, request(frontend, "Hello."), urgent=urgent)
        assert len(wave) == target_frames(CODES) * HOP


def test_the_same_seed_says_the_same_and_another_does_not(made: tuple[Frontend, IndexTts2Model]) -> None:
    frontend, model = made
    first = wave_of(model, request(frontend, "Hello.", seed=1), urgent=True)
    assert np.array_equal(first, wave_of(model, request(frontend, "Hello.", seed=1), urgent=True))
    assert not np.allclose(first, wave_of(model, request(frontend, "Hello.", seed=2), urgent=True))


def test_a_stream_is_near_the_whole(made: tuple[Frontend, IndexTts2Model]) -> None:
    """In log-mel, within 3 % of the distance that another seed has from the whole (under 1 % was measured)."""
    frontend, model = made

    def mel(seed: int, *, urgent: bool) -> torch.Tensor:
        wave = wave_of(model, request(frontend, "Hello.", seed=seed), urgent=urgent)
        return log_mel(torch.from_numpy(wave.copy()), model.config.s2mel.mel)

    whole = mel(1, urgent=False)
    streamed = (mel(1, urgent=True) - whole).abs().mean()
    other = (mel(2, urgent=False) - whole).abs().mean()
    assert 0 < streamed < 0.03 * other


def test_a_stream_begins_before_its_codes_are_drawn(made: tuple[Frontend, IndexTts2Model]) -> None:
    frontend, model = made
    state = model.open(*request(frontend, "Hello."), 0, urgent=True)
    spoken = None
    while spoken is None:
        assert state.stage is not None
        (spoken,) = step(model.stages[state.stage], [state])
    assert state.codes < CODES
    assert state.stage == "decode"
    model.close(state)


def test_a_flow_begins_as_the_window_says(made: tuple[Frontend, IndexTts2Model]) -> None:
    """The stage against one row put together here, in the second window, beside another row."""
    frontend, model = made
    states = [model.open(*request(frontend, text), slot, urgent=True) for slot, text in enumerate(TEXTS[:2])]
    state = states[0]
    while not (state.stage == "prepare" and state.window is not None and state.window.first):
        assert state.stage is not None
        step(model.stages[state.stage], [s for s in states if s.stage == state.stage])
    assert state.window is not None
    assert state.stream is not None
    assert state.voice is not None
    step(model.stages["prepare"], states)
    window, count = state.window, torch.tensor([state.window.codes])
    with torch.inference_mode():
        parts, decoding = model.mel_parts, model.decoding
        assert isinstance(parts, MelParts)
        semantic = parts.codec.embed_codes(decoding.codes[0, : window.codes])
        semantic = semantic + parts.projection(decoding.states[0, : window.codes])
        condition = parts.regulator(semantic[None], count, torch.tensor([window.end]), window.end)[0]
        first = max(0, window.first - state.windows.history_frames)
        prompt = torch.cat([state.stream.reference_mel, state.stream.mel[first : window.first]])
        mu = torch.cat([state.stream.prompt_condition, condition[first : window.end]])
        noise = frame_noise(state.sampling.seed, window.end, prompt.shape[1])[window.first :]
        expected = Flow(model.flow.estimator, 1, model.flow.max_frames, iterations=1)
        begin(expected, 0, prompt, mu, state.voice.style, noise)
    frames = len(mu)
    assert len(prompt) > len(state.stream.reference_mel)
    assert (state.prompt_frames, state.length) == (len(prompt), frames)
    torch.testing.assert_close(model.flow.x[0, :frames], expected.x[0, :frames])
    torch.testing.assert_close(model.flow.constant[0, :frames], expected.constant[0, :frames])
    for made_of, wanted in (
        (model.flow.lengths, frames),
        (model.flow.prompt_lengths, len(prompt)),
        (model.flow.iteration, 0),
    ):
        assert made_of[0] == wanted
    for state in states:
        model.close(state)


def test_a_step_launched_before_the_last_one_is_complete_changes_nothing(
    made: tuple[Frontend, IndexTts2Model],
) -> None:
    """Two steps in flight, as the engine runs stages with lookahead on a GPU."""
    frontend, model = made
    requests = [request(frontend, text, seed=seed) for seed, text in enumerate(TEXTS[:2])]
    states = [model.open(*wanted, slot, urgent=True) for slot, wanted in enumerate(requests)]
    spoken: list[list[Any]] = [[], []]
    flying: deque[tuple[str, list[int], tuple[torch.Tensor, ...]]] = deque()

    def land() -> None:
        name, rows, outputs = flying.popleft()
        stage = model.stages[name]
        # What does not go to the host would be overwritten by now.
        kept = tuple(
            output if index in stage.to_host or not stage.lookahead else torch.full_like(output, torch.nan)
            for index, output in enumerate(outputs)
        )
        for row, samples in zip(rows, stage.scatter([states[r] for r in rows], kept), strict=True):
            if samples is not None:
                spoken[row].append(samples)

    with torch.inference_mode():
        while any(state.stage for state in states) or flying:
            name = next((state.stage for state in states if state.stage), None)
            if flying and (name != flying[-1][0] or not model.stages[name].lookahead or len(flying) == 2):
                land()
                continue
            assert name is not None
            rows = [row for row, state in enumerate(states) if state.stage == name]
            stage, length = model.stages[name], max(states[row].length for row in rows)
            outputs = stage.forward(*stage.collate([states[row] for row in rows], Bucket(len(rows), length)))
            flying.append((name, rows, outputs))
    for chunks, wanted in zip(spoken, requests, strict=True):
        assert relative_error(np.concatenate(chunks), wave_of(model, wanted, urgent=True)) <= TOLERANCE


def make_static(**options: Any) -> tuple[Frontend, IndexTts2Model]:
    """The model with the shapes of a graph profile, which need no graph to be run."""
    engine = EngineProfile(device="cpu", max_slots=4, max_step_units=1024, cuda_graphs=True)
    return make(engine, positions="official", vocoder_frames=64, **options)


def test_every_bucket_runs_with_inert_rows_only() -> None:
    _, model = make_static()
    with torch.inference_mode():
        for name, stage in model.stages.items():
            assert list(stage.buckets) == sorted(stage.buckets, key=lambda bucket: bucket.units)
            for bucket in {*stage.buckets[:1], *stage.buckets[-1:]}:
                for output in stage.forward(*stage.collate([], bucket)):
                    assert output.isfinite().all(), f"{name} {bucket}"


@pytest.mark.parametrize("prompt_s", [0.5, 4.5])
def test_padded_shapes_say_what_exact_ones_say(prompt_s: float) -> None:
    """With a prompt from the end of the voice, and with a voice that is shorter than the prompt may be."""
    frontend, model = make_static(prompt_s=prompt_s)
    requests = [request(frontend, text, seed=seed) for seed, text in enumerate(TEXTS[:2])]
    states = [model.open(*wanted, slot, urgent=True) for slot, wanted in enumerate(requests)]
    spoken: list[list[Any]] = [[] for _ in states]
    while any(state.stage for state in states):
        for name, stage in model.stages.items():
            rows = [row for row, state in enumerate(states) if state.stage == name]
            if not rows:
                continue
            length = max(states[row].length for row in rows)
            bucket = pick_bucket(stage.buckets, len(rows), length)
            assert bucket is not None or not stage.buckets
            for row, samples in zip(rows, step(stage, [states[r] for r in rows], bucket), strict=True):
                if samples is not None:
                    spoken[row].append(samples)
    _, exact = make(positions="official", prompt_s=prompt_s)
    for chunks, wanted in zip(spoken, requests, strict=True):
        assert relative_error(np.concatenate(chunks), wave_of(exact, wanted, urgent=True)) <= TOLERANCE


def test_a_long_window_is_vocoded_in_stretches(made: tuple[Frontend, IndexTts2Model]) -> None:
    frontend, model = made
    _, short = make(vocoder_frames=16)
    wanted = request(frontend, "Hello.")
    assert relative_error(wave_of(short, wanted), wave_of(model, wanted)) <= TOLERANCE


def test_the_stop_ends_a_segment() -> None:
    """A stop code that is nearly always drawn: no codes, no samples, and no hang."""
    frontend, model = make(min_codes=0)
    favour_stop(model, 100.0)
    assert speak(model, [request(frontend, "Hello.")]) == [[]]


def test_temperature_zero_draws_the_likeliest(made: tuple[Frontend, IndexTts2Model]) -> None:
    frontend, model = made
    codes = []
    for seed in (1, 2):
        wave_of(model, request(frontend, "Hello.", seed=seed, temperature=0.0))
        codes.append(model.decoding.codes[0, :CODES].tolist())
    assert codes[0] == codes[1]


def test_what_cannot_be_spoken_is_refused(made: tuple[Frontend, IndexTts2Model]) -> None:
    _, model = made
    for tokens in ([], [0, 1], [5] * (model.max_text + 1)):
        with pytest.raises(InputError) as error:
            model.open(params(), Segment(index=0, tokens=tokens), 0, urgent=False)
        assert error.value.field == "text"


def test_segments_of_a_request_have_seeds_of_their_own() -> None:
    seeds = {segment_seed(seed, index) for seed in (0, 1, 2**63 - 1) for index in range(50)}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**63 for seed in seeds)
