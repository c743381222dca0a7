"""Text to tokens: one token per character, one segment per sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from serving.models.tone.options import MAX_TOKENS, Options, make_spec
from serving.protocol import Segment, SpeechParams, WordSpan
from serving.text import Sentence


class ToneFrontend:
    """A token is a character's code point, at most 255."""

    def __init__(self, options: Options) -> None:
        self.spec = make_spec(options)

    def segments(self, sentences: Iterable[Sentence], params: SpeechParams) -> Iterator[Segment]:
        """Yield sentences, cut where they pass params.fields.max_text_tokens_per_segment or MAX_TOKENS."""
        limit = min(params.fields.max_text_tokens_per_segment, MAX_TOKENS)
        index = 0
        for sentence in sentences:
            spoken, lead_s = sentence.spoken, sentence.lead_s
            for start in range(0, len(spoken), limit):
                piece = spoken[start : start + limit]
                yield Segment(
                    index=index,
                    tokens=[min(ord(c), 255) for c in piece],
                    text=piece,
                    lead_s=lead_s,
                    start=sentence.start,
                    end=sentence.end,
                    words=words_within(sentence, start, start + len(piece)),
                )
                index += 1
                lead_s = 0.0


def words_within(sentence: Sentence, start: int, end: int) -> list[WordSpan]:
    """The words, or parts of them, that lie in characters [start, end) of sentence.spoken."""
    spans, at = [], 0
    for word in sentence.words:
        first, last = max(at, start), min(at + len(word.spoken), end)
        if first < last:
            spans.append(WordSpan(first - start, last - start, word.start, word.end))
        at += len(word.spoken) + 1
    return spans
