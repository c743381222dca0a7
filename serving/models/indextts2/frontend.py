"""English and Chinese text to segments of SentencePiece ids. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from serving.models.base import ModelSpec
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.options import Fields, Options, check_options, sizes
from serving.models.indextts2.spec import model_spec
from serving.models.indextts2.text.segments import cut
from serving.models.indextts2.text.stretches import Stretch, stretches
from serving.models.indextts2.text.tokenizer import character_tokenizer, load_tokenizer
from serving.models.indextts2.weights.config_file import ConfigError, read_config
from serving.profile import ProfileError
from serving.protocol import InputError, Segment, SpeechParams
from serving.text import Sentence


class IndexTts2Frontend:
    """Normalises, tokenises and cuts. Safe to call from several threads."""

    def __init__(self, spec: ModelSpec, config: IndexTts2Config, tokenizer: Any, options: Options) -> None:
        self.spec = spec
        self._max_tokens = config.gpt.max_text_tokens
        self._emotion_text = Path(options.checkpoint) / config.files.qwen_emo_path / "config.json"
        self._tokenizer = tokenizer
        self._options = options

    def segments(self, sentences: Iterable[Sentence], params: SpeechParams) -> Iterator[Segment]:
        """Yield the segments in order; with timestamps none runs from one sentence into the next.

        Raises InputError naming the field before the first.
        """
        self._check_emotion(params.fields)
        limit = params.fields.max_text_tokens_per_segment
        if limit > self._max_tokens:
            raise InputError("max_text_tokens_per_segment", f"must be at most {self._max_tokens}")
        spoken = stretches(sentences, normalize=params.normalize, by_sentence=params.timestamps != "none")
        return self._cut(spoken, min(limit, self._options.max_segment_tokens))

    def _check_emotion(self, fields: Fields) -> None:
        if fields.emo_text is None:
            return
        if not fields.emo_text.strip():
            raise InputError("emo_text", "is empty")
        if not self._options.checkpoint or not self._emotion_text.is_file():
            raise InputError(
                "emo_text", "this server's checkpoint has no model for emotion by text; use emo_vector"
            )

    def _cut(self, spoken: Iterable[Stretch], limit: int) -> Iterator[Segment]:
        """Yield the segments of each stretch. No segment runs from one stretch into the next."""
        index, seen = 0, 0
        for stretch in spoken:
            pieces: list[str] = self._tokenizer.encode(stretch.text, out_type=str)
            lead_s = stretch.lead_s
            for part in cut(pieces, limit, max(0, self._options.quick_streaming_tokens - seen)):
                yield Segment(
                    index=index,
                    tokens=[self._tokenizer.piece_to_id(piece) for piece in part],
                    text="".join(part).replace("▁", " ").strip(),
                    lead_s=self._options.silence_s if lead_s is None else lead_s,
                    start=stretch.start,
                    end=stretch.end,
                )
                index += 1
                lead_s = None
            seen += len(pieces)


def create_frontend(options: Options) -> IndexTts2Frontend:
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
    return IndexTts2Frontend(model_spec(options, config), config, tokenizer, options)
