"""English sentences as words: a table per class in cases/, and prose that stays as it is."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.text.english import verbalise
from serving.text.english.tokens import word_set
from serving.text.words import Word

HERE = Path(__file__).parent
CLASSES = sorted((HERE / "cases").glob("*.tsv"))
"""A class each: lines of what is written and what is said."""
PROSE = (HERE / "prose.txt").read_text(encoding="utf-8").splitlines()


def spoken(sentence: str) -> str:
    return " ".join(word.spoken for word in verbalise(sentence))


@pytest.mark.parametrize("path", CLASSES, ids=lambda path: path.stem)
def test_class(path: Path) -> None:
    cases = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    assert cases
    wrong = [
        f"{written!r}: {spoken(written)!r}, not {said!r}"
        for written, said in cases
        if spoken(written) != said
    ]
    assert not wrong, "\n".join(wrong)


def test_prose_is_spoken_as_written() -> None:
    assert [spoken(sentence) for sentence in PROSE] == PROSE


@pytest.mark.parametrize(
    ("sentence", "phonemes"),
    [
        ("The FBI came.", "ˌɛfbˌiˈI"),
        ("Two PCs broke.", "pˌisˈiz"),
        ("She plays bass guitar.", "bˈAs"),
        ("Please wind the clock.", "wˈInd"),
        ("Don't tear it apart.", "tˈɛɹ"),
        ("The bass was a large fish.", None),
        ("The wind was strong.", None),
        ("A tear fell.", None),
        ("There is a tear in my jacket.", "tˈɛɹ"),
        ("There was a tear in his eye.", None),
        ("The singer took a bow.", "bˈW"),
        ("He stood at the bow of the ship.", "bˈW"),
        ("She wore a bow in her hair.", None),
        ("Only a minute amount is needed.", "mInˈut"),
        ("Wait a minute.", None),
        ("I did not object to it.", "əbʤˈɛkt"),
        ("She was content to wait.", "kəntˈɛnt"),
        ("The content is good.", None),
        ("I'm used to it.", "jˈust"),
        ("The road winds through hills.", "wˈIndz"),
        ("The winds blew hard.", None),
        ("We moved to Nice.", "nˈis"),
        ("That is nice.", None),
        ("Polish the silver.", "pˈɑlɪʃ"),
        ("Polish people are kind.", None),
        ("It is wear and tear.", "tˈɛɹ"),
        ("Apples, pears, etc.", "ɛtsˈɛTəɹə"),
    ],
)
def test_phonemes_where_they_are_known(sentence: str, phonemes: str | None) -> None:
    found = [word.phonemes for word in verbalise(sentence) if word.phonemes is not None]
    assert found == ([phonemes] if phonemes else [])


def test_offsets_point_at_what_a_word_stands_for() -> None:
    text = "It costs $2.5 million on Jan. 3, 2024, at 5 p.m. sharp."
    assert [(text[word.start : word.end], word.spoken) for word in verbalise(text)] == [
        ("It", "It"),
        ("costs", "costs"),
        ("$2.5 million", "two point five million dollars"),
        ("on", "on"),
        ("Jan. 3, 2024,", "January third, twenty twenty four,"),
        ("at", "at"),
        ("5 p.m.", "five P M"),
        ("sharp.", "sharp."),
    ]


def test_punctuation_alone_belongs_to_the_word_before() -> None:
    assert verbalise("well - yes") == [Word("well -", 0, 6), Word("yes", 7, 10)]
    assert verbalise("🎉") == []
    assert verbalise("") == []


def check_words(sentence: str, words: list[Word]) -> None:
    end = 0
    for word in words:
        assert end <= word.start < word.end <= len(sentence)
        end = word.end
        for symbol in word.spoken:
            kind = unicodedata.category(symbol)[0]
            assert kind in "LMZ" or symbol in ".,;:!?…—–-()\"“”'’‘\x1c\x1d\x1e\x1f", (symbol, word)


HARD = st.text(
    alphabet="0123456789.,:;/-+$€£%°'\"()[]#@*&=<>^~_|\\ ABCIVXdsthmkgpa½²₂αé—–…٣−😀你", max_size=60
)
PIECES = st.lists(
    st.sampled_from(
        sorted(
            word_set(
                """
                $5 5% 3/4 1:2 10:30 No. no. St. Dr. I V X IV Jan. May 3 2024 5km km/h 20 – - + = U.S. p.m. @a #b
                a/b A4 1990s '90s 5' 6" 1 000 (555) 0199 +44 x<=10 m² ½ 2½ e.g. … — FBI NASA STOP $ € million
                wind lead
                """
            )
        )
    ),
    max_size=12,
)


@given(HARD)
def test_never_raises_on_symbols(sentence: str) -> None:
    check_words(sentence, verbalise(sentence))


@given(PIECES.map(" ".join) | PIECES.map("".join))
def test_never_raises_on_pieces_of_the_classes(sentence: str) -> None:
    check_words(sentence, verbalise(sentence))


@given(st.text(max_size=200))
def test_never_raises_on_any_text(sentence: str) -> None:
    end = 0
    for word in verbalise(sentence):
        assert end <= word.start < word.end <= len(sentence)
        end = word.end


@pytest.mark.parametrize(
    "piece", ["1", "1/", "1.", "1,", "A.", "AB", "5 - ", "111 ", "$5", "a@", "a-", "“", "C:\\", "no. 5 "]
)
def test_a_long_hostile_text_is_spoken(piece: str) -> None:
    text = piece * 5000
    check_words(text, verbalise(text))
