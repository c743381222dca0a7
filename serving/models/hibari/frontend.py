"""Words to phoneme ids, with the phonemizer of the package hibari-tts."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Annotated, Any

from msgspec import Meta

from serving.models.base import ModelOptions, ModelSpec, RequestFields, Voice
from serving.models.hibari.constants import SAMPLE_RATE_HZ
from serving.models.hibari.pieces import Piece, is_sound, is_speakable, split
from serving.models.hibari.spoken import phonemize_words
from serving.native.choice import Kernels
from serving.protocol import InputError, Segment, SpeechParams, WordSpan
from serving.text import Sentence, Word
from serving.text.english.capitals import letters

logger = logging.getLogger(__name__)

MAX_WORD_CHARS = 40
"""The phonemizer's time grows with the cube of a word's length, so longer words are cut into pieces."""
WORD_PIECE_CHARS = 20
MAX_WORDS = 100
"""Words that are phonemized at once."""
REMEMBERED_WORDS = 4096
"""Unknown words whose phonemes are kept: the network for them takes 1.5 ms a word, and names come back."""
PAD_ID = 0


class Fields(RequestFields, frozen=True, kw_only=True):
    """Request fields of the embedded voice."""

    speed: Annotated[
        float, Meta(ge=0.5, le=2.0, description="1 is the voice's own pace, 2 twice as fast.")
    ] = 1.0


class Options(ModelOptions, frozen=True, kw_only=True):
    """model.options of the embedded voice."""

    kernels: Kernels = "auto"
    trim: bool = True
    """Cut the silence at the ends of a segment and give pauses the profile's lengths; false leaves both as the network
    made them, for comparisons.
    """
    loudness_lufs: Annotated[float, Meta(ge=-40, le=-10)] | None = None
    """Loudness of the speech (ITU-R BS.1770), by one gain for every text; None leaves the voice its own, -26."""


SPEC = ModelSpec(
    name="hibari",
    sample_rate_hz=SAMPLE_RATE_HZ,
    voices=(Voice(name="heart", language="en-US", description="American English, female"),),
    default_voice="heart",
    languages=("en",),
    seconds_per_char=0.065,
    fields=Fields,
    word_times=True,
)


class HibariFrontend:
    """Sentences as segments of phoneme ids. Safe to use from several threads."""

    def __init__(self, clause_s: float) -> None:
        """`clause_s`: silence between the segments of a sentence that is too long for one."""
        self.spec = SPEC
        self._clause_s = clause_s
        # Two seconds of imports, while the engine's process starts and loads; the first text waits for them.
        pool = ThreadPoolExecutor(1, "phonemizer")
        self._g2p = pool.submit(_load_phonemizer)
        pool.shutdown(wait=False)
        vocabulary = files("hibari").joinpath("assets/vocab.json").read_text(encoding="utf-8")
        self._ids: dict[str, int] = json.loads(vocabulary)

    def segments(self, sentences: Iterable[Sentence], params: SpeechParams) -> Iterator[Segment]:
        """Yield the segments of each sentence before the next one is phonemized.

        Raises InputError (field "text") if no sentence has a sound.
        """
        index = 0
        for sentence in sentences:
            segments = [part for part in split(self._phonemize(sentence.words)) if is_speakable(part)]
            for number, pieces in enumerate(segments):
                yield self._segment(
                    pieces,
                    sentence,
                    index=index,
                    lead_s=self._clause_s / params.fields.speed if number else sentence.lead_s,
                    start=sentence.words[pieces[0].word].start if number else sentence.start,
                    end=sentence.words[pieces[-1].word].end if segments[-1] is not pieces else sentence.end,
                )
                index += 1
        if index == 0:
            raise InputError("text", "text has nothing that can be spoken")

    def _phonemize(self, words: Sequence[Word]) -> list[Piece]:
        """The phonemes of words; those that the phonemizer gives up on are spelled."""
        words = [word._replace(spoken=_cut_long(word.spoken)) for word in words]
        pieces: list[Piece] = []
        for start in range(0, len(words), MAX_WORDS):
            batch = words[start : start + MAX_WORDS]
            try:
                phonemes = phonemize_words(self._g2p.result(), batch)
            except Exception as error:
                logger.warning("the phonemizer gave up on %d words: %s", len(batch), type(error).__name__)
                phonemes = [self._alone(word) for word in batch]
            for index, parts in enumerate(phonemes, start):
                pieces += [Piece(part, index) for part in parts if part]
        return pieces

    def _alone(self, word: Word) -> list[str]:
        """A word of a sentence that the phonemizer gave up on: as it is, else its letters, else left out."""
        spelled = " ".join(letter for letter in letters(word.spoken).split() if letter.isascii())
        for spoken in (word.spoken, spelled):
            try:
                return phonemize_words(self._g2p.result(), [word._replace(spoken=spoken)])[0]
            except Exception as error:
                logger.warning("the phonemizer gave up on a word: %s", type(error).__name__)
        return []

    def _segment(
        self, pieces: Sequence[Piece], sentence: Sentence, *, index: int, lead_s: float, start: int, end: int
    ) -> Segment:
        tokens = [PAD_ID]
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for piece in pieces:
            if len(tokens) > 1:
                tokens.append(self._ids[" "])
            spoken = any(map(is_sound, piece.phonemes))
            for symbol in piece.phonemes:
                if symbol in self._ids:
                    if spoken and symbol.isalpha():
                        first.setdefault(piece.word, len(tokens))
                        last[piece.word] = len(tokens) + 1
                    tokens.append(self._ids[symbol])
        return Segment(
            index=index,
            tokens=[*tokens, PAD_ID],
            text=" ".join(piece.phonemes for piece in pieces),
            lead_s=lead_s,
            start=start,
            end=end,
            words=[
                WordSpan(first[at], last[at], sentence.words[at].start, sentence.words[at].end)
                for at in first
            ],
        )


def _load_phonemizer() -> Any:
    """The package's phonemizer, warm. Threads may share it: it keeps nothing between its calls, ONNX Runtime lets many
    run one session, and the cache of unknown words has a lock of its own.
    """
    from hibari.g2p import G2P
    from hibari.g2p.oov import OOV

    g2p = G2P(oov=functools.lru_cache(REMEMBERED_WORDS)(OOV()))
    phonemize_words(g2p, [Word("zyxwvia", 0, 7)])  # loads the network for unknown words
    return g2p


def _cut_long(spoken: str) -> str:
    """Spoken words with blanks in those that are longer than MAX_WORD_CHARS."""
    if len(spoken) <= MAX_WORD_CHARS:
        return spoken
    parts = []
    for part in spoken.split():
        width = WORD_PIECE_CHARS if len(part) > MAX_WORD_CHARS else MAX_WORD_CHARS
        parts += [part[at : at + width] for at in range(0, len(part), width)]
    return " ".join(parts)
