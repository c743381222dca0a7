"""SentencePiece models: the checkpoint's, and a stand-in of single characters for random weights."""

from __future__ import annotations

import io
import string
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from serving.profile import ProfileError


def load_tokenizer(path: Path) -> Any:
    """The SentencePiece model of a checkpoint. Raises ProfileError if it cannot be read."""
    if not path.is_file():
        raise ProfileError(f"model.options.checkpoint: there is no {path}")
    try:
        return SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise ProfileError(f"{path.name} is not a SentencePiece model: {error}") from None


def character_tokenizer() -> Any:
    """A vocabulary of upper-case ASCII characters, ids below 100, built in a few milliseconds.

    Random weights have no vocabulary; this one makes segments of the lengths that speech has.
    """
    characters = string.ascii_uppercase + string.digits + ".,!?'-…"
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(characters), characters] * 4),
        model_writer=model,
        model_type="char",
        vocab_size=len(characters) + 4,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="identity",
        bos_id=0,
        eos_id=1,
        unk_id=2,
        pad_id=-1,
        minloglevel=2,
    )
    return SentencePieceProcessor(model_proto=model.getvalue())
