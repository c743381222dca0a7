"""A whole request of 2.5 against the package's own infer: audio file and text to the waveform, stage by stage.

The package runs unchanged, with hooks; ours runs from the same files, by our loader. What leaves one of our stages
goes into the next, so the errors below have come all the way.
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
from serving.models.indextts2.codes.gpt import spoken_ids
from serving.models.indextts2.codes.sampling import Sampling
from serving.models.indextts2.mel.flow import Flow
from serving.models.indextts2.mel.regulator import target_frames
from serving.models.indextts2.voice.emotion import Emotion
from serving.models.indextts25.text import cut, write
from serving.models.indextts25.tokenizer import load_tokenizer
from tests.parity.indextts2.ours import distance, recording
from tests.parity.indextts25 import peer
from tests.parity.indextts25.ours import conditioning, networks, reference_encoder
from tests.unit.indextts2.support import begin, configure, target_mel

TOLERANCE = 1e-4
WAVE_TOLERANCE = 1e-3
VECTOR = (0.1, 0.0, 0.3, 0.05, 0.0, 0.2, 0.0, 0.1)


@dataclass
class Stages:
    """What one request gives, stage by stage. Shapes without the batch axis."""

    style: Tensor | None = None
    prompt: Tensor | None = None
    prefix: Tensor | None = None
    logits: Tensor | None = None
    codes: list[int] = field(default_factory=list)
    text: list[int] = field(default_factory=list)
    semantic: Tensor | None = None
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


def peer_request(seed: int, voice: Path, text: str, language: str, codes: int, **said: Any) -> Stages:
    """Run the package's infer, greedily, for `codes` codes, and keep what every stage gives."""
    pipeline = peer.pipeline(seed)
    theirs = Stages()
    flow, codec = pipeline.s2mel.models["cfm"], pipeline.semantic_codec
    speak, prepare = pipeline.gpt.inference_speech, pipeline.gpt.prepare_gpt_inputs
    solve, decode, speaker = flow.solve_euler, codec.decode, pipeline._speaker_conditioning
    logits: list[Tensor] = []

    def watched_speaker(*inputs: Any) -> Any:
        made = speaker(*inputs)
        theirs.style, theirs.prompt = made[1][0], made[2][0]
        return made

    def watched_speak(text_ids: Tensor, *rest: Any, **options: Any) -> Any:
        theirs.text = text_ids[0].tolist()
        drawn = speak(text_ids, *rest, **options)
        theirs.codes = drawn[0].tolist()
        return drawn

    def watched_prepare(*inputs: Any) -> Any:
        prepared = prepare(*inputs)
        theirs.prefix = prepared[1][0]
        return prepared

    def watched_decode(drawn: Tensor) -> Tensor:
        made: Tensor = decode(drawn)
        theirs.semantic = made[0]
        return made

    def watched_solve(noise: Tensor, lengths: Tensor, prompt: Tensor, mu: Tensor, *rest: Any) -> Any:
        theirs.noise, theirs.condition = noise[0].t().clone(), mu[0]
        mel = solve(noise, lengths, prompt, mu, *rest)
        theirs.mel = mel[0, :, prompt.shape[2] :].t()
        return mel

    hooks = [
        pipeline.gpt.mel_head.register_forward_hook(lambda _m, _i, out: logits.append(out[0])),
        pipeline.bigvgan.register_forward_hook(lambda _m, _i, out: setattr(theirs, "wave", out.flatten())),
    ]
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pipeline, "_speaker_conditioning", watched_speaker)
            patch.setattr(pipeline.gpt, "inference_speech", watched_speak)
            patch.setattr(pipeline.gpt, "prepare_gpt_inputs", watched_prepare)
            patch.setattr(codec, "decode", watched_decode)
            patch.setattr(flow, "solve_euler", watched_solve)
            # One greedy candidate; the package warns that the codes reached their limit, which they must.
            with pytest.warns(RuntimeWarning, match="max_mel_tokens"):
                pipeline.infer(
                    str(voice), text, None, language, num_beams=1, do_sample=False, temperature=None, top_k=None,
                    top_p=None, max_mel_tokens=codes, text_normalization=False, **said,
                )  # fmt: skip
    finally:
        for hook in hooks:
            hook.remove()
    theirs.logits = logits[0].reshape(-1, logits[0].shape[-1])[-1]
    return theirs


def our_request(
    seed: int, voice: Path, theirs: Stages, codes: int, emotion: Emotion, stretch: float
) -> Stages:
    """The same request by ours, with their noise."""
    parts = networks(seed)
    encoder = reference_encoder(seed)
    heard = conditioning(seed, voice)
    other = None if emotion.voice is None else conditioning(seed, emotion.voice).own_emotion
    emovec = encoder.emotion(heard, emotion, other)
    gpt, slots = parts["gpt"], torch.tensor([0])
    ours = Stages(style=heard.style, prompt=heard.prompt_condition, text=spoken_ids(theirs.text, gpt.config))

    decoding = Decoding(gpt, 1, max_codes=codes, max_text=len(ours.text), positions="aligned")
    configure(decoding, 0, Sampling(top_k=1, top_p=1.0, temperature=1.0, max_codes=codes))
    text, text_length = torch.tensor([ours.text]), torch.tensor([len(ours.text)])
    ours.prefix = gpt.prefix(heard.latents[None], emovec[None], text, text_length)[0][0, :-1]
    decoding.prefill(slots, heard.latents[None], emovec[None], text, text_length)
    ours.logits = gpt.logits(decoding.states[0, 0])
    for _ in range(codes - 1):
        decoding.decode(slots, decoding.cache.max_cells)
    ours.codes = decoding.codes[0, :codes].tolist()

    count = torch.tensor([codes])
    ours.semantic = parts["decoder"](decoding.codes[:1, :codes], count)[0]
    frames = target_frames(codes, 2, stretch)
    stretched = parts["regulator"](ours.semantic[None], 2 * count, torch.tensor([frames]), frames)[0]
    ours.condition = torch.cat([heard.prompt_condition, stretched])
    total = len(ours.condition)
    flow = Flow(parts["flow"], 1, total)
    assert theirs.noise is not None
    begin(flow, 0, heard.reference_mel.t(), ours.condition, heard.style, theirs.noise)
    for _ in range(flow.iterations):
        flow.iterate(slots, total, total, ragged=False)
    ours.mel = target_mel(flow, 0)
    ours.wave = parts["vocoder"](ours.mel.t()[None])[0]
    return ours


@pytest.mark.parametrize(
    ("seed", "language", "text", "codes", "asked"),
    [
        (0, "en", "Hello there! It's a test.", 200, "nothing"),
        (1, "zh", "你好，今天天气很好。", 75, "weights"),
        (2, "es", "¿Qué tal estás, amiga?", 60, "recording"),
        (0, "ja", "今日はいい天気です。", 60, "slower"),
        (1, "ar", "مرحبا بكم جميعا.", 60, "faster"),
    ],
    ids=lambda value: str(value)[:8],
    indirect=["seed"],
)
def test_whole_request(seed: int, language: str, text: str, codes: int, asked: str, folder: Path) -> None:
    voice = recording(folder / f"voice-{seed}.wav", seed=seed + 20, seconds=1.3 + 0.4 * seed, rate_hz=32000)
    said: dict[str, Any] = {}
    emotion, stretch = Emotion(), 1.0
    if asked == "weights":
        said = {"emo_vector": list(VECTOR), "emo_alpha": 0.6}
        emotion = Emotion(vector=VECTOR, alpha=0.6)
    elif asked == "recording":
        other = recording(folder / f"emotion-{seed}.wav", seed=seed + 70, seconds=1.1, rate_hz=16000)
        said = {"emo_audio_prompt": str(other), "emo_alpha": 0.7}
        emotion = Emotion(voice=other, alpha=0.7)
    elif asked in ("slower", "faster"):
        stretch = 1.6 if asked == "slower" else 0.8
        said = {"duration_factor": stretch}
    theirs = peer_request(seed, voice, text, language, codes, **said)
    ours = our_request(seed, voice, theirs, codes, emotion, stretch)

    gpt = networks(seed)["gpt"].config
    tokenizer = load_tokenizer(peer.checkpoint(seed) / "multilingual_zh_ja_yue_char_del.tiktoken", gpt)
    (written,) = cut(write(text, language, False), 118, tokenizer.count)
    assert tokenizer.encode(written, language) == theirs.text
    assert ours.codes == theirs.codes
    assert len(set(ours.codes)) > codes // 4, "a constant sequence would prove little"
    assert ours.logits is not None
    assert theirs.logits is not None
    stop = gpt.stop_mel_token
    errors = {"logits": distance(ours.logits[:stop], theirs.logits[:stop])}
    for name in ("style", "prompt", "prefix", "semantic", "condition", "mel", "wave"):
        errors[name] = distance(getattr(ours, name), getattr(theirs, name))
    print(language, {name: f"{error:.1e}" for name, error in errors.items()})
    assert theirs.wave is not None
    assert theirs.wave.abs().max() > 0.05, "silence would prove little"
    limits = {name: WAVE_TOLERANCE if name == "wave" else TOLERANCE for name in errors}
    assert all(errors[name] <= limits[name] for name in errors), errors
