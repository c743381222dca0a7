"""Text that arrives in pieces: the same sentences whatever the pieces, and those of read() where it says so."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.http.live.growing import LONG_CHARS, GrowingReader
from serving.text import Sentence, TextFormat, read

pytestmark = pytest.mark.slow

WORDS = [
    "The", "boat", "came", "home", "Dr", "Mr", "Lee", "U.S", "e.g", "etc", "No", "5", "3.14", "$5.20", "Node.js",
    "I", "J", "R", "p.m", "Elm", "St", "and", "you", "Then", "jan", "wait", "hello@example.org", "Ünal", "x" * 45,
]  # fmt: skip
JOINTS = [
    " ",
    " ",
    " ",
    ". ",
    ".",
    "? ",
    "! ",
    "... ",
    "… ",
    ", ",
    "; ",
    ": ",
    " — ",
    '." ',
    '?" ',
    " (",
    ") ",
    "' ",
]
MARKUP = ["\n", "\n\n", "\r\n", "**", "`", "```\n", "[pause 1s]", "[a](http://b.c)", "[w](/wˈɜː/)", "<b>", "</b>",
          "- ", "# ", "1. ", "[", "]", "<", ">", "。", "！ ", "\f", "\x00", "\u2028"]  # fmt: skip

one_line = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(JOINTS)), max_size=80).map(
    lambda pairs: "".join(word + joint for word, joint in pairs)
)
any_text = st.lists(st.sampled_from([*WORDS, *JOINTS, *JOINTS, *MARKUP]), max_size=120).map("".join)


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    return [text[start:end] for start, end in itertools.pairwise(places)]


def grown(
    pieces: list[str], text_format: TextFormat = "auto", languages: tuple[str, ...] = ("en",)
) -> list[Sentence]:
    reader = GrowingReader(languages=languages, text_format=text_format)
    sentences = [sentence for piece in pieces for sentence in reader.feed(piece)]
    return sentences + reader.flush()


@settings(max_examples=300, deadline=None)
@given(any_text, st.lists(st.integers(0, 600), max_size=30), st.sampled_from(["auto", "plain", "markdown"]))
def test_the_pieces_change_nothing(text: str, cuts: list[int], text_format: TextFormat) -> None:
    whole = grown([text], text_format)
    assert grown(pieces_of(text, cuts), text_format) == whole
    assert grown(list(text), text_format) == whole


@settings(max_examples=300, deadline=None)
@given(st.lists(one_line, min_size=1, max_size=4), st.lists(st.integers(0, 600), max_size=30))
def test_paragraphs_of_one_line_are_read_as_if_they_had_come_whole(lines: list[str], cuts: list[int]) -> None:
    text = "\n\n".join(lines)
    assert grown(pieces_of(text, cuts), "plain") == list(read(text, text_format="plain"))


@settings(max_examples=100, deadline=None)
@given(any_text, st.lists(st.integers(0, 600), max_size=30))
def test_html_is_read_when_it_is_complete(text: str, cuts: list[int]) -> None:
    assert grown(pieces_of(text, cuts), "html") == list(read(text, text_format="html"))


@settings(max_examples=100, deadline=None)
@given(any_text)
def test_sentences_are_in_order_and_are_slices_of_the_text(text: str) -> None:
    end = 0
    for sentence in grown(list(text)):
        assert sentence.text == text[sentence.start : sentence.end]
        assert sentence.start >= end or sentence.start == sentence.end or sentence.words == ()
        end = sentence.end
        assert all(sentence.start <= word.start <= word.end <= sentence.end for word in sentence.words)


def test_a_sentence_is_given_once_the_next_word_is_complete() -> None:
    reader = GrowingReader(languages=("en",))
    assert reader.feed("The boat came home. Th") == []
    (first,) = reader.feed("en ")
    assert (first.text, first.pause.kind) == ("The boat came home.", "sentence")
    assert reader.feed("she left with Dr. Lee") == []
    assert [sentence.text for sentence in reader.feed("\n\nN")] == ["Then she left with Dr. Lee"]
    (last,) = reader.flush()
    assert (last.text, last.start) == ("N", len("The boat came home. Then she left with Dr. Lee\n\n"))
    assert not reader.waiting


@pytest.mark.parametrize(
    ("text", "given_now"),
    [
        ("The boat came home.", "The boat came home."),
        ("The boat came home. ", "The boat came home."),
        ("The boat came home. The", "The boat came home."),
        ("Really?", "Really?"),
        ('"Really?"', None),  # `"Really?" he said` goes on
        ('He said "We left.', None),
        ("She left with Dr.", None),
        ("Written by J.", None),
        ("It costs $5.", None),  # may become $5.20
        ("It costs $5. ", "It costs $5."),
        ("Made in the U.S.", None),
        ("And so on...", None),
        ("No stop at all", None),
        ("A link [is. open", None),
        ("今天天气很好。", "今天天气很好。"),
    ],
)
def test_settle_gives_what_ends_whatever_word_follows(text: str, given_now: str | None) -> None:
    reader = GrowingReader(languages=("en",))
    assert reader.feed(text) == []
    assert [sentence.text for sentence in reader.settle()] == ([given_now] if given_now else [])
    rest = " ".join(sentence.text for sentence in reader.flush())
    assert rest == text.removeprefix(given_now or "").strip()


def test_take_clause_cuts_after_a_clause_and_never_in_a_word() -> None:
    reader = GrowingReader(languages=("en",))
    assert reader.feed("When the wind turned, every window on the quay; it was lou") == []
    (clause,) = reader.take_clause()
    assert (clause.text, clause.pause.kind) == ("When the wind turned, every window on the quay;", "clause")
    assert reader.take_clause() == []
    assert [sentence.text for sentence in [*reader.feed("d."), *reader.flush()]] == ["it was loud."]
    assert GrowingReader(languages=("en",)).take_clause() == []


def test_a_number_with_commas_is_no_clause() -> None:
    reader = GrowingReader(languages=("en",))
    reader.feed("It costs 1,000 of the")
    assert reader.take_clause() == []


def test_a_text_without_stops_is_cut() -> None:
    reader = GrowingReader(languages=("en",))
    sentences = reader.feed("word " * LONG_CHARS)
    assert len(sentences) > 5
    assert all(len(sentence.words) <= 60 for sentence in sentences)


def test_chinese_sentences_need_no_blank() -> None:
    reader = GrowingReader(languages=("zh", "en"))
    assert [sentence.text for sentence in reader.feed("你好。今天天气很好！我")] == [
        "你好。",
        "今天天气很好！",
    ]


def test_code_between_fences_is_one_piece() -> None:
    text = "See:\n\n```\na = 1\n\nb. Two c\n```\n\nDone. Yes"
    assert grown(list(text)) == list(read(text))
