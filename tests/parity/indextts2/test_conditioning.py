"""Conditioning against the official package, stage by stage, in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from serving.models.indextts2.config import MelConfig
from serving.models.indextts2.mel.regulator import LengthRegulator, nearest_index, target_frames
from serving.models.indextts2.voice.conditioning import VoiceConditioning
from serving.models.indextts2.voice.emotion import Emotion, weights
from serving.models.indextts2.voice.features import (
    ENCODER_HZ,
    encoder_features,
    load_mono,
    speaker_to_encoder,
)
from tests.parity.indextts2 import official
from tests.parity.indextts2.ours import conditioning, distance, networks, recording, reference_encoder

TOLERANCE = 1e-4
SPEAKER_HZ = MelConfig().sample_rate_hz
VECTOR = (0.1, 0.0, 0.3, 0.05, 0.0, 0.2, 0.0, 0.1)
CONDITION_LENGTH = torch.tensor([1024])
"""What the package passes as the length: the channel count. It masks nothing."""


class Official(NamedTuple):
    """What the package makes of one recording."""

    hidden: Tensor
    style: Tensor
    prompt_condition: Tensor
    reference_mel: Tensor
    emotion_hidden: Tensor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(params=["short", "long"])
def voice_path(request: pytest.FixtureRequest, folder: Path, seed: int) -> Path:
    """A stereo 44.1 kHz recording of 1.2 s, and a mono 24 kHz one of 2.6 s."""
    short = request.param == "short"
    path = folder / f"{request.param}-{seed}.wav"
    if path.exists():
        return path
    seconds, rate_hz, channels = (1.2, 44100, 2) if short else (2.6, 24000, 1)
    return recording(path, seed=seed, seconds=seconds, rate_hz=rate_hz, channels=channels)


@pytest.fixture
def emotion_path(folder: Path, seed: int) -> Path:
    path = folder / f"emotion-{seed}.wav"
    return path if path.exists() else recording(path, seed=seed + 50, seconds=1.7, rate_hz=32000)


_KEPT: dict[tuple[int, Path], tuple[Official, VoiceConditioning]] = {}


@pytest.fixture
def both(seed: int, voice_path: Path) -> tuple[Official, VoiceConditioning]:
    """The package's and our conditioning of the same recording."""
    if (seed, voice_path) not in _KEPT:
        pipeline = official.pipeline(seed)
        with torch.no_grad():
            hidden, style, prompt, mel = pipeline._get_speaker_conditioning(str(voice_path))
            emotion_hidden = pipeline._get_emotion_conditioning(str(voice_path))
        theirs = Official(hidden, style, prompt, mel, emotion_hidden)
        _KEPT[seed, voice_path] = theirs, conditioning(seed, voice_path)
    return _KEPT[seed, voice_path]


def _emotion_vector(seed: int, hidden: Tensor) -> Tensor:
    with torch.no_grad():
        vector: Tensor = official.pipeline(seed).gpt.get_emovec(hidden, CONDITION_LENGTH)
    return vector


def test_hidden_states(seed: int, voice_path: Path, both: tuple[Official, VoiceConditioning]) -> None:
    ours = reference_encoder(seed)
    speaker = ours.hidden(speaker_to_encoder(load_mono(voice_path, SPEAKER_HZ), SPEAKER_HZ))
    emotion = ours.hidden(load_mono(voice_path, ENCODER_HZ))
    assert distance(speaker, both[0].hidden) <= TOLERANCE
    assert distance(emotion, both[0].emotion_hidden) <= TOLERANCE
    # The two resamplers give features that differ far more than that, so neither may stand for both.
    assert distance(emotion, both[0].hidden) > 100 * TOLERANCE


@pytest.mark.parametrize("seconds", [1.205, 1.215])
def test_hidden_states_are_those_of_layer_17(folder: Path, seconds: float) -> None:
    """Neither the layer before nor the one after, with and without a padded odd frame."""
    path = recording(folder / f"layer-{seconds}.wav", seed=4, seconds=seconds, rate_hz=ENCODER_HZ)
    wave = load_mono(path, ENCODER_HZ)
    pipeline = official.pipeline(0)
    features = pipeline.extract_features(wave[None], sampling_rate=ENCODER_HZ, return_tensors="pt")
    with torch.no_grad():
        states = pipeline.semantic_model(**features, output_hidden_states=True).hidden_states
    theirs = [(states[layer] - pipeline.semantic_mean) / pipeline.semantic_std for layer in (16, 17, 18)]
    ours = reference_encoder(0).hidden(wave)
    assert distance(ours, theirs[1]) <= TOLERANCE
    assert min(distance(ours, theirs[0]), distance(ours, theirs[2])) > 100 * TOLERANCE
    if encoder_features(wave).padded:
        frames = encoder_features(wave).frames[None]
        attended = networks(0)["speech"](frames, torch.ones(frames.shape[:2], dtype=torch.bool))
        assert distance(attended, theirs[1]) > 10 * TOLERANCE


def test_codes_and_their_embeddings(seed: int, both: tuple[Official, VoiceConditioning]) -> None:
    with torch.no_grad():
        codes, embeddings = official.pipeline(seed).semantic_codec.quantize(both[0].hidden)
    our_codes, our_embeddings = networks(seed)["codec"].quantize(both[0].hidden)
    assert torch.equal(our_codes, codes)
    assert len(codes.unique()) > 5
    assert distance(our_embeddings, embeddings) <= TOLERANCE


def test_embeddings_of_given_codes(seed: int) -> None:
    codes = torch.arange(300)[None]
    theirs = official.pipeline(seed).semantic_codec.quantizer.vq2emb(codes.unsqueeze(1)).mT
    assert distance(networks(seed)["codec"].embed_codes(codes), theirs) <= TOLERANCE


def test_reference_mel_style_and_prompt_condition(both: tuple[Official, VoiceConditioning]) -> None:
    theirs, ours = both
    assert distance(ours.reference_mel[None], theirs.reference_mel) <= TOLERANCE
    assert distance(ours.style[None], theirs.style) <= TOLERANCE
    assert distance(ours.prompt_condition[None], theirs.prompt_condition) <= TOLERANCE


def test_speaker_latents(seed: int, both: tuple[Official, VoiceConditioning]) -> None:
    with torch.no_grad():
        theirs = official.pipeline(seed).gpt.get_conditioning(both[0].hidden.mT, CONDITION_LENGTH)
    assert distance(both[1].latents[None], theirs) <= TOLERANCE


@pytest.mark.parametrize("alpha", [1.0, 0.6])
def test_emotion_of_the_voice_itself(
    seed: int, both: tuple[Official, VoiceConditioning], alpha: float
) -> None:
    """Without an emotion, alpha counts as 1 and the emotion path's features are used."""
    theirs = official.pipeline(seed).gpt.merge_emovec(
        both[0].hidden, both[0].emotion_hidden, CONDITION_LENGTH, CONDITION_LENGTH, alpha=1.0
    )
    ours = reference_encoder(seed).emotion(both[1], Emotion(alpha=alpha))
    assert distance(ours[None], theirs) <= TOLERANCE
    assert distance(both[1].base_emotion[None], theirs) > 10 * TOLERANCE


@pytest.mark.parametrize("alpha", [1.0, 0.35])
def test_emotion_of_another_recording(
    seed: int, both: tuple[Official, VoiceConditioning], emotion_path: Path, alpha: float
) -> None:
    pipeline = official.pipeline(seed)
    with torch.no_grad():
        emotion_hidden = pipeline._get_emotion_conditioning(str(emotion_path))
        theirs = pipeline.gpt.merge_emovec(
            both[0].hidden, emotion_hidden, CONDITION_LENGTH, CONDITION_LENGTH, alpha=alpha
        )
    other = conditioning(seed, emotion_path).own_emotion
    ours = reference_encoder(seed).emotion(both[1], Emotion(voice=emotion_path, alpha=alpha), other)
    assert distance(ours[None], theirs) <= TOLERANCE


class _Stop(Exception):
    """Ends the package's inference once its emotion vector is known."""


@pytest.fixture
def official_emotion(seed: int, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tensor]:
    """Call with the keyword arguments of infer: the emotion vector that it would hand to the GPT."""
    pipeline = official.pipeline(seed)
    vectors: list[Tensor] = []

    def capture(*_: object, emo_vec: Tensor, **__: object) -> None:
        vectors.append(emo_vec)
        raise _Stop

    monkeypatch.setattr(pipeline.gpt, "inference_speech", capture)

    def run(path: Path, **kwargs: object) -> Tensor:
        with pytest.raises(_Stop):
            pipeline.infer(str(path), "SPEECH IS MADE OF SOUNDS.", None, **kwargs)
        return vectors.pop()

    return run


ASKED: dict[str, dict[str, Any]] = {
    "alone": {},
    "alone-alpha": {"emo_alpha": 0.2},
    "vector": {"emo_vector": list(VECTOR)},
    "vector-alpha": {"emo_vector": list(VECTOR), "emo_alpha": 0.777},
    "vector-above-one": {"emo_vector": list(VECTOR), "emo_alpha": 1.7},
    "vector-below-zero": {"emo_vector": list(VECTOR), "emo_alpha": -0.5},
    "vector-and-recording": {"emo_vector": list(VECTOR), "emo_audio_prompt": "it", "emo_alpha": 0.5},
    "recording-alpha": {"emo_audio_prompt": "it", "emo_alpha": 0.4},
}
"""What a request may say of emotion, as keywords of the package's infer; the recording stands for its path."""


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("voice_path", ["short"], indirect=True)
def test_emotion_through_infer(
    seed: int,
    both: tuple[Official, VoiceConditioning],
    voice_path: Path,
    emotion_path: Path,
    official_emotion: Callable[..., Tensor],
    asked: str,
) -> None:
    """Weights scaled by alpha clamped to [0, 1] and cut to four decimals; the vector wins over a recording."""
    said = dict(ASKED[asked])
    recorded = emotion_path if "emo_audio_prompt" in said else None
    if recorded is not None:
        said["emo_audio_prompt"] = str(recorded)
    theirs = official_emotion(voice_path, **said)
    emotion = Emotion(
        vector=VECTOR if "emo_vector" in said else None, voice=recorded, alpha=said.get("emo_alpha", 1.0)
    )
    ours = reference_encoder(seed)
    other = None if recorded is None else conditioning(seed, recorded).own_emotion
    assert distance(ours.emotion(both[1], emotion, other)[None], theirs) <= TOLERANCE
    if asked == "vector-and-recording":
        # The rest of the weights goes to the voice's own emotion, not to the recording's.
        assert other is not None
        broken = ours.parts.emotion.mix(both[1].style, weights(VECTOR, 0.5), other)
        assert distance(broken[None], theirs) > 10 * TOLERANCE


def test_weights_are_cut_not_rounded() -> None:
    assert weights((0.99999, *[0.0] * 7), 0.5)[0] == 0.4999
    assert weights((0.99999, *[0.0] * 7), 1.0)[0] == 0.99999


def test_conditioning_draws_no_random_numbers(seed: int, folder: Path) -> None:
    path = recording(folder / f"random-{seed}.wav", seed=9, seconds=0.8, rate_hz=16000)
    state = torch.random.get_rng_state()
    conditioning(seed, path)
    assert torch.equal(torch.random.get_rng_state(), state)


# ---- the length regulator ----


@pytest.mark.parametrize(
    ("frames_in", "frames_out"), [(20, 34), (7, 12), (99, 170), (50, 86), (40, 40), (60, 25)]
)
def test_length_regulator(seed: int, frames_in: int, frames_out: int) -> None:
    regulator = networks(seed)["regulator"]
    semantic = torch.randn(1, frames_in, 1024, generator=torch.Generator().manual_seed(seed))
    theirs = official.pipeline(seed).s2mel.models["length_regulator"](
        semantic, ylens=torch.tensor([frames_out]), n_quantizers=3, f0=None
    )[0]
    ours = regulator(semantic, torch.tensor([frames_in]), torch.tensor([frames_out]), frames_out)
    assert distance(ours, theirs) <= TOLERANCE
    # Padding of the batch changes nothing.
    padded = regulator(semantic, torch.tensor([frames_in]), torch.tensor([frames_out]), frames_out + 9)
    assert distance(padded[:, :frames_out], theirs) <= TOLERANCE
    assert not padded[:, frames_out:].any()


def test_nearest_index_is_torchs() -> None:
    """For every count of codes that a segment may have: the ratio's rounding decides some of them."""
    for codes in range(1, 600, 7):
        frames = target_frames(codes)
        place = torch.arange(codes, dtype=torch.float32)[None, None]
        if frames == 0:
            continue
        theirs = torch.nn.functional.interpolate(place, size=frames, mode="nearest")[0, 0].long()
        ours = nearest_index(torch.tensor([codes]), torch.tensor([frames]), frames)[0]
        assert torch.equal(ours, theirs), codes


def test_target_frames_are_the_packages() -> None:
    codes = torch.arange(1, 1816)
    assert (codes * 1.72).long().tolist() == [target_frames(n) for n in codes.tolist()]


@pytest.mark.parametrize("rows", [2, 5, 8])
def test_length_regulator_batched_equals_alone(seed: int, rows: int) -> None:
    regulator = networks(seed)["regulator"]
    assert isinstance(regulator, LengthRegulator)
    generator = torch.Generator().manual_seed(rows)
    frames_in = torch.randint(5, 60, (rows,), generator=generator)
    frames_out = 172 * frames_in // 100
    semantic = torch.randn(rows, int(frames_in.max()), 1024, generator=generator)
    together = regulator(semantic, frames_in, frames_out, int(frames_out.max()))
    for row in range(rows):
        count_in, count_out = frames_in[row : row + 1], frames_out[row : row + 1]
        alone = regulator(semantic[row : row + 1, : int(count_in)], count_in, count_out, int(count_out))
        assert distance(together[row : row + 1, : int(count_out)], alone) <= 1e-5


def test_latent_projection(seed: int) -> None:
    latents = torch.randn(1, 11, 1280, generator=torch.Generator().manual_seed(seed))
    theirs = official.pipeline(seed).s2mel.models["gpt_layer"](latents)
    assert distance(networks(seed)["projection"](latents), theirs) <= TOLERANCE
