"""IndexTTS2 as the engine sees it: weights on one device, stages, and segments opened and closed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from msgspec.structs import replace

from serving.models.base import ModelSpec, Stage
from serving.models.indextts2.backend import load_networks
from serving.models.indextts2.codes.decoding import Decoding
from serving.models.indextts2.codes.gpt import spoken_ids
from serving.models.indextts2.codes.sampling import Sampling
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.mel.flow import Flow
from serving.models.indextts2.options import Fields, Options, check_options, sizes
from serving.models.indextts2.spec import check_default, model_spec
from serving.models.indextts2.stages.codes import Decode, Latents, Prefill
from serving.models.indextts2.stages.condition import Condition
from serving.models.indextts2.stages.mel import CodeReader, Integrate, MelParts, Prepare
from serving.models.indextts2.stages.state import SpeechState
from serving.models.indextts2.stages.streaming import StreamingOptions
from serving.models.indextts2.stages.wave import Vocode
from serving.models.indextts2.voice.conditioning import ConditioningParts, ReferenceEncoder, VoiceParts
from serving.models.indextts2.voice.emotion import Emotion
from serving.models.indextts2.voice.library import Voices, load_voices
from serving.models.indextts2.voice.store import EmotionKey, VoiceStore
from serving.models.indextts2.wave.vocoder import reach_frames
from serving.models.indextts2.weights.checkpoint import (
    RELEASE,
    RandomWeights,
    Release,
    Weights,
    open_checkpoint,
)
from serving.models.indextts2.weights.config_file import ConfigError
from serving.models.indextts2.weights.state_dict import CheckpointError
from serving.profile import Profile, ProfileError, StreamingProfile
from serving.protocol import InputError, Segment, SpeechParams

_WHOLE_S = 3600.0
"""A window that no segment fills."""


class IndexTts2Model:
    """The networks on one device and the state of every slot.

    Another release says what it has in place of spec_of, open_weights, voice_parts and code_reader.
    """

    has_latents = True
    """Codes come with latents, which official positions take from a second pass."""
    first_stages: tuple[str, ...] = ("condition", "prefill")
    spreads = True

    def __init__(self, profile: Profile, options: Options, device: torch.device, dtype: torch.dtype) -> None:
        check_options(options)
        engine = profile.engine
        weights = self.open_weights(options)
        config = weights.config
        self.config = config
        self.options = options
        voices = load_voices(options, profile.voices)
        check_default(options, voices)
        self.spec: ModelSpec = self.spec_of(options, config, voices)
        self.store = VoiceStore(voices, options.voice_cache_bytes)
        self.max_codes = min(options.max_codes, config.gpt.max_mel_tokens)
        self.max_text = min(options.max_segment_tokens, config.gpt.max_text_tokens)
        self.min_codes = min(options.min_codes, self.max_codes)
        self.streaming, self.whole = windows(options, profile.streaming, config)
        encoder = ReferenceEncoder(
            config,
            self.voice_parts(weights, device),
            Path(options.checkpoint) / config.files.qwen_emo_path,
        )
        slots = engine.max_slots
        networks = load_networks(weights, options, profile, device, dtype)
        self.second_pass = self.has_latents and options.positions == "official"
        self.decoding = Decoding(
            networks.gpt,
            slots,
            max_codes=self.max_codes,
            max_text=self.max_text,
            positions=options.positions,
            second_rows=self.second_pass,
            fused=networks.fused,
        )
        prompt_frames = self.whole.prompt_frames
        self.flow = Flow(
            networks.estimator,
            slots,
            prompt_frames + self.whole.history_frames + self.whole.frames(self.max_codes),
            iterations=options.flow_iterations,
            guidance=options.guidance,
        )
        self.vocoder = networks.vocoder
        self.kernels = networks.kernels
        self.mel_parts = self.code_reader(weights, device, encoder.parts)
        static = engine.compile or engine.cuda_graphs
        static_prompt = prompt_frames if static else 0
        fine = options.step_shapes == "fine"
        units, frames = engine.max_step_units, options.vocoder_frames
        rows = min(slots, options.flow_rows)
        self.condition = Condition(encoder, self.store)
        self.stages: Mapping[str, Stage] = {
            "condition": self.condition,
            "prefill": Prefill(
                self.decoding,
                reach_frames(config.vocoder),
                max_rows=slots,
                max_units=units,
                max_text=self.max_text,
            ),
            "decode": Decode(self.decoding, max_rows=slots, fine=fine),
            "latents": Latents(self.decoding, max_rows=slots, max_units=units),
            "prepare": Prepare(
                self.decoding,
                self.flow,
                self.mel_parts,
                max_rows=rows,
                max_units=units,
                static_prompt=static_prompt,
            ),
            "flow": Integrate(
                self.flow,
                max_rows=rows,
                max_units=units,
                vocoder_frames=frames,
                static_prompt=static_prompt,
                fine=fine,
            ),
            "vocode": Vocode(
                self.vocoder,
                self.flow,
                max_rows=rows,
                max_units=units,
                at_once=frames,
                static=static,
                second_pass=self.second_pass,
                fine=fine,
            ),
        }
        if not self.second_pass:
            self.stages = {name: stage for name, stage in self.stages.items() if name != "latents"}
        # Decoding waits for memory, what follows it for arithmetic; conditioning works on the host for the most part.
        codes = tuple(name for name in ("prefill", "decode", "latents") if name in self.stages)
        self.lanes = (("condition",), codes)
        self._preload()

    def spec_of(self, options: Options, config: IndexTts2Config, voices: Voices) -> ModelSpec:
        """What callers may know."""
        return model_spec(options, config, voices)

    def open_weights(self, options: Options) -> Weights:
        """Random weights or the checkpoint's. Raises ProfileError if the checkpoint is not as it should be."""
        return open_weights(options)

    def voice_parts(self, weights: Weights, device: torch.device) -> VoiceParts:
        """The networks that condition on a recording."""
        names = ConditioningParts.__dataclass_fields__
        return ConditioningParts(**{name: weights.load(name, device) for name in names})

    def code_reader(self, weights: Weights, device: torch.device, parts: VoiceParts) -> CodeReader:
        """What reads the codes; it may share networks with voice_parts."""
        assert isinstance(parts, ConditioningParts)
        return MelParts(parts.codec, weights.load("projection", device), parts.regulator)

    def windows_of(self, fields: Fields, *, urgent: bool) -> StreamingOptions:
        """The windows of a segment."""
        return self.streaming if urgent else self.whole

    def _preload(self) -> None:
        names = {"none": [], "default": [self.spec.default_voice], "all": [v.name for v in self.spec.voices]}
        for name in names[self.options.preload]:
            try:
                self.condition.preload(self.store.content_key(name))
            except InputError as error:
                raise ProfileError(f"model.options.preload: {error}") from None

    def pinned(self, params: SpeechParams) -> SpeechParams:
        """The voices that the names mean now, by their content: one that is replaced speaks to the end of this."""
        try:
            voice, fields = self.store.pin(params.voice), params.fields
            if fields.emo_voice is not None:
                fields = replace(fields, emo_voice=self.store.pin(fields.emo_voice))
        except InputError:
            return params  # open() says it, and names the field
        return replace(params, voice=voice, fields=fields)

    def open(self, params: SpeechParams, segment: Segment, slot: int, *, urgent: bool) -> SpeechState:
        """Begin a segment. Raises InputError naming the field that cannot be spoken."""
        text = spoken_ids(segment.tokens, self.config.gpt)
        if not 1 <= len(text) <= self.max_text:
            raise InputError("text", f"a segment has 1 to {self.max_text} tokens, got {len(text)}")
        voice_key = self.store.content_key(params.voice)
        state = SpeechState(
            slot=slot,
            stage="condition",
            length=1,
            text=text,
            sampling=self._sampling(params.fields, params.seed, segment.index),
            voice_key=voice_key,
            emotion_key=self._emotion(params.fields, voice_key),
            windows=self.windows_of(params.fields, urgent=urgent),
            second_pass=self.second_pass,
        )
        if self.condition.find(state):
            state.stage, state.length = "prefill", len(text)
        return state

    def close(self, state: SpeechState) -> None:
        """Free the segment's tensors. A slot's rows are overwritten by its next owner's prefill."""
        state.stage = state.stream = state.voice = state.mel = state.wave = None

    def _sampling(self, fields: Fields, seed: int, index: int) -> Sampling:
        greedy = fields.temperature == 0
        return Sampling(
            temperature=1.0 if greedy else fields.temperature,
            top_k=1 if greedy else min(fields.top_k, self.config.gpt.number_mel_codes),
            top_p=fields.top_p,
            repetition_penalty=self.options.repetition_penalty,
            seed=segment_seed(seed, index),
            max_codes=self.max_codes,
            min_codes=self.min_codes,
        )

    def _emotion(self, fields: Fields, voice_key: str) -> EmotionKey:
        """The emotion that counts: text before vector before voice. What does not count leaves no trace."""
        if fields.emo_text is not None:
            return EmotionKey(voice_key, Emotion(text=fields.emo_text, alpha=fields.emo_alpha), None)
        if fields.emo_vector is not None:
            return EmotionKey(voice_key, Emotion(vector=fields.emo_vector, alpha=fields.emo_alpha), None)
        if fields.emo_voice is None:
            return EmotionKey(voice_key, Emotion(), None)
        # The path only says that there is another voice: its emotion is handed over with it.
        emotion = Emotion(voice=Path(fields.emo_voice), alpha=fields.emo_alpha)
        try:
            return EmotionKey(voice_key, emotion, self.store.content_key(fields.emo_voice))
        except InputError as error:
            raise InputError("emo_voice", str(error)) from None


def segment_seed(seed: int, index: int) -> int:
    """A seed of its own for each segment of a request, below 2^63; the first segment's is the request's."""
    if not index:
        return seed
    digest = hashlib.blake2b(f"{seed} {index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def windows(
    options: Options, streaming: StreamingProfile, config: IndexTts2Config
) -> tuple[StreamingOptions, StreamingOptions]:
    """Windows of a segment with a listener, and the one window of a segment without."""

    def make(first_s: float, growth: float, max_s: float) -> StreamingOptions:
        return StreamingOptions(
            mel=config.s2mel.mel,
            frames_per_code=config.codec.frames_per_code,
            first_s=first_s,
            growth=growth,
            max_s=max_s,
            lookahead_s=options.lookahead_s,
            history_s=options.history_s,
            prompt_s=options.prompt_s,
            follow=streaming.follow,
        )

    stream = make(streaming.first_chunk_s, streaming.growth, streaming.max_chunk_s)
    return stream, make(_WHOLE_S, 1.0, _WHOLE_S)


def open_weights(options: Options, release: Release = RELEASE) -> Weights:
    """Random weights or the checkpoint's. Raises ProfileError if the checkpoint is not as it should be."""
    config: IndexTts2Config | None = sizes(options)
    if config is not None:
        return RandomWeights(config, options.weights_seed, release)
    try:
        store = Path(options.store) if options.store else None
        return open_checkpoint(Path(options.checkpoint), options.auxiliaries, store, release)
    except (CheckpointError, ConfigError) as error:
        raise ProfileError(f"model.options.checkpoint: {error}") from None
