"""The voice and the emotion of a segment, computed once per recording and kept in the voice store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

from torch import Tensor

from serving.models.base import Bucket
from serving.models.indextts2.stages.state import Samples, SpeechState
from serving.models.indextts2.voice.conditioning import (
    Recording,
    ReferenceEncoder,
    VoiceConditioning,
)
from serving.models.indextts2.voice.emotion import Emotion
from serving.models.indextts2.voice.store import EmotionKey, VoiceStore

_PARTS = len(fields(VoiceConditioning))


class Condition:
    """Recordings that are used for the first time to their conditioning. Runs seldom: it has no shapes of its own."""

    name = "condition"
    next_stages: tuple[str, ...] = ("prefill",)
    to_host: tuple[int, ...] = ()
    lookahead = False
    buckets: tuple[Bucket, ...] = ()

    def __init__(self, encoder: ReferenceEncoder, store: VoiceStore) -> None:
        self.max_rows = self.max_units = 1  # what cannot be read fails its own request alone
        self._encoder = encoder
        self._store = store

    def find(self, state: SpeechState) -> bool:
        """Give a state what is kept of its voice and emotion; whether that is all it needs."""
        state.voice = state.voice or self._store.voice(state.voice_key)
        if state.emovec is None:
            state.emovec = self._store.emotion(state.emotion_key)
        if state.other_emotion is None and state.emotion_key.recording is not None:
            other = self._store.voice(state.emotion_key.recording)
            state.other_emotion = None if other is None else other.own_emotion
        return state.voice is not None and state.emovec is not None

    def collate(self, states: Sequence[SpeechState], bucket: Bucket) -> tuple[Tensor, ...]:
        """Two waves of each recording that is missing. Raises InputError if one cannot be read."""
        for state in states:
            self.find(state)
        keys = list(dict.fromkeys(key for state in states for key in _missing(state)))
        waves = [wave for key in keys for wave in self._read(key)]
        for state in states:
            state.recordings = tuple(keys)
        return tuple(waves)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The fields of a VoiceConditioning for each pair of waves."""
        outputs: list[Tensor] = []
        for index in range(0, len(inputs), 2):
            # Resampling and filter banks are host code.
            voice = self._encoder.encode(Recording(inputs[index].cpu(), inputs[index + 1].cpu()))
            outputs += [getattr(voice, field.name) for field in fields(voice)]
        return tuple(outputs)

    def scatter(self, states: Sequence[SpeechState], outputs: tuple[Tensor, ...]) -> list[Samples | None]:
        made = {
            key: VoiceConditioning(*outputs[index * _PARTS : (index + 1) * _PARTS])
            for index, key in enumerate(states[0].recordings)
        }
        for key, voice in made.items():
            self._store.put_voice(key, voice)
        for state in states:
            emotion = state.emotion_key
            state.voice = state.voice or made[state.voice_key]
            if state.emovec is None:
                if state.other_emotion is None and emotion.recording is not None:
                    state.other_emotion = made[emotion.recording].own_emotion
                state.emovec = self._encoder.emotion(state.voice, emotion.emotion, state.other_emotion)
                self._store.put_emotion(emotion, state.emovec)
            state.stage, state.length = "prefill", len(state.text)
        return [None] * len(states)

    def preload(self, content_key: str) -> None:
        """A voice and its own emotion, ahead of their first use. Raises InputError if it cannot be read."""
        voice, own = self._encoder.encode(self._read(content_key)), EmotionKey(content_key, Emotion(), None)
        self._store.put_voice(content_key, voice)
        self._store.put_emotion(own, self._encoder.emotion(voice, own.emotion))

    def _read(self, content_key: str) -> Recording:
        return self._encoder.read(self._store.reference(content_key).path)


def _missing(state: SpeechState) -> Iterator[str]:
    """Content keys of the recordings that a state lacks."""
    if state.voice is None:
        yield state.voice_key
    recording = state.emotion_key.recording
    if recording is not None and state.emovec is None and state.other_emotion is None:
        yield recording
