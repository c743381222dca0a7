"""The text frontend that every model shares: a text as it was written becomes sentences of words to speak.

    for sentence in read("Dr. Lee paid $5.\\n\\n[pause 1s] Then she left."):
        print(sentence.spoken, sentence.pause)

Windows of bounded size (windows) go through markup to blocks (markdown, html), have their characters cleaned
(characters) and their line ends decided (lines), and are split into sentences (sentences), whose words are written
out (english). SourceText carries the offsets of the original text through all of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from serving.text.blocks import Pause, PauseKind
from serving.text.document import TextFormat, clean_sentences
from serving.text.lexicon import Lexicon, LexiconError
from serving.text.scripts import drop_foreign, foreign_scripts
from serving.text.sentence import Sentence
from serving.text.speech import in_original, is_speakable, to_words, words_as_written
from serving.text.words import Word

__all__ = [
    "Lexicon", "LexiconError", "Pause", "PauseKind", "Sentence", "TextFormat", "Word", "foreign_scripts", "read"
]  # fmt: skip


def read(
    text: str,
    *,
    text_format: TextFormat = "auto",
    language: str = "en",
    normalize: bool = True,
    lexicon: Lexicon | None = None,
) -> Iterator[Sentence]:
    """Yield the sentences of a text, each before the next is looked at; memory does not grow with the text.

    `language` is a tag ("en", "en-US"). Without `normalize` the text is spoken as it is: it is only split into
    sentences, and its control characters are left out. Never raises, whatever the text.
    """
    spoken_language = language.partition("-")[0].lower()
    for sentence, pause in clean_sentences(text, text_format, spoken_language, normalize):
        start = sentence.origin_start(0)
        end = max(start, sentence.origin_end(len(sentence.text)))
        dropped: tuple[str, ...] = ()
        if normalize:
            sentence, dropped = drop_foreign(sentence, spoken_language)
            if lexicon is not None:
                sentence = lexicon.apply(sentence)
        words: tuple[Word, ...] = ()
        if is_speakable(sentence):
            if normalize:
                words = to_words(sentence, spoken_language)
            else:
                words = tuple(in_original(sentence, words_as_written(sentence.text)))
        if words or dropped or pause.seconds is not None:
            yield Sentence(text[start:end], start, end, words, pause, dropped, language=spoken_language)
