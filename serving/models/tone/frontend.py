"""Text to tokens: one token per character, one segment per sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator

from serving.models.tone.options import MAX_TOKENS, Options, make_spec
from serving.protocol import InputError, Segment, SpeechParams

_SENTENCE = re.compile(r"[^.!?]*[^.!?\s][^.!?]*[.!?]*")


class ToneFrontend:
    """A token is a character's code point, at most 255."""

    def __init__(self, options: Options) -> None:
        self.spec = make_spec(options)

    def segments(self, text: str, params: SpeechParams) -> Iterator[Segment]:
        """Yield sentences, cut where they pass params.fields.max_text_tokens_per_segment or MAX_TOKENS."""
        if not any(character.isalnum() for character in text):
            raise InputError("text", "holds nothing that can be spoken")
        limit = min(params.fields.max_text_tokens_per_segment, MAX_TOKENS)
        index = 0
        for match in _SENTENCE.finditer(text):
            sentence = match.group().strip()
            for start in range(0, len(sentence), limit):
                piece = sentence[start : start + limit]
                yield Segment(index=index, tokens=[min(ord(c), 255) for c in piece], text=piece)
                index += 1
