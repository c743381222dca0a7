"""The code model against the official one: prefix, logits, greedy codes, second-pass latents, and its
traps."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import torch
from indextts.gpt.model_v2 import GPT2InferenceModel, UnifiedVoice
from omegaconf import OmegaConf
from torch import Tensor

from bench.indextts2.package import give_attention_mask
from serving.models.indextts2.codes.decoding import Decoding
from serving.models.indextts2.codes.gpt import Gpt, convert, spoken_ids
from serving.models.indextts2.codes.sampling import Sampling
from serving.models.indextts2.config import GptConfig
from tests.parity.indextts2 import official
from tests.unit.indextts2.support import configure

CODES = 200
SMALL: Any = OmegaConf.to_container(OmegaConf.load(official.HERE / "small_config.yaml"))
SETTINGS: dict[str, Any] = {
    **SMALL["gpt"],
    # The official width of 1280 is what test_whole.py runs; here it would only cost time.
    "model_dim": 256,
    "heads": 4,
}
SHAPES: dict[str, dict[str, Any]] = {
    "two-layers": {},
    "three-layers": {
        "model_dim": 192,
        "heads": 3,
        "layers": 3,
        "number_mel_codes": 262,
        "number_text_tokens": 120,
    },
}
Inputs = tuple[Tensor, Tensor, Tensor, Tensor]
"""Speaker features, text ids, emotion features, emotion vector."""


@dataclass
class Case:
    """An official model, ours with its weights, and what the official one did with one text."""

    config: GptConfig
    theirs: Any
    ours: Gpt
    inputs: Inputs
    latents: Tensor
    emovec: Tensor
    text: list[int]
    prefix: Tensor
    logits: Tensor
    codes: Tensor
    second_pass: Tensor

    @functools.cached_property
    def decoded(self) -> Decoding:
        """Slot 0 after CODES greedy codes at official positions."""
        return self.decode(second_rows=True)

    def decode(self, gpt: Gpt | None = None, codes: int = CODES, **options: Any) -> Decoding:
        """Decode codes greedily in slot 0."""
        decoding = Decoding(gpt or self.ours, 1, max_codes=codes, max_text=len(self.text), **options)
        configure(decoding, 0, Sampling(top_k=1, top_p=1.0, temperature=1.0, max_codes=codes))
        slots = torch.tensor([0])
        decoding.prefill(
            slots, self.latents, self.emovec, torch.tensor([self.text]), torch.tensor([len(self.text)])
        )
        for _ in range(codes - 1):
            decoding.decode(slots, decoding.cache.max_cells)
        return decoding

    def first_logits(self, gpt: Gpt) -> Tensor:
        """Logits of the first code."""
        vectors, lengths = gpt.prefix(
            self.latents, self.emovec, torch.tensor([self.text]), torch.tensor([len(self.text)])
        )
        cache = Decoding(gpt, 1, max_codes=1, max_text=len(self.text)).cache
        states = gpt.extend(vectors, lengths, torch.tensor([0]), cache)
        return speakable(gpt.logits(states[:, -1]), self.config)


@pytest.fixture(scope="module", autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module", params=[(shape, seed) for shape in SHAPES for seed in range(3)], ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    shape, seed = request.param
    settings = {**SETTINGS, **SHAPES[shape]}
    settings["start_mel_token"] = settings["number_mel_codes"] - 2
    settings["stop_mel_token"] = settings["number_mel_codes"] - 1
    return build_case(settings, seed, with_emotion=seed != 1)


@pytest.fixture(scope="module")
def one() -> Case:
    """One case more, for what need not be shown on every shape."""
    return build_case(SETTINGS, 7, with_emotion=False)


def build_case(settings: dict[str, Any], seed: int, *, with_emotion: bool) -> Case:
    """Run the official model on a random voice and text."""
    theirs = official.random_module(seed, lambda: UnifiedVoice(**settings))
    theirs.mel_head.weight.mul_(8)
    theirs.mel_head.bias[settings["stop_mel_token"]] = -1e4
    give_attention_mask(GPT2InferenceModel)
    theirs.post_init_gpt2_config(use_deepspeed=False, kv_cache=True, half=False)

    generator = torch.Generator().manual_seed(seed)
    speech = torch.randn(1, 60, 1024, generator=generator)
    text = torch.randint(2, settings["number_text_tokens"], (1, 11 + seed), generator=generator)
    width = torch.tensor([speech.shape[-1]])
    # merge_emovec with an emotion reference of its own, or the speaker's as its own emotion.
    emotion = torch.randn(1, 44, 1024, generator=generator) if with_emotion else speech
    emovec = theirs.merge_emovec(speech, emotion, width, width, alpha=0.6 if with_emotion else 1.0)

    seen: dict[str, Any] = {"logits": []}
    hook = theirs.mel_head.register_forward_hook(lambda _m, _i, out: seen["logits"].append(out))
    prepare = theirs.prepare_gpt_inputs

    def watched(*inputs: Any) -> Any:
        seen["prefix"] = prepare(*inputs)[1]
        return prepare(*inputs)

    theirs.prepare_gpt_inputs = watched
    inputs = (speech, text, emotion, emovec)
    codes, latents = official_decode(theirs, inputs, CODES)
    hook.remove()
    # The second pass, called as infer_v2 calls it.
    second_pass = theirs(
        latents,
        text,
        torch.tensor([text.shape[-1]]),
        codes,
        torch.tensor([codes.shape[-1]]),
        emotion,
        cond_mel_lengths=width,
        emo_cond_mel_lengths=width,
        emo_vec=emovec,
        use_speed=torch.zeros(1).long(),
    )
    fields = {name: settings[name] for name in GptConfig.__struct_fields__ if name in settings}
    config = msgspec.convert(fields, GptConfig)
    ours = Gpt(config).eval()
    ours.load_state_dict(convert(theirs.state_dict(), config))
    return Case(
        config=config,
        theirs=theirs,
        ours=ours,
        inputs=inputs,
        latents=latents,
        emovec=emovec,
        text=text[0].tolist(),
        prefix=seen["prefix"],
        logits=speakable(seen["logits"][0].reshape(1, -1, config.number_mel_codes)[:, -1], config),
        codes=codes,
        second_pass=second_pass,
    )


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference over the largest magnitude."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def speakable(logits: Tensor, config: GptConfig) -> Tensor:
    """Logits of all codes but the stop, which the small model keeps out of reach and would dwarf the
    others."""
    return logits[:, : config.stop_mel_token]


def official_decode(theirs: Any, inputs: Inputs, codes: int) -> tuple[Tensor, Tensor]:
    """Greedy codes [1, codes] and speaker latents of the official model."""
    speech, text, emotion, emovec = inputs
    width = torch.tensor([speech.shape[-1]])
    drawn, latents = theirs.inference_speech(
        speech,
        text,
        emotion,
        cond_lengths=width,
        emo_cond_lengths=width,
        emo_vec=emovec,
        do_sample=True,
        top_k=1,
        top_p=1.0,
        temperature=1.0,
        num_beams=1,
        repetition_penalty=10.0,
        max_generate_length=codes,
    )
    return drawn, latents


def second_pass(decoding: Decoding) -> Tensor:
    """All CODES latents of slot 0 by the second pass, in two chunks of unequal length."""
    slots = torch.tensor([0])
    for start, count in ((1, 70), (71, CODES - 71)):
        decoding.latents(slots, torch.tensor([start]), torch.tensor([count]), count, decoding.cache.max_cells)
    return decoding.states[:1, :CODES]


def test_prefix(case: Case) -> None:
    vectors, lengths = case.ours.prefix(
        case.latents, case.emovec, torch.tensor([case.text]), torch.tensor([len(case.text)])
    )
    assert lengths.tolist() == [case.prefix.shape[1] + 1] == [vectors.shape[1]]
    assert relative_error(vectors[:, :-1], case.prefix) <= 1e-6


def test_first_logits(case: Case) -> None:
    assert relative_error(case.first_logits(case.ours), case.logits) <= 1e-4


def test_greedy_codes_are_identical(case: Case) -> None:
    assert case.codes.shape == (1, CODES)
    assert case.decoded.codes[0, :CODES].tolist() == case.codes[0].tolist()
    assert len(set(case.codes[0].tolist())) > CODES // 4, "a constant sequence would prove little"


def test_second_pass_latents(case: Case) -> None:
    """Also trap 1's other half: the states of the skipped positions are no latents, only the first is."""
    skipped = case.decoded.states[:1, :CODES].clone()
    before = case.decoded.cache.keys[0][0].clone()
    latents = second_pass(case.decoded)
    assert latents.shape == case.second_pass.shape
    assert relative_error(latents, case.second_pass) <= 1e-4
    assert torch.equal(case.decoded.cache.keys[0][0], before), "the decoding cache must stay as it was"
    assert relative_error(skipped[:, :1], case.second_pass[:, :1]) <= 1e-4
    assert relative_error(skipped, case.second_pass) > 1e-2
    case.decoded.states[:1, :CODES] = skipped


def test_second_pass_over_the_cache_of_a_finished_decode(one: Case) -> None:
    assert relative_error(second_pass(one.decode()), one.second_pass) <= 1e-4


def test_trap_position_skip(one: Case) -> None:
    """Aligned positions give other codes than the official sampler; their states are the latents."""
    decoding = one.decode(positions="aligned")
    assert decoding.codes[0, :CODES].tolist() != one.codes[0].tolist()
    while_decoding = decoding.states[:1, :CODES].clone()
    assert relative_error(second_pass(decoding), while_decoding) <= 1e-4


@pytest.mark.parametrize("name", ["code 1", "the start code"])
def test_trap_penalty_set(one: Case, name: str) -> None:
    """Code 1 and the start code are penalised from the first code on, as the official sampler does it."""
    code = 1 if name == "code 1" else one.config.start_mel_token
    top = float(one.logits.max())
    # Lift the code above all others, but not above them once its logit is divided by 10.
    bias = one.theirs.mel_head.bias
    kept = bias.clone()
    try:
        bias[code] += 2.0 * top - float(one.logits[0, code])
        theirs, _ = official_decode(one.theirs, one.inputs, codes=1)
        ours = Gpt(one.config).eval()
        ours.load_state_dict(convert(one.theirs.state_dict(), one.config))
        assert int(one.first_logits(ours).argmax()) == code
        assert one.decode(ours, codes=1).codes[0, 0].item() == theirs[0, 0].item() != code
    finally:
        bias.copy_(kept)


@pytest.mark.parametrize("norm", ["stack_norm", "final_norm"])
def test_trap_two_norms(one: Case, norm: str) -> None:
    broken = Gpt(one.config).eval()
    broken.load_state_dict(one.ours.state_dict())
    setattr(broken, norm, torch.nn.Identity())
    assert relative_error(one.first_logits(broken), one.logits) > 1e-2


def test_trap_text_stop_token(one: Case) -> None:
    vectors, _ = one.ours.prefix(
        one.latents, one.emovec, torch.tensor([one.text]), torch.tensor([len(one.text)])
    )
    without = torch.cat([vectors[:, :-2], vectors[:, -1:]], dim=1)
    cache = Decoding(one.ours, 1, max_codes=1, max_text=len(one.text)).cache
    states = one.ours.extend(without, torch.tensor([without.shape[1]]), torch.tensor([0]), cache)
    assert relative_error(speakable(one.ours.logits(states[:, -1]), one.config), one.logits) > 1e-3


def test_trap_start_and_stop_inside_the_text(one: Case) -> None:
    """The official model drops ids 0 and 1 from the text and masks what is left over: dropping them is
    exact."""
    dirty = [one.text[0], 1, *one.text[1:4], 0, *one.text[4:], 1]
    assert spoken_ids(dirty, one.config) == one.text
    speech, _, emotion, emovec = one.inputs
    inputs = (speech, torch.tensor([dirty]), emotion, emovec)
    seen: list[Tensor] = []
    hook = one.theirs.mel_head.register_forward_hook(lambda _m, _i, out: seen.append(out))
    official_decode(one.theirs, inputs, codes=1)
    hook.remove()
    theirs = seen[0].reshape(1, -1, one.config.number_mel_codes)[:, -1]
    assert relative_error(one.first_logits(one.ours), speakable(theirs, one.config)) <= 1e-4
