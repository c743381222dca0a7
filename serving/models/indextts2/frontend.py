"""English and Chinese text to segments of SentencePiece ids. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from serving.models.base import ModelSpec
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.options import Fields, Options, check_options, sizes
from serving.models.indextts2.spec import check_default, model_spec
from serving.models.indextts2.text.segments import cut
from serving.models.indextts2.text.stretches import Stretch, Write, for_pieces, stretches
from serving.models.indextts2.text.tokenizer import character_tokenizer, load_tokenizer
from serving.models.indextts2.voice.library import Voices, load_voices
from serving.models.indextts2.weights.config_file import ConfigError, read_config
from serving.profile import ProfileError, VoicesProfile
from serving.protocol import Segment, SpeechParams
from serving.text import Sentence

_NO_EMOTIONS = "this server's checkpoint has no model for emotion by text; use emo_vector"


class IndexTts2Frontend:
    """Normalises, tokenises and cuts. Safe to call from several threads.

    Another release has another `write`, `_pieces` and `_described`.
    """

    write: Write = staticmethod(for_pieces)

    def __init__(self, voices: Voices, config: IndexTts2Config, tokenizer: Any, options: Options) -> None:
        self._voices = voices
        self._config = config
        self._max_tokens = config.gpt.max_text_tokens
        self._emotion_text = Path(options.checkpoint) / config.files.qwen_emo_path / "config.json"
        self._tokenizer = tokenizer
        self._options = options
        self._listed = voices.records(), self._spec_now()

    @property
    def spec(self) -> ModelSpec:
        """What callers may know now; the same object as long as no voice was added or deleted."""
        records, spec = self._listed
        if self._voices.records() is not records:
            records = self._voices.records()
            spec = self._spec_now()
            self._listed = records, spec
        return spec

    def segments(self, sentences: Iterable[Sentence], params: SpeechParams) -> Iterator[Segment]:
        """Yield the segments in order; with timestamps none runs from one sentence into the next.

        Raises InputError naming the field before the first.
        """
        limit = min(params.fields.max_text_tokens_per_segment, self._max_tokens)
        spoken = stretches(
            sentences, normalize=params.normalize, by_sentence=params.timestamps != "none", write=self.write
        )
        return self._cut(spoken, self._room(min(limit, self._options.max_segment_tokens), params.fields))

    def _room(self, limit: int, fields: Fields) -> int:
        """Most tokens of a segment."""
        return limit

    def _spec_now(self) -> ModelSpec:
        return msgspec.structs.replace(
            self._described(),
            unavailable={} if self._reads_emotions() else {"emo_text": _NO_EMOTIONS},
            at_most={"max_text_tokens_per_segment": self._max_tokens},
        )

    def _reads_emotions(self) -> bool:
        """Whether the checkpoint has the model for emotion by text."""
        return bool(self._options.checkpoint) and self._emotion_text.is_file()

    def _cut(self, spoken: Iterable[Stretch], limit: int) -> Iterator[Segment]:
        """Yield the segments of each stretch. No segment runs from one stretch into the next."""
        index, seen = 0, 0
        for stretch in spoken:
            lead_s = stretch.lead_s
            for tokens, text in self._pieces(
                stretch, limit, max(0, self._options.quick_streaming_tokens - seen)
            ):
                yield Segment(
                    index=index,
                    tokens=tokens,
                    text=text,
                    lead_s=self._options.silence_s if lead_s is None else lead_s,
                    start=stretch.start,
                    end=stretch.end,
                )
                index += 1
                lead_s = None
                seen += len(tokens)

    def _pieces(self, stretch: Stretch, limit: int, quick: int) -> Iterator[tuple[list[int], str]]:
        """Yield the ids and the text of each segment of a stretch, at most `limit` long; `quick` is as in cut."""
        pieces: list[str] = self._tokenizer.encode(stretch.text, out_type=str)
        for part in cut(pieces, limit, quick):
            text = "".join(part).replace("▁", " ").strip()
            yield [self._tokenizer.piece_to_id(piece) for piece in part], text

    def _described(self) -> ModelSpec:
        return model_spec(self._options, self._config, self._voices)


def create_frontend(options: Options, limits: VoicesProfile) -> IndexTts2Frontend:
    """The frontend of a profile. Raises ProfileError if its checkpoint or its voices are not there."""
    check_options(options)
    config = sizes(options)
    if config is None:
        try:
            config = read_config(Path(options.checkpoint))
        except ConfigError as error:
            raise ProfileError(f"model.options.checkpoint: {error}") from None
    if options.checkpoint:
        tokenizer = load_tokenizer(Path(options.checkpoint) / config.files.bpe_model)
    else:
        tokenizer = character_tokenizer()
    if tokenizer.vocab_size() > config.gpt.text_rows:
        raise ProfileError(
            f"the tokenizer has {tokenizer.vocab_size()} pieces, the text table {config.gpt.text_rows} rows"
        )
    voices = load_voices(options, limits)
    check_default(options, voices)
    return IndexTts2Frontend(voices, config, tokenizer, options)
