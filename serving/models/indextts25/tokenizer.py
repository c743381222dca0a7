"""Text to the ids of 2.5: byte-pair ranks in a .tiktoken file, or a stand-in of single bytes for random weights."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

import tiktoken

from serving.models.indextts2.config import GptConfig
from serving.models.indextts25.config import SPECIAL_TOKENS
from serving.profile import ProfileError

LANGUAGE_ROW = {"en": 0, "zh": 1, "es": 3, "ja": 7, "ar": 13}
"""Rows of the language embedding; the language's token is as far after the first one."""

_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""What is merged within, never across: that of GPT-2."""


class Tokenizer:
    """The ids of a segment: its language, a blank, its text. Text never means a special token, whatever it says."""

    def __init__(self, encoding: tiktoken.Encoding, config: GptConfig) -> None:
        self._encoding = encoding
        self._first_language = config.first_language_token

    def encode(self, text: str, language: str) -> list[int]:
        """The ids of a segment's text."""
        return [
            self._first_language + LANGUAGE_ROW[language],
            *self._encoding.encode_ordinary(f" {text}"),
        ]

    def count(self, text: str) -> int:
        """How many ids the text itself has, which may differ by one from its share of a segment's."""
        return len(self._encoding.encode_ordinary(text))


def load_tokenizer(path: Path, config: GptConfig) -> Tokenizer:
    """The vocabulary of a checkpoint. Raises ProfileError if it cannot be read, or is not the one of `config`."""
    if not path.is_file():
        raise ProfileError(f"model.options.checkpoint: there is no {path}")
    try:
        pairs = (line.split() for line in path.read_bytes().splitlines() if line.strip())
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in pairs}
    except (ValueError, binascii.Error) as error:
        raise ProfileError(f"{path.name} is not a file of byte-pair ranks: {error}") from None
    return Tokenizer(_encoding(ranks, path.name, config), config)


def byte_tokenizer(config: GptConfig) -> Tokenizer:
    """A vocabulary of the 256 bytes: random weights have none. As in the real one "!" comes first, then '"'."""
    order = [*range(33, 127), *range(33), *range(127, 256)]
    ranks = {bytes([byte]): rank for rank, byte in enumerate(order)}
    return Tokenizer(
        tiktoken.Encoding("bytes", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={}), config
    )


def _encoding(ranks: dict[bytes, int], name: str, config: GptConfig) -> tiktoken.Encoding:
    words = config.number_text_tokens - SPECIAL_TOKENS
    if sorted(ranks.values()) != list(range(words)):
        raise ProfileError(f"{name} has {len(ranks)} ranks; the checkpoint's text table has room for {words}")
    return tiktoken.Encoding(name, pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})
