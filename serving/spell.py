"""What will be said: a text as the words that go to the model, and the pauses between its sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from serving.models.base import ModelSpec
from serving.profile import TextProfile
from serving.request import decode, too_long
from serving.text import Lexicon, Sentence, TextFormat, foreign_scripts, read
from serving.text.pauses import pause_s
from serving.text.scripts import text_language


class SpellRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Spell this text out."""

    text: Annotated[str, Meta(description="What would be said.")]
    text_format: Annotated[TextFormat, Meta(description="As in a request for speech.")] = "auto"
    language: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z-]{2,35}$(?!\n)")] | None,
        Meta(description="A language tag; the model's own without it."),
    ] = None
    normalize: Annotated[bool, Meta(description="As in a request for speech.")] = True


class SpelledSentence(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence as it was written and as it is said."""

    text: str
    spoken: str
    pause_s: float
    """Silence after it, at speed 1."""
    phonemes: dict[str, str] = {}
    """Words whose phonemes the text or the lexicon gives."""


class Spelled(msgspec.Struct, frozen=True, kw_only=True):
    """A text, spelled out."""

    spoken: str
    segments: list[SpelledSentence]
    dropped: list[str]
    """Scripts whose letters are left out."""


def spell(
    request: SpellRequest,
    spec: ModelSpec,
    text: TextProfile,
    lexicon: Lexicon | None,
    paced: Callable[[Iterator[Sentence]], Iterator[Sentence]] = iter,
) -> Spelled:
    """Read a text as a request for speech would; `paced` may let others go first between its sentences."""
    language = request.language or text_language(request.text, spec.languages)
    sentences = [
        SpelledSentence(
            text=sentence.text,
            spoken=sentence.spoken,
            pause_s=pause_s(sentence.pause, text.pauses),
            phonemes={word.spoken: word.phonemes for word in sentence.words if word.phonemes},
        )
        for sentence in paced(
            read(
                request.text,
                text_format=request.text_format,
                language=language,
                normalize=request.normalize,
                lexicon=lexicon,
            )
        )
    ]
    dropped = foreign_scripts(request.text, language.partition("-")[0].lower()) if request.normalize else ()
    spoken = " ".join(sentence.spoken for sentence in sentences if sentence.spoken)
    return Spelled(spoken=spoken, segments=sentences, dropped=list(dropped))


def parse_spell(body: bytes, max_chars: int) -> SpellRequest:
    """Decode a request body. Raises InputError, which names the field, and BodyError."""
    request, _ = decode(body, SpellRequest)
    if len(request.text) > max_chars:
        raise too_long(request.text, max_chars)
    return request
