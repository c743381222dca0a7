"""A whole request against the package's own infer: audio file and text to the waveform, at the official width.

The official pipeline runs unchanged, with hooks; ours runs from the same files, by our loader. What
leaves one of our stages goes into the next, so the errors below have come all the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from serving.models.indextts2.codes.decoding import Decoding
from serving.models.indextts2.codes.sampling import Sampling
from serving.models.indextts2.mel.flow import Flow
from serving.models.indextts2.mel.regulator import target_frames
from serving.models.indextts2.voice.emotion import Emotion
from tests.parity.indextts2 import official
from tests.parity.indextts2.ours import conditioning, distance, networks, recording, reference_encoder
from tests.unit.indextts2.support import begin, configure, target_mel

TOLERANCE = 1e-4
WAVE_TOLERANCE = 1e-3
TEXTS = ["SPEECH IS MADE OF SOUNDS, WORDS AND PAUSES.", "WHY NOT? 你 好.", "IT'S NOT A TRICK, IS IT? NO!"]
VECTOR = (0.1, 0.0, 0.3, 0.05, 0.0, 0.2, 0.0, 0.1)


@dataclass
class Stages:
    """What one request gives, stage by stage. Shapes without the batch axis."""

    prefix: Tensor | None = None
    logits: list[Tensor] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    text: list[int] = field(default_factory=list)
    latents: Tensor | None = None
    condition: Tensor | None = None
    noise: Tensor | None = None
    mel: Tensor | None = None
    wave: Tensor | None = None


@pytest.fixture(scope="module", autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


def official_request(seed: int, voice: Path, text: str, codes: int, **said: Any) -> Stages:
    """Run the package's infer, greedily, for `codes` codes, and keep what every stage gives."""
    pipeline: Any = official.pipeline(seed)
    theirs = Stages()
    flow = pipeline.s2mel.models["cfm"]
    speak, prepare, solve = pipeline.gpt.inference_speech, pipeline.gpt.prepare_gpt_inputs, flow.solve_euler

    def watched_speak(speech: Tensor, text_ids: Tensor, *rest: Any, **options: Any) -> Any:
        theirs.text = text_ids[0].tolist()
        drawn, latents = speak(speech, text_ids, *rest, **options)
        theirs.codes = drawn[0].tolist()
        return drawn, latents

    def watched_prepare(*inputs: Any) -> Any:
        prepared = prepare(*inputs)
        theirs.prefix = prepared[1][0]
        return prepared

    def watched_solve(noise: Tensor, lengths: Tensor, prompt: Tensor, mu: Tensor, *rest: Any) -> Any:
        theirs.noise, theirs.condition = noise[0].t().clone(), mu[0]
        mel = solve(noise, lengths, prompt, mu, *rest)
        theirs.mel = mel[0, :, prompt.shape[2] :].t()
        return mel

    hooks = [
        pipeline.gpt.register_forward_hook(lambda _m, _i, out: setattr(theirs, "latents", out[0])),
        pipeline.gpt.mel_head.register_forward_hook(lambda _m, _i, out: theirs.logits.append(out[0])),
        pipeline.bigvgan.register_forward_hook(lambda _m, _i, out: setattr(theirs, "wave", out.flatten())),
    ]
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pipeline.gpt, "inference_speech", watched_speak)
            patch.setattr(pipeline.gpt, "prepare_gpt_inputs", watched_prepare)
            patch.setattr(flow, "solve_euler", watched_solve)
            # One greedy candidate; the package warns that the codes reached their limit, which they must.
            with pytest.warns(RuntimeWarning, match="max_mel_tokens"):
                pipeline.infer(
                    str(voice), text, None, num_beams=1, top_k=1, top_p=1.0, temperature=1.0,
                    max_mel_tokens=codes, **said,
                )  # fmt: skip
    finally:
        for hook in hooks:
            hook.remove()
    return theirs


def our_request(seed: int, voice: Path, theirs: Stages, codes: int, emotion: Emotion) -> Stages:
    """The same request by ours, with their noise."""
    parts = networks(seed)
    encoder = reference_encoder(seed)
    voice_conditioning = conditioning(seed, voice)
    other = None if emotion.voice is None else conditioning(seed, emotion.voice).own_emotion
    emovec = encoder.emotion(voice_conditioning, emotion, other)
    ours = Stages(text=theirs.text)

    gpt, slots = parts["gpt"], torch.tensor([0])
    decoding = Decoding(gpt, 1, max_codes=codes, max_text=len(ours.text))
    configure(decoding, 0, Sampling(top_k=1, top_p=1.0, temperature=1.0, max_codes=codes))
    text, text_length = torch.tensor([ours.text]), torch.tensor([len(ours.text)])
    ours.prefix = gpt.prefix(voice_conditioning.latents[None], emovec[None], text, text_length)[0][0, :-1]
    decoding.prefill(slots, voice_conditioning.latents[None], emovec[None], text, text_length)
    ours.logits = [gpt.logits(decoding.states[0, :1])]
    for _ in range(codes - 1):
        decoding.decode(slots, decoding.cache.max_cells)
    ours.codes = decoding.codes[0, :codes].tolist()
    decoding.latents(slots, torch.tensor([1]), torch.tensor([codes - 1]), codes - 1, decoding.cache.max_cells)
    ours.latents = decoding.states[0, :codes]

    semantic = parts["projection"](ours.latents) + parts["codec"].embed_codes(decoding.codes[0, :codes])
    frames = target_frames(codes)
    stretched = parts["regulator"](semantic[None], torch.tensor([codes]), torch.tensor([frames]), frames)[0]
    ours.condition = torch.cat([voice_conditioning.prompt_condition, stretched])
    total = len(ours.condition)
    flow = Flow(parts["flow"], 1, total)
    assert theirs.noise is not None
    begin(
        flow, 0, voice_conditioning.reference_mel.t(), ours.condition, voice_conditioning.style, theirs.noise
    )
    for _ in range(flow.iterations):
        flow.iterate(slots, total, total, ragged=False)
    ours.mel = target_mel(flow, 0)
    ours.wave = parts["vocoder"](ours.mel.t()[None])[0]
    return ours


@pytest.mark.parametrize(
    ("seed", "seconds", "codes", "asked"),
    [(0, 1.3, 200, "nothing"), (1, 2.1, 75, "weights"), (2, 1.7, 60, "recording")],
    ids=lambda value: str(value),
    indirect=["seed"],
)
def test_whole_request(seed: int, seconds: float, codes: int, asked: str, folder: Path) -> None:
    voice = recording(folder / f"voice-{seed}.wav", seed=seed + 20, seconds=seconds, rate_hz=32000)
    said: dict[str, Any] = {}
    emotion = Emotion()
    if asked == "weights":
        said = {"emo_vector": list(VECTOR), "emo_alpha": 0.6}
        emotion = Emotion(vector=VECTOR, alpha=0.6)
    elif asked == "recording":
        other = recording(folder / f"emotion-{seed}.wav", seed=seed + 70, seconds=1.1, rate_hz=16000)
        said = {"emo_audio_prompt": str(other), "emo_alpha": 0.7}
        emotion = Emotion(voice=other, alpha=0.7)
    theirs = official_request(seed, voice, TEXTS[seed], codes, **said)
    ours = our_request(seed, voice, theirs, codes, emotion)

    stop = networks(seed)["gpt"].config.stop_mel_token
    first = theirs.logits[0].reshape(-1, stop + 1)[-1:, :stop]
    assert ours.codes == theirs.codes
    assert len(set(ours.codes)) > codes // 4, "a constant sequence would prove little"
    errors = {"first logits": distance(ours.logits[0][:, :stop], first)}
    for name in ("prefix", "latents", "condition", "mel", "wave"):
        errors[name] = distance(getattr(ours, name), getattr(theirs, name))
    print({name: f"{error:.1e}" for name, error in errors.items()})
    assert theirs.wave is not None
    assert theirs.wave.abs().max() > 0.05, "silence would prove little"
    limits = {name: WAVE_TOLERANCE if name == "wave" else TOLERANCE for name in errors}
    assert all(errors[name] <= limits[name] for name in errors), errors
