"""Text in five languages to segments of byte-pair ids. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from serving.models.base import ModelSpec
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.frontend import IndexTts2Frontend
from serving.models.indextts2.options import Fields as Fields2
from serving.models.indextts2.options import Options as Options2
from serving.models.indextts2.options import check_options, sizes
from serving.models.indextts2.spec import check_default
from serving.models.indextts2.spec import model_spec as spec_of_2
from serving.models.indextts2.text.stretches import Stretch
from serving.models.indextts2.voice.library import Voices, load_voices
from serving.models.indextts2.weights.config_file import ConfigError
from serving.models.indextts25.config import read_config
from serving.models.indextts25.options import Fields, Options
from serving.models.indextts25.text import cut, write
from serving.models.indextts25.tokenizer import byte_tokenizer, load_tokenizer
from serving.profile import ProfileError, VoicesProfile

_PREFIX_TOKENS = 2
"""The language and the blank after it."""


class IndexTts25Frontend(IndexTts2Frontend):
    """Writes, tokenises and cuts. Safe to call from several threads."""

    write = staticmethod(write)

    def _room(self, limit: int, fields: Fields2) -> int:
        """Slow speech has shorter segments, so that one is not longer than it may be."""
        assert isinstance(fields, Fields)
        return max(_PREFIX_TOKENS + 8, int(limit * min(fields.speed, 1.0)))

    def _pieces(self, stretch: Stretch, limit: int, quick: int) -> Iterator[tuple[list[int], str]]:
        tokenizer = self._tokenizer
        for text in cut(stretch.text, limit - _PREFIX_TOKENS, tokenizer.count, quick):
            yield tokenizer.encode(text, stretch.language), text.strip()

    def _described(self) -> ModelSpec:
        return model_spec(self._options, self._config, self._voices)


def create_frontend(options: Options, limits: VoicesProfile) -> IndexTts25Frontend:
    """The frontend of a profile. Raises ProfileError if its checkpoint or its voices are not there."""
    check_options(options)
    config = sizes(options)
    if config is None:
        try:
            config = read_config(Path(options.checkpoint))
        except ConfigError as error:
            raise ProfileError(f"model.options.checkpoint: {error}") from None
    if options.checkpoint:
        tokenizer = load_tokenizer(Path(options.checkpoint) / config.files.bpe_model, config.gpt)
    else:
        tokenizer = byte_tokenizer(config.gpt)
    voices = load_voices(options, limits)
    check_default(options, voices)
    return IndexTts25Frontend(voices, config, tokenizer, options)


def model_spec(options: Options2, config: IndexTts2Config, voices: Voices) -> ModelSpec:
    """What callers may know of the voices that there are now."""
    return msgspec.structs.replace(spec_of_2(options, config, voices), name="indextts25", fields=Fields)
