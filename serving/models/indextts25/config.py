"""Shapes of IndexTTS-2.5, in the terms of IndexTTS2: what differs, and reading its config.yaml. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from serving.models.indextts2.config import AUXILIARIES, CodecConfig, FileNames, IndexTts2Config
from serving.models.indextts2.weights.config_file import ConfigError
from serving.models.indextts2.weights.config_file import read_config as read_config_2

VOCABULARY = "multilingual_zh_ja_yue_char_del.tiktoken"
"""Its ranks: bytes in base64 and a number on each line."""
PLACES = {name: place for name, place in AUXILIARIES.items() if name != "semantic_codec"} | {
    "semantic_codec": "codec.pth"
}
"""Where the auxiliary models lie under the checkpoint's folder: 2.5 has a codec of its own."""

SPECIAL_TOKENS = 1673
"""Tokens after the ranks, laid out as Whisper does; the languages come after the first two."""
_LANGUAGES_AFTER = 2
LANGUAGE_ROWS = 107
"""Rows of the language embedding, in the order of the tokens."""
_FRAMES_PER_CODE = 2
_FILES = FileNames(bpe_model=VOCABULARY)


def official() -> IndexTts2Config:
    """The released shapes."""
    return _as_25(IndexTts2Config.official(), text_tokens=60509)


def tiny() -> IndexTts2Config:
    """The same graph at toy widths, with the vocabulary of tokenizer.byte_tokenizer."""
    return _as_25(IndexTts2Config.tiny(), text_tokens=256 + SPECIAL_TOKENS)


def first_language_token(text_tokens: int) -> int:
    """Id of the first language's token in a vocabulary of `text_tokens`."""
    return text_tokens - SPECIAL_TOKENS + _LANGUAGES_AFTER


def read_config(folder: Path, **auxiliaries: Path | None) -> IndexTts2Config:
    """Read config.yaml of an official folder, as config_file.read_config does. Raises ConfigError."""
    config = read_config_2(folder, complete=_complete, **auxiliaries)
    if config.gpt.number_text_tokens <= SPECIAL_TOKENS:
        raise ConfigError(
            f"{folder / 'config.yaml'}: gpt.number_text_tokens is {config.gpt.number_text_tokens}; "
            f"{SPECIAL_TOKENS} of them are not words"
        )
    return _as_25(config, text_tokens=config.gpt.number_text_tokens)


def _as_25(config: IndexTts2Config, *, text_tokens: int) -> IndexTts2Config:
    gpt = replace(
        config.gpt,
        number_text_tokens=text_tokens,
        language_rows=LANGUAGE_ROWS,
        first_language_token=first_language_token(text_tokens),
        condition=replace(config.gpt.condition, latents=1, latent_dim=config.gpt.model_dim),
    )
    codec: CodecConfig = replace(config.codec, frames_per_code=_FRAMES_PER_CODE)
    return replace(config, gpt=gpt, codec=codec, files=replace(config.files, bpe_model=VOCABULARY))


def _complete(tree: dict[str, Any]) -> dict[str, Any]:
    """A config.yaml of 2.5 in the form of 2.0's. Raises KeyError, and ConfigError for a codec of another rate."""
    codec = tree["semantic_codec"]
    scale = codec.get("downsample_scale", _FRAMES_PER_CODE)
    if scale != _FRAMES_PER_CODE:
        raise ConfigError(
            f"semantic_codec.downsample_scale is {scale!r}; only {_FRAMES_PER_CODE} is supported"
        )
    # The speaker has no conformer here; what a file says of one is not read.
    gpt = {**tree["gpt"], "condition_module": tree["gpt"]["emo_condition_module"], "condition_num_latent": 1}
    return {**tree, "gpt": gpt, "dataset": {"bpe_model": VOCABULARY}}
