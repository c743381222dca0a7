"""English text to phoneme ids, with the phonemizer of the package hibari-tts."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Annotated, Any

from msgspec import Meta

from serving.models.base import ModelOptions, ModelSpec, RequestFields, Voice
from serving.models.hibari.constants import SAMPLE_RATE_HZ
from serving.native.choice import Kernels
from serving.protocol import InputError, Segment, SpeechParams

MAX_PHONEMES = 400
"""Phonemes of one segment; a longer sentence is cut at clauses, then at words, then anywhere."""
MAX_WORD_CHARS = 40
"""The phonemizer's time grows with the cube of a word's length, so longer words are cut into pieces."""
WORD_PIECE_CHARS = 20
PAD_ID = 0


class Fields(RequestFields, frozen=True, kw_only=True):
    """Request fields of the embedded voice."""

    speed: Annotated[
        float, Meta(ge=0.5, le=2.0, description="1 is the voice's own pace, 2 twice as fast.")
    ] = 1.0


class Options(ModelOptions, frozen=True, kw_only=True):
    """model.options of the embedded voice."""

    kernels: Kernels = "auto"


SPEC = ModelSpec(
    name="hibari",
    sample_rate_hz=SAMPLE_RATE_HZ,
    voices=(Voice(name="heart", language="en-US", description="American English, female"),),
    default_voice="heart",
    languages=("en",),
    seconds_per_char=0.065,
    fields=Fields,
)

_LONG_WORD = re.compile(rf"\S{{{MAX_WORD_CHARS + 1},}}")
_CLAUSE_END = re.compile(r"(?<=[,;:—])\s+")
_STRESS_AND_LENGTH = "ˈˌː"


class HibariFrontend:
    """Sentences of a text as segments of phoneme ids. Safe to use from several threads."""

    def __init__(self) -> None:
        self.spec = SPEC
        # Two seconds of imports, while the engine's process starts and loads; the first text waits for them.
        pool = ThreadPoolExecutor(1, "phonemizer")
        self._package = pool.submit(_load_package)
        pool.shutdown(wait=False)
        self._lock = threading.Lock()
        vocabulary = files("hibari").joinpath("assets/vocab.json").read_text(encoding="utf-8")
        self._ids: dict[str, int] = json.loads(vocabulary)

    def segments(self, text: str, params: SpeechParams) -> Iterator[Segment]:
        """Yield one segment per sentence, each before the next one is phonemized.

        Raises InputError (field "text") for a text without a word.
        """
        index = 0
        split_sentences, phonemize = self._package.result()
        for sentence in split_sentences(_cut_long_words(text)):
            with self._lock:  # the phonemizer does not promise to be safe in threads
                phonemes = phonemize(sentence)
            for piece in split_phonemes(phonemes):
                if is_speakable(piece):
                    ids = [self._ids[symbol] for symbol in piece if symbol in self._ids]
                    yield Segment(index=index, tokens=[PAD_ID, *ids, PAD_ID], text=piece)
                    index += 1
        if index == 0:
            raise InputError("text", "text has nothing that can be spoken")


def _load_package() -> tuple[Any, Any]:
    """The package's sentence splitter and its phonemizer, warm."""
    from hibari.g2p import G2P
    from hibari.tts import Hibari

    phonemize = G2P()
    phonemize("Warm up the unknown word zyxwvia.")  # loads the network for unknown words
    return Hibari.split_sentences, phonemize


def is_speakable(phonemes: str) -> bool:
    """Whether there is a sound among the phonemes, and not only punctuation and stress marks."""
    return any(symbol.isalpha() and symbol not in _STRESS_AND_LENGTH for symbol in phonemes)


def split_phonemes(phonemes: str, limit: int = MAX_PHONEMES) -> Iterator[str]:
    """Cut a phoneme string into pieces of at most `limit` symbols: at clauses, else at words, else
    anywhere.
    """
    piece = ""
    for part in _parts_within(phonemes, limit):
        if piece and len(piece) + 1 + len(part) > limit:
            yield piece
            piece = part
        else:
            piece = f"{piece} {part}" if piece else part
    if piece:
        yield piece


def _parts_within(phonemes: str, limit: int) -> Iterator[str]:
    if len(phonemes) <= limit:
        yield phonemes
        return
    for clause in _CLAUSE_END.split(phonemes):
        words = [clause] if len(clause) <= limit else clause.split(" ")
        for word in words:
            yield from (word[start : start + limit] for start in range(0, len(word), limit))


def _cut_long_words(text: str) -> str:
    def cut(match: re.Match[str]) -> str:
        word = match.group()
        return " ".join(
            word[start : start + WORD_PIECE_CHARS] for start in range(0, len(word), WORD_PIECE_CHARS)
        )

    return _LONG_WORD.sub(cut, text)
