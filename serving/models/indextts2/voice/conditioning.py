"""Reference audio and emotion to everything that a request is conditioned on.

    encoder = ReferenceEncoder(config, parts)
    voice = encoder.encode(encoder.read(path))    # once per recording: store.py keeps it
    emovec = encoder.emotion(voice, emotion)      # once per voice and emotion

All of it runs in float32: it is done once per recording, and its errors would stay in every sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from serving.models.indextts2.codes.codec import SemanticCodec
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.mel.regulator import LengthRegulator
from serving.models.indextts2.voice.campplus import StyleEncoder
from serving.models.indextts2.voice.conformer import Conditioner
from serving.models.indextts2.voice.emotion import Emotion, EmotionEncoder, TextEmotion, weights
from serving.models.indextts2.voice.features import (
    ENCODER_HZ,
    encoder_features,
    load_mono,
    log_mel,
    speaker_to_encoder,
    style_features,
)
from serving.models.indextts2.voice.recordings import built_in_wave
from serving.models.indextts2.voice.w2v import SpeechEncoder
from serving.protocol import InputError


@dataclass(frozen=True, slots=True)
class VoiceConditioning:
    """What one recording gives. float32 tensors on the model's device; depends on nothing but the audio."""

    latents: Tensor
    """[32, 1280], in 2.5 [1, 1280]: the speaker's vectors of the prefix, before the emotion is added to each."""
    base_emotion: Tensor
    """[1280]: emotion of the speaker path's wave, what `alpha` = 0 keeps."""
    own_emotion: Tensor
    """[1280]: emotion of the emotion path's wave of the same recording, used when a request names none."""
    style: Tensor
    """[192]."""
    prompt_condition: Tensor
    """[T, content]: the flow's condition over the reference."""
    reference_mel: Tensor
    """[n_mels, T]."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(getattr(self, name).nbytes for name in self.__slots__)


class Recording(NamedTuple):
    """A recording as the two paths of the official loader read it; float32 on the host, at most 15 s."""

    speaker: Tensor
    """[N] at the mel's rate."""
    emotion: Tensor
    """[N'] at ENCODER_HZ, resampled straight from the file."""


class VoiceParts(Protocol):
    """The networks, float32, in eval mode, on one device."""

    @property
    def speech(self) -> SpeechEncoder: ...

    @property
    def style(self) -> StyleEncoder: ...

    @property
    def regulator(self) -> LengthRegulator: ...

    @property
    def emotion(self) -> EmotionEncoder: ...

    def latents(self, hidden: Tensor, style: Tensor) -> Tensor:
        """The speaker's vectors [N, 1280] from hidden states [1, T, 1024] and style [192]."""
        ...

    def semantic(self, hidden: Tensor) -> Tensor:
        """What the regulator makes the flow's condition over the reference of, [1, T, 1024]."""
        ...


@dataclass(frozen=True, slots=True)
class ConditioningParts:
    """The VoiceParts of 2.0."""

    speech: SpeechEncoder
    codec: SemanticCodec
    style: StyleEncoder
    regulator: LengthRegulator
    speaker: Conditioner
    emotion: EmotionEncoder

    def latents(self, hidden: Tensor, style: Tensor) -> Tensor:
        """See VoiceParts."""
        latents: Tensor = self.speaker(hidden)[0]
        return latents

    def semantic(self, hidden: Tensor) -> Tensor:
        """See VoiceParts."""
        return self.codec.quantize(hidden)[1]


class ReferenceEncoder:
    """Runs the conditioning networks. Keeps no results: the voice store does."""

    def __init__(
        self, config: IndexTts2Config, parts: VoiceParts, text_emotion_folder: Path | None = None
    ) -> None:
        self.config = config
        self.parts = parts
        self.device = parts.speech.mean.device
        self._text_emotion_folder = text_emotion_folder or Path(config.files.qwen_emo_path)
        self._text_emotion: TextEmotion | None = None

    def read(self, path: Path | None) -> Recording:
        """A recording of any rate and channels, of which the first 15 s count; None: recordings.built_in_wave.

        Raises InputError of "voice" if it cannot be read, is shorter than half a second or silent.
        """
        rates_hz = (self.config.s2mel.mel.sample_rate_hz, ENCODER_HZ)
        if path is None:
            return Recording(*(torch.from_numpy(built_in_wave(rate_hz)) for rate_hz in rates_hz))
        return Recording(*(load_mono(path, rate_hz) for rate_hz in rates_hz))

    @torch.inference_mode()
    def encode(self, recording: Recording) -> VoiceConditioning:
        """Condition on a recording's two waves."""
        wave = recording.speaker
        encoder_wave = speaker_to_encoder(wave, self.config.s2mel.mel.sample_rate_hz)
        hidden = self.hidden(encoder_wave)
        semantic = self.parts.semantic(hidden)
        style = self.parts.style(style_features(encoder_wave)[None].to(self.device))[0]
        mel = log_mel(wave.to(self.device), self.config.s2mel.mel)
        frames = torch.tensor([mel.shape[1]], device=self.device)
        return VoiceConditioning(
            latents=self.parts.latents(hidden, style),
            base_emotion=self.parts.emotion(hidden)[0],
            own_emotion=self.parts.emotion(self.hidden(recording.emotion))[0],
            style=style,
            prompt_condition=self.parts.regulator(
                semantic,
                torch.tensor([semantic.shape[1]], device=self.device),
                frames,
                mel.shape[1],
            )[0],
            reference_mel=mel,
        )

    @torch.inference_mode()
    def emotion(self, voice: VoiceConditioning, emotion: Emotion, other: Tensor | None = None) -> Tensor:
        """The emotion vector [1280] that is added to the latents of `voice`.

        `other` is own_emotion [1280] of the voice that emotion.voice names. Raises InputError of emo_text or
        emo_vector.
        """
        if emotion.text is not None or emotion.vector is not None:
            vector = self._read(emotion.text) if emotion.text is not None else emotion.vector
            assert vector is not None
            own = _blend(voice.base_emotion, voice.own_emotion, 1.0)
            return self.parts.emotion.mix(voice.style, weights(vector, emotion.alpha), own)
        if emotion.voice is None:
            return _blend(voice.base_emotion, voice.own_emotion, 1.0)
        assert other is not None
        return _blend(voice.base_emotion, other, emotion.alpha)

    def hidden(self, wave: Tensor) -> Tensor:
        """Normalised hidden states [1, T, 1024] of a 16 kHz wave [N]."""
        features = encoder_features(wave)
        live = torch.ones(1, len(features.frames), dtype=torch.bool)
        live[0, -1] = not features.padded
        hidden: Tensor = self.parts.speech(features.frames[None].to(self.device), live.to(self.device))
        return hidden

    def _read(self, text: str) -> tuple[float, ...]:
        if not text.strip():
            raise InputError("emo_text", "is empty")
        if self._text_emotion is None:
            self._text_emotion = TextEmotion(self._text_emotion_folder, self.device)
        return self._text_emotion.read(text)


def _blend(base: Tensor, other: Tensor, alpha: float) -> Tensor:
    return base + alpha * (other - base)
