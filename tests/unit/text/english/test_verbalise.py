"""English sentences as words: a table per class in cases/, and prose that stays as it is."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.text.english import verbalise
from serving.text.english.tokens import word_set
from serving.text.words import Word

HERE = Path(__file__).parent
CASES = [
    pytest.param(*line.split("\t"), id=f"{path.stem}-{number}")
    for path in sorted((HERE / "cases").glob("*.tsv"))
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
]
PROSE = (HERE / "prose.txt").read_text(encoding="utf-8").splitlines()
FIELD_KINDS = {
    *(
        "no-as-number",
        "roman-false",
        "minus",
        "trailing-zero",
        "money",
        "code-digits",
        "abbrev-word",
        "symbol",
    ),
    *(
        "fraction-as-date",
        "split-before-number",
        "phone",
        "url",
        "unit",
        "range-ratio",
        "number-locale",
        "roman",
    ),
    *(
        "apostrophe",
        "allcaps",
        "heteronym",
        "long-number-crash",
        "indextts2-a4-chinese",
        "indextts2-english-words",
    ),
}
"""Kinds of the field's cases that are a matter of words; those of the document are its own."""
OF_THE_DOCUMENT = {"indextts2-english-words-06"}
SPOKEN_AT_LEAST = {
    "long-number-crash-01": "seven seven seven seven seven seven",
    "long-number-crash-03": "one one one one one one one one",
    "code-digits-06": "transfer to four one one one one one one one",
    "indextts2-a4-chinese-01": "takes ten minutes",
    "indextts2-a4-chinese-03": "opens at ten thirty",
    "indextts2-a4-chinese-05": "show thirty seconds",
    "indextts2-english-words-01": "nineteen nineties",
    "indextts2-english-words-03": "one thousand two hundred fifty dollars and fifty cents",
    "indextts2-english-words-05": "it's been",
}
"""What must be among the words where the case does not write all of them."""


def spoken(sentence: str) -> str:
    return " ".join(word.spoken for word in verbalise(sentence))


def bare(text: str) -> str:
    """Lower case, without punctuation."""
    return " ".join(re.sub(r"[^\w' ]+", " ", text.lower().replace("’", "'")).split())


def field_cases() -> list[dict[str, str]]:
    cases = []
    for line in (HERE.parent / "field_cases.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        if case["kind"] in FIELD_KINDS and case["id"] not in OF_THE_DOCUMENT:
            text = case["request"]["body"]["text"]
            cases.append({"id": case["id"], "text": text, "expected": case["expected"]})
    return cases


@pytest.mark.parametrize(("written", "said"), CASES)
def test_class(written: str, said: str) -> None:
    assert spoken(written) == said


@pytest.mark.parametrize("sentence", PROSE)
def test_prose_is_spoken_as_written(sentence: str) -> None:
    assert spoken(sentence) == sentence


@pytest.mark.parametrize("case", field_cases(), ids=lambda case: case["id"])
def test_field_case(case: dict[str, str]) -> None:
    said = bare(spoken(case["text"]))
    if case["id"] in SPOKEN_AT_LEAST:
        assert SPOKEN_AT_LEAST[case["id"]] in said
    else:
        expected = re.sub(r"\(.*?\)", "", case["expected"].removeprefix("spoken:"))
        assert said == bare(expected)


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
