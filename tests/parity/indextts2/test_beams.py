"""Beam search against the package's own generate(): every hypothesis and its score, with and without
sampling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest
import torch
from indextts.gpt.model_v2 import GPT2InferenceModel, UnifiedVoice
from torch import Tensor, nn

from bench.indextts2.package import give_attention_mask
from serving.models.indextts2.codes.beams import BeamSampling, beam_search
from serving.models.indextts2.codes.gpt import Gpt, convert
from serving.models.indextts2.config import GptConfig
from tests.parity.indextts2 import official
from tests.parity.indextts2.test_gpt import SETTINGS, SHAPES

CODES = 60
NO_STOP = -1e4
LIKELY_STOP = 4.5
"""Bias at which every case ends by the stop code within CODES, its hypotheses at different lengths."""
EARLY_STOP = 5.5
"""Bias at which a search is settled long before its most codes."""

Found = list[tuple[list[int], float]]
"""Codes without the stop, and score, of every hypothesis, best first."""


@dataclass
class Case:
    """An official model and ours with its weights, a voice and a text."""

    config: GptConfig
    theirs: Any
    ours: Gpt
    speech: Tensor
    text: Tensor
    emovec: Tensor
    seed: int

    def set_stop(self, bias: float) -> None:
        """Make the stop code more or less likely, in both models."""
        for head in (self.theirs.mel_head, self.ours.code_head):
            head.bias[self.config.stop_mel_token] = bias

    def official(self, sampling: BeamSampling, seed: int) -> tuple[Found, Tensor]:
        """What the package finds, and its speaker latents."""
        torch.manual_seed(seed)
        width = torch.tensor([self.speech.shape[-1]])
        drawing = {name: getattr(sampling, name) for name in ("temperature", "top_k", "top_p")}
        output, latents = self.theirs.inference_speech(
            self.speech,
            self.text,
            cond_lengths=width,
            emo_cond_lengths=width,
            emo_vec=self.emovec,
            num_beams=sampling.beams,
            do_sample=sampling.do_sample,
            repetition_penalty=sampling.repetition_penalty,
            length_penalty=sampling.length_penalty,
            early_stopping=sampling.early_stopping,
            max_generate_length=sampling.max_codes,
            num_return_sequences=sampling.beams,
            return_dict_in_generate=True,
            output_scores=True,
            **(drawing if sampling.do_sample else {}),
        )
        stop = self.config.stop_mel_token
        found = []
        for codes, score in zip(output.sequences.tolist(), output.sequences_scores.tolist(), strict=True):
            found.append((codes[: codes.index(stop)] if stop in codes else codes, score))
        return found, latents

    def compare(self, sampling: BeamSampling, seed: int) -> Found:
        """Assert that both find the same in as many codes, scores to a millionth of each; returns it."""
        with counted(self.theirs.mel_head) as their_calls:
            theirs, latents = self.official(sampling, seed)
        generator = torch.Generator().manual_seed(seed)
        with counted(self.ours.code_head) as our_calls:
            ours = beam_search(self.ours, latents, self.emovec, self.text, sampling, generator)
        assert [hypothesis.codes.tolist() for hypothesis in ours] == [codes for codes, _ in theirs]
        scores = [hypothesis.score for hypothesis in ours]
        assert scores == pytest.approx([score for _, score in theirs], rel=1e-6)
        assert len(our_calls) == len(their_calls)
        return theirs


@contextmanager
def counted(head: nn.Module) -> Iterator[list[None]]:
    """A list with an entry for each call of the head of codes: one for each code."""
    calls: list[None] = []
    hook = head.register_forward_hook(lambda *_: calls.append(None))
    yield calls
    hook.remove()


@pytest.fixture(scope="module", autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module", params=[(shape, seed) for shape in SHAPES for seed in range(3)], ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    return build_case(*request.param)


@pytest.fixture(scope="module")
def one() -> Case:
    """One case more, for what need not be shown on every shape."""
    return build_case("two-layers", 7)


def build_case(shape: str, seed: int) -> Case:
    """A random voice and text for a random model whose choices are clear but not settled."""
    settings = {**SETTINGS, **SHAPES[shape]}
    start, stop = settings["number_mel_codes"] - 2, settings["number_mel_codes"] - 1
    settings |= {"start_mel_token": start, "stop_mel_token": stop}
    theirs = official.random_module(seed, lambda: UnifiedVoice(**settings))
    theirs.mel_head.weight.mul_(4)
    # Within reach of every beam at every code, were they not penalised from the start.
    theirs.mel_head.bias[[1, start]] = 2.0
    give_attention_mask(GPT2InferenceModel)
    theirs.post_init_gpt2_config(use_deepspeed=False, kv_cache=True, half=False)
    fields = {name: settings[name] for name in GptConfig.__struct_fields__ if name in settings}
    config = msgspec.convert(fields, GptConfig)
    ours = Gpt(config).eval().requires_grad_(False)
    ours.load_state_dict(convert(theirs.state_dict(), config))

    generator = torch.Generator().manual_seed(seed)
    speech = torch.randn(1, 60, 1024, generator=generator)
    text = torch.randint(2, settings["number_text_tokens"], (1, 11 + seed), generator=generator)
    width = torch.tensor([speech.shape[-1]])
    emovec = theirs.merge_emovec(speech, speech, width, width)
    return Case(config, theirs, ours, speech, text, emovec, seed)


@pytest.mark.parametrize("do_sample", [False, True], ids=["best", "drawn"])
def test_a_forced_length(case: Case, do_sample: bool) -> None:
    case.set_stop(NO_STOP)
    found = case.compare(BeamSampling(do_sample=do_sample, max_codes=CODES), case.seed)
    assert [len(codes) for codes, _ in found] == [CODES] * 3
    assert len(set(found[0][0])) > CODES // 2, "a constant sequence would prove little"


@pytest.mark.parametrize("do_sample", [False, True], ids=["best", "drawn"])
def test_beams_that_stop(case: Case, do_sample: bool) -> None:
    case.set_stop(LIKELY_STOP)
    found = case.compare(BeamSampling(do_sample=do_sample, max_codes=CODES), case.seed)
    lengths = {len(codes) for codes, _ in found}
    assert len(lengths) > 1
    assert min(lengths) < CODES


VARIANTS = {
    "length-penalty-2": BeamSampling(length_penalty=2.0),
    "length-penalty-negative": BeamSampling(length_penalty=-0.5),
    # Each would run for another number of codes under another rule of stopping.
    "early-stopping": BeamSampling(early_stopping=True, length_penalty=2.0),
    "never": BeamSampling(early_stopping="never", length_penalty=1.0),
    "two-beams": BeamSampling(beams=2),
    "five-beams": BeamSampling(beams=5),
    "no-penalty": BeamSampling(repetition_penalty=1.0),
    # Fewer continuations than are drawn: the rest of the draw has a probability of zero.
    "top-k-1": BeamSampling(top_k=1),
    "top-p-small": BeamSampling(top_p=0.01),
    "all-codes": BeamSampling(top_p=1.0, top_k=1000, temperature=1.5),
}
DRAWN_ONLY = {"top-k-1", "top-p-small", "all-codes"}


@pytest.mark.parametrize(
    ("name", "do_sample"),
    [(name, drawn) for name in VARIANTS for drawn in (False, True) if drawn or name not in DRAWN_ONLY],
)
def test_settings(one: Case, name: str, do_sample: bool) -> None:
    one.set_stop(EARLY_STOP)
    one.compare(replace(VARIANTS[name], do_sample=do_sample, max_codes=24), seed=0)


def test_the_default_generator(one: Case) -> None:
    one.set_stop(NO_STOP)
    sampling = BeamSampling(max_codes=8)
    theirs, latents = one.official(sampling, seed=4)
    torch.manual_seed(4)
    ours = beam_search(one.ours, latents, one.emovec, one.text, sampling)
    assert [hypothesis.codes.tolist() for hypothesis in ours] == [codes for codes, _ in theirs]


def test_one_segment_at_a_time(one: Case) -> None:
    with pytest.raises(ValueError, match="one segment"):
        beam_search(one.ours, torch.zeros(2, 32, 256), torch.zeros(2, 256), one.text.expand(2, -1))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("beams", 1),
        ("temperature", 0.0),
        ("repetition_penalty", 0.0),
        ("top_k", 0),
        ("max_codes", 0),
        ("top_p", 0.0),
        ("top_p", 1.1),
    ],
)
def test_settings_out_of_range(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        replace(BeamSampling(), **{field: value})
